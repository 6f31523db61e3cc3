//! The guest as the check sees it: where its devices, buses and interfaces are, and how it is turned off.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

/// The guest.
///
/// The program that ships knows [`Machine::this`] alone. The other constructor makes a stand-in for tests; nothing that ships
/// calls it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where device nodes are.
    pub dev: PathBuf,
    /// Where buses are: `/sys/bus`.
    pub buses: PathBuf,
    /// The folder under which the kernel's interfaces to the TEE are.
    pub tee: PathBuf,
    /// The folder under which the agent's files are, once it runs.
    pub agent_root: PathBuf,
    /// Whether devices are block devices, file systems are to be mounted, and the guest can be turned off.
    pub real: bool,
    /// How long a device with initdata may take to appear.
    pub patience: Duration,
}

impl Machine {
    /// The guest that this process runs in; `agent` is the process that becomes the agent.
    pub fn this(agent: u32) -> Self {
        Self {
            dev: "/dev".into(),
            buses: "/sys/bus".into(),
            tee: "/".into(),
            agent_root: format!("/proc/{agent}/root").into(),
            real: true,
            patience: Duration::from_secs(10),
        }
    }

    /// A folder that stands in for all of it. Never in a program that ships.
    pub fn stand_in(root: &Path) -> Self {
        Self {
            dev: root.join("dev"),
            buses: root.join("sys/bus"),
            tee: root.to_owned(),
            agent_root: root.to_owned(),
            real: false,
            patience: Duration::from_millis(200),
        }
    }

    /// Makes sure that the kernel's interfaces can be read, in a mount namespace of this process' own, so that whoever comes
    /// after it finds nothing mounted twice.
    pub fn mount_interfaces(&self) -> std::io::Result<()> {
        if !self.real {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        for (kind, folder, sign) in [
            ("proc", "/proc", "/proc/self"),
            ("sysfs", "/sys", "/sys/bus"),
            ("devtmpfs", "/dev", "/dev/null"),
            ("configfs", "/sys/kernel/config", "/sys/kernel/config/tsm"),
        ] {
            // Configfs is not there where the kernel knows no reports; that is told apart later.
            let wanted = !Path::new(sign).exists() && Path::new(folder).is_dir();
            if wanted && let Err(error) = mount(kind, folder, kind, flags, None::<&std::ffi::CStr>) {
                let already = error == rustix::io::Errno::BUSY;
                if !already && kind != "configfs" {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Turns the guest off. Comes back only where that cannot be done: in tests.
    pub fn power_off(&self) {
        if self.real {
            // What was said is to reach the console before the power goes.
            rustix::fs::sync();
            std::thread::sleep(Duration::from_millis(300));
            let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
            let _ = rustix::system::reboot(rustix::system::RebootCommand::Restart);
        }
    }
}

/// Says something where somebody may look: on standard error and in the kernel's log, which goes to the console.
pub fn say(text: &str) {
    let line = format!("casemate-guest-check: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // Level 2 (critical) passes `quiet`.
        let _ = log.write_all(format!("<2>{line}").as_bytes());
    }
}
