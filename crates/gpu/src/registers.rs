//! The registers of a device: the first PCI base address region, as the kernel offers it for mapping.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use vm_memory::mmap::MmapRegionError;
use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

use crate::machine::{Machine, ReadError, WriteError};

/// LIMIT: how much is mapped. The highest register used here is below 12 MiB; GPUs have 16 MiB of registers, NVSwitches
/// have 32.
const MAX_MAPPED: u64 = 32 * 1024 * 1024;

/// What a read answers when nothing does: PCI Express completes it with all bits set.
pub(crate) const ALL_ONES: u32 = u32::MAX;

/// 32-bit registers at offsets from the beginning of the region.
///
/// A value says nothing yet of whether the device is there: a device that has fallen off the bus reads as all ones.
/// [`crate::card::Card`] tells the two apart.
pub trait Registers: Send + Sync {
    /// Reads a register.
    fn read32(&self, offset: u32) -> Result<u32, RegisterError>;
    /// Writes a register.
    fn write32(&self, offset: u32, value: u32) -> Result<(), RegisterError>;
}

/// A register that could not be reached.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The region is too small, or the offset no multiple of four.
    #[error("register {offset:#x} is not within the {size:#x} bytes that are mapped")]
    OutOfRange {
        /// Where the register is.
        offset: u32,
        /// How much is mapped.
        size: usize,
    },
    /// They were opened to be looked at.
    #[error("register {offset:#x} is not written: the device was opened to be looked at")]
    ReadOnly {
        /// Where the register is.
        offset: u32,
    },
    /// The device no longer takes accesses.
    #[error("register {offset:#x} cannot be reached: the device was taken away")]
    Gone {
        /// Where the register is.
        offset: u32,
    },
}

/// Registers that could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The kernel offers no region, or not to this process.
    #[error("open `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The region cannot be mapped.
    #[error("map {size:#x} bytes of `{path}`")]
    Map {
        /// The file.
        path: PathBuf,
        /// How much of it.
        size: usize,
        /// What the kernel says.
        source: io::Error,
    },
    /// The power state cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The power state cannot be set.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What may be done to a device for its registers to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Nothing: it belongs to somebody else, or is only to be looked at. What it shows may be all ones, if it sleeps or
    /// that somebody has it so, and nothing is written: neither to its registers nor to the kernel's files about it.
    Look,
    /// It may be woken and told to answer.
    Full,
}

impl OpenError {
    /// What may help.
    pub fn hint(&self) -> Option<&'static str> {
        let (Self::Open { source, .. } | Self::Map { source, .. }) = self else { return None };
        match source.kind() {
            io::ErrorKind::PermissionDenied => {
                Some("this needs root, and a kernel that is not locked down (`/sys/kernel/security/lockdown`)")
            }
            // What the kernel says of a region that a driver has claimed, with `CONFIG_IO_STRICT_DEVMEM`.
            io::ErrorKind::InvalidInput => Some("a driver or a virtual machine may have claimed the registers"),
            _ => None,
        }
    }
}

/// The registers of a device of this machine.
///
/// With [`Access::Full`], while they are open the device is kept awake (`power/control` is `on`), because a sleeping device's registers read
/// as all ones; what was there is put back when they are closed. The device is also told to answer accesses to memory,
/// as it does not while it has no driver; that stays, since a driver may have come meanwhile that needs it.
#[derive(Debug)]
pub struct Bar0 {
    region: MmapRegion,
    access: Access,
    // Dropped after the mapping, since fields are dropped in order.
    _awake: Option<Awake>,
}

impl Bar0 {
    /// Maps the registers of the device whose folder in sysfs this is.
    pub fn open(machine: &Machine, folder: &str, access: Access) -> Result<Self, OpenError> {
        let awake = match access {
            Access::Look => None,
            Access::Full => {
                let awake = Awake::keep(machine, folder)?;
                answer_memory(&machine.path(&format!("{folder}/config")))?;
                Some(awake)
            }
        };
        let region = map(&machine.path(&format!("{folder}/resource0")), access)?;
        Ok(Self { region, access, _awake: awake })
    }

    fn cell(&self, offset: u32) -> Result<&AtomicU32, RegisterError> {
        let outside = || RegisterError::OutOfRange { offset, size: self.region.size() };
        let place = usize::try_from(offset).map_err(|_| outside())?;
        self.region.get_atomic_ref(place).map_err(|_| outside())
    }
}

impl Registers for Bar0 {
    fn read32(&self, offset: u32) -> Result<u32, RegisterError> {
        // One aligned 32-bit access each. Not `SeqCst`: a sequentially consistent store is an exchange on x86-64, which
        // reads the register as well, and some registers advance when they are read.
        Ok(self.cell(offset)?.load(Ordering::Acquire))
    }

    fn write32(&self, offset: u32, value: u32) -> Result<(), RegisterError> {
        let cell = self.cell(offset)?;
        if self.access == Access::Look {
            // The kernel would end the process: the mapping is for reading.
            return Err(RegisterError::ReadOnly { offset });
        }
        cell.store(value, Ordering::Release);
        Ok(())
    }
}

/// `PROT_READ`, `PROT_WRITE`, and `MAP_SHARED | MAP_NORESERVE` of mmap(2) on Linux for x86-64 and Arm.
const READ: i32 = 1;
const WRITE: i32 = 2;
const SHARED: i32 = 0x1 | 0x4000;

fn map(path: &Path, access: Access) -> Result<MmapRegion, OpenError> {
    let fail = |source| OpenError::Open { path: path.to_owned(), source };
    let writes = access == Access::Full;
    let file = OpenOptions::new().read(true).write(writes).open(path).map_err(fail)?;
    // Not beyond the file's end: an access there would end the process.
    let size = file.metadata().map_err(fail)?.len().min(MAX_MAPPED);
    let size = usize::try_from(size).unwrap_or(0);
    let rights = if writes { READ | WRITE } else { READ };
    MmapRegion::build(Some(FileOffset::new(file, 0)), size, rights, SHARED).map_err(|error| OpenError::Map {
        path: path.to_owned(),
        size,
        source: match error {
            MmapRegionError::Mmap(error) => error,
            other => io::Error::other(other.to_string()),
        },
    })
}

/// The command register in configuration space, and its bit for memory (PCI Local Bus Specification, 6.2.2).
const COMMAND: u64 = 4;
const COMMAND_MEMORY: u8 = 1 << 1;

fn answer_memory(config: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::Open { path: config.to_owned(), source };
    let file = OpenOptions::new().read(true).write(true).open(config).map_err(fail)?;
    let mut command = [0];
    file.read_exact_at(&mut command, COMMAND).map_err(fail)?;
    if command[0] & COMMAND_MEMORY != 0 {
        // Also where the device is gone and everything reads as ones.
        return Ok(());
    }
    file.write_all_at(&[command[0] | COMMAND_MEMORY], COMMAND).map_err(fail)
}

/// Keeps a device out of its power saving states.
#[derive(Debug)]
struct Awake {
    machine: Machine,
    file: String,
    before: Option<String>,
}

impl Awake {
    fn keep(machine: &Machine, folder: &str) -> Result<Self, OpenError> {
        let file = format!("{folder}/power/control");
        let before = machine.text(&file)?.filter(|text| text != "on");
        if before.is_some() {
            machine.write(&file, "on\n")?;
        }
        Ok(Self { machine: machine.clone(), file, before })
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nobody is left to be told, and a device that stays awake costs power and nothing else.
            let _ = self.machine.write(&self.file, &format!("{before}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FOLDER: &str = "/sys/bus/pci/devices/0000:41:00.0";

    fn device(size: usize, power: &str) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(&FOLDER[1..]);
        fs::create_dir_all(folder.join("power")).unwrap();
        fs::write(folder.join("power/control"), power).unwrap();
        fs::write(folder.join("config"), [0xde, 0x10, 0x30, 0x23, 0x04, 0x05, 0, 0]).unwrap();
        let mut bytes = vec![0; size];
        bytes[..4].copy_from_slice(&0x1800_00a1_u32.to_le_bytes());
        fs::write(folder.join("resource0"), bytes).unwrap();
        let machine = Machine::new(dir.path());
        (dir, machine)
    }

    #[test]
    fn registers_are_read_and_written_in_the_file_that_the_kernel_offers() {
        let (dir, machine) = device(8192, "on\n");
        let bar = Bar0::open(&machine, FOLDER, Access::Full).unwrap();
        assert_eq!(bar.read32(0), Ok(0x1800_00a1));
        bar.write32(0x1004, 0xcafe_f00d).unwrap();
        assert_eq!(bar.read32(0x1004), Ok(0xcafe_f00d));
        drop(bar);
        let bytes = fs::read(dir.path().join(&FOLDER[1..]).join("resource0")).unwrap();
        assert_eq!(bytes[0x1004..0x1008], 0xcafe_f00d_u32.to_le_bytes());
    }

    #[test]
    fn registers_beyond_the_region_or_between_two_are_refused() {
        let (_dir, machine) = device(8192, "on\n");
        let bar = Bar0::open(&machine, FOLDER, Access::Full).unwrap();
        for offset in [2, 8190, 8192, u32::MAX - 3, u32::MAX] {
            assert_eq!(bar.read32(offset), Err(RegisterError::OutOfRange { offset, size: 8192 }));
            assert_eq!(bar.write32(offset, 0), Err(RegisterError::OutOfRange { offset, size: 8192 }));
        }
    }

    #[test]
    fn a_device_is_awake_while_it_is_open_and_sleeps_again_afterwards() {
        let (_dir, machine) = device(8192, "auto\n");
        let control = || machine.text(&format!("{FOLDER}/power/control")).unwrap().unwrap();
        let bar = Bar0::open(&machine, FOLDER, Access::Full).unwrap();
        assert_eq!(control(), "on");
        drop(bar);
        assert_eq!(control(), "auto");
    }

    #[test]
    fn a_device_without_a_driver_is_told_to_answer() {
        let (dir, machine) = device(8192, "on\n");
        let config = dir.path().join(&FOLDER[1..]).join("config");
        drop(Bar0::open(&machine, FOLDER, Access::Full).unwrap());
        assert_eq!(fs::read(&config).unwrap(), [0xde, 0x10, 0x30, 0x23, 0x06, 0x05, 0, 0]);
        fs::write(&config, [0; 8]).unwrap();
        drop(Bar0::open(&machine, FOLDER, Access::Look).unwrap());
        assert_eq!(fs::read(&config).unwrap(), [0; 8]);
        fs::write(&config, [0xff; 2]).unwrap();
        assert!(
            matches!(Bar0::open(&machine, FOLDER, Access::Full), Err(OpenError::Open { path, .. }) if path == config)
        );
    }

    #[test]
    fn a_look_writes_nothing_anywhere() {
        let (dir, machine) = device(8192, "auto\n");
        let folder = dir.path().join(&FOLDER[1..]);
        let files = || ["power/control", "config", "resource0"].map(|name| fs::read(folder.join(name)).unwrap());
        let before = files();
        let bar = Bar0::open(&machine, FOLDER, Access::Look).unwrap();
        assert_eq!(bar.read32(0), Ok(0x1800_00a1));
        assert_eq!(bar.write32(0x1004, 1), Err(RegisterError::ReadOnly { offset: 0x1004 }));
        assert_eq!(bar.write32(8192, 1), Err(RegisterError::OutOfRange { offset: 8192, size: 8192 }));
        assert_eq!(files(), before);
        drop(bar);
        assert_eq!(files(), before);
    }

    #[test]
    fn a_device_without_registers_is_an_error_that_names_the_file() {
        let (dir, machine) = device(8192, "auto\n");
        let file = dir.path().join(&FOLDER[1..]).join("resource0");
        fs::write(&file, []).unwrap();
        assert!(matches!(Bar0::open(&machine, FOLDER, Access::Full), Err(OpenError::Map { size: 0, .. })));
        fs::remove_file(&file).unwrap();
        assert!(
            matches!(Bar0::open(&machine, FOLDER, Access::Full), Err(OpenError::Open { path, .. }) if path == file)
        );
        assert_eq!(machine.text(&format!("{FOLDER}/power/control")).unwrap().as_deref(), Some("auto"));
    }
}
