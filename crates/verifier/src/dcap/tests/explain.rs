//! What a person is told.

use expect_test::expect;
use testkit::dcap::{Enclave, Pck};

use super::*;
use crate::dcap::explain_document;
use crate::explain::{Section, Verdict};

/// Title, verdict, who endorses it and what is wrong, then the claims.
fn text(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        let by = section.endorsed_by.as_deref().map(|by| format!(", by {by}")).unwrap_or_default();
        text += &format!("{}: {}{by}\n", section.title, section.verdict.name());
        for problem in &section.problems {
            text += &format!("  ! {} ({})\n", problem.message, problem.code);
        }
        for claim in &section.claims {
            text += &format!("  {} {}\n", claim.name, claim.value);
        }
    }
    text
}

#[test]
fn a_td_quote_is_explained_layer_by_layer() {
    let pck = Pck { components: [4; 16], ..Pck::default() };
    let examination = examine_tdx(&td_quote().on(&pck).encode(), &Documents::of(Tee::Tdx));
    assert_eq!(tdx::subject(&examination), "TDX quote, version 5");
    expect![[r#"
        td: verified, by the attestation key of the quoting enclave
          mrtd a2a2a2a2a2a2
          rtmr0 b0b0b0b0b0b0
          rtmr1 b1b1b1b1b1b1
          rtmr2 b2b2b2b2b2b2
          rtmr3 b3b3b3b3b3b3
          mr_config_id 1d1d1d1d1d1d
          report_data dadadadadada
          td_attributes 000000100000
          debug no
          xfam e70206000000
          mr_owner 000000000000
          mr_owner_config 000000000000
          mr_service_td 000000000000
          mrseam a1a1a1a1a1a1
          mr_signer_seam 000000000000
          seam_attributes 000000000000
          tee_tcb_svn 050105000000
          tee_tcb_svn_2 050105000000
        quoting enclave: verified, by the PCK, and Intel's QE identity
          mrenclave e1e1e1e1e1e1
          mrsigner dcdcdcdcdcdc
          product_id 2
          svn 6
          attributes 110000000000
        pck chain: verified, by Intel SGX Root CA
          platform_instance_id 777777777777
          fmspc 90c06f000000
          pce_id 0000
          ppid 111111111111
          components 040404040404
          pce_svn 13
          authority platform
          dynamic_platform no
          cached_keys no
          smt_enabled no
        revocation: verified, by Intel's revocation lists
        tcb: verified, by Intel SGX TCB Signing
          status OutOfDate
          evaluation_data_number 20
          missed_since 2026-11-11T00:00:00Z
          platform.status OutOfDate
          platform.date 2026-05-13T00:00:00Z
          platform.advisories INTEL-SA-00004
          module.status UpToDate
          module.date 2026-11-11T00:00:00Z
          module.advisories none
          current.status OutOfDate
          tcb_info.next_update 2027-01-31T00:00:00Z
          quoting_enclave.status UpToDate
          quoting_enclave.date 2026-11-11T00:00:00Z
          quoting_enclave.advisories none
          qe_identity.next_update 2027-01-31T00:00:00Z
        binding: verified
    "#]]
    .assert_eq(&text(&tdx::explain(&examination)));
}

#[test]
fn an_enclaves_quote_without_endorsements_says_what_could_not_be_told() {
    let none = Documents { certificates: vec![], crls: vec![], tcb_infos: vec![], qe_identities: vec![] };
    let examination = examine_sgx(&Quote::sgx(3, &Enclave::default()).encode(), &none);
    assert_eq!(sgx::subject(&examination), "SGX quote, version 3");
    expect![[r#"
        enclave: verified, by the attestation key of the quoting enclave
          mrenclave e1e1e1e1e1e1
          mrsigner e2e2e2e2e2e2
          product_id 3
          svn 4
          config_id 1d1d1d1d1d1d
          config_svn 5
          report_data dadadadadada
          attributes 850000000000
          debug no
          xfrm e70000000000
          misc_select 00000000
        quoting enclave: could not tell, by the PCK, and Intel's QE identity
          ! Intel's identity of the quoting enclave for sgx is not at hand (endorsement-missing)
          mrenclave e1e1e1e1e1e1
          mrsigner dcdcdcdcdcdc
          product_id 2
          svn 6
          attributes 110000000000
        pck chain: verified, by Intel SGX Root CA
          platform_instance_id 777777777777
          fmspc 90c06f000000
          pce_id 0000
          ppid 111111111111
          components 050505050505
          pce_svn 13
          authority platform
          dynamic_platform no
          cached_keys no
          smt_enabled no
        revocation: could not tell, by Intel's revocation lists
          ! revocation: certificate `Intel SGX PCK Certificate`: no revocation list by `Intel SGX PCK Platform CA` is at hand (crl-missing)
        tcb: could not tell, by Intel SGX TCB Signing
          ! Intel's TCB info for sgx of platform family 90c06f000000 is not at hand (endorsement-missing)
        binding: verified
    "#]].assert_eq(&text(&sgx::explain(&examination)));
}

#[test]
fn what_is_no_quote_is_explained_as_that() {
    let sections = tdx::explain(&examine_tdx(b"nothing", &Documents::of(Tee::Tdx)));
    assert!(sections.iter().all(|section| section.claims.is_empty()));
    assert_eq!(sections[0].verdict, Verdict::Refused);
    let problem = &sections[0].problems[0];
    assert_eq!(
        (problem.code, problem.message.as_str()),
        ("quote-malformed", "quote of an Intel TEE: quote: quote ends within the header: 48 bytes needed, 3 left")
    );
}

#[test]
fn intels_documents_are_explained_too() {
    let (anchors, endorsements, cache) = (anchors(), Documents::of(Tee::Tdx).set(), Cache::default());
    let context = Context { anchors: &anchors, endorsements: &endorsements, now: NOW, cache: &cache };
    let explain = |text: &str| explain_document(text.as_bytes(), &context);
    let info = intel().tcb_info(&TcbInfo::new("TDX"));
    let identity = intel().qe_identity(&QeIdentity::new("TD_QE"));
    let sections = [explain(&info), explain(&identity)].concat();
    expect![[r#"
        tcb info: verified, by Intel SGX TCB Signing
          tee tdx
          evaluation_data_number 20
          issue_date 2027-01-01T00:00:00Z
          next_update 2027-01-31T00:00:00Z
          fmspc 90c06f000000
          pce_id 0000
          level[0].status UpToDate
          level[0].date 2026-11-11T00:00:00Z
          level[0].components 050505050505
          level[0].pce_svn 13
          level[1].status OutOfDate
          level[1].date 2026-05-13T00:00:00Z
          level[1].components 040404040404
          level[1].pce_svn 13
          level[2].status OutOfDate
          level[2].date 2025-11-12T00:00:00Z
          level[2].components 020202020202
          level[2].pce_svn 13
          module[TDX_01].svn[5] UpToDate
          module[TDX_01].svn[4] OutOfDate
          module[TDX_01].svn[2] OutOfDate
          module[TDX_03].svn[3] UpToDate
        qe identity: verified, by Intel SGX TCB Signing
          tee tdx
          evaluation_data_number 21
          issue_date 2027-01-01T00:00:00Z
          next_update 2027-01-31T00:00:00Z
          mrsigner dcdcdcdcdcdc
          product_id 2
          svn[6] UpToDate
          svn[4] OutOfDate
    "#]]
    .assert_eq(&text(&sections));
    let forged = explain(&info.replace("\"svn\":5", "\"svn\":1"));
    assert_eq!((forged[0].verdict, forged[0].problems[0].code), (Verdict::Unknown, "collateral-unsigned"));
    let broken = explain(&info.replace("\"version\":3", "\"version\":4"));
    assert_eq!((broken[0].verdict, broken[0].problems[0].code), (Verdict::Unknown, "collateral-malformed"));
    assert!(broken[0].claims.is_empty());
}
