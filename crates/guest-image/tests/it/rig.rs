//! A release of Kata's in miniature, made here: the layout of the real one, an ext4 root file system of `mke2fs`, real firmware tables.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use guest_image::disk;
use guest_image::verity::{self, Verity};

/// A partition's size, and where it begins.
const ROOT_BYTES: u64 = 24 << 20;
const START: u64 = 1 << 20;

/// A program for x86-64 that needs no libraries and does nothing: an ELF head without segments, and some text.
pub(crate) fn program(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    bytes.resize(16, 0);
    bytes.extend_from_slice(&[2, 0, 62, 0]);
    bytes.resize(64, 0);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// The release.
pub(crate) struct Kata {
    folder: tempfile::TempDir,
    /// Entries of the archive: name, mode, content or a link's target.
    pub(crate) entries: Vec<(String, Content)>,
    /// The parameters of its image.
    pub(crate) verity: Verity,
}

#[derive(Clone)]
pub(crate) enum Content {
    File(u32, Vec<u8>),
    Link(String),
    Hard(String),
}

/// What is in the root file system, for those who need more than the usual.
pub(crate) type Fill<'a> = &'a dyn Fn(&Path);

impl Kata {
    /// The usual one; `None`, said aloud, where `mke2fs` is missing. It is made once and copied for each test.
    pub(crate) fn new() -> Option<Self> {
        static USUAL: LazyLock<Option<(Kata, Vec<u8>)>> = LazyLock::new(|| {
            let kata = Kata::with(&|_| {})?;
            let disk = fs::read(kata.folder().join("disk")).unwrap();
            Some((kata, disk))
        });
        let (usual, disk) = USUAL.as_ref()?;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("disk"), disk).unwrap();
        Some(Self { folder, entries: usual.entries.clone(), verity: usual.verity.clone() })
    }

    pub(crate) fn with(fill: Fill<'_>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        usual(&root);
        fill(&root);
        let (image, verity) = image(folder.path(), &root)?;
        let mut kata = Self { folder, entries: Vec::new(), verity };
        let share = "opt/kata/share/kata-containers";
        let file = |bytes: &[u8]| Content::File(0o644, bytes.to_vec());
        let run = |bytes: &[u8]| Content::File(0o755, bytes.to_vec());
        let mut add = |name: &str, content: Content| kata.entries.push((name.to_owned(), content));
        add("opt/kata/bin/containerd-shim-kata-v2", run(&program("shim")));
        add("opt/kata/bin/qemu-system-x86_64-snp-experimental", run(&program("qemu")));
        add("opt/kata/bin/cloud-hypervisor", run(&program("nobody needs this")));
        add("opt/kata/libexec/virtiofsd", run(&program("virtiofsd")));
        add("opt/kata/share/kata-qemu-snp-experimental/qemu/bios.bin", file(b"bios"));
        add("opt/kata/share/ovmf/AMDSEV.fd", file(&firmware()));
        add("opt/kata/share/ovmf/OVMF.inteltdx.fd", file(&firmware()));
        add(&format!("{share}/vmlinuz-6.18-confidential"), file(b"a kernel"));
        add(&format!("{share}/vmlinuz-confidential.container"), Content::Link("vmlinuz-6.18-confidential".to_owned()));
        add(&format!("{share}/kata-ubuntu-resolute-confidential.image"), file(&image));
        let link = Content::Link("kata-ubuntu-resolute-confidential.image".to_owned());
        add(&format!("{share}/kata-containers-confidential.img"), link);
        add(&format!("{share}/kata-containers.img"), file(b"another image, which nobody asks for"));
        let params = kata.verity.params();
        for (class, firmware, snp) in [("snp", "AMDSEV.fd", "sev_snp_guest = true\n"), ("tdx", "OVMF.inteltdx.fd", "")]
        {
            let name = format!("opt/kata/share/defaults/kata-containers/configuration-qemu-{class}.toml");
            let text = configuration(firmware, snp, &params);
            kata.entries.push((name, Content::File(0o644, text.into_bytes())));
        }
        Some(kata)
    }

    /// The archive.
    pub(crate) fn tar(&self, mtime: u64, order: impl Fn(&mut Vec<(String, Content)>)) -> Vec<u8> {
        let mut entries = self.entries.clone();
        order(&mut entries);
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in &entries {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(mtime);
            match content {
                Content::File(mode, bytes) => {
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, format!("./{name}"), bytes.as_slice()).unwrap();
                }
                Content::Link(target) | Content::Hard(target) => {
                    let soft = matches!(content, Content::Link(_));
                    header.set_entry_type(if soft { tar::EntryType::Symlink } else { tar::EntryType::Link });
                    header.set_size(0);
                    builder.append_link(&mut header, format!("./{name}"), target).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    }

    /// The archive as a file with a release's name.
    pub(crate) fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("kata-static-4.1.0-amd64.tar.zst");
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Changes one entry's bytes.
    pub(crate) fn change(&mut self, ending: &str, change: impl Fn(&mut Vec<u8>)) {
        let entry = self.entries.iter_mut().find(|(name, _)| name.ends_with(ending)).unwrap();
        let Content::File(_, bytes) = &mut entry.1 else { panic!("{ending} is no file") };
        change(bytes);
    }
}

fn configuration(firmware: &str, snp: &str, params: &str) -> String {
    format!(
        "# Kata's own words\n[hypervisor.qemu]\npath = \"/opt/kata/bin/qemu-system-x86_64-snp-experimental\"\n\
         kernel = \"/opt/kata/share/kata-containers/vmlinuz-confidential.container\"\n\
         image = \"/opt/kata/share/kata-containers/kata-containers-confidential.img\"\nrootfs_type = \"ext4\"\n\
         confidential_guest = true\n{snp}kernel_params = \"\"\nkernel_verity_params = \"{params}\"\n\
         firmware = \"/opt/kata/share/ovmf/{firmware}\"\nvirtio_fs_daemon = \"/opt/kata/libexec/virtiofsd\"\n\
         disable_guest_selinux = true\n\n[agent.kata]\nlaunch_process_timeout = 6\n\n[runtime]\nsandbox_cgroup_only = true\n"
    )
}

/// A root file system with systemd, the agent, its unit and a policy that allows everything.
fn usual(root: &Path) {
    let put = |path: &str, bytes: &[u8], mode: u32| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("usr/bin/kata-agent", &program("the agent"), 0o755);
    put("usr/lib/systemd/systemd", &program("systemd"), 0o755);
    put("usr/lib/systemd/system/kata-agent.service", UNIT.as_bytes(), 0o644);
    put("etc/kata-opa/allow-all.rego", b"package agent_policy\ndefault CreateContainerRequest := true\n", 0o644);
    put("usr/bin/su", &program("set user id"), 0o4755);
    put("var/large", &vec![7; 3_000_000], 0o600);
    put("var/empty", b"", 0o644);
    let mut long = "x".repeat(70);
    long.push_str("/target/of/a/link/that/lies/in/a/block");
    symlink(long, root.join("var/long-link")).unwrap();
    symlink("allow-all.rego", root.join("etc/kata-opa/default-policy.rego")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("usr/lib", root.join("lib")).unwrap();
    fs::create_dir_all(root.join("usr/sbin")).unwrap();
    symlink("usr/sbin", root.join("sbin")).unwrap();
    symlink("../lib/systemd/systemd", root.join("usr/sbin/init")).unwrap();
    fs::hard_link(root.join("var/large"), root.join("var/large-again")).unwrap();
    for folder in ["dev", "proc", "sys", "run", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    // A folder of many names, which has an index.
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..600 {
        fs::write(root.join(format!("many/a-name-of-some-length-{number}")), number.to_string()).unwrap();
    }
    // Sparse: a hole, then a block.
    let sparse = fs::File::create(root.join("var/sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 1 << 20).unwrap();
}

pub(crate) const UNIT: &str = "[Unit]\nDescription=Kata Containers Agent\n\n[Service]\nType=simple\nExecStart=/usr/bin/kata-agent\n\
    ExecStop=/bin/sync ; /usr/bin/systemctl --force poweroff\nFailureAction=poweroff\n";

/// A disk with the folder as ext4 in its first partition and the hash tree in its second, as Kata's builder makes it.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn image(folder: &Path, root: &Path) -> Option<(Vec<u8>, Verity)> {
    let file = folder.join("ext4");
    fs::File::create(&file).unwrap().set_len(ROOT_BYTES).unwrap();
    let made = ["mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"].iter().find_map(|program| {
        let mut command = Command::new(program);
        command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"]).arg(root).arg(&file).output().ok()
    });
    let Some(made) = made else {
        println!("SKIPPED: there is no `mke2fs` (Debian: e2fsprogs)");
        return None;
    };
    assert!(made.status.success(), "{made:?}");
    let data = fs::read(&file).unwrap();
    let blocks = ROOT_BYTES / verity::BLOCK as u64;
    let target = folder.join("disk");
    let disk = fs::File::create(&target).unwrap();
    let probe = Verity { root: [0; 32], salt: vec![3; 32], blocks };
    let (parts, bytes) = disk::layout(ROOT_BYTES, probe.tree_bytes()).unwrap();
    assert_eq!(parts[0].start, START);
    disk.set_len(bytes).unwrap();
    let write = |bytes: &[u8], at| std::os::unix::fs::FileExt::write_all_at(&disk, bytes, at).unwrap();
    write(&disk::record(&parts).unwrap(), 0);
    write(&data, START);
    let mut sink = verity::Into { file: &disk, offset: parts[1].start };
    let verity = verity::build(&data, blocks, &probe.salt, &mut sink).unwrap();
    Some((fs::read(&target).unwrap(), verity))
}

/// Firmware with SEV's tables and TDX's.
pub(crate) fn firmware() -> Vec<u8> {
    use testkit::ovmf::{Entry, Ovmf};
    // e47a6535-984a-4798-865e-4685a7bf8ec2, and where the metadata are from the end.
    let guid = [0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2];
    let at = 0x100;
    let length = Ovmf::default().build().len();
    let from_end = u32::try_from(length - at).unwrap().to_le_bytes().to_vec();
    let mut image = Ovmf { extra: vec![Entry { guid, data: from_end, length: None }], ..Ovmf::default() }.build();
    assert_eq!(image.len(), length);
    let mut metadata = b"TDVF".to_vec();
    for word in [48_u32, 1, 1, 0, 4096] {
        metadata.extend_from_slice(&word.to_le_bytes());
    }
    for wide in [0xffff_f000_u64, 4096] {
        metadata.extend_from_slice(&wide.to_le_bytes());
    }
    for word in [0_u32, 1] {
        metadata.extend_from_slice(&word.to_le_bytes());
    }
    image[at..at + metadata.len()].copy_from_slice(&metadata);
    image
}

/// Who makes the files of a test, and so owns them.
pub(crate) fn me(folder: &Path) -> (u32, u32) {
    let made = fs::metadata(folder).unwrap();
    (made.uid(), made.gid())
}
