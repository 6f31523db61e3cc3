//! `casemate-node device-plugin` and `casemate-node inventory`: the GPUs and switches that pods may ask for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use gpu::transition::{FileJournal, Journal as _};
use node::agent::gpus::JOURNAL;
use node::lock::{Lock, LockError};
use node::plugin::allocate::Tell;
use node::plugin::inventory::look;
use node::plugin::{Inventory, Naming, Readiness, SetRule, observe, serve};
use node::{Machine, status};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Args)]
pub(crate) struct Offered {
    /// Where the node's file system is; in a container, where it is mounted
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// What pods ask for: `nvidia.com/pgpu` for every GPU, or a resource for each model
    #[arg(long, value_name = "NAMING", default_value = "pgpu")]
    resources: Resources,
}

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    offered: Offered,
    /// The kubelet's folder for sockets of device plugins, as this process sees it
    #[arg(long, value_name = "DIR", default_value = serve::KUBELET_FOLDER)]
    kubelet: PathBuf,
    /// Where CDI files go on the node
    #[arg(long, value_name = "DIR", default_value = node::cdi::FOLDER)]
    cdi: String,
    /// How containers are told of their devices
    #[arg(long, value_name = "WAY", default_value = "nodes")]
    tell: Way,
}

#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    offered: Offered,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Resources {
    Pgpu,
    Model,
}

impl From<Resources> for Naming {
    fn from(resources: Resources) -> Self {
        match resources {
            Resources::Pgpu => Self::Pgpu,
            Resources::Model => Self::Model,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// Nodes in /dev, which every runtime understands
    Nodes,
    /// CDI devices: containerd 2.0, or 1.7 with `enable_cdi`
    Cdi,
    /// An annotation with CDI devices
    Annotation,
}

impl From<Way> for Tell {
    fn from(way: Way) -> Self {
        match way {
            Way::Nodes => Self::Nodes,
            Way::Cdi => Self::Cdi,
            Way::Annotation => Self::Annotation,
        }
    }
}

/// Shows what would be offered.
pub(crate) fn show(Show { offered, json }: Show) -> Result<ExitCode> {
    if !offered.root.is_dir() {
        anyhow::bail!("`{}` is no folder", offered.root.display());
    }
    let machine = Machine::new(offered.root);
    let readiness = status::readiness(&machine, None).context("look at the devices of this node")?;
    let inventory = look(&machine, offered.resources.into(), &readiness).context("look at the PCI bus")?;
    if json {
        println!("{}", serde_json::to_string_pretty(&inventory)?);
    } else {
        print!("{}", text(&inventory));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(inventory: &Inventory) -> String {
    let mut text = String::new();
    if inventory.offers.is_empty() {
        text.push_str("nothing is offered: no GPU is bound to VFIO\n");
    }
    for (resource, offer) in &inventory.offers {
        let rule = match offer.rule {
            SetRule::Any => "",
            SetRule::OneOrAll => ", one or all to a pod",
            SetRule::All => ", all to one pod",
        };
        text.push_str(&format!("{resource}: {}{rule}\n", offer.units.len()));
        for unit in &offer.units {
            let members: Vec<String> = unit.members.iter().map(ToString::to_string).collect();
            let health = unit.unfit.as_ref().map_or_else(|| "fit".to_owned(), |unfit| format!("not fit: {unfit}"));
            text.push_str(&format!("  {}  {}  {health}\n", unit.id, members.join(" ")));
        }
    }
    for problem in &inventory.not_offered {
        text.push_str(&format!("not offered: {problem}\n"));
    }
    text
}

/// Serves until it is told to end.
pub(crate) fn serve(options: Serve) -> Result<ExitCode> {
    let machine = Machine::new(&options.offered.root);
    let lock = match Lock::take(&machine, "the device plugin") {
        Ok(lock) => lock,
        Err(error @ LockError::Held { .. }) => return Ok(refuse(&error.to_string(), error.hint())),
        Err(error) => return Err(error).context("make sure that nobody else has the devices"),
    };
    // A change that nobody ended is the agent's to end: until then no device is anybody's.
    let journal = FileJournal::new(machine.path(JOURNAL));
    if let Some(change) = journal.load().context("look for a change of modes that has not ended")? {
        let text = format!("a change to mode `{}` is at step {}", change.wish, change.step);
        return Ok(refuse(&text, Some("`casemate-node agent` ends it, and offers devices itself")));
    }
    let readiness = status::readiness(&machine, Some(&lock)).context("look at the devices of this node")?;
    if let Readiness::NotReady(why) = &readiness {
        eprintln!("nothing is fit for pods: {why}");
    }
    // One thread is enough for one kubelet, and the smallest.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start")?;
    runtime.block_on(run(options, readiness))?;
    Ok(ExitCode::SUCCESS)
}

fn refuse(why: &str, hint: Option<&str>) -> ExitCode {
    eprintln!("error: {why}");
    if let Some(hint) = hint {
        eprintln!("\nhint: {hint}");
    }
    ExitCode::from(1)
}

async fn run(Serve { offered, kubelet, cdi, tell }: Serve, readiness: Readiness) -> Result<()> {
    let kubelet = Machine::new(&offered.root).seen(&kubelet);
    let (stop, stopped) = watch::channel(false);
    let observed =
        observe::Settings { root: offered.root, naming: offered.resources.into(), cdi, ..observe::Settings::default() };
    let (control, observer) = observe::pair(observed, readiness);
    let trouble: observe::Listener = Arc::new(|trouble| {
        let error = anyhow::Error::from(trouble);
        eprintln!("{error:#}");
    });
    let event: serve::Listener = Arc::new(|resource, event| eprintln!("{resource}: {event}"));
    let settings = serve::Settings { folder: kubelet, tell: tell.into(), ..serve::Settings::default() };
    let plugins = tokio::spawn(serve::serve(settings, control.inventory(), stopped.clone(), event));
    let observing = tokio::spawn(observer.run(stopped, trouble));
    let mut terminate = signal(SignalKind::terminate()).context("listen for signals")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for signals")?,
    }
    stop.send_replace(true);
    plugins.await.context("end plugins")?;
    observing.await.context("end the look at the bus")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_gpus_says_so() {
        assert_eq!(text(&Inventory::default()), "nothing is offered: no GPU is bound to VFIO\n");
    }
}
