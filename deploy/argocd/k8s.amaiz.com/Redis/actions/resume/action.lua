-- Absent is the default: nothing is left that differs from a manifest without the field.
obj.spec.paused = nil
return obj
