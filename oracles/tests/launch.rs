//! SNP launch digests: the `sev` crate's measurement and ours agree.

use std::io::Write;
use std::path::Path;

use sev::measurement::snp::{SnpMeasurementArgs, calc_snp_ovmf_hash, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures as SevFeatures, VMMType};
use tempfile::NamedTempFile;
use testkit::ovmf::{Entry, Ovmf, Section, kind};
use verifier::snp::launch::{Firmware, GuestFeatures, KernelHashes, Launch, Machine, VcpuType, Vmm};

const TYPES: [(&str, CpuType); 18] = [
    ("EPYC", CpuType::Epyc),
    ("EPYC-v1", CpuType::EpycV1),
    ("EPYC-v2", CpuType::EpycV2),
    ("EPYC-IBPB", CpuType::EpycIBPB),
    ("EPYC-v3", CpuType::EpycV3),
    ("EPYC-v4", CpuType::EpycV4),
    ("EPYC-Rome", CpuType::EpycRome),
    ("EPYC-Rome-v1", CpuType::EpycRomeV1),
    ("EPYC-Rome-v2", CpuType::EpycRomeV2),
    ("EPYC-Rome-v3", CpuType::EpycRomeV3),
    ("EPYC-Milan", CpuType::EpycMilan),
    ("EPYC-Milan-v1", CpuType::EpycMilanV1),
    ("EPYC-Milan-v2", CpuType::EpycMilanV2),
    ("EPYC-Genoa", CpuType::EpycGenoa),
    ("EPYC-Genoa-v1", CpuType::EpycGenoaV1),
    ("EPYC-Turin", CpuType::EpycTurin),
    ("EPYC-Turin-v1", CpuType::EpycTurinV1),
    ("EPYC-Turin-v2", CpuType::EpycTurinV2),
];

struct Kernel {
    kernel: Vec<u8>,
    initrd: Option<Vec<u8>>,
    cmdline: Option<String>,
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// What the `sev` crate computes.
struct Theirs {
    firmware: NamedTempFile,
    kernel: Option<(NamedTempFile, Option<NamedTempFile>, Option<String>)>,
}

impl Theirs {
    fn new(image: &[u8], kernel: Option<&Kernel>) -> Self {
        let kernel = kernel.map(|k| (file(&k.kernel), k.initrd.as_deref().map(file), k.cmdline.clone()));
        Self { firmware: file(image), kernel }
    }

    fn digest(&self, vcpus: u32, vcpu_type: CpuType, features: u64, vmm: VMMType, seed: Option<&str>) -> String {
        let path = |file: &NamedTempFile| Path::to_owned(file.path());
        let kernel = self.kernel.as_ref();
        let arguments = SnpMeasurementArgs {
            vcpus,
            vcpu_type,
            ovmf_file: path(&self.firmware),
            guest_features: SevFeatures(features),
            kernel_file: kernel.map(|(kernel, ..)| path(kernel)),
            initrd_file: kernel.and_then(|(_, initrd, _)| initrd.as_ref().map(path)),
            append: kernel.and_then(|(.., append)| append.as_deref()),
            ovmf_hash_str: seed,
            vmm_type: Some(vmm),
        };
        snp_calc_launch_digest(arguments).unwrap().get_hex_ld()
    }
}

fn ours(image: &[u8], kernel: Option<&Kernel>, name: &str, features: u64, vmm: Vmm) -> Launch {
    let hashes = kernel.map(|k| {
        let initrd = k.initrd.as_deref().unwrap_or_default();
        KernelHashes::of(&k.kernel, initrd, k.cmdline.as_deref().unwrap_or_default().as_bytes())
    });
    let machine = Machine { vmm, vcpu: VcpuType::from_name(name).unwrap(), features: GuestFeatures(features) };
    Launch::measure(&Firmware::parse(image).unwrap(), hashes.as_ref(), &machine).unwrap()
}

fn kernels() -> [Option<Kernel>; 4] {
    [
        None,
        Some(Kernel { kernel: Vec::new(), initrd: None, cmdline: None }),
        Some(Kernel { kernel: vec![0x4d; 70_000], initrd: Some(vec![0x1f; 4097]), cmdline: None }),
        Some(Kernel {
            kernel: b"kernel".to_vec(),
            initrd: Some(b"initrd".to_vec()),
            cmdline: Some("console=ttyS0 panic=-1 agent.log=debug".to_owned()),
        }),
    ]
}

/// Firmwares that differ in all that is measured. Those that take kernel hashes come first.
fn firmwares() -> Vec<(&'static str, bool, Ovmf)> {
    let mut shuffled = Ovmf { seed: 9, pages: 3, ..Ovmf::default() };
    shuffled.sections.reverse();
    let mut small = Ovmf { pages: 1, reset_eip: Some(0xffff_fff0), ..Ovmf::default() };
    small.sections.retain(|section| section.kind == kind::KERNEL_HASHES);
    let mut extra = Ovmf { hashes: Some((0x0081_0f50, 176)), ..Ovmf::default() };
    extra.extra = vec![Entry { guid: [9; 16], data: vec![1, 2, 3], length: None }];
    let mut wide = Ovmf { reset_eip: Some(0xfffc_1234), pages: 64, ..Ovmf::without_kernel_hashes() };
    wide.sections.push(Section { gpa: 0x0100_0000, size: 0x10_0000, kind: kind::SEC_MEMORY });
    let none = Ovmf { sections: Vec::new(), ..Ovmf::without_kernel_hashes() };
    vec![
        ("default", true, Ovmf::default()),
        ("shuffled", true, shuffled),
        ("small", true, small),
        ("with a further entry", true, extra),
        ("2 MiB", true, Ovmf { pages: 512, seed: 200, ..Ovmf::default() }),
        ("general build", false, Ovmf::without_kernel_hashes()),
        ("wide", false, wide),
        ("without sections", false, none),
    ]
}

#[test]
fn every_firmware_and_kernel_has_the_same_digest_for_many_vcpu_counts() {
    for (name, takes_kernel, ovmf) in firmwares() {
        let image = ovmf.build();
        for (index, kernel) in kernels().iter().enumerate() {
            if kernel.is_some() && !takes_kernel {
                continue;
            }
            let theirs = Theirs::new(&image, kernel.as_ref());
            let ours = ours(&image, kernel.as_ref(), "EPYC-Milan", 1, Vmm::Qemu);
            for (count, digest) in ours.digests(1..=64).unwrap() {
                // The large firmware is hashed anew for every count over there; a few of them are enough.
                if ovmf.pages > 64 && !count.is_power_of_two() {
                    continue;
                }
                let expected = theirs.digest(count, CpuType::EpycMilan, 1, VMMType::QEMU, None);
                assert_eq!(digest.to_string(), expected, "{name}, kernel {index}, {count} vCPUs");
                assert_eq!(ours.which_vcpu_count(&digest, 64), Some(count));
            }
        }
    }
}

#[test]
fn every_vcpu_type_has_the_same_digest() {
    let image = Ovmf::default().build();
    let kernel = kernels().into_iter().next_back().flatten();
    let theirs = Theirs::new(&image, kernel.as_ref());
    for (name, cpu) in TYPES {
        for features in [0x1, 0x21, 0x201, 0x1221] {
            let ours = ours(&image, kernel.as_ref(), name, features, Vmm::Qemu);
            for count in [1, 2, 5, 64] {
                let expected = theirs.digest(count, cpu, features, VMMType::QEMU, None);
                assert_eq!(ours.digest(count).unwrap().to_string(), expected, "{name}, {features:#x}, {count}");
            }
        }
    }
}

#[test]
fn ec2_has_the_same_digest() {
    for (name, takes_kernel, ovmf) in firmwares() {
        let image = ovmf.build();
        for kernel in kernels().iter().filter(|kernel| kernel.is_none() || takes_kernel) {
            let theirs = Theirs::new(&image, kernel.as_ref());
            let ours = ours(&image, kernel.as_ref(), "EPYC-v4", 0x21, Vmm::Ec2);
            for count in [1, 2, 3, 8] {
                let expected = theirs.digest(count, CpuType::EpycV4, 0x21, VMMType::EC2, None);
                assert_eq!(ours.digest(count).unwrap().to_string(), expected, "{name}, {count} vCPUs");
            }
        }
    }
}

#[test]
fn a_seed_is_the_same_and_leads_to_the_same_digest() {
    let image = Ovmf::default().build();
    let theirs = Theirs::new(&image, None);
    let seed = calc_snp_ovmf_hash(theirs.firmware.path().to_owned()).unwrap().get_hex_ld();
    let firmware = Firmware::parse(&image).unwrap();
    assert_eq!(firmware.digest().to_string(), seed);

    // Only the last page, which holds the tables, is given to both.
    let last = &image[image.len() - 4096..];
    let theirs = Theirs::new(last, None).digest(6, CpuType::EpycGenoa, 1, VMMType::QEMU, Some(&seed));
    let machine = Machine::qemu(VcpuType::from_name("EPYC-Genoa").unwrap());
    let ours = Launch::after_firmware(&seed.parse().unwrap(), &Firmware::parse(last).unwrap(), None, &machine);
    assert_eq!(ours.unwrap().digest(6).unwrap().to_string(), theirs);
}

/// Where cargo unpacked the source of the `sev` crate, which carries the last pages of two real OVMF builds.
fn sev_source() -> std::path::PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "metadata",
        "--format-version=1",
        "--offline",
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ];
    let output = std::process::Command::new(cargo).args(arguments).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let sev = packages.iter().find(|package| package["name"] == "sev").unwrap();
    Path::new(sev["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

#[test]
fn real_firmware_has_the_same_digest() {
    for (file, takes_kernel) in [("ovmf_AmdSev_suffix.bin", true), ("ovmf_OvmfX64_suffix.bin", false)] {
        let image = std::fs::read(sev_source().join("tests/measurement").join(file)).unwrap();
        let firmware = Firmware::parse(&image).unwrap();
        assert_eq!(firmware.takes_kernel_hashes(), takes_kernel, "{file}");
        for kernel in kernels().iter().filter(|kernel| kernel.is_none() || takes_kernel) {
            let theirs = Theirs::new(&image, kernel.as_ref());
            for (vmm, their_vmm) in [(Vmm::Qemu, VMMType::QEMU), (Vmm::Ec2, VMMType::EC2)] {
                let ours = ours(&image, kernel.as_ref(), "EPYC-v4", 0x21, vmm);
                for (count, digest) in ours.digests(1..=16).unwrap() {
                    let expected = theirs.digest(count, CpuType::EpycV4, 0x21, their_vmm, None);
                    assert_eq!(digest.to_string(), expected, "{file}, {vmm:?}, {count} vCPUs");
                }
            }
        }
    }
}
