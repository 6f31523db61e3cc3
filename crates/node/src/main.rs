//! `casemate-node`: the node agent's command line. `features` and everything called `plan`, `status` or `classes` must
//! never change anything on the node.
//!
//! Results go to stdout, errors to stderr; it exits with 0, with 1 when it refused, or with 2 when it could not tell.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to its user")]

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use node::{Machine, features};

mod commands {
    pub(crate) mod agent;
    pub(crate) mod plugin;
    pub(crate) mod runtime;
    pub(crate) mod status;
}

/// What this node can do for confidential pods
#[derive(Parser)]
#[command(name = "casemate-node", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show features for confidential computing, and why not where there is none
    Features {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Where the node's file system is; in a container, where it is mounted
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
    /// Show this node's GPUs and switches, their modes and users, and the runtime; change nothing
    Status(commands::status::Status),
    /// Install, upgrade and remove the Kata runtime
    #[command(subcommand)]
    Runtime(commands::runtime::Command),
    /// Show which GPUs and switches pods may ask for, and why not the others
    Inventory(commands::plugin::Show),
    /// Offer GPUs and switches to the kubelet until told to end
    DevicePlugin(commands::plugin::Serve),
    /// Make this machine what the cluster wants it to be, and say on its node what it is, until told to end
    Agent(commands::agent::Agent),
    /// Print the definition of `NodeConfiguration` for the API server
    Crd,
    /// Run a program of the machine under its own root folder
    #[command(name = gpu::IN_ROOT, hide = true)]
    InRoot {
        /// The folder
        root: PathBuf,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("caused by: {cause}");
            }
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Features { json, root } => return show_features(json, root),
        Command::Status(args) => return commands::status::run(args),
        Command::Runtime(command) => return commands::runtime::run(command),
        Command::Inventory(show) => return commands::plugin::show(show),
        Command::DevicePlugin(serve) => return commands::plugin::serve(serve),
        Command::Agent(args) => commands::agent::run(args)?,
        Command::InRoot { root, command } => return Err(in_root(&root, &command)),
        Command::Crd => print!("{}", commands::agent::definition()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Becomes a program under another root; comes back only with the reason why not.
fn in_root(root: &Path, command: &[OsString]) -> anyhow::Error {
    let Some((program, arguments)) = command.split_first() else { return anyhow::anyhow!("no program") };
    if let Err(error) = rustix::process::chroot(root).and_then(|()| rustix::process::chdir("/")) {
        return anyhow::Error::new(error).context(format!("change the root to `{}`", root.display()));
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    anyhow::Error::new(error).context(format!("run `{}`", program.to_string_lossy()))
}

fn show_features(json: bool, root: PathBuf) -> Result<ExitCode> {
    if !root.is_dir() {
        anyhow::bail!("`{}` is no folder", root.display());
    }
    let machine = Machine::new(root);
    let bus: Arc<dyn gpu::Bus> = Arc::new(gpu::Sysfs::new(machine.clone()));
    let clock: Arc<dyn gpu::Clock> = Arc::new(gpu::Monotonic::start());
    let report = features::look(&machine, &bus, &clock).context("look at this node")?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(if report.is_known() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
