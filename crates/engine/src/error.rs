//! What goes wrong when the engine is started, asked or stopped.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An error of the engine, as its callers print it. It travels over the control socket, so it holds text, no sources.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EngineError {
    /// The caller is not root.
    #[error("the local engine needs root: it makes network namespaces and mounts")]
    NotRoot,
    /// A program of the system is missing.
    #[error("`{program}` is not installed")]
    MissingProgram {
        /// The program.
        program: String,
        /// The Debian and Ubuntu package that holds it.
        package: String,
    },
    /// `up` while an engine of this work folder runs.
    #[error("the engine of `{}` is already up", workspace.display())]
    AlreadyUp {
        /// The work folder.
        workspace: PathBuf,
    },
    /// A question to an engine that was never started, or is down.
    #[error("the engine of `{}` is not up", workspace.display())]
    NotUp {
        /// The work folder.
        workspace: PathBuf,
    },
    /// The supervisor is gone, and what it made is still there.
    #[error("the engine of `{}` has crashed", workspace.display())]
    Crashed {
        /// The work folder.
        workspace: PathBuf,
        /// The supervisor's log.
        log: PathBuf,
    },
    /// No /24 under 10.89.0.0/16 is free.
    #[error("every subnet 10.89.0.0/24 to 10.89.255.0/24 is in use on this machine")]
    NoSubnet,
    /// A file of the resources is not what it must be.
    #[error("{}{}: {reason}", path.display(), line.map(|line| format!(" line {line}")).unwrap_or_default())]
    Resources {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing to run.
    #[error("no pod, deployment or other workload in `{}`", path.display())]
    NothingToRun {
        /// Where it looked.
        path: PathBuf,
    },
    /// A pod that was not made by `generate`.
    #[error("{owner} has no initdata annotation")]
    NotGenerated {
        /// Kind and name.
        owner: String,
    },
    /// An image that its registry does not have.
    #[error("image `{image}` of container `{container}` in pod `{pod}` does not exist")]
    ImageMissing {
        /// The reference.
        image: String,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// The registry's words.
        reason: String,
    },
    /// A registry that does not answer.
    #[error("registry of image `{image}` does not answer: {reason}")]
    RegistryDown {
        /// The reference.
        image: String,
        /// The connection's words.
        reason: String,
    },
    /// A pod did not start.
    #[error("pod `{pod}`: {status}: {reason}")]
    PodFailed {
        /// The pod.
        pod: String,
        /// The status as `ps` shows it.
        status: String,
        /// Why.
        reason: String,
    },
    /// No pod of that name.
    #[error("there is no pod `{name}`")]
    NoSuchPod {
        /// The name asked for.
        name: String,
        /// The pods there are.
        pods: Vec<String>,
    },
    /// No workload of that name, or one that cannot be scaled.
    #[error("there is no workload `{name}` that can be scaled")]
    NoSuchWorkload {
        /// The name asked for.
        name: String,
        /// The workloads there are.
        workloads: Vec<String>,
    },
    /// More pods than the engine has addresses for.
    #[error("{wanted} pods are wanted, and one engine runs at most {most}")]
    TooManyPods {
        /// How many pods there would be.
        wanted: u64,
        /// How many there can be.
        most: u64,
    },
    /// No container of that name in the pod.
    #[error("pod `{pod}` has no container `{container}`")]
    NoSuchContainer {
        /// The pod.
        pod: String,
        /// The name asked for, or empty when one must be named.
        container: String,
        /// The containers there are.
        containers: Vec<String>,
    },
    /// The container has not written a log, or has no previous one.
    #[error("container `{container}` of pod `{pod}` has no {}log", if *previous { "previous " } else { "" })]
    NoLog {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// Whether the previous run was asked for.
        previous: bool,
    },
    /// Something took too long.
    #[error("{what} after {seconds} s")]
    Timeout {
        /// What is not there yet.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The caller gave up (Ctrl-C) or went away.
    #[error("interrupted; everything that had been started was stopped")]
    Interrupted,
    /// Something of the engine is still on the machine after `down`.
    #[error("`down` could not remove {}", left.join(", "))]
    LeftOver {
        /// What is left.
        left: Vec<String>,
    },
    /// A command of the system failed.
    #[error("`{command}` failed: {reason}")]
    Command {
        /// The command line.
        command: String,
        /// Its last words.
        reason: String,
    },
    /// A file, socket or process could not be handled.
    #[error("could not {what}: {reason}")]
    Io {
        /// What was tried, as a verb phrase.
        what: String,
        /// The system's words.
        reason: String,
    },
    /// A bug.
    #[error("the engine did what it must not: {reason}")]
    Bug {
        /// What happened.
        reason: String,
    },
}

impl EngineError {
    /// An error of the operating system while trying to `what`.
    pub fn io(what: impl Into<String>, error: &dyn std::fmt::Display) -> Self {
        Self::Io { what: what.into(), reason: error.to_string() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotRoot => "run the same command with sudo".to_owned(),
            Self::MissingProgram { package, .. } => format!("install it: `apt-get install {package}`"),
            Self::AlreadyUp { .. } => "`casemate ps` shows what runs; `casemate down` stops it".to_owned(),
            Self::NotUp { .. } => "start it: `casemate up resources/`".to_owned(),
            Self::Crashed { log, .. } => {
                format!("`casemate down` cleans up, then `casemate up` again; the reason may be in {}", log.display())
            }
            Self::NoSubnet => "stop engines of other work folders with `casemate down` there".to_owned(),
            Self::Resources { .. } => return None,
            Self::NothingToRun { .. } => "give the folder that `casemate generate` wrote".to_owned(),
            Self::NotGenerated { .. } => {
                "the local engine runs confidential pods only: set `runtimeClassName: casemate` on it and run \
                 `casemate generate`"
                    .to_owned()
            }
            Self::ImageMissing { .. } => {
                "push the image, or correct its name, then `casemate generate` again".to_owned()
            }
            Self::RegistryDown { .. } => "start the registry, or check the network, and try again".to_owned(),
            Self::PodFailed { pod, .. } => {
                format!("`casemate logs {pod}` shows what it wrote; `.casemate/logs/engine.log` what was tried")
            }
            Self::NoSuchPod { pods, .. } => one_of("pods", pods)?,
            Self::NoSuchWorkload { workloads, .. } => one_of("workloads", workloads)?,
            Self::NoSuchContainer { containers, .. } => one_of("containers", containers)?,
            Self::TooManyPods { .. } => "ask for fewer replicas; for more, there are clusters".to_owned(),
            Self::NoLog { previous: true, .. } => "it has not been restarted".to_owned(),
            Self::NoLog { .. } => "it has not started yet; `casemate ps` shows what it waits for".to_owned(),
            Self::Timeout { .. } => "`casemate ps` and `casemate logs` show what it waits for".to_owned(),
            Self::LeftOver { .. } => "see what holds it (`fuser -vm PATH`), then `casemate down` again".to_owned(),
            Self::Interrupted | Self::Command { .. } | Self::Io { .. } | Self::Bug { .. } => return None,
        };
        Some(hint)
    }

    /// Whether the input is wrong (exit 1), as opposed to "could not tell" (exit 2).
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::NotRoot
            | Self::MissingProgram { .. }
            | Self::AlreadyUp { .. }
            | Self::NotUp { .. }
            | Self::Resources { .. }
            | Self::NothingToRun { .. }
            | Self::NotGenerated { .. }
            | Self::ImageMissing { .. }
            | Self::PodFailed { .. }
            | Self::NoSuchPod { .. }
            | Self::NoSuchWorkload { .. }
            | Self::NoSuchContainer { .. }
            | Self::TooManyPods { .. }
            | Self::NoLog { .. } => true,
            Self::Crashed { .. }
            | Self::NoSubnet
            | Self::RegistryDown { .. }
            | Self::Timeout { .. }
            | Self::Interrupted
            | Self::LeftOver { .. }
            | Self::Command { .. }
            | Self::Io { .. }
            | Self::Bug { .. } => false,
        }
    }
}

fn one_of(what: &str, names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_input_and_a_silent_registry_differ_in_exit_class() {
        assert!(EngineError::NotRoot.is_refusal());
        assert!(!EngineError::RegistryDown { image: "a".into(), reason: "refused".into() }.is_refusal());
    }

    #[test]
    fn errors_survive_the_control_socket() {
        let error = EngineError::Resources { path: "a.yaml".into(), line: Some(3), reason: "tab".into() };
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<EngineError>(&text).unwrap(), error);
        assert_eq!(error.to_string(), "a.yaml line 3: tab");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = EngineError::MissingProgram { program: "nft".into(), package: "nftables".into() };
        assert_eq!(error.hint().unwrap(), "install it: `apt-get install nftables`");
    }
}
