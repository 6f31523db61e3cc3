//! Commands that the kubelet runs in a container: exec probes and hooks.

use std::convert::Infallible;

use serde_json::{Value, json};

use super::environment::expand;

const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];
const HOOKS: [&str; 2] = ["postStart", "preStop"];

/// The command of a probe, if it runs one. The kubelet resolves `$(NAME)` in it by what the container's `env` says in so
/// many words: a variable with `valueFrom` is empty there, one of `envFrom` or the image is not known, and references in
/// values stay.
pub fn probe_command(container: &Value, probe: &str) -> Option<Vec<String>> {
    let command = command(&container[probe])?;
    let value = |name: &str| -> Result<Option<String>, Infallible> {
        let variables = container["env"].as_array().into_iter().flatten();
        // Of two variables of one name the later one counts.
        let found = variables.filter(|variable| variable["name"].as_str() == Some(name)).last();
        Ok(found.map(|variable| variable["value"].as_str().unwrap_or_default().to_owned()))
    };
    let expanded = command.iter().map(|argument| expand(argument, value)).collect::<Result<_, _>>();
    match expanded {
        Ok(expanded) => Some(expanded),
        Err(never) => match never {},
    }
}

/// The command of a hook, `postStart` or `preStop`, if it runs one. Nothing in it is resolved.
pub fn hook_command(container: &Value, hook: &str) -> Option<Vec<String>> {
    command(&container["lifecycle"][hook])
}

/// Kubernetes takes no empty command.
fn command(action: &Value) -> Option<Vec<String>> {
    let command: Option<Vec<String>> =
        action["exec"]["command"].as_array()?.iter().map(|argument| argument.as_str().map(str::to_owned)).collect();
    command.filter(|command| !command.is_empty())
}

/// All commands that the kubelet may run in a container, each once.
pub(crate) fn commands(container: &Value) -> Vec<Vec<String>> {
    let probes = PROBES.iter().filter_map(|probe| probe_command(container, probe));
    let mut all: Vec<_> = probes.chain(HOOKS.iter().filter_map(|hook| hook_command(container, hook))).collect();
    all.sort();
    all.dedup();
    all
}

/// The request that runs a command in a container (`ExecProcessRequest`). `created` is the `CreateContainerRequest` of
/// the container: its process with another argv is what containerd hands on, without capabilities and limits.
pub fn exec_request(created: &Value, exec_id: &str, argv: &[String]) -> Value {
    let process = &created["OCI"]["Process"];
    json!({
        "container_id": created["container_id"],
        "exec_id": exec_id,
        "string_user": null,
        "process": {
            "Terminal": false,
            "ConsoleSize": null,
            "User": process["User"],
            "Args": argv,
            "Env": process["Env"],
            "Cwd": process["Cwd"],
            "Capabilities": null,
            "Rlimits": [],
            "NoNewPrivileges": process["NoNewPrivileges"],
            "ApparmorProfile": "",
            "OOMScoreAdj": 0,
            "SelinuxLabel": "",
        },
        "stdin_port": 0,
        "stdout_port": 0,
        "stderr_port": 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probes_command_is_resolved_by_written_values_alone() {
        let container = |argument: &str| {
            json!({
                "env": [
                    {"name": "A", "value": "first"}, {"name": "A", "value": "x$(B)"}, {"name": "B", "value": "b"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "E"},
                ],
                "envFrom": [{"configMapRef": {"name": "m"}}],
                "livenessProbe": {"exec": {"command": ["check", argument]}},
                "lifecycle": {"preStop": {"exec": {"command": ["stop", argument]}}},
            })
        };
        for (argument, resolved) in [
            ("plain", "plain"),
            ("--a=$(A)", "--a=x$(B)"),
            ("$(B)$(B)", "bb"),
            ("--ip=$(IP)", "--ip="),
            ("$(E)", ""),
            ("$(KEY_OF_MAP)", "$(KEY_OF_MAP)"),
            ("$$(B)", "$(B)"),
            ("$(B", "$(B"),
            ("$B", "$B"),
        ] {
            let container = container(argument);
            let probe = probe_command(&container, "livenessProbe").unwrap();
            assert_eq!(probe, ["check", resolved], "{argument}");
            assert_eq!(hook_command(&container, "preStop").unwrap(), ["stop", argument]);
            assert_eq!(commands(&container).len(), 2);
        }
    }

    #[test]
    fn what_runs_no_command_has_none() {
        for probe in
            [json!(null), json!({"httpGet": {"port": 1}}), json!({"exec": {}}), json!({"exec": {"command": []}})]
        {
            let container = json!({"livenessProbe": probe, "lifecycle": {"preStop": probe}});
            assert_eq!(probe_command(&container, "livenessProbe"), None);
            assert_eq!(hook_command(&container, "preStop"), None);
            assert!(commands(&container).is_empty());
        }
        let twice =
            json!({"livenessProbe": {"exec": {"command": ["x"]}}, "readinessProbe": {"exec": {"command": ["x"]}}});
        assert_eq!(commands(&twice), [["x"]]);
    }
}
