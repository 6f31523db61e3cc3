//! The hidden roles: `casemate engine supervise|tee|agent`, started by the engine itself.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a role. `args` is what follows `casemate engine`; the command line only forwards. Nothing may have been written
/// to standard output and no threads may have been started before.
pub fn run(args: &[OsString]) -> ExitCode {
    let _ = args;
    todo!()
}
