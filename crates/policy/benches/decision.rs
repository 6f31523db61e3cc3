//! `cargo xtask bench decision`: how long a policy takes to decide on the request that creates a container, and what
//! memory a pod agent needs for it. The policy is that of the first pod of a file that `casemate generate` has written;
//! the requests are those that the shim makes of it, with its images' configurations from their registry.
#![expect(clippy::print_stdout, reason = "figures go to whoever started it")]

use std::time::Instant;

use policy::PolicyEngine;
use policy::images::Registry;
use policy::request::{PodInstance, container_request, pause_request, pod_name, sandbox_request};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // `cargo bench` without a file builds it and no more.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(path), Some(rounds)) = (arguments.next(), arguments.next()) else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (policy, life) = runtime.block_on(life(&std::fs::read_to_string(path)?))?;
    println!("{}", measure(&policy, &life, rounds.parse()?)?);
    Ok(())
}

/// The policy of the first pod of a file, and the requests that begin its life.
async fn life(text: &str) -> Result<(String, Vec<(&'static str, Value)>), Failure> {
    let resources: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let resource = resources.first().ok_or("there is no resource")?;
    let pod = &resource["spec"]["template"];
    let found = policy::describe::find(text)?;
    let policy = found.into_iter().find_map(|pod| pod.rego).ok_or("there is no pod with a policy")?;
    let name = pod_name(resource, 0);
    let instance = PodInstance {
        hostname: name.clone(),
        name,
        namespace: "default".into(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        pod_ip: "10.0.0.7".into(),
        ..PodInstance::default()
    };
    let mut life = vec![
        ("CreateSandboxRequest", sandbox_request(pod, &instance)),
        ("CreateContainerRequest", pause_request(pod, &instance)),
    ];
    let registry = Registry::new();
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    for (index, container) in lists.into_iter().flatten().flatten().enumerate() {
        let image = registry.resolve(container["image"].as_str().unwrap_or_default()).await?;
        let request = container_request(pod, container, &image.config, &instance, &format!("{index:064x}"))?;
        life.push(("CreateContainerRequest", request));
    }
    Ok((policy, life))
}

/// `VmRSS` of this process, in KiB (proc(5)).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The last request is the workload's: it is decided again and again, each time by an engine that has seen the others,
/// since a container is created once.
fn measure(policy: &str, life: &[(&'static str, Value)], rounds: usize) -> Result<Value, Failure> {
    let before = resident();
    let (last, earlier) = life.split_last().ok_or("there is no request")?;
    let mut refused = last.1.clone();
    refused["OCI"]["Process"]["Args"] = json!(["/bin/sh"]);
    let (mut load, mut allow, mut deny) = (Vec::new(), Vec::new(), Vec::new());
    let mut engine_kib = 0;
    let seconds = |started: Instant| started.elapsed().as_secs_f64();
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        let mut engine = PolicyEngine::new(policy)?;
        load.push(seconds(started));
        for (endpoint, request) in earlier {
            if !engine.decide(endpoint, request)?.allowed {
                return Err(format!("{endpoint} is refused").into());
            }
        }
        for _ in 0..4 {
            let started = Instant::now();
            let decision = engine.decide(last.0, &refused)?;
            deny.push(seconds(started));
            if decision.allowed {
                return Err("another command is allowed".into());
            }
        }
        let started = Instant::now();
        let decision = engine.decide(last.0, &last.1)?;
        allow.push(seconds(started));
        if !decision.allowed {
            return Err(decision.reasons.join("; ").into());
        }
        if engine_kib == 0 {
            engine_kib = resident().saturating_sub(before);
        }
    }
    let summary = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
        json!({"median_seconds": at(50), "p99_seconds": at(99), "count": times.len()})
    };
    Ok(json!({
        "load": summary(&mut load),
        "allow": summary(&mut allow),
        "deny": summary(&mut deny),
        "engine_kib": engine_kib,
        "peak_kib": resident(),
        "policy_bytes": policy.len(),
        "request_bytes": last.1.to_string().len(),
    }))
}
