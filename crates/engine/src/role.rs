//! The hidden roles: `casemate engine supervise|tee|agent`, started by the engine itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Runs a role. `args` is what follows `casemate engine`; the command line only forwards. Nothing may have been written
/// to standard output and no threads may have been started before.
pub fn run(args: &[OsString]) -> ExitCode {
    // Standard error is the engine's log. A caller that has set up logging itself is left alone.
    let wished = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok());
    let filter = wished.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    let _ = log.with_ansi(false).finish().with(filter).try_init();
    let mut args = args.iter();
    let role = args.next().and_then(|role| role.to_str()).unwrap_or_default();
    let workspace = args.next().map(PathBuf::from);
    match (role, workspace) {
        ("agent", None) => crate::agent::run(),
        ("tee", Some(workspace)) => crate::tee::run(workspace),
        ("supervise", Some(workspace)) => crate::supervise::run(workspace),
        _ => {
            tracing::error!("`engine` takes a role: supervise WORKSPACE, tee WORKSPACE or agent");
            ExitCode::FAILURE
        }
    }
}
