//! Quotes that real hardware made.

use expect_test::{Expect, expect};

use super::*;
use crate::dcap::collateral::{QeIdentity as Identity, TcbInfo as Info, read};
use crate::value::Value;

/// Within the validity of all three PCK certificates, and of TCB info and QE identity of the corpus.
const THEN: &str = "2025-11-15T00:00:00Z";

fn context<T>(act: impl FnOnce(&Context<'_>) -> T) -> T {
    let (anchors, endorsements, cache) = (TrustAnchors::vendor(), Endorsements::default(), Cache::default());
    act(&Context { anchors: &anchors, endorsements: &endorsements, now: THEN.parse().unwrap(), cache: &cache })
}

/// What cannot be told without Intel's documents, and nothing else.
const UNTOLD: [&str; 4] = [
    "revocation: crl-missing?",
    "qe_identity: endorsement-missing?",
    "tcb: endorsement-missing?",
    "binding: needs the report data to expect",
];

fn tdx_file(name: &str) -> tdx::Claims {
    let quote = testkit::corpus::file(name);
    context(|context| {
        let examination = tdx::examine(&quote, None, context);
        assert_eq!(bad(&examination.layers), UNTOLD);
        let claims = examination.claims.unwrap();
        let bound = tdx::examine(&quote, Some(&ReportData(claims.report.report_data.0)), context);
        assert_eq!(bad(&bound.layers), UNTOLD[..3]);
        let unbound = tdx::examine(&quote, Some(&REPORT_DATA), context);
        assert_eq!(bad(&unbound.layers)[3], "binding: evidence-unbound");
        for at in 0..quote.len() - 3_700 {
            let mut changed = quote.clone();
            changed[at] ^= 1;
            assert_ne!(bad(&tdx::examine(&changed, None, context).layers), UNTOLD, "byte {at}");
        }
        claims
    })
}

fn facts(platform: &crate::dcap::Platform, more: &[(&str, Value)], expected: &Expect) {
    let pck = platform.pck.as_ref().unwrap();
    let mut lines = vec![
        format!("version {}", platform.header.version),
        format!("authority {}", platform.authority.unwrap().name()),
        format!("fmspc {}", pck.fmspc),
        format!("components {:?} pce {}", pck.components, pck.pce_svn),
        format!("components are CPUSVN {}", pck.components == pck.cpu_svn.0),
        format!("sgx type {} instance {}", pck.sgx_type, pck.platform_instance_id.is_some()),
        format!("dynamic {:?} cached {:?} smt {:?}", pck.dynamic_platform, pck.cached_keys, pck.smt_enabled),
        format!("qe svn {} product {}", platform.quoting_enclave.svn, platform.quoting_enclave.product_id),
    ];
    lines.extend(more.iter().map(|(name, value)| format!("{name} {value}")));
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_tdx_quote_4_holds_up_to_intels_root() {
    let claims = tdx_file("tdx/tdx_quote_4.dat");
    let report = &claims.report;
    assert!(report.v15.is_none());
    facts(
        &claims.platform,
        &[
            ("tee_tcb_svn", report.tee_tcb_svn.into()),
            ("mrtd", report.mrtd.into()),
            ("debug", report.is_debug().into()),
        ],
        &expect![[r#"
            version 4
            authority platform
            fmspc 50806f000000
            components [5, 5, 13, 2, 3, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0] pce 11
            components are CPUSVN true
            sgx type 1 instance true
            dynamic Some(true) cached Some(true) smt Some(true)
            qe svn 4 product 2
            tee_tcb_svn 030005000000
            mrtd 705ee9381b86
            debug yes
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_tdx_quote_5_holds_up_to_intels_root() {
    let claims = tdx_file("tdx/tdx_quote_5.dat");
    let report = &claims.report;
    let v15 = report.v15.as_ref().unwrap();
    facts(
        &claims.platform,
        &[
            ("tee_tcb_svn", report.tee_tcb_svn.into()),
            ("mrtd", report.mrtd.into()),
            ("debug", report.is_debug().into()),
            ("mr_service_td", v15.mr_service_td.into()),
        ],
        &expect![[r#"
            version 5
            authority platform
            fmspc 90c06f000000
            components [1, 1, 2, 2, 3, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0] pce 13
            components are CPUSVN true
            sgx type 1 instance true
            dynamic Some(true) cached Some(true) smt Some(true)
            qe svn 6 product 2
            tee_tcb_svn 050102000000
            mrtd dfba221b48a2
            debug no
            mr_service_td 383c87d3bbb0
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_occlum_quote_holds_up_to_intels_root() {
    let quote = testkit::corpus::file("sgx/occlum_quote.dat");
    context(|context| {
        let examination = sgx::examine(&quote, None, context);
        assert_eq!(bad(&examination.layers), UNTOLD);
        let claims = examination.claims.unwrap();
        let report = &claims.report;
        facts(
            &claims.platform,
            &[("mrenclave", report.mrenclave.into()), ("debug", report.is_debug().into())],
            &expect![[r#"
                version 3
                authority platform
                fmspc 00606a000000
                components [4, 4, 3, 3, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] pce 11
                components are CPUSVN true
                sgx type 1 instance true
                dynamic Some(true) cached Some(true) smt Some(true)
                qe svn 8 product 1
                mrenclave 8f173e4613ff
                debug yes
            "#]],
        );
    });
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_quotes_are_refused_under_another_root() {
    let (anchors, endorsements, cache) = (anchors(), Endorsements::default(), Cache::default());
    let now = THEN.parse().unwrap();
    let context = Context { anchors: &anchors, endorsements: &endorsements, now, cache: &cache };
    let examination = tdx::examine(&testkit::corpus::file("tdx/tdx_quote_4.dat"), None, &context);
    assert_eq!(bad(&examination.layers)[0], "pck_chain: certificate-untrusted-root");
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_tcb_documents_are_read_and_are_not_of_these_quotes() {
    let text = testkit::corpus::file("tdx/tcbInfo.json");
    let (info, envelope) = read::<Info>(&text).unwrap();
    assert_eq!((info.fmspc.to_string().as_str(), info.tcb_evaluation_data_number), ("00a06d080000", 17));
    assert_eq!((info.tcb_levels.len(), info.tdx_module_identities.len()), (2, 2));
    assert!(text.windows(envelope.signed.len()).any(|window| window == envelope.signed));
    let identity = testkit::corpus::file("tdx/enclaveIdentity.json");
    assert_eq!(read::<Identity>(&identity).unwrap().0.isvprodid, 2);
    let (anchors, mut endorsements, cache) = (TrustAnchors::vendor(), Endorsements::default(), Cache::default());
    endorsements.add_file(&text).unwrap();
    endorsements.add_file(&identity).unwrap();
    let now = THEN.parse().unwrap();
    let context = Context { anchors: &anchors, endorsements: &endorsements, now, cache: &cache };
    let examination = tdx::examine(&testkit::corpus::file("tdx/tdx_quote_4.dat"), None, &context);
    // Their signer's certificate is not in the corpus.
    let expected = [UNTOLD[0], "qe_identity: collateral-unsigned?", UNTOLD[2], UNTOLD[3]];
    assert_eq!(bad(&examination.layers), expected);
}
