-- Health of a Redis, by its conditions: Degraded needs a person, Progressing passes by itself.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

local function health(name, condition, message)
  if condition ~= nil and condition.message ~= nil and condition.message ~= "" then
    message = condition.reason .. ": " .. condition.message
  end
  return { status = name, message = message }
end

-- The API server admitted it, and this operator cannot read it: it observes no generation of it.
local degraded = conditions.Degraded
if holds("Degraded") and degraded.reason == "InvalidSpec" then
  return health("Degraded", degraded)
end
if conditions.Ready == nil then
  return health("Progressing", nil, "no operator has written a status yet")
end
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", nil, "the operator has not seen the latest change yet")
end
if holds("Paused") then
  return health("Suspended", nil, "failover is paused: spec.paused")
end
if holds("Stalled") then
  return health("Degraded", conditions.Stalled)
end
if holds("Degraded") then
  return health("Degraded", degraded)
end
if not holds("Ready") then
  return health("Progressing", conditions.Ready, "it has no master yet")
end
if holds("Reconciling") then
  return health("Progressing", conditions.Reconciling)
end
if holds("Progressing") then
  return health("Progressing", conditions.Progressing)
end
if holds("SwitchoverInProgress") then
  return health("Progressing", conditions.SwitchoverInProgress)
end
if (status.replicas or 0) < obj.spec.replicas then
  return health("Progressing", nil, (status.replicas or 0) .. " of " .. obj.spec.replicas .. " instances answer")
end
return health("Healthy", nil, (status.master or "an instance") .. " is master")
