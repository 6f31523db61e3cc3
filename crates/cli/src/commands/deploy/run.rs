//! Running a step's commands as child processes.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cloud::steps::{Command, Step};

use crate::failure::{Failure, Outcome};
use crate::output;

/// How long what runs beside a step may take to accept a connection. kubectl forwards within a second or two.
const BESIDE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Where kubectl forwards the Coordinator's user API to.
const FORWARDED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1313);

/// Runs steps.
pub(super) struct Runner {
    /// The program that the word `casemate` stands for.
    pub(super) casemate: PathBuf,
    /// Whether standard output is to hold one JSON document: children then write to standard error.
    pub(super) json: bool,
}

/// A process that is ended with the step that it serves, by its own id.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Runner {
    pub(super) fn step(&self, step: &Step) -> Outcome {
        let missing: Vec<&str> = step.needs.iter().copied().filter(|name| find(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(Failure::refuse(format!("not installed: {}", missing.join(", "))));
        }
        let _beside = step.beside.as_ref().map(|command| self.beside(command)).transpose()?;
        step.commands.iter().try_for_each(|command| self.command(command))
    }

    fn child(&self, command: &Command) -> std::process::Command {
        let program = match command.program() {
            "casemate" => self.casemate.clone(),
            other => PathBuf::from(other),
        };
        let mut child = std::process::Command::new(program);
        child.args(command.0.iter().skip(1)).stdin(Stdio::null());
        if self.json {
            child.stdout(std::io::stderr());
        }
        child
    }

    fn command(&self, command: &Command) -> Outcome {
        output::say(&format!("$ {command}"));
        let status = self.child(command).status();
        let status =
            status.map_err(|error| Failure::could_not_tell(error).context(format!("start `{}`", command.program())))?;
        if status.success() {
            return Ok(());
        }
        let ended = match status.code() {
            Some(code) => format!("`{command}` ended with status {code}"),
            None => format!("`{command}` was ended by a signal"),
        };
        // Our own commands say whether it is a "no"; what another program's status means nobody knows.
        let no = command.program() == "casemate" && status.code() == Some(1);
        Err(if no { Failure::refuse(ended) } else { Failure::could_not_tell(anyhow::anyhow!("{ended}")) })
    }

    /// Starts what runs beside a step and waits until it can be reached.
    fn beside(&self, command: &Command) -> Outcome<Beside> {
        // Somebody else's listener would be taken for ours; attestation would tell, but not why.
        if TcpStream::connect_timeout(&FORWARDED, POLL).is_ok() {
            return Err(Failure::refuse(format!("something listens on {FORWARDED} already"))
                .hint("end it, or say where the Coordinator is with `--coordinator`"));
        }
        output::say(&format!("$ {command} &"));
        let child = self.child(command).stdout(Stdio::null()).spawn();
        let child =
            child.map_err(|error| Failure::could_not_tell(error).context(format!("start `{}`", command.program())))?;
        let mut beside = Beside(child);
        let begin = Instant::now();
        while TcpStream::connect_timeout(&FORWARDED, POLL).is_err() {
            if let Ok(Some(status)) = beside.0.try_wait() {
                return Err(Failure::could_not_tell(anyhow::anyhow!("`{command}` ended: {status}")));
            }
            if begin.elapsed() > BESIDE {
                let what = anyhow::anyhow!("`{command}`: nothing listens on {FORWARDED} after {} s", BESIDE.as_secs());
                return Err(Failure::could_not_tell(what));
            }
            std::thread::sleep(POLL);
        }
        Ok(beside)
    }
}

/// A program on the search path.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder: PathBuf| folder.join(name)).find(|file: &PathBuf| is_program(file))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
