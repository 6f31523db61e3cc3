//! The workload's first program: `casemate-launch -- PROGRAM ARGUMENT...` becomes the program.
//!
//! `generate` puts it in front of every workload's command, and the initializer places it in the pod last of all. So a
//! workload that is started early, or without its initializer, has nothing to execute, and one that does start finds its
//! certificates, files and firewall in place. The program knows nothing of all this: that it exists is the point.
//!
//! Exit status 127: no such program; 126: it cannot be executed (as a shell has it); 2: called wrongly.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// The program and its arguments, if the command line has the form `-- PROGRAM ARGUMENT...`.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<(OsString, Vec<OsString>)> {
    if arguments.next()? != "--" {
        return None;
    }
    let program = arguments.next()?;
    Some((program, arguments.collect()))
}

fn exit_status(kind: ErrorKind) -> u8 {
    if kind == ErrorKind::NotFound { 127 } else { 126 }
}

#[expect(clippy::print_stderr, reason = "there is no log yet, only the container's standard error")]
fn main() -> ExitCode {
    let Some((program, arguments)) = parse(std::env::args_os().skip(1)) else {
        eprintln!("casemate-launch: usage: casemate-launch -- PROGRAM [ARGUMENT...]");
        return ExitCode::from(2);
    };
    // Resolves against PATH as execvp does. Signals go back to their defaults. Returns only when it failed.
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("casemate-launch: cannot execute `{}`: {error}", program.display());
    ExitCode::from(exit_status(error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<(OsString, Vec<OsString>)> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn the_program_keeps_its_arguments_to_the_byte() {
        let (program, arguments) = parsed(&["--", "serve", "--", "-x", ""]).unwrap();
        assert_eq!(program, "serve");
        assert_eq!(arguments, ["--", "-x", ""]);
    }

    #[test]
    fn anything_but_two_dashes_first_is_no_command() {
        for arguments in [&[][..], &["--"], &["serve"], &["-", "serve"], &["serve", "--"]] {
            assert_eq!(parsed(arguments), None, "{arguments:?}");
        }
    }

    #[test]
    fn a_missing_program_is_told_from_one_that_cannot_run() {
        assert_eq!(exit_status(ErrorKind::NotFound), 127);
        assert_eq!(exit_status(ErrorKind::PermissionDenied), 126);
        assert_eq!(exit_status(ErrorKind::Other), 126);
    }
}
