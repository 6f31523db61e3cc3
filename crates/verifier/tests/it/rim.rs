//! RIMs under a test root: one yes, and a no with a name for every way of signing one thing and showing another.

use std::sync::{Arc, LazyLock};

use protocol::Digest;
use testkit::der::{Certificate, Extension, KeyKind, Name};
use testkit::ocsp::{TestAnswer, TestOcsp, TestStatus};
use testkit::rim::{NAMES, RimAuthority, SIGNER_FROM, SIGNER_UNTIL, Signing, TestMeasurement, TestReference, TestRim};
use verifier::anchors::{TrustAnchors, danger};
use verifier::endorsements::{EndorsementKind, Endorsements};
use verifier::rim::{self, Rim, RimError};
use verifier::{Fault, UnixTime};

static AUTHORITY: LazyLock<RimAuthority> = LazyLock::new(RimAuthority::new);

/// A moment at which the signer holds.
const NOW: UnixTime = UnixTime(SIGNER_FROM + 1_000);

fn template() -> TestRim {
    TestRim::new("GH100", "GPU", "550.144.03", &[(7, [7; 48]), (9, [9; 48])])
}

fn signed() -> String {
    AUTHORITY.sign(&template())
}

fn anchors(authority: &RimAuthority) -> TrustAnchors {
    let none = Digest::of(b"no root");
    danger::anchors([none; 3], none, none, authority.root(), &[])
}

fn check_at(document: &str, now: UnixTime) -> Result<Arc<Rim>, RimError> {
    rim::verify_alone(document.as_bytes(), &anchors(&AUTHORITY), &Endorsements::default(), now)
}

fn check(document: &str) -> Result<Arc<Rim>, RimError> {
    check_at(document, NOW)
}

#[track_caller]
fn refused(name: &str, document: &str, code: &str) {
    match check(document) {
        Ok(_) => panic!("{name}: accepted"),
        Err(error) => {
            assert_eq!(error.code(), code, "{name}: {}", error.chain());
            assert!(error.fault().is_refusal(), "{name}: {}", error.chain());
        }
    }
}

/// Replaces what stands there exactly once, so that a test cannot change nothing.
#[track_caller]
fn once(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` does not stand exactly once");
    text.replacen(from, to, 1)
}

#[track_caller]
fn first(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` does not stand there");
    text.replacen(from, to, 1)
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap() + from.len();
    &text[start..start + text[start..].find(to).unwrap()]
}

#[test]
fn a_rim_that_was_signed_as_nvidia_signs_gives_its_measurements() {
    let document = signed();
    let rim = check(&document).unwrap();
    assert_eq!((rim.product(), rim.edition(), rim.version()), ("GH100", "GPU", "550.144.03"));
    assert_eq!(rim.manufacturer(), "NVIDIA Corporation");
    assert_eq!(rim.id().len(), 96);
    assert_eq!(rim.measurements().len(), 64);
    let active: Vec<_> = rim.measurements().iter().filter(|golden| golden.active).collect();
    assert_eq!(active.iter().map(|golden| golden.index).collect::<Vec<_>>(), [7, 9]);
    assert_eq!(active[0].digests, [[7; 48]]);
    assert_eq!(active[0].name.as_deref(), Some("Measurement_7"));
    assert_eq!(rim.signer().subject, NAMES[0]);
    assert_eq!(rim.signer().certificate, Digest::of(&AUTHORITY.certificates[0]));
    assert_eq!((rim.signer().not_before, rim.not_after()), (UnixTime(SIGNER_FROM), UnixTime(SIGNER_UNTIL)));
    assert_eq!(rim.digest(), Digest::of(document.as_bytes()));
}

#[test]
fn alternatives_are_read_in_the_order_of_their_numbers() {
    let mut template = template();
    let digests: Vec<[u8; 48]> = (0..12).map(|number| [number; 48]).collect();
    template.measurements = vec![TestMeasurement { index: 63, active: true, digests: digests.clone() }];
    let rim = check(&AUTHORITY.sign(&template)).unwrap();
    assert_eq!(rim.measurements()[0].digests, digests);
}

/// What canonicalisation takes away may be changed by anybody on the way.
#[test]
fn what_the_canonical_form_does_not_keep_may_change() {
    let document = signed();
    let reordered = document.replace(
        "<ns0:Resource active=\"True\" alternatives=\"1\" index=\"7\"",
        "<ns0:Resource index='7'\n  alternatives = \"1\" active=\"True\"",
    );
    assert_ne!(reordered, document);
    for (name, changed) in [
        ("attributes in another order, with other quotes and white space", reordered),
        ("empty elements written short", document.replace("></ns0:Resource>", "/>")),
        ("comments", first(&document, "<ns0:Payload", "<!-- hello --><ns0:Payload")),
        ("a comment in Signature", first(&document, "<ds:SignedInfo>", "<!-- hello --><ds:SignedInfo>")),
        ("a comment in SignedInfo", first(&document, "<ds:SignatureMethod", "<!-- hello --><ds:SignatureMethod")),
        (
            "a declaration and a byte order mark",
            format!("\u{feff}<?xml version=\"1.0\" encoding='UTF-8'?>\n{document}"),
        ),
        ("line ends of another system", document.replace('\n', "\r\n")),
        ("white space after the root", format!("{document}\n\n")),
        ("character references", once(&document, "edition=\"GPU\"", "edition=\"&#71;P&#x55;\"")),
        (
            "a namespace declared again",
            first(
                &document,
                "<ns0:Entity",
                "<ns0:Entity xmlns:ns0=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\"",
            ),
        ),
        ("CDATA for text", first(&document, "</ns0:Payload>\n", "</ns0:Payload><![CDATA[\n]]>")),
    ] {
        let rim = check(&changed).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        assert_eq!(rim.measurements(), check(&document).unwrap().measurements(), "{name}");
    }
}

/// A digit of a digest, a name, a namespace: whatever the canonical form keeps is signed.
#[test]
fn whatever_the_canonical_form_keeps_is_signed() {
    let document = signed();
    for (name, changed) in [
        ("a digest", first(&document, "070707", "070708")),
        ("an index", once(&document, "index=\"9\"", "index=\"64\"")),
        (
            "made inactive",
            once(
                &document,
                "active=\"True\" alternatives=\"1\" index=\"9\"",
                "active=\"False\" alternatives=\"1\" index=\"9\"",
            ),
        ),
        ("the version", once(&document, "colloquialVersion=\"550", "colloquialVersion=\"551")),
        ("the product", once(&document, "product=\"GH100\"", "product=\"GB100\"")),
        ("white space between elements", first(&document, "    <ns0:Meta", "<ns0:Meta")),
        ("a prefix of an element", document.replace("ns0:Payload", "ns2:Payload")),
        ("a prefix everywhere", document.replace("ns0:", "nsx:").replace("xmlns:ns0", "xmlns:nsx")),
        ("a prefix of another namespace", once(&document, "<ns0:Payload", "<ns0:Payload xmlns:ns0=\"urn:x\"")),
        ("a namespace that nobody uses", once(&document, "<ns0:Payload", "<ns0:Payload xmlns:x=\"urn:x\"")),
        (
            "the default namespace",
            first(&document, "<SoftwareIdentity xmlns=\"http", "<SoftwareIdentity xmlns=\"urn:http"),
        ),
        ("one more attribute", once(&document, " edition=", " more=\"1\" edition=")),
        ("one attribute less", once(&document, " revision=\"r1\"", "")),
        ("one more element", once(&document, "<ns0:Payload", "<ns0:Link></ns0:Link><ns0:Payload")),
        ("a second payload", once(&document, "</ns0:Payload>", "</ns0:Payload><ns0:Payload></ns0:Payload>")),
        (
            "one element less",
            once(
                &document,
                "<ns0:Entity name=\"NVIDIA Corporation\" role=\"softwareCreator tagCreator\"></ns0:Entity>",
                "",
            ),
        ),
        ("text after the signature", once(&document, "</ds:Signature>", "</ds:Signature> ")),
    ] {
        refused(name, &changed, "rim-digest");
    }
}

#[test]
fn every_bit_of_the_signature_value_counts() {
    let document = signed();
    let value = between(&document, "<ds:SignatureValue>", "</ds:SignatureValue>").to_owned();
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        refused("signature value", &once(&document, &value, std::str::from_utf8(&changed).unwrap()), "rim-signature");
    }
    for (name, changed, code) in [
        ("cut", &value[..124], "rim-base64"),
        ("not base64", "?", "rim-base64"),
        ("empty", "", "rim-not-plain-text"),
        ("split by a comment", &format!("{}<!---->{}", &value[..8], &value[8..]), "rim-not-plain-text"),
        ("all zero", &"A".repeat(128), "rim-signature"),
    ] {
        refused(name, &once(&document, &value, changed), code);
    }
}

#[test]
fn signature_wrapping_is_refused() {
    let document = signed();
    let content = template().content();
    let signature = format!("<ds:Signature{}</ds:Signature>", between(&document, "<ds:Signature", "</ds:Signature>"));
    let evil = {
        let mut evil = template();
        evil.version = "666".to_owned();
        evil.content()
    };
    let into = |outer: &str, inner: &str| {
        let at = outer.rfind("</").unwrap();
        format!("{}{inner}{}", &outer[..at], &outer[at..])
    };
    // The signed content without its own signature, hidden in the signature.
    let object =
        |inner: &str| signature.replace("</ds:KeyInfo>", &format!("</ds:KeyInfo><ds:Object>{inner}</ds:Object>"));
    for (name, document, code) in [
        ("no signature", content.clone(), "rim-not-one"),
        ("a second signature", into(&document, &signature), "rim-not-one"),
        (
            "a signature in another element",
            once(&content, "</ns0:Payload>", &format!("{signature}</ns0:Payload>")),
            "rim-signature-elsewhere",
        ),
        (
            "a signature in the last resource",
            content.replacen("></ns0:Resource>", &format!(">{signature}</ns0:Resource>"), 1),
            "rim-signature-elsewhere",
        ),
        ("the signed document in an evil one", into(&evil, &document), "rim-signature-elsewhere"),
        (
            "an evil document with the signature, the signed one beside it",
            into(&into(&evil, &content), &signature),
            "rim-digest",
        ),
        ("the signed document in an Object of an evil one", into(&evil, &object(&content)), "rim-unexpected-element"),
        ("the signature is the root", signature.clone(), "rim-signature-elsewhere"),
        ("a foreign root around it", format!("<x>{document}</x>"), "rim-signature-elsewhere"),
        ("a signature of another namespace besides", into(&document, "<Signature></Signature>"), "rim-digest"),
        (
            "SignedInfo twice",
            once(
                &document,
                "</ds:SignedInfo>",
                &format!(
                    "</ds:SignedInfo><ds:SignedInfo>{}</ds:SignedInfo>",
                    between(&document, "<ds:SignedInfo>", "</ds:SignedInfo>")
                ),
            ),
            "rim-not-one",
        ),
        (
            "SignatureValue twice",
            once(&document, "<ds:KeyInfo>", "<ds:SignatureValue>AAAA</ds:SignatureValue><ds:KeyInfo>"),
            "rim-not-one",
        ),
        (
            "an Id at the signature",
            once(&document, "<ds:Signature ", "<ds:Signature Id=\"x\" "),
            "rim-unexpected-attribute",
        ),
        (
            "an Id at SignedInfo",
            once(&document, "<ds:SignedInfo>", "<ds:SignedInfo Id=\"x\">"),
            "rim-unexpected-attribute",
        ),
        ("an Id at the content", once(&document, "<ns0:Payload", "<ns0:Payload Id=\"x\""), "rim-digest"),
        (
            "text in the signature",
            once(&document, "<ds:SignatureValue>", "x<ds:SignatureValue>"),
            "rim-unexpected-text",
        ),
        ("another document under the signature", into(&evil, &signature), "rim-digest"),
    ] {
        refused(name, &document, code);
    }
}

/// Each of these was signed by the true signer: what is refused is the form.
#[test]
fn only_the_one_form_of_signature_is_accepted() {
    const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
    type Change = fn(&mut Signing);
    let cases: &[(&str, Change, &str)] = &[
        (
            "C14N 1.0",
            |s| s.canonicalization = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315".into(),
            "rim-algorithm",
        ),
        ("exclusive C14N", |s| s.canonicalization = "http://www.w3.org/2001/10/xml-exc-c14n#".into(), "rim-algorithm"),
        ("C14N 1.1 with comments", |s| s.canonicalization = format!("{C14N11}#WithComments"), "rim-algorithm"),
        ("HMAC", |s| s.method = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha384".into(), "rim-algorithm"),
        ("RSA", |s| s.method = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384".into(), "rim-algorithm"),
        (
            "a shorter hash",
            |s| s.method = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256".into(),
            "rim-algorithm",
        ),
        ("no method", |s| s.method = String::new(), "rim-algorithm"),
        ("no reference", |s| s.references.clear(), "rim-not-one"),
        ("two references", |s| s.references.push(TestReference::default()), "rim-not-one"),
        ("a reference to an id", |s| s.references[0].attributes = " URI=\"#x\"".into(), "rim-reference"),
        (
            "a reference to another document",
            |s| s.references[0].attributes = " URI=\"https://a/\"".into(),
            "rim-reference",
        ),
        ("a reference by XPointer", |s| s.references[0].attributes = " URI=\"#xpointer(/)\"".into(), "rim-reference"),
        ("a reference to nothing", |s| s.references[0].attributes = String::new(), "rim-missing-field"),
        (
            "an id at the reference",
            |s| s.references[0].attributes = " Id=\"x\" URI=\"\"".into(),
            "rim-unexpected-attribute",
        ),
        (
            "a type of the reference",
            |s| s.references[0].attributes = " Type=\"x\" URI=\"\"".into(),
            "rim-unexpected-attribute",
        ),
        ("no transforms", |s| s.references[0].transforms.clear(), "rim-not-one"),
        ("C14N missing", |s| drop(s.references[0].transforms.pop()), "rim-not-one"),
        ("enveloped missing", |s| drop(s.references[0].transforms.remove(0)), "rim-not-one"),
        ("transforms swapped", |s| s.references[0].transforms.reverse(), "rim-algorithm"),
        (
            "XSLT besides",
            |s| s.references[0].transforms.push("http://www.w3.org/TR/1999/REC-xslt-19991116".into()),
            "rim-not-one",
        ),
        (
            "XSLT instead",
            |s| s.references[0].transforms[1] = "http://www.w3.org/TR/1999/REC-xslt-19991116".into(),
            "rim-algorithm",
        ),
        (
            "XPath instead",
            |s| s.references[0].transforms[0] = "http://www.w3.org/TR/1999/REC-xpath-19991116".into(),
            "rim-algorithm",
        ),
        (
            "base64 besides",
            |s| s.references[0].transforms.insert(1, "http://www.w3.org/2000/09/xmldsig#base64".into()),
            "rim-not-one",
        ),
        ("C14N with comments", |s| s.references[0].transforms[1] = format!("{C14N11}#WithComments"), "rim-algorithm"),
        (
            "SHA-256",
            |s| s.references[0].digest_method = "http://www.w3.org/2001/04/xmlenc#sha256".into(),
            "rim-algorithm",
        ),
        ("SHA-1", |s| s.references[0].digest_method = "http://www.w3.org/2000/09/xmldsig#sha1".into(), "rim-algorithm"),
        (
            "the namespace for a digest method",
            |s| s.references[0].digest_method = "http://www.w3.org/2001/04/xmlenc#sha384".into(),
            "rim-algorithm",
        ),
        ("another digest", |s| s.digest = Some([0; 48]), "rim-digest"),
        ("a key by value", |s| s.more_key_info = "<ds:KeyValue></ds:KeyValue>".into(), "rim-unexpected-element"),
        ("a key by name", |s| s.more_key_info = "<ds:KeyName>x</ds:KeyName>".into(), "rim-unexpected-element"),
        (
            "a key by reference",
            |s| s.more_key_info = "<ds:RetrievalMethod URI=\"#x\"></ds:RetrievalMethod>".into(),
            "rim-unexpected-element",
        ),
        ("certificates twice", |s| s.more_key_info = "<ds:X509Data></ds:X509Data>".into(), "rim-not-one"),
        ("no certificates", |s| s.certificates.clear(), "rim-leaves"),
        ("the signer alone", |s| s.certificates.truncate(1), "certificate-issuer-missing"),
        ("the root alone", |s| drop(s.certificates.drain(..3)), "certificate-path-size"),
        ("one certificate twice", |s| s.certificates.push(s.certificates[0].clone()), "rim-stray-certificate"),
        ("a certificate that is none", |s| s.certificates[2] = b"no".to_vec(), "certificate-malformed"),
        ("seven certificates", |s| s.certificates.resize(7, s.certificates[0].clone()), "rim-too-much"),
        ("a huge certificate", |s| s.certificates[0] = vec![0; 9_000], "rim-too-much"),
    ];
    for (name, change, code) in cases {
        let mut signing = AUTHORITY.signing();
        change(&mut signing);
        let document = AUTHORITY.sign_content(&template().content(), &signing);
        match check(&document) {
            Ok(_) => panic!("{name}: accepted"),
            Err(error) => assert_eq!(error.code(), *code, "{name}: {}", error.chain()),
        }
    }
}

/// Parameters, attributes and elements where the true signer wrote none: each is signed, and none is accepted.
#[test]
fn parameters_within_signed_info_are_refused() {
    let signing = AUTHORITY.signing();
    let plain = AUTHORITY.sign_content(&template().content(), &signing);
    let inner = between(&plain, "<ds:SignedInfo>", "</ds:SignedInfo>").to_owned();
    let root = between(&plain, "<SoftwareIdentity", " corpus");
    let (default, rest) = root.split_once(" xmlns:ns0").unwrap();
    let namespaces = format!("{default} xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns0{rest}");
    let document = |inner: &str| {
        let content = template().content();
        let at = content.rfind("</").unwrap();
        let signature = AUTHORITY.signature_over(inner, &namespaces, &signing);
        format!("{}{signature}{}", &content[..at], &content[at..])
    };
    check(&document(&inner)).unwrap();
    for (name, from, to, code) in [
        (
            "an output length of HMAC",
            "></ds:SignatureMethod>",
            "><ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>",
            "rim-unexpected-element",
        ),
        (
            "an attribute at the method",
            "<ds:SignatureMethod ",
            "<ds:SignatureMethod x=\"1\" ",
            "rim-unexpected-attribute",
        ),
        (
            "an XPath in a transform",
            "></ds:Transform>",
            "><ds:XPath>1</ds:XPath></ds:Transform>",
            "rim-unexpected-element",
        ),
        ("text in a transform", "></ds:Transform>", ">x</ds:Transform>", "rim-unexpected-text"),
        ("an element in the digest", "<ds:DigestValue>", "<ds:DigestValue><x></x>", "rim-not-plain-text"),
        ("an attribute at the digest", "<ds:DigestValue>", "<ds:DigestValue x=\"1\">", "rim-unexpected-attribute"),
        ("an attribute at the transforms", "<ds:Transforms>", "<ds:Transforms x=\"1\">", "rim-unexpected-attribute"),
        (
            "a foreign algorithm element",
            "<ds:DigestMethod ",
            "<ds:X></ds:X><ds:DigestMethod ",
            "rim-unexpected-element",
        ),
        ("a short digest", "<ds:DigestValue>", "<ds:DigestValue>AAAA", "rim-base64"),
    ] {
        refused(name, &document(&first(&inner, from, to)), code);
    }
    let spaced = inner.replace("><", ">\n  <");
    check(&document(&spaced)).expect("white space in SignedInfo is signed and means nothing");
}

#[test]
fn the_signer_is_found_by_the_chain_and_not_by_its_place() {
    let content = template().content();
    let mut signing = AUTHORITY.signing();
    signing.certificates.reverse();
    check(&AUTHORITY.sign_content(&content, &signing)).expect("the order of certificates means nothing");

    // Somebody with an authority of their own signs, and shows NVIDIA's certificates.
    let evil = RimAuthority::new();
    let show = |certificates: Vec<Vec<u8>>| {
        let signing = Signing { certificates, ..AUTHORITY.signing() };
        evil.sign_content(&content, &signing)
    };
    let [leaf, l3, ca, root] = AUTHORITY.certificates.clone().try_into().unwrap();
    let [evil_leaf, evil_l3, evil_ca, evil_root]: [Vec<u8>; 4] = evil.certificates.clone().try_into().unwrap();
    let lone = Certificate::new(Name::common("lone"), Name::common("lone")).sign(&evil.signer, &evil.signer);
    for (name, certificates, code) in [
        ("with its own chain", evil.certificates.clone(), "certificate-untrusted-root"),
        ("with the true chain", AUTHORITY.certificates.clone(), "rim-signature"),
        (
            "its own leaf under the true chain",
            vec![evil_leaf.clone(), l3.clone(), ca.clone(), root.clone()],
            "certificate-signature",
        ),
        (
            "its own leaf and authority under the true root",
            vec![evil_leaf.clone(), evil_l3.clone(), evil_ca.clone(), root.clone()],
            "certificate-signature",
        ),
        (
            "its own leaf before the true chain",
            vec![evil_leaf, leaf.clone(), l3.clone(), ca.clone(), root.clone()],
            "rim-leaves",
        ),
        (
            "a stranger before the true chain",
            vec![lone, leaf.clone(), l3.clone(), ca.clone(), root.clone()],
            "rim-leaves",
        ),
        (
            "another root of the same name",
            vec![leaf.clone(), l3.clone(), ca.clone(), evil_root.clone()],
            "certificate-signature",
        ),
        ("two roots of the same name", vec![leaf.clone(), l3, ca, root, evil_root], "rim-stray-certificate"),
        ("its own chain, and the true leaf last", [evil.certificates.clone(), vec![leaf]].concat(), "rim-leaves"),
    ] {
        refused(name, &show(certificates), code);
    }
}

#[test]
fn a_certificate_that_is_not_for_signing_rims_signs_none() {
    let base = RimAuthority::signer_certificate;
    let plain = || {
        let name = Name::common;
        Certificate::new(name(NAMES[0]), name(NAMES[1])).valid(SIGNER_FROM, SIGNER_UNTIL)
    };
    for (name, certificate, kind, code) in [
        // Its signatures have 64 bytes.
        ("P-256", base(), KeyKind::P256, "rim-base64"),
        (
            "an authority",
            plain().with(Extension::ca(None)).with(Extension::key_usage(&[0, 5])),
            KeyKind::P384,
            "rim-signer",
        ),
        (
            "a key for certificates",
            plain().with(Extension::not_ca()).with(Extension::key_usage(&[5])),
            KeyKind::P384,
            "rim-signer",
        ),
        ("no key usage", plain().with(Extension::not_ca()), KeyKind::P384, "rim-signer"),
        (
            "an OCSP responder",
            base().with(Extension::extended_key_usage(&["1.3.6.1.5.5.7.3.9"])),
            KeyKind::P384,
            "rim-signer",
        ),
        (
            "a critical extension that nobody knows",
            base().with(Extension::critical("1.2.3.4", vec![5, 0])),
            KeyKind::P384,
            "certificate-critical-extension",
        ),
    ] {
        let authority = RimAuthority::with_signer(certificate, kind);
        let document = authority.sign(&template());
        let result = rim::verify_alone(document.as_bytes(), &anchors(&authority), &Endorsements::default(), NOW);
        let error = result.map(|_| name).unwrap_err();
        assert_eq!(error.code(), code, "{name}: {}", error.chain());
        assert!(error.fault().is_refusal(), "{name}");
    }
}

#[test]
fn an_expired_signer_is_no_answer_and_a_forgery_is_one_at_any_time() {
    let document = signed();
    for (now, code) in [
        (SIGNER_FROM - 1, "certificate-not-yet-valid"),
        (SIGNER_UNTIL + 1, "certificate-expired"),
        (0, "certificate-not-yet-valid"),
        (u64::MAX, "certificate-expired"),
    ] {
        let error = check_at(&document, UnixTime(now)).unwrap_err();
        assert_eq!((error.code(), error.fault()), (code, Fault::Expired));
        assert!(error.hint().is_some());
        let forged = RimAuthority::new().sign_content(&template().content(), &AUTHORITY.signing());
        let error = check_at(&forged, UnixTime(now)).unwrap_err();
        assert_eq!((error.code(), error.fault()), ("rim-signature", Fault::NotGenuine));
    }
    check_at(&document, UnixTime(SIGNER_FROM)).unwrap();
    check_at(&document, UnixTime(SIGNER_UNTIL)).unwrap();
}

#[test]
fn xml_that_two_readers_could_take_differently_is_refused() {
    let document = signed();
    let deep = format!("{}{}", "<a>".repeat(9), "</a>".repeat(9));
    let many = |what: &str, count: usize| format!("<a>{}</a>", what.repeat(count));
    let attributes: Vec<_> = (0..4_097).map(|number| format!(" a{number}=''")).collect();
    let attributes = attributes.concat();
    let namespaces: Vec<_> = (0..33).map(|number| format!(" xmlns:a{number}='urn:x'")).collect();
    let namespaces = namespaces.concat();
    for (name, document, code) in [
        ("nothing", String::new(), "rim-not-xml"),
        ("text", "hello".to_owned(), "rim-not-xml"),
        ("JSON", "{\"rim\":1}".to_owned(), "rim-not-xml"),
        ("two roots", format!("{document}<a/>"), "rim-not-xml"),
        ("an open element", "<a>".to_owned(), "rim-not-xml"),
        ("a DTD", format!("<!DOCTYPE a>{document}"), "rim-dtd"),
        ("a DTD with an entity", format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{document}"), "rim-dtd"),
        ("a DTD after the declaration", format!("<?xml version=\"1.0\"?><!DOCTYPE a>{document}"), "rim-dtd"),
        ("an entity in text", once(&document, "</ns0:Payload>", "&b;</ns0:Payload>"), "rim-entity"),
        ("an entity in an attribute", once(&document, "edition=\"GPU\"", "edition=\"&b;\""), "rim-entity"),
        ("an instruction before the root", format!("<?a b?>{document}"), "rim-processing-instruction"),
        ("an instruction after the root", format!("{document}<?a b?>"), "rim-processing-instruction"),
        ("an instruction inside", once(&document, "<ns0:Payload", "<?a b?><ns0:Payload"), "rim-processing-instruction"),
        (
            "an instruction in the signature",
            once(&document, "<ds:KeyInfo>", "<?a?><ds:KeyInfo>"),
            "rim-processing-instruction",
        ),
        ("a declaration with a tab", format!("<?xml\tversion=\"1.0\"?>{document}"), "rim-processing-instruction"),
        (
            "another encoding",
            format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{document}"),
            "rim-xml-declaration",
        ),
        ("another version", format!("<?xml version=\"1.1\"?>{document}"), "rim-xml-declaration"),
        ("no version", format!("<?xml encoding=\"UTF-8\"?>{document}"), "rim-xml-declaration"),
        (
            "an attribute twice",
            once(&document, " edition=\"GPU\"", " edition=\"GPU\" edition=\"CPU\""),
            "rim-duplicate-attribute",
        ),
        (
            "an attribute twice by two prefixes",
            "<a xmlns:b='u:1' xmlns:c='u:1' b:d='' c:d=''/>".to_owned(),
            "rim-duplicate-attribute",
        ),
        (
            "a namespace twice",
            once(&document, "<ns0:Payload", "<ns0:Payload xmlns:x=\"u:1\" xmlns:x=\"u:2\""),
            "rim-namespace",
        ),
        (
            "the default namespace twice",
            once(&document, "<SoftwareIdentity", "<SoftwareIdentity xmlns=\"u:1\""),
            "rim-namespace",
        ),
        ("a namespace taken back", once(&document, "<ns0:Payload", "<ns0:Payload xmlns=\"\""), "rim-namespace"),
        ("a prefix for nothing", once(&document, "<ns0:Payload", "<ns0:Payload xmlns:x=\"\""), "rim-namespace"),
        ("a relative namespace", once(&document, "<ns0:Payload", "<ns0:Payload xmlns:x=\"y\""), "rim-namespace"),
        ("a prefixed xmlns", once(&document, "<ns0:Payload", "<ns0:Payload ns0:xmlns=\"u:1\""), "rim-namespace"),
        ("an xml attribute", once(&document, "<ns0:Payload", "<ns0:Payload xml:lang=\"en\""), "rim-xml-attribute"),
        ("an xml id", once(&document, "<ns0:Payload", "<ns0:Payload xml:id=\"en\""), "rim-xml-attribute"),
        ("an unknown prefix", once(&document, "<ns0:Payload", "<nsx:Payload"), "rim-not-xml"),
        ("a name that begins with a colon", "<:a/>".to_owned(), "rim-not-xml"),
        ("an attribute that begins with a colon", "<a :b=''/>".to_owned(), "rim-not-xml"),
        ("a control character", once(&document, "edition=\"GPU\"", "edition=\"G\u{1}U\""), "rim-not-xml"),
        ("levels", deep, "rim-too-much"),
        ("elements", many("<b/>", 2_048), "rim-too-much"),
        ("attributes", format!("<a{attributes}/>"), "rim-too-much"),
        ("namespaces", format!("<a{namespaces}/>"), "rim-too-much"),
        ("bytes", many(" ", 256 * 1024), "rim-too-much"),
    ] {
        refused(name, &document, code);
    }
    let binary =
        |bytes: &[u8]| rim::verify_alone(bytes, &anchors(&AUTHORITY), &Endorsements::default(), NOW).unwrap_err();
    assert_eq!(binary(b"<a>\xff</a>"), RimError::NotUtf8 { at: 3 });
    // unsigned-corim-map (tag 501), signed-corim (COSE_Sign1, tag 18), a bare map.
    for corim in [&[0xd9, 0x01, 0xf5, 0xa1][..], &[0xd2, 0x84], &[0xa2, 0x00]] {
        assert_eq!((binary(corim).code(), binary(corim).fault()), ("rim-corim", Fault::Unsupported));
        assert_eq!(binary(corim).to_string(), "a CBOR CoRIM; this release reads XML");
    }
}

/// Signed by the true signer, and still not read: NVIDIA's form, or a name for what is different.
#[test]
fn contents_that_are_signed_and_make_no_sense_are_refused() {
    const RESOURCE: &str = "active=\"True\" alternatives=\"1\" index=\"7\" name=\"Measurement_7\" size=\"48\" type=\"Measurement\" ns2:Hash0=\"";
    let digest = "07".repeat(48);
    let sha512 = format!(
        "<ns0:Resource xmlns:x=\"http://www.w3.org/2001/04/xmlenc#sha512\" {}{digest}",
        RESOURCE.replace("ns2:Hash0", "x:Hash0")
    );
    let cases: &[(&str, &str, &str, &str)] = &[
        ("an index twice", "index=\"9\"", "index=\"8\"", "rim-duplicate-index"),
        ("an index out of range", "index=\"9\"", "index=\"64\"", "rim-index"),
        ("a huge index", "index=\"9\"", "index=\"99999999999999999999\"", "rim-index"),
        ("a negative index", "index=\"9\"", "index=\"-9\"", "rim-index"),
        ("a signed index", "index=\"9\"", "index=\"+9\"", "rim-index"),
        ("an index with a zero before", "index=\"9\"", "index=\"09\"", "rim-index"),
        ("an index in other digits", "index=\"9\"", "index=\"\u{0669}\"", "rim-index"),
        ("an empty index", "index=\"9\"", "index=\"\"", "rim-field"),
        ("no index", " index=\"9\"", "", "rim-missing-field"),
        (
            "neither active nor not",
            "active=\"True\" alternatives=\"1\" index=\"9\"",
            "active=\"true\" alternatives=\"1\" index=\"9\"",
            "rim-field",
        ),
        (
            "active missing",
            "active=\"True\" alternatives=\"1\" index=\"9\"",
            "alternatives=\"1\" index=\"9\"",
            "rim-missing-field",
        ),
        (
            "another type",
            "name=\"Measurement_9\" size=\"48\" type=\"Measurement\"",
            "name=\"Measurement_9\" size=\"48\" type=\"File\"",
            "rim-field",
        ),
        ("another size", "name=\"Measurement_9\" size=\"48\"", "name=\"Measurement_9\" size=\"32\"", "rim-field"),
        (
            "an unknown attribute",
            "name=\"Measurement_9\" ",
            "mask=\"ff\" name=\"Measurement_9\" ",
            "rim-unexpected-attribute",
        ),
        (
            "more alternatives stated",
            RESOURCE,
            &RESOURCE.replace("alternatives=\"1\"", "alternatives=\"2\""),
            "rim-alternatives",
        ),
        (
            "no alternatives stated",
            RESOURCE,
            &RESOURCE.replace("alternatives=\"1\"", "alternatives=\"0\""),
            "rim-alternatives",
        ),
        (
            "alternatives that are no number",
            RESOURCE,
            &RESOURCE.replace("alternatives=\"1\"", "alternatives=\"one\""),
            "rim-alternatives",
        ),
        ("the first alternative missing", RESOURCE, &RESOURCE.replace("Hash0", "Hash1"), "rim-alternatives"),
        ("no digest", &format!(" ns2:Hash0=\"{digest}\""), "", "rim-alternatives"),
        ("a digest too short", &format!("{digest}\""), &format!("{}\"", &digest[2..]), "rim-digest-text"),
        ("half a digit", &format!("{digest}\""), &format!("{}\"", &digest[1..]), "rim-digest-text"),
        ("a digest too long", &format!("{digest}\""), &format!("{digest}00\""), "rim-digest-text"),
        ("a digest that is no hex", &format!("{digest}\""), &format!("g{}\"", &digest[1..]), "rim-digest-text"),
        ("another hash algorithm", &format!("<ns0:Resource {RESOURCE}{digest}"), &sha512, "rim-hash-algorithm"),
        (
            "a hash without an algorithm",
            &format!("{RESOURCE}{digest}\""),
            &format!("Hash0=\"{digest}\" {}", &RESOURCE[..RESOURCE.len() - 12]),
            "rim-hash-algorithm",
        ),
        ("a seventeenth alternative", RESOURCE, &RESOURCE.replace("Hash0", "Hash16"), "rim-hash-algorithm"),
        ("an alternative that is no number", RESOURCE, &RESOURCE.replace("Hash0", "HashX"), "rim-hash-algorithm"),
        (
            "something else of the hashes' namespace",
            RESOURCE,
            &RESOURCE.replace("Hash0", "Mask0"),
            "rim-hash-algorithm",
        ),
        ("another manufacturer", "\"5703\"", "\"5704\"", "rim-field"),
        ("no manufacturer", " ns1:FirmwareManufacturerId=\"5703\"", "", "rim-missing-field"),
        (
            "a manufacturer under another name",
            "ns1:FirmwareManufacturerId",
            "ns1:FirmwareManufacturerIds",
            "rim-missing-field",
        ),
        ("an indirect payload", "PayloadType=\"direct\"", "PayloadType=\"indirect\"", "rim-field"),
        ("no version", "colloquialVersion=\"550.144.03\" ", "", "rim-missing-field"),
        ("an empty version", "colloquialVersion=\"550.144.03\"", "colloquialVersion=\"\"", "rim-field"),
        (
            "a version with a line end",
            "colloquialVersion=\"550.144.03\"",
            "colloquialVersion=\"550&#xA;\"",
            "rim-field",
        ),
        ("no product", " product=\"GH100\"", "", "rim-missing-field"),
        ("no tag id", " tagId=", " tagIe=", "rim-missing-field"),
        ("a supplement", "supplemental=\"false\"", "supplemental=\"true\"", "rim-field"),
        ("a patch", "patch=\"false\"", "patch=\"true\"", "rim-field"),
        ("a corpus tag", "corpus=\"false\"", "corpus=\"true\"", "rim-field"),
        (
            "text among the measurements",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\">",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\">x",
            "rim-unexpected-text",
        ),
        (
            "an attribute at the payload",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\"",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\" x=\"1\"",
            "rim-unexpected-attribute",
        ),
        ("another root", "SoftwareIdentity", "SoftwareIdentities", "rim-unexpected-element"),
        ("two payloads", "</ns0:Payload>", "</ns0:Payload><ns0:Payload></ns0:Payload>", "rim-not-one"),
        ("two metas", "</ns0:Meta>", "</ns0:Meta><ns0:Meta></ns0:Meta>", "rim-not-one"),
        (
            "an element in a measurement",
            "></ns0:Resource>",
            "><ns0:Resource></ns0:Resource></ns0:Resource>",
            "rim-unexpected-element",
        ),
        (
            "a file among the measurements",
            "    </ns0:Payload>",
            "    <ns0:File></ns0:File></ns0:Payload>",
            "rim-unexpected-element",
        ),
        (
            "evidence besides the payload",
            "</ns0:Payload>",
            "</ns0:Payload><ns0:Evidence></ns0:Evidence>",
            "rim-unexpected-element",
        ),
    ];
    let content = template().content();
    for (name, from, to, code) in cases {
        assert!(content.contains(from), "{name}: `{from}` does not stand there");
        // The root's name stands at both its ends.
        let times = if *from == "SoftwareIdentity" { 2 } else { 1 };
        let changed = content.replacen(from, to, times);
        refused(name, &AUTHORITY.sign_content(&changed, &AUTHORITY.signing()), code);
    }
    let no_measurement = TestRim { measurements: vec![], ..template() };
    refused("no measurement", &AUTHORITY.sign(&no_measurement), "rim-not-one");
}

/// What OCSP says about the signer, its authority, or the one above, decides where a response is given.
#[test]
fn a_revoked_certificate_anywhere_in_the_chain_refuses_the_rim() {
    let document = signed();
    let response = |place: usize, status: TestStatus| {
        let serial = [4, 3, 2][place];
        let key = &AUTHORITY.keys[place];
        let mut answer = TestAnswer::good(Name::common(NAMES[place + 1]), key, serial);
        answer.status = status;
        TestOcsp::by_issuer(answer).sign(key)
    };
    let judge = |responses: &[Vec<u8>], now: UnixTime| {
        let mut endorsements = Endorsements::default();
        for response in responses {
            endorsements.add(EndorsementKind::OcspResponse, response).unwrap();
        }
        rim::verify_alone(document.as_bytes(), &anchors(&AUTHORITY), &endorsements, now)
    };
    let good: Vec<_> = (0..3).map(|place| response(place, TestStatus::Good)).collect();
    let rim = judge(&good, NOW).unwrap();
    assert!(rim.standing().iter().all(|(_, standing)| standing.until().is_some()));
    assert_eq!(rim.standing().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), NAMES[..3]);
    assert!(judge(&good[..1], NOW).unwrap().standing()[1].1.until().is_none());

    for (place, name) in NAMES.into_iter().take(3).enumerate() {
        let revoked = response(place, TestStatus::Revoked { at: 1_700_000_000, reason: Some(1) });
        for now in [NOW, UnixTime(SIGNER_UNTIL + 1)] {
            let error = judge(&[&good[..], std::slice::from_ref(&revoked)].concat(), now).unwrap_err();
            assert_eq!((error.code(), error.fault()), ("certificate-revoked", Fault::Revoked));
            assert!(error.chain().contains(name), "{}", error.chain());
        }
        let unknown = response(place, TestStatus::Unknown);
        let error = judge(&[unknown], NOW).unwrap_err();
        assert_eq!((error.code(), error.fault()), ("ocsp-unknown", Fault::Missing));
    }
}

/// The vendor's anchors, at a time within each signer's validity.
fn corpus(name: &str, now: &str) -> Result<Arc<Rim>, RimError> {
    let document = testkit::corpus::file(name);
    rim::verify_alone(&document, &TrustAnchors::vendor(), &Endorsements::default(), now.parse().unwrap())
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_genuine_rims_verify_up_to_nvidias_root() {
    for (name, now, identity, (active, most), signer, until) in [
        (
            "nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml",
            "2026-11-21",
            ("GPU", "GH100", "550.144.03"),
            (21, 4),
            "HCC RIM L4 Signer",
            "2026-12-30T16:56:50Z",
        ),
        (
            "nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag",
            "2024-01-01",
            ("GPU", "GH100", "96.00.5E.00.01"),
            (12, 4),
            "HCC RIM L4 Signer",
            "2025-06-22T09:30:33Z",
        ),
        (
            "nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
            "2026-11-21",
            ("SWITCH", "LS10", "96.10.55.00.01"),
            (31, 4),
            "NVIDIA Reference Value L4 LS10",
            "2027-11-02T23:59:59Z",
        ),
    ] {
        let rim = corpus(name, now).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        assert_eq!((rim.edition(), rim.product(), rim.version()), identity, "{name}");
        assert_eq!(rim.manufacturer(), "NVIDIA Corporation");
        assert_eq!(rim.measurements().len(), 64);
        assert!(rim.measurements().iter().enumerate().all(|(at, golden)| usize::try_from(golden.index) == Ok(at)));
        assert_eq!(rim.measurements().iter().filter(|golden| golden.active).count(), active, "{name}");
        assert_eq!(rim.measurements().iter().map(|golden| golden.digests.len()).max(), Some(most), "{name}");
        assert_eq!(rim.signer().subject, signer, "{name}");
        assert_eq!(rim.not_after().to_string(), until, "{name}");
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_an_expired_rim_is_no_answer() {
    let error = corpus("nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag", "2026-11-21").unwrap_err();
    assert_eq!((error.code(), error.fault()), ("certificate-expired", Fault::Expired));
    // The switch's signer holds to 2028-05, the authority above it to 2027-11 alone.
    let error = corpus("nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml", "2028-01-01").unwrap_err();
    assert_eq!((error.code(), error.fault()), ("certificate-expired", Fault::Expired));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_rim_with_a_wrong_signature_is_refused() {
    for now in ["2026-11-21", "2030-01-01"] {
        let error = corpus("nvidia/driver_rim_incorrect_signature.xml", now).unwrap_err();
        assert_eq!(error, RimError::Signature { signer: "HCC RIM L4 Signer".to_owned() });
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_one_digit_of_any_measurement_is_signed() {
    let text = String::from_utf8(testkit::corpus::file("nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml")).unwrap();
    let judge = |text: &str| {
        let now = "2026-11-21".parse().unwrap();
        rim::verify_alone(text.as_bytes(), &TrustAnchors::vendor(), &Endorsements::default(), now)
    };
    judge(&text).unwrap();
    judge(&text.replace('\n', "\r\n")).expect("line ends of another system are not signed");
    let places: Vec<_> = text.match_indices("Hash").map(|(at, _)| at + 7).filter(|at| *at < 21_000).collect();
    assert!(places.len() > 64);
    for at in places {
        let mut changed = text.clone().into_bytes();
        if !changed[at].is_ascii_hexdigit() {
            continue;
        }
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        let error = judge(std::str::from_utf8(&changed).unwrap()).unwrap_err();
        assert_eq!(error.code(), "rim-digest", "byte {at}");
    }
}

#[test]
fn a_rim_says_which_responses_would_speak_for_its_signer() {
    let needs = rim::needs(signed().as_bytes());
    assert_eq!(needs.len(), 3);
    assert!(rim::needs(b"<a/>").is_empty());
}

/// Whatever is done to the bytes of a document: it is refused, or it says what was signed.
#[test]
fn a_document_that_was_tampered_with_is_refused_or_says_the_same() {
    let mut small = template();
    small.measurements.truncate(10);
    let original = AUTHORITY.sign(&small);
    let expected = check(&original).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit.max(1)
    };
    let tokens = [
        "<",
        ">",
        "/>",
        "&",
        "&#x41;",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        " ",
        "\r",
        "\"",
        "'",
        "=",
        "xmlns=\"\"",
        "ns0:",
        "<ds:Signature>",
        "True",
        "0",
    ];
    let mut accepted = 0;
    for round in 0..4_000 {
        let mut bytes = original.clone().into_bytes();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            let end = (at + below(40)).min(bytes.len());
            match below(5) {
                0 => bytes[at] = u8::try_from(below(256)).unwrap(),
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..at, tokens[below(tokens.len())].bytes())),
                3 => {
                    let chunk = bytes[at..end].to_vec();
                    let to = below(bytes.len());
                    drop(bytes.splice(to..to, chunk));
                }
                _ => bytes[at] ^= 0x20,
            }
        }
        let result = rim::verify_alone(&bytes, &anchors(&AUTHORITY), &Endorsements::default(), NOW);
        if let Ok(rim) = result {
            accepted += 1;
            assert_eq!(rim.measurements(), expected.measurements(), "round {round}");
            assert_eq!(
                (rim.version(), rim.product(), rim.id()),
                (expected.version(), expected.product(), expected.id())
            );
            assert_eq!(rim.signer(), expected.signer());
        }
    }
    assert!(accepted > 0, "white space in tags may change");
}

#[test]
fn an_explanation_shows_the_claims_and_what_is_wrong() {
    use verifier::explain::Verdict;
    let explain = |document: &str, now: UnixTime| {
        rim::explain(document.as_bytes(), &anchors(&AUTHORITY), &Endorsements::default(), now)
    };
    let document = signed();
    let shown = explain(&document, NOW);
    assert_eq!((shown.subject.as_str(), shown.verdict), ("RIM of GH100 550.144.03", Verdict::Verified));
    let claim = |section: usize, name: &str| {
        let claims = &shown.sections[section].claims;
        claims.iter().find(|claim| claim.name == name).map(|claim| claim.value.to_string())
    };
    assert_eq!(claim(0, "active").as_deref(), Some("2"));
    assert_eq!(claim(0, "inactive").as_deref(), Some("62"));
    assert_eq!(claim(1, "signer").as_deref(), Some(NAMES[0]));
    assert_eq!(claim(1, "valid until").as_deref(), Some("2027-01-01T00:00:00Z"));
    assert_eq!(claim(2, NAMES[0]).as_deref(), Some("no OCSP response given"));

    assert_eq!(explain(&document, UnixTime(SIGNER_UNTIL + 1)).verdict, Verdict::Unknown);
    let value = between(&document, "<ds:SignatureValue>", "</ds:SignatureValue>");
    let forged = once(&document, value, &"A".repeat(128));
    let shown = explain(&forged, NOW);
    assert_eq!(shown.verdict, Verdict::Refused);
    assert_eq!(shown.sections[1].problems[0].code, "rim-signature");
    let shown = explain("<a/>", NOW);
    assert_eq!((shown.verdict, shown.sections[0].problems[0].code), (Verdict::Refused, "rim-not-one"));
}
