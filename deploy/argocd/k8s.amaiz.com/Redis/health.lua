-- Health of a Redis, and of a RedisFailover, which has the same status and further conditions: by its conditions, which follow kstatus: Stalled needs a person, Reconciling passes by itself. An operator that knows
-- neither says Degraded and Progressing.
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

-- The API server admitted it, and this operator cannot read it: it names no generation that it observed.
local degraded = conditions.Degraded
if holds("Degraded") and degraded.observedGeneration == nil then
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
if holds("Bootstrapping") then
  return health("Suspended", conditions.Bootstrapping)
end
if holds("Stalled") then
  return health("Degraded", conditions.Stalled)
end
if holds("Reconciling") then
  return health("Progressing", conditions.Reconciling)
end
if holds("Degraded") then
  return health("Degraded", degraded)
end
if obj.spec.hibernate == true and holds("Ready") then
  return health("Suspended", conditions.Ready)
end
if not holds("Ready") then
  return health("Progressing", conditions.Ready, "it has no master yet")
end
if holds("Progressing") then
  return health("Progressing", conditions.Progressing)
end
if holds("SwitchoverInProgress") then
  return health("Progressing", conditions.SwitchoverInProgress)
end
-- Of a RedisFailover the number lies below, and has a default.
local desired = obj.spec.replicas or 0
if obj.kind == "RedisFailover" then
  desired = (obj.spec.redis or {}).replicas or 0
  if desired == 0 then
    desired = 3
  end
end
if (status.replicas or 0) < desired then
  return health("Progressing", nil, (status.replicas or 0) .. " of " .. desired .. " instances answer")
end
for _, name in ipairs({ "SentinelsReady", "SentinelsAgree" }) do
  if conditions[name] ~= nil and conditions[name].status == "False" then
    return health("Progressing", conditions[name])
  end
end
return health("Healthy", nil, (status.master or "an instance") .. " is master")
