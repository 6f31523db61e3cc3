# ---- Trees that the host copies in -----------------------------------------------------------------------------------

copy_of("Regular", base, parts) := {} if {
	is_inside(base, parts)
	is_plain_file
}

is_inside(base, parts) if {
	base in policy_data.copies.trees
	count(parts) > 1
}

# The kubelet's directories may be sticky and pass on their group.
copy_of("Directory", base, _) := {} if {
	base in policy_data.copies.trees
	count(link_targets) == 0
	is_empty(object.get(input, "data", []))
	object.get(input, "file_mode", 0) % 4096 < 2048
}

# A link within a tree that leads down from where it stands, so that no chain of links leaves the tree.
copy_of("Symlink", base, parts) := {} if {
	is_inside(base, parts)
	targets := (link_targets | {spelled(object.get(input, "data", []))}) - {""}
	count(targets) == 1
	every target in targets {
		stays_below(split(target, "/"))
	}
}

# The text of bytes from `-` to `z`. There is none of others.
spelled(bytes) := text if {
	every byte in bytes {
		byte >= 45
		byte <= 122
		byte == floor(byte)
	}
	text := concat("", [sprintf("%c", [byte]) | some byte in bytes])
}
