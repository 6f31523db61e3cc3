//! What is added to a pod, and how it is taken off again before the next run.
//!
//! Both directions are pure functions on the pod template, and `inject(strip(x)) == x` for every `x` that `inject` made:
//! running twice changes nothing.

use serde_json::{Map, Value, json};

use crate::images::ImageConfig;
use crate::request::{FileVolume, RequestError, VolumeKind, argv, volume_kind};

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
/// Before the name of a ConfigMap or Secret volume: the guest-memory volume with its checked files.
pub const FILES_PREFIX: &str = "casemate-files-";
/// Where the launcher lies, once the initializer is through with everything else.
pub const LAUNCHER: &str = "/casemate/bin/launch";
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
    [INITIALIZER, MESH, SHARED_VOLUME, PODINFO_VOLUME].contains(&name) || name.starts_with(FILES_PREFIX)
}

/// A name of ours in a pod that `generate` has not seen yet.
pub(super) fn reserved_name(pod: &Value) -> Option<String> {
    if !pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].is_null() {
        return None;
    }
    let lists = ["initContainers", "containers", "volumes"];
    let names = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    names.map(|item| &item["name"]).find(|name| is_ours(name)).and_then(|name| Some(name.as_str()?.to_owned()))
}

/// Takes off everything that [`inject`] adds.
pub(super) fn strip(pod: &mut Value) {
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
    for list in ["initContainers", "volumes"] {
        if let Some(items) = array(spec, list) {
            items.retain(|item| !is_ours(&item["name"]));
            remove_if_empty(spec, list);
        }
    }
    for list in ["initContainers", "containers"] {
        for container in array(spec, list).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            if let Some(mounts) = array(container, "volumeMounts") {
                mounts.retain(|mount| mount["name"] != json!(SHARED_VOLUME) && mount["name"] != json!(PODINFO_VOLUME));
                for mount in mounts.iter_mut() {
                    let volume = mount["name"].as_str().and_then(|name| name.strip_prefix(FILES_PREFIX));
                    if let Some(volume) = volume.map(str::to_owned) {
                        mount["name"] = json!(volume);
                    }
                }
                remove_if_empty(container, "volumeMounts");
            }
            let launched = |command: &Vec<Value>| command.starts_with(&[json!(LAUNCHER), json!("--")]);
            if let Some(command) = array(container, "command").filter(|command| launched(command)) {
                command.drain(..2);
                let (command, both) = (from_image(&name, "command"), from_image(&name, "both"));
                if let Some(fields) = container.as_object_mut() {
                    if command || both {
                        fields.shift_remove("command");
                    }
                    if both {
                        fields.shift_remove("args");
                    }
                }
            }
        }
    }
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
        if matches!(kind, VolumeKind::Files(FileVolume::ConfigMap | FileVolume::Secret)) {
            rewired.extend(volume["name"].as_str().map(str::to_owned));
        }
    }
    let mut used: Vec<String> = Vec::new();
    let mut marks: Vec<String> = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in array(&mut pod["spec"], list).into_iter().flatten() {
            launch(container, images, &mut marks)?;
            for mount in array(container, "volumeMounts").into_iter().flatten() {
                let name = mount["name"].as_str().unwrap_or_default().to_owned();
                if rewired.contains(&name) {
                    mount["name"] = json!(format!("{FILES_PREFIX}{name}"));
                    mount["readOnly"] = json!(true);
                    if !used.contains(&name) {
                        used.push(name);
                    }
                }
            }
            push(container, "volumeMounts", json!({"name": SHARED_VOLUME, "mountPath": "/casemate", "readOnly": true}));
        }
    }
    let mut initializer = own_container(INITIALIZER, "initializer", injection);
    for volume in &used {
        let given = json!({"name": volume, "mountPath": format!("/casemate-in/files/{volume}"), "readOnly": true});
        push(&mut initializer, "volumeMounts", given);
        let checked =
            json!({"name": format!("{FILES_PREFIX}{volume}"), "mountPath": format!("/casemate-files/{volume}")});
        push(&mut initializer, "volumeMounts", checked);
    }
    let mut mesh = own_container(MESH, "mesh", injection);
    mesh["restartPolicy"] = json!("Always");
    let spec = &mut pod["spec"];
    if spec.get("initContainers").is_none_or(Value::is_null) {
        spec["initContainers"] = json!([]);
    }
    if let Some(containers) = array(spec, "initContainers") {
        containers.splice(0..0, [initializer, mesh]);
    }
    push(spec, "volumes", json!({"name": SHARED_VOLUME, "emptyDir": {"medium": "Memory"}}));
    push(spec, "volumes", podinfo_volume());
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

/// Puts the launcher before the container's command, which must then be written out.
fn launch(
    container: &mut Value,
    images: &dyn Fn(&str) -> ImageConfig,
    marks: &mut Vec<String>,
) -> Result<(), RequestError> {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let given = |field: &str| container[field].as_array().is_some_and(|items| !items.is_empty());
    let (own_command, own_args) = (given("command"), given("args"));
    let (command, args) = argv(container, &images(&name), &format!("containers.{name}"))?;
    let wrapped: Vec<String> = [LAUNCHER, "--"].into_iter().map(str::to_owned).chain(command).collect();
    // The order of keys is that of people: command before args, both after image.
    let set = |fields: &mut Map<String, Value>, key: &str, after: &[&str], value: Value| {
        if fields.contains_key(key) {
            fields.insert(key.to_owned(), value);
            return;
        }
        let index = after.iter().filter_map(|after| fields.keys().position(|known| known == after)).max();
        fields.shift_insert(index.map_or(fields.len(), |index| index + 1), key.to_owned(), value);
    };
    if let Some(fields) = container.as_object_mut() {
        set(fields, "command", &["name", "image"], json!(wrapped));
        if !own_command && !own_args {
            if !args.is_empty() {
                set(fields, "args", &["command"], json!(args));
            }
            marks.push(format!("{name}:both"));
        } else if !own_command {
            marks.push(format!("{name}:command"));
        }
    }
    Ok(())
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
    container["volumeMounts"] = json!([
        {"name": SHARED_VOLUME, "mountPath": "/casemate"},
        {"name": PODINFO_VOLUME, "mountPath": "/casemate-in/podinfo", "readOnly": true},
    ]);
    container
}
