# ---- Mounts and storages ---------------------------------------------------------------------------------------------

# A mount is written as in fstab: where, its type, its source, its options. For the volumes of Kubernetes these types
# stand for the place of the source, and for the storage that the agent makes there first.
volume_types := {
	# In guest memory, for all containers of the pod.
	"memory": {"at": "/run/kata-containers/sandbox/ephemeral/", "storage": ["ephemeral", "tmpfs", "tmpfs"]},
	# On whatever disk the guest has.
	"local": {
		"at": concat("", ["/run/kata-containers/shared/containers/", sandbox, "/rootfs/local/"]),
		"storage": ["local", "local", "local"],
	},
	# What the host copies in, or has a mount for.
	"copied": {"at": "copied:"},
}

mounts_of(container) := {mount_of(mount) |
	some mount in array.concat(mounts_of_all, array.concat(mounts_of_kubelet(container), container.mounts))
}

mount_of([destination, type, name, access]) := [
	destination, "bind", concat("", [volume_types[type].at, name]), ["rbind", "rprivate", access],
]

mount_of([destination, type, source, options]) := [destination, type, source, split(options, ",")] if {
	not volume_types[type]
}

mounts_of_all := [
	["/proc", "proc", "proc", "nosuid,noexec,nodev"],
	["/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"],
	["/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"],
	["/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"],
	["/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"],
	["/dev/shm", "bind", "/run/kata-containers/sandbox/shm", "rbind"],
]

# What every container has but the pause container.
mounts_of_kubelet(container) := [
	["/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"],
	["/etc/hosts", "copied", "hosts", "rw"],
	["/etc/hostname", "copied", "hostname", access],
	["/etc/resolv.conf", "copied", "resolv.conf", access],
] if {
	container.image
	access := {true: "ro", false: "rw"}[container.readonly_root]
}

mounts_of_kubelet(container) := [] if not container.image

allow_mounts(mounts, given) if {
	written := [as_written(mount) | some mount in given]
	count(given) == count(mounts)
	set_of(written) == mounts
	in_order(written)
	# None hides one that was made before it: what is above a mount comes earlier.
	places := {mount.destination: at | some at, mount in given}
	every at, mount in given {
		parts := split(mount.destination, "/")
		every depth, _ in parts {
			object.get(places, concat("/", array.slice(parts, 0, depth)), -1) < at
		}
	}
}

# A link of the image may lead one mount into another, so those of the pod come in the order of its values.
in_order(written) if {
	name := cri("container-name")
	own := [mount_of(mount) | some mount in policy_data.containers[name].mounts]
	[mount | some mount in written; mount in own] == own
}

in_order(_) if cri("container-type") == "sandbox"

as_written(mount) := [mount.destination, mount.type_, source_of(mount.source), options_of(mount)] if count(mount) == 4

# The host draws 16 digits for each file that it copies.
source_of(source) := regex.replace(
	source,
	concat("", ["^/run/kata-containers/shared/containers/", cid, "-[0-9a-f]{16}-"]),
	"copied:",
) if {
	not startswith(source, "copied:")
}

options_of(mount) := options if {
	set_of(mount.options)
	options := [option | some option in mount.options; not is_newer(mount.type_, option)]
}

# Newer hosts repeat these of their own cgroup file system. It stays read-only.
is_newer("cgroup", option) if option in ["nsdelegate", "memory_recursiveprot"]

# A storage is driver, source, type, options, and where it is mounted. First the one root file system: the image that
# the container's annotation names and `images_of` compares. The pause container names none, and the agent has its
# image. Then the volumes; one that is mounted twice is one storage.
storages_of(container) := {root_storage} | {storage_of(mount) | some mount in container.mounts}

root_storage := [
	"image_guest_pull", object.get(annotations, "io.kubernetes.cri.image-name", "pause"), "overlay", [], root_path,
]

root_path := concat("", ["/run/kata-containers/", cid, "/rootfs"])

storage_of([_, type, name, _]) := array.concat(
	volume_types[type].storage,
	[policy_data.volume_options[type], concat("", [volume_types[type].at, name])],
)

allow_storages(storages, given) if {
	count(given) == count(storages)
	{[one.driver, one.source, one.fstype, one.options, one.mount_point] | some one in given} == storages
	every one in given {
		is_exactly(one, {}, {"driver", "source", "fstype", "options", "mount_point", "driver_options"})
		allow_driver_options(one.driver, one.driver_options)
	}
}

allow_driver_options(driver, []) if driver != "image_guest_pull"

# The shim repeats the annotations beside the image, and the agent unpacks its own pause image in place of `source`
# where they say so: both must say the same.
allow_driver_options("image_guest_pull", options) if {
	count(options) == 1
	startswith(options[0], "image_guest_pull=")
	pull := json.unmarshal(trim_prefix(options[0], "image_guest_pull="))
	is_exactly(pull, {}, {"metadata"})
	pull.metadata["io.kubernetes.cri.container-type"]
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
