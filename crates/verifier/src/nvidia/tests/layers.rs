//! One device's layers.

use protocol::Nonce;
use protocol::digest::Hex;
use protocol::evidence::{DeviceEvidence, DeviceKind};
use protocol::reference::device::{Architecture, Nvdec0};
use testkit::der::{Extension, Key, KeyKind, Name};
use testkit::nvidia::{
    Chip, TestDevice, TestNvidia, TestReport, device_name, evidence_of, field, firmware, measurement, pem_of,
};
use testkit::ocsp::{TestAnswer, TestOcsp, TestStatus};
use testkit::rim::{RimAuthority, SIGNER_UNTIL, TestMeasurement, TestRim};

use super::super::{Difference, FwidCheck, NvidiaError, RevocationCheck, needs};
use super::{FWID, NONCE, NOW, PDI, Rig, nvidia, report, summary};
use crate::endorsements::{EndorsementKind, Need};
use crate::{Fault, Outcome, UnixTime, VerifyError};

/// Everything but OCSP, which this rig has none of, and drivers, which switches have none of.
const ALL_HOLD: &str = "format: holds\nchain: holds\nidentity: holds\nfwid: holds\nsignature: holds\nnonce: holds\n\
    driver_rim: holds\nvbios_rim: holds\nmeasurements: holds";

#[test]
fn a_genuine_device_of_each_architecture_holds() {
    let rig = Rig::new();
    for (chip, architecture, compared) in [
        (Chip::Gh100, Architecture::Hopper, 32),
        (Chip::Gb100, Architecture::Blackwell, 32),
        (Chip::Ls10, Architecture::Ls10, 31),
    ] {
        let device = rig.device(chip);
        let evidence = device.evidence(&report(chip));
        let expected =
            if chip == Chip::Ls10 { ALL_HOLD.replace("driver_rim: holds\n", "") } else { ALL_HOLD.to_owned() };
        assert_eq!(summary(&rig.examine(&evidence)), expected, "{chip:?}");
        let claims = rig.accept(&evidence);
        let identity = claims.identity.unwrap();
        assert_eq!(identity.architecture, architecture);
        assert_eq!(identity.device_id, Hex(PDI));
        assert_eq!(identity.fwid, Hex(FWID));
        assert_eq!(identity.chip, chip.name());
        assert_eq!(identity.leaf_key, protocol::Digest::of(&device.key.spki()));
        assert!(identity.hwmodel.ends_with("BROM"), "{}", identity.hwmodel);
        let established = claims.established;
        assert_eq!((established.compared, established.fwid), (compared, FwidCheck::Equal));
        assert_eq!(established.revocation, RevocationCheck::NotGiven);
        assert_eq!(established.manifests[0].signer, protocol::Digest::of(&rig.rims.certificates[0]));
    }
}

#[test]
fn what_no_manifest_speaks_of_is_said() {
    let rig = Rig::new();
    let claims = rig.accept(&rig.device(Chip::Gh100).evidence(&report(Chip::Gh100)));
    // Indices 1 to 20 are the driver's, 21 to 32 the VBIOS's.
    let uncovered: Vec<u32> = std::iter::once(0).chain(33..64).collect();
    assert_eq!(claims.established.uncovered, uncovered);
}

#[test]
fn one_bit_of_anything_signed_is_not_genuine() {
    let rig = Rig::new();
    for chip in Chip::ALL {
        let evidence = rig.device(chip).evidence(&report(chip));
        let signed = evidence.report.len() - 96;
        for place in 0..evidence.report.len() {
            let mut flipped = evidence.clone();
            flipped.report[place] ^= 1 << (place % 8);
            let examination = rig.examine(&flipped);
            let error = examination.verdict().unwrap_err();
            assert!(!matches!(error, VerifyError::NotJudged { .. }), "{chip:?} byte {place}: {error:?}");
            // Whatever can still be taken apart is caught by the signature; what cannot has an error of its own.
            assert!(!examination.layers.signature.holds(), "{chip:?} byte {place}");
            if place >= signed {
                assert_eq!(error.code(), "device-signature", "{chip:?} byte {place}");
            }
            // Only the version of SPDM, which says what the signature covers, is "could not tell".
            let other_spdm = error.code() == "device-spdm-version";
            assert!(error.is_refusal() || (other_spdm && [0, 37].contains(&place)), "{chip:?} byte {place}: {error:?}");
        }
    }
}

#[test]
fn the_fields_that_a_signature_covers_fail_by_it() {
    let rig = Rig::new();
    let genuine = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
    let find = |needle: &[u8]| genuine.report.windows(needle.len()).position(|window| window == needle).unwrap();
    for (what, place) in [
        ("responder's nonce", find(&[0x77; 32])),
        ("measurement 0", find(&measurement(Chip::Gh100, 1))),
        ("measurement 63", find(&measurement(Chip::Gh100, 64))),
        ("driver version", find(b"590.12") + 5),
        ("project", find(b"G520")),
        ("firmware id", find(&FWID)),
        ("the last field", genuine.report.len() - 97),
    ] {
        let mut flipped = genuine.clone();
        flipped.report[place] ^= 1;
        let examination = rig.examine(&flipped);
        assert_eq!(examination.layers.signature.error().unwrap().code(), "device-signature", "{what}");
        assert!(examination.verdict().unwrap_err().is_refusal(), "{what}");
    }
}

#[test]
fn another_nonce_is_unbound_and_both_are_shown() {
    let rig = Rig::new();
    let stale = TestReport { request: [&[0x11, 0xe0, 1, 0xff][..], &[1; 32], &[0]].concat(), ..report(Chip::Gh100) };
    let error = nvidia(rig.refuse(&rig.device(Chip::Gh100).evidence(&stale)));
    assert_eq!(error, NvidiaError::Nonce { got: Hex([1; 32]), expected: Hex(NONCE) });
    assert_eq!(error.fault(), Fault::Unbound);
}

#[test]
fn without_a_nonce_to_compare_with_nothing_is_verified() {
    let rig = Rig::new();
    let evidence = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
    let examination = super::super::examine::examine(&evidence, None, &rig.context());
    assert_eq!(examination.verdict(), Err(VerifyError::NotJudged { layer: "nonce" }));
}

#[test]
fn a_report_is_not_taken_for_another_kind() {
    let rig = Rig::new();
    for (chip, presented) in [(Chip::Gh100, DeviceKind::Switch), (Chip::Ls10, DeviceKind::Gpu)] {
        let evidence = DeviceEvidence { kind: presented, ..rig.device(chip).evidence(&report(chip)) };
        let error = nvidia(rig.refuse(&evidence));
        assert_eq!(error, NvidiaError::OtherKind { presented, reported: chip.kind() });
    }
}

#[test]
fn the_report_of_one_device_with_the_chain_of_another_is_not_genuine() {
    let rig = Rig::new();
    let (one, other) = (rig.device(Chip::Gh100), rig.nvidia.device(Chip::Gh100, [9; 8], FWID));
    let evidence = DeviceEvidence { chain: other.pem(), ..one.evidence(&report(Chip::Gh100)) };
    assert_eq!(rig.refuse(&evidence).code(), "device-signature");
}

#[test]
fn chains_that_do_not_lead_to_the_root_are_refused_by_name() {
    let rig = Rig::new();
    let device = rig.device(Chip::Gh100);
    let genuine = device.evidence(&report(Chip::Gh100));
    let with = |chain: Vec<Vec<u8>>| DeviceEvidence { chain: pem_of(&chain), ..genuine.clone() };
    let swapped = |a, b| {
        let mut chain = device.chain.clone();
        chain.swap(a, b);
        with(chain)
    };
    let without = |place| {
        let mut chain = device.chain.clone();
        chain.remove(place);
        with(chain)
    };
    let mut broken = device.chain.clone();
    let last = broken[1].len() - 1;
    broken[1][last] ^= 1;
    let text = |chain: &[u8]| DeviceEvidence { chain: chain.to_vec(), ..genuine.clone() };
    for (evidence, code) in [
        (with(broken), "certificate-signature"),
        (swapped(1, 2), "certificate-other-issuer"),
        (swapped(0, 1), "certificate-other-issuer"),
        (without(4), "device-chain-length"),
        (without(0), "device-chain-length"),
        (with(device.chain[4..].to_vec()), "device-chain-length"),
        (text(b""), "certificate-malformed"),
        (text(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"), "certificate-malformed"),
    ] {
        let error = rig.refuse(&evidence);
        assert_eq!(error.code(), code);
        assert!(error.is_refusal());
    }
    let other = TestNvidia::new();
    let error = rig.refuse(&other.device(Chip::Gh100, PDI, FWID).evidence(&report(Chip::Gh100)));
    assert_eq!(error.code(), "certificate-untrusted-root");
}

#[test]
fn names_of_certificates_are_those_of_their_places() {
    let rig = Rig::new();
    let named = |chip: Chip, name: &str| {
        let device = rig.nvidia.device_with(chip, PDI, FWID, |mut leaf, _| {
            leaf.subject = device_name(&leaf.serial, name);
            leaf
        });
        nvidia(rig.refuse(&device.evidence(&report(chip)))).code()
    };
    for name in ["GH100 A01 GSP BROM", "GH100 A01 GSP FMC", "GH100 A01 XYZ FMC LF", "GH100", ""] {
        assert_eq!(named(Chip::Gh100, name), "device-certificate-role", "{name}");
    }
    assert_eq!(named(Chip::Gh100, "GB100 A01 GSP FMC LF"), "device-chips-differ");
    assert_eq!(named(Chip::Gh100, "GH100 A02 GSP FMC LF"), "device-chips-differ");
    let role =
        |certificate: &str, expected| NvidiaError::CertificateRole { certificate: certificate.to_owned(), expected };
    let nameless = rig.nvidia.device_with(Chip::Gh100, PDI, FWID, |mut leaf, _| {
        leaf.subject = Name(vec![]);
        leaf
    });
    let error = nvidia(rig.refuse(&nameless.evidence(&report(Chip::Gh100))));
    assert_eq!(error, role("(no common name)", "device key (`GH100 A01 GSP FMC LF`)"));
}

#[test]
fn the_architecture_is_the_certificates_and_the_report_has_to_agree() {
    let rig = Rig::new();
    // Each key signs the report of another architecture: what a stolen key of an old generation could do.
    for (key, of, field) in [
        (Chip::Gh100, Chip::Gb100, "the VBIOS version"),
        (Chip::Gb100, Chip::Gh100, "the VBIOS version"),
        (Chip::Gh100, Chip::Ls10, "the report"),
        (Chip::Ls10, Chip::Gh100, "the report"),
    ] {
        let mut evidence = rig.device(key).evidence(&report(of));
        evidence.kind = of.kind();
        let error = nvidia(rig.refuse(&evidence));
        assert!(matches!(&error, NvidiaError::OtherArchitecture { field: got, .. } if *got == field), "{error:?}");
    }
    let mut test = report(Chip::Gh100);
    test.set(field::CHIP, b"GB100\0".to_vec());
    let error = nvidia(rig.refuse(&rig.device(Chip::Gh100).evidence(&test)));
    let certified = Architecture::Hopper;
    assert_eq!(error, NvidiaError::OtherArchitecture { certified, field: "the chip", reported: "GB100".to_owned() });
}

#[test]
fn a_switch_has_the_identity_that_it_was_certified_with() {
    let rig = Rig::new();
    let mut test = report(Chip::Ls10);
    test.set(field::PDI, vec![9; 8]);
    let error = nvidia(rig.refuse(&rig.device(Chip::Ls10).evidence(&test)));
    assert_eq!(error, NvidiaError::OtherDeviceId { reported: Hex([9; 8]), certified: Hex(PDI) });
}

#[test]
fn another_firmware_than_the_keys_is_not_genuine_and_none_is_said() {
    let rig = Rig::new();
    for chip in Chip::ALL {
        let device = rig.device(chip);
        let mut test = report(chip);
        test.set(field::FWID, vec![0xf2; 48]);
        let error = nvidia(rig.refuse(&device.evidence(&test)));
        assert_eq!(error, NvidiaError::Fwid { reported: Hex([0xf2; 48]), certified: Hex(FWID) });
        test.remove(field::FWID);
        let examination = rig.examine(&device.evidence(&test));
        assert_eq!(examination.layers.fwid, None);
        assert_eq!(examination.verdict().unwrap().established.fwid, FwidCheck::NotReported);
    }
}

fn without_firmware(leaf: testkit::der::Certificate) -> testkit::der::Certificate {
    let extensions = leaf.extensions.iter().filter(|extension| !extension.oid.starts_with("2.23")).cloned().collect();
    testkit::der::Certificate { extensions, ..leaf }
}

#[test]
fn a_certificate_that_names_no_firmware_is_refused() {
    let rig = Rig::new();
    let refuse = |chip: Chip, extension: Option<Extension>| {
        let device = rig.nvidia.device_with(chip, PDI, FWID, |leaf, _| {
            let leaf = without_firmware(leaf);
            extension.into_iter().fold(leaf, testkit::der::Certificate::with)
        });
        nvidia(rig.refuse(&device.evidence(&report(chip))))
    };
    let no = |oid, reason| NvidiaError::NoFwid { oid, reason };
    let (old, new) = ("2.23.133.5.4.1", "2.23.133.5.4.1.1");
    let extension = |oid: &str, value: &[u8]| Some(Extension::new(oid, value.to_vec()));
    assert_eq!(refuse(Chip::Gh100, None), no(old, "it is not there"));
    assert_eq!(refuse(Chip::Gb100, None), no(new, "it is not there"));
    assert_eq!(refuse(Chip::Gh100, extension(old, &[4, 0])), no(old, "it is no sequence"));
    assert_eq!(refuse(Chip::Gh100, extension(old, &[0x30, 0])), no(old, "it is not version, key and firmware id"));
    assert_eq!(refuse(Chip::Gb100, extension(new, &[0x30, 0])), no(new, "it has no list of firmware ids"));
    assert_eq!(refuse(Chip::Gb100, extension(new, &[0x30, 2, 0xa6, 0])), no(new, "its list of firmware ids is empty"));
    let twice = [0x30, 4, 0xa6, 0, 0xa6, 0];
    assert_eq!(refuse(Chip::Gb100, extension(new, &twice)), no(new, "an element stands twice"));
    // Each generation has its own extension, and the other's does not count.
    let key = Key::generate(KeyKind::P384);
    assert_eq!(refuse(Chip::Gh100, Some(firmware(Chip::Gb100, &key, &FWID, &[0]))), no(old, "it is not there"));
}

#[test]
fn a_blackwell_that_was_certified_open_to_debugging_is_refused() {
    let rig = Rig::new();
    for (flags, state) in [
        ([0x80], None),
        ([0x40], Some("not secure")),
        ([0x20], Some("in recovery")),
        ([0x10], Some("open to debugging")),
        ([0x90], Some("open to debugging")),
    ] {
        let device = rig.nvidia.device_with(Chip::Gb100, PDI, FWID, |leaf, brom| {
            without_firmware(leaf).with(firmware(Chip::Gb100, brom, &FWID, &flags))
        });
        let verdict = rig.examine(&device.evidence(&report(Chip::Gb100))).verdict().map(|_| ());
        match state {
            None => assert_eq!(verdict, Ok(())),
            Some(state) => {
                let error = nvidia(verdict.unwrap_err());
                assert_eq!(error, NvidiaError::UnsafeState { state });
                assert_eq!(error.fault(), Fault::Contraindicated);
            }
        }
    }
}

#[test]
fn a_missing_manifest_is_could_not_tell_and_names_itself() {
    let report_ = report(Chip::Gh100);
    let manifests = report_.manifests();
    for (given, missing, layer) in [
        (&manifests[1], "NV_GPU_DRIVER_GH100_590.12", "driver_rim"),
        (&manifests[0], "NV_GPU_VBIOS_G520_0200_885_9600A50001", "vbios_rim"),
    ] {
        let mut rig = Rig::bare();
        rig.add(given);
        let evidence = rig.device(Chip::Gh100).evidence(&report_);
        let examination = rig.examine(&evidence);
        let error = examination.verdict().unwrap_err();
        assert_eq!(error, VerifyError::MissingEndorsement { need: Need::Rim { id: missing.to_owned() } });
        assert!(!error.is_refusal());
        assert_eq!(examination.layers.measurements, Outcome::Skipped { needs: layer });
        assert!(needs(&[evidence]).contains(&Need::Rim { id: missing.to_owned() }));
    }
}

#[test]
fn a_wrong_measurement_is_a_no_also_where_the_other_manifest_is_missing() {
    let mut rig = Rig::bare();
    rig.add(&report(Chip::Gh100).manifests()[1]);
    let mut test = report(Chip::Gh100);
    test.measurements[25].1 = [0xee; 48];
    let error = rig.refuse(&rig.device(Chip::Gh100).evidence(&test));
    assert_eq!(error.code(), "device-measurements");
    assert!(error.is_refusal());
}

#[test]
fn differing_measurements_are_named_with_both_values() {
    let rig = Rig::new();
    let mut test = report(Chip::Gh100);
    test.measurements[9].1 = [0xee; 48];
    test.measurements[25].1 = [0xef; 48];
    // No manifest speaks of this one.
    test.measurements[40].1 = [0xed; 48];
    let error = nvidia(rig.refuse(&rig.device(Chip::Gh100).evidence(&test)));
    let difference = |index: u8, manifest, got| Difference {
        index: index.into(),
        name: Some(format!("Measurement_{index}")),
        manifest,
        expected: vec![Hex(measurement(Chip::Gh100, index + 1))],
        got: Some(Hex([got; 48])),
    };
    let differences = vec![difference(9, "driver", 0xee), difference(25, "vbios", 0xef)];
    assert_eq!(error, NvidiaError::Measurements { differences });
    assert_eq!(
        error.to_string(),
        "measurement 9, 25 not as the manifest says; 9 (Measurement_9): eeeeeeeeeeee, driver manifest has 47483130300a; \
         25 (Measurement_25): efefefefefef, vbios manifest has 47483130301a"
    );
}

#[test]
fn each_active_measurement_counts() {
    let rig = Rig::new();
    let device = rig.device(Chip::Gh100);
    for index in 0..64_u32 {
        let mut test = report(Chip::Gh100);
        test.measurements[usize::try_from(index).unwrap()].1[47] ^= 1;
        let verdict = rig.examine(&device.evidence(&test)).verdict().map(|_| ());
        if (1..=32).contains(&index) {
            let NvidiaError::Measurements { differences } = nvidia(verdict.unwrap_err()) else { panic!("{index}") };
            assert_eq!(differences.iter().map(|difference| difference.index).collect::<Vec<_>>(), [index]);
        } else {
            assert_eq!(verdict, Ok(()), "{index}");
        }
    }
}

#[test]
fn a_measurement_that_is_not_reported_differs() {
    let rig = Rig::new();
    let mut test = report(Chip::Gh100);
    test.measurements.remove(9);
    let NvidiaError::Measurements { differences } = nvidia(rig.refuse(&rig.device(Chip::Gh100).evidence(&test))) else {
        panic!("it has to differ")
    };
    assert_eq!((differences[0].index, differences[0].got), (9, None));
}

/// The manifests of a Hopper report, changed.
fn with_manifests(change: impl FnOnce(&mut Vec<TestRim>)) -> Rig {
    let mut rig = Rig::bare();
    let mut manifests = report(Chip::Gh100).manifests();
    change(&mut manifests);
    for manifest in &manifests {
        rig.add(manifest);
    }
    rig
}

fn active(index: u32, digest: [u8; 48]) -> TestMeasurement {
    TestMeasurement { index, active: true, digests: vec![digest] }
}

#[test]
fn any_alternative_is_accepted() {
    let rig = with_manifests(|manifests| manifests[0].measurements[9].digests = vec![[1; 48], [2; 48], [3; 48]]);
    let device = rig.device(Chip::Gh100);
    for (digest, accepted) in [([1; 48], true), ([2; 48], true), ([3; 48], true), ([4; 48], false)] {
        let mut test = report(Chip::Gh100);
        test.measurements[9].1 = digest;
        assert_eq!(rig.examine(&device.evidence(&test)).verdict().is_ok(), accepted);
    }
}

#[test]
fn the_decoders_firmware_is_left_out_only_where_the_report_says_that_it_is_off() {
    let rig = with_manifests(|manifests| manifests[0].measurements[35] = active(35, [0xaa; 48]));
    let device = rig.device(Chip::Gh100);
    for (state, accepted) in [(Some(0x55), true), (Some(0xaa), false), (None, false)] {
        let mut test = report(Chip::Gh100);
        match state {
            Some(state) => test.set(field::NVDEC0, vec![state]),
            None => test.remove(field::NVDEC0),
        };
        let examination = rig.examine(&device.evidence(&test));
        assert_eq!(examination.verdict().is_ok(), accepted, "{state:?}");
        let claims = examination.claims.unwrap();
        let disabled = claims.report.nvdec0 == Some(Nvdec0::Disabled);
        assert_eq!(claims.established.compared, if disabled { 32 } else { 33 });
    }
}

#[test]
fn two_manifests_that_claim_one_measurement_are_refused() {
    let rig = with_manifests(|manifests| {
        manifests[0].measurements[25] = active(25, measurement(Chip::Gh100, 26));
    });
    let error = nvidia(rig.refuse(&rig.device(Chip::Gh100).evidence(&report(Chip::Gh100))));
    assert_eq!(error, NvidiaError::RimConflict { indices: vec![25] });
}

#[test]
fn a_manifest_that_compares_nothing_is_could_not_tell() {
    let rig = with_manifests(|manifests| {
        manifests[1].measurements.iter_mut().for_each(|measurement| measurement.active = false);
    });
    let error = rig.refuse(&rig.device(Chip::Gh100).evidence(&report(Chip::Gh100)));
    assert_eq!(error.code(), "device-rim-empty");
    assert!(!error.is_refusal());
}

#[test]
fn a_manifest_for_something_else_is_as_good_as_none() {
    type Change = fn(&mut TestRim);
    let changes: [Change; 4] = [
        |manifest| manifest.version = "590.13".to_owned(),
        |manifest| manifest.product = "GB100".to_owned(),
        |manifest| manifest.product = "GA100".to_owned(),
        |manifest| manifest.edition = "SWITCH".to_owned(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let rig = with_manifests(|manifests| change(&mut manifests[0]));
        let error = rig.refuse(&rig.device(Chip::Gh100).evidence(&report(Chip::Gh100)));
        assert_eq!(error.code(), "endorsement-missing", "case {index}");
    }
}

#[test]
fn of_two_boards_with_one_version_the_own_manifest_is_found() {
    let rig = with_manifests(|manifests| {
        let mut other = manifests[1].clone();
        other.measurements[25] = active(25, [0xbb; 48]);
        manifests.insert(0, other);
    });
    let evidence = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
    assert_eq!(rig.accept(&evidence).established.compared, 32);
}

#[test]
fn a_forged_manifest_is_passed_over_and_an_expired_one_is_said() {
    let test = report(Chip::Gh100);
    let mut rig = Rig::bare();
    rig.add(&test.manifests()[1]);
    let forged = RimAuthority::new().sign(&test.manifests()[0]);
    rig.endorsements.add(EndorsementKind::Rim, forged.as_bytes()).unwrap();
    let evidence = rig.device(Chip::Gh100).evidence(&test);
    assert_eq!(rig.refuse(&evidence).code(), "endorsement-missing");
    // It does not hide the genuine one either.
    rig.add(&test.manifests()[0]);
    rig.accept(&evidence);

    rig.now = UnixTime(SIGNER_UNTIL + 1);
    let error = rig.refuse(&evidence);
    assert_eq!(error.fault(), Fault::Expired);
    assert!(matches!(error, VerifyError::Rim(_)), "{error:?}");
}

/// Chips of one family share versions: what NVIDIA says of another one's firmware is nothing about this one.
#[test]
fn manifests_of_another_chip_of_the_family_are_not_taken() {
    let judge = |driver: &str, vbios: &str| {
        let mut rig = Rig::bare();
        for (mut manifest, product) in TestReport::new(Chip::Gb100, NONCE).manifests().into_iter().zip([driver, vbios])
        {
            manifest.product = product.to_owned();
            rig.add(&manifest);
        }
        let examination = rig.examine(&rig.device(Chip::Gb100).evidence(&report(Chip::Gb100)));
        let code = |outcome: Option<&Outcome>| outcome.and_then(Outcome::error).map(VerifyError::code);
        (code(examination.layers.driver_rim.as_ref()), code(Some(&examination.layers.vbios_rim)))
    };
    let missing = Some("endorsement-missing");
    assert_eq!(judge("GB100", "GB100"), (None, None));
    assert_eq!(judge("GB202", "GB100"), (missing, None));
    assert_eq!(judge("GB100", "GB202"), (None, missing));
    assert_eq!(judge("GB202", "GB202"), (missing, missing));
    assert_eq!(judge("GH100", "LS10"), (missing, missing));
}

/// OCSP responses of the authorities above a Hopper device: about the provisioner and about the family.
fn responses(rig: &Rig, provisioner: TestStatus, family: TestStatus) -> Vec<Vec<u8>> {
    let [_, family_key] = rig.nvidia.authorities(Chip::Gh100);
    let (root_key, _) = rig.nvidia.root_authority();
    let root = Name::common("NVIDIA Device Identity CA");
    let family_name = Name::common("NVIDIA GH100 Identity");
    let provisioner_name = Name::common("NVIDIA GH100 Provisioner ICA 1");
    let answer = |issuer: &Name, key: &Key, subject: &Name, status: TestStatus| {
        let mut answer = TestAnswer::good(issuer.clone(), key, 0);
        answer.serial = protocol::Digest::of(&subject.der()).as_bytes()[..8].to_vec();
        answer.status = status;
        TestOcsp::by_issuer(answer).sign(key)
    };
    vec![
        answer(&family_name, family_key, &provisioner_name, provisioner),
        answer(&root, root_key, &family_name, family),
    ]
}

/// OCSP responses about the signer of manifests and the authorities above it.
fn rim_responses(rig: &Rig) -> Vec<Vec<u8>> {
    let names = testkit::rim::NAMES.map(Name::common);
    (0..3_usize)
        .map(|place| {
            let key = &rig.rims.keys[place];
            let serial = 4 - u64::try_from(place).unwrap();
            TestOcsp::by_issuer(TestAnswer::good(names[place + 1].clone(), key, serial)).sign(key)
        })
        .collect()
}

#[test]
fn revocation_is_known_when_every_certificate_is_spoken_for() {
    let mut rig = Rig::new();
    let evidence = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
    let wanted = needs(std::slice::from_ref(&evidence));
    assert_eq!(wanted.iter().filter(|need| matches!(need, Need::Ocsp { .. })).count(), 2);
    let device = responses(&rig, TestStatus::Good, TestStatus::Good);
    let all: Vec<Vec<u8>> = device.into_iter().chain(rim_responses(&rig)).collect();
    for (given, response) in all.iter().enumerate() {
        assert_eq!(rig.accept(&evidence).established.revocation, RevocationCheck::NotGiven, "{given} given");
        rig.endorsements.add(EndorsementKind::OcspResponse, response).unwrap();
    }
    let claims = rig.accept(&evidence);
    assert_eq!(claims.established.revocation, RevocationCheck::Good { until: UnixTime(testkit::der::NOT_AFTER) });
    assert_eq!(rig.examine(&evidence).layers.ocsp, Some(Outcome::Holds));
}

#[test]
fn a_revoked_authority_is_a_no() {
    let revoked = TestStatus::Revoked { at: NOW.0 - 1, reason: Some(1) };
    for (provisioner, family) in [(revoked, TestStatus::Good), (TestStatus::Good, revoked)] {
        let mut rig = Rig::new();
        let evidence = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
        rig.accept(&evidence);
        for response in responses(&rig, provisioner, family) {
            rig.endorsements.add(EndorsementKind::OcspResponse, &response).unwrap();
        }
        let error = rig.refuse(&evidence);
        assert_eq!((error.fault(), error.code()), (Fault::Revoked, "certificate-revoked"));
    }
}

/// Also where reference values do not need OCSP: a word of NVIDIA's that does not clear a certificate is not no word.
#[test]
fn a_word_that_does_not_clear_an_authority_is_could_not_tell() {
    let judge = |provisioner, family, now| {
        let mut rig = Rig::new();
        rig.now = now;
        let evidence = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
        for response in responses(&rig, provisioner, family) {
            rig.endorsements.add(EndorsementKind::OcspResponse, &response).unwrap();
        }
        let examination = rig.examine(&evidence);
        let error = examination.layers.ocsp.as_ref().and_then(Outcome::error).cloned();
        assert_eq!(examination.revocation_problem.map(|problem| problem.code()), error.as_ref().map(VerifyError::code));
        error
    };
    let (good, unknown) = (TestStatus::Good, TestStatus::Unknown);
    assert_eq!(judge(good, good, NOW), None);
    for (provisioner, family) in [(unknown, good), (good, unknown), (unknown, unknown)] {
        let error = judge(provisioner, family, NOW).unwrap();
        assert_eq!((error.fault(), error.code()), (Fault::Missing, "ocsp-unknown"));
        assert!(!error.is_refusal());
    }
    let late = UnixTime(testkit::der::NOT_AFTER + 1);
    let error = judge(good, good, late).unwrap();
    assert_eq!((error.fault(), error.code()), (Fault::Expired, "ocsp-expired"));
    // A revoked authority further up goes before a provisioner that is not known.
    let revoked = TestStatus::Revoked { at: NOW.0 - 1, reason: Some(1) };
    assert_eq!(judge(unknown, revoked, NOW).unwrap().fault(), Fault::Revoked);
}

#[test]
fn a_response_that_nobody_authorized_is_no_word_of_nvidias() {
    let (mut rig, stranger) = (Rig::new(), Rig::new());
    let evidence = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
    let [_, key] = stranger.nvidia.authorities(Chip::Gh100);
    let [_, own] = rig.nvidia.authorities(Chip::Gh100);
    let mut answer = TestAnswer::good(Name::common("NVIDIA GH100 Identity"), own, 0);
    answer.serial = protocol::Digest::of(&testkit::nvidia::provisioner(Chip::Gh100).der()).as_bytes()[..8].to_vec();
    answer.status = TestStatus::Unknown;
    let forged = TestOcsp::by_issuer(answer).sign(key);
    rig.endorsements.add(EndorsementKind::OcspResponse, &forged).unwrap();
    let examination = rig.examine(&evidence);
    assert_eq!(examination.layers.ocsp, None);
    assert_eq!(examination.revocation_problem.as_ref().map(crate::ocsp::OcspError::code), Some("ocsp-signature"));
    assert_eq!(examination.verdict().unwrap().established.revocation, RevocationCheck::NotGiven);
}

#[test]
fn a_chain_that_was_verified_is_verified_again_under_another_root_or_time() {
    let rig = Rig::new();
    let evidence = rig.device(Chip::Gh100).evidence(&report(Chip::Gh100));
    rig.accept(&evidence);
    let other = Rig::new();
    let context = crate::context::Context { anchors: &other.anchors, ..rig.context() };
    let examination = super::super::examine::examine(&evidence, Some(&Nonce(NONCE)), &context);
    assert_eq!(examination.layers.chain.error().unwrap().code(), "certificate-untrusted-root");
    let early = crate::context::Context { now: UnixTime(1), ..rig.context() };
    let examination = super::super::examine::examine(&evidence, Some(&Nonce(NONCE)), &early);
    assert_eq!(examination.layers.chain.error().unwrap().code(), "certificate-not-yet-valid");
}

#[test]
fn a_machine_of_the_rig_holds() {
    let rig = Rig::new();
    let machine: Vec<(TestDevice, TestReport)> = rig.nvidia.machine(1, 2, 1, NONCE);
    assert_eq!(rig.examine_all(&evidence_of(&machine)).verdict().unwrap().len(), 3);
}
