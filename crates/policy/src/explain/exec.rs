//! Commands that the host wants to run in a container.

use serde_json::{Map, Value, json};

use super::differ::{Differ, show};
use super::other::no_container;
use super::{Rules, environment, user};
use crate::generate::{LAUNCHER, NO_NEW_PRIVILEGES};

/// Why a command was refused.
pub(super) fn reasons(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, request: &Value) {
    let id = request["container_id"].as_str().unwrap_or_default();
    let process = &request["process"];
    let Some(name) = state.get(&format!("id:{id}")).and_then(Value::as_str) else {
        if state.get("sandbox").and_then(Value::as_str) == Some(id) && !id.is_empty() {
            differ.say("container_id: no command runs in the pause container");
        }
        return no_container(differ, state, id);
    };
    if !rules.data["signals"].as_array().is_some_and(|all| all.contains(&json!(name))) {
        return differ.say(format!("container_id: container {name} runs no commands of the host"));
    }
    if !state.contains_key(&format!("started:{id}")) {
        differ.say(format!("container_id: container {name} has not been started"));
    }
    let record = &rules.data["containers"][name];
    let allowed = record["exec"].as_array().map(Vec::as_slice).unwrap_or_default();
    if allowed.is_empty() {
        let got = show(&process["Args"]);
        differ.say(format!("process.Args: got {got}, policy has no command for container {name}"));
    } else {
        differ.one_of("process.Args", &process["Args"], allowed);
    }
    if request["exec_id"].as_str() == Some(id) {
        differ.say("exec_id: this is the container's own process");
    }
    differ.pattern("exec_id", &request["exec_id"], &json!("^[A-Za-z0-9._-]{1,128}$"));
    let known = ["container_id", "exec_id", "process", "stdout_port", "stderr_port"];
    differ.empty_besides("", request, &known);
    if !process.is_object() {
        return differ.say("process: missing");
    }
    differ.equal("process.Terminal", &process["Terminal"], &json!(false));
    differ.equal("process.Cwd", &process["Cwd"], &record["cwd"]);
    // The launcher sees to what a shim leaves out.
    if process["NoNewPrivileges"] != json!(false) || !sets_no_new_privileges(&process["Args"]) {
        differ.equal("process.NoNewPrivileges", &process["NoNewPrivileges"], &record["no_new_privileges"]);
    }
    user(differ, "process.User", &record["user"], &process["User"]);
    let known = ["Terminal", "User", "Args", "Env", "Cwd", "NoNewPrivileges"];
    differ.empty_besides("process", process, &known);
    environment(differ, "process.Env", state, rules, record, &process["Env"]);
}

/// Whether a command begins with the launcher, told to let it gain no privileges.
fn sets_no_new_privileges(args: &Value) -> bool {
    [&args[0], &args[1]] == [LAUNCHER, NO_NEW_PRIVILEGES]
}
