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
default RemoveContainerRequest := false
default SignalProcessRequest := false
default StartContainerRequest := false
default AddARPNeighborsRequest := false
default UpdateEphemeralMountsRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false

# Always allowed: they end something, wait, count, or read the container's own output.
default DestroySandboxRequest := true
default GetOOMEventRequest := true
default GuestDetailsRequest := true
default OnlineCPUMemRequest := true
default ReadStreamRequest := true
default RemoveStaleVirtiofsShareMountsRequest := true
default StatsContainerRequest := true
default WaitProcessRequest := true

# Never allowed.
default AddSwapPathRequest := false
default AddSwapRequest := false
default CloseStdinRequest := false
default ExecProcessRequest := false
default GetDiagnosticDataRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactRequest := false
default MemAgentMemcgRequest := false
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

# Each container of the pod is live at most once.
CreateContainerRequest := {"ops": ops, "allowed": true} if {
	annotations["io.kubernetes.cri.container-type"] == "container"
	name := annotations["io.kubernetes.cri.container-name"]
	container := policy_data.containers[name]
	live := concat("", ["live:", name])
	not data.pstate[live]
	id := concat("", ["id:", cid])
	not data.pstate[id]
	cid != sandbox
	annotations["io.kubernetes.cri.sandbox-name"] == data.pstate.pod
	annotations["io.kubernetes.cri.sandbox-uid"] == data.pstate.uid
	oci.Hostname == ""
	oci.Linux.Sysctl == {}
	allow_container(container, array.concat(policy_data.mounts, container.mounts))
	ops := [
		{"op": "add", "path": concat("", ["/pstate/", live]), "value": cid},
		{"op": "add", "path": concat("", ["/pstate/", id]), "value": name},
	]
}

StartContainerRequest if {
	is_sandbox
	empty_besides(input, {"container_id"})
}

StartContainerRequest if {
	data.pstate[concat("", ["id:", cid])]
	empty_besides(input, {"container_id"})
}

# After removal a container may be created again. The pause container stays the only one.
RemoveContainerRequest := {"ops": ops, "allowed": true} if {
	is_id(input.container_id)
	empty_besides(input, {"container_id", "timeout"})
	id := concat("", ["id:", cid])
	ops := [{"op": "remove", "path": concat("", ["/pstate/", key])} |
		name := data.pstate[id]
		some key in [id, concat("", ["live:", name])]
	]
}

# Initializer and mesh are not the host's to signal.
SignalProcessRequest if {
	is_sandbox
	empty_besides(input, {"container_id", "exec_id", "signal"})
}

SignalProcessRequest if {
	data.pstate[concat("", ["id:", cid])] in policy_data.signals
	empty_besides(input, {"container_id", "exec_id", "signal"})
}

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
	allow_mounts(mounts, oci.Mounts)
	allow_storages(container.storages, input.storages)
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
	process.Args == container.args
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

# Every declared variable with its value, each name once, and besides only what the cluster alone knows.
allow_env(container, given) if {
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

allow_value("pod-name", value) if value == annotations["io.kubernetes.cri.sandbox-name"]

allow_value("pod-uid", value) if value == annotations["io.kubernetes.cri.sandbox-uid"]

allow_value("node-name", value) if regex.match(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`, value)

allow_value("ip", value) if regex.match(concat("", ["^", ip, "$"]), value)

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
	object.remove(given, {"source"}) == object.remove(mount, {"source"})
	source_fits(mount.source, given.source)
}

# No mount hides one that was made before it.
in_order(given) if {
	hidden := [1 |
		some later, mount in given
		below := concat("", [mount.destination, "/"])
		some earlier, other in given
		earlier < later
		startswith(other.destination, below)
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

# Their content is the host's word. Only the files named in `policy_data.copies`, and only below them.
CopyFileRequest if {
	copied := "/run/kata-containers/shared/containers/"
	startswith(input.path, copied)
	parts := split(trim_prefix(input.path, copied), "/")
	every part in parts {
		not part in {"", ".", ".."}
	}
	regex.match(`^[0-9a-f]{64}-[0-9a-f]{16}-`, parts[0])
	substring(parts[0], 82, -1) in policy_data.copies
	# Newer shims name the type and the target of a link, older ones have the type in the upper bits of the mode. Agents
	# read either, so that a request that says both must say the same twice.
	is_number(object.get(input, "file_mode", 0))
	count(copied_types) == 1
	some type in copied_types
	allow_copied_type(type, count(parts))
	empty_besides(input, {
		"path", "file_size", "file_mode", "file_type", "dir_mode", "uid", "gid", "offset", "symlink_src", "symlink_target",
	})
}

copied_types contains type if {
	type := object.get(input, "file_type", "")
	not is_empty(type)
}

copied_types contains object.get(types_of_modes, format_int(bits, 10), "no type that is copied") if {
	mode := object.get(input, "file_mode", 0)
	bits := floor(mode / 4096)
	bits != 0
}

# S_IFDIR, S_IFREG and S_IFLNK, in units of 0o10000.
types_of_modes := {"4": "Directory", "8": "Regular", "10": "Symlink"}

link_targets contains target if {
	some field in ["symlink_src", "symlink_target"]
	target := object.get(input, field, "")
	not is_empty(target)
}

allow_copied_type("Regular", _) if count(link_targets) == 0

allow_copied_type("Directory", _) if count(link_targets) == 0

# The kubelet's links stay in their own directory.
allow_copied_type("Symlink", depth) if {
	depth > 1
	count(link_targets) == 1
	some target in link_targets
	parts := split(target, "/")
	every part in parts {
		not part in {"", ".", ".."}
	}
}

# ---- Network ---------------------------------------------------------------------------------------------------------

UpdateInterfaceRequest if {
	empty_besides(input, {"interface"})
	interface := input.interface
	empty_besides(interface, {
		"name", "device", "hwAddr", "raw_flags", "IPAddresses", "mtu", "devicePath", "pciPath", "type", "type_",
	})
	is_device(interface.name)
	is_device(interface.device)
	regex.match(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`, interface.hwAddr)
	interface.hwAddr != "00:00:00:00:00:00"
	interface.raw_flags in {0, 128}
	every address in interface.IPAddresses {
		not_loopback(address.address)
		empty_besides(address, {"address", "family", "mask"})
	}
}

UpdateRoutesRequest if {
	empty_besides(input, {"routes"})
	empty_besides(input.routes, {"Routes"})
	every route in input.routes.Routes {
		is_device(route.device)
		not_loopback(route.dest)
		not_loopback(route.source)
		empty_besides(route, {"device", "dest", "source", "gateway", "scope", "family", "flags", "mtu"})
	}
}

AddARPNeighborsRequest if {
	empty_besides(input, {"neighbors"})
	empty_besides(input.neighbors, {"ARPNeighbors"})
	every neighbor in input.neighbors.ARPNeighbors {
		is_device(neighbor.device)
		not_loopback(neighbor.toIPAddress.address)
		empty_besides(neighbor, {"device", "toIPAddress", "lladdr", "state", "flags"})
		empty_besides(neighbor.toIPAddress, {"address", "family", "mask"})
	}
}

is_device(name) if regex.match(`^(eth|net)[0-9]{1,3}$`, name)

not_loopback(address) if {
	regex.match(`^[0-9a-f.:/]*$`, address)
	not startswith(address, "127.")
	not regex.match(`^[0:]*:(0*1|[0-9a-f:]*ffff:.*)(/[0-9]+)?$`, address)
}

UpdateEphemeralMountsRequest if {
	input.storages == []
	empty_besides(input, {"storages"})
}

# ---- Words of these rules --------------------------------------------------------------------------------------------

is_id(id) if regex.match(`^[0-9a-f]{64}$`, id)

hostname_fits(_) if policy_data.hostname_is_fixed

hostname_fits(name) if data.pstate.hostname == substring(name, 0, 63)

same(list, given) if {
	count(given) == count(list)
	{item | some item in given} == {item | some item in list}
}

# What these rules do not know must not be there, or be empty.
empty_besides(given, known) if {
	every value in object.remove(given, known) {
		is_empty(value)
	}
}

is_empty(value) if value in [null, false, 0, "", [], {}]
