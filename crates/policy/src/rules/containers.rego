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
live_name := data.pstate[id_key]

is_known if is_sandbox

is_known if live_name

# The container that holds the sandbox: the agent has its image.
pause := {
	"args": ["/pause"],
	"env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
	"env_from": {},
	"cwd": "/",
	"user": object.get(policy_data, "pause_user", [65535, 65535, [65535]]),
	"capabilities": "default",
	"no_new_privileges": true,
	"terminal": false,
	"readonly_root": true,
	"mounts": [["/etc/resolv.conf", "bind", "copied:resolv.conf", "rbind,ro,nosuid,nodev,noexec"]],
}

# The pause container comes first, and once.
CreateContainerRequest := keeping({"pod": name, "uid": uid}) if {
	cri("container-type") == "sandbox"
	not data.pstate.pod
	is_sandbox
	name := cri("sandbox-name")
	uid := cri("sandbox-uid")
	regex.match(policy_data.pod, name)
	regex.match(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, uid)
	oci.Hostname == data.pstate.hostname
	hostname_fits(name)
	allow_sandbox_sysctl(oci.Linux.Sysctl)
	allow_container(pause, "sandbox", name, uid, {})
}

hostname_fits(_) if policy_data.hostname_is_fixed

hostname_fits(name) if data.pstate.hostname == substring(name, 0, 63)

# Each container of the pod is live at most once, and an id names one container for ever: what an agent keeps under the
# id of a container that failed must not become part of another.
CreateContainerRequest := keeping({live_key(name): gpus_of_request, id_key: name, used_key: true}) if {
	cri("container-type") == "container"
	name := cri("container-name")
	container := policy_data.containers[name]
	not data.pstate[live_key(name)]
	not data.pstate[used_key]
	cid != sandbox
	image := cri("image-name")
	image in images_of(container)
	oci.Hostname == ""
	oci.Linux.Sysctl == {}
	allow_container(container, "container", data.pstate.pod, data.pstate.uid, {
		"container-name": name, "image-name": image,
	})
}

# The same image in two spellings: as the pod's YAML says it, and without its tag, as older hosts do.
images_of(container) := {container.image, regex.replace(container.image, `:[^:/@]*@`, "@")}

StartContainerRequest := keeping({started_key: true}) if {
	is_known
	is_exactly(input, {"container_id": cid}, set())
}

# After removal a container may be created again. The pause container stays the only one.
RemoveContainerRequest := {"allowed": true, "ops": ops} if {
	is_id(cid)
	is_exactly(input, {"container_id": cid}, {"timeout"})
	ops := [{"op": "remove", "path": path(key)} |
		some key in [id_key, started_key, live_key(live_name)]
		data.pstate[key]
	]
}

# Initializer and mesh are not the host's to signal.
SignalProcessRequest if {
	is_sandbox
	is_exactly(input, {"container_id": cid}, {"exec_id", "signal"})
}

SignalProcessRequest if {
	live_name in policy_data.signals
	is_exactly(input, {"container_id": cid}, {"exec_id", "signal"})
}

allow_container(container, type, pod, uid, named) if {
	is_id(cid)
	is_exactly(input, {"container_id": cid, "exec_id": cid, "sandbox_pidns": policy_data.pidns}, {
		"storages", "OCI", "devices", "stdout_port", "stderr_port",
	})
	is_exactly(oci, {"Root": {"Path": root_path, "Readonly": container.readonly_root}}, {
		"Version", "Process", "Hostname", "Mounts", "Annotations", "Linux",
	})
	regex.match(`^1\.[0-9]+\.[0-9]+(-rc\.[0-9]+)?$`, oci.Version)
	allow_devices(container)
	allow_annotations(container, annotations_of(type, pod, uid, named))
	allow_process(container, oci.Process)
	allow_mounts(mounts_of(container), oci.Mounts)
	allow_storages(storages_of(container), input.storages)
	allow_linux(oci.Linux)
}

# What is kept of a live container.
gpus_of_request := [gpu | some key, gpu in annotations; startswith(key, "cdi.k8s.io/vfio")]

# Devices of the host's are for those that asked, and then more rules are here.
allow_devices(container) if {
	not container.gpus
	is_empty(object.get(input, "devices", []))
}

# ---- Annotations -----------------------------------------------------------------------------------------------------

# What containerd says of a container.
cri(key) := annotations[concat("", ["io.kubernetes.cri.", key])]

annotations_of(type, pod, uid, named) := object.union(
	object.union(policy_data.annotations, {
		"io.katacontainers.pkg.oci.container_type": concat("_", ["pod", type]),
	}),
	{concat("", ["io.kubernetes.cri.", key]): value | some key, value in object.union(named, {
		"container-type": type, "sandbox-id": sandbox, "sandbox-name": pod,
		"sandbox-namespace": policy_data.namespace, "sandbox-uid": uid,
	})},
)

allow_annotations(container, required) if {
	every key, value in required {
		annotations[key] == value
	}
	every key, value in object.remove(annotations, object.keys(required)) {
		allow_annotation(container, key, value)
	}
}

# Annotations that may be there, too. None of them changes what the agent does.
allow_annotation(_, key, value) if regex.match(annotation_patterns[key], value)

annotation_patterns := object.union(
	{
		# Any text: the guest has it already, and it is long.
		"io.katacontainers.config.hypervisor.cc_init_data": "^",
		"io.katacontainers.pkg.oci.bundle_path": concat("", [`^/run/([a-z0-9_.-]+/)*k8s\.io/`, cid, `$`]),
		"io.kubernetes.cri.podsandbox.image-name": `^[A-Za-z0-9_.:/@-]*$`,
		"io.kubernetes.cri.sandbox-log-directory": `^/var/log/pods/[A-Za-z0-9_.-]+$`,
		"nerdctl/network-namespace": `^(/var)?/run/netns/[A-Za-z0-9-]+$`,
	},
	{concat("", ["io.kubernetes.cri.sandbox-", key]): `^-?[0-9]+$` |
		some key in ["cpu-period", "cpu-quota", "cpu-shares", "memory"]
	},
)
