//! The workload's first program: `casemate-launch CONTAINER [PATH:VOLUME/FILE...] -- PROGRAM [ARGUMENT...]` becomes the
//! program.
//!
//! `generate` puts it in front of every workload's command, and the initializer places it in the pod last of all. So a
//! workload that is started early, or without its initializer, has nothing to execute, and one that does start finds its
//! certificates, files and firewall in place. The program knows nothing of all this: that it exists is the point.
//!
//! Before it gives way to the program it does two things that a policy cannot:
//!
//! - It takes the container's name for life, so that no second instance runs beside it ([`claim`]).
//! - It compares single files that the host copied in (`subPath`) with those that the initializer found right. The host
//!   copies a file anew and never writes into one, so that what was compared is what the program reads.
//!
//! Without a container, `casemate-launch -- PROGRAM` or `casemate-launch - FILE... -- PROGRAM`, it takes no name: so probes
//! and hooks run, which the initializer must precede, too, and which read the same files.
//!
//! Exit status 127: no such program; 126: it cannot be executed (as a shell has it); 125: it may not run now; 2: called
//! wrongly.

#![forbid(unsafe_code)]

mod claim;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where the initializer wrote the files that it found right.
const CHECKED: &str = "/casemate-files";

/// LIMIT: Kubernetes bounds a ConfigMap and a Secret to 1 MiB in all.
const MAX_FILE: u64 = 1024 * 1024;

/// Exit status of a program that may not run now.
const REFUSED: u8 = 125;

/// A command line that has the form it must have.
#[derive(Debug, PartialEq)]
struct Call {
    container: Option<String>,
    /// A file of the host, and the one that it must equal.
    files: Vec<(PathBuf, PathBuf)>,
    program: OsString,
    arguments: Vec<OsString>,
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Call> {
    let (mut container, mut named) = (None, false);
    let mut files = Vec::new();
    loop {
        let argument = arguments.next()?;
        if argument == "--" {
            break;
        }
        if argument == "-" && !named {
            named = true;
            continue;
        }
        let word = argument.into_string().ok().filter(|word| !word.is_empty() && !word.starts_with('-'))?;
        if named {
            let (path, original) = word.split_once(':')?;
            files.push((PathBuf::from(path), Path::new(CHECKED).join(original)));
        } else {
            (container, named) = (Some(word), true);
        }
    }
    Some(Call { container, files, program: arguments.next()?, arguments: arguments.collect() })
}

/// A program that may not run now.
#[derive(Debug)]
enum Refusal {
    SecondInstance(String),
    Claim(io::Error),
    Unreadable(PathBuf, io::Error),
    Changed(PathBuf),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SecondInstance(container) => {
                write!(f, "container `{container}` runs in this pod already, and it may run only once")
            }
            Self::Claim(error) => write!(f, "cannot take the container's name: {error}"),
            Self::Unreadable(path, error) => write!(f, "cannot read `{}`: {error}", path.display()),
            Self::Changed(path) => write!(f, "`{}` is not the file that initdata names", path.display()),
        }
    }
}

/// The content of a regular file; one that is too long counts as another.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Refusal> {
    let unreadable = |error| Refusal::Unreadable(path.to_owned(), error);
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content)).map_err(unreadable)?;
    Ok(Some(content).filter(|content| content.len() as u64 <= MAX_FILE))
}

fn compare(path: &Path, original: &Path) -> Result<(), Refusal> {
    match (read(path)?, read(original)?) {
        (Some(content), Some(expected)) if content == expected => Ok(()),
        _ => Err(Refusal::Changed(path.to_owned())),
    }
}

fn exit_status(kind: ErrorKind) -> u8 {
    if kind == ErrorKind::NotFound { 127 } else { 126 }
}

/// What must hold before the program runs. The claim is to be held until then, and by the program after that.
fn prepare(call: &Call) -> Result<Option<claim::Claim>, Refusal> {
    let claim = match &call.container {
        Some(container) => {
            let claim = claim::claim(container).map_err(Refusal::Claim)?;
            Some(claim.ok_or_else(|| Refusal::SecondInstance(container.clone()))?)
        }
        None => None,
    };
    for (path, original) in &call.files {
        compare(path, original)?;
    }
    claim.map(claim::Claim::keep_across_exec).transpose().map_err(Refusal::Claim)
}

#[expect(clippy::print_stderr, reason = "there is no log yet, only the container's standard error")]
fn main() -> ExitCode {
    let Some(call) = parse(std::env::args_os().skip(1)) else {
        eprintln!(
            "casemate-launch: usage: casemate-launch [CONTAINER|- [PATH:VOLUME/FILE...]] -- PROGRAM [ARGUMENT...]"
        );
        return ExitCode::from(2);
    };
    let _claim = match prepare(&call) {
        Ok(claim) => claim,
        Err(refusal) => {
            eprintln!("casemate-launch: {refusal}");
            return ExitCode::from(REFUSED);
        }
    };
    // Resolves against PATH as execvp does. Signals go back to their defaults. Returns only when it failed.
    let error = Command::new(&call.program).args(&call.arguments).exec();
    eprintln!("casemate-launch: cannot execute `{}`: {error}", call.program.display());
    ExitCode::from(exit_status(error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<Call> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn the_program_keeps_its_arguments_to_the_byte() {
        for before in [&["app"][..], &["app", "/etc/a.conf:config/a.conf"], &[]] {
            let call = parsed(&[before, &["--", "serve", "--", "-x", ""]].concat()).unwrap();
            assert_eq!(call.program, "serve");
            assert_eq!(call.arguments, ["--", "-x", ""]);
            assert_eq!(call.container.as_deref(), before.first().copied());
            assert_eq!(call.files.len(), before.len().saturating_sub(1));
        }
        let call = parsed(&["-", "/etc/a:c/a", "--", "x"]).unwrap();
        assert_eq!((call.container, call.files), (None, vec![("/etc/a".into(), "/casemate-files/c/a".into())]));
        let call = parsed(&["app", "/etc/a:c/d/e:f", "--", "x"]).unwrap();
        assert_eq!(call.files, [("/etc/a".into(), "/casemate-files/c/d/e:f".into())]);
    }

    #[test]
    fn anything_else_before_the_dashes_is_no_command() {
        for arguments in [
            &[][..],
            &["--"],
            &["serve"],
            &["-", "serve"],
            &["-", "app", "--", "serve"],
            &["app", "-", "--", "serve"],
            &["serve", "--"],
            &["-x", "--", "serve"],
            &["", "--", "serve"],
            &["app", "/etc/a", "--", "serve"],
            &["app", "-x:y", "--", "serve"],
        ] {
            assert_eq!(parsed(arguments), None, "{arguments:?}");
        }
    }

    #[test]
    fn a_missing_program_is_told_from_one_that_cannot_run() {
        assert_eq!(exit_status(ErrorKind::NotFound), 127);
        assert_eq!(exit_status(ErrorKind::PermissionDenied), 126);
        assert_eq!(exit_status(ErrorKind::Other), 126);
    }

    #[test]
    fn a_second_instance_is_refused_and_a_command_beside_the_first_is_not() {
        let app = format!("launch-{}", std::process::id());
        let call = parsed(&[&app, "--", "serve"]).unwrap();
        let first = prepare(&call).unwrap();
        assert!(first.is_some());
        let refusal = prepare(&call).unwrap_err().to_string();
        assert_eq!(refusal, format!("container `{app}` runs in this pod already, and it may run only once"));
        assert!(prepare(&parsed(&["--", "check"]).unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_file_of_the_host_must_equal_the_one_that_was_found_right() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, content) in [("good", &b"same"[..]), ("twin", b"same"), ("short", b"sam"), ("empty", b"")] {
            std::fs::write(at(name), content).unwrap();
        }
        std::fs::write(at("long"), vec![0; 1024 * 1024 + 1]).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        assert!(compare(&at("twin"), &at("good")).is_ok());
        for (other, word) in [
            ("short", "is not the file"),
            ("empty", "is not the file"),
            ("folder", "is not the file"),
            ("zero", "is not the file"),
            ("long", "is not the file"),
            ("none", "cannot read"),
        ] {
            for (path, original) in [(other, "good"), ("good", other)] {
                let refusal = compare(&at(path), &at(original)).unwrap_err().to_string();
                assert!(refusal.contains(word), "{path} {original}: {refusal}");
            }
        }
        assert!(compare(&at("long"), &at("long")).is_err(), "what cannot be read to its end is not equal");
    }
}
