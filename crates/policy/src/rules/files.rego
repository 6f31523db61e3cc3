# ---- Files that the host copies in -----------------------------------------------------------------------------------

# Their content is the host's word. `policy_data.copies` names single files, and trees with what lies below them.
CopyFileRequest := keeping(kept) if {
	copied := "/run/kata-containers/shared/containers/"
	startswith(input.path, copied)
	parts := split(trim_prefix(input.path, copied), "/")
	stays_below(parts)
	regex.match(`^[0-9a-f]{64}-[0-9a-f]{16}-`, parts[0])
	every field in ["file_mode", "file_size", "offset", "uid", "gid"] {
		is_count(object.get(input, field, 0))
	}
	object.get(input, "dir_mode", 0) in copy_dir_modes
	is_array(object.get(input, "data", []))
	# Newer agents show the type and the target of a link, older ones the type in the upper bits of the mode and the
	# target in `data` or `symlink_src`. A request that says something twice must say the same twice.
	count(copied_types) == 1
	some type in copied_types
	kept := copy_of(type, substring(parts[0], 82, -1), parts)
	is_exactly(input, {}, {
		"path", "file_size", "file_mode", "file_type", "dir_mode", "uid", "gid", "offset", "data", "symlink_src",
		"symlink_target",
	})
}

# 0750 as Go, as Rust, and as nobody writes it: directories on the way to the file.
copy_dir_modes := [2147484136, 16872, 0]

copied_types contains type if {
	type := object.get(input, "file_type", "")
	not is_empty(type)
}

copied_types contains object.get(types_of_modes, format_int(bits, 10), "no type that is copied") if {
	bits := floor(object.get(input, "file_mode", 0) / 4096)
	bits != 0
}

# S_IFDIR, S_IFREG and S_IFLNK, in units of 0o10000.
types_of_modes := {"4": "Directory", "8": "Regular", "10": "Symlink"}

# What is remembered of a copy that may be made. A single file comes whole, and once for each name that the host draws:
# the agent writes beside the file before it moves it to its place, and a second request that holds what the first one
# wrote could change what the launcher has compared.
copy_of("Regular", base, parts) := {key: true} if {
	count(parts) == 1
	base in policy_data.copies.files
	is_plain_file
	object.get(input, "offset", 0) == 0
	key := concat(":", ["copied", substring(parts[0], 0, 81)])
	not data.pstate[key]
}

# No set-user-id, set-group-id or sticky bit.
is_plain_file if {
	count(link_targets) == 0
	object.get(input, "file_mode", 0) % 4096 < 512
}

stays_below(parts) if {
	every part in parts {
		not part in ["", ".", ".."]
	}
}

link_targets contains target if {
	some field in ["symlink_src", "symlink_target"]
	target := object.get(input, field, "")
	not is_empty(target)
}
