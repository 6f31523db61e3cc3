//! The mode that all devices were last proven to be at, beside the journal.
//!
//! It answers for devices that a guest has and that the kernel lets nobody else read, as after a restart of the agent
//! on a busy node. It is never an answer about a device that can be asked.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use gpu::{Address, Machine, Mode};
use serde::{Deserialize, Serialize};

/// LIMIT: some 20 bytes for each device.
const MAX: u64 = 64 * 1024;
/// A number that the kernel draws when it starts: devices forget their mode when the machine does.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    version: u32,
    boot: String,
    devices: Vec<Address>,
    mode: Mode,
    /// Whether some GPU can do confidential computing.
    capable: bool,
}

const VERSION: u32 = 1;

/// One file.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    path: PathBuf,
}

impl Proven {
    /// In this file; its folder must be there.
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Remembers that these devices, and no others, were read at a mode, and whether they can do confidential computing.
    /// Where it cannot, the node says less after the next restart, and nothing else is lost.
    pub(super) fn remember(&self, machine: &Machine, devices: &[Address], mode: Mode, capable: bool) {
        let Some(boot) = boot(machine) else { return };
        let content = Content { version: VERSION, boot, devices: devices.to_vec(), mode, capable };
        if self.load().as_ref() == Some(&content) {
            return;
        }
        if let Err(error) = self.save(&content) {
            tracing::warn!(path = %self.path.display(), %error, "the mode of the devices could not be remembered");
        }
    }

    /// The mode of exactly these devices, proven since the machine started, and whether they are capable.
    pub(super) fn recall(&self, machine: &Machine, devices: &[Address]) -> Option<(Mode, bool)> {
        let content = self.load()?;
        (Some(content.boot) == boot(machine) && content.devices == devices).then_some((content.mode, content.capable))
    }

    fn load(&self) -> Option<Content> {
        let mut bytes = Vec::new();
        File::open(&self.path).and_then(|file| file.take(MAX).read_to_end(&mut bytes)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|content: &Content| content.version == VERSION)
    }

    fn save(&self, content: &Content) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(content)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn boot(machine: &Machine) -> Option<String> {
    machine.text(BOOT).ok().flatten().filter(|boot| !boot.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(root: &Path, boot: &str) -> Machine {
        let path = root.join(BOOT.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, format!("{boot}\n")).expect("written");
        Machine::new(root)
    }

    #[test]
    fn a_mode_is_remembered_for_these_devices_until_the_machine_starts_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let proven = Proven::new(folder.path().join("modes.json"));
        let one: Vec<Address> = vec!["0000:41:00.0".parse().expect("an address")];
        let other: Vec<Address> = vec!["0000:42:00.0".parse().expect("an address")];
        let first = machine(folder.path(), "first");
        assert_eq!(proven.recall(&first, &one), None, "nothing was proven");
        proven.remember(&first, &one, Mode::On, true);
        assert_eq!(proven.recall(&first, &one), Some((Mode::On, true)));
        assert_eq!(proven.recall(&first, &other), None);
        assert_eq!(proven.recall(&first, &[]), None);
        assert_eq!(proven.recall(&machine(folder.path(), "second"), &one), None);
        let nameless = Machine::new(folder.path().join("empty"));
        assert_eq!(proven.recall(&nameless, &one), None, "a machine that does not say when it started");
        proven.remember(&machine(folder.path(), "first"), &one, Mode::Off, false);
        assert_eq!(proven.recall(&first, &one), Some((Mode::Off, false)));
        for broken in ["", "{}", "[", r#"{"version":2,"boot":"first","devices":["0000:41:00.0"],"mode":"off"}"#] {
            fs::write(folder.path().join("modes.json"), broken).expect("written");
            assert_eq!(proven.recall(&first, &one), None, "{broken}");
        }
    }
}
