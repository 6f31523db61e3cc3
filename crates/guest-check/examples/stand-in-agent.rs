//! What stands in for Kata's agent, and for the initrd before it, where a repacked image is booted in a test.
//!
//! As the first process of an initrd (`/init`) it loads modules, opens the image's dm-verity where `veritysetup` is there, mounts the
//! root file system and goes over to it. As the agent it does what Kata's does with initdata: it takes the first disk that
//! begins with the magic, writes the document down, and says what it sees.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use guest_check::initdata::{Document, MAGIC};
use guest_check::machine::{Machine, say};
use rustix::mount::{MountFlags, mount, mount_move};

fn main() -> ExitCode {
    let first = std::env::args_os().next().unwrap_or_default();
    let done = if first == "/init" { initrd() } else { agent() };
    if let Err(error) = done {
        say(&format!("STAND-IN FAILED: {error}"));
    }
    Machine::this(1).power_off();
    ExitCode::FAILURE
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn folder(kind: &str, path: &str) -> Outcome {
    fs::create_dir_all(path)?;
    mount(kind, path, kind, MountFlags::empty(), None::<&std::ffi::CStr>)?;
    Ok(())
}

fn initrd() -> Outcome {
    for (kind, path) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        folder(kind, path)?;
    }
    // Modules need one another; what could not be loaded yet can be loaded once others are.
    let mut left: Vec<_> = fs::read_dir("/modules")?.flatten().map(|entry| entry.path()).collect();
    for _ in 0..8 {
        left.retain(|module| match fs::File::open(module) {
            Ok(file) => rustix::system::finit_module(file, c"", 0).is_err(),
            Err(_) => false,
        });
    }
    for _ in 0..200 {
        if Path::new("/dev/vda2").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut root = "/dev/vda1";
    if let Ok(arguments) = fs::read_to_string("/verity") {
        fs::create_dir_all("/run")?;
        let status = Command::new("/sbin/veritysetup").args(arguments.split_whitespace()).status()?;
        if !status.success() {
            return Err(format!("veritysetup: {status}").into());
        }
        root = "/dev/dm-0";
        say("STAND-IN: the root file system is under dm-verity");
    }
    fs::create_dir_all("/new")?;
    mount(root, "/new", "erofs", MountFlags::RDONLY, None::<&std::ffi::CStr>)?;
    folder("tmpfs", "/new/run")?;
    if Path::new("/casemate-stand-in").exists() {
        // The stand-in for the hardware is not of the image: the test puts it beside.
        folder("tmpfs", "/new/casemate-stand-in")?;
        copy(Path::new("/casemate-stand-in"), Path::new("/new/casemate-stand-in"))?;
    }
    mount_move("/dev", "/new/dev")?;
    std::env::set_current_dir("/new")?;
    mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    std::env::set_current_dir("/")?;
    Err(Command::new("/sbin/init").args(["an", "argument"]).exec().into())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    for entry in fs::read_dir(from)?.flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn disks() -> Result<Vec<String>, std::io::Error> {
    let mut names: Vec<String> = fs::read_dir("/dev")?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_block_device()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("vd"))
        .collect();
    names.sort();
    Ok(names)
}

fn agent() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    say(&format!("STAND-IN AGENT: process {} started with {arguments:?}, sees {:?}", std::process::id(), disks()?));
    for (kind, path) in [("proc", "/proc"), ("sysfs", "/sys")] {
        // Nothing may be mounted there already: Kata's agent mounts them itself where it is the first process.
        mount(kind, path, kind, MountFlags::empty(), None::<&std::ffi::CStr>)?;
    }
    for name in disks()? {
        let mut device = Vec::new();
        fs::File::open(Path::new("/dev").join(&name))?.take(1 << 20).read_to_end(&mut device)?;
        if !device.starts_with(&MAGIC) {
            continue;
        }
        let document = Document::read(&device)?;
        let taken = Path::new("/").join(guest_check::hold::TAKEN);
        fs::create_dir_all(taken.parent().ok_or("no folder")?)?;
        fs::write(&taken, document.bytes())?;
        let digest = document.field::<32>().map(|byte| format!("{byte:02x}")).concat();
        say(&format!("STAND-IN AGENT: took {name}, sha256 {digest}"));
        for _ in 0..100 {
            if disks()?.len() > 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        say(&format!("STAND-IN AGENT: then sees {:?}", disks()?));
        return Ok(());
    }
    Err("no disk with initdata".into())
}
