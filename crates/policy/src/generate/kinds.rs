//! Which resources hold a pod, and which runtime classes make one confidential.

use serde_json::Value;

/// The runtime class of a confidential pod. Those of Contrast and of Kata Containers count, too.
pub const RUNTIME_CLASS: &str = "casemate";

/// Kinds of Kata Containers whose guests are confidential, without `kata-` before and `-runtime-rs` behind. Others of
/// Kata isolate a pod from the host, and not the host from the pod.
const KATA_CLASSES: [&str; 11] = [
    "cc",
    "cc-isolation",
    "qemu-cca",
    "qemu-coco-dev",
    "qemu-nvidia-gpu-snp",
    "qemu-nvidia-gpu-tdx",
    "qemu-se",
    "qemu-sev",
    "qemu-snp",
    "qemu-tdx",
    "remote",
];

/// Whether a runtime class asks for a confidential pod.
pub(super) fn is_confidential_class(class: &str) -> bool {
    let kata = class.strip_prefix("kata-").map(|class| class.strip_suffix("-runtime-rs").unwrap_or(class));
    class == RUNTIME_CLASS
        || class.starts_with("casemate-")
        || class == "contrast-cc"
        || class.starts_with("contrast-cc-")
        || kata.is_some_and(|class| KATA_CLASSES.contains(&class))
}

/// Whether a pod is to be confidential.
pub(super) fn is_confidential(pod: &Value) -> bool {
    is_confidential_class(pod["spec"]["runtimeClassName"].as_str().unwrap_or_default())
}

/// Kinds that hold a pod: group, kind, place of the template.
const POD_KINDS: [(&str, &str, &str); 8] = [
    ("", "Pod", ""),
    ("", "ReplicationController", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("apps", "Deployment", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
    ("batch", "Job", "/spec/template"),
];

/// The group of an `apiVersion`: `apps` of `apps/v1`, and none of `v1`.
fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Where the pod template is in a resource; `None` for kinds without. A kind means nothing without its group: a
/// `Service` of Knative holds a pod, and that of Kubernetes none. A resource without `apiVersion`, which kubectl would
/// not take, is taken for what its kind says.
pub(super) fn template(resource: &Value) -> Option<&'static str> {
    let found = POD_KINDS.iter().find(|(group, kind, _)| is_a(resource, group, kind));
    found.map(|(_, _, place)| *place)
}

/// Whether a resource is of a kind of a group.
pub(super) fn is_a(resource: &Value, of_group: &str, kind: &str) -> bool {
    let fits = match &resource["apiVersion"] {
        Value::Null => true,
        Value::String(version) => group(version) == of_group,
        _ => false,
    };
    fits && resource["kind"].as_str() == Some(kind)
}

/// LIMIT: YAML is not deeper, see its reader.
const MAX_DEPTH: usize = 64;

/// The places, besides `allowed`, where a resource asks for a confidential pod: JSON pointer and class.
pub(super) fn asks_elsewhere(resource: &Value, allowed: Option<&str>) -> Option<(String, String)> {
    let allowed = allowed.map(|template| format!("{template}/spec"));
    let mut rest: Vec<(String, &Value)> = vec![(String::new(), resource)];
    while let Some((at, value)) = rest.pop() {
        if at.matches('/').count() > MAX_DEPTH {
            continue;
        }
        match value {
            Value::Object(fields) => {
                let class = fields.get("runtimeClassName").and_then(Value::as_str);
                if let Some(class) = class.filter(|class| is_confidential_class(class))
                    && allowed.as_ref() != Some(&at)
                {
                    return Some((at, class.to_owned()));
                }
                rest.extend(fields.iter().rev().map(|(key, value)| (format!("{at}/{}", escape(key)), value)));
            }
            Value::Array(items) => {
                rest.extend(items.iter().enumerate().rev().map(|(index, value)| (format!("{at}/{index}"), value)));
            }
            _ => {}
        }
    }
    None
}

/// A key as part of a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What to do about a resource that holds a pod in a way that nobody would bind.
pub(super) fn hint(resource: &Value) -> String {
    let kind = resource["kind"].as_str().unwrap_or_default();
    if is_a(resource, "", "PodTemplate") {
        return "who makes pods of it, and under which names, nothing says: write a Deployment, a Job or a Pod".into();
    }
    if let Some((group, _, _)) = POD_KINDS.iter().find(|(_, known, _)| *known == kind) {
        return match *group {
            "" => format!("{kind} is known as `apiVersion: v1`"),
            group => format!("{kind} is known as `apiVersion: {group}/v1`"),
        };
    }
    if let Some(near) = nearest(kind, &POD_KINDS.map(|(_, kind, _)| kind)) {
        return format!("did you mean `{near}`?");
    }
    "pods are bound in Pod, Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet, Job and CronJob; \
     of other kinds nobody knows which pods they make"
        .into()
}

/// The word of `known` that a misspelt one was meant to be.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // LIMIT: fields of the API are shorter, and the distance costs the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let near = known.iter().map(|known| (distance(&lower, &known.to_ascii_lowercase()), *known)).min()?;
    (near.0 <= 2 && near.0 * 3 <= word.len().max(3)).then_some(near.1)
}

/// How many letters are to be added, taken away or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for ((j, y), pair) in b.iter().enumerate().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            let left = next.get(j).copied().unwrap_or_default();
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_are_confidential_by_name_and_not_by_prefix() {
        for class in [
            "casemate",
            "casemate-snp",
            "contrast-cc",
            "contrast-cc-metal-qemu-snp",
            "kata-qemu-snp",
            "kata-qemu-tdx",
            "kata-qemu-tdx-runtime-rs",
            "kata-qemu-coco-dev",
            "kata-qemu-nvidia-gpu-tdx",
            "kata-cc-isolation",
        ] {
            assert!(is_confidential_class(class), "{class}");
        }
        for class in [
            "",
            "kata",
            "kata-fc",
            "kata-qemu",
            "kata-clh",
            "kata-dragonball",
            "kata-qemu-runtime-rs",
            "kata-qemu-nvidia-gpu",
            "katamari",
            "kata-qemu-snpx",
            "casemated",
            "contrast-ccx",
            "runc",
            "gvisor",
            "Casemate",
        ] {
            assert!(!is_confidential_class(class), "{class}");
        }
    }

    #[test]
    fn a_kind_means_nothing_without_its_group() {
        let of = |version: &str, kind: &str| template(&json!({"apiVersion": version, "kind": kind}));
        assert_eq!(of("v1", "Pod"), Some(""));
        assert_eq!(of("apps/v1", "Deployment"), Some("/spec/template"));
        assert_eq!(of("batch/v1beta1", "CronJob"), Some("/spec/jobTemplate/spec/template"));
        assert_eq!(template(&json!({"kind": "Job"})), Some("/spec/template"));
        for (version, kind) in [
            ("batch.volcano.sh/v1alpha1", "Job"),
            ("serving.knative.dev/v1", "Service"),
            ("v1", "Deployment"),
            ("apps/v1", "Pod"),
            ("v1", "Service"),
            ("v1", "PodTemplate"),
        ] {
            assert_eq!(of(version, kind), None, "{version} {kind}");
        }
        assert!(!is_a(&json!({"apiVersion": 1, "kind": "Pod"}), "", "Pod"));
    }

    #[test]
    fn a_wish_for_a_confidential_pod_is_found_anywhere() {
        let asks = |value: Value, allowed| asks_elsewhere(&value, allowed).map(|(at, _)| at);
        let spec = json!({"runtimeClassName": "casemate"});
        assert_eq!(asks(json!({"spec": {"template": {"spec": spec}}}), Some("/spec/template")), None);
        assert_eq!(asks(json!({"spec": spec}), Some("")), None);
        for (value, place) in [
            (json!({"spec": {"template": {"spec": spec}}}), "/spec/template/spec"),
            (json!({"spec": {"tasks": [{"x": 1}, {"template": {"spec": spec}}]}}), "/spec/tasks/1/template/spec"),
            (json!({"a/b": {"c~d": spec}}), "/a~1b/c~0d"),
            (spec.clone(), ""),
        ] {
            assert_eq!(asks(value, None).as_deref(), Some(place));
        }
        assert_eq!(asks(json!({"spec": spec}), Some("/spec/template")).as_deref(), Some("/spec"));
        assert_eq!(asks(json!({"spec": {"runtimeClassName": "kata-fc"}}), None), None);
        assert_eq!(asks(json!({"data": {"x": "runtimeClassName: casemate"}}), None), None);
    }

    #[test]
    fn misspelt_words_are_recognised() {
        let known = ["containers", "initContainers", "volumes", "env"];
        for (word, meant) in [
            ("contianers", Some("containers")),
            ("Containers", Some("containers")),
            ("volume", Some("volumes")),
            ("evn", None),
            ("x", None),
            ("somethingElse", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1000), &known), None);
    }
}
