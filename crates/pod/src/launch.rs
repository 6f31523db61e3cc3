//! The workload's first program: it does what only the inside of the pod can, and becomes the program.
//!
//! ```text
//! casemate-launch [--no-new-privileges] [--after=NAME] [--mark|--mark-start] [CONTAINER|- [PATH:VOLUME/FILE...]] -- PROGRAM…
//! ```
//!
//! `generate` puts it in front of every workload's command, and the initializer places it in the pod last of all. So a
//! workload that is started early, or without its initializer, has nothing to execute, and one that does start finds its
//! certificates, files and firewall in place. The program knows nothing of all this: that it exists is the point.
//!
//! Before it gives way to the program it does what a policy cannot:
//!
//! - It takes the container's name for life, so that no second instance runs beside it ([`claim`]).
//! - It waits for the init container before this one (`--after`), and leaves a mark for whoever comes next: when a sidecar
//!   starts (`--mark-start`), when an init container has ended well (`--mark`). For that it stays, as the program's
//!   parent ([`child`]). What has its mark has run, and does not run again ([`done`]).
//! - It compares single files that the host copied in (`subPath`) with those that the initializer found right. The host
//!   copies a file anew and never writes into one, so that what was compared is what the program reads.
//! - It makes sure that the program gains no privileges (`--no-new-privileges`), which Kata's shim does not ask for where
//!   it executes a command in a container.
//!
//! Without a container, `casemate-launch -- PROGRAM` or `casemate-launch - FILE... -- PROGRAM`, it takes no name: so probes
//! and hooks run, which the initializer must precede, too, and which read the same files.
//!
//! Exit status 127: no such program; 126: it cannot be executed (as a shell has it); 125: it may not run now; 2: called
//! wrongly; otherwise that of the program, 128 and the number of the signal that ended it.

#![forbid(unsafe_code)]

mod child;
mod claim;
mod done;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use child::{ChildError, End};

/// Where the initializer wrote the files that it found right.
const CHECKED: &str = "/casemate-files";

/// LIMIT: Kubernetes bounds a ConfigMap and a Secret to 1 MiB in all.
const MAX_FILE: u64 = 1024 * 1024;

/// Exit status of a program that may not run now.
const REFUSED: u8 = 125;

/// Who is told that this container is through, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mark {
    /// Nobody waits for it.
    #[default]
    None,
    /// Whoever comes after a sidecar, which does not end: when it starts.
    Start,
    /// Whoever comes after an init container: when it has ended well.
    End,
}

/// A command line that has the form it must have.
#[derive(Debug, Default, PartialEq)]
struct Call {
    no_new_privileges: bool,
    after: Option<String>,
    mark: Mark,
    container: Option<String>,
    /// A file of the host, and the one that it must equal.
    files: Vec<(PathBuf, PathBuf)>,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Call {
    /// Takes one of the words that begin with dashes; each stands once.
    fn option(&mut self, word: &str) -> Option<()> {
        match word {
            "--no-new-privileges" if !self.no_new_privileges => self.no_new_privileges = true,
            "--mark" if self.mark == Mark::None => self.mark = Mark::End,
            "--mark-start" if self.mark == Mark::None => self.mark = Mark::Start,
            _ => {
                let name = word.strip_prefix("--after=").filter(|name| done::is_name(name) && self.after.is_none())?;
                self.after = Some(name.to_owned());
            }
        }
        Some(())
    }

    /// A mark has the container's name, and nobody waits for itself.
    fn is_sound(&self) -> bool {
        let marked = self.container.as_deref().is_some_and(done::is_name) || self.mark == Mark::None;
        marked && (self.after.is_none() || self.after != self.container)
    }
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Call> {
    let (mut call, mut named) = (Call::default(), false);
    loop {
        let argument = arguments.next()?;
        if argument == "--" {
            break;
        }
        if argument == "-" && !named {
            named = true;
            continue;
        }
        let word = argument.into_string().ok().filter(|word| !word.is_empty())?;
        if word.starts_with('-') {
            Some(()).filter(|()| !named)?;
            call.option(&word)?;
        } else if named {
            let (path, original) = word.split_once(':')?;
            call.files.push((PathBuf::from(path), Path::new(CHECKED).join(original)));
        } else {
            (call.container, named) = (Some(word), true);
        }
    }
    call.program = arguments.next()?;
    call.arguments = arguments.collect();
    Some(call).filter(Call::is_sound)
}

/// A program that may not run now.
#[derive(Debug)]
enum Refusal {
    SecondInstance(String),
    Claim(io::Error),
    Unreadable(PathBuf, io::Error),
    Changed(PathBuf),
    Executable(PathBuf),
    Early(String),
    Asked(String),
    Mark(String, io::Error),
    Privileges(io::Error),
    Child(io::Error),
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
            Self::Executable(path) => {
                write!(f, "`{}` may be executed by others than initdata says", path.display())
            }
            Self::Early(name) => write!(
                f,
                "init container `{name}` comes before this one and is not through: `{}/{name}` is not there",
                done::FOLDER
            ),
            Self::Asked(name) => {
                write!(f, "init container `{name}` was told to end, so that its end does not count: it must run again")
            }
            Self::Mark(name, error) => write!(f, "cannot write `{}/{name}`: {error}", done::FOLDER),
            Self::Privileges(error) => write!(f, "cannot give up gaining privileges: {error}"),
            Self::Child(error) => write!(f, "cannot wait for the program: {error}"),
        }
    }
}

/// A regular file, as far as it must equal another.
struct Content {
    bytes: Vec<u8>,
    /// Who may execute it.
    executable: u32,
}

/// The content of a regular file; one that is too long counts as another.
fn read(path: &Path) -> Result<Option<Content>, Refusal> {
    let unreadable = |error| Refusal::Unreadable(path.to_owned(), error);
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Ok(None);
    }
    let file = File::open(path).map_err(unreadable)?;
    let executable = file.metadata().map_err(unreadable)?.permissions().mode() & 0o111;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(Content { bytes, executable }).filter(|content| content.bytes.len() as u64 <= MAX_FILE))
}

fn compare(path: &Path, original: &Path) -> Result<(), Refusal> {
    match (read(path)?, read(original)?) {
        (Some(content), Some(expected)) if content.bytes == expected.bytes => {
            let same = content.executable == expected.executable;
            same.then_some(()).ok_or_else(|| Refusal::Executable(path.to_owned()))
        }
        _ => Err(Refusal::Changed(path.to_owned())),
    }
}

fn exit_status(kind: ErrorKind) -> u8 {
    if kind == ErrorKind::NotFound { 127 } else { 126 }
}

/// Where marks lie, and how long one is waited for; only tests have others.
struct Order<'a> {
    folder: &'a Path,
    longest: Duration,
}

/// What holds now.
#[derive(Debug)]
enum Prepared {
    /// The program may run. The claim is to be held until then, and by the program after that.
    Ready(Option<claim::Claim>),
    /// An init container that has run, which the host starts again.
    Done,
}

/// What must hold before the program runs.
fn prepare(call: &Call, order: &Order<'_>) -> Result<Prepared, Refusal> {
    if call.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|error| Refusal::Privileges(error.into()))?;
    }
    let mut claim = None;
    if let Some(container) = &call.container {
        let taken = claim::claim(container).map_err(Refusal::Claim)?;
        claim = Some(taken.ok_or_else(|| Refusal::SecondInstance(container.clone()))?);
        if call.mark == Mark::End && done::is_set(order.folder, container) {
            return Ok(Prepared::Done);
        }
    }
    if let Some(before) = call.after.as_ref().filter(|before| !done::wait(order.folder, before, order.longest)) {
        return Err(Refusal::Early(before.clone()));
    }
    for (path, original) in &call.files {
        compare(path, original)?;
    }
    if call.mark == Mark::Start {
        mark(call, order)?;
    }
    claim.map(claim::Claim::keep_across_exec).transpose().map(Prepared::Ready).map_err(Refusal::Claim)
}

fn mark(call: &Call, order: &Order<'_>) -> Result<(), Refusal> {
    let Some(container) = &call.container else { return Ok(()) };
    done::set(order.folder, container).map_err(|error| Refusal::Mark(container.clone(), error))
}

/// Runs the program, and gives what is left to say: by what status, or why not.
fn launch(call: &Call, order: &Order<'_>) -> Result<u8, Refusal> {
    let _claim = match prepare(call, order)? {
        Prepared::Ready(claim) => claim,
        Prepared::Done => return Ok(not_again(call)),
    };
    let mut program = Command::new(&call.program);
    program.args(&call.arguments);
    if call.mark != Mark::End {
        // Resolves against PATH as execvp does. Signals go back to their defaults. Returns only when it failed.
        return Ok(not_executed(call, &program.exec()));
    }
    match child::run(&mut program) {
        // The host may send signals, and a program that ends well because of one has not done its work.
        Ok(End { status: 0, was_asked: true }) => Err(Refusal::Asked(call.container.clone().unwrap_or_default())),
        Ok(End { status: 0, .. }) => mark(call, order).map(|()| 0),
        Ok(End { status, .. }) => Ok(status),
        Err(ChildError::Start(error)) => Ok(not_executed(call, &error)),
        Err(ChildError::Wait(error)) => Err(Refusal::Child(error)),
    }
}

#[expect(clippy::print_stderr, reason = "there is no log yet, only the container's standard error")]
fn not_again(call: &Call) -> u8 {
    let name = call.container.as_deref().unwrap_or_default();
    eprintln!("casemate-launch: init container `{name}` has ended well in this pod, and does not run again");
    0
}

#[expect(clippy::print_stderr, reason = "there is no log yet, only the container's standard error")]
fn not_executed(call: &Call, error: &io::Error) -> u8 {
    eprintln!("casemate-launch: cannot execute `{}`: {error}", call.program.display());
    exit_status(error.kind())
}

#[expect(clippy::print_stderr, reason = "there is no log yet, only the container's standard error")]
fn main() -> ExitCode {
    let Some(call) = parse(std::env::args_os().skip(1)) else {
        eprintln!(
            "casemate-launch: usage: casemate-launch [--no-new-privileges] [--after=NAME] [--mark|--mark-start] \
             [CONTAINER|- [PATH:VOLUME/FILE...]] -- PROGRAM [ARGUMENT...]"
        );
        return ExitCode::from(2);
    };
    match launch(&call, &Order { folder: Path::new(done::FOLDER), longest: done::LONGEST_WAIT }) {
        Ok(status) => ExitCode::from(status),
        Err(refusal) => {
            eprintln!("casemate-launch: {refusal}");
            ExitCode::from(REFUSED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<Call> {
        parse(arguments.iter().map(OsString::from))
    }

    /// Prepares without patience.
    fn prepared(call: &Call, folder: &Path) -> Result<Prepared, String> {
        let order = Order { folder, longest: Duration::from_millis(50) };
        prepare(call, &order).map_err(|refusal| refusal.to_string())
    }

    /// A name that no other run of these tests on this machine has.
    fn name(what: &str) -> String {
        format!("{what}-{}", std::process::id())
    }

    #[test]
    fn the_program_keeps_its_arguments_to_the_byte() {
        for before in [&["app"][..], &["app", "/etc/a.conf:config/a.conf"], &[]] {
            let call = parsed(&[before, &["--", "serve", "--", "--mark", ""]].concat()).unwrap();
            assert_eq!(call.program, "serve");
            assert_eq!(call.arguments, ["--", "--mark", ""]);
            assert_eq!((call.mark, call.no_new_privileges, &call.after), (Mark::None, false, &None));
            assert_eq!(call.container.as_deref(), before.first().copied());
            assert_eq!(call.files.len(), before.len().saturating_sub(1));
        }
        let call = parsed(&["-", "/etc/a:c/a", "--", "x"]).unwrap();
        assert_eq!((call.container, call.files), (None, vec![("/etc/a".into(), "/casemate-files/c/a".into())]));
        let call = parsed(&["app", "/etc/a:c/d/e:f", "--", "x"]).unwrap();
        assert_eq!(call.files, [("/etc/a".into(), "/casemate-files/c/d/e:f".into())]);
    }

    #[test]
    fn what_is_asked_of_the_launcher_stands_before_the_name() {
        let call = parsed(&["--no-new-privileges", "--", "x"]).unwrap();
        assert!(call.no_new_privileges && call.container.is_none());
        let call = parsed(&["--no-new-privileges", "-", "/a:c/a", "--", "x"]).unwrap();
        assert!(call.no_new_privileges && call.files.len() == 1);
        let call = parsed(&["--after=init-1", "--mark", "init-2", "--", "x"]).unwrap();
        assert_eq!((call.after.as_deref(), call.mark), (Some("init-1"), Mark::End));
        let call = parsed(&["--mark-start", "log", "/a:c/a", "--", "x"]).unwrap();
        assert_eq!((call.after, call.mark, call.files.len()), (None, Mark::Start, 1));
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
            &["app", "--no-new-privileges", "--", "serve"],
            &["app", "--mark", "--", "serve"],
            &["app", "--after=init", "--", "serve"],
            &["-", "--mark", "--", "serve"],
            &["--no-new-privileges", "--no-new-privileges", "--", "serve"],
            &["--no-new-privilege", "--", "serve"],
            &["--mark", "--", "serve"],
            &["--mark", "-", "--", "serve"],
            &["--mark-start", "--", "serve"],
            &["--mark", "a/b", "--", "serve"],
            &["--mark", "--mark", "app", "--", "serve"],
            &["--mark", "--mark-start", "app", "--", "serve"],
            &["--after=", "app", "--", "serve"],
            &["--after", "init", "app", "--", "serve"],
            &["--after=../x", "app", "--", "serve"],
            &["--after=a", "--after=b", "app", "--", "serve"],
            &["--after=app", "app", "--", "serve"],
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
        let (app, folder) = (name("launch"), Path::new("/nowhere"));
        let call = parsed(&[&app, "--", "serve"]).unwrap();
        let first = prepared(&call, folder).unwrap();
        assert!(matches!(first, Prepared::Ready(Some(_))));
        let refusal = prepared(&call, folder).unwrap_err();
        assert_eq!(refusal, format!("container `{app}` runs in this pod already, and it may run only once"));
        let command = prepared(&parsed(&["--", "check"]).unwrap(), folder).unwrap();
        assert!(matches!(command, Prepared::Ready(None)));
    }

    #[test]
    fn nothing_runs_before_what_comes_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (log, app) = (name("log"), name("main"));
        let sidecar = parsed(&["--after=init", "--mark-start", &log, "--", "x"]).unwrap();
        let main = parsed(&[&format!("--after={log}"), &app, "--", "x"]).unwrap();
        let early =
            "init container `init` comes before this one and is not through: `/casemate-done/init` is not there";
        std::fs::create_dir(at("init")).unwrap();
        assert_eq!(prepared(&sidecar, folder.path()).unwrap_err(), early);
        std::fs::remove_dir(at("init")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", at("init")).unwrap();
        assert_eq!(prepared(&sidecar, folder.path()).unwrap_err(), early);
        assert!(prepared(&main, folder.path()).unwrap_err().contains(&log));
        std::fs::remove_file(at("init")).unwrap();
        done::set(folder.path(), "init").unwrap();
        assert!(matches!(prepared(&sidecar, folder.path()).unwrap(), Prepared::Ready(Some(_))));
        assert!(matches!(prepared(&main, folder.path()).unwrap(), Prepared::Ready(Some(_))));
        // A sidecar starts again, and says so to nobody who does not know.
        eventually(|| matches!(prepared(&sidecar, folder.path()), Ok(Prepared::Ready(Some(_)))));
    }

    #[test]
    fn an_init_container_that_was_through_does_not_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let init = name("init");
        let call = parsed(&["--mark", &init, "--", "x"]).unwrap();
        assert!(matches!(prepared(&call, folder.path()).unwrap(), Prepared::Ready(Some(_))));
        assert!(!done::is_set(folder.path(), &init), "it has its mark when it has ended, and not before");
        done::set(folder.path(), &init).unwrap();
        eventually(|| matches!(prepared(&call, folder.path()), Ok(Prepared::Done)));
    }

    /// What another test starts holds a claim until its own program runs.
    fn eventually(mut so: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !so() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_file_of_the_host_must_equal_the_one_that_was_found_right() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let put = |name: &str, content: &[u8], mode: u32| {
            std::fs::write(at(name), content).unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (name, content) in [("good", &b"same"[..]), ("short", b"sam"), ("empty", b"")] {
            put(name, content, 0o644);
        }
        // Who may read and write a copy that is mounted read-only is of no interest; who may execute it is.
        put("twin", b"same", 0o600);
        put("script", b"same", 0o755);
        put("own", b"same", 0o744);
        put("long", &vec![0; 1024 * 1024 + 1], 0o644);
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        assert!(compare(&at("twin"), &at("good")).is_ok());
        assert!(compare(&at("script"), &at("script")).is_ok());
        assert!(compare(&at("script"), &at("own")).is_err());
        for (other, word) in [
            ("short", "is not the file"),
            ("empty", "is not the file"),
            ("folder", "is not the file"),
            ("zero", "is not the file"),
            ("long", "is not the file"),
            ("none", "cannot read"),
            ("script", "may be executed by others than initdata says"),
            ("own", "may be executed by others"),
        ] {
            for (path, original) in [(other, "good"), ("good", other)] {
                let refusal = compare(&at(path), &at(original)).unwrap_err().to_string();
                assert!(refusal.contains(word), "{path} {original}: {refusal}");
            }
        }
        assert!(compare(&at("long"), &at("long")).is_err(), "what cannot be read to its end is not equal");
    }
}
