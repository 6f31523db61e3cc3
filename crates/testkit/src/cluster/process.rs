//! Processes that end with what started them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How much of a log a panic shows.
const TAIL: usize = 4096;

/// A running process. Dropping it ends it, by its id.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Starts a program whose output goes to `log`.
    pub(super) fn start(program: &Path, args: &[String], log: &Path) -> Self {
        let output = File::create(log).unwrap_or_else(|error| panic!("create {}: {error}", log.display()));
        let again = output.try_clone().expect("share a log file");
        let mut command = guarded(program);
        command.args(args).stdin(Stdio::null()).stdout(again).stderr(output);
        // Its own group: a terminal's Ctrl-C ends the tests, whose end ends this one.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().unwrap_or_else(|error| panic!("start {}: {error}", program.display()));
        Self { child }
    }

    /// Whether it has ended by itself.
    pub(super) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // At once: kube-apiserver, asked to end, waits for its watchers, and nothing of it is to be kept. Nobody but us
        // waits for this process, so its id is still its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a killed test runs no destructor, the kernel ends its servers. The signal comes when the thread that started
/// them ends, so a cluster belongs to the thread that started it. `setpriv` is in Debian's base system.
fn guarded(program: &Path) -> Command {
    match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A program on the search path, or where distributions put what only administrators use.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The end of a log.
pub(super) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let start = bytes.len().saturating_sub(TAIL);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
}
