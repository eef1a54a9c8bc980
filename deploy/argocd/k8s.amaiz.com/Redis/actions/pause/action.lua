-- Observe and explain, but do not act.
obj.spec.paused = true
return obj
