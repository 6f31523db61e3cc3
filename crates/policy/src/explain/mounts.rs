//! Mounts, by destination.

use serde_json::{Value, json};

use super::differ::{Differ, show};
use crate::request::COPIED_PREFIX;

/// Options of their own cgroup file system that newer hosts repeat; `is_newer` of the rules.
const CGROUP_OPTIONS_OF_NEWER_HOSTS: [&str; 2] = ["nsdelegate", "memory_recursiveprot"];

/// The mounts of the rules, as a request has them. In the source of a copied file, `$(rand)` is what the host draws.
pub(super) fn wanted(rows: &Value, cid: &str) -> Vec<Value> {
    let mount = |row: &Value| {
        let source = row[2].as_str().unwrap_or_default();
        let source = match source.strip_prefix("copied:") {
            Some(name) => format!("{COPIED_PREFIX}{cid}-$(rand)-{name}"),
            None => source.to_owned(),
        };
        json!({"destination": row[0], "source": source, "type_": row[1], "options": row[3]})
    };
    rows.as_array().into_iter().flatten().map(mount).collect()
}

fn destination(mount: &Value) -> &str {
    mount["destination"].as_str().unwrap_or_default()
}

/// What differs.
pub(super) fn mounts(differ: &mut Differ, wanted: &[Value], given: &Value) {
    let Some(given) = given.as_array() else { return differ.say("OCI.Mounts: missing") };
    for (index, mount) in given.iter().enumerate() {
        let at = destination(mount);
        let path = format!("OCI.Mounts.{at}");
        if given.iter().take(index).any(|earlier| destination(earlier) == at) {
            differ.say(format!("{path}: there twice"));
            continue;
        }
        let Some(policy) = wanted.iter().find(|policy| destination(policy) == at) else {
            differ.unexpected(&path, mount);
            continue;
        };
        let (mut got, mut policy) = (mount.clone(), policy.clone());
        let template = policy["source"].as_str().unwrap_or_default();
        if !source_fits(template, got["source"].as_str().unwrap_or_default()) {
            differ.say(format!("{path}.source: got {}, policy has {template:?}", show(&mount["source"])));
        }
        if policy["type_"] == json!("cgroup")
            && let Some(options) = got["options"].as_array_mut()
        {
            let mut seen: Vec<Value> = Vec::new();
            options.retain(|option| {
                let twice = seen.contains(option);
                seen.push(option.clone());
                twice || !CGROUP_OPTIONS_OF_NEWER_HOSTS.iter().any(|known| option == known)
            });
        }
        got["source"] = Value::Null;
        policy["source"] = Value::Null;
        differ.equal(&path, &got, &policy);
        let hides = given.iter().take(index).find(|earlier| destination(earlier).starts_with(&format!("{at}/")));
        if let Some(hidden) = hides {
            differ.say(format!("{path}: comes after {} and hides it", destination(hidden)));
        }
    }
    for policy in wanted {
        let at = destination(policy);
        if !given.iter().any(|mount| destination(mount) == at) {
            differ.say(format!("OCI.Mounts.{at}: missing"));
        }
    }
}

fn source_fits(template: &str, source: &str) -> bool {
    match template.split_once("$(rand)") {
        None => template == source,
        Some((before, after)) => source
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|random| random.len() == 16 && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))),
    }
}
