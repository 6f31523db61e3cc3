//! What is added to a pod, and how it is taken off again before the next run.
//!
//! Both directions are pure functions on the pod template, and `inject(strip(x)) == x` for every `x` that `inject` made:
//! running twice changes nothing.

mod launcher;
mod order;
mod own;
mod volumes;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ingress::restore_probes;
use crate::images::ImageConfig;
use crate::request::{RequestError, VolumeKind, clean, volume_kind};
pub use launcher::LAUNCHER;
pub(crate) use launcher::NO_NEW_PRIVILEGES;
use order::{DONE_PATH, DONE_VOLUME, Order};
pub(super) use own::{is_own, take as take_own};
use volumes::IMAGE_VOLUME_PREFIX;
pub(super) use volumes::image_volumes;

/// Name of the initializer's container.
pub const INITIALIZER: &str = "casemate-initializer";
/// Name of the mesh sidecar's container.
pub const MESH: &str = "casemate-mesh";
/// User and group of the mesh, once its sockets are open; the firewall lets it alone reach the attestation agent.
pub(super) const MESH_USER: u64 = 1313;
/// The guest-memory volume that initializer, mesh and workload share, at `/casemate`.
pub const SHARED_VOLUME: &str = "casemate";
/// The downward-API volume that holds the initdata annotation.
pub const PODINFO_VOLUME: &str = "casemate-podinfo";
/// Where our own programs find the initdata annotation.
pub(crate) const INITDATA_FILE: &str = "/casemate-in/podinfo/initdata";
/// Before the name of a ConfigMap or Secret volume: the guest-memory volume with its checked files.
pub const FILES_PREFIX: &str = "casemate-files-";
/// Where the volumes of checked files are in initializer and launched containers.
const CHECKED: &str = "/casemate-files";
/// Remembers which containers took their command or arguments from the image: `name:command` or `name:both`.
pub const ARGV_ANNOTATION: &str = "casemate.dev/argv-from-image";

/// The downward-API volume with the initdata annotation.
pub(super) fn podinfo_volume() -> Value {
    let field = format!("metadata.annotations['{}']", protocol::initdata::ANNOTATION);
    json!({
        "name": PODINFO_VOLUME,
        "downwardAPI": {"items": [{"path": "initdata", "fieldRef": {"fieldPath": field}}]},
    })
}

fn array<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Vec<Value>> {
    value.get_mut(key).and_then(Value::as_array_mut)
}

pub(super) fn remove_if_empty(value: &mut Value, key: &str) {
    let empty = match value.get(key) {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        _ => false,
    };
    if empty && let Some(fields) = value.as_object_mut() {
        fields.shift_remove(key);
    }
}

pub(super) fn is_ours(name: &Value) -> bool {
    let name = name.as_str().unwrap_or_default();
    [INITIALIZER, MESH, SHARED_VOLUME, PODINFO_VOLUME, DONE_VOLUME].contains(&name)
        || name.starts_with(FILES_PREFIX)
        || name.starts_with(IMAGE_VOLUME_PREFIX)
}

/// A name of ours in a pod that `generate` has not seen yet, with its place in the pod.
pub(super) fn reserved_name(pod: &Value) -> Option<(String, String)> {
    if !pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].is_null() {
        return None;
    }
    ["initContainers", "containers", "volumes"].iter().find_map(|list| {
        let items = pod["spec"][*list].as_array().into_iter().flatten();
        let mut named = items.filter(|item| is_ours(&item["name"]) && !own::is_hand_written(item));
        let name = named.next()?["name"].as_str()?.to_owned();
        Some((format!("spec.{list}.{name}"), name))
    })
}

/// Takes off everything that [`inject`] adds.
pub(super) fn strip(pod: &mut Value) {
    restore_probes(pod);
    let marks = pod["metadata"]["annotations"][ARGV_ANNOTATION].as_str().unwrap_or_default().to_owned();
    let from_image = |name: &str, what: &str| marks.split(',').any(|mark| mark == format!("{name}:{what}"));
    if pod["metadata"]["annotations"].is_object() {
        let annotations = pod["metadata"]["annotations"].as_object_mut();
        if let Some(annotations) = annotations {
            annotations.shift_remove(ARGV_ANNOTATION);
            annotations.shift_remove(protocol::initdata::ANNOTATION);
        }
        remove_if_empty(&mut pod["metadata"], "annotations");
    }
    let Some(spec) = pod.get_mut("spec") else {
        return;
    };
    // A Coordinator keeps what it was made with: it has no initializer to take off.
    volumes::strip(spec);
    for list in ["initContainers", "volumes"] {
        if let Some(items) = array(spec, list) {
            items.retain(|item| !is_ours(&item["name"]) || own::is_hand_written(item));
            remove_if_empty(spec, list);
        }
    }
    for list in ["initContainers", "containers"] {
        for container in array(spec, list).into_iter().flatten() {
            if let Some(mounts) = array(container, "volumeMounts") {
                let ours = [SHARED_VOLUME, PODINFO_VOLUME, DONE_VOLUME];
                mounts.retain(|mount| !mount["name"].as_str().is_some_and(|name| ours.contains(&name)));
                mounts.retain(|mount| !is_original(mount));
                for mount in mounts.iter_mut() {
                    let volume = mount["name"].as_str().and_then(|name| name.strip_prefix(FILES_PREFIX));
                    if let Some(volume) = volume.map(str::to_owned) {
                        mount["name"] = json!(volume);
                    }
                }
            }
            launcher::strip(container, &from_image);
            own::strip(container);
            remove_if_empty(container, "volumeMounts");
        }
    }
}

/// A mount of checked files that the launcher compares a single file with.
fn is_original(mount: &Value) -> bool {
    let of_files = mount["name"].as_str().is_some_and(|name| name.starts_with(FILES_PREFIX));
    of_files && mount["mountPath"].as_str().is_some_and(|path| path.starts_with(&format!("{CHECKED}/")))
}

/// What [`inject`] needs to know.
pub(super) struct Injection<'a> {
    /// Our own image, pinned.
    pub(super) pod_image: &'a str,
    /// Where the Coordinator is, when it is in another namespace.
    pub(super) coordinator_host: Option<String>,
}

/// Adds initializer, launcher, mesh sidecar and their volumes. `images` gives the configuration of each container's
/// image.
pub(super) fn inject(
    pod: &mut Value,
    injection: &Injection<'_>,
    images: &dyn Fn(&str) -> ImageConfig,
) -> Result<(), RequestError> {
    let mut rewired: Vec<String> = Vec::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let kind = volume_kind(volume)?;
        if matches!(kind, VolumeKind::Files(files) if files.is_known()) {
            rewired.extend(volume["name"].as_str().map(str::to_owned));
        }
    }
    let own = own::take_out(pod, injection);
    let mut used: Vec<String> = Vec::new();
    let mut marks: Vec<String> = Vec::new();
    let mut order = Order::default();
    for list in ["initContainers", "containers"] {
        for container in array(&mut pod["spec"], list).into_iter().flatten() {
            let mut files: Vec<String> = Vec::new();
            let mut originals: BTreeMap<String, Value> = BTreeMap::new();
            for mount in array(container, "volumeMounts").into_iter().flatten() {
                let name = mount["name"].as_str().unwrap_or_default().to_owned();
                if !rewired.contains(&name) {
                    continue;
                }
                if !used.contains(&name) {
                    used.push(name.clone());
                }
                let checked = format!("{FILES_PREFIX}{name}");
                match mount["subPath"].as_str().filter(|file| !file.is_empty()) {
                    // One file stays the host's, which the launcher compares with the checked one.
                    Some(file) => {
                        let path = clean(mount["mountPath"].as_str().unwrap_or_default());
                        files.push(format!("{path}:{name}/{file}"));
                        let original =
                            json!({"name": checked, "mountPath": format!("{CHECKED}/{name}"), "readOnly": true});
                        originals.insert(name, original);
                    }
                    None => {
                        mount["name"] = json!(checked);
                        mount["readOnly"] = json!(true);
                    }
                }
            }
            for original in originals.into_values() {
                push(container, "volumeMounts", original);
            }
            let before = order.next(list == "initContainers", container);
            launcher::put(container, before, files, images, &mut marks)?;
            if own.is_none() {
                let shared = json!({"name": SHARED_VOLUME, "mountPath": "/casemate", "readOnly": true});
                push(container, "volumeMounts", shared);
            }
            if let Some(mount) = order.mount(list == "initContainers") {
                push(container, "volumeMounts", mount);
            }
        }
    }
    let mut mesh = own_container(MESH, "mesh", injection);
    let mut initializer = match &own {
        Some((container, volume)) => {
            own::fit_mesh(&mut mesh, container, volume);
            container.clone()
        }
        None => own_container(INITIALIZER, "initializer", injection),
    };
    for volume in &used {
        let given = json!({"name": volume, "mountPath": format!("/casemate-in/files/{volume}"), "readOnly": true});
        push(&mut initializer, "volumeMounts", given);
        let checked = json!({"name": format!("{FILES_PREFIX}{volume}"), "mountPath": format!("{CHECKED}/{volume}")});
        push(&mut initializer, "volumeMounts", checked);
    }
    mesh["restartPolicy"] = json!("Always");
    let spec = &mut pod["spec"];
    if spec.get("initContainers").is_none_or(Value::is_null) {
        spec["initContainers"] = json!([]);
    }
    if let Some(containers) = array(spec, "initContainers") {
        containers.splice(0..0, [initializer, mesh]);
    }
    if own.is_none() {
        push(spec, "volumes", json!({"name": SHARED_VOLUME, "emptyDir": {"medium": "Memory"}}));
    }
    push(spec, "volumes", podinfo_volume());
    if order.binds() {
        push(spec, "volumes", json!({"name": DONE_VOLUME, "emptyDir": {"medium": "Memory"}}));
    }
    for volume in &used {
        push(spec, "volumes", json!({"name": format!("{FILES_PREFIX}{volume}"), "emptyDir": {"medium": "Memory"}}));
    }
    if !marks.is_empty() {
        annotate(pod, ARGV_ANNOTATION, &marks.join(","));
    }
    Ok(())
}

/// Sets an annotation of a pod.
pub(super) fn annotate(pod: &mut Value, key: &str, value: &str) {
    if !pod["metadata"].is_object() {
        pod["metadata"] = json!({});
    }
    if !pod["metadata"]["annotations"].is_object() {
        pod["metadata"]["annotations"] = json!({});
    }
    pod["metadata"]["annotations"][key] = json!(value);
}

/// Adds an element to a list, which is made when it is not there.
pub(super) fn push(value: &mut Value, key: &str, item: Value) {
    match array(value, key) {
        Some(items) => items.push(item),
        None => value[key] = json!([item]),
    }
}

/// The initializer or the mesh. Both run as root of the guest with few capabilities; the mesh gives root up itself once
/// its sockets are open.
fn own_container(name: &str, subcommand: &str, injection: &Injection<'_>) -> Value {
    let add: &[&str] = match subcommand {
        // NET_ADMIN for the firewall; the others to hand files to the mesh's user in volumes that may be anybody's.
        "initializer" => &["CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_ADMIN"],
        // NET_ADMIN for transparent sockets; the others to become another user.
        _ => &["NET_ADMIN", "SETGID", "SETPCAP", "SETUID"],
    };
    let mut container = json!({
        "name": name,
        "image": injection.pod_image,
        "command": ["/casemate-pod", subcommand],
    });
    if let Some(host) = &injection.coordinator_host {
        container["env"] = json!([{"name": "COORDINATOR_HOST", "value": host}]);
    }
    container["resources"] = json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}});
    container["securityContext"] = json!({
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": false,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"], "add": add},
    });
    container["volumeMounts"] = json!([{"name": SHARED_VOLUME, "mountPath": "/casemate"}, podinfo_mount()]);
    container
}

pub(super) fn podinfo_mount() -> Value {
    // The file alone, so that the host has no directory and no link to copy in.
    json!({"name": PODINFO_VOLUME, "mountPath": INITDATA_FILE, "subPath": "initdata", "readOnly": true})
}
