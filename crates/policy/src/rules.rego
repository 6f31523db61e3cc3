# What the agent of this pod does for its host. A request that no rule below allows is refused.
#
# `policy_data`, at the end of this document, holds the values of this one pod. In it, `$(cid)` stands for the id of
# the container, `$(sandbox)` for that of the sandbox, and `$(rand)` for 16 hex digits that the host draws.
# `data.pstate` is the agent's memory: what a rule puts there with `ops` is there for the next request.
package agent_policy

import rego.v1

default AllowRequestsFailingPolicy := false

# Decided by the rules below.
default CopyFileRequest := false
default CreateContainerRequest := false
default CreateSandboxRequest := false
default ExecProcessRequest := false
default ReadStreamRequest := false
default RemoveContainerRequest := false
default SignalProcessRequest := false
default StartContainerRequest := false
default AddARPNeighborsRequest := false
default UpdateEphemeralMountsRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false

# Always allowed: they end something, wait or count.
default DestroySandboxRequest := true
default GetOOMEventRequest := true
default GuestDetailsRequest := true
default OnlineCPUMemRequest := true
default RemoveStaleVirtiofsShareMountsRequest := true
default StatsContainerRequest := true
default WaitProcessRequest := true

# Never allowed.
default AddSwapPathRequest := false
default AddSwapRequest := false
default CloseStdinRequest := false
default GetDiagnosticDataRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default PullImageRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default StartTracingRequest := false
default StopTracingRequest := false
default TtyWinResizeRequest := false
default UpdateContainerRequest := false
default VolumeStatsRequest := false
default WriteStreamRequest := false

# ---- Sandbox ---------------------------------------------------------------------------------------------------------

# One sandbox in the life of a guest.
CreateSandboxRequest := {"ops": ops, "allowed": true} if {
	not data.pstate.sandbox
	is_id(input.sandbox_id)
	regex.match(policy_data.hostname, input.hostname)
	input.sandbox_pidns == policy_data.pidns
	allow_storages(policy_data.sandbox_storages, input.storages)
	empty_besides(input, {"sandbox_id", "hostname", "dns", "sandbox_pidns", "storages"})
	ops := [
		{"op": "add", "path": "/pstate/sandbox", "value": input.sandbox_id},
		{"op": "add", "path": "/pstate/hostname", "value": input.hostname},
	]
}

# ---- Containers ------------------------------------------------------------------------------------------------------

oci := input.OCI

annotations := oci.Annotations

cid := object.get(input, "container_id", "")

sandbox := object.get(data.pstate, "sandbox", "")

is_sandbox if {
	is_id(cid)
	cid == sandbox
}

# What the agent remembers of the container of a request.
live_name := data.pstate[state_key("id:", cid)]

state_key(kind, name) := concat("", [kind, name])

state_path(kind, name) := concat("", ["/pstate/", kind, name])

# The pause container comes first, and once.
CreateContainerRequest := {"ops": ops, "allowed": true} if {
	annotations["io.kubernetes.cri.container-type"] == "sandbox"
	not data.pstate.pod
	is_sandbox
	name := annotations["io.kubernetes.cri.sandbox-name"]
	uid := annotations["io.kubernetes.cri.sandbox-uid"]
	regex.match(policy_data.pod, name)
	regex.match(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, uid)
	oci.Hostname == data.pstate.hostname
	hostname_fits(name)
	allow_sandbox_sysctl(policy_data.pause.sysctl, oci.Linux.Sysctl)
	allow_container(policy_data.pause, policy_data.pause.mounts)
	ops := [
		{"op": "add", "path": "/pstate/pod", "value": name},
		{"op": "add", "path": "/pstate/uid", "value": uid},
	]
}

# Each container of the pod is live at most once, and an id names one container for ever: what an agent keeps under the
# id of a container that failed must not become part of another.
CreateContainerRequest := {"ops": ops, "allowed": true} if {
	annotations["io.kubernetes.cri.container-type"] == "container"
	name := annotations["io.kubernetes.cri.container-name"]
	container := policy_data.containers[name]
	not data.pstate[state_key("live:", name)]
	not data.pstate[state_key("used:", cid)]
	cid != sandbox
	annotations["io.kubernetes.cri.sandbox-name"] == data.pstate.pod
	annotations["io.kubernetes.cri.sandbox-uid"] == data.pstate.uid
	oci.Hostname == ""
	oci.Linux.Sysctl == {}
	allow_container(container, array.concat(policy_data.container_mounts, container.mounts))
	ops := [
		{"op": "add", "path": state_path("live:", name), "value": cid},
		{"op": "add", "path": state_path("id:", cid), "value": name},
		{"op": "add", "path": state_path("used:", cid), "value": true},
	]
}

StartContainerRequest if {
	is_sandbox
	empty_besides(input, {"container_id"})
}

StartContainerRequest := {"ops": ops, "allowed": true} if {
	live_name
	empty_besides(input, {"container_id"})
	ops := [{"op": "add", "path": state_path("started:", cid), "value": true}]
}

# After removal a container may be created again. The pause container stays the only one.
RemoveContainerRequest := {"ops": ops, "allowed": true} if {
	is_id(input.container_id)
	empty_besides(input, {"container_id", "timeout"})
	ops := [{"op": "remove", "path": state_key("/pstate/", kept)} |
		some kept in [state_key("id:", cid), state_key("live:", live_name), state_key("started:", cid)]
		data.pstate[kept]
	]
}

# Initializer and mesh are not the host's to signal.
SignalProcessRequest if {
	is_sandbox
	empty_besides(input, {"container_id", "exec_id", "signal"})
}

SignalProcessRequest if {
	live_name in policy_data.signals
	empty_besides(input, {"container_id", "exec_id", "signal"})
}

# A command in a container that runs, with exactly one of its argument lists, as the container's own user and with its
# environment. Never in initializer or mesh, and without a terminal.
ExecProcessRequest if {
	live_name in policy_data.signals
	data.pstate[state_key("started:", cid)]
	container := policy_data.containers[live_name]
	regex.match(`^[A-Za-z0-9._-]{1,128}$`, input.exec_id)
	input.exec_id != cid
	process := input.process
	process.Args in container.exec
	process.Terminal == false
	allow_user(container.user, process.User)
	allow_env(container, process.Env)
	process.Cwd == container.cwd
	process.NoNewPrivileges == container.no_new_privileges
	empty_besides(process, {"Terminal", "User", "Args", "Env", "Cwd", "NoNewPrivileges"})
	empty_besides(input, {"container_id", "exec_id", "process", "stdout_port", "stderr_port"})
}

# What the containers write. Closed, an agent of Kata reads it and throws it away.
ReadStreamRequest if {
	policy_data.logs
	is_known
	regex.match(`^[A-Za-z0-9._-]{0,128}$`, object.get(input, "exec_id", ""))
	is_count(object.get(input, "len", 0))
	empty_besides(input, {"container_id", "exec_id", "len"})
}

is_known if is_sandbox

is_known if live_name

allow_container(container, mounts) if {
	is_id(cid)
	input.exec_id == cid
	input.sandbox_pidns == policy_data.pidns
	empty_besides(input, {"container_id", "exec_id", "storages", "OCI", "sandbox_pidns", "stdout_port", "stderr_port"})
	regex.match(`^1\.[0-9]+\.[0-9]+(-rc\.[0-9]+)?$`, oci.Version)
	oci.Root == {"Path": fill("/run/kata-containers/$(cid)/rootfs"), "Readonly": container.readonly_root}
	empty_besides(oci, {"Version", "Process", "Root", "Hostname", "Mounts", "Annotations", "Linux"})
	allow_annotations(container)
	allow_process(container, oci.Process)
	allow_mounts(array.concat(policy_data.mounts, mounts), oci.Mounts)
	allow_storages(array.concat([root_storage], container.storages), input.storages)
	allow_linux(oci.Linux)
}

# ---- Annotations -----------------------------------------------------------------------------------------------------

allow_annotations(container) if {
	required := required_annotations(container)
	every key, value in required {
		annotations[key] == value
	}
	every key, value in object.remove(annotations, object.keys(required)) {
		allow_annotation(key, value)
	}
	allow_image(container)
}

# The same image in two spellings: as the pod's YAML says it, and without its tag, as older hosts do. The pause
# container has none.
allow_image(container) if annotations["io.kubernetes.cri.image-name"] in container.images

allow_image(container) if {
	not container.images
	not annotations["io.kubernetes.cri.image-name"]
}

required_annotations(container) := object.union(container.annotations, {
	"io.kubernetes.cri.container-type": container.type,
	"io.katacontainers.pkg.oci.container_type": concat("", ["pod_", container.type]),
	"io.kubernetes.cri.sandbox-id": sandbox,
	"io.kubernetes.cri.sandbox-namespace": policy_data.namespace,
})

# Annotations that may be there, too. None of them changes what the agent does.
allow_annotation(key, value) if regex.match(annotation_patterns[key], value)

annotation_patterns := {
	"io.katacontainers.config.hypervisor.cc_init_data": `^[A-Za-z0-9+/=]*$`,
	"io.katacontainers.pkg.oci.bundle_path": concat("", [`^/run/([a-z0-9_.-]+/)*k8s\.io/`, cid, `$`]),
	# Checked by allow_image.
	"io.kubernetes.cri.image-name": `^`,
	"io.kubernetes.cri.podsandbox.image-name": `^[A-Za-z0-9_.:/@-]*$`,
	"io.kubernetes.cri.sandbox-cpu-period": `^[0-9]+$`,
	"io.kubernetes.cri.sandbox-cpu-quota": `^-?[0-9]+$`,
	"io.kubernetes.cri.sandbox-cpu-shares": `^[0-9]+$`,
	"io.kubernetes.cri.sandbox-log-directory": `^/var/log/pods/[A-Za-z0-9_.-]+$`,
	"io.kubernetes.cri.sandbox-memory": `^[0-9]+$`,
	# Checked again, against memory, by the rules that use them.
	"io.kubernetes.cri.sandbox-name": `^[a-z0-9.-]+$`,
	"io.kubernetes.cri.sandbox-uid": `^[0-9a-f-]{36}$`,
	"nerdctl/network-namespace": `^(/var)?/run/netns/[A-Za-z0-9-]+$`,
}

# ---- Process ---------------------------------------------------------------------------------------------------------

allow_process(container, process) if {
	process.Terminal == container.terminal
	allow_user(container.user, process.User)
	allow_args(container, process.Args)
	allow_env(container, process.Env)
	process.Cwd == container.cwd
	allow_capabilities(container.capabilities, process.Capabilities)
	process.NoNewPrivileges == container.no_new_privileges
	process.ApparmorProfile in {"", "cri-containerd.apparmor.d"}
	empty_besides(process, {
		"Terminal", "User", "Args", "Env", "Cwd", "Capabilities", "NoNewPrivileges", "ApparmorProfile", "OOMScoreAdj",
	})
}

allow_user(user, given) if {
	given.UID == user.UID
	given.GID == user.GID
	same(user.AdditionalGids, given.AdditionalGids)
	empty_besides(given, {"UID", "GID", "AdditionalGids"})
}

allow_capabilities(capabilities, given) if {
	same(capabilities, given.Bounding)
	same(capabilities, given.Effective)
	same(capabilities, given.Permitted)
	empty_besides(given, {"Bounding", "Effective", "Permitted"})
}

# Some arguments hold values that only the cluster knows. What stands for them in `args` is for people to read.
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

# Every declared variable with its value, each name once, and besides only what the cluster alone knows.
allow_env(container, given) if {
	is_array(given)
	names := {variable_name(variable) | some variable in given}
	count(names) == count(given)
	variables := {variable | some variable in given}
	fixed := {variable | some variable in container.env}
	count(fixed - variables) == 0
	every name, _ in container.env_from {
		name in names
	}
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

allow_value("pod-name", value) if value == data.pstate.pod

allow_value("pod-uid", value) if value == data.pstate.uid

allow_value("node-name", value) if regex.match(concat("", ["^", node_name, "$"]), value)

allow_value("ip", value) if regex.match(concat("", ["^", ip, "$"]), value)

allow_value("ips", value) if regex.match(concat("", ["^", ips, "$"]), value)

allow_value(pattern, value) if {
	startswith(pattern, "^")
	regex.match(with_values(pattern), value)
}

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

# ---- Mounts and storages ---------------------------------------------------------------------------------------------

allow_mounts(mounts, given) if {
	count(given) == count(mounts)
	by_destination := {mount.destination: mount | some mount in given}
	count(by_destination) == count(given)
	every mount in mounts {
		allow_mount(mount, by_destination[mount.destination])
	}
	in_order(given)
}

allow_mount(mount, given) if {
	object.remove(given, {"source", "options"}) == object.remove(mount, {"source", "options"})
	source_fits(mount.source, given.source)
	allow_options(mount, given.options)
}

allow_options(mount, options) if options == mount.options

# Newer hosts repeat these of their own cgroup file system. It stays read-only.
allow_options(mount, options) if {
	mount.type_ == "cgroup"
	is_array(options)
	count({option | some option in options}) == count(options)
	[option | some option in options; not option in cgroup_options_of_newer_hosts] == mount.options
}

cgroup_options_of_newer_hosts := ["nsdelegate", "memory_recursiveprot"]

# No mount hides one that was made before it: what lies above a mount was made earlier.
in_order(given) if {
	position := {mount.destination: at | some at, mount in given}
	hidden := [1 |
		some at, mount in given
		parts := split(mount.destination, "/")
		some depth, _ in parts
		position[concat("/", array.slice(parts, 0, depth))] > at
	]
	count(hidden) == 0
}

source_fits(template, source) if {
	not contains(template, "$(rand)")
	source == fill(template)
}

source_fits(template, source) if {
	parts := split(fill(template), "$(rand)")
	count(parts) == 2
	startswith(source, parts[0])
	endswith(source, parts[1])
	count(source) == (count(parts[0]) + 16) + count(parts[1])
	regex.match(`^[0-9a-f]{16}$`, substring(source, count(parts[0]), 16))
}

fill(template) := replace(replace(template, "$(cid)", cid), "$(sandbox)", sandbox)

# The one root file system: the image that the container's annotation names and `allow_image` compares. The pause
# container names none, and the agent has its image.
root_storage := {
	"driver": "image_guest_pull",
	"source": object.get(annotations, "io.kubernetes.cri.image-name", "pause"),
	"fstype": "overlay",
	"options": [],
	"mount_point": "/run/kata-containers/$(cid)/rootfs",
}

allow_storages(storages, given) if {
	count(given) == count(storages)
	count({storage.mount_point | some storage in given}) == count(given)
	every storage in storages {
		some candidate in given
		candidate.mount_point == fill(storage.mount_point)
		candidate.driver == storage.driver
		candidate.source == storage.source
		candidate.fstype == storage.fstype
		candidate.options == storage.options
		allow_driver_options(candidate.driver, candidate.driver_options)
		empty_besides(candidate, {"driver", "driver_options", "source", "fstype", "options", "mount_point"})
	}
}

allow_driver_options(driver, options) if {
	driver != "image_guest_pull"
	options == []
}

# The shim repeats the annotations beside the image, and the agent unpacks its own pause image in place of `source`
# where they say so: both must say the same.
allow_driver_options("image_guest_pull", options) if {
	count(options) == 1
	startswith(options[0], "image_guest_pull=")
	pull := json.unmarshal(trim_prefix(options[0], "image_guest_pull="))
	empty_besides(pull, {"metadata"})
	pull.metadata["io.kubernetes.cri.container-type"] == annotations["io.kubernetes.cri.container-type"]
	every key, value in pull.metadata {
		allow_metadata(key, value)
	}
}

allow_metadata(key, value) if annotations[key] == value

# Labels of containerd's snapshotter, which the agent does not read.
allow_metadata(key, _) if {
	not annotations[key]
	startswith(key, "containerd.io/")
}

# ---- Linux -----------------------------------------------------------------------------------------------------------

allow_linux(linux) if {
	same(namespaces, linux.Namespaces)
	paths_fit(masked_paths, masked_paths_of_newer_hosts, linux.MaskedPaths)
	paths_fit(readonly_paths, [], linux.ReadonlyPaths)
	regex.match(concat("", [`^/?kubepods[a-z0-9_.:/-]*[/:]`, cid, "$"]), linux.CgroupsPath)
	not contains(linux.CgroupsPath, "..")
	empty_besides(linux.Resources, {"Memory", "CPU"})
	empty_besides(linux, {
		"Namespaces", "MaskedPaths", "ReadonlyPaths", "CgroupsPath", "Resources", "Sysctl",
	})
}

# The network and process namespaces of a container are those of the guest.
namespaces := [{"Type": "ipc", "Path": ""}, {"Type": "uts", "Path": ""}, {"Type": "mount", "Path": ""}]

masked_paths := [
	"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
]

masked_paths_of_newer_hosts := ["/proc/interrupts", "/sys/devices/virtual/powercap"]

readonly_paths := ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

paths_fit(paths, optional, given) if {
	is_array(given)
	set := {path | some path in given}
	count(set) == count(given)
	count({path | some path in paths} - set) == 0
	every path in set - {path | some path in paths} {
		path in optional
	}
}

allow_sandbox_sysctl(sysctl, given) if {
	every key, value in sysctl {
		given[key] == value
	}
	every key, value in object.remove(given, object.keys(sysctl)) {
		sysctls_of_newer_hosts[key] == value
	}
}

# containerd 2 sets these for pods that do not.
sysctls_of_newer_hosts := {
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.ping_group_range": "0 2147483647",
}

# ---- Files that the host copies in -----------------------------------------------------------------------------------

# Their content is the host's word. `policy_data.copies` names single files, and trees with what lies below them.
CopyFileRequest if {
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
	allow_copy(type, substring(parts[0], 82, -1), count(parts))
	empty_besides(input, {
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

# A file of one of the names, or in a tree; no set-user-id, set-group-id or sticky bit.
allow_copy("Regular", base, depth) if {
	is_place(base, depth)
	count(link_targets) == 0
	object.get(input, "file_mode", 0) % 4096 < 512
}

# The kubelet's directories may be sticky and pass on their group.
allow_copy("Directory", base, depth) if {
	base in policy_data.copies.trees
	count(link_targets) == 0
	is_empty(object.get(input, "data", []))
	object.get(input, "file_mode", 0) % 4096 < 2048
}

# A link within a tree that leads down from where it stands, so that no chain of links leaves the tree.
allow_copy("Symlink", base, depth) if {
	base in policy_data.copies.trees
	depth > 1
	shown := spelled(object.get(input, "data", []))
	targets := (link_targets | {shown}) - {""}
	count(targets) == 1
	every target in targets {
		stays_below(split(target, "/"))
	}
}

is_place(base, 1) if base in policy_data.copies.files

is_place(base, depth) if {
	base in policy_data.copies.trees
	depth > 1
}

stays_below(parts) if {
	every part in parts {
		not part in {"", ".", ".."}
	}
}

link_targets contains target if {
	some field in ["symlink_src", "symlink_target"]
	target := object.get(input, field, "")
	not is_empty(target)
}

# The text of bytes from `-` to `z`. There is none of others.
spelled(bytes) := text if {
	every byte in bytes {
		byte >= 45
		byte <= 122
	}
	letters := "-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz"
	text := concat("", [substring(letters, byte - 45, 1) | some byte in bytes])
	count(text) == count(bytes)
}

# ---- Network ---------------------------------------------------------------------------------------------------------

# What the host may say of the guest's network. TLS does not trust the network; these keep it from being anything else
# than a network: no loopback address leaves the guest, and no device is one that the rules do not know.
network := {
	"device": `^(eth|net)[0-9]{1,3}$`,
	# Of one station.
	"hardware_address": `^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$`,
	"address": concat("", ["^", ip, "$"]),
	# The whole network, or one with its prefix.
	"destination": concat("", ["^(", ip, "(/[0-9]{1,3})?)?$"]),
	"loopback": `^127\.|^[0:]*:(0*1|[0-9a-f:]*ffff:.*)(/[0-9]+)?$`,
	"prefix": `^[0-9]{1,3}$`,
	"bus_path": `^[0-9a-f./]{0,64}$`,
	"type": `^[a-z0-9_-]{0,15}$`,
	# None or IFF_NOARP.
	"raw_flags": [0, 128],
	# RT_SCOPE_UNIVERSE and RT_SCOPE_LINK.
	"scope": [0, 253],
	# None or RTNH_F_ONLINK.
	"route_flags": [0, 4],
	# NUD_REACHABLE and NUD_PERMANENT.
	"state": [2, 128],
	# NTF_PROXY and NTF_ROUTER.
	"neighbor_flags": [0, 8, 128, 136],
	# From what every host of IPv4 must take to the longest frame.
	"mtu": [576, 65535],
}

UpdateInterfaceRequest if {
	empty_besides(input, {"interface"})
	interface := input.interface
	empty_besides(interface, {
		"name", "device", "hwAddr", "raw_flags", "IPAddresses", "mtu", "devicePath", "pciPath", "type", "type_",
	})
	regex.match(network.device, interface.name)
	regex.match(network.device, interface.device)
	is_hardware_address(interface.hwAddr)
	object.get(interface, "raw_flags", 0) in network.raw_flags
	is_mtu(interface.mtu)
	every field in ["devicePath", "pciPath"] {
		regex.match(network.bus_path, object.get(interface, field, ""))
	}
	every field in ["type", "type_"] {
		regex.match(network.type, object.get(interface, field, ""))
	}
	every address in interface.IPAddresses {
		empty_besides(address, {"address", "family", "mask"})
		is_address(address.family, address.address)
		regex.match(network.prefix, address.mask)
	}
}

UpdateRoutesRequest if {
	empty_besides(input, {"routes"})
	empty_besides(input.routes, {"Routes"})
	every route in input.routes.Routes {
		empty_besides(route, {"device", "dest", "source", "gateway", "scope", "family", "flags", "mtu"})
		regex.match(network.device, route.device)
		regex.match(network.destination, route.dest)
		not regex.match(network.loopback, route.dest)
		every field in ["gateway", "source"] {
			is_address_or_none(route.family, object.get(route, field, ""))
		}
		is_family(route.family, route.dest)
		route.scope in network.scope
		object.get(route, "flags", 0) in network.route_flags
		is_mtu_or_none(object.get(route, "mtu", 0))
	}
}

AddARPNeighborsRequest if {
	empty_besides(input, {"neighbors"})
	empty_besides(input.neighbors, {"ARPNeighbors"})
	every neighbor in input.neighbors.ARPNeighbors {
		empty_besides(neighbor, {"device", "toIPAddress", "lladdr", "state", "flags"})
		regex.match(network.device, neighbor.device)
		empty_besides(neighbor.toIPAddress, {"address", "family"})
		is_address(neighbor.toIPAddress.family, neighbor.toIPAddress.address)
		is_hardware_address(neighbor.lladdr)
		neighbor.state in network.state
		object.get(neighbor, "flags", 0) in network.neighbor_flags
	}
}

is_hardware_address(address) if {
	regex.match(network.hardware_address, address)
	address != "00:00:00:00:00:00"
}

is_address(family, address) if {
	regex.match(network.address, address)
	not regex.match(network.loopback, address)
	is_family(family, address)
}

is_address_or_none(_, "") := true

is_address_or_none(family, address) if is_address(family, address)

# IPv4 is family 0, and its addresses have no colon. A default route of either family has no destination.
is_family(0, address) if not contains(address, ":")

is_family(1, address) if contains(address, ":")

is_family(1, "") := true

is_mtu(mtu) if {
	is_count(mtu)
	mtu >= network.mtu[0]
	mtu <= network.mtu[1]
}

is_mtu_or_none(0) := true

is_mtu_or_none(mtu) if is_mtu(mtu)

UpdateEphemeralMountsRequest if {
	input.storages == []
	empty_besides(input, {"storages"})
}

# ---- Words of these rules --------------------------------------------------------------------------------------------

is_id(id) if regex.match(`^[0-9a-f]{64}$`, id)

hostname_fits(_) if policy_data.hostname_is_fixed

hostname_fits(name) if data.pstate.hostname == substring(name, 0, 63)

same(list, given) if {
	is_array(given)
	count(given) == count(list)
	{item | some item in given} == {item | some item in list}
}

is_count(number) if {
	number >= 0
	number == floor(number)
}

# What these rules do not know must not be there, or be empty.
empty_besides(given, known) if {
	every value in object.remove(given, known) {
		is_empty(value)
	}
}

is_empty(value) if value in [null, false, 0, "", [], {}]
