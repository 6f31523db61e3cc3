//! A part of `cargo xtask bench node`: how long after a label the first of it happens, and what the agent costs while
//! nothing is to be done, beside a real API server. Without one it says so and answers `null`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures go to whoever started it")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::cluster::{ADMIN, Cluster, Options};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // `cargo bench` without an agent builds it and no more.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(agent), Some(rest)) = (arguments.next(), arguments.next()) else { return Ok(()) };
    let figures = match Cluster::start(&Options::default()) {
        Ok(cluster) => at_rest(&cluster, Path::new(&agent), Duration::from_secs(rest.parse()?))?,
        Err(missing) => {
            eprintln!("SKIPPED: what needs an API server: {missing}");
            Value::Null
        }
    };
    println!("{figures}");
    Ok(())
}

/// A process that ends with this one.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    fn start(program: &Path, cluster: &Cluster, folder: &Path, metrics: u16) -> Result<Self, Failure> {
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.kubeconfig(ADMIN))?;
        let root = folder.join("root");
        for inner in ["sys/bus/pci/devices", "proc", "kubelet"] {
            std::fs::create_dir_all(root.join(inner))?;
        }
        let child = Command::new(program)
            .args(["agent", "--node-name=rest", &format!("--metrics=127.0.0.1:{metrics}")])
            .arg("--root")
            .arg(&root)
            .arg("--kubelet")
            .arg(root.join("kubelet"))
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Seconds of processor time so far (`proc_pid_stat(5)`), in ticks of 10 ms.
    fn cpu(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Ok((ticks(11) + ticks(12)) / 100.0)
    }

    /// Memory in KiB: now, and at most so far.
    fn memory(&self) -> Result<(u64, u64), Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        Ok((of("VmRSS:"), of("VmHWM:")))
    }
}

/// Requests to the API server that the agent has counted.
fn requests(metrics: u16) -> Result<f64, Failure> {
    let text = get(metrics, "/metrics")?;
    let lines = text.lines().filter(|line| line.starts_with("casemate_node_api_requests_total{"));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

fn get(port: u16, path: &str) -> Result<String, Failure> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// LIMIT: how long the agent may take to begin.
const BEGIN: Duration = Duration::from_secs(30);
/// A kubelet whose node does not change says so this often.
const HEARTBEATS: usize = 24 * 12;
/// Labels that somebody else changes in a day.
const LABELS: usize = 24;

/// The real agent, on a machine without GPUs.
fn at_rest(cluster: &Cluster, agent: &Path, rest: Duration) -> Result<Value, Failure> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "rest"}}).to_string();
    cluster.ask("POST", "/api/v1/nodes", Some(("application/json", &node)));
    let folder = tempfile::tempdir()?;
    let metrics = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let running = Agent::start(agent, cluster, folder.path(), metrics)?;
    let said = |label: &str| -> Option<String> {
        let node: Value = serde_json::from_slice(&cluster.ask("GET", "/api/v1/nodes/rest", None).body).ok()?;
        node["metadata"]["labels"][label].as_str().map(str::to_owned)
    };
    let wait = |label: &str, wanted: &str| -> Result<f64, Failure> {
        let begun = Instant::now();
        while said(label).as_deref() != Some(wanted) {
            if begun.elapsed() > BEGIN {
                return Err(format!("the agent did not say `{label}={wanted}` within {BEGIN:?}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    wait("casemate.dev/node-state", "settled")?;
    // From a label to the first thing that comes of it: a word that is no mode is refused on the node itself.
    let mut first = Vec::new();
    for round in 0..10 {
        let (wish, answer) = if round % 2 == 0 { ("nonsense", "refused") } else { ("", "settled") };
        let patch = json!({"metadata": {"labels": {"nvidia.com/cc.mode": wish}}}).to_string();
        cluster.ask("PATCH", "/api/v1/nodes/rest", Some(("application/merge-patch+json", &patch)));
        first.push(wait("casemate.dev/node-state", answer)?);
    }
    first.sort_by(f64::total_cmp);
    std::thread::sleep(Duration::from_secs(15));

    let (cpu, asked) = (running.cpu()?, requests(metrics)?);
    std::thread::sleep(rest);
    let hours = rest.as_secs_f64() / 3_600.0;
    let (rest_cpu, rest_requests) = ((running.cpu()? - cpu) / hours, (requests(metrics)? - asked) / hours);

    let (cpu, asked) = (running.cpu()?, requests(metrics)?);
    for beat in 0..HEARTBEATS {
        let condition =
            json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": format!("{beat}")});
        let patch = json!({"status": {"conditions": [condition]}}).to_string();
        cluster.ask("PATCH", "/api/v1/nodes/rest/status", Some(("application/strategic-merge-patch+json", &patch)));
        if beat % (HEARTBEATS / LABELS) == 0 {
            let patch = json!({"metadata": {"labels": {"example.com/x": beat.to_string()}}}).to_string();
            cluster.ask("PATCH", "/api/v1/nodes/rest", Some(("application/merge-patch+json", &patch)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(2));
    let (now, peak) = running.memory()?;
    Ok(json!({
        "first_action_seconds": first[first.len() / 2],
        "rest_cpu_seconds_per_hour": rest_cpu,
        "rest_requests_per_hour": rest_requests,
        "day_events": HEARTBEATS + LABELS,
        "day_cpu_seconds": running.cpu()? - cpu,
        "day_requests": requests(metrics)? - asked,
        "resident_kib": now,
        "peak_kib": peak,
    }))
}
