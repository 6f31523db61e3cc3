//! The software TEE's socket: `/run/casemate/<id>/tee.sock`. INSECURE by construction: any root process may speak it.
//!
//! Frames ([`crate::frame`]): one [`Request`], one [`Reply`], any number of times. The host chooses everything in a
//! [`Launch`], HOSTDATA and initdata included, as it does on hardware. What it cannot choose is the measurement, and
//! what a pod's agent does with the rest: the agent stops before its first request when they do not fit together.
//!
//! The other side of the TEE, the device on which an agent asks for reports, is private to the two: it is the agent's
//! standard input, and no other process has it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use protocol::Digest;
use serde::{Deserialize, Serialize};

use crate::frame::{self, FrameError};

/// A request to the TEE.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Measures the agent and starts a pod with it; answers when the agent serves its socket, or has refused to.
    Launch(Launch),
    /// Ends a pod as a power cut would: every process of it is killed at once.
    Stop {
        /// The pod.
        pod: String,
    },
    /// Waits until a pod has ended.
    Wait {
        /// The pod.
        pod: String,
    },
    /// The pods that run.
    List,
}

/// What the host says when it launches a pod.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The pod's name, unique in this engine: a DNS label, it names the directory of the agent's socket.
    pub pod: String,
    /// HOSTDATA, in every report of this pod from now on.
    pub host_data: Digest,
    /// The initdata annotation's text, base64 of gzip. A hostile host leaves it out or gives another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initdata: Option<String>,
    /// The pod's network namespace, made by the host. Absent: the pod gets one of its own with nothing in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// Directories of the host that are attached as shared file systems, by name: the volumes behind claims. The
    /// agent sees `/run/kata-containers/shared/volumes/<name>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, PathBuf>,
}

/// The TEE's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The pod's agent serves its socket.
    Launched {
        /// The agent's pid on the host.
        pid: u32,
        /// The agent's socket.
        agent: PathBuf,
    },
    /// The pod is gone.
    Stopped {
        /// Why, as far as it is known.
        reason: String,
    },
    /// The pods that run.
    Pods(Vec<String>),
    /// It was not done.
    Error(TeeError),
}

/// Why the TEE did not do it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct TeeError {
    /// The kind.
    pub code: TeeErrorCode,
    /// A sentence fragment.
    pub message: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TeeErrorCode {
    /// The agent's start-up check refused: initdata is absent, unreadable or not what HOSTDATA says.
    Refused,
    /// A pod of that name runs already.
    Exists,
    /// No such pod.
    NotFound,
    /// It went wrong.
    Failed,
}

/// A call that brought no useful answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The TEE said no.
    #[error(transparent)]
    Refused(#[from] TeeError),
    /// The TEE could not be reached, or spoke nonsense.
    #[error("the software TEE does not answer")]
    Frame(#[from] FrameError),
}

/// A blocking connection to the TEE, for tools and tests.
#[derive(Debug)]
pub struct TeeClient(UnixStream);

impl TeeClient {
    /// Connects to the TEE's socket.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        UnixStream::connect(socket).map(Self)
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, request: &Request) -> Result<Reply, CallError> {
        frame::write(&mut self.0, request)?;
        match frame::read(&mut self.0)? {
            Reply::Error(error) => Err(error.into()),
            reply => Ok(reply),
        }
    }
}

/// The private device between the TEE and one agent: the messages on the agent's standard input.
pub(crate) mod device {
    use super::{BTreeMap, Deserialize, PathBuf, Serialize};

    /// The first message, from the TEE: what the host gave the guest. All of it is the host's word.
    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Boot {
        pub(crate) pod: String,
        pub(crate) initdata: Option<String>,
        pub(crate) netns: Option<PathBuf>,
        pub(crate) volumes: BTreeMap<String, PathBuf>,
        /// Where the agent serves.
        pub(crate) socket: PathBuf,
        /// The shared cache of images.
        pub(crate) images: PathBuf,
        /// The cgroup below which containers run.
        pub(crate) cgroup: String,
    }

    /// From the agent.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub(crate) enum FromAgent {
        /// A report over 64 bytes of report data.
        Report {
            #[serde(with = "protocol::secret::base64_bytes")]
            report_data: Vec<u8>,
        },
        /// The socket is served.
        Ready,
        /// The start-up check, or what comes before serving, failed.
        Refused { check: bool, message: String },
    }

    /// To the agent, after `Boot`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub(crate) enum ToAgent {
        /// A signed report.
        Report(#[serde(with = "protocol::secret::base64_bytes")] Vec<u8>),
        /// No report.
        Error { message: String },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_the_documented_one() {
        let launch = Request::Launch(Launch {
            pod: "web-0".into(),
            host_data: Digest::ZERO,
            initdata: Some("aGk=".into()),
            netns: Some("/run/netns/cm-x-1".into()),
            volumes: BTreeMap::new(),
        });
        let zeros = "0".repeat(64);
        assert_eq!(
            serde_json::to_string(&launch).unwrap(),
            format!(
                r#"{{"launch":{{"pod":"web-0","host_data":"{zeros}","initdata":"aGk=","netns":"/run/netns/cm-x-1"}}}}"#
            )
        );
        assert_eq!(serde_json::to_string(&Request::Stop { pod: "a".into() }).unwrap(), r#"{"stop":{"pod":"a"}}"#);
    }
}
