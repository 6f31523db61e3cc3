//! Signatures of RIMs: every way of signing one thing and showing another, and a name for it.

use testkit::der::{Certificate, Extension, KeyKind, Name};
use testkit::rim::{NAMES, RimAuthority, SIGNER_FROM, SIGNER_UNTIL, Signing, TestReference};
use verifier::endorsements::Endorsements;
use verifier::rim;
use verifier::{Fault, UnixTime};

use crate::rim::{AUTHORITY, NOW, anchors, between, check, check_at, first, once, refused, signed, template};

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
