//! `hostile-host`: tries on a running local engine what a hostile host can, and prints a line of JSON for each attempt:
//! `{"name", "refused", "reason"}`. Exit code 0 when every attack was refused, 1 otherwise.
//!
//! It is a process of its own that speaks to the TEE and the pod agents as any root process on a host may; nothing in
//! the product knows of it. For tests and the demonstration alone.

mod attacks;
mod host;
mod netns;
mod relay;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

/// Attack the deployment of a local engine
#[derive(clap::Parser)]
struct Arguments {
    /// The work folder of the engine
    #[arg(long, default_value = ".")]
    workspace_dir: PathBuf,
    /// The generated resources [default: resources/ in the work folder]
    #[arg(long)]
    resources: Option<PathBuf>,
    /// The `casemate` binary [default: the one beside this]
    #[arg(long)]
    casemate: Option<PathBuf>,
    /// Only the attacks whose name holds this text
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let _entered = runtime.enter();
    let workspace = arguments.workspace_dir.canonicalize().context("find the work folder")?;
    let resources = arguments.resources.unwrap_or_else(|| workspace.join("resources"));
    let casemate = match arguments.casemate {
        Some(path) => path,
        None => std::env::current_exe().context("find this program")?.with_file_name("casemate"),
    };
    let mut host = runtime.block_on(host::Host::new(workspace, resources, casemate))?;
    let mut all_refused = true;
    for attack in attacks::ATTACKS {
        if arguments.only.as_ref().is_some_and(|only| !attack.name.contains(only.as_str())) {
            continue;
        }
        let (refused, reason) = match (attack.run)(&mut host) {
            Ok(reason) => (true, reason),
            Err(error) => (false, format!("{error:#}")),
        };
        all_refused &= refused;
        let line = serde_json::json!({ "name": attack.name, "refused": refused, "reason": reason });
        writeln!(std::io::stdout(), "{line}").context("print")?;
    }
    Ok(all_refused)
}
