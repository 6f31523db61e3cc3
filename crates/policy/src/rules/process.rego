# ---- Process ---------------------------------------------------------------------------------------------------------

allow_process(container, process) if {
	is_exactly(
		process,
		{
			"Terminal": container.terminal, "Cwd": container.cwd,
			"NoNewPrivileges": container.no_new_privileges,
		},
		{"User", "Args", "Env", "Capabilities", "ApparmorProfile", "OOMScoreAdj"},
	)
	allow_args(container, process.Args)
	allow_user(container.user, process.User)
	allow_env(container, process.Env)
	allow_capabilities(capabilities_of(container), process.Capabilities)
	process.ApparmorProfile in ["", "cri-containerd.apparmor.d"]
}

# Where arguments hold values of the cluster, more rules are here.
allow_args(container, given) if {
	not container.args_from
	given == container.args
}

allow_user([uid, gid, groups], given) if {
	is_exactly(given, {"UID": uid, "GID": gid}, {"AdditionalGids"})
	set_of(given.AdditionalGids) == set_of(groups)
}

allow_capabilities(capabilities, given) if {
	is_exactly(given, {}, {"Bounding", "Effective", "Permitted"})
	every kind in ["Bounding", "Effective", "Permitted"] {
		set_of(given[kind]) == capabilities
	}
}

capabilities_of(container) := with_prefix(default_capabilities) if container.capabilities == "default"

capabilities_of(container) := with_prefix(container.capabilities) if is_array(container.capabilities)

with_prefix(names) := {concat("", ["CAP_", name]) | some name in names}

default_capabilities := [
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
	"NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
]

# Every declared variable with its value, each name once, and besides only what the cluster alone knows.
allow_env(container, given) if {
	variables := set_of(given)
	names := {variable_name(variable) | some variable in given}
	count(names) == count(given)
	fixed := set_of(container.env)
	count(fixed - variables) == 0
	count(object.keys(container.env_from) - names) == 0
	every variable in variables - fixed {
		allow_variable(container, variable)
	}
}

variable_name(variable) := substring(variable, 0, indexof(variable, "="))

allow_variable(container, variable) if {
	name := variable_name(variable)
	allow_value(container.env_from[name], substring(variable, count(name) + 1, -1))
}

allow_variable(container, variable) if {
	not container.env_from[variable_name(variable)]
	some pattern in service_variables
	regex.match(pattern, variable)
}

allow_value("hostname", value) if value == data.pstate.hostname

ip := `([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f]*:[0-9a-f:]*(\.[0-9]{1,3}){0,3})`

# What the kubelet says of Services, here for those whose names are in `policy_data.services`.
service_variables := [replace(replace(pattern, "<name>", concat("|", policy_data.services)), "<ip>", ip) |
	some pattern in [
		`^(<name>)_(SERVICE_HOST|PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR)=<ip>$`,
		`^(<name>)_(SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)_PORT)=[0-9]{1,5}$`,
		`^(<name>)_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO=(tcp|udp|sctp)$`,
		`^(<name>)_PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://\[?<ip>\]?:[0-9]{1,5}$`,
	]
]
