//! The parser: every field at its place, and nothing makes it panic.

use proptest::prelude::*;
use protocol::digest::Hex;
use protocol::reference::AmdProduct;
use protocol::reference::snp::{AbiVersion, SigningKey};
use testkit::snp::{CRL_GUID, Report, ReportKey, VCEK_GUID, VLEK_GUID, certificate_table};

use super::rig::{ALL_HOLD, endorse, judge, milan, shown};
use crate::snp::report::{FormatError, Signer, looks_like, parse};
use crate::snp::table::{CertificateTable, Content, MAX_ENTRIES, MAX_TABLE, TableError};
use crate::snp::{FirmwareVersion, GuestPolicy, PlatformInfo, REPORT_LEN};

fn unsigned(report: &Report) -> Vec<u8> {
    let mut body = report.signed_bytes();
    body.resize(REPORT_LEN, 0);
    body
}

#[test]
fn every_field_is_read_from_its_place() {
    for product in AmdProduct::ALL {
        let mut report = Report::new(product, 5, SigningKey::Vlek);
        report.vmpl = 3;
        report.mask_chip_key = true;
        report.mask_chip_id = false;
        report.current_tcb.microcode = 1;
        report.committed_tcb.microcode = 2;
        report.launch_tcb.microcode = 3;
        report.reported_tcb.microcode = 4;
        report.committed_version = [1, 2, 3];
        report.report_id_ma = [7; 32];
        let claims = parse(&unsigned(&report)).unwrap();
        assert_eq!(claims.version, 5);
        assert_eq!(claims.guest_svn, report.guest_svn);
        assert_eq!(claims.policy, GuestPolicy(report.policy));
        assert_eq!(claims.policy.abi(), AbiVersion { major: 1, minor: 0x37 });
        assert_eq!((claims.family_id, claims.image_id), (Hex(report.family_id), Hex(report.image_id)));
        assert_eq!(claims.vmpl, 3);
        assert_eq!(claims.platform_info, PlatformInfo(report.platform_info));
        assert!(claims.author_key_enabled && claims.mask_chip_key);
        assert_eq!(claims.signer, Signer::Vlek);
        assert_eq!(claims.report_data, Hex(report.report_data));
        assert_eq!(claims.measurement.as_bytes(), &report.measurement);
        assert_eq!(claims.host_data, Hex(report.host_data));
        assert_eq!((claims.id_key_digest, claims.author_key_digest), (Hex([0xd4; 48]), Hex([0xd5; 48])));
        assert_eq!((claims.report_id, claims.report_id_ma), (Hex(report.report_id), Hex([7; 32])));
        assert_eq!(claims.reported_tcb, report.reported_tcb);
        assert_eq!(claims.committed_tcb, report.committed_tcb);
        assert_eq!(claims.launch_tcb, report.launch_tcb);
        assert_eq!(claims.current_tcb, report.current_tcb);
        assert_eq!(claims.chip_id, Hex(report.chip_id));
        assert_eq!(claims.current_version, FirmwareVersion { major: 1, minor: 55, build: 40 });
        assert_eq!(claims.committed_version, FirmwareVersion { major: 1, minor: 2, build: 3 });
        assert_eq!(claims.launch_mitigations, Some(report.launch_mitigations));
        assert_eq!(claims.current_mitigations, Some(report.current_mitigations));
        assert_eq!(claims.product, Some(product));
    }
}

#[test]
fn what_has_no_meaning_is_named() {
    type Change = fn(&mut Report);
    let reserved = |field| FormatError::Reserved { field };
    let cases: [(FormatError, Change); 14] = [
        (FormatError::Version { got: 1 }, |r| r.version = 1),
        (FormatError::Version { got: 6 }, |r| r.version = 6),
        (FormatError::Version { got: u32::MAX }, |r| r.version = u32::MAX),
        (FormatError::Algorithm { got: 0 }, |r| r.signature_algorithm = 0),
        (FormatError::Algorithm { got: 2 }, |r| r.signature_algorithm = 2),
        (reserved("policy"), |r| r.policy &= !(1 << 17)),
        (reserved("policy"), |r| r.policy |= 1 << 26),
        (reserved("platform_info"), |r| r.platform_info |= 1 << 6),
        (reserved("platform_info"), |r| r.platform_info |= 1 << 8),
        (FormatError::Value { field: "vmpl", got: 4 }, |r| r.vmpl = 4),
        (FormatError::Value { field: "signing_key", got: 2 }, |r| r.signing_key_field = Some(2)),
        (FormatError::Value { field: "signing_key", got: 6 }, |r| r.signing_key_field = Some(6)),
        (reserved("flags"), |r| r.signing_key_field = Some(8)),
        (FormatError::Processor { family: 0x1a, model: 0x50 }, |r| r.processor = [0x1a, 0x50, 0]),
    ];
    for (expected, change) in cases {
        let mut report = milan();
        change(&mut report);
        assert_eq!(parse(&unsigned(&report)).unwrap_err(), expected);
    }
    assert!(parse(&unsigned(&Report { vmpl: u32::MAX, ..milan() })).is_ok(), "the host asks with all ones");
}

#[test]
fn reports_are_told_from_other_files() {
    for version in 2..=6 {
        assert!(looks_like(&unsigned(&Report { version, ..milan() })));
    }
    assert!(looks_like(&ReportKey::of(&milan()).sign_extended(&milan())));
    for other in [&[0; REPORT_LEN][..], &[1; REPORT_LEN], &unsigned(&milan())[1..], b"{}"] {
        assert!(!looks_like(other));
    }
}

#[test]
fn a_newer_version_cannot_be_told_and_broken_bytes_are_refused() {
    let key = ReportKey::of(&milan());
    let newer = judge(&key.sign(&Report { version: 6, ..milan() }), &endorse(&key));
    assert!(shown(&newer).starts_with("format snp-version?, chain (needs format)"));
    assert!(shown(&judge(&key.sign(&milan())[..REPORT_LEN - 1], &endorse(&key))).starts_with("format snp-length!"));
}

#[test]
fn a_table_is_read_within_its_limits() {
    let (a, b) = ([1; 5], [2; 7]);
    let table = certificate_table(&[(VCEK_GUID, &a), (CRL_GUID, &b)]);
    let read = CertificateTable::parse(&table).unwrap();
    assert_eq!(read.of(Content::Vcek).collect::<Vec<_>>(), [&a]);
    assert_eq!(read.of(Content::Crl).collect::<Vec<_>>(), [&b[..]]);
    assert_eq!(read.of(Content::Vlek).count(), 0);
    assert_eq!(CertificateTable::parse(&[0; 24]).unwrap().of(Content::Other).count(), 0);
    let padded = [table.as_slice(), &[0; 4096]].concat();
    assert!(CertificateTable::parse(&padded).is_ok(), "hosts fill up the page");

    let error = |bytes: &[u8]| CertificateTable::parse(bytes).unwrap_err();
    assert_eq!(error(&[0; 23]), TableError::NoEnd { entries: 0 });
    assert_eq!(error(&vec![0; MAX_TABLE + 1]), TableError::TooLong { got: MAX_TABLE + 1 });
    assert_eq!(error(&[1; 24]), TableError::NoEnd { entries: 1 });
    assert_eq!(error(&table[..table.len() - 1]), TableError::Outside { index: 1, offset: 77, length: 7 });
    let twice = certificate_table(&[(VLEK_GUID, &a), (VLEK_GUID, &b)]);
    assert_eq!(error(&twice), TableError::Repeated { index: 1 });
    let mut inside = table.clone();
    inside[16] = 24;
    assert_eq!(error(&inside), TableError::Outside { index: 0, offset: 24, length: 5 });
    let mut far = table;
    far[16..24].fill(0xff);
    assert_eq!(error(&far), TableError::Outside { index: 0, offset: u32::MAX, length: u32::MAX });
    let many: Vec<_> = (0..=MAX_ENTRIES).map(|n| ([u8::try_from(n).unwrap() + 1; 16], a.as_slice())).collect();
    assert_eq!(error(&certificate_table(&many)), TableError::TooMany);
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let key = ReportKey::of(&milan());
    let genuine = key.sign_extended(&milan());
    let length = genuine.len();
    let mutated = (0..length, prop::collection::vec((0..length, any::<u8>()), 0..8)).prop_map(move |(cut, changes)| {
        let mut body = genuine.clone();
        for (index, value) in changes {
            body[index] = value;
        }
        if cut % 3 == 0 {
            body.truncate(cut);
        }
        body
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..3000), mutated]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn nothing_panics(body in body()) {
        let key = ReportKey::of(&milan());
        let _ = judge(&body, &endorse(&key));
        let _ = crate::snp::needs(&body);
    }

    #[test]
    fn a_changed_report_never_verifies(index in 0..REPORT_LEN, change in 1..=u8::MAX, version in 2..=5_u32) {
        let report = Report { version, ..milan() };
        let key = ReportKey::of(&report);
        let mut body = key.sign(&report);
        body[index] ^= change;
        let layers = shown(&judge(&body, &endorse(&key)));
        prop_assert!(!layers.contains("signature +"), "{}", layers);
        prop_assert_ne!(layers, ALL_HOLD);
    }
}
