-- Health of a FailoverPolicy: Degraded where its newest version was refused, or failed too often. The version before, or the
-- embedded policy, decides meanwhile.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
if conditions.Ready == nil then
  return { status = "Progressing", message = "no operator has written a status yet" }
end
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen the latest change yet" }
end
if conditions.Refused ~= nil and conditions.Refused.status == "True" then
  return { status = "Degraded", message = conditions.Refused.reason .. ": " .. conditions.Refused.message }
end
if conditions.Ready.status == "True" then
  return { status = "Healthy", message = conditions.Ready.message }
end
local health = conditions.Ready.reason == "Quarantined" and "Degraded" or "Progressing"
return { status = health, message = conditions.Ready.reason .. ": " .. conditions.Ready.message }
