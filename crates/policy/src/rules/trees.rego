# ---- Trees that the host copies in -----------------------------------------------------------------------------------

is_place(base, depth) if {
	base in policy_data.copies.trees
	depth > 1
}

# The kubelet's directories may be sticky and pass on their group.
allow_copy("Directory", base, _) if {
	base in policy_data.copies.trees
	count(link_targets) == 0
	is_empty(object.get(input, "data", []))
	object.get(input, "file_mode", 0) % 4096 < 2048
}

# A link within a tree that leads down from where it stands, so that no chain of links leaves the tree.
allow_copy("Symlink", base, depth) if {
	base in policy_data.copies.trees
	depth > 1
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
