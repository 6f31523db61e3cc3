//! The second process of the check. It compares, says yes on its standard output, and then holds the guest so that the agent
//! can read nothing else than what was compared, until the agent has read it.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::devices::{Aside, DeviceError, Frozen, Pinned, find};
use crate::initdata::Document;
use crate::machine::{Machine, say};
use crate::tee::{Field, Hardware, TeeError};

/// What the holder writes when the agent may be started.
pub const YES: &[u8] = b"initdata is what the hardware reports\n";
/// Where the agent writes the document that it took, before it sets its policy (kata-containers, `src/agent/src/initdata.rs`).
pub const TAKEN: &str = "run/confidential-containers/initdata/initdata.toml";
/// LIMIT: how long the agent may take to read its initdata. It does so right after its start.
const AGENT_PATIENCE: Duration = Duration::from_secs(60);
/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the agent is not started, or the guest does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The kernel's interfaces could not be mounted.
    #[error("mount the kernel's interfaces")]
    Mount(#[source] io::Error),
    /// There is no initdata, or none that counts.
    #[error("initdata")]
    Initdata(#[from] DeviceError),
    /// The hardware could not be asked.
    #[error("ask the hardware for the digest of initdata")]
    Tee(#[from] TeeError),
    /// The initdata is not the one that the hardware reports.
    #[error("the initdata has the digest {initdata}, and the hardware reports {field} {reported}")]
    Differs {
        /// HOSTDATA or MRCONFIGID.
        field: &'static str,
        /// What the hardware reports, in hex.
        reported: String,
        /// The digest of the document, as that field would have it.
        initdata: String,
    },
    /// Nobody is there to hear the answer.
    #[error("tell the agent's process")]
    Tell(#[source] io::Error),
    /// The agent took something else.
    #[error("the agent took other initdata than was compared")]
    Taken,
    /// The agent did not take it.
    #[error("the agent took no initdata within {} seconds", AGENT_PATIENCE.as_secs())]
    NotTaken,
}

/// Proof that a document is the one that the hardware reports. Only [`compare`] makes one.
#[derive(Debug)]
pub struct Same(());

/// Compares a document with the hardware's field.
pub fn compare(document: &Document, field: Field) -> Result<Same, Refusal> {
    let (initdata, same) = match field {
        Field::HostData(bytes) => (hex::encode(document.field::<32>()), document.field::<32>() == bytes),
        Field::MrConfigId(bytes) => (hex::encode(document.field::<48>()), document.field::<48>() == bytes),
    };
    if same {
        return Ok(Same(()));
    }
    Err(Refusal::Differs { field: field.name(), reported: hex::encode(field.bytes()), initdata })
}

/// A guest in which the agent can read nothing but the document that was compared.
#[derive(Debug)]
pub struct Held {
    pinned: Pinned,
    frozen: Frozen,
    aside: Aside,
    _same: Same,
}

impl Held {
    /// Finds, pins and compares.
    pub fn take(machine: &Machine, hardware: &dyn Hardware) -> Result<Self, Refusal> {
        let (frozen, name) = appear(machine)?;
        let pinned = Pinned::read(machine, &name)?;
        let same = compare(pinned.document(), hardware.initdata_field()?)?;
        let aside = Aside::put(machine, &name, &frozen)?;
        Ok(Self { pinned, frozen, aside, _same: same })
    }

    /// Waits until the agent has taken the document, and lets go.
    pub fn release(self, machine: &Machine, patience: Duration) -> Result<(), Refusal> {
        wait_taken(self.pinned.document().bytes(), &machine.agent_root.join(TAKEN), patience)?;
        self.aside.put_back()?;
        self.frozen.thaw()?;
        Ok(())
    }
}

/// Waits for the device, with no new disk appearing while it is looked for.
fn appear(machine: &Machine) -> Result<(Frozen, String), Refusal> {
    let begun = Instant::now();
    loop {
        let frozen = Frozen::freeze(machine)?;
        match find(machine, &frozen) {
            Ok(name) => return Ok((frozen, name)),
            Err(DeviceError::None) if begun.elapsed() < machine.patience => {
                frozen.thaw()?;
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The agent writes the file in one go, but not in one step: what is there so far must be the beginning of the document.
fn wait_taken(document: &[u8], file: &PathBuf, patience: Duration) -> Result<(), Refusal> {
    let begun = Instant::now();
    loop {
        if let Ok(taken) = fs::read(file) {
            if taken == document {
                return Ok(());
            }
            if !document.starts_with(&taken) {
                return Err(Refusal::Taken);
            }
        }
        if begun.elapsed() >= patience {
            return Err(Refusal::NotTaken);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The whole of the second process. Comes back with whether the guest may go on.
pub fn run(machine: &Machine, hardware: &dyn Hardware, answer: &mut dyn Write) -> Result<(), Refusal> {
    machine.mount_interfaces().map_err(Refusal::Mount)?;
    let held = Held::take(machine, hardware)?;
    say("initdata is what the hardware reports; starting the agent");
    answer.write_all(YES).and_then(|()| answer.flush()).map_err(Refusal::Tell)?;
    held.release(machine, AGENT_PATIENCE)
}
