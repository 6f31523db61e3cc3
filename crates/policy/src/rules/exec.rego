# ---- Commands of the host --------------------------------------------------------------------------------------------

# A command in a container that runs, with exactly one of its argument lists, as the container's own user and with its
# environment. Never in initializer or mesh, and without a terminal.
ExecProcessRequest if {
	live_name in policy_data.signals
	data.pstate[started_key]
	container := policy_data.containers[live_name]
	regex.match(`^[A-Za-z0-9._-]{1,128}$`, input.exec_id)
	input.exec_id != cid
	is_exactly(input, {"container_id": cid}, {"exec_id", "process", "stdout_port", "stderr_port"})
	is_exactly(
		input.process,
		{"Terminal": false, "Cwd": container.cwd},
		{"NoNewPrivileges", "User", "Args", "Env"},
	)
	allow_no_new_privileges(container, input.process)
	input.process.Args in container.exec
	allow_user(container.user, input.process.User)
	allow_env(container, input.process.Env)
}

allow_no_new_privileges(container, process) if process.NoNewPrivileges == container.no_new_privileges

# Kata's shim leaves it out of what it executes. There the launcher, which lies where the host cannot write, sees to it
# before the command runs.
allow_no_new_privileges(_, process) if {
	process.NoNewPrivileges == false
	array.slice(process.Args, 0, 2) == ["/casemate/bin/launch", "--no-new-privileges"]
}
