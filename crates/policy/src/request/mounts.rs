//! Mounts, storages and the volumes behind them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::volumes::{VolumeKind, sub_path, volume_kind};
use super::{MARK, RequestError, control_character, text};
use protocol::Digest;

/// Where files that the host copies into the guest lie: `<prefix><container id>-<16 hex digits>-<base name>`.
pub const COPIED_PREFIX: &str = "/run/kata-containers/shared/containers/";

/// Where the kubelet puts a file for a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Where Kubernetes mounts the API server's token.
pub(crate) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where memory-backed volumes of the sandbox lie.
const EPHEMERAL: &str = "/run/kata-containers/sandbox/ephemeral";
const SHM: &str = "/run/kata-containers/sandbox/shm";

pub(super) fn root_path(container_id: &str) -> String {
    format!("/run/kata-containers/{container_id}/rootfs")
}

fn storage(driver: &str, source: &str, fstype: &str, options: &[String], mount_point: &str) -> Value {
    json!({
        "driver": driver,
        "driver_options": [],
        "source": source,
        "fstype": fstype,
        "options": options,
        "mount_point": mount_point,
        "fs_group": null,
    })
}

pub(super) fn shm_storage() -> Value {
    let options = ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"].map(str::to_owned);
    storage("ephemeral", "shm", "tmpfs", &options, SHM)
}

/// The root file system as an image that the guest pulls. The shim repeats the annotations in `driver_options`, and
/// the agent decides by them whether to unpack its own pause image instead.
pub(super) fn image_storage(reference: &str, container_id: &str, annotations: &Value) -> Value {
    // Go marshals a map with its keys sorted.
    let mut metadata: Vec<_> = annotations.as_object().into_iter().flatten().collect();
    metadata.sort_by(|a, b| a.0.cmp(b.0));
    let metadata: serde_json::Map<_, _> =
        metadata.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut image = storage("image_guest_pull", reference, "overlay", &[], &root_path(container_id));
    image["driver_options"] = json!([format!("image_guest_pull={}", json!({"metadata": metadata}))]);
    image
}

fn mount(destination: &str, source: &str, kind: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "source": source, "type_": kind, "options": options})
}

fn standard_mounts() -> Vec<Value> {
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ]
}

/// The path of a copied file. The shim draws the 16 hex digits at random; here they follow from container and
/// destination, so that a request can be made twice.
fn copied(container_id: &str, destination: &str) -> String {
    let random = if container_id.starts_with(MARK) {
        format!("{MARK}rand{MARK}")
    } else {
        let digest = Digest::of_fields(&[container_id.as_bytes(), destination.as_bytes()]);
        digest.to_string().chars().take(16).collect()
    };
    let destination = clean(destination);
    let base = destination.rsplit('/').next().unwrap_or_default();
    format!("{COPIED_PREFIX}{container_id}-{random}-{base}")
}

pub(super) fn pause_mounts(container_id: &str) -> Vec<Value> {
    let mut mounts = standard_mounts();
    mounts.push(mount("/dev/shm", SHM, "bind", &["rbind"]));
    let resolv = copied(container_id, "/etc/resolv.conf");
    mounts.push(mount("/etc/resolv.conf", &resolv, "bind", &["rbind", "ro", "nosuid", "nodev", "noexec"]));
    mounts
}

/// The mounts of a container in the order of containerd, and the storages behind them, root file system aside.
pub(super) fn container_mounts(
    pod: &Value,
    container: &Value,
    container_id: &str,
    sandbox_id: &str,
    path: &str,
) -> Result<(Vec<Value>, Vec<Value>), RequestError> {
    let mut storages: Vec<Value> = Vec::new();
    let mut own = Vec::new();
    for (index, wanted) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        mount_fields(wanted, &path)?;
        // The kubelet and containerd hand the path on as it is written.
        let destination = text(wanted, "mountPath").filter(|path| path.starts_with('/') && clean(path).len() > 1);
        let Some(destination) = destination else {
            let (reason, hint) =
                ("`mountPath` is no absolute path".into(), "write it from the root on, as in `/data`".into());
            return Err(RequestError::Refused { path, reason, hint });
        };
        if destination.split('/').any(|part| part == "..") || control_character(destination).is_some() {
            let (reason, hint) = ("`mountPath` must not hold `..`".into(), "write the path that it leads to".into());
            return Err(RequestError::Refused { path, reason, hint });
        }
        let name = text(wanted, "name").unwrap_or_default();
        let volumes = pod["spec"]["volumes"].as_array();
        let volume = volumes.and_then(|all| all.iter().find(|volume| volume["name"].as_str() == Some(name)));
        let Some(volume) = volume else {
            let known = volumes.into_iter().flatten().filter_map(|volume| volume["name"].as_str());
            let known = known.filter(|name| !name.starts_with("casemate"));
            let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
            let hint = if known.is_empty() {
                "add it to `spec.volumes`".into()
            } else {
                format!("add it to `spec.volumes`, or mount one of {}", known.join(", "))
            };
            return Err(RequestError::Refused { path, reason: format!("no volume has the name `{name}`"), hint });
        };
        let read_only = wanted["readOnly"] == json!(true);
        let mut push = |source: &str, read_only: bool| {
            let options = ["rbind", "rprivate", if read_only { "ro" } else { "rw" }];
            own.push(mount(destination, source, "bind", &options));
        };
        let kind = volume_kind(volume)?;
        // A single file is copied like a volume: the kubelet hands on the file itself.
        sub_path(wanted, kind, &path)?;
        // The shim says the group of a volume, unless it is root's.
        let group = pod["spec"]["securityContext"]["fsGroup"].as_u64().filter(|group| *group != 0);
        let group = group.map(|group| format!("fsgid={group}"));
        match kind {
            VolumeKind::Memory => {
                let point = format!("{EPHEMERAL}/{name}");
                push(&point, read_only);
                let options: Vec<_> = group.into_iter().collect();
                add_storage(&mut storages, storage("ephemeral", "tmpfs", "tmpfs", &options, &point));
            }
            VolumeKind::Directory => {
                let point = format!("{COPIED_PREFIX}{sandbox_id}/rootfs/local/{name}");
                push(&point, read_only);
                let options: Vec<_> = Some("mode=0777".to_owned()).into_iter().chain(group).collect();
                add_storage(&mut storages, storage("local", "local", "local", &options, &point));
            }
            VolumeKind::Files(_) => push(&copied(container_id, destination), true),
            // The kubelet takes either word for it.
            VolumeKind::Claim => {
                let whole = volume["persistentVolumeClaim"]["readOnly"] == json!(true);
                push(&copied(container_id, destination), read_only || whole);
            }
        }
    }
    // Kubernetes mounts nothing there if the container does.
    let taken = own.iter().any(|mount| mount["destination"].as_str().map(clean).as_deref() == Some(SERVICE_ACCOUNT));
    if pod["spec"]["automountServiceAccountToken"] == json!(true) && !taken {
        let source = copied(container_id, SERVICE_ACCOUNT);
        own.push(mount(SERVICE_ACCOUNT, &source, "bind", &["rbind", "rprivate", "ro"]));
    }
    let log = text(container, "terminationMessagePath").unwrap_or(TERMINATION_LOG);
    if !log.starts_with('/') || clean(log).len() < 2 || log.split('/').any(|part| part == "..") {
        let path = format!("{path}.terminationMessagePath");
        let (reason, hint) =
            ("no absolute path without `..`".into(), "leave it out, or write `/dev/termination-log`".into());
        return Err(RequestError::Refused { path, reason, hint });
    }
    for destination in ["/etc/hosts", log, "/etc/hostname", "/etc/resolv.conf"] {
        // The first two are the kubelet's, always to be written; the others are containerd's, which follow the root.
        let of_containerd = ["/etc/hostname", "/etc/resolv.conf"].contains(&destination);
        let read_only = of_containerd && container["securityContext"]["readOnlyRootFilesystem"] == json!(true);
        let options = ["rbind", "rprivate", if read_only { "ro" } else { "rw" }];
        own.push(mount(destination, &copied(container_id, destination), "bind", &options));
    }
    own.push(mount("/dev/shm", SHM, "bind", &["rbind"]));
    // containerd sorts by depth, and otherwise keeps the kubelet's order.
    own.sort_by_key(|mount| mount["destination"].as_str().map_or(0, |path| clean(path).matches('/').count()));
    let mut mounts = standard_mounts();
    mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    mounts.extend(own);
    let mut taken = BTreeSet::new();
    for mount in &mounts {
        if !taken.insert(mount["destination"].as_str().map(clean)) {
            return Err(RequestError::Refused {
                path: path.to_owned(),
                reason: format!("{} is mounted twice, or is the guest's own", mount["destination"]),
                hint: "mount it at another path".into(),
            });
        }
    }
    Ok((mounts, storages))
}

/// Refuses by name what an element of `volumeMounts` may hold beside its names, and the runtime would have to do.
fn mount_fields(mount: &Value, path: &str) -> Result<(), RequestError> {
    for (field, value) in mount.as_object().into_iter().flatten() {
        let hint = match (field.as_str(), value.as_str()) {
            ("name" | "mountPath" | "readOnly" | "subPath" | "subPathExpr", _) => continue,
            _ if value.is_null() => continue,
            ("mountPropagation", Some("None")) | ("recursiveReadOnly", Some("Disabled")) => continue,
            ("mountPropagation", _) => "mounts do not pass between host and guest; leave it out",
            ("recursiveReadOnly", _) => "`readOnly: true` is what the guest does",
            _ => "a mount has `name`, `mountPath`, `readOnly` and `subPath`",
        };
        return Err(RequestError::Refused {
            path: format!("{path}.{field}"),
            reason: "not supported".into(),
            hint: hint.to_owned(),
        });
    }
    Ok(())
}

/// A volume that is mounted twice is one storage.
fn add_storage(storages: &mut Vec<Value>, storage: Value) {
    if !storages.contains(&storage) {
        storages.push(storage);
    }
}

/// Namespaced kernel parameters belong to the sandbox.
pub(super) fn sysctls(pod: &Value) -> Value {
    let wanted = pod["spec"]["securityContext"]["sysctls"].as_array();
    let pair = |item: &Value| Some((item["name"].as_str()?.to_owned(), item["value"].clone()));
    Value::Object(wanted.into_iter().flatten().filter_map(pair).collect())
}

/// A path without a slash at its end, doubled slashes or `.`.
pub(crate) fn clean(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}
