//! The local engine: `up`, `ps`, `logs`, `scale`, `kill`, `wait`, `down`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::{Event, LogOptions, PodStatus, UpOptions};
use indicatif::ProgressBar;

use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// Start generated resources on this machine: no cluster, no TEE, INSECURE
#[derive(clap::Args)]
#[command(
    after_help = "Each pod gets its own network namespace and pod agent. Needs root, runc, nftables and iproute2.

Examples:
  casemate up resources/"
)]
pub(crate) struct UpArgs {
    /// Generated resources: files or folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// List the pods of the local engine
#[derive(clap::Args)]
pub(crate) struct PsArgs {}

/// Print the logs of a pod, or of every pod of a workload
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate logs coordinator-0
  casemate logs inference -c casemate-initializer")]
pub(crate) struct LogsArgs {
    /// A pod, or a workload for all its pods
    name: String,
    /// One container only
    #[arg(short, long)]
    container: Option<String>,
    /// Go on printing until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Of the container's run before the last restart
    #[arg(short, long)]
    previous: bool,
}

/// Change the number of replicas of a workload
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate scale inference --replicas 3")]
pub(crate) struct ScaleArgs {
    /// The workload
    name: String,
    /// How many pods
    #[arg(short, long)]
    replicas: u32,
    /// Do not wait until they are ready
    #[arg(long)]
    no_wait: bool,
    /// How long to wait, in seconds
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

/// Kill a pod at once, as a crash of its machine would
#[derive(clap::Args)]
pub(crate) struct KillArgs {
    /// The pod
    pod: String,
}

/// Wait until every pod is ready
#[derive(clap::Args)]
pub(crate) struct WaitArgs {
    /// How long, in seconds
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

/// Stop the local engine and remove everything of it but the work folder
#[derive(clap::Args)]
pub(crate) struct DownArgs {}

/// How long pods may take to get as far as they can without a manifest.
const UP_TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) async fn up(context: &Context, args: UpArgs) -> Outcome {
    let bar = progress(context, "starting the local engine");
    let mut show = |event: &Event| match &bar {
        Some(bar) => bar.set_message(format!("{} {}", event.object, event.message)),
        None => output::say(&format!(
            "{:>6.2} s  {} {}: {}",
            seconds(event.at_ms),
            event.object,
            event.reason,
            event.message
        )),
    };
    let result = engine::up(UpOptions {
        workspace: context.workspace.dir().to_owned(),
        resources: args.paths,
        timeout: UP_TIMEOUT,
        progress: &mut show,
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let report = result.map_err(Failure::from)?;
    if context.json {
        let object = serde_json::json!({
            "seconds": report.elapsed.as_secs_f64(), "pods": report.pods, "services": report.services, "insecure": true,
        });
        output::json(&object);
    } else {
        output::result(&pod_table(&report.pods));
        for service in &report.services {
            let ports: Vec<String> = service.ports.iter().map(|port| port.port.to_string()).collect();
            output::say(&format!("service {}  {}  ports {}", service.name, service.ip, ports.join(", ")));
        }
        // Whoever has seed shares has set a manifest before, and the Coordinator that starts now has lost its seed.
        let next = if context.workspace.dir().join("seed-shares.json").exists() {
            "the Coordinator waits for its seed shares: `casemate recover`"
        } else {
            "initializers wait for a manifest: `casemate set`"
        };
        output::say(&format!("up in {:.2} s; {next}", report.elapsed.as_secs_f64()));
        output::say(output::INSECURE);
    }
    Ok(())
}

pub(crate) async fn ps(context: &Context, _args: PsArgs) -> Outcome {
    let pods = engine::ps(context.workspace.dir()).map_err(Failure::from)?;
    if context.json {
        let services = engine::services(context.workspace.dir()).map_err(Failure::from)?;
        output::json(&serde_json::json!({ "pods": pods, "services": services, "insecure": true }));
    } else {
        output::result(&pod_table(&pods));
        for pod in &pods {
            if let Some(reason) = &pod.reason {
                output::say(&format!("{}: {reason}", pod.name));
            }
        }
        output::say(output::INSECURE);
    }
    Ok(())
}

pub(crate) async fn logs(context: &Context, args: LogsArgs) -> Outcome {
    let dir = context.workspace.dir();
    let of = |target: String| LogOptions {
        target,
        container: args.container.clone(),
        follow: args.follow,
        previous: args.previous,
    };
    // A workload's name stands for all its pods, unless one is followed: two streams at once cannot be told apart.
    let pods: Vec<String> = engine::ps(dir)
        .unwrap_or_default()
        .into_iter()
        .filter(|pod| is_of(pod, &args.name))
        .map(|pod| pod.name)
        .collect();
    if pods.len() < 2 || args.follow {
        return engine::logs(dir, &of(args.name.clone()), &mut std::io::stdout()).map_err(Failure::from);
    }
    for pod in pods {
        output::say(&format!("==> {pod} <=="));
        engine::logs(dir, &of(pod), &mut std::io::stdout()).map_err(Failure::from)?;
    }
    Ok(())
}

/// Whether a pod belongs to a workload, which is named as `NAME` or `KIND/NAME`.
fn is_of(pod: &PodStatus, workload: &str) -> bool {
    pod.owner == workload || pod.owner.rsplit('/').next() == Some(workload)
}

pub(crate) async fn scale(context: &Context, args: ScaleArgs) -> Outcome {
    let started = Instant::now();
    let dir = context.workspace.dir();
    if args.replicas > 1 && is_coordinator(dir, &args.name)? {
        return Err(Failure::refuse("the Coordinator runs as one pod: replicas that share a store are not there yet"));
    }
    engine::scale(dir, &args.name, args.replicas).map_err(Failure::from)?;
    if !args.no_wait {
        let bar = progress(context, "waiting until its pods are ready");
        let waited = wait_for(dir, &args.name, args.replicas, Duration::from_secs(args.timeout));
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        waited?;
    }
    if context.json {
        let object = serde_json::json!({
            "workload": args.name, "replicas": args.replicas, "seconds": started.elapsed().as_secs_f64(),
            "insecure": true,
        });
        output::json(&object);
    } else {
        let ready = if args.no_wait { "" } else { ", all ready" };
        output::result(&format!("{} scaled to {}{ready}", args.name, args.replicas));
        output::say(output::INSECURE);
    }
    Ok(())
}

/// Whether a workload is the one behind the service of the Coordinator's user API.
fn is_coordinator(dir: &std::path::Path, workload: &str) -> Outcome<bool> {
    let services = engine::services(dir).map_err(Failure::from)?;
    let user_api =
        |service: &engine::ServiceStatus| service.ports.iter().any(|port| port.port == protocol::api::USER_PORT);
    let endpoints: Vec<String> = services.into_iter().filter(user_api).flat_map(|service| service.endpoints).collect();
    let pods = engine::ps(dir).map_err(Failure::from)?;
    Ok(pods.iter().any(|pod| is_of(pod, workload) && endpoints.contains(&pod.name)))
}

/// Waits until a workload has as many ready pods as it should; others may be as they are.
fn wait_for(dir: &std::path::Path, name: &str, replicas: u32, timeout: Duration) -> Outcome {
    let begin = Instant::now();
    loop {
        let pods = engine::ps(dir).map_err(Failure::from)?;
        let own: Vec<&PodStatus> = pods.iter().filter(|pod| is_of(pod, name)).collect();
        let ready = own.iter().filter(|pod| pod.is_ready).count();
        if own.len() == ready && u32::try_from(ready).is_ok_and(|ready| ready == replicas) {
            return Ok(());
        }
        if begin.elapsed() > timeout {
            let what =
                anyhow::anyhow!("{ready} of {replicas} pods of `{name}` are ready after {} s", timeout.as_secs());
            return Err(Failure::could_not_tell(what).hint("`casemate ps` and `casemate logs` show what they wait for"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) async fn kill(context: &Context, args: KillArgs) -> Outcome {
    engine::kill_pod(context.workspace.dir(), &args.pod).map_err(Failure::from)?;
    if context.json {
        output::json(&serde_json::json!({ "killed": args.pod }));
    } else {
        output::result(&format!("{} killed; the engine starts it again", args.pod));
    }
    Ok(())
}

pub(crate) async fn wait(context: &Context, args: WaitArgs) -> Outcome {
    let started = Instant::now();
    let bar = progress(context, "waiting until every pod is ready");
    let waited = engine::wait_ready(context.workspace.dir(), Duration::from_secs(args.timeout));
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    waited.map_err(Failure::from)?;
    let seconds = started.elapsed().as_secs_f64();
    if context.json {
        output::json(&serde_json::json!({ "ready": true, "seconds": seconds, "insecure": true }));
    } else {
        output::result(&format!("every pod is ready after {seconds:.2} s"));
        output::say(output::INSECURE);
    }
    Ok(())
}

pub(crate) async fn down(context: &Context, _args: DownArgs) -> Outcome {
    engine::down(context.workspace.dir()).map_err(Failure::from)?;
    if context.json {
        output::json(&serde_json::json!({ "down": true }));
    } else {
        output::result("the local engine is down; the work folder keeps keys, manifest and logs");
    }
    Ok(())
}

/// A spinner on a terminal; nothing with `--json`, plain lines elsewhere.
pub(crate) fn progress(context: &Context, message: &str) -> Option<ProgressBar> {
    use std::io::IsTerminal as _;
    if context.json || !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    Some(bar)
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

fn pod_table(pods: &[PodStatus]) -> String {
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| {
            vec![
                pod.name.clone(),
                pod.ready.clone(),
                pod.status.clone(),
                pod.restarts.to_string(),
                age(pod.age_seconds),
                pod.ip.map_or_else(|| "<none>".to_owned(), |ip| ip.to_string()),
                pod.identity.chars().take(12).collect(),
            ]
        })
        .collect();
    output::table(&["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "IDENTITY"], &rows)
}

/// As kubectl prints ages: the largest unit that is not zero.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_have_one_unit() {
        let ages: Vec<String> = [0, 119, 120, 7199, 7200, 172_800].into_iter().map(age).collect();
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "2d"]);
    }
}
