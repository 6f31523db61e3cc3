//! Changes a request in every way that changes one field, and expects each to be refused by name. Tests only.

use serde_json::{Value, json};

use super::PolicyEngine;

/// Every leaf of a value, as a JSON pointer; empty lists and objects are leaves.
fn leaves(value: &Value, at: &str, out: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{}", escaped(key)), out));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), out));
        }
        _ => out.push(at.to_owned()),
    }
}

/// What the policy deliberately leaves to the host; `docs/decisions/0005-what-the-policy-binds.md` says why.
const UNBOUND: [&str; 8] = [
    "/dns",
    "/stdout_port",
    "/stderr_port",
    "/OCI/Process/OOMScoreAdj",
    "/OCI/Linux/Resources/Memory",
    "/OCI/Linux/Resources/CPU",
    // Bound by a pattern: only values outside it are refused.
    "/OCI/Annotations/io.kubernetes.cri.sandbox-log-directory",
    "/OCI/Annotations/nerdctl~1network-namespace",
];

/// Fields that a shim may leave out, since absent and empty are one in protobuf.
fn may_be_absent(value: &Value, pointer: &str) -> bool {
    let empty = [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})];
    let named = ["/dns", "/stdout_port", "/stderr_port", "/OCI/Process/OOMScoreAdj", "/OCI/Linux/Resources"];
    let host_words = ["sandbox-cpu", "sandbox-memory", "bundle_path", "sandbox-log-directory", "network-namespace"];
    (empty.contains(value)
        && !["/sandbox_pidns", "/OCI/Process/Terminal", "/OCI/Root/Readonly", "/OCI/Hostname", "/OCI/Linux/Sysctl"]
            .contains(&pointer)
        && !pointer.ends_with("/options")
        && !pointer.ends_with("/driver_options")
        && !pointer.ends_with("/Path")
        && !pointer.ends_with("NoNewPrivileges")
        && !pointer.ends_with("ApparmorProfile")
        && pointer != "/storages")
        || named.iter().any(|prefix| pointer.starts_with(prefix))
        || pointer.starts_with("/OCI/Annotations") && host_words.iter().any(|word| pointer.contains(word))
}

/// The last part of a pointer that a person would recognise in a reason.
fn words(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// Whether one of the reasons names the field that was touched.
fn names(reasons: &[String], request: &Value, pointer: &str) -> bool {
    let parts = words(pointer);
    let mut wanted = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if part.parse::<usize>().is_ok() {
            // Mounts are named by destination and variables by name.
            let at = format!(
                "/{}",
                parts
                    .iter()
                    .take(index + 1)
                    .map(|p| p.replace('~', "~0").replace('/', "~1"))
                    .collect::<Vec<_>>()
                    .join("/")
            );
            match request.pointer(&at) {
                Some(Value::String(text)) if at.contains("/Env/") => {
                    wanted = vec![text.split('=').next().unwrap_or_default().to_owned()];
                    continue;
                }
                Some(Value::Object(mount)) if at.contains("/Mounts/") => {
                    wanted = vec![mount["destination"].as_str().unwrap_or_default().to_owned()];
                    continue;
                }
                _ => continue,
            }
        }
        wanted.push(part.clone());
    }
    let last = wanted.last().cloned().unwrap_or_default();
    let element = match parts.as_slice() {
        [.., list, index] => format!("{list}[{index}]"),
        _ => last.clone(),
    };
    reasons.iter().any(|reason| {
        reason.contains(&last)
            || reason.contains(&element)
            || (parts.len() > 2 && reason.contains(&wanted[wanted.len().saturating_sub(2)]))
    })
}

fn replacements(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => vec![json!(format!("{text}x")), json!(format!("x{text}")), json!(7), json!(["x"])],
        Value::Number(_) => vec![json!(4711), json!("x"), json!(-1)],
        Value::Bool(flag) => vec![json!(!flag), json!("x")],
        Value::Null => vec![json!("x"), json!({"x": 1}), json!(true)],
        Value::Array(_) => vec![json!(["x"]), json!([{"x": 1}]), json!("x")],
        Value::Object(_) => vec![json!({"x": 1}), json!("x")],
    }
}

fn without(request: &Value, pointer: &str) -> Value {
    let mut changed = request.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match changed.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(&key)),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => unreachable!(),
    }
    changed
}

fn ancestors(pointer: &str) -> Vec<String> {
    let mut all = vec![pointer.to_owned()];
    let mut rest = pointer;
    while let Some((parent, _)) = rest.rsplit_once('/') {
        all.push(parent.to_owned());
        rest = parent;
    }
    all
}

/// The request with one more field in each of its objects.
pub(crate) fn with_an_extra_field(request: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    leaves(request, "", &mut all);
    let mut parents: Vec<String> = all.iter().flat_map(|pointer| ancestors(pointer)).collect();
    parents.sort();
    parents.dedup();
    let extended = |parent: &String| {
        let mut changed = request.clone();
        changed.pointer_mut(parent)?.as_object_mut()?.insert("Extra".into(), json!("x"));
        Some(changed)
    };
    parents.iter().filter_map(extended).collect()
}

/// Takes the requests of a pod's life one after the other, tries every change of each, and says how many there were.
pub(crate) fn every_change_is_refused(policy: &str, life: &[(&'static str, Value)]) -> usize {
    some_changes_are_refused(policy, life, &mut |_, _| true)
}

/// As [`every_change_is_refused`], of the fields that `choose` takes by step and JSON pointer.
pub(crate) fn some_changes_are_refused(
    policy: &str,
    life: &[(&'static str, Value)],
    choose: &mut dyn FnMut(usize, &str) -> bool,
) -> usize {
    let (mut tried, mut failures) = (0, Vec::new());
    for (step, (endpoint, request)) in life.iter().enumerate() {
        let mut engine = engine_after(policy, life, step);
        let mut all = Vec::new();
        leaves(request, "", &mut all);
        all.retain(|pointer| choose(step, pointer));
        let mut try_one = |changed: &Value, pointer: &str, what: &str| {
            tried += 1;
            let decision = engine.decide(endpoint, changed).unwrap();
            if decision.allowed {
                failures.push(format!("step {step}: {pointer} {what}: allowed"));
                engine = engine_after(policy, life, step);
            } else if !names(&decision.reasons, request, pointer) {
                failures.push(format!("step {step}: {pointer} {what}: named otherwise: {:?}", decision.reasons));
            }
        };
        for pointer in &all {
            let value = request.pointer(pointer).unwrap();
            if !UNBOUND.iter().any(|unbound| pointer.starts_with(unbound)) {
                for replacement in replacements(value) {
                    let mut changed = request.clone();
                    *changed.pointer_mut(pointer).unwrap() = replacement.clone();
                    let digits = pointer.contains("sandbox-cpu") || pointer.contains("sandbox-memory");
                    // The name of the node is any name of a node.
                    let node = replacement == json!("NODE=node-1x");
                    if node {
                        continue;
                    }
                    if !digits || replacement.as_str().is_some_and(|text| !text.starts_with(char::is_numeric)) {
                        try_one(&changed, pointer, &format!("= {replacement}"));
                    }
                }
            }
            let from_cluster = value.as_str().is_some_and(|text| text.starts_with("KUBERNETES_"));
            if !may_be_absent(value, pointer) && !from_cluster {
                try_one(&without(request, pointer), pointer, "left out");
            }
        }
        // Every list takes no further member, every object no further field.
        let mut parents: Vec<String> = all.iter().flat_map(|pointer| ancestors(pointer)).collect();
        parents.sort();
        parents.dedup();
        for parent in parents.iter().filter(|parent| !UNBOUND.iter().any(|unbound| parent.starts_with(unbound))) {
            let mut changed = request.clone();
            match changed.pointer_mut(parent).unwrap() {
                Value::Object(fields) => drop(fields.insert("Extra".into(), json!("x"))),
                Value::Array(items) => items.push(items.first().cloned().unwrap_or_else(|| json!("x"))),
                _ => continue,
            }
            try_one(&changed, parent, "gained a member");
        }
    }
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
    tried
}

/// An engine that has seen the first `steps` requests.
pub(crate) fn engine_after(policy: &str, life: &[(&'static str, Value)], steps: usize) -> PolicyEngine {
    let mut engine = PolicyEngine::new(policy).unwrap();
    for (endpoint, request) in life.iter().take(steps) {
        let decision = engine.decide(endpoint, request).unwrap();
        assert!(decision.allowed, "{endpoint}: {:#?}\n{request:#}", decision.reasons);
    }
    engine
}
