//! containerd's service: which run of it this is, and a restart.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::containerd::Distribution;
use super::files::Root;

/// Makes containerd read its configuration again.
pub trait Service {
    /// Restarts it; `false` when somebody else will. Pods run on: a shim does not end with containerd.
    fn restart(&mut self, distribution: Distribution) -> Result<bool, ServiceError>;

    /// Which run of it this is. Asked twice, it tells whether there was a restart in between.
    fn run(&self, distribution: Distribution) -> Run;
}

/// One run of containerd, from a start to an end. What could not be found out is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What the kernel calls this boot of the machine.
    pub boot: Option<String>,
    /// What systemd calls this run of the services: it gives each of their starts a new identifier (systemd.exec(5),
    /// `INVOCATION_ID`).
    pub services: Option<String>,
}

impl Run {
    /// Whether this is certainly another run than one that was seen before.
    pub fn is_other_than(&self, before: &Self) -> bool {
        let differ = |now: &Option<String>, before: &Option<String>| matches!((now, before), (Some(now), Some(before)) if now != before);
        differ(&self.boot, &before.boot) || differ(&self.services, &before.services)
    }
}

/// containerd could not be restarted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// None of its services runs.
    #[error("none of {} is active", .services.join(", "))]
    NotActive {
        /// Those that were asked about.
        services: Vec<&'static str>,
    },
    /// The command failed.
    #[error("`{command}` ended with {status}: {message}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote to standard error.
        message: String,
    },
    /// The command could not be run.
    #[error("run `{command}`")]
    Run {
        /// What was to be run.
        command: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// systemd of the host, through its `systemctl`.
#[derive(Clone, Debug)]
pub struct Systemd {
    root: Root,
    command: Vec<OsString>,
}

impl Systemd {
    /// That of the host whose file system this is: run under its root, unless that is ours.
    pub fn new(root: &Root) -> Self {
        let folder = root.folder();
        if folder == Path::new("/") {
            Self::with_command(root, ["systemctl"])
        } else {
            // As `gpu::Machine::command` has it: an image need not hold a program that changes roots.
            let own = [OsStr::new("/proc/self/exe"), OsStr::new(gpu::IN_ROOT)];
            Self::with_command(root, own.into_iter().chain([folder.as_os_str(), OsStr::new("systemctl")]))
        }
    }

    /// Another command in place of `systemctl`, with its first arguments.
    pub fn with_command(root: &Root, command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { root: root.clone(), command: command.into_iter().map(Into::into).collect() }
    }

    fn systemctl(&self, args: &[&str]) -> Result<std::process::Output, ServiceError> {
        let (program, first) = self
            .command
            .split_first()
            .map_or((OsStr::new("systemctl"), &[][..]), |(program, first)| (program.as_os_str(), first));
        let output = Command::new(program).args(first).args(args).output();
        output.map_err(|source| ServiceError::Run { command: format!("systemctl {}", args.join(" ")), source })
    }
}

impl Service for Systemd {
    fn restart(&mut self, distribution: Distribution) -> Result<bool, ServiceError> {
        for service in distribution.services() {
            if !self.systemctl(&["is-active", "--quiet", service])?.status.success() {
                continue;
            }
            let done = self.systemctl(&["restart", service])?;
            if done.status.success() {
                return Ok(true);
            }
            return Err(ServiceError::Failed {
                command: format!("systemctl restart {service}"),
                status: done.status.to_string(),
                message: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            });
        }
        Err(ServiceError::NotActive { services: distribution.services().to_vec() })
    }

    fn run(&self, distribution: Distribution) -> Run {
        let boot = self.root.text("/proc/sys/kernel/random/boot_id").ok().flatten();
        let shown = self.systemctl(&[&["show", "--property=InvocationID"], distribution.services()].concat());
        // One that was never started has none, which is an answer as well.
        let services = shown.ok().filter(|shown| shown.status.success()).map(|shown| {
            let text = String::from_utf8_lossy(&shown.stdout).into_owned();
            text.lines().filter_map(|line| line.strip_prefix("InvocationID=")).collect::<Vec<_>>().join(",")
        });
        Run { boot: boot.map(|boot| boot.trim().to_owned()), services }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `systemctl` of which one service is active, and whose restarts end with a status.
    fn systemctl(dir: &Path, active: &str, restart: i32) -> Systemd {
        let script = format!(
            "echo \"$*\" >> '{}'\ncase \"$1\" in\n  is-active) test \"$3\" = '{active}' ;;\n  show) cat '{}' ;;\n  *) echo 'Job failed.' >&2; exit {restart} ;;\nesac\n",
            dir.join("calls").display(),
            dir.join("shown").display()
        );
        let path = dir.join("systemctl.sh");
        std::fs::write(&path, script).unwrap();
        Systemd::with_command(&Root::new(dir), [OsStr::new("sh"), path.as_os_str()])
    }

    #[test]
    fn the_service_that_is_active_is_restarted_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        assert!(systemctl(dir.path(), "k3s-agent.service", 0).restart(Distribution::K3s).unwrap());
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert_eq!(
            calls,
            "is-active --quiet k3s.service\nis-active --quiet k3s-agent.service\nrestart k3s-agent.service\n"
        );
    }

    #[test]
    fn a_restart_that_fails_or_has_no_service_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = systemctl(dir.path(), "containerd.service", 4).restart(Distribution::Containerd).unwrap_err();
        assert_eq!(error.to_string(), "`systemctl restart containerd.service` ended with exit status: 4: Job failed.");
        let error = systemctl(dir.path(), "other.service", 0).restart(Distribution::Rke2).unwrap_err();
        assert_eq!(error.to_string(), "none of rke2-server.service, rke2-agent.service is active");
        let error =
            Systemd::with_command(&Root::new(dir.path()), ["/nothing/here"]).restart(Distribution::Rke2).unwrap_err();
        assert!(matches!(error, ServiceError::Run { .. }));
    }

    #[test]
    fn a_run_is_told_by_boot_and_start_and_by_one_of_them_where_the_other_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let systemd = systemctl(dir.path(), "k3s-agent.service", 0);
        let run = || systemd.run(Distribution::K3s);
        assert_eq!(run(), Run::default());
        std::fs::write(dir.path().join("shown"), "InvocationID=\n\nInvocationID=aa\n").unwrap();
        Root::new(dir.path()).replace("/proc/sys/kernel/random/boot_id", "one\n").unwrap();
        assert_eq!(run(), Run { boot: Some("one".to_owned()), services: Some(",aa".to_owned()) });
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert!(calls.ends_with("show --property=InvocationID k3s.service k3s-agent.service\n"), "{calls}");
        let some = |boot: &str, services: &str| {
            let known = |text: &str| (text != "?").then(|| text.to_owned());
            Run { boot: known(boot), services: known(services) }
        };
        let cases = [
            (some("1", "a"), some("1", "a"), false),
            (some("1", "b"), some("1", "a"), true),
            (some("2", "a"), some("1", "a"), true),
            (some("?", "b"), some("1", "a"), true),
            (some("2", "?"), some("1", "a"), true),
            (some("?", "a"), some("1", "a"), false),
            (some("?", "?"), some("1", "a"), false),
            (some("2", "b"), some("?", "?"), false),
            (some("1", "a"), some("1", ""), true),
        ];
        for (now, before, expected) in cases {
            assert_eq!(now.is_other_than(&before), expected, "{now:?} after {before:?}");
        }
    }
}
