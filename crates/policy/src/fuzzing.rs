//! What is fuzzed of this crate: each reader of what others wrote, with what must hold of its answer. For the fuzzer,
//! which compiles with `--cfg=fuzzing`, and for the test that replays what it has found; no build that ships has it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use protocol::Initdata;
use serde_json::{Value, json};

use crate::describe;
use crate::evaluate::{EvaluateError, PolicyEngine};
use crate::images::{self, ImageConfig};
use crate::policy_data::{Openings, PolicyContainer, PolicyInputs, policy};
use crate::request::PodInstance;
use crate::yaml;

#[cfg(test)]
mod replay;
#[cfg(test)]
mod seeds;

/// A name, and what is done with bytes.
type Target = (&'static str, fn(&[u8]));

/// Name of each target, which is that of its folder in `fuzz/corpus`, and what it does with bytes. Nothing may panic.
pub const TARGETS: [Target; 8] = [
    ("policy-yaml", yaml_files),
    ("policy-image-documents", images::fuzzing::documents),
    ("policy-image-config", image_config),
    ("policy-layer", images::fuzzing::layer),
    ("policy-reference", images::fuzzing::reference),
    ("policy-describe", description),
    ("policy-requests", recorded),
    ("policy-decide", decision),
];

/// The target of a name.
pub fn find(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}

/// A file of YAML: written again unchanged it is the same to the byte, and changed it reads as what was asked for.
fn yaml_files(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(documents) = yaml::parse(text) else { return };
    let mut trees: Vec<Value> = documents.iter().map(|document| document.tree.clone()).collect();
    let same = yaml::rewrite(text, &documents, &trees);
    assert!(same.text == text && same.in_place, "nothing was to change");
    for (document, tree) in documents.iter().zip(&mut trees) {
        let _ = document.node.line_of(tree, "spec.template.spec.containers[0].name");
        change(tree, &mut 0);
    }
    let rewritten = yaml::rewrite(text, &documents, &trees);
    let read: Vec<Value> = match yaml::parse(&rewritten.text) {
        Ok(documents) => documents.into_iter().map(|document| document.tree).collect(),
        Err(error) => panic!("{}:{}: {}\n{}", error.line, error.column, error.reason, rewritten.text),
    };
    assert_eq!(read, trees, "written:\n{}", rewritten.text);
}

/// Changes of the kinds that `generate` makes: another scalar, one more key, one more element at either end, less.
fn change(value: &mut Value, count: &mut usize) {
    *count += 1;
    match value {
        Value::Object(fields) => {
            if count.is_multiple_of(5) {
                let first = fields.keys().next().cloned();
                first.map(|key| fields.shift_remove(&key));
            }
            fields.values_mut().for_each(|value| change(value, count));
            if count.is_multiple_of(3) {
                fields.insert("added: key".into(), json!({"a": ["x y", 1, null, "- z"], "b": {}}));
            }
        }
        Value::Array(items) => {
            for value in items.iter_mut() {
                change(value, count);
            }
            match *count % 4 {
                0 => items.insert(0, json!("first # one")),
                1 => items.push(json!({"name": "last", "value": "\n"})),
                2 => drop(items.pop()),
                _ => {}
            }
        }
        Value::String(text) if count.is_multiple_of(2) => text.push_str("@sha256:0"),
        Value::Number(_) => *value = json!("7"),
        _ => {}
    }
}

/// The configuration of an image, by the public door.
fn image_config(bytes: &[u8]) {
    match ImageConfig::from_oci(bytes) {
        Ok(config) => drop(format!("{config:?}")),
        Err(error) => assert_printable(&format!("{error} {:?}", error.hint())),
    }
}

/// What people hand to `policy show`: initdata, a policy, resources.
fn description(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // The rules of another are Rego, whose compiler is not ours to fuzz: its policies are cut to what ends soon.
    if text.len() > 64 * 1024 {
        return;
    }
    if let Ok(found) = describe::find(text) {
        for one in &found {
            let _ = serde_json::to_string(&one.description);
        }
    }
    if let Ok(initdata) = Initdata::parse(text) {
        let again = Initdata::from_annotation(&initdata.to_annotation()).map(|again| again.identity());
        assert!(again.is_err() || again == Ok(initdata.identity()), "the annotation holds another document");
    }
}

/// Recorded requests, as `policy test` reads them.
fn recorded(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(requests) = describe::requests(text) {
        assert!(requests.len() <= describe::MAX_REQUESTS);
    }
}

const IMAGE: &str = "localhost:5000/app:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A pod with one of each that a policy knows.
pub(crate) fn pod() -> Value {
    json!({
        "metadata": {"labels": {"app": "app"}, "annotations": {"io.katacontainers.x": "y"}},
        "spec": {
            "enableServiceLinks": true,
            "securityContext": {"fsGroup": 2000},
            "containers": [{"name": "app", "image": IMAGE, "args": ["x"],
                "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "volumeMounts": [{"name": "memory", "mountPath": "/m"}, {"name": "claim", "mountPath": "/c"}]}],
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}},
                        {"name": "claim", "persistentVolumeClaim": {"claimName": "claim"}}],
        },
    })
}

/// Its policy.
pub(crate) fn policy_of_pod() -> String {
    let (pod, image) = (pod(), ImageConfig { entrypoint: vec!["/app".into()], ..ImageConfig::default() });
    let inputs = PolicyInputs {
        kind: "Deployment",
        name: "app",
        namespace: "default",
        pod: &pod,
        completions: None,
        containers: vec![PolicyContainer { container: &pod["spec"]["containers"][0], image: &image, signals: true }],
        services: vec!["db".into()],
        config: &PodInstance::default(),
        openings: Openings::local(),
    };
    policy(&inputs).expect("the pod is one that can be bound")
}

thread_local! {
    static ENGINE: RefCell<PolicyEngine> =
        RefCell::new(PolicyEngine::new(&policy_of_pod()).expect("the policy is ours"));
}

/// Requests of a host, one after the other: `{"ep": …, "request": …}` and whatever else `policy test` reads.
fn decision(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(requests) = describe::requests(text) else { return };
    ENGINE.with_borrow_mut(|engine| {
        for one in requests.iter().take(8) {
            match engine.decide(&one.endpoint, &one.request) {
                Ok(decision) if decision.allowed => harmless(&one.endpoint, &one.request),
                Ok(decision) => {
                    assert!(!decision.reasons.is_empty(), "refused without a reason");
                    decision.reasons.iter().for_each(|reason| assert_printable(reason));
                }
                Err(EvaluateError::TooLong { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// What must hold of every request that is allowed, whatever the rules say.
fn harmless(endpoint: &str, request: &Value) {
    let closed = ["ExecProcessRequest", "SetPolicyRequest", "WriteStreamRequest", "SetGuestDateTimeRequest"];
    assert!(!closed.contains(&endpoint), "{endpoint} is allowed");
    if endpoint == "CreateContainerRequest" {
        let process = &request["OCI"]["Process"];
        let arguments = &process["Args"];
        assert!(*arguments == json!(["/pause"]) || *arguments == json!(["/app", "x"]), "{arguments}");
        assert_eq!(process["Capabilities"]["Ambient"].as_array().map_or(0, Vec::len), 0);
        let known: BTreeSet<&str> = [IMAGE, "pause", "shm", "tmpfs", "local"].into();
        let unpinned = IMAGE.replacen(":1@", "@", 1);
        for storage in request["storages"].as_array().into_iter().flatten() {
            let source = storage["source"].as_str().unwrap_or_default();
            assert!(known.contains(source) || source == unpinned, "{source}");
        }
    }
}

/// No text of a peer may move a cursor.
pub(crate) fn assert_printable(text: &str) {
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "reaches a terminal: {text:?}");
}
