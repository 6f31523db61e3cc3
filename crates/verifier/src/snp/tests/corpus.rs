//! Reports that real machines signed: which layers hold, and which cannot be told, at a fixed time.

use protocol::ReportData;
use protocol::digest::Hex;
use protocol::reference::{AmdProduct, TcbVersion};
use testkit::corpus::file;

use super::rig::shown;
use crate::context::{Cache, Context};
use crate::endorsements::{EndorsementKind, Endorsements, Need};
use crate::snp::examine::{Examination, examine, needs};
use crate::snp::report::{FirmwareVersion, Processor, Signer};
use crate::snp::{appraise, parse, reference_values};
use crate::{TrustAnchors, UnixTime};

/// Within the validity of both keys' certificates: the VCEK's is 2023-01-24 to 2030-01-24, the VLEK's 2024-12-10 to
/// 2025-12-10.
const AT: &str = "2025-06-01";

fn judge(report: &[u8], certificate: &[u8], at: &str) -> Examination {
    let expected = ReportData(parse(report).unwrap().report_data.0);
    let mut endorsements = Endorsements::default();
    endorsements.add(EndorsementKind::Certificate, certificate).unwrap();
    let (anchors, cache, now) = (TrustAnchors::vendor(), Cache::default(), at.parse::<UnixTime>().unwrap());
    examine(report, Some(&expected), &Context { anchors: &anchors, endorsements: &endorsements, now, cache: &cache })
}

/// Everything but the revocation list, which is not part of the corpus.
const ALL_BUT_THE_LIST: &str = "format +, chain +, revocation crl-missing?, chip_key +, signature +, binding +";

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_milan_report_of_version_2_holds_up_to_amds_root() {
    let (report, vcek) = (file("snp/test-report.bin"), file("snp/test-vcek.der"));
    let examination = judge(&report, &vcek, AT);
    assert_eq!(shown(&examination), ALL_BUT_THE_LIST);
    assert_eq!(examination.endorsers, ["SEV-VCEK", "SEV-Milan", "ARK-Milan"]);
    let claims = examination.claims.unwrap();
    assert_eq!((claims.version, claims.guest_svn, claims.vmpl, claims.signer), (2, 4, 0, Signer::Vcek));
    assert_eq!((claims.policy.0, claims.platform_info.0), (0x3_001f, 1));
    assert_eq!(claims.product, Some(AmdProduct::Milan));
    assert_eq!(claims.processor, None);
    let tcb = |microcode| TcbVersion { fmc: None, bootloader: 3, tee: 0, snp: 8, microcode };
    assert_eq!(claims.current_tcb, tcb(0xce));
    assert_eq!([claims.reported_tcb, claims.committed_tcb, claims.launch_tcb], [tcb(0x73); 3]);
    assert_eq!(claims.current_version, FirmwareVersion { major: 1, minor: 52, build: 4 });
    assert_eq!(claims.endorsed.unwrap().chip_id, Some(claims.chip_id));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_milan_report_of_version_3_under_a_vlek_holds_up_to_amds_root() {
    let (report, vlek) = (file("snp/test-vlek-report.bin"), file("snp/test-vlek.der"));
    let examination = judge(&report, &vlek, AT);
    assert_eq!(shown(&examination), ALL_BUT_THE_LIST);
    assert_eq!(examination.endorsers, ["SEV-VLEK", "SEV-VLEK-Milan", "ARK-Milan"]);
    let claims = examination.claims.unwrap();
    assert_eq!((claims.version, claims.vmpl, claims.signer), (3, 1, Signer::Vlek));
    assert_eq!((claims.policy.0, claims.platform_info.0), (0x3_0000, 0x27));
    assert_eq!(claims.processor, Some(Processor { family: 0x19, model: 1, stepping: 1 }));
    let tcb = |microcode| TcbVersion { fmc: None, bootloader: 4, tee: 0, snp: 24, microcode };
    let reported = [claims.current_tcb, claims.reported_tcb, claims.committed_tcb, claims.launch_tcb];
    assert_eq!(reported, [tcb(0xdc), tcb(0xd9), tcb(0xdb), tcb(0xdb)]);
    assert_eq!(claims.chip_id, Hex([0; 64]));
    assert_eq!(claims.endorsed.unwrap().csp_id.as_deref(), Some("CN=cc-us-east-2.amazonaws.com"));
    // A year later nobody can tell any more: the VLEK's certificate has expired.
    let later = shown(&judge(&report, &vlek, "2026-11-21"));
    assert!(later.contains("chain certificate-expired?, revocation (needs chain), chip_key +, signature +"), "{later}");
}

/// Somebody's imitation of a VCEK: a made-up chip id (00 01 02 …), and no authority of AMD's signed it.
#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_invalid_legacy_vcek_is_refused_because_amd_did_not_sign_it() {
    let (report, vcek) = (file("snp/test-report.bin"), file("snp/test-vcek-invalid-legacy.der"));
    let examination = judge(&report, &vcek, AT);
    assert_eq!(
        shown(&examination),
        "format +, chain certificate-signature!, revocation (needs chain), chip_key snp-other-key?, \
         signature (needs chip_key), binding +"
    );
    assert_eq!(
        examination.layers.chain.error().unwrap().chain(),
        "chain of certificates: certificate `SEV-VCEK`: its signature is not by `SEV-Milan`"
    );
    assert_eq!(
        examination.layers.chip_key.error().unwrap().chain(),
        "SEV-SNP evidence: no vcek certificate at hand is of this report's key: chip_id is c38427a30d4c, certified is \
         000102030405; reported_tcb.snp is 8, certified is 10; reported_tcb.microcode is 115, certified is 169"
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_one_machines_certificate_does_not_serve_another() {
    let (report, vlek_report) = (file("snp/test-report.bin"), file("snp/test-vlek-report.bin"));
    let (vcek, vlek) = (file("snp/test-vcek.der"), file("snp/test-vlek.der"));
    for (report, certificate) in [(&report, &vlek), (&vlek_report, &vcek)] {
        let layers = shown(&judge(report, certificate, AT));
        assert!(
            layers.contains("chain +, revocation crl-missing?, chip_key snp-other-key?, signature (needs"),
            "{layers}"
        );
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_no_flipped_bit_of_a_genuine_report_verifies() {
    for (report, certificate) in
        [("snp/test-report.bin", "snp/test-vcek.der"), ("snp/test-vlek-report.bin", "snp/test-vlek.der")]
    {
        let (report, certificate) = (file(report), file(certificate));
        let expected = ReportData(parse(&report).unwrap().report_data.0);
        let mut endorsements = Endorsements::default();
        endorsements.add(EndorsementKind::Certificate, &certificate).unwrap();
        let (anchors, cache) = (TrustAnchors::vendor(), Cache::default());
        let context =
            Context { anchors: &anchors, endorsements: &endorsements, now: AT.parse().unwrap(), cache: &cache };
        assert_eq!(shown(&examine(&report, Some(&expected), &context)), ALL_BUT_THE_LIST);
        for index in 0..report.len() {
            let mut body = report.clone();
            body[index] ^= 1 << (index % 8);
            let layers = shown(&examine(&body, Some(&expected), &context));
            assert!(!layers.contains("signature +"), "byte {index:#x}: {layers}");
        }
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_reference_values_from_a_genuine_report_accept_it() {
    for (report, certificate) in
        [("snp/test-report.bin", "snp/test-vcek.der"), ("snp/test-vlek-report.bin", "snp/test-vlek.der")]
    {
        let claims = judge(&file(report), &file(certificate), AT).claims.unwrap();
        let values = reference_values(&claims).unwrap();
        assert_eq!(values.validate(), Ok(()));
        appraise(&claims, &values, UnixTime(0)).unwrap();
        assert!(values.provisional_firmware, "both machines run firmware that they have not committed to");
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_genuine_report_names_what_it_needs() {
    let needs = needs(&file("snp/test-report.bin"));
    assert!(matches!(needs.first(), Some(Need::Vcek { product: AmdProduct::Milan, tcb, .. }) if tcb.microcode == 0x73));
}
