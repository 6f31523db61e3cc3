//! RIMs under a test root: one yes, and a no with a name for every way of signing one thing and showing another.

use std::sync::{Arc, LazyLock};

use protocol::Digest;
use testkit::der::Name;
use testkit::ocsp::{TestAnswer, TestOcsp, TestStatus};
use testkit::rim::{NAMES, RimAuthority, SIGNER_FROM, SIGNER_UNTIL, TestMeasurement, TestRim};
use verifier::anchors::{TrustAnchors, danger};
use verifier::endorsements::{EndorsementKind, Endorsements};
use verifier::rim::{self, Rim, RimError};
use verifier::{Fault, UnixTime};

pub(crate) static AUTHORITY: LazyLock<RimAuthority> = LazyLock::new(RimAuthority::new);

/// A moment at which the signer holds.
pub(crate) const NOW: UnixTime = UnixTime(SIGNER_FROM + 1_000);

pub(crate) fn template() -> TestRim {
    TestRim::new("GH100", "GPU", "550.144.03", &[(7, [7; 48]), (9, [9; 48])])
}

pub(crate) fn signed() -> String {
    AUTHORITY.sign(&template())
}

pub(crate) fn anchors(authority: &RimAuthority) -> TrustAnchors {
    let none = Digest::of(b"no root");
    danger::anchors([none; 3], none, none, authority.root(), &[])
}

pub(crate) fn check_at(document: &str, now: UnixTime) -> Result<Arc<Rim>, RimError> {
    rim::verify_alone(document.as_bytes(), &anchors(&AUTHORITY), &Endorsements::default(), now)
}

pub(crate) fn check(document: &str) -> Result<Arc<Rim>, RimError> {
    check_at(document, NOW)
}

#[track_caller]
pub(crate) fn refused(name: &str, document: &str, code: &str) {
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
pub(crate) fn once(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` does not stand exactly once");
    text.replacen(from, to, 1)
}

#[track_caller]
pub(crate) fn first(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` does not stand there");
    text.replacen(from, to, 1)
}

pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
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
    assert_eq!(rim.signer().key, Digest::of(&AUTHORITY.signer.spki()));
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

#[test]
fn a_rim_says_which_responses_would_speak_for_its_signer() {
    let needs = rim::needs(signed().as_bytes());
    assert_eq!(needs.len(), 3);
    assert!(rim::needs(b"<a/>").is_empty());
}

#[test]
fn the_second_phase_of_gathering_names_each_certificate_once_and_has_an_end() {
    let gather = |documents: &[String]| {
        let mut endorsements = Endorsements::default();
        for document in documents {
            endorsements.add(EndorsementKind::Rim, document.as_bytes()).unwrap();
        }
        verifier::further_needs(&endorsements)
    };
    assert_eq!(gather(&[]), vec![]);
    assert_eq!(gather(&["<a/>".to_owned()]), vec![]);
    let other = AUTHORITY.sign(&TestRim { version: "550.90.07".to_owned(), ..template() });
    let one = rim::needs(signed().as_bytes());
    assert_eq!(gather(&[signed(), "<a/>".to_owned(), other]), one);
    let many: Vec<String> = (0..30).map(|_| RimAuthority::new().sign(&template())).collect();
    let further = gather(&[&[signed()], many.as_slice()].concat());
    assert_eq!((further.len(), &further[..3]), (64, one.as_slice()));
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
            // The certificate's own bytes may be written in another way.
            assert_eq!(rim.signer().key, expected.signer().key);
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
