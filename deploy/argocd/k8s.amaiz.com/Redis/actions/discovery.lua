-- Which actions a Redis offers now.
local paused = obj.spec.paused == true
local ready = false
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.type == "Ready" and condition.status == "True" then
    ready = true
  end
end
local actions = {}
actions["pause"] = { ["disabled"] = paused }
actions["resume"] = { ["disabled"] = not paused }
actions["switchover"] = { ["disabled"] = paused or not ready or (obj.spec.replicas or 0) < 2 }
return actions
