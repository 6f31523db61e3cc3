//! One layer at a time: what makes it fail, and that the others stand.

use protocol::digest::Hex;
use testkit::dcap::{
    CA_SERIAL, Enclave, PCK_NAME, PCK_SERIAL, PROCESSOR_CA_NAME, Pck, ROOT_NAME, SIGNER_NAME, SIGNER_SERIAL, crl,
    pem_chain,
};
use testkit::der::{Certificate, Extension, Name};

use super::*;
use crate::endorsements::{Need, PckAuthority};

#[test]
fn a_quote_of_every_version_holds_in_every_layer() {
    let td = Td::default();
    for (quote, v15, extended) in [
        (Quote::tdx(4, &td), false, false),
        (Quote::tdx(5, &td), false, false),
        (td_quote(), true, false),
        (Quote::tdx(5, &Td::extended()), true, true),
    ] {
        let examination = examine_tdx(&quote.encode(), &Documents::of(Tee::Tdx));
        assert_eq!(bad(&examination.layers), NONE);
        let claims = examination.claims.unwrap();
        assert_eq!(claims.platform.header.version, quote.version);
        let report = &claims.report;
        assert_eq!(report.mrtd.as_bytes(), &td.mrtd);
        assert_eq!(report.rtmrs.map(|rtmr| *rtmr.as_bytes()), td.rtmrs);
        assert_eq!((report.xfam.0, report.td_attributes.0), (td.xfam, td.td_attributes));
        assert_eq!((report.v15.is_some(), report.extended.is_some()), (v15, extended));
        assert_eq!(claims.identity().0, Digest::from_bytes(rig::IDENTITY));
    }
    for version in [3, 4, 5] {
        let enclave = Enclave::default();
        let examination = examine_sgx(&Quote::sgx(version, &enclave).encode(), &Documents::of(Tee::Sgx));
        assert_eq!(bad(&examination.layers), NONE, "version {version}");
        let claims = examination.claims.unwrap();
        assert_eq!(claims.report.mrenclave, Hex(enclave.mrenclave));
        assert_eq!((claims.report.product_id, claims.report.svn, claims.report.config_svn), (3, 4, 5));
        assert_eq!(claims.identity().0, Digest::from_bytes(rig::IDENTITY));
        assert_eq!(claims.measurement().as_bytes()[..32], enclave.mrenclave);
    }
}

#[test]
fn the_pck_certificate_is_read_whole() {
    let pck = examine_tdx(&td_quote().encode(), &Documents::of(Tee::Tdx)).claims.unwrap().platform.pck.unwrap();
    let made = Pck::default();
    assert_eq!((pck.ppid.0, pck.components, pck.pce_svn), (made.ppid, made.components, made.pce_svn));
    assert_eq!((pck.pce_id.0, pck.fmspc.0, pck.cpu_svn.0), (made.pce_id, made.fmspc, made.components));
    assert_eq!(pck.platform_instance_id, made.instance.map(Hex));
    assert_eq!([pck.dynamic_platform, pck.cached_keys, pck.smt_enabled], made.configuration.unwrap().map(Some));
    assert_eq!(pck.sgx_type, 1);
}

#[test]
fn what_is_missing_is_exactly_what_could_not_be_told() {
    type Drop = fn(&mut Documents);
    let cases: [(&str, Drop, &[&str]); 7] = [
        (
            "all",
            |d| *d = Documents { certificates: vec![], crls: vec![], tcb_infos: vec![], qe_identities: vec![] },
            &["revocation: crl-missing?", "qe_identity: endorsement-missing?", "tcb: endorsement-missing?"],
        ),
        ("lists", |d| d.crls.clear(), &["revocation: crl-missing?"]),
        ("the root's list", |d| drop(d.crls.remove(0)), &["revocation: crl-missing?"]),
        ("the authority's list", |d| drop(d.crls.remove(1)), &["revocation: crl-missing?"]),
        ("TCB info", |d| d.tcb_infos.clear(), &["tcb: endorsement-missing?"]),
        ("QE identity", |d| d.qe_identities.clear(), &["qe_identity: endorsement-missing?"]),
        (
            "the signer's certificate",
            |d| d.certificates.clear(),
            &["qe_identity: collateral-unsigned?", "tcb: collateral-unsigned?"],
        ),
    ];
    for (what, drop, expected) in cases {
        let mut documents = Documents::of(Tee::Tdx);
        drop(&mut documents);
        assert_eq!(bad_tdx(&td_quote(), &documents), expected, "{what}");
    }
}

#[test]
fn a_quote_says_what_it_needs() {
    let (tee, fmspc) = (Tee::Tdx, Hex(Pck::default().fmspc));
    assert_eq!(
        crate::tdx::needs(&td_quote().encode()),
        [
            Need::IntelRootCrl,
            Need::QeIdentity { tee },
            Need::PckCrl { authority: PckAuthority::Platform },
            Need::TcbInfo { tee, fmspc }
        ]
    );
    assert_eq!(crate::tdx::needs(b"no quote"), []);
}

/// The signed fields of a quote version 5 with a TD report 1.5, and what a flipped bit in each of them breaks.
#[test]
fn a_flipped_bit_in_any_signed_field_breaks_a_named_layer() {
    let signature = "signature: quote-signature";
    let module = "tcb: tdx-module-mismatch";
    let cases: [(&str, usize, &[&str]); 28] = [
        ("QE SVN", 8, &[signature]),
        ("PCE SVN", 10, &[signature]),
        ("user data", 28, &[signature]),
        ("TEE_TCB_SVN 15", 54 + 15, &[signature]),
        ("MRSEAM", 54 + 16, &[signature]),
        ("MRSIGNERSEAM", 54 + 64, &[signature, module]),
        ("SEAMATTRIBUTES", 54 + 112, &[signature, module]),
        ("TD attributes", 54 + 120, &[signature]),
        ("XFAM", 54 + 128, &[signature]),
        ("MRTD", 54 + 136, &[signature]),
        ("MRCONFIGID", 54 + 184, &[signature]),
        ("MROWNER", 54 + 232, &[signature]),
        ("MROWNERCONFIG", 54 + 280, &[signature]),
        ("RTMR0", 54 + 328, &[signature]),
        ("RTMR1", 54 + 376, &[signature]),
        ("RTMR2", 54 + 424, &[signature]),
        ("RTMR3", 54 + 472, &[signature]),
        ("REPORTDATA", 54 + 520, &[signature, "binding: evidence-unbound"]),
        ("TEE_TCB_SVN_2", 54 + 584 + 15, &[signature]),
        ("MRSERVICETD", 54 + 600, &[signature]),
        ("version", 0, &["format: quote-version?"]),
        ("key type", 2, &["format: quote-key-type?"]),
        ("TEE type", 4, &["format: quote-malformed"]),
        ("vendor", 12, &["format: quote-qe-vendor"]),
        ("body type", 48, &["format: quote-malformed"]),
        ("body length", 50, &["format: quote-malformed"]),
        ("signature", 54 + 648 + 4, &[signature]),
        ("attestation key", 54 + 648 + 4 + 64, &["qe_report: qe-report-attestation-key", signature]),
    ];
    let documents = Documents::of(Tee::Tdx);
    let genuine = td_quote().encode();
    for (field, at, expected) in cases {
        let mut quote = genuine.clone();
        quote[at] ^= 0x80;
        let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        if expected[0].starts_with("format") {
            let rest = ["pck_chain", "revocation", "qe_report", "qe_identity", "signature", "tcb", "binding"];
            expected.extend(rest.map(|layer| format!("{layer}: needs format")));
        }
        assert_eq!(bad(&examine_tdx(&quote, &documents).layers), expected, "{field}");
    }
}

/// The QE's report in the same quote, by its fields.
#[test]
fn a_flipped_bit_in_the_qe_report_breaks_a_named_layer() {
    let start = 54 + 648 + 4 + 128 + 6;
    let signature = "qe_report: qe-report-signature";
    let identity = "qe_identity: qe-identity-mismatch";
    let key = "qe_report: qe-report-attestation-key";
    let cases: [(&str, usize, &[&str]); 15] = [
        ("CPUSVN", 0, &[signature]),
        ("MISCSELECT", 16, &[signature, identity]),
        ("CET attributes", 20, &[signature]),
        ("ISVEXTPRODID", 32, &[signature]),
        ("ATTRIBUTES", 48, &[signature, identity]),
        ("XFRM, which Intel's mask leaves free", 56, &[signature]),
        ("MRENCLAVE", 64, &[signature]),
        ("MRSIGNER", 128, &[signature, identity]),
        ("CONFIGID", 192, &[signature]),
        ("ISVPRODID", 256, &[signature, identity]),
        ("CONFIGSVN", 260, &[signature]),
        ("ISVFAMILYID", 304, &[signature]),
        ("REPORTDATA, the hash", 320, &[key]),
        ("REPORTDATA, the zeros", 352, &[key]),
        ("the signature", 384, &[signature]),
    ];
    let documents = Documents::of(Tee::Tdx);
    let genuine = td_quote().encode();
    for (field, at, expected) in cases {
        let mut quote = genuine.clone();
        quote[start + at] ^= 0x80;
        assert_eq!(bad(&examine_tdx(&quote, &documents).layers), expected, "{field}");
    }
    let mut quote = genuine.clone();
    quote[start + 384 + 64 + 2] ^= 1;
    assert_eq!(bad(&examine_tdx(&quote, &documents).layers), [key], "authentication data");
    for reserved in [21, 100, 160, 262] {
        let mut quote = genuine.clone();
        quote[start + reserved] ^= 1;
        assert_eq!(bad(&examine_tdx(&quote, &documents).layers)[0], "format: quote-malformed", "byte {reserved}");
    }
}

#[test]
fn the_report_of_another_quoting_enclave_does_not_fit() {
    // A genuine QE report of the same machine, for another attestation key.
    let mut quote = td_quote();
    quote.qe_report = Some(Enclave::quoting(&[7; 64], &quote.auth_data).encode());
    assert_eq!(bad_tdx(&quote, &Documents::of(Tee::Tdx)), ["qe_report: qe-report-attestation-key"]);
    // An enclave of the platform that is no quoting enclave of Intel's, and vouches for the key.
    for (change, expected) in [
        ((|qe: &mut Enclave| qe.mrsigner = [1; 32]) as fn(&mut Enclave), "qe_identity: qe-identity-mismatch"),
        (|qe| qe.product_id = 1, "qe_identity: qe-identity-mismatch"),
        (|qe| qe.misc_select[0] = 1, "qe_identity: qe-identity-mismatch"),
        (|qe| qe.attributes[0] |= 2, "qe_identity: qe-identity-mismatch"),
        (|qe| qe.attributes[0] |= 0x80, "qe_identity: qe-identity-mismatch"),
        (|qe| qe.svn = 3, "qe_identity: qe-tcb-unknown"),
    ] {
        assert_eq!(bad_tdx(&td_quote().by(change), &Documents::of(Tee::Tdx)), [expected]);
    }
}

#[test]
fn a_chain_that_does_not_lead_to_the_root_as_a_pck_certificate_is_refused() {
    let (i, pck) = (intel(), Pck::default());
    let leaf = || i.pck_certificate(&pck, PLATFORM_CA_NAME);
    let ca = i.ca_der(PLATFORM_CA_NAME);
    let good = leaf().sign(&i.pck, &i.ca);
    let other_root = Certificate::ca(Name::common(ROOT_NAME), Name::common(ROOT_NAME), None)
        .serial(9)
        .sign(&i.stranger, &i.stranger);
    let other_ca =
        Certificate::ca(Name::common(PLATFORM_CA_NAME), Name::common(ROOT_NAME), None).sign(&i.ca, &i.stranger);
    let direct = i.pck_certificate(&pck, ROOT_NAME).sign(&i.pck, &i.root);
    let no_ca = Certificate::new(Name::common(PLATFORM_CA_NAME), Name::common(ROOT_NAME)).sign(&i.ca, &i.root);
    let other_authority =
        Certificate::ca(Name::common("Intel SGX PCK Other CA"), Name::common(ROOT_NAME), None).sign(&i.ca, &i.root);
    let of_other = i.pck_certificate(&pck, "Intel SGX PCK Other CA").sign(&i.pck, &i.ca);
    let mut renamed = leaf();
    renamed.subject = Name::common("Intel SGX Something Else");
    let mut without = leaf();
    without.extensions.retain(|extension| !extension.oid.starts_with("1.2.840"));
    let mut broken = leaf();
    broken.extensions.retain(|extension| !extension.oid.starts_with("1.2.840"));
    let broken = broken.with(Extension::new("1.2.840.113741.1.13.1", vec![0x30, 0x01]));
    let expired = leaf().valid(rig::NOW - 20, rig::NOW - 10).sign(&i.pck, &i.ca);
    let future = leaf().valid(rig::NOW + 10, rig::NOW + 20).sign(&i.pck, &i.ca);
    let cases: [(&str, Vec<Vec<u8>>, &str); 12] = [
        ("forged leaf", vec![leaf().sign(&i.pck, &i.stranger), ca.clone()], "certificate-signature"),
        ("other root", vec![good.clone(), other_ca.clone(), other_root], "certificate-untrusted-root"),
        ("authority of nobody", vec![good.clone(), other_ca], "certificate-signature"),
        ("no authority", vec![good.clone()], "certificate-issuer-missing?"),
        ("below the root", vec![direct], "pck-role"),
        ("authority that is none", vec![good.clone(), no_ca], "certificate-issuer-not-ca"),
        ("unknown authority", vec![of_other, other_authority], "pck-role"),
        ("not a PCK certificate", vec![renamed.sign(&i.pck, &i.ca), ca.clone()], "pck-role"),
        ("no extension", vec![without.sign(&i.pck, &i.ca), ca.clone()], "pck-malformed"),
        ("broken extension", vec![broken.sign(&i.pck, &i.ca), ca.clone()], "pck-malformed"),
        ("expired", vec![expired, ca.clone()], "certificate-expired?"),
        ("future", vec![future, ca.clone()], "certificate-not-yet-valid?"),
    ];
    for (what, chain, code) in cases {
        let mut quote = td_quote();
        quote.chain = pem_chain(&chain).into_bytes();
        let bad = bad_tdx(&quote, &Documents::of(Tee::Tdx));
        assert_eq!(bad[0], format!("pck_chain: {code}"), "{what}");
        assert_eq!(bad[1], "revocation: needs pck_chain", "{what}");
    }
    for chain in [&b""[..], b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA", b"\xff\xfe"] {
        let mut quote = td_quote();
        quote.chain = chain.to_vec();
        let expected = [
            "pck_chain: certificate-malformed",
            "revocation: needs pck_chain",
            "qe_report: needs pck_chain",
            "tcb: needs pck_chain",
        ];
        assert_eq!(bad_tdx(&quote, &Documents::of(Tee::Tdx)), expected);
    }
}

#[test]
fn order_and_root_of_the_presented_chain_do_not_matter() {
    let (i, pck) = (intel(), Pck::default());
    let leaf = i.pck_certificate(&pck, PROCESSOR_CA_NAME).sign(&i.pck, &i.ca);
    let ca = i.ca_der(PROCESSOR_CA_NAME);
    let mut documents = Documents::of(Tee::Tdx);
    documents.crls.push(i.pck_crl(PROCESSOR_CA_NAME, &[]));
    for chain in [
        vec![leaf.clone(), ca.clone()],
        vec![leaf.clone(), i.root_der(), ca.clone()],
        vec![leaf.clone(), i.signer_der(), ca.clone(), i.root_der()],
    ] {
        let mut quote = td_quote();
        quote.chain = pem_chain(&chain).into_bytes();
        let examination = examine_tdx(&quote.encode(), &documents);
        assert_eq!(bad(&examination.layers), NONE);
        assert_eq!(examination.claims.unwrap().platform.authority, Some(PckAuthority::Processor));
    }
}

#[test]
fn another_platforms_certificate_does_not_carry_the_qe_report() {
    let i = intel();
    let leaf = i.pck_certificate(&Pck::default(), PLATFORM_CA_NAME).sign(&i.stranger, &i.ca);
    let mut quote = td_quote();
    quote.chain = pem_chain(&[leaf, i.ca_der(PLATFORM_CA_NAME)]).into_bytes();
    assert_eq!(bad_tdx(&quote, &Documents::of(Tee::Tdx)), ["qe_report: qe-report-signature"]);
}

#[test]
fn revocation_of_any_certificate_is_a_no() {
    let i = intel();
    let pck_crl = |serials: &[u64]| i.pck_crl(PLATFORM_CA_NAME, serials);
    let other = i.pck_crl(PROCESSOR_CA_NAME, &[]);
    let stale = |issuer: &str, revoked: &[u64]| {
        let mut list = crl(issuer, revoked);
        (list.this_update, list.next_update) = (rig::NOW - 20, Some(rig::NOW - 10));
        list
    };
    let (no, missing) = ("revocation: certificate-revoked", "revocation: crl-missing?");
    let cases: [(&str, Vec<Vec<u8>>, &str); 9] = [
        ("PCK", vec![i.root_crl(&[]), pck_crl(&[PCK_SERIAL])], no),
        ("authority", vec![i.root_crl(&[CA_SERIAL]), pck_crl(&[])], no),
        ("TCB signer", vec![i.root_crl(&[SIGNER_SERIAL]), pck_crl(&[])], no),
        ("a no goes before a missing list", vec![i.root_crl(&[SIGNER_SERIAL])], no),
        (
            "expired list of the root",
            vec![stale(ROOT_NAME, &[]).sign(&i.root), pck_crl(&[])],
            "revocation: crl-expired?",
        ),
        (
            "expired list of the authority",
            vec![i.root_crl(&[]), stale(PLATFORM_CA_NAME, &[]).sign(&i.ca)],
            "revocation: crl-expired?",
        ),
        ("revoked stays revoked", vec![i.root_crl(&[]), stale(PLATFORM_CA_NAME, &[PCK_SERIAL]).sign(&i.ca)], no),
        ("other authority's list", vec![i.root_crl(&[]), other], missing),
        (
            "forged list",
            vec![i.root_crl(&[]), crl(PLATFORM_CA_NAME, &[]).sign(&i.stranger)],
            "revocation: crl-signature?",
        ),
    ];
    for (what, crls, expected) in cases {
        let documents = Documents { crls, ..Documents::of(Tee::Tdx) };
        assert_eq!(bad_tdx(&td_quote(), &documents), [expected], "{what}");
    }
}

#[test]
fn documents_that_cannot_be_used_are_as_good_as_none() {
    let i = intel();
    let info = || TcbInfo::new("TDX");
    let tdx = |change: &dyn Fn(&mut TcbInfo)| {
        let mut info = info();
        change(&mut info);
        vec![i.tcb_info(&info)]
    };
    let text = |from: &str, to: &str| {
        let json = info().json();
        assert!(json.contains(from), "{from}");
        vec![i.sign_statement("tcbInfo", &json.replace(from, to), &i.signer)]
    };
    let signed = i.tcb_info(&info());
    let (malformed, missing) = ("collateral-malformed?", "endorsement-missing?");
    let cases: Vec<(&str, Vec<String>, &str)> = vec![
        ("expired", tdx(&|info| info.next_update = "2027-01-02T00:00:00Z"), "collateral-expired?"),
        ("future", tdx(&|info| info.issue_date = "2027-01-30T00:00:00Z"), "collateral-expired?"),
        ("other family", tdx(&|info| info.fmspc[5] = 1), missing),
        ("other PCE", tdx(&|info| info.pce_id[0] = 1), missing),
        ("SGX's", tdx(&|info| info.id = "SGX"), missing),
        ("nobody's signature", vec![i.sign_statement("tcbInfo", &info().json(), &i.stranger)], "collateral-unsigned?"),
        ("changed after signing", vec![signed.replace("\"svn\":5", "\"svn\":1")], "collateral-unsigned?"),
        ("changed by a space", vec![signed.replace("\"version\":3", "\"version\": 3")], "collateral-unsigned?"),
        ("version", text("\"version\":3", "\"version\":2"), malformed),
        ("TCB type", text("\"tcbType\":0", "\"tcbType\":1"), malformed),
        ("status", text("\"UpToDate\"", "\"Fine\""), malformed),
        ("status of a TD", text("\"UpToDate\"", "\"TDRelaunchAdvised\""), malformed),
        (
            "status of a module",
            text(
                "\"isvsvn\":3},\"tcbDate\":\"2026-11-11T00:00:00Z\",\"tcbStatus\":\"UpToDate\"",
                "\"isvsvn\":3},\"tcbDate\":\"2026-11-11T00:00:00Z\",\"tcbStatus\":\"ConfigurationNeeded\"",
            ),
            malformed,
        ),
        ("module twice", text("TDX_03", "tdx_01"), malformed),
        ("a member twice", text("\"version\":3", "\"version\":3,\"version\":3"), malformed),
        ("id", text("\"id\":\"TDX\"", "\"id\":\"XYZ\""), malformed),
        ("no TDX components", text("tdxtcbcomponents", "other"), malformed),
        ("no module", text("\"tdxModule\"", "\"other\""), malformed),
        ("not JSON", vec!["{".to_owned()], malformed),
        ("the other document", vec![i.qe_identity(&QeIdentity::new("TD_QE"))], malformed),
    ];
    for (what, tcb_infos, code) in cases {
        let mut documents = Documents { tcb_infos, ..Documents::of(Tee::Tdx) };
        assert_eq!(bad_tdx(&td_quote(), &documents), [format!("tcb: {code}")], "{what}");
        // The right one beside it changes everything.
        documents.tcb_infos.push(signed.clone());
        assert_eq!(bad_tdx(&td_quote(), &documents), NONE, "{what}");
    }
    let identity = QeIdentity::new("TD_QE");
    let qe = |change: &dyn Fn(&mut QeIdentity)| {
        let mut identity = identity.clone();
        change(&mut identity);
        vec![i.qe_identity(&identity)]
    };
    let cases: Vec<(&str, Vec<String>, &str)> = vec![
        ("expired", qe(&|id| id.next_update = "2027-01-02T00:00:00Z"), "collateral-expired?"),
        ("SGX's", qe(&|id| id.id = "QE"), missing),
        ("another enclave's", qe(&|id| id.id = "QVE"), missing),
        ("nobody's", vec![i.sign_statement("enclaveIdentity", &identity.json(), &i.stranger)], "collateral-unsigned?"),
        ("status", qe(&|id| id.levels[0].status = "SWHardeningNeeded"), malformed),
    ];
    for (what, qe_identities, code) in cases {
        let documents = Documents { qe_identities, ..Documents::of(Tee::Tdx) };
        assert_eq!(bad_tdx(&td_quote(), &documents), [format!("qe_identity: {code}")], "{what}");
    }
}

#[test]
fn only_intels_tcb_signer_signs_tcb_documents() {
    let i = intel();
    let named = |name: &str, issuer: &str| Certificate::new(Name::common(name), Name::common(issuer)).serial(7);
    let ca = i.ca_der(PLATFORM_CA_NAME);
    let cases: [(&str, Vec<Vec<u8>>, &str); 6] = [
        ("other name", vec![named("Intel SGX Other", ROOT_NAME).sign(&i.signer, &i.root)], "collateral-unsigned?"),
        ("a PCK", vec![named(PCK_NAME, PLATFORM_CA_NAME).sign(&i.signer, &i.ca), ca.clone()], "collateral-unsigned?"),
        (
            "below an authority",
            vec![named(SIGNER_NAME, PLATFORM_CA_NAME).sign(&i.signer, &i.ca), ca],
            "collateral-signer?",
        ),
        ("of nobody", vec![named(SIGNER_NAME, ROOT_NAME).sign(&i.signer, &i.stranger)], "collateral-signer?"),
        ("by itself", vec![named(SIGNER_NAME, SIGNER_NAME).sign(&i.signer, &i.signer)], "collateral-signer?"),
        (
            "expired",
            vec![named(SIGNER_NAME, ROOT_NAME).valid(1_600_000_000, 1_700_000_000).sign(&i.signer, &i.root)],
            "collateral-signer?",
        ),
    ];
    for (what, certificates, code) in cases {
        let documents = Documents { certificates, ..Documents::of(Tee::Tdx) };
        let expected = [format!("qe_identity: {code}"), format!("tcb: {code}")];
        assert_eq!(bad_tdx(&td_quote(), &documents), expected, "{what}");
    }
}

#[test]
fn of_several_documents_the_latest_evaluation_counts_in_any_order() {
    let i = intel();
    let old = TcbInfo { evaluation: 19, ..TcbInfo::new("TDX") };
    let mut new = TcbInfo { evaluation: 22, issue_date: "2026-12-31T00:00:00Z", ..TcbInfo::new("TDX") };
    new.levels[0].status = "SWHardeningNeeded";
    let newer = TcbInfo { issue_date: "2027-01-02T00:00:00Z", ..new.clone() };
    let texts = [&old, &new, &newer].map(|info| i.tcb_info(info));
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let tcb_infos = order.map(|index| texts[index].clone()).to_vec();
        let documents = Documents { tcb_infos, ..Documents::of(Tee::Tdx) };
        let tcb = examine_tdx(&td_quote().encode(), &documents).claims.unwrap().platform.tcb.unwrap();
        assert_eq!(tcb.evaluation_data_number, 22);
        assert_eq!(tcb.issue_date, newer.issue_date.parse().unwrap());
        assert_eq!(tcb.platform.status.name(), "SWHardeningNeeded");
    }
}

#[test]
fn a_quote_of_the_other_tee_is_refused() {
    let sgx = Quote::sgx(3, &Enclave::default()).encode();
    assert_eq!(bad(&examine_tdx(&sgx, &Documents::of(Tee::Tdx)).layers)[0], "format: quote-other-tee");
    let examination = examine_sgx(&td_quote().encode(), &Documents::of(Tee::Sgx));
    assert_eq!(bad(&examination.layers)[0], "format: quote-other-tee");
    assert!(examination.claims.is_none());
}

#[test]
fn what_was_remembered_is_not_believed_under_another_root_or_at_another_time() {
    let documents = Documents::of(Tee::Tdx).set();
    let (ours, intels, cache) = (anchors(), TrustAnchors::vendor(), Cache::default());
    let examine = |anchors, now| {
        let context = Context { anchors, endorsements: &documents, now, cache: &cache };
        bad(&tdx::examine(&td_quote().encode(), Some(&REPORT_DATA), &context).layers)
    };
    assert_eq!(examine(&ours, NOW), NONE);
    let strange = examine(&intels, NOW);
    assert_eq!(strange[0], "pck_chain: certificate-untrusted-root");
    assert!(strange.contains(&"tcb: collateral-signer?".to_owned()), "{strange:?}");
    let expired = ["qe_identity: collateral-expired?", "tcb: collateral-expired?"];
    assert_eq!(examine(&ours, NOW.plus(40 * 86_400)), expired);
    assert_eq!(examine(&ours, NOW), NONE);
}

#[test]
fn what_nobody_believed_vouches_for_is_not_remembered() {
    let (endorsements, quote) = (Documents::of(Tee::Tdx).set(), td_quote().encode());
    for (anchors, remembered) in [(anchors(), true), (TrustAnchors::vendor(), false)] {
        let cache = Cache::default();
        let context = Context { anchors: &anchors, endorsements: &endorsements, now: NOW, cache: &cache };
        let examination = tdx::examine(&quote, Some(&REPORT_DATA), &context);
        assert!(examination.layers.qe_report.holds());
        assert_eq!(examination.layers.pck_chain.holds(), remembered);
        assert_eq!(cache.len() > 0, remembered);
    }
}
