//! `casemate-node status`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use node::{Machine, status};

/// Options of `casemate-node status`.
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where the node's file system is; in a container, where it is mounted
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Shows it. What could not be told exits with 2.
pub(crate) fn run(args: Status) -> Result<ExitCode> {
    if !args.root.is_dir() {
        anyhow::bail!("`{}` is no folder", args.root.display());
    }
    let machine = Machine::new(args.root);
    let bus: Arc<dyn gpu::Bus> = Arc::new(gpu::Sysfs::new(machine.clone()));
    let clock: Arc<dyn gpu::Clock> = Arc::new(gpu::Monotonic::start());
    let status = status::look(&machine, &bus, &clock).context("look at the devices of this node")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{status}");
    }
    let told = status.unknown.is_empty() && status.unreadable.is_empty();
    Ok(if told { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
