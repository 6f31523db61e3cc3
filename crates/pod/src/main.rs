//! Our side of every pod, inside the TEE: `casemate-pod coordinator`, `initializer` and `mesh`, one process each; and
//! `casemate-pod attest`, for people.
//!
//! Exit status 0: done; 1: a negative answer or a wrong input; 2: could not tell.

#![forbid(unsafe_code)]

mod answer;
mod attest;
#[allow(dead_code, reason = "the launcher alone keeps a claim across exec")]
mod claim;
mod coordinate;
mod enroll;
mod failure;
mod files;
mod hosts;
mod initializer;
mod key;
mod own;
mod paths;
mod pins;
mod place;
#[cfg(test)]
mod rig;
mod sidecar;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use attester::Automatic;
use clap::{Parser, Subcommand};
use protocol::api::MESH_PORT;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::failure::{Failure, Outcome};
use crate::initializer::Initializer;
use crate::paths::Paths;
use crate::sidecar::Sidecar;

#[derive(Parser)]
#[command(name = "casemate-pod", version, about = "Casemate's side of a pod, inside the TEE")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How much to log to standard error: off, error, warn, info, debug or trace
    #[arg(long, env = "CASEMATE_LOG", default_value = "info", global = true)]
    log: LevelFilter,
}

#[derive(Subcommand)]
enum Command {
    /// Attest to owners and workloads, hold the manifest, give certificates and secrets
    Coordinator {
        /// Folder of the history store
        #[arg(long, env = "CASEMATE_STORE", default_value = coordinate::DEFAULT_STORE)]
        store: PathBuf,
    },
    /// Prepare a workload's pod: firewall, files, certificate, secrets, launcher
    Initializer {
        /// Host name or address of the Coordinator
        #[arg(long, env = "COORDINATOR_HOST", default_value = "coordinator")]
        coordinator: String,
    },
    /// End TLS for a workload's pod, and renew its certificate
    Mesh {
        /// Host name or address of the Coordinator
        #[arg(long, env = "COORDINATOR_HOST", default_value = "coordinator")]
        coordinator: String,
    },
    /// Show which TEE this is, and make evidence over bytes of your choice
    Attest(attest::AttestArgs),
}

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(cli.log)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    match run(cli.command, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::from(failure.status())
        }
    }
}

impl Command {
    /// The name by which it runs once in a pod, whatever the container around it is called; `None`: as often as one likes.
    fn role(&self) -> Option<&'static str> {
        match self {
            Self::Coordinator { .. } => Some("casemate-coordinator"),
            Self::Initializer { .. } => Some("casemate-initializer"),
            Self::Mesh { .. } => Some("casemate-mesh"),
            Self::Attest(_) => None,
        }
    }
}

fn run(command: Command, started: Instant) -> Outcome {
    let _claim = match command.role() {
        Some(role) => {
            let claim = claim::claim(role).context("take the container's name").map_err(Failure::unknown)?;
            let twice =
                || Failure::refused(anyhow::anyhow!("{role} runs in this pod already, and it may run only once"));
            Some(claim.ok_or_else(twice)?)
        }
        None => None,
    };
    let runtime = match &command {
        // One thread: a sidecar should cost its pod little, and the initializer only ever waits.
        Command::Initializer { .. } | Command::Mesh { .. } | Command::Attest(_) => {
            tokio::runtime::Builder::new_current_thread()
        }
        Command::Coordinator { .. } => tokio::runtime::Builder::new_multi_thread(),
    }
    .enable_all()
    .build()
    .context("start the runtime")
    .map_err(Failure::unknown)?;
    runtime.block_on(async {
        let paths = Paths::new();
        let attester = Arc::new(Automatic::default());
        // Process 1 of a container ignores signals that it does not ask for.
        let mut terminate = signal(SignalKind::terminate()).context("wait for signals").map_err(Failure::unknown)?;
        let mut interrupt = signal(SignalKind::interrupt()).context("wait for signals").map_err(Failure::unknown)?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        match command {
            Command::Attest(args) => tokio::select! {
                outcome = attest::run(args) => outcome,
                () = shutdown => Err(Failure::unknown(anyhow::anyhow!("ended by a signal"))),
            },
            Command::Coordinator { store } => coordinate::run(&paths, attester, store, shutdown).await,
            Command::Mesh { coordinator } => Sidecar { paths, attester, host: coordinator }.run(shutdown).await,
            Command::Initializer { coordinator } => {
                let firewall = mesh::firewall::apply;
                let initializer =
                    Initializer { paths, attester, host: coordinator, started, firewall, port: MESH_PORT };
                tokio::select! {
                    outcome = initializer.run() => outcome,
                    () = shutdown => Err(Failure::unknown(anyhow::anyhow!("ended by a signal before the pod was ready"))),
                }
            }
        }
    })
}
