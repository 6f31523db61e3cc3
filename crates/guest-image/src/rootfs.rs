//! What is changed in a guest's root file system, and what is found in one: the agent, what starts it, and the policy it begins
//! with.
//!
//! Facts: the agent is `/usr/bin/kata-agent` and `kata-agent.service` starts it (kata-containers, `src/agent/Makefile`,
//! `kata-agent.service.in`); in images built with `AGENT_INIT=yes` it is `/sbin/init` itself
//! (`tools/osbuilder/rootfs-builder/rootfs.sh`). Its first policy is `/etc/kata-opa/default-policy.rego`
//! (`src/agent/policy/src/policy.rs`), and a request that a policy does not name is refused.

use std::io;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::source::{Fields as _, ReadAt};
use crate::tree::{Content, Kind, Node, Tree, TreeError};

/// Where the unmodified agent goes. The check starts it from there and from nowhere else.
pub const AGENT: &str = "/usr/libexec/casemate/kata-agent";
/// A string that the check's binary has.
pub const MARK: &str = "casemate start-up check 1";
/// Where systemd finds the agent, and where the agent is when it is the first process.
const PLACES: [&str; 2] = ["/usr/bin/kata-agent", "/sbin/init"];
/// The policy that the agent begins with.
const POLICY: &str = "/etc/kata-opa/default-policy.rego";
/// Units that start the agent. In `/etc` there is none, and one there would replace the other.
const UNITS: [&str; 2] = ["/usr/lib/systemd/system/kata-agent.service", "/lib/systemd/system/kata-agent.service"];
const OVERRIDES: [&str; 3] = [
    "/etc/systemd/system/kata-agent.service",
    "/etc/systemd/system/kata-agent.service.d",
    "/usr/lib/systemd/system/kata-agent.service.d",
];
/// LIMIT: the agent. Kata's has some 40 MiB.
const MAX_AGENT: u64 = 1 << 30;
/// LIMIT: a unit or a policy.
const MAX_TEXT: u64 = 1 << 20;
/// LIMIT: the check. It has some 2 MiB.
pub const MAX_CHECK: usize = 64 << 20;

/// The requests of the agent's interface (kata-containers, `src/libs/protocols/protos/agent.proto`).
const REQUESTS: [&str; 44] = [
    "AddARPNeighborsRequest",
    "AddSwapPathRequest",
    "AddSwapRequest",
    "AllowRequestsFailingPolicy",
    "CloseStdinRequest",
    "CopyFileRequest",
    "CreateContainerRequest",
    "CreateSandboxRequest",
    "DestroySandboxRequest",
    "ExecProcessRequest",
    "GetDiagnosticDataRequest",
    "GetIPTablesRequest",
    "GetMetricsRequest",
    "GetOOMEventRequest",
    "GuestDetailsRequest",
    "ListInterfacesRequest",
    "ListRoutesRequest",
    "MemAgentCompactConfig",
    "MemAgentMemcgConfig",
    "MemHotplugByProbeRequest",
    "OnlineCPUMemRequest",
    "PauseContainerRequest",
    "ReadStreamRequest",
    "RemoveContainerRequest",
    "RemoveStaleVirtiofsShareMountsRequest",
    "ReseedRandomDevRequest",
    "ResizeVolumeRequest",
    "ResumeContainerRequest",
    "SetGuestDateTimeRequest",
    "SetIPTablesRequest",
    "SetPolicyRequest",
    "SignalProcessRequest",
    "StartContainerRequest",
    "StartTracingRequest",
    "StatsContainerRequest",
    "StopTracingRequest",
    "TtyWinResizeRequest",
    "UpdateContainerRequest",
    "UpdateEphemeralMountsRequest",
    "UpdateInterfaceRequest",
    "UpdateRoutesRequest",
    "VolumeStatsRequest",
    "WaitProcessRequest",
    "WriteStreamRequest",
];

/// The policy of a repacked image: it allows nothing. The one in a pod's initdata takes its place.
pub static DENY_ALL: LazyLock<String> = LazyLock::new(|| {
    let mut text =
        "# Allows nothing. The policy in a pod's initdata takes the place of this one.\npackage agent_policy\n\n"
            .to_owned();
    for request in REQUESTS {
        text.push_str(&format!("default {request} := false\n"));
    }
    text
});

/// A root file system that is not as Kata builds it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// There is no agent where one is looked for.
    #[error("no agent: neither `/usr/bin/kata-agent` with systemd nor `/sbin/init` is it")]
    NoAgent,
    /// The first process is something else, so that nobody knows who starts the agent.
    #[error("`/sbin/init` is neither systemd nor the agent, so what starts the agent is not known")]
    Init,
    /// The unit is not there or starts something else.
    #[error("`{unit}` does not start `{}` and nothing else", PLACES[0])]
    Unit {
        /// Which.
        unit: String,
    },
    /// Something changes the unit.
    #[error("`{path}` changes what starts the agent")]
    Override {
        /// Which.
        path: String,
    },
    /// The check is there already.
    #[error("this image has a start-up check already")]
    Already,
    /// The agent is no program.
    #[error("`{path}` is no program for x86-64")]
    NotAProgram {
        /// Which.
        path: String,
    },
    /// The tree has no such place.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The image could not be read.
    #[error("read `{path}`")]
    Read {
        /// Which file of it.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// A file that is not the check.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// No program for this machine.
    #[error("no program for x86-64")]
    NotAProgram,
    /// It needs libraries, which an image need not have.
    #[error("it is linked dynamically, and an image need not have its libraries")]
    Dynamic,
    /// It is something else.
    #[error("it is not `casemate-guest-check` of this version")]
    Other,
    /// Too large.
    #[error("it has {bytes} bytes, at most {MAX_CHECK} are possible")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
}

/// The start-up check: a static program that says that it is one.
#[derive(Clone, PartialEq, Eq)]
pub struct StartUpCheck(Vec<u8>);

impl StartUpCheck {
    /// Looks at a program.
    pub fn new(bytes: Vec<u8>) -> Result<Self, CheckError> {
        if bytes.len() > MAX_CHECK {
            return Err(CheckError::TooLarge { bytes: bytes.len() });
        }
        match interpreter(&bytes) {
            None => return Err(CheckError::NotAProgram),
            Some(true) => return Err(CheckError::Dynamic),
            Some(false) => {}
        }
        if has_mark(&bytes) { Ok(Self(bytes)) } else { Err(CheckError::Other) }
    }

    /// SHA-256 of it.
    pub fn sha256(&self) -> String {
        sha256(&self.0)
    }
}

fn has_mark(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

/// Whether a program for x86-64 names an interpreter; `None` if it is none.
fn interpreter(bytes: &[u8]) -> Option<bool> {
    // ELF-64, little endian; x86-64; executable or position independent (System V ABI, chapter 4 and 5).
    let head = bytes.get(..6)? == [0x7f, b'E', b'L', b'F', 2, 1];
    if !head || bytes.u16_at(18)? != 62 || !matches!(bytes.u16_at(16)?, 2 | 3) {
        return None;
    }
    let table = usize::try_from(bytes.u64_at(32)?).ok()?;
    let (size, count) = (usize::from(bytes.u16_at(54)?), usize::from(bytes.u16_at(56)?));
    let mut named = false;
    for index in 0..count {
        named |= bytes.u32_at(table.checked_add(index * size)?)? == 3;
    }
    Some(named)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// How the agent is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// By systemd.
    Systemd,
    /// It is the first process.
    Agent,
}

/// What is in a root file system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Found {
    /// How the agent is started.
    pub init: Init,
    /// The path that is started.
    pub starts: &'static str,
    /// Whether that is the check.
    pub check: bool,
    /// SHA-256 of the agent, wherever it lies.
    pub agent_sha256: String,
    /// Whether the first policy allows nothing.
    pub denies_all: bool,
}

impl Found {
    /// Whether nothing but a pod's own initdata decides what this guest does.
    pub fn is_guarded(&self) -> bool {
        self.check && self.denies_all
    }
}

fn read(tree: &Tree, image: &dyn ReadAt, path: &str, most: u64) -> Result<Vec<u8>, RootfsError> {
    let (_, content) = tree.file(path)?;
    let failed = |source| RootfsError::Read { path: path.to_owned(), source };
    let bytes = content.read(image, most).map_err(failed)?;
    bytes.ok_or_else(|| failed(io::Error::other(format!("it has more than {most} bytes"))))
}

/// Looks at what starts the agent, and at the policy it begins with.
pub fn look(tree: &Tree, image: &dyn ReadAt) -> Result<Found, RootfsError> {
    let (init, starts) = init(tree, image)?;
    let started = read(tree, image, starts, MAX_AGENT)?;
    if interpreter(&started).is_none() {
        return Err(RootfsError::NotAProgram { path: starts.to_owned() });
    }
    let check = has_mark(&started);
    let agent_sha256 = if check { sha256(&read(tree, image, AGENT, MAX_AGENT)?) } else { sha256(&started) };
    let denies_all = match read(tree, image, POLICY, MAX_TEXT) {
        Ok(policy) => policy == DENY_ALL.as_bytes(),
        Err(RootfsError::Tree(_)) => false,
        Err(error) => return Err(error),
    };
    Ok(Found { init, starts, check, agent_sha256, denies_all })
}

fn init(tree: &Tree, image: &dyn ReadAt) -> Result<(Init, &'static str), RootfsError> {
    let [agent, init] = PLACES;
    let first = tree.find(init).map_err(|_| RootfsError::Init)?;
    let systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].iter().find_map(|path| tree.find(path).ok());
    if systemd == Some(first) {
        if tree.file(agent).is_err() {
            return Err(RootfsError::NoAgent);
        }
        let unit = UNITS.iter().find(|unit| tree.file(unit).is_ok()).copied().unwrap_or(UNITS[0]);
        let wrong = || RootfsError::Unit { unit: unit.to_owned() };
        let text = read(tree, image, unit, MAX_TEXT).map_err(|_| wrong())?;
        let text = String::from_utf8(text).map_err(|_| wrong())?;
        let starts: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("Exec")).collect();
        let fine =
            |line: &&str| line.trim() == format!("ExecStart={agent}") || line.trim_start().starts_with("ExecStop=");
        if !starts.iter().all(fine) || !starts.iter().any(|line| line.trim().starts_with("ExecStart=")) {
            return Err(wrong());
        }
        if let Some(path) = OVERRIDES.iter().find(|path| tree.find(path).is_ok()) {
            return Err(RootfsError::Override { path: (*path).to_owned() });
        }
        return Ok((Init::Systemd, agent));
    }
    // The agent's own name may lead to the first process, or it has no other name.
    match tree.find(agent) {
        Ok(id) if id == first => Ok((Init::Agent, init)),
        Err(_) if systemd.is_none() => Ok((Init::Agent, init)),
        _ => Err(RootfsError::Init),
    }
}

/// Puts the check in the agent's place, the agent beside it, and a policy that allows nothing in place of the first one.
pub fn guard(tree: &mut Tree, image: &dyn ReadAt, check: &StartUpCheck) -> Result<Found, RootfsError> {
    let found = look(tree, image)?;
    if found.check {
        return Err(RootfsError::Already);
    }
    // Every path that starts the agent now starts the check, whatever links lead there.
    let place = tree.find(found.starts)?;
    let node = tree.node(place).cloned().ok_or(RootfsError::NoAgent)?;
    tree.put(AGENT, node)?;
    if let Some(node) = tree.node_mut(place) {
        *node = Node::of_root(0o755, Kind::File(Content::bytes(&check.0)));
    }
    tree.put(POLICY, Node::of_root(0o644, Kind::File(Content::bytes(DENY_ALL.as_bytes()))))?;
    let after = look(tree, image)?;
    // The proof of the pudding: what was written is found, and the agent is the same to the byte.
    if after.is_guarded() && after.agent_sha256 == found.agent_sha256 { Ok(after) } else { Err(RootfsError::NoAgent) }
}
