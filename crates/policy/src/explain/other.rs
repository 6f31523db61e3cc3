//! Requests other than the creation of containers.

use serde_json::{Map, Value, json};

use super::differ::Differ;
use super::{Rules, copy, exec, network};

pub(super) fn reasons(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, endpoint: &str, request: &Value) {
    match endpoint {
        "CopyFileRequest" => copy::reasons(differ, rules, state, request),
        "ExecProcessRequest" => exec::reasons(differ, rules, state, request),
        "ReadStreamRequest" => {
            if rules.data["logs"] != json!(true) {
                differ.say("the policy keeps the output of containers closed: `logs` is false");
            }
            differ.empty_besides("", request, &["container_id", "exec_id", "len"]);
            differ.pattern("exec_id", or(&request["exec_id"], &json!("")), &json!("^[A-Za-z0-9._-]{0,128}$"));
            differ.count("len", &request["len"]);
            let id = request["container_id"].as_str().unwrap_or_default();
            if !state.contains_key(&format!("id:{id}")) {
                no_container(differ, state, id);
            }
        }
        "SignalProcessRequest" => {
            differ.empty_besides("", request, &["container_id", "exec_id", "signal"]);
            let id = request["container_id"].as_str().unwrap_or_default();
            match state.get(&format!("id:{id}")).and_then(Value::as_str) {
                Some(name) if !rules.data["signals"].as_array().is_some_and(|all| all.contains(&json!(name))) => {
                    differ.say(format!("container_id: container {name} takes no signals from the host"));
                }
                Some(_) => {}
                None => no_container(differ, state, id),
            }
        }
        "StartContainerRequest" => {
            differ.empty_besides("", request, &["container_id"]);
            let id = request["container_id"].as_str().unwrap_or_default();
            if !state.contains_key(&format!("id:{id}")) {
                no_container(differ, state, id);
            }
        }
        "RemoveContainerRequest" => {
            differ.empty_besides("", request, &["container_id", "timeout"]);
            differ.id("container_id", &request["container_id"]);
        }
        "UpdateEphemeralMountsRequest" => {
            differ.empty_besides("", request, &["storages"]);
            differ.equal("storages", &request["storages"], &json!([]));
        }
        "UpdateInterfaceRequest" => network::interface(differ, &rules.network, request),
        "UpdateRoutesRequest" => network::routes(differ, &rules.network, request),
        "AddARPNeighborsRequest" => network::neighbors(differ, &rules.network, request),
        _ => differ.say(format!("{endpoint} is never allowed")),
    }
}

pub(super) fn no_container(differ: &mut Differ, state: &Map<String, Value>, id: &str) {
    if id.is_empty() || state.get("sandbox").and_then(Value::as_str) != Some(id) {
        differ.say("container_id: no live container has this id");
    }
}

/// What a field says, or the default where it is left out.
pub(super) fn or<'a>(value: &'a Value, default: &'a Value) -> &'a Value {
    if value.is_null() { default } else { value }
}
