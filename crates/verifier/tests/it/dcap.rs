//! TDX and SGX Evidence through the whole Verifier, under a fake Intel.

use expect_test::expect;
use protocol::digest::Hex;
use protocol::manifest::ReferenceValues;
use protocol::reference::tdx::{Bits, IntelTcbPolicy, Register, SEPT_VE_DISABLE};
use protocol::reference::{Machines, SgxReferenceValues, TdxReferenceValues};
use protocol::{Digest, Evidence, Identity, ReportData, Tee};
use testkit::dcap::{Enclave, IDENTITY, NOW, PLATFORM_CA_NAME, Pck, QeIdentity, Quote, TcbInfo, Td, intel};
use verifier::anchors::{TrustAnchors, danger};
use verifier::endorsements::EndorsementKind;
use verifier::{
    AppraiseError, AttestationResult, Endorsements, UnixTime, UnverifiedEvidence, VerifiedEvidence, Verifier,
    VerifyError, appraise, claimed_identity, needs,
};

const REPORT_DATA: ReportData = ReportData([0xda; 64]);

fn endorsements() -> Endorsements {
    let i = intel();
    let mut set = Endorsements::default();
    for (kind, bytes) in [
        (EndorsementKind::Certificate, i.signer_der()),
        (EndorsementKind::Crl, i.root_crl(&[])),
        (EndorsementKind::Crl, i.pck_crl(PLATFORM_CA_NAME, &[])),
        (EndorsementKind::TcbInfo, i.tcb_info(&TcbInfo::new("TDX")).into_bytes()),
        (EndorsementKind::TcbInfo, i.tcb_info(&TcbInfo::new("SGX")).into_bytes()),
        (EndorsementKind::QeIdentity, i.qe_identity(&QeIdentity::new("TD_QE")).into_bytes()),
        (EndorsementKind::QeIdentity, i.qe_identity(&QeIdentity::new("QE")).into_bytes()),
    ] {
        set.add(kind, &bytes).unwrap();
    }
    set
}

fn believing_the_fake() -> TrustAnchors {
    let none = Digest::ZERO;
    danger::anchors([none; 3], intel().root_digest(), none, none, &[&intel().root_der()])
}

fn tdx() -> Evidence {
    Evidence::new(Tee::Tdx, Quote::tdx(5, &Td::v15()).encode())
}

fn sgx() -> Evidence {
    Evidence::new(Tee::Sgx, Quote::sgx(3, &Enclave::default()).encode())
}

fn check(evidence: Evidence, endorsements: &Endorsements) -> Result<VerifiedEvidence, VerifyError> {
    let verifier = Verifier::with_anchors(believing_the_fake());
    verifier.verify(UnverifiedEvidence::new(evidence)?, &REPORT_DATA.into(), endorsements, UnixTime(NOW))
}

fn judge(evidence: Evidence, values: &ReferenceValues) -> Result<AttestationResult, AppraiseError> {
    appraise(check(evidence, &endorsements()).unwrap(), values)
}

fn tdx_values() -> TdxReferenceValues {
    let td = Td::default();
    let one = |bytes| vec![protocol::digest::Measurement::from_bytes(bytes)];
    let [rtmr0, rtmr1, rtmr2, rtmr3] = td.rtmrs;
    TdxReferenceValues {
        platform: "metal-qemu-tdx".into(),
        chip_ids: Machines::Listed(vec![Hex(Pck::default().instance.unwrap())]),
        mrtd: one(td.mrtd),
        rtmr0: one(rtmr0),
        rtmr1: one(rtmr1),
        rtmr2: one(rtmr2),
        rtmr3: Register::Listed(one(rtmr3)),
        xfam: Bits::exactly(td.xfam),
        td_attributes: Bits::exactly(SEPT_VE_DISABLE),
        mrseam: one(td.mrseam),
        mr_owner: protocol::digest::Measurement::from_bytes([0; 48]),
        mr_owner_config: protocol::digest::Measurement::from_bytes([0; 48]),
        mr_service_td: one([0; 48]),
        tcb: IntelTcbPolicy { min_evaluation_data_number: 20, ..IntelTcbPolicy::default() },
        allow_smt: false,
        allow_dynamic_platform: false,
        allow_cached_keys: false,
    }
}

fn sgx_values() -> SgxReferenceValues {
    let enclave = Enclave::default();
    SgxReferenceValues {
        platform: "metal-sgx".into(),
        chip_ids: Machines::Any,
        mrenclave: vec![Hex(enclave.mrenclave)],
        mrsigner: Hex(enclave.mrsigner),
        product_id: 3,
        min_svn: 4,
        min_config_svn: 0,
        attributes: Bits::exactly(enclave.attributes),
        xfrm: Bits::exactly(enclave.xfrm),
        misc_select: Bits::exactly([0; 4]),
        tcb: IntelTcbPolicy::default(),
        allow_smt: false,
        allow_dynamic_platform: false,
        allow_cached_keys: false,
    }
}

fn both() -> ReferenceValues {
    ReferenceValues { tdx: vec![tdx_values()], sgx: vec![sgx_values()], ..ReferenceValues::default() }
}

#[test]
fn genuine_bound_and_expected_evidence_gives_a_result() {
    let identity = Identity(Digest::from_bytes(IDENTITY));
    let digest = tdx().digest();
    let result = judge(tdx(), &both());
    // ECDSA signatures differ from run to run, and so do two pieces of Evidence of one rig.
    let result = result.unwrap();
    assert_ne!(result.evidence_digest(), digest);
    assert_eq!((result.tee(), result.identity()), (Tee::Tdx, identity));
    assert_eq!(result.measurement().as_bytes(), &Td::default().mrtd);
    assert_eq!(result.chip_id(), Digest::of(&Pck::default().instance.unwrap()));
    assert!(!result.is_insecure());
    let ear = serde_json::to_value(result.ear(NOW)).unwrap();
    expect![[r#"
        {
          "instance-identity": 2,
          "executables": 3,
          "hardware": 2,
          "runtime-opaque": 2
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&ear["submods"]["tdx"]["ear_trustworthiness_vector"]).unwrap());
    assert_eq!(ear["ear_status"], "affirming");
    let result = judge(sgx(), &both()).unwrap();
    assert_eq!((result.tee(), result.identity()), (Tee::Sgx, identity));
    assert_eq!(result.measurement().as_bytes()[..32], Enclave::default().mrenclave);
}

#[test]
fn evidence_under_anothers_root_is_refused() {
    for evidence in [tdx(), sgx()] {
        let evidence = UnverifiedEvidence::new(evidence).unwrap();
        let error = Verifier::new().verify(evidence, &REPORT_DATA.into(), &endorsements(), UnixTime(NOW)).unwrap_err();
        assert_eq!((error.code(), error.is_refusal()), ("certificate-untrusted-root", true));
    }
}

#[test]
fn evidence_of_another_channel_is_refused() {
    let verifier = Verifier::with_anchors(believing_the_fake());
    let evidence = UnverifiedEvidence::new(tdx()).unwrap();
    let other = ReportData([1; 64]);
    let error = verifier.verify(evidence, &other.into(), &endorsements(), UnixTime(NOW)).unwrap_err();
    assert!(matches!(error, VerifyError::Unbound { .. }), "{error}");
}

#[test]
fn without_endorsements_it_could_not_be_told_and_that_is_no_no() {
    for evidence in [tdx(), sgx()] {
        let error = check(evidence, &Endorsements::default()).unwrap_err();
        assert!(!error.is_refusal(), "{error}");
        assert!(error.hint().unwrap().contains("casemate endorsements fetch"));
    }
    // What is forged is a no all the same.
    let mut forged = tdx();
    forged.body[200] ^= 1;
    let error = check(forged, &Endorsements::default()).unwrap_err();
    assert_eq!((error.code(), error.is_refusal()), ("quote-signature", true));
    assert_eq!(error.chain(), "quote of an Intel TEE: the quote is not signed by its attestation key");
}

#[test]
fn evidence_does_not_pass_under_another_tees_name() {
    let swapped = |tee, evidence: Evidence| check(Evidence { tee, ..evidence }, &endorsements()).unwrap_err();
    assert_eq!(swapped(Tee::Sgx, tdx()).code(), "quote-other-tee");
    assert_eq!(swapped(Tee::Tdx, sgx()).code(), "quote-other-tee");
    // Nor is it judged by the other TEE's entries.
    let sgx_alone = ReferenceValues { sgx: vec![sgx_values()], ..ReferenceValues::default() };
    assert_eq!(judge(tdx(), &sgx_alone).unwrap_err(), AppraiseError::NotAccepted { tee: Tee::Tdx });
}

#[test]
fn one_entry_must_accept_it_whole() {
    // Each entry misses something that the other one has.
    let mut first = tdx_values();
    first.mrtd = vec![protocol::digest::Measurement::from_bytes([1; 48])];
    let mut second = tdx_values();
    second.platform = "other".into();
    second.tcb.min_evaluation_data_number = 99;
    let values = ReferenceValues { tdx: vec![first.clone(), second.clone()], ..ReferenceValues::default() };
    let error = judge(tdx(), &values).unwrap_err();
    expect![[
        "`metal-qemu-tdx` does not accept mrtd: a2a2a2a2a2a2, accepted are 010101010101; and `other` does not accept tcb.min_evaluation_data_number: 20, floor 99"
    ]]
    .assert_eq(&error.to_string());
    let values = ReferenceValues { tdx: vec![first, second, tdx_values()], ..ReferenceValues::default() };
    assert!(judge(tdx(), &values).is_ok());
}

#[test]
fn a_debug_td_is_refused_with_advice() {
    let td = Td { td_attributes: [1, 0, 0, 0x10, 0, 0, 0, 0], ..Td::default() };
    let error = judge(Evidence::new(Tee::Tdx, Quote::tdx(4, &td).encode()), &both()).unwrap_err();
    assert!(error.to_string().contains("td_attributes: 010000100000, accepted is no debug"), "{error}");
    assert!(error.hint().unwrap().contains("under debug"));
}

#[test]
fn the_grace_counts_at_the_time_of_the_verification() {
    let pck = Pck { components: [4; 16], ..Pck::default() };
    let evidence = || Evidence::new(Tee::Tdx, Quote::tdx(5, &Td::v15()).on(&pck).encode());
    let mut values = tdx_values();
    let with = |days, values: &mut TdxReferenceValues| {
        values.tcb.grace_days = days;
        judge(evidence(), &ReferenceValues { tdx: vec![values.clone()], ..ReferenceValues::default() })
    };
    // 65 whole days from 2026-11-11 to 2027-01-15.
    let result = with(66, &mut values).unwrap();
    assert_eq!(result.trust_vector().hardware.tier().name(), "warning");
    let error = with(65, &mut values).unwrap_err().to_string();
    assert!(error.contains("tcb.grace_days (OutOfDate since 2026-11-11T00:00:00Z): 65, ceiling 65"), "{error}");
}

#[test]
fn unverified_claims_serve_to_fetch_and_to_know_oneself() {
    for (evidence, count) in [(tdx(), 4), (sgx(), 4)] {
        assert_eq!(claimed_identity(&evidence).unwrap(), Identity(Digest::from_bytes(IDENTITY)));
        assert_eq!(needs(&evidence).len(), count);
    }
    let swapped = Evidence { tee: Tee::Sgx, ..tdx() };
    assert_eq!(claimed_identity(&swapped).unwrap_err().code(), "quote-other-tee");
    assert_eq!(claimed_identity(&Evidence::new(Tee::Tdx, vec![1])).unwrap_err().code(), "quote-malformed");
}
