//! Software Evidence through the whole Verifier: one yes, and a no with a name for every field.

use expect_test::expect;
use proptest::prelude::*;
use protocol::digest::Measurement;
use protocol::manifest::ReferenceValues;
use protocol::software::{LEN, ParseReportError, SIGNED, SoftwareReport};
use protocol::{DeviceEvidence, DeviceKind, Digest, Evidence, Identity, ReportData, Tee};
use testkit::SoftwareTee;
use testkit::software::seal;
use verifier::ear::TrustTier;
use verifier::{
    AppraiseError, AttestationResult, Endorsements, Fault, NotGenuine, UnixTime, UnverifiedEvidence, VerifiedEvidence,
    Verifier, VerifyError, appraise, claimed_identity,
};

const MEASUREMENT: Measurement = Measurement::from_bytes([1; 48]);
const REPORT_DATA: ReportData = ReportData([2; 64]);

fn tee() -> SoftwareTee {
    SoftwareTee::from_seed([7; 32])
}

fn identity() -> Identity {
    Identity(Digest::of(b"initdata"))
}

fn evidence() -> Evidence {
    tee().evidence(MEASUREMENT, identity(), &REPORT_DATA)
}

fn check(evidence: Evidence) -> Result<VerifiedEvidence, VerifyError> {
    Verifier::new().verify(
        UnverifiedEvidence::new(evidence)?,
        &REPORT_DATA.into(),
        &Endorsements::default(),
        UnixTime(0),
    )
}

fn judge(evidence: Evidence, values: &ReferenceValues) -> Result<AttestationResult, AppraiseError> {
    appraise(check(evidence).unwrap(), values)
}

/// A report with one field changed after it was signed.
fn tampered(mutate: impl FnOnce(&mut SoftwareReport)) -> Evidence {
    let mut report = tee().report(MEASUREMENT, identity(), &REPORT_DATA);
    mutate(&mut report);
    Evidence::new(Tee::Software, report.encode())
}

/// A report with one field changed by whoever holds the root key.
fn forged(mutate: impl FnOnce(&mut SoftwareReport)) -> Evidence {
    let mut report = tee().report(MEASUREMENT, identity(), &REPORT_DATA);
    mutate(&mut report);
    Evidence::new(Tee::Software, seal(tee().root(), report).encode())
}

#[test]
fn genuine_bound_and_expected_evidence_gives_a_result() {
    let digest = evidence().digest();
    let result = judge(evidence(), &tee().reference_values(&[MEASUREMENT])).unwrap();
    assert_eq!(result.identity(), identity());
    assert_eq!(result.tee(), Tee::Software);
    assert_eq!(result.measurement(), MEASUREMENT);
    assert_eq!(result.chip_id(), tee().root_digest());
    assert_eq!(result.evidence_digest(), digest);
    assert!(result.is_insecure());
}

#[test]
fn a_measurement_counts_wherever_it_is_in_the_list() {
    let others = [Measurement::from_bytes([8; 48]), Measurement::from_bytes([9; 48]), MEASUREMENT];
    assert!(judge(evidence(), &tee().reference_values(&others)).is_ok());
}

#[test]
fn software_evidence_is_never_affirming_and_says_insecure() {
    let result = judge(evidence(), &tee().reference_values(&[MEASUREMENT])).unwrap();
    assert_eq!(result.trust_vector().tier(), TrustTier::Warning);
    assert_eq!(result.trust_vector().hardware.tier(), TrustTier::None);
    expect![[r#"
        {
          "eat_profile": "tag:ietf.org,2026:rats/ear#04",
          "ear_status": "warning",
          "iat": 1800000000,
          "ear_verifier_id": {
            "developer": "https://casemate.dev",
            "build": "casemate 0.1.0"
          },
          "submods": {
            "software": {
              "ear_status": "warning",
              "ear_trustworthiness_vector": {
                "instance-identity": 2,
                "executables": 3,
                "runtime-opaque": 32
              },
              "casemate.dev/insecure": true,
              "casemate.dev/identity": "ecb3d79a467c08a5bfbb66cd1250d297a22cfda41dee97e67549b973eeabfd15",
              "casemate.dev/measurement": "010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101",
              "casemate.dev/chip-id": "fe812c12f3ab4ce6ac5db69ac352f906cb1b11ef43fb33e252ef7ff552263889",
              "casemate.dev/evidence": "ba5dd55b8369308d2b6fd3dfdfd179d1a1f01840c970353baf68a1f39451054a"
            }
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&result.ear(1_800_000_000)).unwrap());
}

#[test]
fn a_field_changed_after_signing_is_not_genuine() {
    let root = tee().root_digest();
    let mutations: [fn(&mut SoftwareReport); 7] = [
        |r| r.measurement = Measurement::from_bytes([9; 48]),
        |r| r.host_data = Digest::of(b"other initdata"),
        |r| r.report_data.0[0] ^= 1,
        |r| r.report_data.0[63] ^= 1,
        |r| r.launched_at += 1,
        |r| r.chip_id = Digest::of(b"other chip"),
        |r| r.signature[0] ^= 1,
    ];
    for (index, mutate) in mutations.into_iter().enumerate() {
        let error = check(tampered(mutate)).unwrap_err();
        assert_eq!(error, VerifyError::NotGenuine(NotGenuine::Signature { root }), "mutation {index}");
        assert!(error.is_refusal());
    }
}

#[test]
fn a_root_that_did_not_sign_is_named() {
    let other = SoftwareTee::generate().report(MEASUREMENT, identity(), &REPORT_DATA);
    let error = check(tampered(|r| r.root = other.root)).unwrap_err();
    assert_eq!(error, VerifyError::NotGenuine(NotGenuine::Signature { root: Digest::of(&other.root) }));
}

#[test]
fn a_chip_id_that_is_not_the_roots_is_refused_even_when_signed() {
    let chip = Digest::of(b"somebody else's machine");
    let error = check(forged(|r| r.chip_id = chip)).unwrap_err();
    assert_eq!(error, VerifyError::NotGenuine(NotGenuine::ChipId { reported: chip, expected: tee().root_digest() }));
}

#[test]
fn genuine_evidence_of_another_channel_is_unbound_and_says_both() {
    let got = ReportData([3; 64]);
    let error = check(tee().evidence(MEASUREMENT, identity(), &got)).unwrap_err();
    assert_eq!(error, VerifyError::Unbound { expected: Box::new(REPORT_DATA), got: Box::new(got) });
    expect!["evidence is not bound to this channel: report data is 030303030303, expected 020202020202"]
        .assert_eq(&error.to_string());
    assert!(error.is_refusal() && error.hint().is_some());
}

#[test]
fn one_bit_of_report_data_is_enough_to_be_unbound() {
    for bit in 0..512 {
        let mut got = REPORT_DATA;
        got.0[bit / 8] ^= 1 << (bit % 8);
        let error = check(tee().evidence(MEASUREMENT, identity(), &got)).unwrap_err();
        assert!(matches!(error, VerifyError::Unbound { .. }), "bit {bit}: {error}");
    }
}

#[test]
fn a_body_of_another_shape_is_malformed() {
    let report = evidence().body;
    let cases = [
        (vec![], ParseReportError::Length { got: 0 }),
        (report[..LEN - 1].to_vec(), ParseReportError::Length { got: LEN - 1 }),
        ([report.as_slice(), &[0]].concat(), ParseReportError::Length { got: LEN + 1 }),
        (vec![0; LEN], ParseReportError::Magic),
    ];
    for (body, reason) in cases {
        let error = check(Evidence::new(Tee::Software, body)).unwrap_err();
        assert_eq!(error, VerifyError::Malformed(reason));
        assert!(error.is_refusal());
    }
}

#[test]
fn evidence_beyond_the_limit_is_refused_before_it_is_parsed() {
    for tee in [Tee::Software, Tee::Snp, Tee::Tdx, Tee::Sgx] {
        let evidence = Evidence::new(tee, vec![0; Evidence::MAX_BODY + 1]);
        let expected = VerifyError::TooLong { got: Evidence::MAX_BODY + 1, limit: Evidence::MAX_BODY };
        assert_eq!(claimed_identity(&evidence), Err(expected.clone()));
        assert_eq!(UnverifiedEvidence::new(evidence).unwrap_err(), expected);
    }
}

#[test]
fn a_software_report_under_the_name_of_hardware_is_refused() {
    for tee in [Tee::Snp, Tee::Tdx, Tee::Sgx] {
        let error = check(Evidence::new(tee, evidence().body)).unwrap_err();
        assert!(matches!(error.fault(), Fault::Malformed | Fault::NotGenuine), "{error}");
        assert!(claimed_identity(&Evidence::new(tee, vec![])).is_err());
    }
}

#[test]
fn a_software_tee_vouches_for_no_device() {
    let device = DeviceEvidence { kind: DeviceKind::Gpu, report: vec![1], chain: vec![2] };
    let error = check(Evidence { devices: vec![device], ..evidence() }).unwrap_err();
    assert_eq!(error, VerifyError::DevicesNotVouchedFor { tee: Tee::Software, got: 1 });
}

#[test]
fn reference_values_without_software_refuse_software_evidence() {
    let error = judge(evidence(), &ReferenceValues::default()).unwrap_err();
    assert_eq!(error, AppraiseError::SoftwareNotAccepted);
    expect!["software evidence is not accepted by these reference values"].assert_eq(&error.to_string());
    assert!(error.is_refusal() && error.hint().is_some());
}

#[test]
fn another_engines_root_is_refused_with_both_digests() {
    let other = SoftwareTee::from_seed([8; 32]);
    let error = judge(evidence(), &other.reference_values(&[MEASUREMENT])).unwrap_err();
    let (reported, accepted) = (tee().root_digest(), other.root_digest());
    assert_eq!(error, AppraiseError::OtherRoot { reported, accepted });
    assert_eq!(error.to_string(), format!("software root is {}, accepted is {}", reported.short(), accepted.short()));
    assert!(error.is_refusal());
}

#[test]
fn another_measurement_is_refused_with_the_reported_and_the_accepted() {
    let other = Measurement::from_bytes([9; 48]);
    let error = judge(evidence(), &tee().reference_values(&[other])).unwrap_err();
    assert_eq!(error, AppraiseError::OtherMeasurement { reported: MEASUREMENT, accepted: vec![other] });
    expect!["measurement is 010101010101, accepted is 090909090909"].assert_eq(&error.to_string());
    let many: Vec<_> = (2..9).map(|byte| Measurement::from_bytes([byte; 48])).collect();
    let error = judge(evidence(), &tee().reference_values(&many)).unwrap_err();
    expect![
        "measurement is 010101010101, accepted are 020202020202, 030303030303, 040404040404, 050505050505 and 3 more"
    ]
    .assert_eq(&error.to_string());
    let error = judge(evidence(), &tee().reference_values(&[])).unwrap_err();
    expect!["measurement is 010101010101, accepted is none"].assert_eq(&error.to_string());
}

#[test]
fn the_root_is_judged_before_the_measurement() {
    // A foreign engine must not learn from the answer which measurements are accepted.
    let other = SoftwareTee::from_seed([8; 32]);
    let error = judge(evidence(), &other.reference_values(&[])).unwrap_err();
    assert!(matches!(error, AppraiseError::OtherRoot { .. }), "{error}");
}

#[test]
fn another_identity_than_the_expected_is_refused_with_both() {
    let result = judge(evidence(), &tee().reference_values(&[MEASUREMENT])).unwrap();
    let result = result.require_identity(identity()).unwrap();
    let expected = Identity(Digest::of(b"other initdata"));
    let error = result.require_identity(expected).unwrap_err();
    assert_eq!(error, AppraiseError::OtherIdentity { reported: identity(), expected });
    expect!["identity is ecb3d79a467c, expected ef91b433031e"].assert_eq(&error.to_string());
    assert!(error.is_refusal() && error.hint().is_some());
}

#[test]
fn ones_own_identity_can_be_read() {
    assert_eq!(claimed_identity(&evidence()), Ok(identity()));
    let error = claimed_identity(&Evidence::new(Tee::Software, vec![1])).unwrap_err();
    assert_eq!(error, VerifyError::Malformed(ParseReportError::Length { got: 1 }));
}

#[test]
fn the_launch_time_is_never_judged() {
    for launched_at in [0, u64::MAX] {
        assert!(check(forged(|r| r.launched_at = launched_at)).is_ok());
    }
}

proptest! {
    #[test]
    fn a_report_with_any_byte_changed_never_verifies(index in 0..LEN, change in 1_u8..) {
        let mut body = evidence().body;
        body[index] ^= change;
        let error = check(Evidence::new(Tee::Software, body)).unwrap_err();
        prop_assert!(error.is_refusal());
        if (8..SIGNED).contains(&index) {
            prop_assert!(matches!(error, VerifyError::NotGenuine(NotGenuine::Signature { .. })), "{}", error);
        }
    }

    #[test]
    fn bytes_of_a_peer_never_panic(body in proptest::collection::vec(any::<u8>(), 0..2 * LEN)) {
        let evidence = Evidence::new(Tee::Software, body);
        prop_assert!(check(evidence.clone()).is_err());
        let _ = claimed_identity(&evidence);
    }
}
