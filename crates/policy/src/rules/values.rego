# ---- Values of the cluster -------------------------------------------------------------------------------------------

# What variables and arguments take from fields that the cluster alone knows.
allow_value("pod-name", value) if value == data.pstate.pod

allow_value("pod-uid", value) if value == data.pstate.uid

allow_value("node-name", value) if regex.match(concat("", ["^", node_name, "$"]), value)

allow_value("ip", value) if regex.match(concat("", ["^", ip, "$"]), value)

allow_value("ips", value) if regex.match(concat("", ["^", ips, "$"]), value)

allow_value(pattern, value) if {
	startswith(pattern, "^")
	regex.match(with_values(pattern), value)
}

# Some arguments hold such values. What stands for them in `args` is for people to read.
allow_args(container, given) if {
	count(given) == count(container.args)
	every at, argument in given {
		allow_argument(container, at, argument)
	}
}

allow_argument(container, at, given) if {
	not container.args_from[format_int(at, 10)]
	given == container.args[at]
}

allow_argument(container, at, given) if regex.match(with_values(container.args_from[format_int(at, 10)]), given)

# A pattern with what the cluster says in the places of `$(ip)` and its like. Of names and UIDs only the dot means
# something to a pattern.
with_values(pattern) := strings.replace_n(values_of_cluster, pattern)

values_of_cluster := {
	"$(hostname)": replace(object.get(data.pstate, "hostname", ""), ".", `\.`),
	"$(pod-name)": replace(object.get(data.pstate, "pod", ""), ".", `\.`),
	"$(pod-uid)": object.get(data.pstate, "uid", ""),
	"$(node-name)": node_name,
	"$(ips)": ips,
	"$(ip)": ip,
}

node_name := `[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?`

# The addresses of a pod or node, one of each family.
ips := concat("", [ip, "(,", ip, ")?"])
