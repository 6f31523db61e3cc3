//! A repacked image, booted under QEMU without a TEE: with the program that ships it refuses, and with a stand-in for the
//! hardware it starts the agent.
//!
//! Wants `qemu-system-x86_64`, `mke2fs` and a kernel of Debian's with its modules: that of the machine, or the folder in
//! `CASEMATE_GUEST_KERNEL` into which the package was unpacked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guest_image::image::{self, Image};
use guest_image::rootfs::{MARK, StartUpCheck};
use guest_image::verity::Verity;
use sha2::{Digest as _, Sha256};

use super::TEXT;

/// What the guest's kernel needs for the disks, the file system and dm-verity; what is built in is not there.
const MODULES: [&str; 14] = [
    "virtio.ko",
    "virtio_ring.ko",
    "virtio_pci.ko",
    "virtio_pci_modern_dev.ko",
    "virtio_pci_legacy_dev.ko",
    "virtio_blk.ko",
    "crc32c_generic.ko",
    "libcrc32c.ko",
    "erofs.ko",
    "reed_solomon.ko",
    "dm-mod.ko",
    "dm-bufio.ko",
    "dm-verity.ko",
    "sha256-ssse3.ko",
];
/// LIMIT: a guest under TCG comes up in 5 seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(180);

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn skip(why: &str) -> Option<()> {
    println!("SKIPPED: {why}");
    None
}

/// A kernel and the folder of its modules.
fn kernel() -> Option<(PathBuf, PathBuf)> {
    let root = std::env::var_os("CASEMATE_GUEST_KERNEL").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let mut found: Vec<PathBuf> = fs::read_dir(root.join("boot")).ok()?.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().rev().find_map(|kernel| {
        let version = kernel.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        let modules = root.join("lib/modules").join(version).join("kernel");
        modules.is_dir().then_some((kernel, modules))
    })
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { (entry.file_name() == name).then_some(path) }
    })
}

/// An archive as the kernel takes it for an initrd (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).
#[derive(Default)]
struct Initrd(Vec<u8>);

impl Initrd {
    fn add(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        let name = format!("{path}\0");
        let size = |bytes: usize| u32::try_from(bytes).unwrap();
        let fields = [1, mode, 0, 0, 1, 0, size(bytes.len()), 0, 0, 0, 0, size(name.len()), 0];
        let fields = fields.map(|field| format!("{field:08x}"));
        self.0.extend_from_slice(format!("070701{}", fields.concat()).as_bytes());
        self.0.extend_from_slice(name.as_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// A file with the folders above it.
    fn file(&mut self, path: &str, bytes: &[u8]) {
        for (at, _) in path.match_indices('/') {
            self.add(&path[..at], 0o040_755, &[]);
        }
        self.add(path, 0o100_755, bytes);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.0
    }
}

/// Everything that a boot needs.
struct Rig {
    folder: tempfile::TempDir,
    kernel: PathBuf,
    modules: Vec<(String, Vec<u8>)>,
    agent: Vec<u8>,
    examples: PathBuf,
}

impl Rig {
    fn new() -> Option<Self> {
        if Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status().is_err() {
            skip("there is no `qemu-system-x86_64` (Debian: qemu-system-x86)")?;
        }
        let Some((kernel, modules)) = kernel() else {
            skip("there is no kernel with modules; `CASEMATE_GUEST_KERNEL` names a folder with an unpacked package")?;
            return None;
        };
        let me = std::env::current_exe().unwrap();
        let examples = me.ancestors().nth(2).unwrap().join("examples");
        let Ok(agent) = fs::read(examples.join("stand-in-agent")) else {
            skip("the stand-in agent is not built; `cargo test -p guest-check` builds it")?;
            return None;
        };
        let read = |name: &&str| find(&modules, name).map(|path| ((*name).to_owned(), fs::read(path).unwrap()));
        let modules = MODULES.iter().filter_map(read).collect();
        Some(Self { folder: tempfile::tempdir().unwrap(), kernel, modules, agent, examples })
    }

    /// An image with the agent as its first process, repacked around this check.
    fn image(&self, check: Vec<u8>) -> Option<(PathBuf, Verity)> {
        let root = self.folder.path().join("root");
        for folder in ["usr/bin", "sbin", "dev", "proc", "sys", "run", "etc/kata-opa", "casemate-stand-in"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("sbin/init"), &self.agent).unwrap();
        fs::set_permissions(root.join("sbin/init"), fs::Permissions::from_mode(0o755)).unwrap();
        let ext4 = self.folder.path().join("ext4");
        fs::File::create(&ext4).unwrap().set_len(96 << 20).unwrap();
        let mut make = Command::new("/sbin/mke2fs");
        make.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"]).arg(&root).arg(&ext4);
        let Ok(made) = make.output() else {
            skip("there is no `mke2fs` (Debian: e2fsprogs)")?;
            return None;
        };
        assert!(made.status.success(), "{made:?}");
        // A disk with one partition.
        let (parts, bytes) = guest_image::disk::layout(96 << 20, 4096).unwrap();
        let disk = self.folder.path().join("disk");
        let file = fs::File::create(&disk).unwrap();
        file.set_len(bytes).unwrap();
        let write = |bytes: &[u8], at| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
        write(&guest_image::disk::record(&parts).unwrap(), 0);
        write(&fs::read(&ext4).unwrap(), parts[0].start);
        let target = self.folder.path().join("guest.img");
        let check = StartUpCheck::new(check).unwrap();
        let written = image::repack(&Image::open(&disk).unwrap(), None, &check, &target).unwrap();
        Some((target, written.verity))
    }

    /// Boots, and gives what the console said.
    fn boot(&self, image: &Path, verity: &Verity, initdata: Option<&[u8]>, field: Option<&[u8]>) -> String {
        let mut initrd = Initrd::default();
        initrd.file("init", &self.agent);
        for (name, bytes) in &self.modules {
            initrd.file(&format!("modules/{name}"), bytes);
        }
        if let Some(field) = field {
            initrd.file("casemate-stand-in/sys/devices/virtual/misc/tdx_guest/measurements/mrconfigid", field);
        }
        with_veritysetup(&mut initrd, verity);
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("initrd"), initrd.finish()).unwrap();
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-machine",
            "q35,accel=tcg",
            "-cpu",
            "max",
            "-m",
            "512",
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
        ]);
        qemu.args(["-display", "none", "-append", "console=ttyS0 panic=-1 quiet"]);
        qemu.arg("-serial").arg(format!("file:{}", path("console").display()));
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(path("initrd"));
        let drive = |file: &Path| format!("if=virtio,format=raw,readonly=on,file={}", file.display());
        qemu.args(["-drive", &drive(image)]);
        if let Some(bytes) = initdata {
            fs::write(path("initdata"), bytes).unwrap();
            qemu.args(["-drive", &drive(&path("initdata"))]);
        }
        let mut child = qemu.stdin(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        String::from_utf8_lossy(&fs::read(path("console")).unwrap()).into_owned()
    }
}

/// Puts `veritysetup` and its libraries into the initrd, where the machine has it: the kernel then checks every block.
fn with_veritysetup(initrd: &mut Initrd, verity: &Verity) {
    let program = Path::new("/usr/sbin/veritysetup");
    let Ok(list) = Command::new("ldd").arg(program).output() else { return };
    if !program.is_file() || !list.status.success() {
        return;
    }
    initrd.file("sbin/veritysetup", &fs::read(program).unwrap());
    for word in String::from_utf8_lossy(&list.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        initrd.file(word.trim_start_matches('/'), &fs::read(word).unwrap());
    }
    let arguments = format!(
        "open /dev/vda1 root /dev/vda2 {} --no-superblock --salt={} --data-blocks={} --hash-block-size=4096 --data-block-size=4096",
        hex::encode(verity.root),
        hex::encode(&verity.salt),
        verity.blocks
    );
    initrd.file("verity", arguments.as_bytes());
}

fn field(text: &str) -> Vec<u8> {
    let mut field = Sha256::digest(text).to_vec();
    field.resize(48, 0);
    field
}

#[test]
fn the_guest_that_ships_refuses_aloud_without_a_tee_and_a_stand_in_starts_the_agent() {
    let Some(rig) = Rig::new() else { return };
    let ships = fs::read(env!("CARGO_BIN_EXE_casemate-guest-check")).unwrap();
    let initdata = guest_check::initdata::device(TEXT.as_bytes());
    let Some((image, verity)) = rig.image(ships) else { return };
    let said = rig.boot(&image, &verity, Some(&initdata), Some(&field(TEXT)));
    assert!(said.contains("REFUSED: ") && said.contains("runs in no TEE"), "{said}");
    assert!(!said.contains("STAND-IN AGENT"), "{said}");
    let said = rig.boot(&image, &verity, None, None);
    assert!(said.contains("REFUSED: ") && said.contains("no disk with initdata"), "{said}");
    fs::remove_file(&image).unwrap();

    // The stand-in says no more than the program that ships would have to: its mark is added here.
    let Ok(mut stand_in) = fs::read(rig.examples.join("stand-in-check")) else { return };
    stand_in.extend_from_slice(MARK.as_bytes());
    let Some((image, verity)) = rig.image(stand_in) else { return };
    let said = rig.boot(&image, &verity, Some(&initdata), Some(&field("another document")));
    assert!(said.contains("REFUSED: ") && said.contains("and the hardware reports MRCONFIGID"), "{said}");
    assert!(!said.contains("STAND-IN AGENT"), "{said}");
    let said = rig.boot(&image, &verity, Some(&initdata), Some(&field(TEXT)));
    assert!(said.contains("STAND-IN AGENT: process 1 started with [\"an\", \"argument\"], sees [\"vdb\"]"), "{said}");
    assert!(said.contains(&format!("took vdb, sha256 {}", hex::encode(Sha256::digest(TEXT)))), "{said}");
    assert!(said.contains("then sees [\"vda\", \"vda1\", \"vda2\", \"vdb\"]"), "{said}");
    let checked = said.contains("the root file system is under dm-verity");
    assert_eq!(checked, Path::new("/usr/sbin/veritysetup").is_file(), "{said}");
}

#[test]
fn the_two_crates_speak_of_the_same_places() {
    assert_eq!(guest_check::AGENT, guest_image::rootfs::AGENT);
    assert_eq!(guest_check::MARK, MARK);
    assert!(StartUpCheck::new(fs::read(env!("CARGO_BIN_EXE_casemate-guest-check")).unwrap()).is_ok());
}
