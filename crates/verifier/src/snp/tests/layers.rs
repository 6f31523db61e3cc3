//! Verification of generated Evidence: the yes of every product, version and key, and a no for each layer.

use protocol::ReportData;
use protocol::digest::Hex;
use protocol::reference::snp::SigningKey;
use protocol::reference::{AmdProduct, TcbVersion};
use testkit::der::{Crl, Extension, Key, KeyKind, NOT_AFTER, NOT_BEFORE, ia5_string, integer};
use testkit::snp::{
    ASK_SERIAL, ASVK_SERIAL, CRL_GUID, CSP_ID, Line, Report, ReportKey, VCEK_GUID, certificate_table, key_certificate,
    key_extensions, name,
};

use super::rig::{ALL_HOLD, EXPECTED, NOW, anchors, endorse, judge, judge_at, lists_only, milan, shown, with_crl};
use crate::Endorsements;
use crate::context::{Cache, Context};
use crate::endorsements::{AmdKey, EndorsementKind, Need};
use crate::snp::examine::{examine, needs};
use crate::time::UnixTime;

const KEYS: [SigningKey; 2] = [SigningKey::Vcek, SigningKey::Vlek];

#[test]
fn every_product_version_and_key_verifies() {
    for product in AmdProduct::ALL {
        for version in 2..=5 {
            for kind in KEYS {
                let report = Report::new(product, version, kind);
                let key = ReportKey::of(&report);
                let examination = judge(&key.sign(&report), &endorse(&key));
                assert_eq!(shown(&examination), ALL_HOLD, "{product} {version} {kind}");
                let claims = examination.claims.unwrap();
                assert_eq!(claims.product, Some(product));
                assert_eq!(claims.version, version);
                assert_eq!(claims.reported_tcb, report.reported_tcb);
                assert_eq!(claims.processor.is_some(), version >= 3);
                assert_eq!(claims.current_mitigations.is_some(), version == 5);
                let endorsed = claims.endorsed.clone().unwrap();
                match kind {
                    SigningKey::Vcek => assert_eq!(claims.chip(), Some(Hex(report.chip_id))),
                    SigningKey::Vlek => assert_eq!((claims.chip(), endorsed.csp_id.as_deref()), (None, Some(CSP_ID))),
                }
                assert_eq!(examination.endorsers.last().unwrap(), &format!("ARK-{product}"));
            }
        }
    }
}

#[test]
fn the_hosts_table_can_bring_certificate_and_list() {
    let report = milan();
    let key = ReportKey::of(&report);
    let mut body = key.sign(&report);
    let crl = key.line.crl();
    body.extend(certificate_table(&[(VCEK_GUID, &key.certificate), (CRL_GUID, &crl), ([7; 16], b"of the provider")]));
    assert_eq!(shown(&judge(&body, &Endorsements::default())), ALL_HOLD);
}

#[test]
fn a_second_report_of_a_machine_is_judged_from_memory_and_as_strictly() {
    let report = milan();
    let key = ReportKey::of(&report);
    let (anchors, cache, endorsements) = (anchors(), Cache::default(), endorse(&key));
    let look = |body: &[u8], endorsements: &Endorsements, now| {
        shown(&examine(body, Some(&EXPECTED), &Context { anchors: &anchors, endorsements, now, cache: &cache }))
    };
    for _ in 0..2 {
        assert_eq!(look(&key.sign(&report), &endorsements, NOW), ALL_HOLD);
    }
    let mut forged = key.sign(&report);
    forged[0x90] ^= 1;
    assert!(look(&forged, &endorsements, NOW).contains("signature snp-signature!"));
    assert!(look(&key.sign(&report), &endorsements, UnixTime(NOT_AFTER + 1)).contains("chain certificate-expired?"));
    assert!(look(&key.sign(&report), &Endorsements::default(), NOW).contains("revocation crl-missing?"));
    let revoked = with_crl(&key.certificate, &key.line.crl_revoking(ASK_SERIAL));
    assert!(look(&key.sign(&report), &revoked, NOW).contains("revocation certificate-revoked!"));
}

/// For every bit of the signed part, under a key whose certificate the verifier has: never a yes, and either the bytes are
/// no report any more, or the signature is bad, or they name another key as the signer, which is not at hand.
#[test]
fn no_flipped_bit_verifies() {
    for (product, version, kind) in [
        (AmdProduct::Milan, 2, SigningKey::Vcek),
        (AmdProduct::Genoa, 3, SigningKey::Vlek),
        (AmdProduct::Turin, 5, SigningKey::Vcek),
    ] {
        let report = Report::new(product, version, kind);
        let key = ReportKey::of(&report);
        let (anchors, cache, endorsements) = (anchors(), Cache::default(), endorse(&key));
        let context = Context { anchors: &anchors, endorsements: &endorsements, now: NOW, cache: &cache };
        let genuine = key.sign(&report);
        assert_eq!(shown(&examine(&genuine, Some(&EXPECTED), &context)), ALL_HOLD);
        for index in 0..genuine.len() {
            // Every bit of a byte where bits mean different things, one elsewhere: verifying takes its time.
            let bits = if matches!(index, 0..0x10 | 0x30..0x50 | 0x180..0x1a0 | 0x1e0..0x210) { 0..8 } else { 3..4 };
            for bit in bits {
                let mut body = genuine.clone();
                body[index] ^= 1 << bit;
                let layers = shown(&examine(&body, Some(&EXPECTED), &context));
                // Of a VLEK's reports nobody can tell whether another provider's key signed them.
                let unsigned = match kind {
                    SigningKey::Vcek => "chip_key +, signature snp-signature!",
                    SigningKey::Vlek => "chip_key snp-other-key?, signature (needs chip_key)",
                };
                let at = format!("{product} {version} byte {index:#x} bit {bit}: {layers}");
                assert_ne!(layers, ALL_HOLD, "{at}");
                match index {
                    0x00..0x04 => {
                        assert!(layers.starts_with("format snp-") || layers.contains(unsigned), "{at}");
                    }
                    0x34..0x38 => assert!(layers.contains("format snp-signature-algorithm?"), "{at}"),
                    0x4c..0x50 | 0x1eb | 0x1ef | 0x208..0x2a0 => {
                        assert!(layers.contains("format snp-reserved!"), "{at}");
                    }
                    0x2d0..0x2e8 | 0x318..0x4a0 => assert!(layers.contains("format snp-reserved!"), "{at}"),
                    0x50..0x90 => {
                        assert!(layers.contains(&format!("{unsigned}, binding evidence-unbound!")), "{at}");
                    }
                    0x04..0x08 | 0x10..0x30 | 0x90..0x180 | 0x2a0..0x2d0 | 0x2e8..0x318 => {
                        assert!(layers.contains(unsigned), "{at}");
                    }
                    0x1a0..0x1e0 => {
                        // A VLEK certifies no chip, so an id that appears is caught by the signature alone. An id whose
                        // zeros go can make an old report read in the other product's layout.
                        let expected = "chip_key snp-other-key?, signature (needs chip_key)";
                        assert!(layers.contains(expected), "{at}");
                    }
                    _ => assert!(
                        layers.starts_with("format snp-")
                            || layers.contains("signature snp-signature!")
                            || layers.contains("chip_key snp-other-key?, signature (needs chip_key)"),
                        "{at}"
                    ),
                }
            }
        }
    }
}

/// One change of a certificate, and what it does.
#[test]
fn a_certificate_that_disagrees_with_the_report_is_of_another_key() {
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 8] = [
        ("chip_id", |r| r.chip_id[0] ^= 1),
        ("reported_tcb.bootloader", |r| r.reported_tcb.bootloader += 1),
        ("reported_tcb.tee", |r| r.reported_tcb.tee += 1),
        ("reported_tcb.snp", |r| r.reported_tcb.snp += 1),
        ("reported_tcb.microcode", |r| r.reported_tcb.microcode -= 1),
        ("reported_tcb.fmc", |r| r.reported_tcb.fmc = Some(9)),
        ("signing_key", |r| r.signing_key_field = Some(1)),
        ("product", |r| r.processor = [0x19, 0x11, 1]),
    ];
    for (field, change) in changes {
        let product = if field.ends_with("fmc") { AmdProduct::Turin } else { AmdProduct::Milan };
        let mut report = Report::new(product, 3, SigningKey::Vcek);
        let key = ReportKey::of(&report);
        change(&mut report);
        // Signed by the certified key all the same: the two contradict each other, and that is a no.
        let examination = judge(&key.sign(&report), &endorse(&key));
        assert!(shown(&examination).contains("chip_key snp-key-contradicts!, signature +"), "{field}");
        let text = examination.layers.chip_key.error().unwrap().chain();
        assert!(text.contains(&format!("{field} is ")), "{field}: {text}");
        // Signed by a key that nobody has seen: its certificate is missing, which is no statement about the report.
        let examination = judge(&ReportKey::of(&report).sign(&report), &endorse(&key));
        assert!(shown(&examination).contains("chip_key snp-other-key?, signature (needs chip_key)"), "{field}");
    }
}

#[test]
fn the_message_names_both_values() {
    let mut report = milan();
    let key = ReportKey::of(&report);
    report.reported_tcb.microcode = 209;
    let examination = judge(&ReportKey::of(&report).sign(&report), &endorse(&key));
    expect_test::expect![
        "SEV-SNP evidence: no vcek certificate at hand is of this report's key: reported_tcb.microcode is 209, certified is 213"
    ]
    .assert_eq(&examination.layers.chip_key.error().unwrap().chain());
}

#[test]
fn among_many_certificates_the_right_one_is_found() {
    let report = milan();
    let key = ReportKey::of(&report);
    let mut endorsements = lists_only(key.line);
    for number in 0..40_u8 {
        let tcb = TcbVersion { microcode: number, ..report.reported_tcb };
        let chip = if number % 2 == 0 { report.chip_id } else { [number; 64] };
        let other = ReportKey::new(AmdProduct::Milan, SigningKey::Vcek, &tcb, &chip);
        endorsements.add(EndorsementKind::Certificate, &other.certificate).unwrap();
    }
    // One that says the right things and is forged, before the right one.
    let forged = ReportKey::with_certificate(key.line, SigningKey::Vcek, |forged| {
        let extensions = key_extensions(report.product, SigningKey::Vcek, &report.reported_tcb, &report.chip_id);
        key_certificate(key.line, SigningKey::Vcek, extensions).sign(forged, &Key::generate(KeyKind::P384))
    });
    endorsements.add(EndorsementKind::Certificate, &forged.certificate).unwrap();
    let body = key.sign(&report);
    assert!(shown(&judge(&body, &endorsements)).contains("chain certificate-signature!"));
    endorsements.add(EndorsementKind::Certificate, &key.certificate).unwrap();
    assert_eq!(shown(&judge(&body, &endorsements)), ALL_HOLD);
}

#[test]
fn without_a_certificate_it_cannot_be_told() {
    for kind in KEYS {
        let report = Report::new(AmdProduct::Genoa, 3, kind);
        let key = ReportKey::of(&report);
        let layers = shown(&judge(&key.sign(&report), &lists_only(key.line)));
        assert_eq!(
            layers,
            "format +, chain (needs chip_key), revocation (needs chip_key), chip_key endorsement-missing?, \
             signature (needs chip_key), binding +"
        );
    }
}

#[test]
fn revocation_is_known_or_it_cannot_be_told() {
    for (kind, own, other) in [(SigningKey::Vcek, ASK_SERIAL, ASVK_SERIAL), (SigningKey::Vlek, ASVK_SERIAL, ASK_SERIAL)]
    {
        let report = Report::new(AmdProduct::Turin, 5, kind);
        let key = ReportKey::of(&report);
        let body = key.sign(&report);
        let with = |crl: &[u8]| shown(&judge(&body, &with_crl(&key.certificate, crl)));
        let line = key.line;
        assert_eq!(with(&line.crl_revoking(other)), ALL_HOLD);
        assert!(with(&line.crl_revoking(own)).contains("revocation certificate-revoked!"));
        assert!(with(&Line::of(AmdProduct::Milan).crl()).contains("revocation crl-missing?"));
        assert!(with(&Crl::new(line.root_name()).sign(line.ask_key)).contains("revocation crl-signature?"));
        let mut old = Crl::new(line.root_name());
        old.next_update = Some(NOT_BEFORE + 1);
        assert!(with(&old.sign(line.ark_key)).contains("revocation crl-expired?"));
        // A list in the host's table is heard too: it can take away, never give.
        let mut extended = body.clone();
        extended.extend(certificate_table(&[(CRL_GUID, &line.crl_revoking(own))]));
        let mut without = Endorsements::default();
        without.add(EndorsementKind::Certificate, &key.certificate).unwrap();
        assert!(shown(&judge(&extended, &without)).contains("revocation certificate-revoked!"));
    }
}

#[test]
fn a_chain_that_does_not_lead_to_the_products_root_is_refused() {
    let report = milan();
    let line = Line::of(AmdProduct::Milan);
    let extensions = || key_extensions(report.product, SigningKey::Vcek, &report.reported_tcb, &report.chip_id);
    let template = || key_certificate(line, SigningKey::Vcek, extensions());
    let sign = |certify: &dyn Fn(&Key) -> Vec<u8>| ReportKey::with_certificate(line, SigningKey::Vcek, certify);
    let cases: [(&str, ReportKey); 6] = [
        ("certificate-signature!", sign(&|key| template().sign(key, &Key::generate(KeyKind::P384)))),
        (
            "snp-key-authority!",
            sign(&|key| {
                let mut template = template();
                template.issuer = line.authority_name(SigningKey::Vlek);
                template.sign(key, line.asvk_key)
            }),
        ),
        (
            "certificate-untrusted-root!",
            sign(&|key| {
                let genoa = Line::of(AmdProduct::Genoa);
                key_certificate(genoa, SigningKey::Vcek, extensions()).sign(key, genoa.ask_key)
            }),
        ),
        (
            "certificate-issuer-missing?",
            sign(&|key| {
                let mut template = template();
                template.issuer = name("SEV-Rome");
                template.sign(key, line.ask_key)
            }),
        ),
        (
            "certificate-critical-extension!",
            sign(&|key| template().with(Extension::critical("1.2.3.4", integer(1))).sign(key, line.ask_key)),
        ),
        ("certificate-not-yet-valid?", sign(&|key| template().valid(NOW.0 + 1, NOT_AFTER).sign(key, line.ask_key))),
    ];
    for (code, key) in cases {
        let layers = shown(&judge(&key.sign(&report), &endorse(&key)));
        assert!(layers.contains(&format!("chain {code}, revocation (needs chain)")), "{code}: {layers}");
        assert!(layers.contains("signature +"), "{code}: {layers}");
    }
    let key = ReportKey::of(&report);
    let expired = judge_at(&key.sign(&report), &endorse(&key), UnixTime(NOT_AFTER + 1));
    assert!(shown(&expired).contains("chain certificate-expired?"));
}

#[test]
fn a_certificate_without_amds_extensions_is_no_keys() {
    for (product, kind) in [(AmdProduct::Turin, SigningKey::Vcek), (AmdProduct::Milan, SigningKey::Vlek)] {
        let report = Report::new(product, 5, kind);
        let all = key_extensions(product, kind, &report.reported_tcb, &report.chip_id);
        // structVersion and the four reserved numbers are not read.
        let unread = ["1", "3.4", "3.5", "3.6", "3.7"].map(|suffix| format!("1.3.6.1.4.1.3704.1.{suffix}"));
        for index in 0..all.len() {
            let mut without = all.clone();
            let removed = without.remove(index);
            let mut broken = all.clone();
            broken[index].value = vec![0x05, 0x00];
            for extensions in [without, broken] {
                let key = ReportKey::with_extensions(product, kind, extensions);
                let layers = shown(&judge(&key.sign_extended(&report), &lists_only(key.line)));
                if unread.contains(&removed.oid) {
                    assert_eq!(layers, ALL_HOLD, "{}", removed.oid);
                } else {
                    assert!(layers.contains("chip_key snp-key-certificate"), "{} {layers}", removed.oid);
                }
            }
        }
        let mut both = all.clone();
        both.push(match kind {
            SigningKey::Vcek => Extension::new("1.3.6.1.4.1.3704.1.5", ia5_string(CSP_ID)),
            SigningKey::Vlek => Extension::new("1.3.6.1.4.1.3704.1.4", vec![1; 64]),
        });
        let key = ReportKey::with_extensions(product, kind, both);
        let layers = shown(&judge(&key.sign_extended(&report), &lists_only(key.line)));
        assert!(layers.contains("chip_key snp-key-certificate!"), "{layers}");
        let mut unknown = all;
        unknown[1].value = ia5_string("Venice-A0");
        let key = ReportKey::with_extensions(product, kind, unknown);
        let layers = shown(&judge(&key.sign_extended(&report), &lists_only(key.line)));
        assert!(layers.contains("chip_key snp-key-certificate?"), "{layers}");
    }
}

#[test]
fn a_key_on_another_curve_is_refused() {
    let report = milan();
    let line = Line::of(AmdProduct::Milan);
    let extensions = key_extensions(report.product, SigningKey::Vcek, &report.reported_tcb, &report.chip_id);
    let other = Key::generate(KeyKind::P256);
    let certificate = key_certificate(line, SigningKey::Vcek, extensions).sign(&other, line.ask_key);
    let mut body = ReportKey::of(&report).sign(&report);
    body.extend(certificate_table(&[(VCEK_GUID, &certificate)]));
    assert!(shown(&judge(&body, &lists_only(line))).contains("chip_key snp-key-certificate!"));
}

#[test]
fn a_hardware_id_within_an_octet_string_is_read() {
    let report = Report::new(AmdProduct::Turin, 5, SigningKey::Vcek);
    let mut extensions = key_extensions(report.product, SigningKey::Vcek, &report.reported_tcb, &report.chip_id);
    let id = extensions.last_mut().unwrap();
    id.value = testkit::der::octet_string(&id.value);
    let key = ReportKey::with_extensions(report.product, SigningKey::Vcek, extensions);
    assert_eq!(shown(&judge(&key.sign(&report), &endorse(&key))), ALL_HOLD);
}

#[test]
fn a_masked_chip_is_known_by_its_certificate() {
    let mut report = milan();
    report.mask_chip_id = true;
    let key = ReportKey::of(&report);
    let examination = judge(&key.sign(&report), &endorse(&key));
    assert_eq!(shown(&examination), ALL_HOLD);
    assert_eq!(examination.claims.unwrap().chip(), Some(Hex(report.chip_id)));
    // Two machines of one TCB: the signature tells which.
    let other = ReportKey::new(report.product, SigningKey::Vcek, &report.reported_tcb, &[9; 64]);
    let mut endorsements = endorse(&key);
    endorsements.add(EndorsementKind::Certificate, &other.certificate).unwrap();
    let examination = judge(&other.sign(&report), &endorsements);
    assert_eq!(shown(&examination), ALL_HOLD);
    assert_eq!(examination.claims.unwrap().chip(), Some(Hex([9; 64])));
}

#[test]
fn a_masked_chip_is_looked_for_among_so_many_and_no_more() {
    let mut report = milan();
    report.mask_chip_id = true;
    let key = ReportKey::of(&report);
    let mut endorsements = lists_only(key.line);
    let fill = |endorsements: &mut Endorsements, numbers: std::ops::Range<u8>| {
        for number in numbers {
            let other = ReportKey::new(report.product, SigningKey::Vcek, &report.reported_tcb, &[number; 64]);
            endorsements.add(EndorsementKind::Certificate, &other.certificate).unwrap();
        }
    };
    let body = key.sign(&report);
    fill(&mut endorsements, 1..64);
    // Other machines' certificates only: the right one is missing, and the chip is not claimed to be one of theirs.
    let examination = judge(&body, &endorsements);
    assert!(shown(&examination).contains("chip_key snp-other-key?, signature (needs chip_key)"));
    assert_eq!(examination.claims.unwrap().chip(), None);
    let mut enough = endorsements.clone();
    enough.add(EndorsementKind::Certificate, &key.certificate).unwrap();
    assert_eq!(shown(&judge(&body, &enough)), ALL_HOLD);
    fill(&mut endorsements, 64..66);
    endorsements.add(EndorsementKind::Certificate, &key.certificate).unwrap();
    assert!(shown(&judge(&body, &endorsements)).contains("chip_key snp-too-many-keys?"));
    // The host's table comes first.
    let mut extended = body;
    extended.extend(certificate_table(&[(VCEK_GUID, &key.certificate)]));
    assert_eq!(shown(&judge(&extended, &endorsements)), ALL_HOLD);
}

#[test]
fn another_providers_vlek_is_no_statement_about_a_report() {
    let report = Report::new(AmdProduct::Milan, 3, SigningKey::Vlek);
    let (key, other) = (ReportKey::of(&report), ReportKey::of(&report));
    assert_eq!(shown(&judge(&key.sign(&report), &endorse(&key))), ALL_HOLD);
    let layers = shown(&judge(&key.sign(&report), &endorse(&other)));
    assert!(layers.contains("chip_key snp-other-key?, signature (needs chip_key)"), "{layers}");
    // A chip that is named has one key, and who does not sign with it is an impostor.
    let report = milan();
    let (key, other) = (ReportKey::of(&report), ReportKey::of(&report));
    assert!(shown(&judge(&key.sign(&report), &endorse(&other))).contains("chip_key +, signature snp-signature!"));
}

#[test]
fn a_list_of_the_hosts_is_heard_only_beside_a_signature() {
    let report = milan();
    let key = ReportKey::of(&report);
    let mut without = Endorsements::default();
    without.add(EndorsementKind::Certificate, &key.certificate).unwrap();
    let mut body = key.sign(&report);
    body.extend(certificate_table(&[(CRL_GUID, &key.line.crl())]));
    assert_eq!(shown(&judge(&body, &without)), ALL_HOLD);
    body[0x90] ^= 1;
    assert!(shown(&judge(&body, &without)).contains("revocation crl-missing?"));
    // A clear list of the host's does not hide what another one revokes.
    let mut body = key.sign(&report);
    let mut newer = Crl::new(key.line.root_name());
    newer.this_update = NOT_BEFORE + 100;
    body.extend(certificate_table(&[(CRL_GUID, &newer.sign(key.line.ark_key))]));
    let revoked = with_crl(&key.certificate, &key.line.crl_revoking(ASK_SERIAL));
    assert!(shown(&judge(&body, &revoked)).contains("revocation certificate-revoked!"));
}

#[test]
fn an_unsigned_report_is_refused() {
    let mut report = milan();
    report.mask_chip_key = true;
    report.signing_key_field = Some(7);
    let mut body = report.signed_bytes();
    body.resize(crate::snp::REPORT_LEN, 0);
    let layers = shown(&judge(&body, &endorse(&ReportKey::of(&milan()))));
    assert!(layers.contains("signature snp-not-signed!"), "{layers}");
}

#[test]
fn a_report_for_another_channel_is_unbound() {
    let report = milan();
    let key = ReportKey::of(&report);
    let (anchors, cache, endorsements) = (anchors(), Cache::default(), endorse(&key));
    let context = Context { anchors: &anchors, endorsements: &endorsements, now: NOW, cache: &cache };
    let body = key.sign(&report);
    let layers = shown(&examine(&body, Some(&ReportData([0; 64])), &context));
    assert_eq!(layers, ALL_HOLD.replace("binding +", "binding evidence-unbound!"));
    let layers = shown(&examine(&body, None, &context));
    assert_eq!(layers, ALL_HOLD.replace("binding +", "binding (needs the report data to expect)"));
}

#[test]
fn what_is_needed_is_named() {
    let report = milan();
    let key = ReportKey::of(&report);
    let (product, tcb) = (AmdProduct::Milan, report.reported_tcb);
    let crl = |product, key| Need::AmdCrl { product, key };
    let chip_id = Hex(report.chip_id);
    assert_eq!(needs(&key.sign(&report)), [Need::Vcek { product, chip_id, tcb }, crl(product, AmdKey::Vcek)]);
    assert_eq!(needs(&key.sign_extended(&report)), [crl(product, AmdKey::Vcek)]);
    // An old report does not say which product it is of.
    let mut old = report.clone();
    old.version = 2;
    let genoa = AmdProduct::Genoa;
    assert_eq!(
        needs(&key.sign(&old)),
        [
            Need::Vcek { product, chip_id, tcb },
            Need::Vcek { product: genoa, chip_id, tcb },
            crl(product, AmdKey::Vcek),
            crl(genoa, AmdKey::Vcek)
        ]
    );
    assert_eq!(needs(&key.sign_extended(&old)), [crl(product, AmdKey::Vcek)]);
    let cloud = Report::new(product, 3, SigningKey::Vlek);
    assert_eq!(needs(&ReportKey::of(&cloud).sign(&cloud)), [Need::Vlek { product, tcb }, crl(product, AmdKey::Vlek)]);
    assert_eq!(needs(b"no report"), []);
}

#[test]
fn a_root_of_somebody_elses_is_not_believed() {
    let report = milan();
    let key = ReportKey::of(&report);
    let (anchors, cache, mut endorsements) = (crate::TrustAnchors::vendor(), Cache::default(), endorse(&key));
    for der in [&key.line.ark, &key.line.ask] {
        endorsements.add(EndorsementKind::Certificate, der).unwrap();
    }
    let context = Context { anchors: &anchors, endorsements: &endorsements, now: NOW, cache: &cache };
    let examination = examine(&key.sign(&report), Some(&EXPECTED), &context);
    assert!(shown(&examination).contains("chain certificate-signature!"), "{}", shown(&examination));
}
