//! Reading untyped objects. Whatever a field holds, there is an answer: nothing here can fail or panic.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use policy::generate::{INITIALIZER, MESH, PLATFORMS};
use serde_json::Value;

use crate::bundle::{Bundle, Unknown};
use crate::facts::Initdata;
use crate::finding::{Findings, Subject};
use crate::kind::Kind;
use crate::names;
use crate::reduce::REDACTED;

/// The text at a JSON pointer, or none at all.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items at a JSON pointer.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The number at a JSON pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// Whether `true` stands at a JSON pointer.
pub(crate) fn is_true(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// Keys and texts of a map at a JSON pointer.
pub(crate) fn texts<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let map = value.pointer(pointer).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// A label.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// Whether a label is `true`.
pub(crate) fn has_label(object: &Value, key: &str) -> bool {
    label(object, key) == Some("true")
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The namespace of an object.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// Whether labels satisfy `matchLabels`, or the selector of a service; an empty one selects everything.
pub(crate) fn selects(selector: &Value, object: &Value) -> bool {
    let Some(selector) = selector.as_object() else { return true };
    selector.iter().all(|(key, wanted)| label(object, key) == wanted.as_str())
}

/// A time of Kubernetes, in seconds since 1970.
pub(crate) fn seconds(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// A container with what its status says.
#[derive(Clone, Copy)]
pub(crate) struct Container<'a> {
    pub(crate) spec: &'a Value,
    /// `null` where there is none yet.
    pub(crate) status: &'a Value,
    pub(crate) is_init: bool,
}

impl<'a> Container<'a> {
    pub(crate) fn name(self) -> &'a str {
        text(self.spec, "/name")
    }

    pub(crate) fn image(self) -> &'a str {
        text(self.spec, "/image")
    }

    /// Why it waits, if it does.
    pub(crate) fn waits_for(self) -> &'a str {
        text(self.status, "/state/waiting/reason")
    }

    /// The end of its last run.
    pub(crate) fn last_end(self) -> Option<&'a Value> {
        let ended = |pointer| self.status.pointer(pointer).filter(|end| end.is_object());
        ended("/state/terminated").or_else(|| ended("/lastState/terminated"))
    }

    /// Whether it is a container that `casemate generate` adds.
    pub(crate) fn is_ours(self) -> bool {
        is_our_container(self.spec)
    }
}

/// Whether a container is one that `casemate generate` adds, or stands in for one.
pub(crate) fn is_our_container(spec: &Value) -> bool {
    [INITIALIZER, MESH].contains(&text(spec, "/name")) || text(spec, "/command/0") == "/casemate-pod"
}

const NOTHING: Value = Value::Null;

/// All containers of a pod, init containers first.
pub(crate) fn containers(pod: &Value) -> Vec<Container<'_>> {
    let of = |specs: &'static str, statuses: &'static str, is_init| {
        items(pod, specs).iter().map(move |spec| {
            let status = items(pod, statuses).iter().find(|status| status.get("name") == spec.get("name"));
            Container { spec, status: status.unwrap_or(&NOTHING), is_init }
        })
    };
    of("/spec/initContainers", "/status/initContainerStatuses", true)
        .chain(of("/spec/containers", "/status/containerStatuses", false))
        .collect()
}

/// A pod, or what pods are made from, with the object that a user would change.
#[derive(Clone)]
pub(crate) struct Template<'a> {
    /// The workload, or the pod itself where nothing made it.
    pub(crate) subject: Subject,
    /// Has `metadata` and `spec` as a pod has.
    pub(crate) pod: &'a Value,
    /// Where it stands in the work folder.
    pub(crate) file: Option<&'a str>,
}

impl Template<'_> {
    pub(crate) fn initdata(&self) -> Option<Initdata> {
        Initdata::on(self.pod)
    }
}

/// The part of an object that pods are made from.
fn template(kind: Kind, object: &Value) -> Option<&Value> {
    match kind {
        Kind::Pods => Some(object),
        Kind::CronJobs => object.pointer("/spec/jobTemplate/spec/template"),
        kind if Kind::WORKLOADS.contains(&kind) => object.pointer("/spec/template"),
        _ => None,
    }
}

/// What made an object.
fn owner(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| is_true(owner, "/controller"))
}

/// Whether another object made this one.
pub(crate) fn is_made(object: &Value) -> bool {
    owner(object).is_some()
}

/// What somebody said, unless it was taken out of the bundle.
pub(crate) fn words<'a>(value: &'a Value, pointer: &str) -> &'a str {
    Some(text(value, pointer)).filter(|words| *words != REDACTED).unwrap_or_default()
}

/// Everything in the cluster that pods are made from, and the pods that nothing made which was seen: each stands for
/// itself, or for what it says made it. Kinds that could not be read are noted.
pub(crate) fn templates<'a>(bundle: &'a Bundle, out: &mut Findings) -> Vec<Template<'a>> {
    let mut found: Vec<Template<'a>> = Vec::new();
    for kind in Kind::WORKLOADS {
        let Some(objects) = out.known(bundle.list(kind)) else { continue };
        // A Job of a CronJob has its template from there.
        let own = objects.iter().filter(|object| owner(object).is_none_or(|owner| text(owner, "/kind") != "CronJob"));
        found.extend(own.filter_map(|object| {
            Some(Template { subject: Subject::of(kind, object), pod: template(kind, object)?, file: None })
        }));
    }
    let known: BTreeSet<Subject> = found.iter().map(|template| template.subject.clone()).collect();
    let pods = out.known(bundle.list(Kind::Pods)).unwrap_or_default();
    let own = pods.iter().map(|pod| Template { subject: workload_of(pod), pod, file: None });
    found.extend(own.filter(|template| !known.contains(&template.subject)));
    found
}

/// The same of the work folder.
pub(crate) fn written<'a>(bundle: &'a Bundle) -> Result<Vec<Template<'a>>, Unknown> {
    let default = bundle.cluster().map_or("default", |cluster| cluster.namespace.as_str());
    let read = |resource: &'a crate::bundle::Resource| {
        let kind = Kind::named(text(&resource.object, "/kind"))?;
        let mut subject = Subject::of(kind, &resource.object);
        if kind.is_namespaced() && subject.namespace.is_none() {
            subject.namespace = Some(if default.is_empty() { "default" } else { default }.to_owned());
        }
        Some(Template { subject, pod: template(kind, &resource.object)?, file: Some(&resource.file) })
    };
    Ok(bundle.work()?.resources.iter().filter_map(read).collect())
}

/// What a user would change to change this pod: the Deployment, StatefulSet, … or the pod itself.
pub(crate) fn workload_of(pod: &Value) -> Subject {
    let Some(owner) = owner(pod) else { return Subject::of(Kind::Pods, pod) };
    let (kind, owner) = (text(owner, "/kind"), text(owner, "/name"));
    let hash = label(pod, "pod-template-hash").map(|hash| format!("-{hash}"));
    match (kind, hash.as_deref().and_then(|hash| owner.strip_suffix(hash))) {
        ("ReplicaSet", Some(deployment)) => Subject::named("Deployment", Some(namespace(pod)), deployment),
        _ => Subject::named(kind, Some(namespace(pod)), owner),
    }
}

/// Whether a runtime class makes pods confidential: one of our platforms', Contrast's, or any of Kata's whose name ends
/// in a TEE.
pub(crate) fn is_confidential_class(class: &str) -> bool {
    let known = PLATFORMS.iter().any(|platform| platform.runtime_class == Some(class));
    let parts = |tee: &str| class.starts_with("kata") && class.split('-').any(|part| part == tee);
    known || class.starts_with("contrast-cc") || parts("snp") || parts("tdx")
}

/// Whether a pod, or a template, is to be confidential in a guest of its own.
pub(crate) fn is_guest(pod: &Value) -> bool {
    is_confidential_class(text(pod, "/spec/runtimeClassName"))
}

/// Whether it is ours: confidential, with initdata, or with an annotation or label of ours.
pub(crate) fn is_ours(pod: &Value) -> bool {
    let marked = |pointer: &str| {
        let keys = pod.pointer(pointer).and_then(Value::as_object);
        keys.is_some_and(|keys| keys.keys().any(|key| key.starts_with(names::OURS)))
    };
    is_guest(pod) || Initdata::on(pod).is_some() || marked("/metadata/annotations") || marked("/metadata/labels")
}

/// The status of a condition.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

/// Whether a pod is running and ready, or has ended well.
pub(crate) fn is_fine(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Succeeded"
        || condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True")
}

/// The events about an object, the latest last.
pub(crate) fn events_about<'a>(events: &'a [Value], kind: &str, namespace: &str, name: &str) -> Vec<&'a Value> {
    let about = |event: &&Value| {
        text(event, "/involvedObject/kind") == kind
            && text(event, "/involvedObject/name") == name
            && (namespace.is_empty() || text(event, "/involvedObject/namespace") == namespace)
    };
    let mut events: Vec<&Value> = events.iter().filter(about).collect();
    events.sort_by_key(|event| when(event));
    events
}

/// When an event was seen last.
pub(crate) fn when(event: &Value) -> i64 {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().filter_map(|pointer| seconds(text(event, pointer))).max().unwrap_or_default()
}

/// Pods that are not what they should be, with their events.
///
/// # Errors
/// Without the pods. Without the events there is less to say, which is noted.
pub(crate) fn troubled<'a>(
    bundle: &'a Bundle,
    out: &mut Findings,
) -> Result<Vec<(&'a Value, Vec<&'a Value>)>, Unknown> {
    let pods = bundle.list(Kind::Pods)?;
    let events = out.known(bundle.list(Kind::Events)).unwrap_or_default();
    let troubled = pods.iter().filter(|pod| !is_fine(pod));
    Ok(troubled.map(|pod| (pod, events_about(events, "Pod", namespace(pod), name(pod)))).collect())
}

/// `1.29.4-gke.5` as 1 and 29.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_two_numbers_whatever_follows() {
        for (text, expected) in [
            ("v1.29.4-gke.5", Some((1, 29))),
            ("6.8.0-45-generic", Some((6, 8))),
            ("6.11.0", Some((6, 11))),
            ("containerd", None),
            ("1", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn classes_of_every_platform_are_confidential_and_ordinary_ones_are_not() {
        for class in ["casemate", "kata-qemu-snp", "kata-qemu-nvidia-gpu-tdx", "contrast-cc", "kata-cc-isolation"] {
            assert!(is_confidential_class(class), "{class}");
        }
        for class in ["", "kata", "kata-qemu", "kata-qemu-nvidia-gpu", "runc", "gvisor", "snp"] {
            assert!(!is_confidential_class(class), "{class}");
        }
    }

    #[test]
    fn a_pod_is_its_deployments() {
        let pod = json!({"metadata": {
            "name": "web-7d9c-x", "namespace": "shop", "labels": {"pod-template-hash": "7d9c"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-7d9c", "controller": true}],
        }});
        assert_eq!(workload_of(&pod).to_string(), "Deployment shop/web");
        assert_eq!(workload_of(&pod).arguments(), "deployment web -n shop");
        let alone = json!({"metadata": {"name": "one", "namespace": "shop"}});
        assert_eq!(workload_of(&alone).to_string(), "Pod shop/one");
    }
}
