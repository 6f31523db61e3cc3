//! Repacking a release that was made here.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

use guest_image::image::{self, Image};
use guest_image::repack::{RepackError, Report, Wishes, difference, repack};
use guest_image::rootfs::{self, CheckError, StartUpCheck};
use guest_image::source::ReadAt;
use guest_image::tree::{Kind, Tree};
use guest_image::values::Measured;
use guest_image::verity::Verity;
use protocol::manifest::ReferenceValues;
use protocol::reference::{AmdProduct, Machines, SnpReferenceValues, TcbVersion};
use verifier::snp::launch::{Firmware, KernelHashes, Launch, Machine, VcpuType};

use rig::{Content, Kata, program};

fn check() -> StartUpCheck {
    StartUpCheck::new(program(rootfs::MARK)).unwrap()
}

fn machine() -> Machine {
    Machine::qemu(VcpuType::from_name("EPYC-v4").unwrap())
}

fn wishes() -> Wishes {
    Wishes {
        classes: Vec::new(),
        release: None,
        vcpus: (1, 4),
        machine: machine(),
        kernel_params: Vec::new(),
        values: None,
        snapshotter: Some("nydus".to_owned()),
    }
}

fn run(archive: &Path, wishes: &Wishes, output: &Path) -> Result<Report, RepackError> {
    repack(archive, &check(), wishes, output, &mut |_| {})
}

const IMAGE: &str = "files/share/kata-containers/kata-ubuntu-resolute-confidential-casemate.img";

/// Every path of a tree with what is there, contents as digests.
fn listing(tree: &Tree, image: &dyn ReadAt) -> Vec<String> {
    let links: std::collections::BTreeMap<_, _> = tree.walk().into_iter().collect();
    let mut lines = Vec::new();
    let mut waiting = vec![(String::new(), Tree::ROOT)];
    while let Some((path, id)) = waiting.pop() {
        let node = tree.node(id).unwrap();
        let kind = match &node.kind {
            Kind::Folder(_) => "folder".to_owned(),
            Kind::File(content) => {
                let bytes = content.read(image, 1 << 30).unwrap().unwrap();
                format!(
                    "{} {}",
                    bytes.len(),
                    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes))
                )
            }
            other => format!("{other:?}"),
        };
        lines.push(format!("{path} {:o} {}:{} {} {kind}", node.mode, node.uid, node.gid, links[&id]));
        waiting
            .extend(tree.entries(id).map(|(name, inner)| (format!("{path}/{}", String::from_utf8_lossy(name)), inner)));
    }
    lines.sort();
    lines
}

#[test]
fn a_release_becomes_a_folder_that_nodes_install() {
    let Some(kata) = Kata::new() else { return };
    let archive = kata.write(&kata.tar(1, |_| {}));
    let output = kata.folder().join("made");
    let report = run(&archive, &wishes(), &output).unwrap();
    assert!(report.release.starts_with("4.1.0-casemate-"), "{}", report.release);

    // The image: what its parameters say, guarded, the agent the same.
    let verity = Verity::parse(&fs::read_to_string(output.join(format!("{IMAGE}.root-hash.txt"))).unwrap()).unwrap();
    let found = image::inspect(&output.join(IMAGE), Some(&verity)).unwrap();
    let agent = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &program("the agent")));
    assert!(found.rootfs.is_guarded());
    assert_eq!(found.rootfs.agent_sha256, agent);
    let compared = found.verity.unwrap();
    assert!(compared.matches && compared.damaged_hash_blocks == 0);

    // The configuration, as the node's installer will find it.
    let config = output.join("files/share/defaults/kata-containers/configuration-qemu-snp.toml");
    let config = guest_image::config::Config::parse("configuration-qemu-snp.toml", &fs::read(config).unwrap()).unwrap();
    assert_eq!(config.verity.as_ref(), Some(&verity));
    assert_eq!(format!("/opt/kata/{}", IMAGE.strip_prefix("files/").unwrap()), config.image);
    assert_eq!(config.kernel_params, "agent.guest_components_rest_api=attestation");

    // The bundle: the node agent reads it, every file has its digest, and there is what is needed and nothing else.
    node::runtime::bundle::Bundle::parse(&fs::read_to_string(output.join("bundle.toml")).unwrap()).unwrap();
    let bundle: toml::Table = toml::from_str(&fs::read_to_string(output.join("bundle.toml")).unwrap()).unwrap();
    assert_eq!(bundle["release"].as_str(), Some(report.release.as_str()));
    let mut paths = Vec::new();
    for file in bundle["file"].as_array().unwrap() {
        let source = file["source"]["file"].as_str().unwrap();
        assert_eq!(image::sha256(&output.join(source)).unwrap(), file["sha256"].as_str().unwrap(), "{source}");
        paths.push(file["path"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        paths,
        [
            "bin/containerd-shim-kata-v2",
            "bin/qemu-system-x86_64-snp-experimental",
            "libexec/virtiofsd",
            "share/defaults/kata-containers/configuration-qemu-snp.toml",
            "share/defaults/kata-containers/configuration-qemu-tdx.toml",
            "share/kata-containers/kata-ubuntu-resolute-confidential-casemate.img",
            "share/kata-containers/vmlinuz-confidential.container",
            "share/kata-qemu-snp-experimental/qemu/bios.bin",
            "share/ovmf/AMDSEV.fd",
            "share/ovmf/OVMF.inteltdx.fd",
        ]
    );
    let classes: Vec<_> =
        bundle["class"].as_array().unwrap().iter().map(|class| class["name"].as_str().unwrap()).collect();
    assert_eq!(classes, ["kata-qemu-snp", "kata-qemu-tdx"]);

    // What guests measure, by the Verifier's own computation over the same files.
    let firmware = rig::firmware();
    let [snp, tdx] = report.classes.as_slice() else { panic!("{report:?}") };
    let hashes = KernelHashes::of(b"a kernel", b"", snp.command_line.as_bytes());
    let launch = Launch::measure(&Firmware::parse(&firmware).unwrap(), Some(&hashes), &machine()).unwrap();
    let Measured::Snp { launch_digests } = &snp.measured else { panic!("{snp:?}") };
    assert_eq!(launch_digests.len(), 4);
    for digest in launch_digests {
        assert_eq!(digest.measurement, launch.digest(digest.vcpus).unwrap());
    }
    assert!(snp.command_line.contains(&hex::encode(verity.root)) && snp.command_line.contains("rootfstype=erofs"));
    let Measured::Tdx { mrtd, rtmr2, .. } = &tdx.measured else { panic!("{tdx:?}") };
    assert_eq!(*mrtd, guest_image::tdx::mrtd(&firmware).unwrap());
    assert_eq!(*rtmr2, guest_image::tdx::rtmr2(&tdx.command_line));
    assert_eq!(fs::read_dir(kata.folder()).unwrap().filter(is_hidden).count(), 0, "nothing is left behind");
}

fn is_hidden(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')
}

#[test]
fn every_file_is_carried_over_and_three_are_changed() {
    let Some(kata) = Kata::new() else { return };
    let archive = kata.write(&kata.tar(1, |_| {}));
    let output = kata.folder().join("made");
    run(&archive, &wishes(), &output).unwrap();
    let original = kata.folder().join("disk");
    let (old, new) = (Image::open(&original).unwrap(), Image::open(&output.join(IMAGE)).unwrap());
    assert_eq!((old.file_system().unwrap(), new.file_system().unwrap()), ("ext4", "erofs"));
    let (old, new) = (listing(&old.tree().unwrap(), old.root()), listing(&new.tree().unwrap(), new.root()));
    let gone: Vec<&String> = old.iter().filter(|line| !new.contains(line)).collect();
    let come: Vec<&String> = new.iter().filter(|line| !old.contains(line)).collect();
    let paths =
        |lines: &[&String]| lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(&gone), ["/etc/kata-opa/default-policy.rego", "/usr", "/usr/bin/kata-agent"]);
    assert_eq!(
        paths(&come),
        [
            "/etc/kata-opa/default-policy.rego",
            "/usr",
            "/usr/bin/kata-agent",
            "/usr/libexec",
            "/usr/libexec/casemate",
            "/usr/libexec/casemate/kata-agent"
        ]
    );
    let (uid, gid) = rig::me(kata.folder());
    let expected = format!("/usr/bin/su 4755 {uid}:{gid} 1 ");
    assert!(new.iter().any(|line| line.starts_with(&expected)), "{expected}");
    assert!(new.iter().any(|line| line.starts_with(&format!("/var/large-again 600 {uid}:{gid} 2 3000000 "))));
    assert!(new.iter().any(|line| line.starts_with("/tmp 1777 ")));
    assert_eq!(new.iter().filter(|line| line.starts_with("/many/")).count(), 600);
    assert!(new.iter().any(|line| line.starts_with("/var/sparse ") && line.contains(" 1048579 ")));
}

#[test]
fn the_same_files_give_the_same_bytes_whatever_the_archive_looks_like() {
    let Some(kata) = Kata::new() else { return };
    let one = kata.folder().join("one");
    let archive = kata.write(&kata.tar(1, |_| {}));
    let first = run(&archive, &wishes(), &one).unwrap();
    let shuffled = kata.tar(1_700_000_000, |entries| entries.reverse());
    let packed = ruzstd::encoding::compress_to_vec(shuffled.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    assert!(packed.len() < shuffled.len());
    let archive = kata.write(&packed);
    let two = kata.folder().join("two");
    let second = run(&archive, &wishes(), &two).unwrap();
    assert_eq!(first, second);
    assert_eq!(difference(&one, &two).unwrap(), None);
    fs::write(two.join("measurements.json"), "{}").unwrap();
    assert_eq!(difference(&one, &two).unwrap().as_deref(), Some("measurements.json"));
    // Another check is another image, another root, other digests and another release.
    let other = StartUpCheck::new(program(&format!("{} or another build of it", rootfs::MARK))).unwrap();
    let third = repack(&archive, &other, &wishes(), &kata.folder().join("three"), &mut |_| {}).unwrap();
    assert_ne!(third.release, first.release);
    assert_ne!(third.classes[0].measured, first.classes[0].measured);
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn xz_is_read_too() {
    let Some(kata) = Kata::new() else { return };
    let tar = kata.folder().join("plain.tar");
    fs::write(&tar, kata.tar(1, |_| {})).unwrap();
    let Ok(packed) = std::process::Command::new("xz").args(["-0", "--stdout"]).arg(&tar).output() else {
        println!("SKIPPED: there is no `xz` (Debian: xz-utils)");
        return;
    };
    let archive = kata.write(&packed.stdout);
    assert!(run(&archive, &wishes(), &kata.folder().join("made")).is_ok());
    let half = kata.write(&packed.stdout[..packed.stdout.len() / 2]);
    assert!(run(&half, &wishes(), &kata.folder().join("half")).is_err());
}

#[test]
fn a_machines_values_are_completed() {
    let Some(kata) = Kata::new() else { return };
    let archive = kata.write(&kata.tar(1, |_| {}));
    let floor = TcbVersion { fmc: None, bootloader: 4, tee: 0, snp: 22, microcode: 213 };
    let entry = SnpReferenceValues::new("node-7", AmdProduct::Milan, Vec::new(), Machines::Any, floor);
    let values = ReferenceValues { snp: vec![entry], ..ReferenceValues::default() };
    let with = Wishes { values: Some(values), ..wishes() };
    let output = kata.folder().join("made");
    let report = run(&archive, &with, &output).unwrap();
    assert_eq!(report.classes[1].reference_values, None, "the machine is no TDX machine");
    let file = output.join(report.classes[0].reference_values.as_ref().unwrap());
    let written: ReferenceValues = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(written.snp[0].platform, "metal-qemu-snp");
    assert_eq!(written.snp[0].tcb.reported, floor);
    assert_eq!(written.snp[0].measurements.len(), 4);
    written.snp[0].validate().unwrap();
    // Asked for TDX alone, values of an SNP machine are an error.
    let classes = vec![("kata-qemu-tdx".to_owned(), "metal-qemu-tdx".to_owned())];
    let error = run(&archive, &Wishes { classes, ..with }, &kata.folder().join("tdx")).unwrap_err();
    assert!(chain(&error).contains("no entry for TDX"), "{}", chain(&error));
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[test]
fn a_release_that_is_not_kata_s_is_one_named_error_and_nothing_is_left() {
    let Some(kata) = Kata::new() else { return };
    type Change<'a> = &'a dyn Fn(&mut Kata);
    let file =
        |name: &'static str| move |kata: &mut Kata| kata.entries.push((name.to_owned(), Content::File(0o644, vec![1])));
    let remove = |ending: &'static str| move |kata: &mut Kata| kata.entries.retain(|(name, _)| !name.ends_with(ending));
    let cases: [(&str, Change<'_>); 19] = [
        ("which is no path inside of it", &|kata| {
            kata.entries.push(("x".to_owned(), Content::Hard("../../etc/shadow".to_owned())));
        }),
        ("which is no path inside of it", &|kata| {
            let link = Content::Link("../../../../../etc/shadow".to_owned());
            remove("vmlinuz-confidential.container")(kata);
            kata.entries.push(("opt/kata/share/kata-containers/vmlinuz-confidential.container".to_owned(), link));
        }),
        ("goes through more than 16 links", &|kata| {
            let link = Content::Link("vmlinuz-confidential.container".to_owned());
            remove("vmlinuz-confidential.container")(kata);
            kata.entries.push(("opt/kata/share/kata-containers/vmlinuz-confidential.container".to_owned(), link));
        }),
        ("has `opt/kata/share/ovmf/AMDSEV.fd` twice", &file("opt/kata/share/ovmf/AMDSEV.fd")),
        (
            "has no file `opt/kata/share/kata-containers/vmlinuz-6.18-confidential`",
            &remove("vmlinuz-6.18-confidential"),
        ),
        ("has no file `opt/kata/share/ovmf/AMDSEV.fd`", &remove("AMDSEV.fd")),
        ("has no file `opt/kata/bin/containerd-shim-kata-v2`", &remove("containerd-shim-kata-v2")),
        ("resolute-confidential.image", &remove(".image")),
        ("no configuration for `kata-qemu-snp`", &|kata| {
            remove("snp.toml")(kata);
            remove("tdx.toml")(kata);
        }),
        ("no TOML", &|kata| kata.change("snp.toml", |text| text.push(b'['))),
        ("is not below `/opt/kata`", &|kata| {
            kata.change("snp.toml", |text| {
                *text = String::from_utf8_lossy(text).replace("/opt/kata/share/ovmf", "/etc").into_bytes();
            });
        }),
        ("with different dm-verity parameters", &|kata| {
            kata.change("tdx.toml", |text| {
                *text = String::from_utf8_lossy(text).replace("data_blocks=6144", "data_blocks=6143").into_bytes();
            });
        }),
        ("names no dm-verity root", &|kata| {
            for name in ["snp.toml", "tdx.toml"] {
                kata.change(name, |text| {
                    let old = String::from_utf8_lossy(text).into_owned();
                    let lines = old.lines().filter(|line| !line.starts_with("kernel_verity_params"));
                    *text = lines.collect::<Vec<_>>().join("\n").into_bytes();
                });
            }
        }),
        ("the image has the dm-verity root", &|kata| kata.change(".image", |bytes| bytes[9 << 20] ^= 1)),
        ("no partition table", &|kata| kata.change(".image", |bytes| bytes[510] = 0)),
        ("the image has the dm-verity root", &|kata| kata.change(".image", |bytes| bytes[(1 << 20) + 1080] ^= 1)),
        ("and the image has", &|kata| kata.change(".image", |bytes| bytes.truncate(1 << 20))),
        ("firmware has no OVMF footer table", &|kata| kata.change("AMDSEV.fd", |bytes| bytes.fill(0))),
        ("firmware has no TDX metadata", &|kata| kata.change("inteltdx.fd", |bytes| bytes.fill(0))),
    ];
    for (expected, change) in cases {
        let Some(mut bad) = Kata::new() else { return };
        change(&mut bad);
        let archive = bad.write(&bad.tar(1, |_| {}));
        let output = bad.folder().join("made");
        let error = run(&archive, &wishes(), &output).expect_err(expected);
        assert!(chain(&error).contains(expected), "{expected}: {}", chain(&error));
        assert!(!output.exists(), "{expected}");
        assert_eq!(
            fs::read_dir(bad.folder()).unwrap().filter(is_hidden).count(),
            0,
            "{expected}: something is left behind"
        );
    }
    drop(kata);
}

#[test]
fn a_damaged_archive_is_an_error() {
    let Some(kata) = Kata::new() else { return };
    let tar = kata.tar(1, |_| {});
    let packed = ruzstd::encoding::compress_to_vec(tar.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    let mut flipped = packed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    let cases: [(&str, Vec<u8>); 6] = [
        ("cut off", tar[..tar.len() / 2].to_vec()),
        ("packed and cut off", packed[..packed.len() / 2].to_vec()),
        ("packed and damaged", flipped),
        ("empty", Vec::new()),
        ("text", b"this is no archive, and it is longer than the five hundred bytes of a head".repeat(10)),
        ("a head of Zstandard and nothing", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0]),
    ];
    for (what, bytes) in cases {
        let archive = kata.write(&bytes);
        let output = kata.folder().join("made");
        assert!(run(&archive, &wishes(), &output).is_err(), "{what}");
        assert!(!output.exists(), "{what}");
    }
}

#[test]
fn an_entry_larger_than_any_is_refused_by_its_head() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("opt/kata/bomb").unwrap();
    header.set_mode(0o644);
    header.set_size(guest_image::release::MAX_FILE + 1);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(4096, 0);
    let archive = folder.path().join("kata-static-4.1.0-amd64.tar");
    fs::write(&archive, bytes).unwrap();
    let error = run(&archive, &wishes(), &folder.path().join("made")).unwrap_err();
    assert!(chain(&error).contains("more than 17179869184 bytes"), "{}", chain(&error));
}

#[test]
fn a_root_file_system_whose_agent_is_started_otherwise_is_refused() {
    type Change<'a> = &'a dyn Fn(&Path);
    let remove = |path: &'static str| move |root: &Path| fs::remove_file(root.join(path)).unwrap();
    let unit = |from: &'static str, to: &'static str| {
        move |root: &Path| {
            fs::write(root.join("usr/lib/systemd/system/kata-agent.service"), rig::UNIT.replace(from, to)).unwrap();
        }
    };
    let cases: [(&str, Change<'_>); 10] = [
        ("no agent", &remove("usr/bin/kata-agent")),
        ("neither systemd nor the agent", &remove("usr/sbin/init")),
        ("neither systemd nor the agent", &|root| {
            remove("usr/sbin/init")(root);
            fs::write(root.join("usr/sbin/init"), program("NVRC")).unwrap();
        }),
        ("does not start `/usr/bin/kata-agent`", &remove("usr/lib/systemd/system/kata-agent.service")),
        ("does not start `/usr/bin/kata-agent`", &unit("/usr/bin/kata-agent", "/usr/local/bin/kata-agent")),
        (
            "does not start `/usr/bin/kata-agent`",
            &unit("ExecStart=/usr/bin/kata-agent", "ExecStart=-/usr/bin/kata-agent"),
        ),
        ("does not start `/usr/bin/kata-agent`", &unit("Type=simple", "ExecStartPre=/usr/bin/other")),
        ("changes what starts the agent", &|root| {
            fs::create_dir_all(root.join("etc/systemd/system/kata-agent.service.d")).unwrap();
        }),
        ("is no program", &|root| fs::write(root.join("usr/bin/kata-agent"), "#!/bin/sh\n").unwrap()),
        ("has a start-up check already", &|root| {
            fs::create_dir_all(root.join("usr/libexec/casemate")).unwrap();
            fs::copy(root.join("usr/bin/kata-agent"), root.join("usr/libexec/casemate/kata-agent")).unwrap();
            fs::write(root.join("usr/bin/kata-agent"), program(rootfs::MARK)).unwrap();
        }),
    ];
    for (expected, change) in cases {
        let Some(kata) = Kata::with(change) else { return };
        let archive = kata.write(&kata.tar(1, |_| {}));
        let error = run(&archive, &wishes(), &kata.folder().join("made")).expect_err(expected);
        assert!(chain(&error).contains(expected), "{expected}: {}", chain(&error));
    }
}

#[test]
fn an_agent_that_is_the_first_process_is_guarded_too() {
    let fill = |root: &Path| {
        fs::remove_dir_all(root.join("usr/lib/systemd")).unwrap();
        fs::remove_file(root.join("usr/sbin/init")).unwrap();
        fs::rename(root.join("usr/bin/kata-agent"), root.join("usr/sbin/init")).unwrap();
    };
    let Some(kata) = Kata::with(&fill) else { return };
    let archive = kata.write(&kata.tar(1, |_| {}));
    let report = run(&archive, &wishes(), &kata.folder().join("made")).unwrap();
    let rootfs = &report.images.values().next().unwrap().rootfs;
    assert!(rootfs.is_guarded());
    assert_eq!((rootfs.init, rootfs.starts), (rootfs::Init::Agent, "/sbin/init"));
}

#[test]
fn an_image_that_is_not_repacked_is_seen_for_what_it_is() {
    let Some(kata) = Kata::new() else { return };
    let found = image::inspect(&kata.folder().join("disk"), Some(&kata.verity)).unwrap();
    assert!(!found.rootfs.check && !found.rootfs.denies_all && found.verity.unwrap().matches);
    // One bit of the hash tree: the data are right, and a guest could not read them.
    let mut bytes = fs::read(kata.folder().join("disk")).unwrap();
    let at = bytes.len() - (1 << 20) + 100;
    bytes[at] ^= 1;
    let damaged = kata.folder().join("damaged");
    fs::write(&damaged, &bytes).unwrap();
    let compared = image::inspect(&damaged, Some(&kata.verity)).unwrap().verity.unwrap();
    assert!(compared.matches && compared.damaged_hash_blocks == 1, "{compared:?}");
    let other = Verity { blocks: kata.verity.blocks + 1, ..kata.verity.clone() };
    assert!(!image::inspect(&damaged, Some(&other)).unwrap().verity.unwrap().matches);
}

#[test]
fn ext4_that_is_damaged_is_an_error_or_another_tree_and_never_a_panic() {
    let Some(kata) = Kata::new() else { return };
    let image = Image::open(&kata.folder().join("disk")).unwrap();
    let mut good = vec![0; usize::try_from(image.root().size()).unwrap()];
    image.root().read_exact_at(&mut good, 0).unwrap();
    let (mut refused, mut read) = (0, 0);
    // The superblock, the first descriptors, and what follows: inode tables, folders.
    let spots =
        (1024..2048).step_by(2).chain((4096..4096 + 128).step_by(3)).chain((16 * 4096..300 * 4096).step_by(4099));
    for at in spots {
        let before = good[at];
        good[at] ^= 0xff;
        match guest_image::ext4::read(&good) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
        good[at] = before;
    }
    assert!(refused > 10 && read > 10, "{refused} {read}");
    for (at, value, expected) in [
        (1024 + 0x38, 0, "no ext4 file system"),
        (1024 + 0x60, 0x46, "`needs_recovery`"),
        (1024 + 0x61, 0x82, "`inline_data`"),
        (1024 + 0x18, 9, "block size 9"),
        (1024 + 0x58, 3, "inode size"),
        (1024 + 0x28, 0, "blocks"),
        (1024 + 0x07, 0xff, "blocks"),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        if at == 1024 + 0x28 {
            bad[at..at + 4].fill(0);
        }
        let error = guest_image::ext4::read(&bad).map(drop).unwrap_err().to_string();
        let expected = if at == 1024 + 0x28 { "inodes per group 0" } else { expected };
        assert!(error.contains(expected), "{at:#x}: {error}");
    }
    for length in [0, 1500, 4096, 100_000] {
        assert!(guest_image::ext4::read(&good[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn what_is_no_check_is_refused() {
    assert_eq!(StartUpCheck::new(b"#!/bin/sh\n".to_vec()).map(drop).unwrap_err(), CheckError::NotAProgram);
    assert_eq!(StartUpCheck::new(program("something else")).map(drop).unwrap_err(), CheckError::Other);
    // A program with an interpreter: one segment of type 3.
    let mut dynamic = program(rootfs::MARK);
    let at = dynamic.len() as u64;
    dynamic[32..40].copy_from_slice(&at.to_le_bytes());
    dynamic[54..58].copy_from_slice(&[56, 0, 1, 0]);
    dynamic.extend_from_slice(&3_u32.to_le_bytes());
    dynamic.resize(dynamic.len() + 52, 0);
    assert_eq!(StartUpCheck::new(dynamic).map(drop).unwrap_err(), CheckError::Dynamic);
}

#[test]
fn a_folder_that_is_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let error = run(Path::new("kata-static-4.1.0-amd64.tar"), &wishes(), folder.path()).unwrap_err();
    assert!(matches!(error, RepackError::Exists { .. }));
    let error = run(&PathBuf::from("release.tar"), &wishes(), &folder.path().join("made")).unwrap_err();
    assert!(matches!(error, RepackError::NoVersion { .. }));
}
