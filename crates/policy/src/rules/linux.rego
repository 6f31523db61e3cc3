# ---- Linux -----------------------------------------------------------------------------------------------------------

allow_linux(linux) if {
	is_exactly(linux, {}, {"Namespaces", "MaskedPaths", "ReadonlyPaths", "CgroupsPath", "Resources", "Sysctl"})
	set_of(linux.Namespaces) == namespaces
	set_of(linux.MaskedPaths) - masked_paths_of_newer_hosts == masked_paths
	set_of(linux.ReadonlyPaths) == readonly_paths
	regex.match(concat("", [`^/?kubepods[a-z0-9_.:/-]*[/:]`, cid, "$"]), linux.CgroupsPath)
	not contains(linux.CgroupsPath, "..")
	is_exactly(linux.Resources, {}, {"Memory", "CPU"})
}

# The network and process namespaces of a container are those of the guest.
namespaces := {{"Type": "ipc", "Path": ""}, {"Type": "uts", "Path": ""}, {"Type": "mount", "Path": ""}}

masked_paths := {
	"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
}

masked_paths_of_newer_hosts := {"/proc/interrupts", "/sys/devices/virtual/powercap"}

readonly_paths := {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

allow_sandbox_sysctl(given) if {
	every key, value in policy_data.sysctl {
		given[key] == value
	}
	every key, value in given {
		object.union(sysctls_of_newer_hosts, policy_data.sysctl)[key] == value
	}
}

# containerd 2 sets these for pods that do not.
sysctls_of_newer_hosts := {
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.ping_group_range": "0 2147483647",
}
