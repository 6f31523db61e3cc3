//! What kubelet, containerd and the Kata shim make of a pod: the requests that a pod agent receives.
//!
//! The shapes are those of Kata Containers with guest-side image pull, as JSON of the agent's protobuf messages. The
//! same functions serve two callers: the local engine's shim, which fills in a real [`PodInstance`], and the generator,
//! which fills in `PodInstance::symbolic` and turns the marks that come out into the patterns of the policy. A value
//! that only the cluster knows must therefore come from the `PodInstance` and nowhere else.
//!
//! `pod` is a Pod object or a pod template: an object with `metadata` and `spec`.

mod commands;
mod devices;
mod environment;
mod indexed;
mod mounts;
mod names;
mod process;
mod quantity;
mod volumes;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::images::ImageConfig;

pub(crate) use commands::commands;
pub use commands::{exec_request, hook_command, probe_command};
pub use devices::{MAX_GPUS, gpus_of};
pub(crate) use devices::{annotation_agrees, is_model};
pub use environment::SERVICE_LINKS_DEFAULT;
pub use indexed::as_made;
pub(crate) use indexed::{INDEX_KEY, MINUTE_DIGITS, completions, give_symbolic_index, mode_of, patterns};
pub use mounts::COPIED_PREFIX;
pub(crate) use mounts::{SERVICE_ACCOUNT, clean};
pub use names::pod_name;
pub(crate) use names::{GENERATED_JOB, GENERATED_POD, MAX_CRON_JOB, MAX_HOSTNAME, pod_pattern};
pub(crate) use process::{argv, no_new_privileges};
pub(crate) use quantity::Quantity;
pub use volumes::{FileVolume, VolumeKind, mount_volume, mounted_file, volume_kind};

/// Opens and closes a mark of [`PodInstance::symbolic`]. Neither YAML nor images nor ConfigMaps may hold this character
/// ([`control_character`]), so no value of a user passes for a mark.
pub(crate) const MARK: char = '\u{1}';

/// The values of one running pod that its YAML does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodInstance {
    /// Name of the pod. [`pod_name`] makes one that the policy accepts.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID, a lower-case UUID.
    pub uid: String,
    /// 64 lower-case hex digits; also the container id of the pause container.
    pub sandbox_id: String,
    /// Name of the node.
    pub node_name: String,
    /// Address of the node.
    pub host_ip: String,
    /// Address of the pod.
    pub pod_ip: String,
    /// Host name of the pod: `spec.hostname` or the pod's name.
    pub hostname: String,
    /// Environment for the Services of the namespace, `KUBERNETES_…` included. Those that the pod does not want
    /// (`enableServiceLinks: false`) are left out by [`container_request`].
    pub service_env: Vec<(String, String)>,
    /// ConfigMap objects of the namespace by name, for `configMapKeyRef` and `envFrom`.
    pub config_maps: BTreeMap<String, Value>,
    /// Secret objects of the namespace by name, for `secretKeyRef` and `envFrom`.
    pub secrets: BTreeMap<String, Value>,
}

impl PodInstance {
    /// An instance whose values are marks: what the generator derives a policy from.
    pub(crate) fn symbolic(namespace: &str, hostname: Option<&str>) -> Self {
        let mark = |name: &str| format!("{MARK}{name}{MARK}");
        Self {
            name: mark("pod-name"),
            namespace: namespace.to_owned(),
            uid: mark("pod-uid"),
            sandbox_id: mark("sandbox"),
            node_name: mark("node-name"),
            host_ip: mark("ip"),
            pod_ip: mark("ip"),
            hostname: hostname.map_or_else(|| mark("hostname"), str::to_owned),
            ..Self::default()
        }
    }

    /// Whether this is [`PodInstance::symbolic`].
    fn is_symbolic(&self) -> bool {
        self.uid.starts_with(MARK)
    }
}

/// The first control character of a text that is no line end and no tab. Such text is refused wherever it comes from:
/// no program needs it, terminals obey it, and [`MARK`] is one of them.
pub(crate) fn control_character(text: &str) -> Option<char> {
    text.chars().find(|c| c.is_control() && !['\n', '\r', '\t'].contains(c))
}

/// The container id that goes with [`PodInstance::symbolic`].
pub(crate) fn symbolic_container_id() -> String {
    format!("{MARK}cid{MARK}")
}

/// A pod from which no request can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A feature that the policy could not bind.
    #[error("`{path}`: {what} is not supported")]
    Unsupported {
        /// Where, from the pod.
        path: String,
        /// The feature.
        what: String,
    },
    /// Something that must be there is not.
    #[error("`{path}`: {what} is missing")]
    Missing {
        /// Where, from the pod.
        path: String,
        /// What.
        what: String,
    },
    /// A value of the wrong type or form.
    #[error("`{path}`: {reason}")]
    Invalid {
        /// Where, from the pod.
        path: String,
        /// Why.
        reason: String,
    },
    /// A thing that the policy could not bind, with a way around it.
    #[error("`{path}`: {reason}")]
    Refused {
        /// Where, from the pod.
        path: String,
        /// Why.
        reason: String,
        /// What to do instead.
        hint: String,
    },
    /// The image names its user; which number that is stands in the image's file system.
    #[error("`{path}`: the image runs as user `{user}`, which is a name")]
    UserName {
        /// Where, from the pod.
        path: String,
        /// The name.
        user: String,
    },
}

impl RequestError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => Some(hint.clone()),
            Self::UserName { .. } => Some("set `securityContext.runAsUser` to the number of that user".into()),
            _ => None,
        }
    }
}

/// The capabilities of a container to which nothing is added and from which nothing is dropped (containerd's default).
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Paths that containerd masks by default, in the order for a workload container.
const MASKED_PATHS: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// Paths that containerd makes read-only by default.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The request that makes the sandbox of a pod (`CreateSandboxRequest`).
pub fn sandbox_request(pod: &Value, instance: &PodInstance) -> Value {
    json!({
        "hostname": instance.hostname,
        "dns": [],
        "storages": [mounts::shm_storage()],
        "sandbox_pidns": shares_pid_namespace(pod),
        "sandbox_id": instance.sandbox_id,
        "guest_hook_path": "",
        "kernel_modules": [],
    })
}

/// The request that creates the pause container (`CreateContainerRequest`).
pub fn pause_request(pod: &Value, instance: &PodInstance) -> Value {
    let id = &instance.sandbox_id;
    let mut annotations = json!({
        "io.katacontainers.pkg.oci.bundle_path": bundle_path(id),
        "io.katacontainers.pkg.oci.container_type": "pod_sandbox",
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-cpu-period": "100000",
        "io.kubernetes.cri.sandbox-cpu-quota": "0",
        "io.kubernetes.cri.sandbox-cpu-shares": "2",
        "io.kubernetes.cri.sandbox-id": id,
        "io.kubernetes.cri.sandbox-log-directory":
            format!("/var/log/pods/{}_{}_{}", instance.namespace, instance.name, instance.uid),
        "io.kubernetes.cri.sandbox-memory": "0",
        "io.kubernetes.cri.sandbox-name": instance.name,
        "io.kubernetes.cri.sandbox-namespace": instance.namespace,
        "io.kubernetes.cri.sandbox-uid": instance.uid,
        // The host's name for the namespace that the pod's network device comes from; the guest never opens it.
        "nerdctl/network-namespace": format!("/var/run/netns/cni-{}", instance.uid),
    });
    pass_on(pod, &mut annotations);
    let process = json!({
        "Terminal": false,
        "ConsoleSize": null,
        "User": process::pause_user(pod),
        "Args": ["/pause"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cwd": "/",
        "Capabilities": process::capability_sets(&DEFAULT_CAPABILITIES),
        "Rlimits": [],
        "NoNewPrivileges": true,
        "ApparmorProfile": "",
        "OOMScoreAdj": -998,
        "SelinuxLabel": "",
    });
    assemble(Parts {
        id,
        process,
        readonly_root: true,
        hostname: &instance.hostname,
        mounts: mounts::pause_mounts(id),
        storages: vec![mounts::image_storage("pause", id, &annotations)],
        annotations,
        sysctl: mounts::sysctls(pod),
        masked: &MASKED_PATHS,
        resources: json!({"Devices": [], "Memory": null, "CPU": {"Shares": 2, "Quota": 0, "Period": 0,
            "RealtimeRuntime": 0, "RealtimePeriod": 0, "Cpus": "", "Mems": ""}, "Pids": null, "BlockIO": null,
            "HugepageLimits": [], "Network": null}),
        cgroups_path: format!("/kubepods/besteffort/pod{}/{id}", instance.uid),
        pidns: shares_pid_namespace(pod),
    })
}

/// The request that creates one container of the pod (`CreateContainerRequest`). `container` is an element of
/// `spec.containers` or `spec.initContainers` whose image is pinned, and `image` is the configuration of that image.
pub fn container_request(
    pod: &Value,
    container: &Value,
    image: &ImageConfig,
    instance: &PodInstance,
    container_id: &str,
) -> Result<Value, RequestError> {
    let name = text(container, "name")
        .ok_or_else(|| RequestError::Missing { path: "containers".into(), what: "`name` of a container".into() })?;
    let path = format!("containers.{name}");
    let reference =
        text(container, "image").ok_or_else(|| RequestError::Missing { path: path.clone(), what: "`image`".into() })?;
    process::check_image(image, &path)?;
    if let Some(volume) = open_volumes(container, image).first() {
        return Err(RequestError::Refused {
            path,
            reason: format!("the image has a VOLUME `{volume}`, where the host would mount a directory of its own"),
            hint: "mount a volume of the pod there; `generate` does, with an `emptyDir`".into(),
        });
    }
    let mut annotations = json!({
        "io.katacontainers.pkg.oci.bundle_path": bundle_path(container_id),
        "io.katacontainers.pkg.oci.container_type": "pod_container",
        "io.kubernetes.cri.container-name": name,
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": reference,
        "io.kubernetes.cri.sandbox-id": instance.sandbox_id,
        "io.kubernetes.cri.sandbox-name": instance.name,
        "io.kubernetes.cri.sandbox-namespace": instance.namespace,
        "io.kubernetes.cri.sandbox-uid": instance.uid,
    });
    pass_on(pod, &mut annotations);
    let process = process::process(pod, container, image, instance, &path)?;
    let (mounts, mut storages) = mounts::container_mounts(pod, container, container_id, &instance.sandbox_id, &path)?;
    storages.insert(0, mounts::image_storage(reference, container_id, &annotations));
    Ok(assemble(Parts {
        id: container_id,
        process,
        readonly_root: container["securityContext"]["readOnlyRootFilesystem"] == json!(true),
        hostname: "",
        mounts,
        storages,
        annotations,
        sysctl: json!({}),
        masked: &MASKED_PATHS,
        resources: process::resources(container, &path)?,
        cgroups_path: format!("/kubepods/besteffort/pod{}/{container_id}", instance.uid),
        pidns: shares_pid_namespace(pod),
    }))
}

/// The VOLUMEs of an image at which the container mounts nothing, so that containerd would mount a directory of the host.
pub(crate) fn open_volumes(container: &Value, image: &ImageConfig) -> Vec<String> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mut covered: Vec<_> = mounts.filter_map(|mount| mount["mountPath"].as_str().map(clean)).collect();
    let mut open = Vec::new();
    for volume in &image.volumes {
        // A relative path is one from the root.
        let volume = clean(&format!("/{volume}"));
        if !covered.contains(&volume) {
            covered.push(volume.clone());
            open.push(volume);
        }
    }
    open
}

/// The request that writes one file, directory or symbolic link below [`COPIED_PREFIX`] (`CopyFileRequest`). The
/// policy sees no content, so `data` travels beside it. `file_mode` holds the type bits too; `symlink` is the target.
pub fn copy_file_request(path: &str, file_mode: u32, size: u64, symlink: &str) -> Value {
    json!({
        "path": path,
        "file_size": size,
        "file_mode": file_mode,
        // A directory with 0750, as Go's os.FileMode prints it.
        "dir_mode": 2_147_484_136_u32,
        "uid": 0,
        "gid": 0,
        "offset": 0,
        "symlink_src": symlink,
    })
}

struct Parts<'a> {
    id: &'a str,
    process: Value,
    readonly_root: bool,
    hostname: &'a str,
    mounts: Vec<Value>,
    storages: Vec<Value>,
    annotations: Value,
    sysctl: Value,
    masked: &'a [&'a str],
    resources: Value,
    cgroups_path: String,
    pidns: bool,
}

fn assemble(parts: Parts<'_>) -> Value {
    json!({
        "container_id": parts.id,
        "exec_id": parts.id,
        "string_user": null,
        "devices": [],
        "storages": parts.storages,
        "OCI": {
            "Version": "1.2.1",
            "Process": parts.process,
            "Root": {"Path": mounts::root_path(parts.id), "Readonly": parts.readonly_root},
            "Hostname": parts.hostname,
            "Mounts": parts.mounts,
            "Hooks": null,
            "Annotations": parts.annotations,
            "Linux": {
                "UIDMappings": [],
                "GIDMappings": [],
                "Sysctl": parts.sysctl,
                "Resources": parts.resources,
                "CgroupsPath": parts.cgroups_path,
                // No network and no pid namespace: the guest is the pod's, so its own serve.
                "Namespaces": [
                    {"Type": "ipc", "Path": ""},
                    {"Type": "uts", "Path": ""},
                    {"Type": "mount", "Path": ""},
                ],
                "Devices": [],
                "Seccomp": null,
                "RootfsPropagation": "",
                "MaskedPaths": parts.masked,
                "ReadonlyPaths": READONLY_PATHS,
                "MountLabel": "",
                "IntelRdt": null,
            },
            "Solaris": null,
            "Windows": null,
        },
        "sandbox_pidns": parts.pidns,
        "shared_mounts": [],
        "stdin_port": 0,
        "stdout_port": 0,
        "stderr_port": 0,
    })
}

fn bundle_path(id: &str) -> String {
    format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}")
}

fn shares_pid_namespace(pod: &Value) -> bool {
    pod["spec"]["shareProcessNamespace"] == json!(true)
}

/// containerd's runtime class hands these annotations of the pod on to the shim for every container, and the shim to the
/// agent.
fn pass_on(pod: &Value, annotations: &mut Value) {
    if let (Some(all), Some(own)) = (annotations.as_object_mut(), pod["metadata"]["annotations"].as_object()) {
        all.extend(own.iter().filter(|(key, _)| is_passed_on(key)).map(|(key, value)| (key.clone(), value.clone())));
    }
}

/// Pod annotations that a Kata runtime class hands on.
pub(crate) fn is_passed_on(key: &str) -> bool {
    key.starts_with("io.katacontainers.")
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
