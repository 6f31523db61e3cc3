//! Every field of the reference values: what it accepts, and the one mismatch that a claim beyond it gives.

use std::collections::BTreeSet;

use protocol::digest::{Hex, Measurement};
use protocol::reference::snp::{AbiVersion, Expect, SigningKey, SnpReferenceValues, has_fmc};
use protocol::reference::{AmdProduct, Machines};
use testkit::snp::{CSP_ID, Report, ReportKey};

use super::rig::{ALL_HOLD, endorse, judge, milan, shown};
use crate::ear::TrustTier;
use crate::snp::{Claims, appraise, explain, reference_values};
use crate::{Mismatch, UnixTime, Value};

fn claims(report: &Report) -> Claims {
    let key = ReportKey::of(report);
    let examination = judge(&key.sign(report), &endorse(&key));
    assert_eq!(shown(&examination), ALL_HOLD);
    examination.claims.unwrap()
}

/// Strict values with every default for the rig's report.
fn values(report: &Report) -> SnpReferenceValues {
    let chips = Machines::Listed(vec![Hex(report.chip_id)]);
    let measurements = vec![Measurement::from_bytes(report.measurement)];
    let mut values = SnpReferenceValues::new("rig", report.product, measurements, chips, report.reported_tcb);
    if report.signing_key == SigningKey::Vlek {
        values.signing_keys = BTreeSet::from([SigningKey::Vlek]);
        values.csp_ids = BTreeSet::from([CSP_ID.to_owned()]);
        values.chip_ids = Machines::Any;
    }
    values
}

fn mismatches(claims: &Claims, values: &SnpReferenceValues) -> Vec<Mismatch> {
    appraise(claims, values, UnixTime(0)).err().unwrap_or_default()
}

fn texts(claims: &Claims, values: &SnpReferenceValues) -> Vec<String> {
    mismatches(claims, values).iter().map(ToString::to_string).collect()
}

#[test]
fn the_strict_defaults_accept_a_well_kept_machine() {
    for product in AmdProduct::ALL {
        for version in 3..=5 {
            for kind in [SigningKey::Vcek, SigningKey::Vlek] {
                let report = Report::new(product, version, kind);
                let values = values(&report);
                assert_eq!(values.validate(), Ok(()));
                let vector = appraise(&claims(&report), &values, UnixTime(0)).unwrap();
                assert_eq!(vector.tier(), TrustTier::Affirming);
                assert_eq!(vector.hardware.tier(), TrustTier::Affirming);
            }
        }
    }
}

/// A claim changed, the values as they are: exactly one mismatch, with both values.
#[test]
fn every_claim_that_is_compared_has_its_mismatch() {
    type Change = fn(&mut Report);
    let table: [(Change, &str); 34] = [
        (|r| r.version = 2, "min_report_version: 2, floor 3"),
        (|r| r.measurement = [9; 48], "measurements: 090909090909, accepted are d2d2d2d2d2d2"),
        (|r| r.chip_id[0] = 0, "chip_ids: 00a4a7a6a1a0, accepted are a5a4a7a6a1a0"),
        (|r| r.reported_tcb.bootloader = 9, "tcb.reported.bootloader: 9, floor 10"),
        (|r| r.reported_tcb.tee = 0, "tcb.reported.tee: 0, floor 1"),
        (|r| r.reported_tcb.snp = 26, "tcb.reported.snp: 26, floor 27"),
        (|r| r.reported_tcb.microcode = 209, "tcb.reported.microcode: 209, floor 213"),
        (|r| r.launch_tcb.bootloader = 9, "tcb.launch.bootloader: 9, floor 10"),
        (|r| r.launch_tcb.tee = 0, "tcb.launch.tee: 0, floor 1"),
        (|r| r.launch_tcb.snp = 26, "tcb.launch.snp: 26, floor 27"),
        (|r| r.launch_tcb.microcode = 209, "tcb.launch.microcode: 209, floor 213"),
        (
            |r| both(r, |t| t.bootloader = 9),
            "tcb.committed.bootloader: 9, floor 10; tcb.current.bootloader: 9, floor 10",
        ),
        (|r| both(r, |t| t.tee = 0), "tcb.committed.tee: 0, floor 1; tcb.current.tee: 0, floor 1"),
        (|r| both(r, |t| t.snp = 26), "tcb.committed.snp: 26, floor 27; tcb.current.snp: 26, floor 27"),
        (
            |r| both(r, |t| t.microcode = 209),
            "tcb.committed.microcode: 209, floor 213; tcb.current.microcode: 209, floor 213",
        ),
        (
            |r| r.current_tcb.microcode = 214,
            "provisional_firmware (current 1.55.40 with bootloader 10, tee 1, snp 27, microcode 214, committed 1.55.40 \
             with bootloader 10, tee 1, snp 27, microcode 213): yes, accepted is no",
        ),
        (
            |r| r.current_version = [1, 55, 41],
            "provisional_firmware (current 1.55.41 with bootloader 10, tee 1, snp 27, microcode 213, committed 1.55.40 \
             with bootloader 10, tee 1, snp 27, microcode 213): yes, accepted is no",
        ),
        (|r| r.policy |= 1 << 19, "guest_policy.debug: yes, accepted is no"),
        (|r| r.policy |= 1 << 16, "guest_policy.smt: on, accepted is off"),
        (|r| r.policy |= 1 << 18, "guest_policy.migration_agent: on, accepted is off"),
        (|r| r.policy |= 1 << 21, "guest_policy.cxl: on, accepted is off"),
        (|r| r.platform_info |= 1, "platform_info.smt: on, accepted is off"),
        (|r| r.platform_info &= !(1 << 5), "platform_info.alias_check_complete: off, accepted is on"),
        (|r| r.platform_info |= 1 << 7, "platform_info.tio: on, accepted is off"),
        (|r| r.vmpl = 1, "vmpl: 1, accepted is 0"),
        (|r| r.vmpl = u32::MAX, "vmpl: 4294967295, accepted is 0"),
        (|r| r.guest_svn = 1, "min_guest_svn: 1, floor 2"),
        (|r| r.id_key_digest = [9; 48], "id_key_digests: 090909090909, accepted are d4d4d4d4d4d4"),
        (|r| r.author_key_digest = [9; 48], "author_key_digests: 090909090909, accepted are d5d5d5d5d5d5"),
        (|r| r.author_key_enabled = false, "author_key_digests: 000000000000, accepted are d5d5d5d5d5d5"),
        (|r| r.family_id = [9; 16], "family_ids: 090909090909, accepted are f1f1f1f1f1f1"),
        (|r| r.image_id = [9; 16], "image_ids: 090909090909, accepted are f2f2f2f2f2f2"),
        (|r| r.launch_mitigations = 1, "mitigations.launch: 0, floor 1, 3"),
        (|r| r.current_mitigations = 3, "mitigations.current: 0, 1, floor 2"),
    ];
    for (index, (change, expected)) in table.into_iter().enumerate() {
        let genuine = Report::new(AmdProduct::Milan, if index == 0 { 3 } else { 5 }, SigningKey::Vcek);
        let mut values = values(&genuine);
        values.min_guest_svn = 2;
        values.id_key_digests = Some(BTreeSet::from([Hex(genuine.id_key_digest)]));
        values.author_key_digests = Some(BTreeSet::from([Hex(genuine.author_key_digest)]));
        values.family_ids = Some(BTreeSet::from([Hex(genuine.family_id)]));
        values.image_ids = Some(BTreeSet::from([Hex(genuine.image_id)]));
        if index > 0 {
            values.mitigations.launch = BTreeSet::from([1, 3]);
            values.mitigations.current = BTreeSet::from([2]);
        }
        assert_eq!(texts(&claims(&genuine), &values), [""; 0]);
        let mut report = genuine;
        change(&mut report);
        assert_eq!(texts(&claims(&report), &values).join("; "), expected);
    }
}

/// Committed and current together, so that the firmware is not provisional besides.
fn both(report: &mut Report, change: fn(&mut protocol::reference::TcbVersion)) {
    change(&mut report.current_tcb);
    change(&mut report.committed_tcb);
}

/// The claims as they are, the values changed.
#[test]
fn every_reference_value_is_compared() {
    type Change = fn(&mut SnpReferenceValues);
    let table: [(Change, &str); 26] = [
        (|v| v.product = AmdProduct::Genoa, "product: Milan, accepted is Genoa"),
        (|v| v.measurements = vec![], "measurements: d2d2d2d2d2d2, accepted are none"),
        (|v| v.signing_keys = BTreeSet::from([SigningKey::Vlek]), "signing_keys: vcek, accepted are vlek"),
        (|v| v.min_report_version = 5, "min_report_version: 3, floor 5"),
        (|v| v.vmpl = 2, "vmpl: 0, accepted is 2"),
        (|v| v.min_guest_svn = 3, "min_guest_svn: 2, floor 3"),
        (|v| v.guest_policy.abi = AbiVersion { major: 1, minor: 56 }, "guest_policy.abi: 1.55, floor 1.56"),
        (|v| v.guest_policy.smt = Expect::On, "guest_policy.smt: off, accepted is on"),
        (|v| v.guest_policy.migration_agent = Expect::On, "guest_policy.migration_agent: off, accepted is on"),
        (|v| v.guest_policy.single_socket = Expect::Off, "guest_policy.single_socket: on, accepted is off"),
        (|v| v.guest_policy.cxl = Expect::On, "guest_policy.cxl: off, accepted is on"),
        (|v| v.guest_policy.aes_256_xts = Expect::On, "guest_policy.aes_256_xts: off, accepted is on"),
        (|v| v.guest_policy.rapl_disabled = Expect::On, "guest_policy.rapl_disabled: off, accepted is on"),
        (|v| v.guest_policy.ciphertext_hiding = Expect::On, "guest_policy.ciphertext_hiding: off, accepted is on"),
        (|v| v.guest_policy.page_swap_disabled = Expect::On, "guest_policy.page_swap_disabled: off, accepted is on"),
        (|v| v.platform_info.smt = Expect::On, "platform_info.smt: off, accepted is on"),
        (|v| v.platform_info.tsme = Expect::On, "platform_info.tsme: off, accepted is on"),
        (|v| v.platform_info.ecc = Expect::Off, "platform_info.ecc: on, accepted is off"),
        (|v| v.platform_info.rapl_disabled = Expect::On, "platform_info.rapl_disabled: off, accepted is on"),
        (|v| v.platform_info.ciphertext_hiding = Expect::On, "platform_info.ciphertext_hiding: off, accepted is on"),
        (
            |v| v.platform_info.alias_check_complete = Expect::Off,
            "platform_info.alias_check_complete: on, accepted is off",
        ),
        (|v| v.platform_info.tio = Expect::On, "platform_info.tio: off, accepted is on"),
        (|v| _ = v.mitigations.launch.insert(0), "mitigations.launch: none, floor 0"),
        (|v| _ = v.mitigations.current.insert(63), "mitigations.current: none, floor 63"),
        (|v| v.tcb.current.snp = 28, "tcb.current.snp: 27, floor 28"),
        (|v| v.tcb.committed.snp = 28, "tcb.committed.snp: 27, floor 28"),
    ];
    let report = Report { policy: 0x0137 | 1 << 17 | 1 << 20, ..milan() };
    let claims = claims(&report);
    for (change, expected) in table {
        let mut values = values(&report);
        change(&mut values);
        assert_eq!(texts(&claims, &values), [expected]);
    }
}

#[test]
fn turins_first_component_has_its_floor() {
    let report = Report::new(AmdProduct::Turin, 5, SigningKey::Vcek);
    let mut values = values(&report);
    values.tcb.launch.fmc = Some(2);
    assert_eq!(texts(&claims(&report), &values), ["tcb.launch.fmc: 1, floor 2"]);
}

#[test]
fn a_vlek_is_accepted_from_the_named_provider_alone() {
    let report = Report::new(AmdProduct::Genoa, 3, SigningKey::Vlek);
    let mut values = values(&report);
    values.csp_ids = BTreeSet::from(["CN=other.example".to_owned()]);
    let claims = claims(&report);
    assert_eq!(texts(&claims, &values), ["csp_ids: CN=cloud.example, accepted are CN=other.example"]);
    values.csp_ids.insert(CSP_ID.to_owned());
    values.chip_ids = Machines::Listed(vec![Hex(report.chip_id)]);
    assert_eq!(texts(&claims, &values), ["chip_ids: none, accepted are a5a4a7a6a1a0"]);
}

#[test]
fn all_mismatches_come_back_not_the_first() {
    let mut report = milan();
    report.vmpl = 1;
    report.policy |= 1 << 19;
    report.measurement = [0; 48];
    let fields: Vec<_> = mismatches(&claims(&report), &values(&milan())).iter().map(|m| m.field).collect();
    assert_eq!(fields, ["measurements", "guest_policy.debug", "vmpl"]);
}

#[test]
fn reference_values_from_evidence_accept_it_and_nothing_weaker() {
    for product in AmdProduct::ALL {
        for version in 2..=5 {
            for kind in [SigningKey::Vcek, SigningKey::Vlek] {
                let mut report = Report::new(product, version, kind);
                report.policy |= 1 << 16;
                report.platform_info |= 1;
                report.current_tcb.microcode = 220;
                let claims = claims(&report);
                let values = reference_values(&claims).unwrap();
                assert_eq!(values.validate(), Ok(()));
                assert_eq!(texts(&claims, &values), [""; 0], "{product} {version} {kind}");
                let json = serde_json::to_string(&values).unwrap();
                assert_eq!(serde_json::from_str::<SnpReferenceValues>(&json).unwrap(), values);
                let mut weaker = claims.clone();
                weaker.launch_tcb.snp -= 1;
                weaker.platform_info.0 &= !(1 << 5);
                weaker.guest_svn = 0;
                if has_fmc(product) {
                    weaker.reported_tcb.fmc = Some(0);
                }
                let expected = if has_fmc(product) { 4 } else { 3 };
                assert_eq!(mismatches(&weaker, &values).len(), expected);
            }
        }
    }
}

#[test]
fn without_a_product_there_are_no_values() {
    let mut claims = claims(&milan());
    assert!(reference_values(&claims).is_some());
    claims.product = None;
    assert!(reference_values(&claims).is_none());
}

#[test]
fn no_values_accept_a_debuggable_guest() {
    let mut report = milan();
    report.policy |= 1 << 19;
    let claims = claims(&report);
    assert_eq!(texts(&claims, &reference_values(&claims).unwrap()), ["guest_policy.debug: yes, accepted is no"]);
}

#[test]
fn an_explanation_names_every_layer() {
    let report = milan();
    let key = ReportKey::of(&report);
    let sections = explain(&judge(&key.sign(&report), &endorse(&key)));
    let titles: Vec<_> = sections.iter().map(|section| section.title.as_str()).collect();
    assert_eq!(titles, ["report", "signing key", "chain", "revocation", "tcb", "guest policy", "platform", "binding"]);
    let text: Vec<String> = sections
        .iter()
        .map(|section| {
            let claims = section.claims.iter().map(|claim| format!("{}={}", claim.name, claim.value));
            let by = section.endorsed_by.as_deref().unwrap_or("-");
            format!("{} {:?} {by}: {}", section.title, section.verdict, claims.collect::<Vec<_>>().join(", "))
        })
        .collect();
    expect_test::expect![[r#"
        report Verified -: version=3, measurement=d2d2d2d2d2d2, host data=d3d3d3d3d3d3, vmpl=0, guest svn=2, family id=f1f1f1f1f1f1, image id=f2f2f2f2f2f2, id key=d4d4d4d4d4d4, author key=d5d5d5d5d5d5, report id=d6d6d6d6d6d6, migration agent=none
        signing key Verified SEV-Milan < ARK-Milan: key=VCEK, the chip's own, product=Milan, processor=family 0x19, model 0x1, stepping 1, chip id=a5a4a7a6a1a0, product in the certificate=Milan-B0
        chain Verified -: certificates=SEV-VCEK, SEV-Milan, ARK-Milan
        revocation Verified -: 
        tcb Note -: reported=bootloader 10, tee 1, snp 27, microcode 213, committed=bootloader 10, tee 1, snp 27, microcode 213, launch=bootloader 10, tee 1, snp 27, microcode 213, current=bootloader 10, tee 1, snp 27, microcode 213, current firmware=1.55.40, committed firmware=1.55.40, mitigations at launch=not said by a report of this version, mitigations now=not said by a report of this version
        guest policy Note -: abi=1.55, debug=no, smt=no, migration agent=no, single socket=yes, cxl=no, aes-256-xts=no, rapl disabled=no, ciphertext hiding=no, page swap disabled=no
        platform Note -: smt=no, tsme=no, ecc=yes, rapl disabled=no, ciphertext hiding=no, alias check complete=yes, tio=no
        binding Verified -: report data=d1d1d1d1d1d1"#]].assert_eq(&text.join("\n"));
    let broken = explain(&judge(b"", &endorse(&key)));
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].problems[0].code, "snp-length");
    let _: Value = broken[0].problems[0].message.clone().into();
}
