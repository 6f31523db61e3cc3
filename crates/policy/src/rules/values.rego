# ---- Values of the cluster -------------------------------------------------------------------------------------------

# What variables take from fields that the cluster alone knows.
allow_value("pod-name", value) if value == data.pstate.pod

allow_value("pod-uid", value) if value == data.pstate.uid

allow_value("node-name", value) if regex.match(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`, value)

allow_value("ip", value) if regex.match(concat("", ["^", ip, "$"]), value)
