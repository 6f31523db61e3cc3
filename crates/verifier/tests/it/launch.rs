//! SNP launch digests. That they are the right ones is what `oracles/tests/launch.rs` shows with a second implementation;
//! here is what holds without one, and every way in which firmware can be wrong.

use expect_test::expect;
use proptest::prelude::*;
use protocol::digest::Measurement;
use testkit::ovmf::{Entry, Ovmf, Section, guid, kind};
use verifier::snp::launch::{
    Firmware, GuestFeatures, KernelHashes, Launch, LaunchError, MAX_FIRMWARE, MAX_SECTION_BYTES, MAX_VCPUS, Machine,
    SectionKind, VcpuType, Vmm,
};

fn machine() -> Machine {
    Machine::qemu(VcpuType::from_name("EPYC-Milan").unwrap())
}

fn hashes() -> KernelHashes {
    KernelHashes::of(b"kernel", b"initrd", b"console=ttyS0")
}

fn measure(ovmf: &Ovmf, kernel: Option<&KernelHashes>, machine: &Machine) -> Result<Launch, LaunchError> {
    Launch::measure(&Firmware::parse(&ovmf.build())?, kernel, machine)
}

fn launch() -> Launch {
    measure(&Ovmf::default(), Some(&hashes()), &machine()).unwrap()
}

#[test]
fn a_launch_has_this_digest() {
    // Frozen so that a change of it is seen; the oracle computes the same.
    expect![[r#"
        1 1231aebfdac72cd06c2b3628deaa6ac1201c0f7f1e5c0ac4fc566f2548d4c23a7b82c7c82cf546648e26d30bba6f8d61
        2 78ae495c89609ae3e5e5e0ade90c3a06b12cee760c739000c538e6d16e6654db44699d246957ccb7c51d573147a3dd87
    "#]]
    .assert_eq(
        &launch()
            .digests(1..=2)
            .unwrap()
            .fold(String::new(), |text, (count, digest)| text + &format!("{count} {digest}\n")),
    );
}

#[test]
fn the_digests_of_a_range_are_those_of_each_count() {
    let launch = launch();
    let range: Vec<_> = launch.digests(3..=40).unwrap().collect();
    assert_eq!(range.len(), 38);
    for (count, digest) in range {
        assert_eq!(launch.digest(count), Ok(digest), "{count} vCPUs");
    }
}

#[test]
fn a_digest_tells_the_vcpu_count() {
    let launch = launch();
    for count in [1, 2, 3, 17, 64, 255, MAX_VCPUS] {
        let digest = launch.digest(count).unwrap();
        assert_eq!(launch.which_vcpu_count(&digest, MAX_VCPUS), Some(count));
        assert_eq!(launch.which_vcpu_count(&digest, u32::MAX), Some(count));
        assert_eq!(launch.which_vcpu_count(&digest, count), Some(count));
        assert_eq!(launch.which_vcpu_count(&digest, count - 1), None);
    }
    assert_eq!(launch.which_vcpu_count(&launch.seed(), MAX_VCPUS), None);
    assert_eq!(launch.which_vcpu_count(&Measurement::from_bytes([0; 48]), MAX_VCPUS), None);
    assert_eq!(launch.which_vcpu_count(&launch.digest(1).unwrap(), 0), None);
}

#[test]
fn vcpu_counts_have_limits() {
    let launch = launch();
    #[expect(clippy::reversed_empty_ranges, reason = "it must be refused")]
    for (range, first, last) in [
        (0..=0, 0, 0),
        (0..=4, 0, 4),
        (5..=4, 5, 4),
        (1..=MAX_VCPUS + 1, 1, MAX_VCPUS + 1),
        (1..=u32::MAX, 1, u32::MAX),
    ] {
        let error = launch.digests(range).err().unwrap();
        assert_eq!(error, LaunchError::VcpuCount { first, last, limit: MAX_VCPUS });
    }
    assert!(launch.digest(0).is_err() && launch.digest(MAX_VCPUS + 1).is_err());
}

#[test]
fn a_computation_can_go_on_from_a_seed() {
    let image = Ovmf::default().build();
    let firmware = Firmware::parse(&image).unwrap();
    let whole = launch();
    // From the digest of the firmware's pages, with no more than the pages that hold the tables.
    let suffix = Firmware::parse(&image[image.len() - 4096..]).unwrap();
    let after = Launch::after_firmware(&firmware.digest(), &suffix, Some(&hashes()), &machine()).unwrap();
    assert_eq!(after, whole);
    // From the digest before the first vCPU.
    assert_eq!(Launch::before_vcpus(&whole.seed(), firmware.reset_eip(), &machine()), Ok(whole));
}

#[test]
fn all_that_is_measured_changes_the_digest() {
    type Change = fn(&mut Ovmf, &mut Option<KernelHashes>, &mut Machine);
    let changes: &[(&str, Change)] = &[
        ("a byte of firmware", |o, _, _| o.seed += 1),
        ("a page more", |o, _, _| o.pages += 1),
        ("reset vector", |o, _, _| o.reset_eip = Some(0x0080_b008)),
        ("reset vector, upper half", |o, _, _| o.reset_eip = Some(0x0081_b004)),
        ("section moved", |o, _, _| o.sections[5].gpa += 0x1000),
        ("section grown", |o, _, _| o.sections[5].size += 0x1000),
        ("section of another kind", |o, _, _| o.sections[3].kind = kind::SEC_MEMORY),
        ("sections swapped", |o, _, _| o.sections.swap(2, 3)),
        ("section gone", |o, _, _| _ = o.sections.remove(0)),
        ("hash table moved", |o, _, _| o.hashes = Some((0x0081_0800, 0x400))),
        ("no kernel", |_, k, _| *k = None),
        ("kernel", |_, k, _| k.as_mut().unwrap().kernel[0] ^= 1),
        ("initrd", |_, k, _| k.as_mut().unwrap().initrd[31] ^= 1),
        ("command line", |_, k, _| k.as_mut().unwrap().cmdline[7] ^= 1),
        ("vCPU type", |_, _, m| m.vcpu = VcpuType::from_name("EPYC-Genoa").unwrap()),
        ("features", |_, _, m| m.features.0 |= GuestFeatures::DEBUG_SWAP),
        ("VMM", |_, _, m| m.vmm = Vmm::Ec2),
    ];
    let base = launch();
    for (name, change) in changes {
        let (mut ovmf, mut kernel, mut machine) = (Ovmf::default(), Some(hashes()), machine());
        change(&mut ovmf, &mut kernel, &mut machine);
        let changed = measure(&ovmf, kernel.as_ref(), &machine).unwrap();
        // The reset vector counts from the second vCPU on, and is in the firmware's tables, so measured in any case.
        for count in 1..=3 {
            assert_ne!(changed.digest(count), base.digest(count), "{name}, {count} vCPUs");
        }
        for count in 1..=3 {
            assert_eq!(base.which_vcpu_count(&changed.digest(count).unwrap(), 512), None, "{name}");
        }
    }
}

#[test]
fn the_command_line_counts_to_the_byte() {
    let of = |line: &[u8]| KernelHashes::of(b"k", b"", line).cmdline;
    assert_ne!(of(b"quiet"), of(b"quiet "));
    assert_ne!(of(b"quiet"), of(b" quiet"));
    assert_ne!(of(b""), KernelHashes::of(b"k", b"", b"").initrd, "an empty line is hashed with its zero byte");
}

#[test]
fn vcpu_types_have_the_signatures_of_their_families() {
    let cases = [
        ("EPYC", 0x0080_0f12),
        ("EPYC-v1", 0x0080_0f12),
        ("EPYC-IBPB", 0x0080_0f12),
        ("EPYC-v5", 0x0080_0f12),
        ("EPYC-Rome", 0x0083_0f10),
        ("EPYC-Rome-v4", 0x0083_0f10),
        ("EPYC-Milan", 0x00a0_0f11),
        ("EPYC-Milan-v2", 0x00a0_0f11),
        ("EPYC-Genoa", 0x00a1_0f10),
        ("EPYC-Genoa-v1", 0x00a1_0f10),
        ("EPYC-Turin", 0x00b0_0f00),
        ("EPYC-Turin-v1", 0x00b0_0f00),
    ];
    for (name, signature) in cases {
        assert_eq!(name.parse::<VcpuType>().unwrap().signature(), signature, "{name}");
        assert_eq!(VcpuType::from_signature(signature), name.parse().unwrap());
    }
    assert_eq!(VcpuType::from_cpuid(25, 1, 1), VcpuType::from_name("EPYC-Milan"));
    assert_eq!(VcpuType::from_cpuid(6, 143, 8).unwrap().signature(), 0x0008_06f8);
}

#[test]
fn vcpu_types_that_are_not_known_are_named() {
    for name in [
        "",
        "epyc",
        "EPYC ",
        "EPYC-",
        "EPYC-v",
        "EPYC-v0",
        "EPYC-v6",
        "EPYC-v01",
        "EPYC-v1-v1",
        "EPYC-Milan-v4",
        "EPYC-Genoa-v3",
        "EPYC-Venice",
        "Opteron_G5",
        "host",
        "EPYC-IBPB-v1",
        "EPYC-v4294967297",
    ] {
        assert_eq!(VcpuType::from_name(name), Err(LaunchError::VcpuType { name: name.to_owned() }));
    }
    let error = VcpuType::from_name(&"x".repeat(1000)).unwrap_err();
    assert_eq!(error.to_string().len(), 55, "{error}");
    for (family, model, stepping) in [(271, 0, 0), (25, 256, 0), (25, 1, 16), (u32::MAX, 0, 0)] {
        assert_eq!(VcpuType::from_cpuid(family, model, stepping), Err(LaunchError::Cpuid { family, model, stepping }));
    }
    assert_eq!("krun".parse::<Vmm>(), Err(LaunchError::Vmm { name: "krun".to_owned() }));
    assert_eq!("ec2".parse(), Ok(Vmm::Ec2));
}

#[test]
fn a_guest_without_snp_is_not_measured() {
    for features in [0, 2, GuestFeatures::DEBUG_SWAP, u64::MAX - 1] {
        let machine = Machine { features: GuestFeatures(features), ..machine() };
        assert_eq!(measure(&Ovmf::default(), None, &machine), Err(LaunchError::NotSnp { features }));
    }
}

#[test]
fn firmware_tells_its_sections() {
    let image = Ovmf::default().build();
    let firmware = Firmware::parse(&image).unwrap();
    assert_eq!(firmware.reset_eip(), 0x0080_b004);
    assert!(firmware.takes_kernel_hashes());
    assert_eq!(firmware.sections().len(), 7);
    assert_eq!(firmware.sections()[6].kind, SectionKind::KernelHashes);
    let image = Ovmf::without_kernel_hashes().build();
    assert!(!Firmware::parse(&image).unwrap().takes_kernel_hashes());
}

fn entry(guid: [u8; 16], data: &[u8], length: Option<u16>) -> Entry {
    Entry { guid, data: data.to_vec(), length }
}

#[test]
fn wrong_firmware_is_refused_by_name() {
    use LaunchError as E;
    type Case = (&'static str, fn(&mut Ovmf), E);
    let reset = "SEV-ES reset block";
    let shape = |index, kind, gpa, size| E::SectionShape { index, kind, gpa, size };
    let cases: Vec<Case> = vec![
        ("cut short by a byte", |o| o.cut = 1, E::FirmwareNotPages { got: 4 * 4096 - 1 }),
        ("no footer", |o| o.footer[0] ^= 1, E::NoFooter),
        ("footer's last byte", |o| o.footer[15] ^= 1, E::NoFooter),
        ("footer shifted", |o| o.cut = 4096, E::NoFooter),
        ("footer shorter than itself", |o| o.footer_length = Some(17), E::FooterSize { got: 17 }),
        (
            "footer longer than the firmware",
            |o| (o.pages, o.footer_length) = (1, Some(4065)),
            E::FooterSize { got: 4065 },
        ),
        ("entries cut in their header", |o| o.footer_length = Some(18 + 22 + 5), E::FooterRest { got: 5 }),
        ("entries cut in their data", |o| o.footer_length = Some(18 + 22 + 20), E::EntrySize { end: 20, got: 22 }),
        (
            "entry shorter than its header",
            |o| o.extra = vec![entry([7; 16], &[], Some(17))],
            E::EntrySize { end: 18, got: 17 },
        ),
        ("entry of length zero", |o| o.extra = vec![entry([7; 16], &[], Some(0))], E::EntrySize { end: 18, got: 0 }),
        (
            "entry that reaches out",
            |o| o.extra = vec![entry([7; 16], &[0; 4], Some(23))],
            E::EntrySize { end: 22, got: 23 },
        ),
        ("entry twice", |o| o.extra = vec![entry(guid::RESET, &[0; 4], None)], E::EntryTwice { entry: reset }),
        (
            "hash table twice",
            |o| o.extra = vec![entry(guid::HASHES, &[1; 8], None)],
            E::EntryTwice { entry: "SEV hash table" },
        ),
        (
            "short reset block",
            |o| (o.reset_eip, o.extra) = (None, vec![entry(guid::RESET, &[1; 3], None)]),
            E::EntryLength { entry: reset, got: 3, expected: 4 },
        ),
        (
            "long hash table",
            |o| (o.hashes, o.extra) = (None, vec![entry(guid::HASHES, &[1; 9], None)]),
            E::EntryLength { entry: "SEV hash table", got: 9, expected: 8 },
        ),
        ("no reset block", |o| o.reset_eip = None, E::EntryAbsent { entry: reset }),
        ("reset vector zero", |o| o.reset_eip = Some(0), E::ResetVectorZero),
        ("no metadata", |o| o.metadata = false, E::EntryAbsent { entry: "SEV metadata" }),
        (
            "metadata before the firmware",
            |o| o.metadata_offset = Some(4 * 4096 + 1),
            E::MetadataOffset { offset: 4 * 4096 + 1, firmware: 4 * 4096 },
        ),
        (
            "metadata far away",
            |o| o.metadata_offset = Some(u32::MAX),
            E::MetadataOffset { offset: u32::MAX, firmware: 4 * 4096 },
        ),
        ("metadata at the end", |o| o.metadata_offset = Some(15), E::MetadataOffset { offset: 15, firmware: 4 * 4096 }),
        ("metadata elsewhere", |o| o.metadata_offset = Some(16), E::MetadataSignature { got: [0; 4] }),
        ("signature of the metadata", |o| o.metadata_signature = *b"ASEX", E::MetadataSignature { got: *b"ASEX" }),
        ("version of the metadata", |o| o.metadata_version = 2, E::MetadataVersion { got: 2 }),
        ("version 0", |o| o.metadata_version = 0, E::MetadataVersion { got: 0 }),
        ("too many sections", |o| o.metadata_count = Some(65), E::TooManySections { got: 65, limit: 64 }),
        (
            "billions of sections",
            |o| o.metadata_count = Some(u32::MAX),
            E::TooManySections { got: u32::MAX, limit: 64 },
        ),
        ("one section more than there are", |o| o.metadata_count = Some(8), E::MetadataSize { got: 100, sections: 8 }),
        (
            "metadata shorter than their header",
            |o| o.metadata_length = Some(15),
            E::MetadataSize { got: 15, sections: 7 },
        ),
        (
            "metadata longer than the firmware",
            |o| o.metadata_length = Some(0x7fff_ffff),
            E::MetadataSize { got: 0x7fff_ffff, sections: 7 },
        ),
        ("unknown kind", |o| o.sections[1].kind = 5, E::SectionKind { index: 1, kind: 5 }),
        ("kind 0", |o| o.sections[6].kind = 0, E::SectionKind { index: 6, kind: 0 }),
        // A reader that looks at one byte only would take it for memory.
        ("kind beyond a byte", |o| o.sections[0].kind = 0x101, E::SectionKind { index: 0, kind: 0x101 }),
        ("section off the page", |o| o.sections[0].gpa += 1, shape(0, SectionKind::SecMemory, 0x0080_0001, 0x9000)),
        ("section not whole pages", |o| o.sections[0].size -= 1, shape(0, SectionKind::SecMemory, 0x0080_0000, 0x8fff)),
        ("empty section", |o| o.sections[0].size = 0, shape(0, SectionKind::SecMemory, 0x0080_0000, 0)),
        (
            "two pages of secrets",
            |o| (o.sections[2].size, o.sections[2].gpa) = (0x2000, 0x0090_0000),
            shape(2, SectionKind::Secrets, 0x0090_0000, 0x2000),
        ),
        (
            "two pages of CPUID",
            |o| (o.sections[3].size, o.sections[3].gpa) = (0x2000, 0x0090_0000),
            shape(3, SectionKind::Cpuid, 0x0090_0000, 0x2000),
        ),
        (
            "two pages of hashes",
            |o| (o.sections[6].size, o.sections[6].gpa) = (0x2000, 0x0090_0000),
            shape(6, SectionKind::KernelHashes, 0x0090_0000, 0x2000),
        ),
        (
            "section beyond 4 GiB",
            |o| (o.sections[0].gpa, o.sections[0].size) = (0xffff_f000, 0x2000),
            shape(0, SectionKind::SecMemory, 0xffff_f000, 0x2000),
        ),
        (
            "section over the firmware",
            |o| (o.sections[0].gpa, o.sections[0].size) = (0xffff_b000, 0x2000),
            E::SectionOverFirmware { index: 0 },
        ),
        ("sections overlap", |o| o.sections[1].gpa -= 0x2000, E::SectionsOverlap { first: 0, second: 1 }),
        ("section twice", |o| o.sections[5] = o.sections[0], E::SectionsOverlap { first: 0, second: 5 }),
        ("section inside another", |o| o.sections[2].gpa = 0x0080_4000, E::SectionsOverlap { first: 0, second: 2 }),
        (
            "two CPUID pages",
            |o| o.sections[2].kind = kind::CPUID,
            E::SectionTwice { second: 3, kind: SectionKind::Cpuid },
        ),
        (
            "more memory than firmware uses",
            |o| o.sections[0] = Section { gpa: 0x1000_0000, size: 0x0100_1000, kind: kind::SEC_MEMORY },
            E::SectionsTooLarge { got: MAX_SECTION_BYTES + 0x1000, limit: MAX_SECTION_BYTES },
        ),
    ];
    for (name, change, expected) in cases {
        let mut ovmf = Ovmf::default();
        change(&mut ovmf);
        let mut image = ovmf.build();
        let end = image.len();
        if name == "metadata elsewhere" {
            image[end - 16..].fill(0);
        }
        let error = Firmware::parse(&image).err();
        assert_eq!(error.as_ref(), Some(&expected), "{name}");
        assert!(!expected.to_string().is_empty() && expected.code().starts_with("launch-"), "{name}");
    }
}

#[test]
fn firmware_has_a_size() {
    assert_eq!(Firmware::parse(&[]), Err(LaunchError::FirmwareNotPages { got: 0 }));
    assert_eq!(Firmware::parse(&[0; 4095]), Err(LaunchError::FirmwareNotPages { got: 4095 }));
    assert_eq!(Firmware::parse(&[0; 4096]), Err(LaunchError::NoFooter));
    let large = vec![0; MAX_FIRMWARE + 4096];
    assert_eq!(
        Firmware::parse(&large),
        Err(LaunchError::FirmwareTooLarge { got: MAX_FIRMWARE + 4096, limit: MAX_FIRMWARE })
    );
    let largest = Ovmf { pages: MAX_FIRMWARE / 4096, ..Ovmf::default() }.build();
    assert!(Firmware::parse(&largest).is_ok());
}

#[test]
fn a_kernel_that_the_firmware_would_not_check_is_refused() {
    let outside = |gpa, size| LaunchError::HashesTableOutside { gpa, size, page: 0x0081_0000 };
    type Case = (&'static str, fn(&mut Ovmf), LaunchError);
    let cases: Vec<Case> = vec![
        ("general build", |o| *o = Ovmf::without_kernel_hashes(), LaunchError::HashesSectionAbsent),
        ("no section", |o| _ = o.sections.pop(), LaunchError::HashesSectionAbsent),
        ("no table", |o| o.hashes = None, LaunchError::HashesTableAbsent),
        ("table at zero", |o| o.hashes = Some((0, 0)), LaunchError::HashesTableAbsent),
        ("table on another page", |o| o.hashes = Some((0x0081_1c00, 0x400)), outside(0x0081_1c00, 0x400)),
        ("table before the page", |o| o.hashes = Some((0x0080_fff0, 0x400)), outside(0x0080_fff0, 0x400)),
        ("table over the end", |o| o.hashes = Some((0x0081_0f60, 0x400)), outside(0x0081_0f60, 0x400)),
        ("table too small", |o| o.hashes = Some((0x0081_0c00, 175)), outside(0x0081_0c00, 175)),
    ];
    for (name, change, expected) in cases {
        let mut ovmf = Ovmf::default();
        change(&mut ovmf);
        assert_eq!(measure(&ovmf, Some(&hashes()), &machine()), Err(expected), "{name}");
        assert!(measure(&ovmf, None, &machine()).is_ok(), "{name}: without a kernel nothing is missing");
    }
    let last = Ovmf { hashes: Some((0x0081_0f50, 176)), ..Ovmf::default() };
    assert!(measure(&last, Some(&hashes()), &machine()).is_ok());
}

#[test]
fn ec2_measures_no_vcpu_type() {
    let of = |name| Machine { vmm: Vmm::Ec2, ..Machine::qemu(VcpuType::from_name(name).unwrap()) };
    let ovmf = Ovmf::without_kernel_hashes();
    let (milan, turin) = (measure(&ovmf, None, &of("EPYC-Milan")), measure(&ovmf, None, &of("EPYC-Turin")));
    assert_eq!(milan.unwrap().digest(4), turin.unwrap().digest(4));
}

#[test]
fn an_explanation_tells_the_vcpu_count_or_what_may_differ() {
    use verifier::explain::Verdict;
    let launch = launch();
    let good = verifier::snp::launch::explain(&launch, &launch.digest(12).unwrap(), 64);
    assert_eq!((good.verdict, good.claims[1].value.to_string().as_str()), (Verdict::Verified, "12"));
    let bad = verifier::snp::launch::explain(&launch, &Measurement::from_bytes([7; 48]), 64);
    assert_eq!((bad.verdict, bad.problems[0].code), (Verdict::Refused, "launch-differs"));
    expect!["launch digest 070707070707 is that of no vCPU count up to 64"].assert_eq(&bad.problems[0].message);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_a_panic(mut image in proptest::collection::vec(any::<u8>(), 4096), footer: bool, length in 0_u16..600) {
        if footer {
            image[4096 - 32 - 16..4096 - 32].copy_from_slice(&guid::FOOTER);
            image[4096 - 32 - 18..4096 - 32 - 16].copy_from_slice(&length.to_le_bytes());
        }
        prop_assert!(Firmware::parse(&image).is_err());
    }

    #[test]
    fn firmware_with_any_bytes_of_its_tables_changed_is_read_without_a_panic(
        changes in proptest::collection::vec((0_usize..400, any::<u8>()), 1..4)
    ) {
        let mut image = Ovmf { pages: 1, ..Ovmf::default() }.build();
        for (at, value) in changes {
            image[4095 - at] = value;
        }
        if let Ok(firmware) = Firmware::parse(&image) {
            let _ = Launch::measure(&firmware, Some(&hashes()), &machine()).map(|launch| launch.digest(2));
        }
    }

    #[test]
    fn every_count_is_found_again(count in 1_u32..300, limit in 1_u32..300) {
        let launch = launch();
        let found = launch.which_vcpu_count(&launch.digest(count).unwrap(), limit);
        prop_assert_eq!(found, (count <= limit).then_some(count));
    }
}
