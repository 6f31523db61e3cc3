use protocol::digest::Hex;
use protocol::reference::{AmdProduct, TcbVersion};
use verifier::endorsements::{AmdKey, PckAuthority};

use super::*;
use crate::examples::{self, Authority};
use crate::sources::Sources;

/// A need, the body and the header with the chain, and what is found in them.
type GoodCase<'a> = (Need, Vec<u8>, Option<&'a str>, &'a [EndorsementKind]);

const ID: &str = "NV_GPU_DRIVER_GH100_550.144.03";

fn fmspc() -> Hex<6> {
    Hex([0x00, 0x80, 0x6f, 0x05, 0, 0])
}

fn vcek() -> Need {
    Need::Vcek { product: AmdProduct::Milan, chip_id: Hex([1; 64]), tcb: TcbVersion::default() }
}

fn answer(need: &Need, body: impl Into<Vec<u8>>, chain: Option<&str>) -> Result<Vec<Document>, Wrong> {
    let request = Sources::vendors().request(need).unwrap();
    let answer = Answer { status: 200, retry_after: None, chain: chain.map(str::to_owned), body: body.into() };
    read(need, &request, &answer)
}

fn kinds(documents: &[Document]) -> Vec<EndorsementKind> {
    documents.iter().map(|document| document.kind).collect()
}

#[test]
fn answers_of_every_kind_are_taken_apart() {
    use EndorsementKind::{Certificate, Crl, OcspResponse, QeIdentity, Rim, TcbInfo};
    let authority = Authority::new("Root");
    let (header, crl) = (authority.header(), authority.crl(10));
    let crl_pem = format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", STANDARD.encode(&crl));
    let chain = Need::AmdChain { product: AmdProduct::Milan, key: AmdKey::Vcek };
    let amd_crl = Need::AmdCrl { product: AmdProduct::Milan, key: AmdKey::Vcek };
    let pck_crl = Need::PckCrl { authority: PckAuthority::Platform };
    let tcb_info = Need::TcbInfo { tee: Tee::Tdx, fmspc: fmspc() };
    let identity = Need::QeIdentity { tee: Tee::Tdx };
    let rim = examples::rim(&authority.leaf);
    let ocsp = Need::Ocsp { certificate: authority.leaf.der().to_vec(), issuer: authority.root.der().to_vec() };
    let cases: Vec<GoodCase<'_>> = vec![
        (vcek(), authority.leaf.der().to_vec(), None, &[Certificate]),
        (vcek(), authority.leaf.pem().into(), None, &[Certificate]),
        (chain, authority.chain().into(), None, &[Certificate, Certificate]),
        (amd_crl.clone(), crl.clone(), None, &[Crl]),
        (amd_crl, crl_pem.into(), None, &[Crl]),
        (Need::IntelRootCrl, hex::encode_upper(&crl).into(), None, &[Crl]),
        (pck_crl.clone(), crl.clone(), None, &[Crl]),
        (pck_crl, crl, Some(&header), &[Crl, Certificate, Certificate]),
        (
            tcb_info,
            examples::tcb_info("TDX", "00806F050000", 10).into(),
            Some(&header),
            &[TcbInfo, Certificate, Certificate],
        ),
        (identity, examples::qe_identity("TD_QE").into(), Some(&header), &[QeIdentity, Certificate, Certificate]),
        (Need::Rim { id: ID.into() }, examples::rim_answer(ID, &rim).into(), None, &[Rim]),
        (ocsp, examples::ocsp("20261001000000Z", None), None, &[OcspResponse]),
    ];
    for (need, body, chain, expected) in cases {
        let documents = answer(&need, body, chain).unwrap_or_else(|wrong| panic!("{need}: {wrong}"));
        assert_eq!(kinds(&documents), expected, "{need}");
    }
    let documents = answer(&Need::Rim { id: ID.into() }, examples::rim_answer(ID, &rim), None).unwrap();
    assert_eq!(documents[0].bytes, rim.as_bytes());
}

#[test]
fn answers_that_are_none_are_named() {
    let authority = Authority::new("Root");
    let (header, key) = (authority.header(), vcek());
    let chain = Need::AmdChain { product: AmdProduct::Milan, key: AmdKey::Vcek };
    let tcb_info = Need::TcbInfo { tee: Tee::Tdx, fmspc: fmspc() };
    let identity = Need::QeIdentity { tee: Tee::Sgx };
    let rim = Need::Rim { id: ID.into() };
    let ocsp = Need::Ocsp { certificate: authority.leaf.der().to_vec(), issuer: authority.root.der().to_vec() };
    let good_rim = examples::rim_answer(ID, &examples::rim(&authority.leaf));
    let (short, zeros) = (STANDARD.encode("<SoftwareId"), "0".repeat(64));
    let mut long_der = authority.leaf.der().to_vec();
    long_der.push(0);
    let cases: Vec<(&Need, Vec<u8>, Option<&str>, &str)> = vec![
        (&key, Vec::new(), None, "no certificate"),
        (&key, b"<html>Sign in</html>".to_vec(), None, "no certificate"),
        (&key, authority.crl(10), None, "no certificate"),
        (&key, long_der, None, "no certificate"),
        (&key, authority.leaf.der()[..100].to_vec(), None, "no certificate"),
        (&key, authority.chain().into(), None, "2 certificates"),
        (&chain, authority.leaf.pem().repeat(9).into(), None, "9 certificates"),
        (&chain, authority.leaf.pem().replace("-----END", "").into(), None, "no certificate"),
        (&chain, authority.leaf.pem().replace("CERTIFICATE", "PRIVATE KEY").into(), None, "no certificate"),
        (&Need::IntelRootCrl, authority.leaf.der().to_vec(), None, "no crl"),
        (&Need::IntelRootCrl, b"3082".to_vec(), None, "no crl"),
        (&Need::IntelRootCrl, b"-----BEGIN X509 CRL-----\n".to_vec(), None, "no crl"),
        (
            &tcb_info,
            examples::tcb_info("TDX", "00806F050000", 10).into(),
            None,
            "no certificates in header `TCB-Info-Issuer-Chain`",
        ),
        (
            &tcb_info,
            examples::tcb_info("TDX", "00806F050000", 10).into(),
            Some("%zz"),
            "no certificates in header `TCB-Info-Issuer-Chain`",
        ),
        (
            &tcb_info,
            examples::tcb_info("SGX", "00806F050000", 10).into(),
            Some(&header),
            "an answer for `SGX` instead of `tdx`",
        ),
        (
            &tcb_info,
            examples::tcb_info("TDX", "00906ED50000", 10).into(),
            Some(&header),
            "an answer for `00906ED50000` instead of `00806f050000`",
        ),
        (
            &tcb_info,
            examples::tcb_info("TDX", "00806F050000", 10).replace("fmspc", "x").into(),
            Some(&header),
            "no field `fmspc` that can be read",
        ),
        (
            &tcb_info,
            examples::tcb_info("TDX", "00806F050000", 10).replace("signature", "x").into(),
            Some(&header),
            "no tcb-info",
        ),
        (&tcb_info, examples::qe_identity("QE").into(), Some(&header), "no tcb-info"),
        (&tcb_info, b"[]".to_vec(), Some(&header), "no tcb-info"),
        (&identity, examples::qe_identity("TD_QE").into(), Some(&header), "an answer for `TD_QE` instead of `QE`"),
        (&rim, b"{".to_vec(), None, "no rim"),
        (
            &rim,
            good_rim.replace("550.144", "550.145").into(),
            None,
            "an answer for `NV_GPU_DRIVER_GH100_550.145.03` instead of `NV_GPU_DRIVER_GH100_550.144.03`",
        ),
        (&rim, good_rim.replace("\"rim\"", "\"other\"").into(), None, "no field `rim` that can be read"),
        (&rim, good_rim.replace("\"sha256\"", "\"other\"").into(), None, "no field `sha256` that can be read"),
        (
            &rim,
            format!(r#"{{"id":"{ID}","rim":"%","sha256":"{zeros}"}}"#).into(),
            None,
            "no field `rim` that can be read",
        ),
        (
            &rim,
            format!(r#"{{"id":"{ID}","rim":"{short}","sha256":"xyz"}}"#).into(),
            None,
            "no field `sha256` that can be read",
        ),
        (&rim, format!(r#"{{"id":"{ID}","rim":"{short}","sha256":"{zeros}"}}"#).into(), None, "a document with digest"),
        (&rim, examples::rim_answer(ID, "plain text").into(), None, "no rim"),
        (&ocsp, vec![0x30, 3, 0x0a, 1, 6], None, "OCSP status 6 instead of an answer"),
        (&ocsp, b"no".to_vec(), None, "no ocsp-response"),
    ];
    for (number, (need, body, chain, expected)) in cases.into_iter().enumerate() {
        let wrong = answer(need, body, chain).expect_err(&format!("case {number}"));
        assert!(wrong.to_string().starts_with(expected), "case {number}: {wrong}");
    }
}

#[test]
fn a_digest_may_be_in_hex_or_base64_and_cover_the_document_or_its_text() {
    let rim = "<SoftwareIdentity/>";
    let text = STANDARD.encode(rim);
    let (of_rim, of_text) = (Digest::of(rim.as_bytes()), Digest::of(text.as_bytes()));
    let announced = [
        of_rim.to_string(),
        of_rim.to_string().to_uppercase(),
        of_text.to_string(),
        STANDARD.encode(of_rim.as_bytes()),
    ];
    for sha256 in announced {
        let body = format!(r#"{{"id":"{ID}","rim":"{text}","sha256":"{sha256}"}}"#);
        assert!(answer(&Need::Rim { id: ID.into() }, body, None).is_ok(), "{sha256}");
    }
}

#[test]
fn percent_encoding_is_undone_and_what_is_none_stays() {
    for (text, expected) in [
        ("", ""),
        ("a%20b", "a b"),
        ("%2D%2d", "--"),
        ("100%", "100%"),
        ("%4", "%4"),
        ("%zz%41", "%zzA"),
        ("%%41", "%A"),
    ] {
        assert_eq!(percent_decoded(text), expected.as_bytes(), "{text}");
    }
}

#[test]
fn documents_of_a_wrong_kind_answer_nothing() {
    let rim = Document { kind: EndorsementKind::Rim, bytes: b"<SoftwareIdentity/>".to_vec() };
    let need = Need::Rim { id: ID.into() };
    assert_eq!(check(&need, std::slice::from_ref(&rim)), Ok(()));
    assert_eq!(check(&need, &[]), Err(Wrong::NotA { kind: EndorsementKind::Rim }));
    assert_eq!(check(&need, &[rim.clone(), rim.clone()]), Err(Wrong::NotA { kind: EndorsementKind::Rim }));
    assert_eq!(check(&vcek(), std::slice::from_ref(&rim)), Err(Wrong::Count { got: 0 }));
    let relabelled = Document { kind: EndorsementKind::Certificate, bytes: rim.bytes.clone() };
    assert_eq!(check(&vcek(), &[relabelled]), Err(Wrong::NotA { kind: EndorsementKind::Certificate }));
    let long = Document { bytes: b"<SoftwareIdentity/>".repeat(60_000), ..rim };
    assert_eq!(check(&need, &[long]), Err(Wrong::NotA { kind: EndorsementKind::Rim }));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_documents_are_taken_as_what_they_are() {
    let authority = Authority::new("Root");
    let rims = [
        "NV_GPU_DRIVER_GH100_550.144.03.xml",
        "NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag",
        "NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
    ];
    for name in rims {
        let rim = String::from_utf8(testkit::corpus::file(&format!("nvidia/{name}"))).unwrap();
        let found = answer(&Need::Rim { id: ID.into() }, examples::rim_answer(ID, &rim), None).unwrap();
        assert_eq!(found[0].bytes, rim.as_bytes(), "{name}");
    }
    let der = |name: &str| answer(&vcek(), testkit::corpus::file(name), None).map(|found| kinds(&found));
    assert_eq!(der("snp/test-vcek.der"), Ok(vec![EndorsementKind::Certificate]));
    let chain = Need::AmdChain { product: AmdProduct::Milan, key: AmdKey::Vcek };
    for product in ["milan", "genoa", "turin"] {
        let pem = testkit::corpus::file(&format!("snp/{product}_ask_ark_asvk.pem"));
        assert_eq!(answer(&chain, pem, None).unwrap().len(), 3, "{product}");
    }
    let tcb_info = Need::TcbInfo { tee: Tee::Tdx, fmspc: Hex([0x00, 0xa0, 0x6d, 0x08, 0, 0]) };
    let found = answer(&tcb_info, testkit::corpus::file("tdx/tcbInfo.json"), Some(&authority.header()));
    assert_eq!(kinds(&found.unwrap())[0], EndorsementKind::TcbInfo);
    let identity = Need::QeIdentity { tee: Tee::Tdx };
    let found = answer(&identity, testkit::corpus::file("tdx/enclaveIdentity.json"), Some(&authority.header()));
    assert_eq!(kinds(&found.unwrap())[0], EndorsementKind::QeIdentity);
}
