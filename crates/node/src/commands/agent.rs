//! `casemate-node agent` and `casemate-node crd`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use kube::Config;
use node::Machine;
use node::agent::events::Events;
use node::agent::gpus::{Gpus, JOURNAL};
use node::agent::metrics::{self, Metrics};
use node::agent::offer::{self, Places};
use node::agent::run::{self, Options};
use node::agent::{client, crd, drivers, runtimes};
use node::lock::{Lock, LockError};
use node::plugin::serve::KUBELET_FOLDER;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Options of `casemate-node agent`.
#[derive(Args, Debug)]
pub(crate) struct Agent {
    /// The name of this machine's node
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    /// Where the node's file system is; in a container, where it is mounted
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The kubelet's folder for sockets of device plugins, as this process sees it
    #[arg(long, value_name = "DIR", default_value = KUBELET_FOLDER)]
    kubelet: PathBuf,
    /// Where metrics are served, ADDRESS:PORT; a pod's own address, never all of the host's
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9102", value_parser = address)]
    metrics: SocketAddr,
}

/// An address as `$(POD_IP):9102` comes out in a manifest: one of IPv6 has no brackets there.
fn address(text: &str) -> Result<SocketAddr, String> {
    let (ip, port) = text.rsplit_once(':').ok_or("an address and a port are needed, such as 10.0.0.1:9102")?;
    let ip = ip.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(ip);
    let ip = ip.parse::<IpAddr>().map_err(|error| format!("`{ip}`: {error}"))?;
    let port = port.parse().map_err(|error| format!("port `{port}`: {error}"))?;
    Ok(SocketAddr::new(ip, port))
}

/// Runs the agent until it is told to end.
pub(crate) fn run(args: Agent) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(tracing::Level::INFO).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The agent waits nearly always; more threads would only be memory.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the executor")?;
    runtime.block_on(serve(args))
}

async fn serve(args: Agent) -> Result<()> {
    let machine = Machine::new(args.root.clone());
    let _lock = lock(&machine).await?;
    let journal = machine.path(JOURNAL);
    let folder = journal.parent().unwrap_or(&args.root);
    std::fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
    let config = Config::infer().await.context("find the API server (in a pod, or by KUBECONFIG)")?;
    let counted = Arc::new(Metrics::default());
    let client = client::client(&config, Arc::clone(&counted)).context("prepare the client of the API server")?;
    let served = tokio::spawn(metrics::serve(args.metrics, Arc::clone(&counted)));

    let (end, ending) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = end.send(true);
    });
    let bus = Arc::new(gpu::Sysfs::new(machine.clone()));
    let devices = Arc::new(Gpus::new(machine, bus, Arc::new(gpu::Monotonic::start()), journal));
    let options = Options::new(args.node_name.clone());
    let told = || options.told.subscribe();
    let events = Events::new(client.clone(), &args.node_name, Arc::clone(&counted));
    let places = Places { root: args.root.clone(), kubelet: args.kubelet };
    // Each sees to one thing that the agent says the machine is to be.
    let workers = [
        tokio::spawn(offer::serve(devices.offer(), places, told(), ending.clone())),
        tokio::spawn(drivers::keep(Arc::clone(&devices), events.clone(), told(), ending.clone())),
        tokio::spawn(runtimes::keep(Arc::clone(&devices), args.root, events, told(), ending.clone())),
    ];
    let agent = async {
        run::run(client, devices, options, counted, ending).await;
        for worker in workers {
            worker.await.context("end a part of the agent")?;
        }
        Ok(())
    };
    tokio::select! {
        ended = agent => ended,
        ended = served => ended.context("serve metrics")?.with_context(|| format!("serve metrics on {}", args.metrics)),
    }
}

/// Takes the devices. An agent that is ending may still have them; somebody else is named, and waited for.
async fn lock(machine: &Machine) -> Result<Lock> {
    loop {
        match Lock::take(machine, "the agent") {
            Err(error @ LockError::Held { .. }) => {
                let hint = error.hint().unwrap_or_default();
                tracing::warn!(%error, hint, "waiting");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            taken => return taken.context("take the devices of this machine"),
        }
    }
}

/// The definition of `NodeConfiguration`, as YAML.
pub(crate) fn definition() -> String {
    crd::definition()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_are_taken_as_manifests_make_them() {
        for (text, expected) in [
            ("10.0.0.1:9102", "10.0.0.1:9102"),
            ("fd00::1:9102", "[fd00::1]:9102"),
            ("[fd00::1]:9102", "[fd00::1]:9102"),
            ("::1:1", "[::1]:1"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", ":9102", "10.0.0.1", "10.0.0.1:", "10.0.0.1:99999", "node:9102", "[fd00::1:9102", "fd00::1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
