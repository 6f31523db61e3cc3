//! Commands and hooks of containers, as the kubelet has them run.

use std::net::IpAddr;
use std::time::Duration;

use policy::request::{exec_request, hook_command};
use serde_json::{Value, json};

use crate::agent_api::Call;

use super::engine::random_hex;
use super::link::Agent;
use super::pod::describe;
use super::probe::Probe;

const KILL: u32 = 9;

/// Runs a command in a container that runs. `created` is the request that created the container.
pub(super) async fn run(agent: &Agent, created: &Value, argv: &[String], timeout: Duration) -> Result<(), String> {
    let id = &created["container_id"];
    let exec_id = random_hex(16);
    let exec = Call::new("ExecProcessRequest", exec_request(created, &exec_id, argv));
    agent.call(&exec).await.map_err(|error| describe(&error))?;
    let wait = Call::new("WaitProcessRequest", json!({"container_id": id, "exec_id": exec_id}));
    match tokio::time::timeout(timeout, agent.call(&wait)).await {
        Ok(Ok(answer)) if answer["status"] == json!(0) => Ok(()),
        Ok(Ok(answer)) => Err(format!("exit status {}", answer["status"])),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => {
            let signal = json!({"container_id": id, "exec_id": exec_id, "signal": KILL});
            let _ = agent.call(&Call::new("SignalProcessRequest", signal)).await;
            Err(format!("no answer within {} s", timeout.as_secs()))
        }
    }
}

/// Does what a container's hook says, if it has one.
pub(super) async fn hook(
    agent: &Agent,
    created: &Value,
    container: &Value,
    hook: &str,
    ip: Option<IpAddr>,
    timeout: Duration,
) -> Result<(), String> {
    let action = &container["lifecycle"][hook];
    if let Some(argv) = hook_command(container, hook) {
        return run(agent, created, &argv, timeout).await;
    }
    if let Some(seconds) = action["sleep"]["seconds"].as_u64() {
        tokio::time::sleep(Duration::from_secs(seconds).min(timeout)).await;
        return Ok(());
    }
    match (Probe::of_hook(container, action, timeout), ip) {
        (Some(probe), Some(ip)) => probe.make(ip).await,
        _ => Ok(()),
    }
}
