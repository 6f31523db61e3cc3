//! The hidden roles: `casemate engine supervise|tee|agent`, started by the engine itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs a role. `args` is what follows `casemate engine`; the command line only forwards. Nothing may have been written
/// to standard output and no threads may have been started before.
pub fn run(args: &[OsString]) -> ExitCode {
    // Standard error is the engine's log. A caller that has set up logging itself is left alone.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
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
