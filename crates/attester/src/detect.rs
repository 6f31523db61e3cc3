//! Which TEE this is, by what the kernel shows and by nothing else.
//!
//! Every place is looked at, whatever the first one says, and two that speak of different TEEs are a contradiction and no
//! matter of taste. Where no place speaks, the guest's attestation agent is the only way: a container in a Kata guest sees
//! neither configfs nor device nodes. What the agent then answers has to fit the traces of hardware that even such a
//! container sees, so that software Evidence never passes for the hardware's (promise P8).

use nix::errno::Errno;
use protocol::Tee;

use crate::error::Listed;
use crate::kernel::{Kernel, Node};
use crate::{AttestError, enclave, sev_guest, tdx_guest, tsm};

/// How Evidence is made here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interface {
    /// Reports through configfs, for this TEE.
    Configfs(Tee),
    /// `/dev/sev-guest`.
    SevGuest,
    /// `/dev/tdx_guest` and the host's quoting service.
    TdxGuest,
    /// Gramine's `/dev/attestation`.
    Gramine,
    /// Occlum's `/dev/sgx`.
    Occlum,
    /// The guest's attestation agent on loopback.
    GuestAgent,
}

impl Interface {
    /// What it is called in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configfs(_) => "configfs",
            Self::SevGuest => "sev-guest",
            Self::TdxGuest => "tdx-guest",
            Self::Gramine => "gramine",
            Self::Occlum => "occlum",
            Self::GuestAgent => "guest-agent",
        }
    }

    /// The TEE whose interface it is; an agent may be that of any.
    pub const fn tee(self) -> Option<Tee> {
        match self {
            Self::Configfs(tee) => Some(tee),
            Self::SevGuest => Some(Tee::Snp),
            Self::TdxGuest => Some(Tee::Tdx),
            Self::Gramine | Self::Occlum => Some(Tee::Sgx),
            Self::GuestAgent => None,
        }
    }
}

/// A place that was looked at, and what was there, in words that follow it: `is not there`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looked {
    /// The path.
    pub path: &'static str,
    /// What was found.
    pub found: String,
}

impl Looked {
    pub(crate) fn new(path: &'static str, found: impl Into<String>) -> Self {
        Self { path, found: found.into() }
    }
}

/// What a machine shows of its TEE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detection {
    /// How Evidence is made.
    pub interface: Interface,
    /// The kind of TEE that traces speak of, and which trace. They show more than interfaces: a container without any sees
    /// them too.
    pub traces: Option<(Tee, &'static str)>,
    /// Every place, in the order in which they were looked at.
    pub looked: Vec<Looked>,
}

/// Traces that only a guest of that kind has. Features of the processor are none: a host has them as well.
const TRACES: [(&str, Tee); 3] = [
    ("/sys/devices/platform/sev-guest", Tee::Snp),
    ("/sys/devices/virtual/misc/sev-guest", Tee::Snp),
    ("/sys/devices/virtual/misc/tdx_guest", Tee::Tdx),
];
const PROCESSOR: &str = "/proc/cpuinfo";
/// LIMIT: one processor's lines are 2 KiB, and a machine has some hundreds of them.
const MAX_PROCESSOR: usize = 4 << 20;

/// Looks at every place.
pub fn detect(kernel: &dyn Kernel) -> Result<Detection, AttestError> {
    let mut looked = Vec::new();
    let configfs = configfs(kernel, &mut looked)?;
    let devices = [
        device(kernel, sev_guest::DEVICE, &mut looked)?.then_some(Interface::SevGuest),
        device(kernel, tdx_guest::DEVICE, &mut looked)?.then_some(Interface::TdxGuest),
    ];
    let enclaves = [gramine(kernel, &mut looked)?, occlum(kernel, &mut looked)?];
    let traces = traces(kernel, &mut looked);

    let interfaces: Vec<Interface> = configfs.into_iter().chain(devices.into_iter().flatten()).collect();
    let interfaces = || interfaces.iter().copied().chain(enclaves.into_iter().flatten());
    let mut tees = interfaces().filter_map(Interface::tee).chain(traces.iter().map(|(tee, _)| *tee));
    if let Some(first) = tees.next()
        && tees.any(|tee| tee != first)
    {
        return Err(AttestError::Contradictory { looked: Listed(looked) });
    }
    let interface = interfaces().next().unwrap_or(Interface::GuestAgent);
    // An interface speaks for itself; traces are for what an agent answers.
    Ok(Detection { interface, traces: traces.first().copied(), looked })
}

fn look(kernel: &dyn Kernel, path: &'static str) -> Result<Node, AttestError> {
    kernel.look(path).map_err(|errno| AttestError::Kernel {
        during: "look at",
        path: path.to_owned(),
        errno,
        attempts: 1,
    })
}

fn configfs(kernel: &dyn Kernel, looked: &mut Vec<Looked>) -> Result<Option<Interface>, AttestError> {
    let node = look(kernel, tsm::FOLDER)?;
    if node != Node::Folder {
        looked.push(Looked::new(tsm::FOLDER, absent(node, "a folder")));
        return Ok(None);
    }
    let provider = tsm::provider(kernel)?;
    looked.push(match provider {
        Some(tee) => Looked::new(tsm::FOLDER, format!("makes reports of {}", tee.name())),
        None => Looked::new(tsm::FOLDER, "has no provider: no driver of a TEE has registered"),
    });
    Ok(provider.map(Interface::Configfs))
}

fn device(kernel: &dyn Kernel, path: &'static str, looked: &mut Vec<Looked>) -> Result<bool, AttestError> {
    let node = look(kernel, path)?;
    let there = node == Node::Device;
    looked.push(Looked::new(path, if there { "is there".to_owned() } else { absent(node, "a device") }));
    Ok(there)
}

fn gramine(kernel: &dyn Kernel, looked: &mut Vec<Looked>) -> Result<Option<Interface>, AttestError> {
    let path = enclave::GRAMINE_TYPE;
    let node = look(kernel, path)?;
    if matches!(node, Node::Nothing | Node::Folder) {
        looked.push(Looked::new(path, absent(node, "a file")));
        return Ok(None);
    }
    match enclave::gramine_type(kernel)?.as_str() {
        "dcap" => {
            looked.push(Looked::new(path, "says `dcap`"));
            Ok(Some(Interface::Gramine))
        }
        // An enclave that was signed without attestation makes no quote, and another TEE it is not.
        other => Err(AttestError::UnknownInterface { path: path.to_owned(), got: other.to_owned(), known: "`dcap`" }),
    }
}

fn occlum(kernel: &dyn Kernel, looked: &mut Vec<Looked>) -> Result<Option<Interface>, AttestError> {
    let path = enclave::OCCLUM;
    let node = look(kernel, path)?;
    if node == Node::Nothing {
        looked.push(Looked::new(path, absent(node, "a device")));
        return Ok(None);
    }
    // Drivers of a host have put devices or folders of that name there, which speak another language.
    let inside = kernel.variable("OCCLUM").is_some();
    looked.push(Looked::new(
        path,
        if inside { "is there, in Occlum" } else { "is there, and `OCCLUM` is not in the environment: a host's" },
    ));
    Ok(inside.then_some(Interface::Occlum))
}

fn traces(kernel: &dyn Kernel, looked: &mut Vec<Looked>) -> Vec<(Tee, &'static str)> {
    let mut found = Vec::new();
    for (path, tee) in TRACES {
        let node = match kernel.look(path) {
            Ok(node) => node,
            // What may not be looked at shows nothing, and no interface depends on it.
            Err(errno) => {
                looked.push(Looked::new(path, format!("cannot be looked at: {errno}")));
                continue;
            }
        };
        let there = node != Node::Nothing;
        looked.push(Looked::new(
            path,
            if there { format!("is that of a guest: {}", tee.name()) } else { NOT_THERE.into() },
        ));
        found.extend(there.then_some((tee, path)));
    }
    let processor = match kernel.read(PROCESSOR, MAX_PROCESSOR) {
        Ok(text) => text,
        Err(Errno::ENOENT) => return found,
        Err(errno) => {
            looked.push(Looked::new(PROCESSOR, format!("cannot be read: {errno}")));
            return found;
        }
    };
    let text = String::from_utf8_lossy(&processor);
    let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    if flags.split_whitespace().any(|flag| flag == "tdx_guest") {
        looked.push(Looked::new(PROCESSOR, "has `tdx_guest` among its flags"));
        found.push((Tee::Tdx, PROCESSOR));
    } else {
        looked.push(Looked::new(PROCESSOR, "has no `tdx_guest` among its flags"));
    }
    found
}

const NOT_THERE: &str = "is not there";

fn absent(node: Node, wanted: &str) -> String {
    match node {
        Node::Nothing => NOT_THERE.to_owned(),
        _ => format!("is not {wanted}"),
    }
}
