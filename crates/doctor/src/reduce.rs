//! Takes out of objects what a bundle must not hold, before they become part of one.
//!
//! What is left is what checks look at: structure, names, images, labels, states. Values that may be secret go: of
//! environments, arguments, foreign annotations, headers, options of volume drivers, last words of programs that are not
//! ours, and the policy in initdata, which repeats environment and arguments.

use protocol::initdata::ANNOTATION;
use serde_json::{Map, Value, json};

use crate::facts::Initdata;
use crate::view::is_our_container;

/// What stands in the place of a value that was taken out.
pub const REDACTED: &str = "REDACTED";

/// Annotations whose values are kept: they configure what is checked, and none holds a secret.
const ANNOTATIONS: [&str; 7] = [
    "casemate.dev/",
    "contrast.edgeless.systems/",
    "io.katacontainers.",
    "nvidia.com/",
    "iam.gke.io/",
    "cdi.k8s.io/",
    "deployment.kubernetes.io/",
];
/// Fields that no check reads and that repeat what was taken out elsewhere.
const DROPPED: [&str; 4] = ["managedFields", "kubectl.kubernetes.io/last-applied-configuration", "data", "stringData"];
/// Fields whose texts are taken out wherever they stand.
const MAPS: [&str; 3] = ["volumeAttributes", "options", "parameters"];
/// LIMIT: objects are at most this deep; what lies deeper is dropped. The deepest schema of a CRD is at forty.
const MAX_DEPTH: usize = 64;
/// The words behind which Kata puts the request that was denied, with the whole environment in it.
const DENIED_INPUT: &str = ": input =";

/// Reduces an object of Kubernetes. Doing it twice changes nothing.
pub fn reduce(mut object: Value) -> Value {
    walk(&mut object, MAX_DEPTH);
    statuses(&mut object);
    object
}

fn walk(value: &mut Value, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        *value = Value::Null;
        return;
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, depth)),
        Value::Object(fields) => {
            let ours = is_container(fields) && is_our_container(&Value::Object(fields.clone()));
            for field in DROPPED {
                // `data` of an object, and not a key of that name in labels.
                if field != "data" || fields.contains_key("apiVersion") || fields.contains_key("kind") {
                    fields.remove(field);
                }
            }
            for (key, value) in fields.iter_mut() {
                match key.as_str() {
                    "annotations" => annotations(value),
                    "env" => values(value),
                    "httpHeaders" => values(value),
                    "command" | "args" if !ours => arguments(value),
                    key if MAPS.contains(&key) => texts(value),
                    "message" => message(value),
                    _ => {}
                }
                walk(value, depth);
            }
        }
        _ => {}
    }
}

fn is_container(fields: &Map<String, Value>) -> bool {
    fields.contains_key("image") && fields.contains_key("name")
}

fn annotations(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    for (key, value) in map.iter_mut() {
        if key == ANNOTATION {
            if let Some(text) = value.as_str() {
                *value = json!(Initdata::of(text));
            }
        } else if !ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix)) {
            *value = Value::from(REDACTED);
        }
    }
}

/// `[{name, value}]`.
fn values(value: &mut Value) {
    for item in value.as_array_mut().into_iter().flatten() {
        if let Some(value) = item.get_mut("value") {
            *value = Value::from(REDACTED);
        }
    }
}

/// All but the program's name.
fn arguments(value: &mut Value) {
    for item in value.as_array_mut().into_iter().flatten().skip(1) {
        *item = Value::from(REDACTED);
    }
}

fn texts(value: &mut Value) {
    for (_, value) in value.as_object_mut().into_iter().flatten() {
        if value.is_string() {
            *value = Value::from(REDACTED);
        }
    }
}

fn message(value: &mut Value) {
    let cut = value.as_str().and_then(|text| text.split_once(DENIED_INPUT)).map(|(before, _)| before.to_owned());
    if let Some(before) = cut {
        *value = Value::from(before);
    }
}

/// Last words of programs that are not ours.
fn statuses(pod: &mut Value) {
    let ours: Vec<String> = ["/spec/initContainers", "/spec/containers"]
        .iter()
        .flat_map(|pointer| pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten())
        .filter(|container| is_our_container(container))
        .filter_map(|container| container.get("name")?.as_str().map(str::to_owned))
        .collect();
    for pointer in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        for status in pod.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten() {
            let is_ours =
                status.get("name").and_then(Value::as_str).is_some_and(|name| ours.iter().any(|it| it == name));
            for end in ["/state/terminated/message", "/lastState/terminated/message"] {
                if let Some(words) = status.pointer_mut(end).filter(|_| !is_ours) {
                    // That a policy denied it is Kata's word, and says nothing of the program.
                    if !words.as_str().is_some_and(|text| text.contains("is blocked by policy")) {
                        *words = Value::from(REDACTED);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    fn pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web", "labels": {"app": "web", "data": "kept"},
                "managedFields": [{"x": SECRET}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": SECRET,
                    "vault.example/token": SECRET,
                    "casemate.dev/names": "web",
                    ANNOTATION: SECRET,
                },
            },
            "spec": {
                "initContainers": [
                    {"name": "casemate-initializer", "image": "p", "command": ["/casemate-pod", "initializer"]},
                ],
                "containers": [{
                    "name": "web", "image": "w:1", "command": ["/web", SECRET], "args": ["--x", SECRET],
                    "env": [{"name": "PASSWORD", "value": SECRET}, {"name": "FROM", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                    "livenessProbe": {
                        "httpGet": {"httpHeaders": [{"name": "Authorization", "value": SECRET}]},
                        "exec": {"command": ["/probe", SECRET]},
                    },
                    "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", SECRET]}}},
                }],
                "volumes": [
                    {"name": "a", "csi": {"driver": "d", "volumeAttributes": {"key": SECRET}}},
                    {"name": "b", "flexVolume": {"options": {"key": SECRET}}},
                ],
            },
            "status": {
                "initContainerStatuses": [
                    {"name": "casemate-initializer", "state": {"terminated": {"exitCode": 1, "message": "not-in-manifest"}}},
                ],
                "containerStatuses": [
                    {"name": "web", "lastState": {"terminated": {"exitCode": 1, "message": SECRET}},
                     "state": {"waiting": {"reason": "X", "message": format!("CreateContainerRequest is blocked by policy: agent_policy:1: x: input = {SECRET}")}}},
                ],
            },
        })
    }

    #[test]
    fn nothing_secret_is_left_and_what_is_checked_is() {
        let reduced = reduce(pod());
        let text = reduced.to_string();
        assert!(!text.contains(SECRET), "{text}");
        assert_eq!(reduced.pointer("/metadata/labels/data"), Some(&json!("kept")));
        assert_eq!(reduced.pointer("/metadata/annotations/casemate.dev~1names"), Some(&json!("web")));
        assert_eq!(reduced.pointer("/spec/initContainers/0/command/1"), Some(&json!("initializer")));
        assert_eq!(reduced.pointer("/spec/containers/0/command/0"), Some(&json!("/web")));
        assert_eq!(
            reduced.pointer("/status/initContainerStatuses/0/state/terminated/message"),
            Some(&json!("not-in-manifest"))
        );
        assert!(Initdata::on(&reduced).is_some_and(|facts| facts.fault.is_some() && facts.bytes == SECRET.len()));
    }

    #[test]
    fn reducing_twice_changes_nothing() {
        let once = reduce(pod());
        assert_eq!(reduce(once.clone()), once);
    }

    #[test]
    fn data_of_objects_goes_whatever_they_are() {
        let secret = json!({"kind": "Secret", "data": {"a": SECRET}, "stringData": {"b": SECRET}});
        assert!(!reduce(secret).to_string().contains(SECRET));
        let list = json!({"kind": "List", "items": [{"kind": "ConfigMap", "data": {"a": SECRET}}]});
        assert!(!reduce(list).to_string().contains(SECRET));
    }

    #[test]
    fn depth_is_bounded() {
        let mut value = json!("x");
        for _ in 0..1_000 {
            value = json!([value]);
        }
        reduce(value);
    }
}
