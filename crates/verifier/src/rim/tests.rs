//! What a memory of verified RIMs may and may not spare.

use std::sync::Arc;

use protocol::Digest;
use testkit::der::Name;
use testkit::ocsp::{TestAnswer, TestOcsp, TestStatus};
use testkit::rim::{NAMES, RimAuthority, SIGNER_FROM, SIGNER_UNTIL, TestRim};

use super::{alone, verify};
use crate::anchors::danger;
use crate::context::{Cache, Context};
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::time::UnixTime;

#[test]
fn a_rim_is_verified_once_for_its_bytes_its_root_its_responses_and_its_time() {
    let none = Digest::of(b"no root");
    let authority = RimAuthority::new();
    let anchors = danger::anchors([none; 3], none, none, authority.root(), &[]);
    let document = alone(authority.sign(&TestRim::new("LS10", "SWITCH", "1.2", &[(0, [1; 48])])).as_bytes()).unwrap();
    let (cache, nothing) = (Cache::default(), Endorsements::default());
    let context = Context { anchors: &anchors, endorsements: &nothing, now: UnixTime(SIGNER_FROM), cache: &cache };
    let rim = verify(&document, &context).unwrap();
    assert!(Arc::ptr_eq(&rim, &verify(&document, &context).unwrap()));

    let later = |seconds| Context { now: UnixTime(seconds), ..context };
    assert!(Arc::ptr_eq(&rim, &verify(&document, &later(SIGNER_UNTIL)).unwrap()));
    assert_eq!(verify(&document, &later(SIGNER_UNTIL + 1)).unwrap_err().code(), "certificate-expired");
    assert_eq!(verify(&document, &later(SIGNER_FROM - 1)).unwrap_err().code(), "certificate-not-yet-valid");

    let others = danger::anchors([none; 3], none, none, none, &[]);
    let error = verify(&document, &Context { anchors: &others, ..context }).unwrap_err();
    assert_eq!(error.code(), "certificate-untrusted-root");

    let mut answer = TestAnswer::good(Name::common(NAMES[1]), &authority.keys[0], 4);
    answer.next_update = Some(SIGNER_FROM + 10);
    let mut good = Endorsements::default();
    let response = TestOcsp::by_issuer(answer.clone()).sign(&authority.keys[0]);
    good.add(EndorsementKind::OcspResponse, &response).unwrap();
    let told = |seconds| Context { endorsements: &good, ..later(seconds) };
    let with_response = verify(&document, &told(SIGNER_FROM)).unwrap();
    assert!(!Arc::ptr_eq(&rim, &with_response));
    assert!(Arc::ptr_eq(&with_response, &verify(&document, &told(SIGNER_FROM + 10)).unwrap()));
    assert_eq!(verify(&document, &told(SIGNER_FROM + 11)).unwrap_err().code(), "ocsp-expired");

    answer.status = TestStatus::Revoked { at: SIGNER_FROM, reason: None };
    let mut revoked = good.clone();
    let response = TestOcsp::by_issuer(answer).sign(&authority.keys[0]);
    revoked.add(EndorsementKind::OcspResponse, &response).unwrap();
    let error = verify(&document, &Context { endorsements: &revoked, ..context }).unwrap_err();
    assert_eq!(error.code(), "certificate-revoked");
}
