# ---- Indexed Jobs ----------------------------------------------------------------------------------------------------

# The controller of an Indexed Job gives each pod an index: the end of its host name, and the same in its name and its
# variables. Of a long name of a Job only the beginning is in the pod's.
hostname_fits(name) if {
	end := concat("-", ["", index_of_pod, ""])
	start := substring(name, 0, count(name) - 5)
	endswith(start, end)
	startswith(data.pstate.hostname, trim_suffix(start, end))
}

index_of_pod := regex.replace(data.pstate.hostname, `^.*-`, "")

allow_value("index", value) if value == index_of_pod

allow_value(pattern, value) if {
	startswith(pattern, "^")
	regex.match(with_index(pattern), value)
}

allow_argument(container, at, given) if regex.match(with_index(container.args_from[format_int(at, 10)]), given)

with_index(pattern) := replace(with_values(pattern), "$(index)", index_of_pod)
