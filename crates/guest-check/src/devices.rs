//! Disks: finding the one with initdata, and keeping all others away from the agent until it has read that one.
//!
//! The agent looks at every `vd*` and `sd*` in `/dev`, in the folder's order, and takes the first whose first bytes are the magic
//! (kata-containers, `src/agent/src/initdata.rs`). Every one of these is the host's, at any time.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::mm::{MapFlags, MlockAllFlags, ProtFlags};
use vm_memory::{FileOffset, MmapRegion, VolatileMemory as _};

use crate::initdata::{self, Document, InitdataError, MAGIC};
use crate::machine::Machine;

/// What the agent looks at.
const PREFIXES: [&str; 2] = ["vd", "sd"];
/// The buses on which such disks appear.
const BUSES: [&str; 2] = ["virtio", "scsi"];
/// Where other disks' nodes wait. The agent does not look into folders.
const ASIDE: &str = ".casemate-guest-check";
/// LIMIT: disks and partitions. A guest of Kata has a handful.
const MAX_NODES: usize = 1024;

/// Why there is no initdata to compare.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No disk begins with the magic.
    #[error("no disk with initdata is there")]
    None,
    /// Two or more do: the agent might take another one than the check.
    #[error("{} disks begin with `initdata` ({}), and there may be one", found.len(), found.join(", "))]
    Several {
        /// Their names.
        found: Vec<String>,
    },
    /// There are more disks than a guest has.
    #[error("more than {MAX_NODES} disks")]
    TooMany,
    /// The device holds no initdata.
    #[error("`{name}`")]
    Initdata {
        /// The device.
        name: String,
        /// What is wrong with it.
        source: InitdataError,
    },
    /// The device could not be kept in memory.
    #[error("keep `{name}` in memory: {reason}")]
    Pin {
        /// The device.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A file operation failed.
    #[error("{what} `{path}`")]
    Io {
        /// What was done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DeviceError {
    let path = path.to_owned();
    move |source| DeviceError::Io { what, path, source }
}

/// The buses of disks, told to give no driver to devices that arrive.
#[derive(Debug)]
pub struct Frozen {
    buses: Vec<PathBuf>,
}

impl Frozen {
    /// From here on no new disk appears.
    pub fn freeze(machine: &Machine) -> Result<Self, DeviceError> {
        let mut buses = Vec::new();
        for bus in BUSES {
            let bus = machine.buses.join(bus);
            // A kernel without such a bus has no such disks.
            if bus.is_dir() {
                let switch = bus.join("drivers_autoprobe");
                fs::write(&switch, "0").map_err(failed("write", &switch))?;
                buses.push(bus);
            }
        }
        Ok(Self { buses })
    }

    /// Lets disks appear again, those that have arrived in between included.
    pub fn thaw(self) -> Result<(), DeviceError> {
        for bus in self.buses {
            let switch = bus.join("drivers_autoprobe");
            fs::write(&switch, "1").map_err(failed("write", &switch))?;
            let devices = bus.join("devices");
            let Ok(entries) = fs::read_dir(&devices) else { continue };
            for entry in entries.flatten() {
                // One that has a driver is left as it is, and one that nobody wants is none of ours.
                if !entry.path().join("driver").exists() {
                    let _ = fs::write(bus.join("drivers_probe"), entry.file_name().as_encoded_bytes());
                }
            }
        }
        Ok(())
    }
}

/// The names of disks and their partitions, sorted.
fn nodes(machine: &Machine) -> Result<Vec<String>, DeviceError> {
    let mut names = Vec::new();
    let dev = &machine.dev;
    for entry in fs::read_dir(dev).map_err(failed("list", dev))? {
        let entry = entry.map_err(failed("list", dev))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = fs::metadata(entry.path()).map_err(failed("look at", &entry.path()))?.file_type();
        let disk = kind.is_block_device() || (!machine.real && kind.is_file());
        if disk && PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            names.push(name);
        }
        if names.len() > MAX_NODES {
            return Err(DeviceError::TooMany);
        }
    }
    names.sort();
    Ok(names)
}

/// The one disk that begins with the magic. To be called while no new disk can appear.
pub fn find(machine: &Machine, _frozen: &Frozen) -> Result<String, DeviceError> {
    let mut found = Vec::new();
    for name in nodes(machine)? {
        let path = machine.dev.join(&name);
        let mut head = [0; MAGIC.len()];
        // A drive without a medium cannot be opened or read, by the agent neither.
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut head));
        if read.is_ok() && head == MAGIC {
            found.push(name);
        }
    }
    match found.len() {
        0 => Err(DeviceError::None),
        1 => found.pop().ok_or(DeviceError::None),
        _ => Err(DeviceError::Several { found }),
    }
}

/// Other disks' nodes, which wait under other names.
#[derive(Debug)]
pub struct Aside {
    dev: PathBuf,
    names: Vec<String>,
}

impl Aside {
    /// Gives every disk but this one another name.
    pub fn put(machine: &Machine, but: &str, _frozen: &Frozen) -> Result<Self, DeviceError> {
        let folder = machine.dev.join(ASIDE);
        fs::create_dir(&folder).map_err(failed("make", &folder))?;
        let mut aside = Self { dev: machine.dev.clone(), names: Vec::new() };
        for name in nodes(machine)?.into_iter().filter(|name| name != but) {
            let from = machine.dev.join(&name);
            fs::rename(&from, folder.join(&name)).map_err(failed("rename", &from))?;
            aside.names.push(name);
        }
        Ok(aside)
    }

    /// Gives them their names back.
    pub fn put_back(self) -> Result<(), DeviceError> {
        let folder = self.dev.join(ASIDE);
        for name in self.names {
            let from = folder.join(&name);
            // A disk that went away in between took its node along.
            match fs::rename(&from, self.dev.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("rename", &from)(error)),
                _ => {}
            }
        }
        fs::remove_dir(&folder).map_err(failed("remove", &folder))
    }
}

/// A document whose pages in the page cache cannot be dropped and read anew from the host, as long as this lives.
#[derive(Debug)]
pub struct Pinned {
    document: Document,
    _pages: MmapRegion,
    _device: File,
}

impl Pinned {
    /// Locks the device's pages, and reads the document out of them.
    pub fn read(machine: &Machine, name: &str) -> Result<Self, DeviceError> {
        let path = machine.dev.join(name);
        let initdata = |source| DeviceError::Initdata { name: name.to_owned(), source };
        let pin = |reason: String| DeviceError::Pin { name: name.to_owned(), reason };
        let mut device = File::open(&path).map_err(failed("open", &path))?;
        let mut head = [0; initdata::HEAD];
        device.read_exact(&mut head).map_err(failed("read", &path))?;
        let extent = initdata::extent(&head).map_err(initdata)?;
        let has = device.seek(SeekFrom::End(0)).map_err(failed("read", &path))?;
        if has < extent as u64 {
            return Err(initdata(InitdataError::Short { has, wants: extent as u64 }));
        }
        let flag = |bits: u32| i32::try_from(bits).unwrap_or_default();
        let pages: MmapRegion = MmapRegion::build(
            Some(FileOffset::new(device.try_clone().map_err(failed("open", &path))?, 0)),
            extent,
            flag(ProtFlags::READ.bits()),
            flag((MapFlags::SHARED | MapFlags::POPULATE).bits()),
        )
        .map_err(|error| pin(error.to_string()))?;
        if machine.real {
            rustix::mm::mlockall(MlockAllFlags::CURRENT).map_err(|error| pin(error.to_string()))?;
        }
        let mut bytes = vec![0; extent];
        pages.as_volatile_slice().copy_to(&mut bytes);
        let document = Document::read(&bytes).map_err(initdata)?;
        Ok(Self { document, _pages: pages, _device: device })
    }

    /// The document.
    pub fn document(&self) -> &Document {
        &self.document
    }
}
