//! The pod agent's socket: `/run/casemate/<id>/pods/<pod>/agent.sock`.
//!
//! Frames ([`crate::frame`]) in both directions, one [`Call`] and then one [`Reply`], any number of times on one
//! connection and on any number of connections. `ep` and `request` have the names and shapes that the policy of a Kata
//! agent sees; the policy decides on exactly these two before anything happens. `data` stands beside them because a
//! stock Kata agent shows its policy no file content either.
//!
//! | `ep` | the agent then | answers |
//! |---|---|---|
//! | `UpdateInterfaceRequest`, `UpdateRoutesRequest`, `OnlineCPUMemRequest`, `UpdateEphemeralMountsRequest` | takes note: the container launcher's network is ready when the pod starts | `{}` |
//! | `CreateSandboxRequest` | sets the host name, mounts the sandbox's storages | `{}` |
//! | `GuestDetailsRequest` | | `{"agent_version","init_daemon"}` |
//! | `CopyFileRequest` (+ `data`) | writes a file, directory or link below `/run/kata-containers/shared/containers` | `{}` |
//! | `CreateContainerRequest` | pulls the image, mounts its root and storages, writes the OCI bundle | `{}` |
//! | `StartContainerRequest` | starts the process | `{}` |
//! | `ExecProcessRequest` | runs a command in a container; what it writes goes nowhere | `{}` |
//! | `WaitProcessRequest` | waits for its end, or for that of the command `exec_id` | `{"status":0,"out_of_memory":false}` |
//! | `ReadStreamRequest` | waits for output; standard output and error are one stream | `{"data":"<base64>","eof":false}` |
//! | `SignalProcessRequest` | sends a signal | `{}` |
//! | `RemoveContainerRequest` | forgets a container that has ended | `{}` |
//! | `StatsContainerRequest` | | `{"memory_bytes":0,"pids":0}` |
//! | `GetOOMEventRequest` | waits for a container that ran out of memory | `{"container_id"}` |
//! | `DestroySandboxRequest` | ends every container | `{}` |
//!
//! Every other `ep` fails, even when the policy allows it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::frame::{self, FrameError};

/// LIMIT: how much file content one `CopyFileRequest` carries; Kata's shim splits at 1 MiB (gRPC's message limit is 4 MiB).
pub const MAX_COPY_CHUNK: usize = 1024 * 1024;
/// LIMIT: a copied file; Kubernetes allows a ConfigMap or Secret 1 MiB, and the rest that is copied is smaller.
pub const MAX_COPIED_FILE: u64 = 64 * 1024 * 1024;
/// LIMIT: how much output one `ReadStreamRequest` answers with.
pub const MAX_READ: usize = 256 * 1024;

/// A request to the agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The name of the request, as the policy knows it.
    pub ep: String,
    /// The request, as the policy sees it.
    pub request: Value,
    /// The content of a `CopyFileRequest`, which no policy sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "protocol::secret::base64_bytes")]
    pub data: Vec<u8>,
    /// For a `CreateContainerRequest`: which shared directory of the host ([`crate::tee_api::Launch::volumes`]) appears
    /// at which mount source. With Kata the host mounts it there itself; no policy sees that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shared: BTreeMap<String, String>,
}

impl Call {
    /// A request without data.
    pub fn new(ep: impl Into<String>, request: Value) -> Self {
        Self { ep: ep.into(), request, data: Vec::new(), shared: BTreeMap::new() }
    }
}

/// The agent's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Ok(Value),
    /// Not done.
    Error(AgentError),
}

/// Why a request was not served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct AgentError {
    /// Whether it was refused or went wrong.
    pub code: AgentErrorCode,
    /// A sentence fragment.
    pub message: String,
    /// For a denial: what the policy says, one reason each, naming the field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// The kinds of refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AgentErrorCode {
    /// The policy does not allow it. Nothing happened.
    Denied,
    /// Allowed, and it went wrong.
    Failed,
    /// Allowed, and the image could not be had: the registry does not know it.
    ImageMissing,
    /// Allowed, and the image could not be had: the registry does not answer.
    RegistryDown,
    /// The frame or the request has not the shape it must have. Nothing happened.
    Malformed,
}

impl AgentError {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: AgentErrorCode::Failed, message: message.into(), reasons: Vec::new() }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self { code: AgentErrorCode::Malformed, message: message.into(), reasons: Vec::new() }
    }
}

/// A call that brought no `ok`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The agent said no.
    #[error(transparent)]
    Refused(#[from] AgentError),
    /// The agent could not be reached, or spoke nonsense.
    #[error("the pod agent does not answer")]
    Frame(#[from] FrameError),
}

/// A blocking connection to an agent, for tools and tests.
#[derive(Debug)]
pub struct AgentClient(UnixStream);

impl AgentClient {
    /// Connects to an agent's socket.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        UnixStream::connect(socket).map(Self)
    }

    /// Gives up on answers that take longer; `None` waits for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, call: &Call) -> Result<Value, CallError> {
        frame::write(&mut self.0, call)?;
        match frame::read(&mut self.0)? {
            Reply::Ok(value) => Ok(value),
            Reply::Error(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_the_documented_one() {
        let call = Call::new("StartContainerRequest", serde_json::json!({"container_id": "c"}));
        assert_eq!(
            serde_json::to_string(&call).unwrap(),
            r#"{"ep":"StartContainerRequest","request":{"container_id":"c"}}"#
        );
        let denied =
            AgentError { code: AgentErrorCode::Denied, message: "no".into(), reasons: vec!["OCI.Root".into()] };
        assert_eq!(
            serde_json::to_string(&Reply::Error(denied)).unwrap(),
            r#"{"error":{"code":"denied","message":"no","reasons":["OCI.Root"]}}"#
        );
        assert_eq!(serde_json::to_string(&Reply::Ok(serde_json::json!({}))).unwrap(), r#"{"ok":{}}"#);
    }

    #[test]
    fn a_call_with_an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<Call>(r#"{"ep":"x","request":{},"extra":1}"#).is_err());
    }
}
