//! Where the engine of one work folder keeps its things, and how it names what it makes on the machine.
//!
//! Every name carries the engine's id, so that `down` finds everything again after a crash, and two engines of two
//! work folders never touch each other's.

use std::path::{Path, PathBuf};

use protocol::Digest;

use crate::error::EngineError;

/// The directory of all engines' sockets and private files.
pub const RUN: &str = "/run/casemate";

/// The names of one engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    workspace: PathBuf,
    id: String,
}

impl Paths {
    /// The names for the engine of `workspace`, which must exist.
    pub fn of(workspace: &Path) -> Result<Self, EngineError> {
        let workspace = std::fs::canonicalize(workspace)
            .map_err(|error| EngineError::io(format!("open the work folder `{}`", workspace.display()), &error))?;
        Ok(Self::canonical(workspace))
    }

    fn canonical(workspace: PathBuf) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        // Eight hex digits: an interface name has room for 15 characters in all (IFNAMSIZ).
        let id = Digest::of(workspace.as_os_str().as_bytes()).short().chars().take(8).collect();
        Self { workspace, id }
    }

    /// The engine's id: eight hex digits of the work folder's digest.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The work folder, absolute.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// The engine's state in the work folder.
    pub fn state(&self) -> PathBuf {
        self.workspace.join(".casemate")
    }

    /// The root key of the software TEE: 32 bytes of Ed25519 seed.
    pub fn root_key(&self) -> PathBuf {
        self.state().join("tee-root.key")
    }

    /// The measurement of the executable, with the file that it was made of.
    pub fn measurement(&self) -> PathBuf {
        self.state().join("measurement.json")
    }

    /// What `up` was started with, for people and for `down`.
    pub fn engine_json(&self) -> PathBuf {
        self.state().join("engine.json")
    }

    /// The log of the supervisor, the TEE and the agents.
    pub fn engine_log(&self) -> PathBuf {
        self.state().join("logs").join("engine.log")
    }

    /// The log of a container.
    pub fn container_log(&self, pod: &str, container: &str) -> PathBuf {
        self.state().join("logs").join(pod).join(format!("{container}.log"))
    }

    /// The log of the container's previous run.
    pub fn previous_log(&self, pod: &str, container: &str) -> PathBuf {
        self.state().join("logs").join(pod).join(format!("{container}.previous.log"))
    }

    /// The directory behind a PersistentVolumeClaim.
    pub fn volume(&self, claim: &str) -> PathBuf {
        self.state().join("volumes").join(claim)
    }

    /// The cache of images and unpacked layers.
    pub fn images(&self) -> PathBuf {
        self.state().join("images")
    }

    /// The engine's directory of sockets: `/run/casemate/<id>`.
    pub fn run(&self) -> PathBuf {
        Path::new(RUN).join(&self.id)
    }

    /// The TEE's socket ([`crate::tee_api`]).
    pub fn tee_socket(&self) -> PathBuf {
        self.run().join("tee.sock")
    }

    /// The supervisor's socket ([`crate::control`]).
    pub fn control_socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// A pod's directory.
    pub fn pod(&self, pod: &str) -> PathBuf {
        self.run().join("pods").join(pod)
    }

    /// A pod agent's socket ([`crate::agent_api`]).
    pub fn agent_socket(&self, pod: &str) -> PathBuf {
        self.pod(pod).join("agent.sock")
    }

    /// One file for each process that was started, named by its pid.
    pub(crate) fn processes(&self) -> PathBuf {
        self.run().join("processes")
    }

    /// What all network namespaces of this engine begin with.
    pub fn netns_prefix(&self) -> String {
        format!("cm-{}-", self.id)
    }

    /// The node's network namespace.
    pub fn node_netns(&self) -> String {
        format!("cm-{}-node", self.id)
    }

    /// The host's end of the link to the node.
    pub fn host_link(&self) -> String {
        format!("cm{}h", self.id)
    }

    /// The engine's cgroup below each hierarchy.
    pub fn cgroup(&self) -> String {
        format!("/casemate/{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_fit_the_kernel() {
        let paths = Paths::canonical(PathBuf::from("/some/where"));
        assert_eq!(paths.id().len(), 8);
        assert!(paths.host_link().len() < 16);
    }

    #[test]
    fn two_work_folders_have_two_ids() {
        assert_ne!(Paths::canonical("/a".into()).id(), Paths::canonical("/b".into()).id());
    }
}
