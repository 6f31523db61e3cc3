# ---- Output ----------------------------------------------------------------------------------------------------------

# What the containers write. Closed, an agent of Kata reads it and throws it away.
ReadStreamRequest if {
	policy_data.logs
	is_known
	regex.match(`^[A-Za-z0-9._-]{0,128}$`, object.get(input, "exec_id", ""))
	is_count(object.get(input, "len", 0))
	is_exactly(input, {"container_id": cid}, {"exec_id", "len"})
}
