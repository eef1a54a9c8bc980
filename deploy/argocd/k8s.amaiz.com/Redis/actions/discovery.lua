-- Which actions a Redis or a RedisFailover offers now.
local paused = obj.spec.paused == true
local conditions = {}
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  conditions[condition.type] = condition.status == "True"
end
-- Of a RedisFailover the number lies below, and has a default; it may be paused by an annotation, too.
local replicas = obj.spec.replicas or 0
if obj.kind == "RedisFailover" then
  replicas = (obj.spec.redis or {}).replicas or 0
  if replicas == 0 then
    replicas = 3
  end
end
local acts = conditions.Ready and not paused and not conditions.Paused and not conditions.Bootstrapping
local actions = {}
actions["pause"] = { ["disabled"] = paused }
actions["resume"] = { ["disabled"] = not paused }
actions["switchover"] = { ["disabled"] = not acts or replicas < 2 }
return actions
