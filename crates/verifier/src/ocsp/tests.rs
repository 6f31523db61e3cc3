//! Responses under a test authority: good, revoked, unknown, and a name for every way of being none of these.

use testkit::der::{self, Certificate as Template, Extension, Key, KeyKind, NOT_AFTER, NOT_BEFORE, Name};
use testkit::ocsp::{IssuerHash, TestAnswer, TestOcsp, TestResponder, TestStatus, response};

use super::response::Response;
use super::{OcspError, OcspProblem, Reason, Standing, Unusable, check, explain, looks_like};
use crate::context::Cache;
use crate::endorsements::{Documents, EndorsementKind, Endorsements};
use crate::error::Fault;
use crate::time::UnixTime;
use crate::x509::Certificate;

const NOW: UnixTime = UnixTime(NOT_BEFORE + 1_000);
const SERIAL: u64 = 0x00c0_ffee;
const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";

struct Rig {
    issuer_key: Key,
    issuer: Certificate,
    certificate: Certificate,
}

impl Rig {
    fn new() -> Self {
        let [issuer_key, key] = [KeyKind::P384, KeyKind::P384].map(Key::generate);
        let name = Name::common("issuer");
        let issuer = Template::ca(name.clone(), name.clone(), None).sign(&issuer_key, &issuer_key);
        let certificate = Template::new(Name::common("leaf"), name).serial(SERIAL).sign(&key, &issuer_key);
        let [issuer, certificate] = [issuer, certificate].map(|der| Certificate::parse(&der).unwrap());
        Self { issuer_key, issuer, certificate }
    }

    fn answer(&self) -> TestAnswer {
        TestAnswer::good(Name::common("issuer"), &self.issuer_key, SERIAL)
    }

    fn with(&self, change: impl FnOnce(&mut TestAnswer)) -> Vec<u8> {
        let mut answer = self.answer();
        change(&mut answer);
        TestOcsp::by_issuer(answer).sign(&self.issuer_key)
    }

    fn good(&self) -> Vec<u8> {
        self.with(|_| {})
    }

    fn check_at(&self, responses: &[Vec<u8>], now: UnixTime) -> Result<Standing, OcspError> {
        let documents = documents(responses);
        let cache = Cache::default();
        let fresh = check(&documents, &self.certificate, &self.issuer, now, &cache);
        let again = check(&documents, &self.certificate, &self.issuer, now, &cache);
        assert_eq!(fresh.is_ok(), again.is_ok(), "the memory changes nothing");
        fresh
    }

    fn check(&self, responses: &[Vec<u8>]) -> Result<Standing, OcspError> {
        self.check_at(responses, NOW)
    }

    #[track_caller]
    fn fails(&self, name: &str, responses: &[Vec<u8>], code: &str, fault: Fault) {
        let error = self.check(responses).map(|standing| format!("{name}: {standing:?}")).unwrap_err();
        assert_eq!((error.code(), error.fault()), (code, fault), "{name}: {error}");
        assert_eq!(error.certificate, "leaf");
        assert!(error.hint().is_some());
    }

    /// A delegate, certified by the issuer unless a test says otherwise.
    fn delegate(&self, template: Template, issuer: &Key) -> Vec<u8> {
        let key = Key::generate(KeyKind::P256);
        let certificate = template.sign(&key, issuer);
        TestOcsp::by_delegate(self.answer(), &key, certificate).sign(&key)
    }
}

fn documents(responses: &[Vec<u8>]) -> Documents {
    let mut endorsements = Endorsements::default();
    for response in responses {
        endorsements.add(EndorsementKind::OcspResponse, response).unwrap();
    }
    endorsements.ocsp_set().clone()
}

fn responder() -> Template {
    Template::new(Name::common("responder"), Name::common("issuer"))
        .serial(9)
        .valid(NOT_BEFORE, NOT_BEFORE + 2_000)
        .with(Extension::key_usage(&[0]))
        .with(Extension::extended_key_usage(&[OCSP_SIGNING]))
}

const GOOD: Result<Standing, OcspError> = Ok(Standing::Good { until: UnixTime(NOT_AFTER) });

#[test]
fn the_issuer_says_good_by_any_hash_and_name() {
    let rig = Rig::new();
    assert_eq!(rig.check(&[]), Ok(Standing::NotGiven));
    for hash in [IssuerHash::Sha1, IssuerHash::Sha256, IssuerHash::Sha384] {
        assert_eq!(rig.check(&[rig.with(|answer| answer.hash = hash)]), GOOD);
    }
    let mut by_key = TestOcsp::by_issuer(rig.answer());
    by_key.responder = TestResponder::Key(rig.issuer_key.public_key().to_vec());
    assert_eq!(rig.check(&[by_key.sign(&rig.issuer_key)]), GOOD);
    by_key.certificates = vec![rig.issuer.der().to_vec()];
    assert_eq!(rig.check(&[by_key.sign(&rig.issuer_key)]), GOOD);
    // A nonce answers somebody else's question.
    by_key.extensions = vec![Extension::new("1.3.6.1.5.5.7.48.1.2", der::octet_string(&[7; 32]))];
    assert_eq!(rig.check(&[by_key.sign(&rig.issuer_key)]), GOOD);
    by_key.answers.insert(0, TestAnswer { serial: vec![1], ..rig.answer() });
    assert_eq!(rig.check(&[by_key.sign(&rig.issuer_key)]), GOOD);
}

#[test]
fn a_delegate_says_good_while_its_own_certificate_holds() {
    let rig = Rig::new();
    let response = rig.delegate(responder(), &rig.issuer_key);
    let until = UnixTime(NOT_BEFORE + 2_000);
    assert_eq!(rig.check(std::slice::from_ref(&response)), Ok(Standing::Good { until }));
    let error = rig.check_at(&[response], until.plus(1)).unwrap_err();
    assert_eq!((error.code(), error.fault()), ("ocsp-responder-expired", Fault::Expired));
}

#[test]
fn who_is_not_authorized_by_the_issuer_says_nothing() {
    let rig = Rig::new();
    let stranger = Key::generate(KeyKind::P384);
    let other_issuer = Template::new(Name::common("responder"), Name::common("another"));
    let other_issuer = other_issuer.with(Extension::extended_key_usage(&[OCSP_SIGNING]));
    let no_purpose = Template::new(Name::common("responder"), Name::common("issuer"));
    let other_purpose = no_purpose.clone().with(Extension::extended_key_usage(&["1.3.6.1.5.5.7.3.1"]));
    let critical = responder().with(Extension::critical("1.2.3.4", der::null()));
    let absent = TestOcsp { certificates: vec![], ..TestOcsp::by_delegate(rig.answer(), &stranger, vec![]) };
    let not_its_key = {
        let key = Key::generate(KeyKind::P256);
        let certificate = responder().sign(&key, &rig.issuer_key);
        TestOcsp::by_delegate(rig.answer(), &key, certificate).sign(&stranger)
    };
    for (name, response, code) in [
        ("another key in the issuer's name", TestOcsp::by_issuer(rig.answer()).sign(&stranger), "ocsp-signature"),
        ("a delegate of a stranger in the issuer's name", rig.delegate(responder(), &stranger), "ocsp-other-responder"),
        ("a delegate of another issuer", rig.delegate(other_issuer, &rig.issuer_key), "ocsp-other-responder"),
        ("a delegate for nothing", rig.delegate(no_purpose, &rig.issuer_key), "ocsp-responder-purpose"),
        ("a delegate for servers", rig.delegate(other_purpose, &rig.issuer_key), "ocsp-responder-purpose"),
        ("a delegate with a secret", rig.delegate(critical, &rig.issuer_key), "ocsp-critical-extension"),
        ("a delegate that is not presented", absent.sign(&stranger), "ocsp-no-responder"),
        ("a delegate whose key did not sign", not_its_key, "ocsp-signature"),
    ] {
        rig.fails(name, std::slice::from_ref(&response), code, Fault::Missing);
        // It takes nothing from the issuer's own word, in whichever order.
        assert_eq!(rig.check(&[response.clone(), rig.good()]), GOOD, "{name}");
        assert_eq!(rig.check(&[rig.good(), response]), GOOD, "{name}");
    }
}

/// The certificates of a response are not signed: a second one of the same key must not lend its validity.
#[test]
fn a_certificate_slipped_in_before_the_responders_lends_it_nothing() {
    let rig = Rig::new();
    let key = Key::generate(KeyKind::P256);
    let true_one = responder().sign(&key, &rig.issuer_key);
    let lasting = responder().valid(NOT_BEFORE, NOT_AFTER).sign(&key, &Key::generate(KeyKind::P384));
    let mut ocsp = TestOcsp::by_delegate(rig.answer(), &key, lasting);
    ocsp.certificates.push(true_one);
    let response = ocsp.sign(&key);
    let (documents, cache) = (documents(&[response]), Cache::default());
    let at = |now| check(&documents, &rig.certificate, &rig.issuer, now, &cache);
    let until = UnixTime(NOT_BEFORE + 2_000);
    assert_eq!(at(NOW), Ok(Standing::Good { until }));
    assert!(at(NOW).is_ok());
    assert_eq!(at(until.plus(1)).unwrap_err().code(), "ocsp-responder-expired");
}

#[test]
fn revoked_and_unknown_are_what_they_are() {
    let rig = Rig::new();
    let revoked = |reason| rig.with(|answer| answer.status = TestStatus::Revoked { at: NOT_BEFORE + 5, reason });
    for (reason, words) in
        [(None, "no reason given"), (Some(1), "its key was compromised"), (Some(77), "another reason")]
    {
        let error = rig.check(&[revoked(reason)]).unwrap_err();
        let since = UnixTime(NOT_BEFORE + 5);
        assert_eq!(error.problem, OcspProblem::Revoked { since, reason: Reason(reason) });
        assert_eq!(error.fault(), Fault::Revoked);
        assert!(error.to_string().ends_with(&format!("since 2020-01-01T00:00:05Z ({words})")), "{error}");
    }
    let unknown = rig.with(|answer| answer.status = TestStatus::Unknown);
    rig.fails("unknown", &[unknown], "ocsp-unknown", Fault::Missing);
}

#[test]
fn a_revocation_for_good_stays_and_otherwise_the_newest_word_counts() {
    let rig = Rig::new();
    let at = |this_update, status| {
        rig.with(|answer| {
            answer.this_update = this_update;
            answer.status = status;
        })
    };
    let revoked = |reason| TestStatus::Revoked { at: NOT_BEFORE, reason };
    let newest = at(NOT_BEFORE + 100, TestStatus::Good);
    rig.fails("revoked once", &[at(NOT_BEFORE, revoked(None)), newest.clone()], "certificate-revoked", Fault::Revoked);
    rig.fails(
        "revoked once",
        &[newest.clone(), at(NOT_BEFORE, revoked(Some(4)))],
        "certificate-revoked",
        Fault::Revoked,
    );
    // 6 is certificateHold.
    assert_eq!(rig.check(&[at(NOT_BEFORE, revoked(Some(6))), newest.clone()]), GOOD);
    let held = at(NOT_BEFORE + 200, revoked(Some(6)));
    rig.fails("on hold now", &[newest, held], "certificate-revoked", Fault::Revoked);

    let run_out = rig.with(|answer| {
        answer.status = revoked(None);
        answer.next_update = Some(NOT_BEFORE + 1);
    });
    rig.fails("revoked in a response that has run out", &[run_out], "certificate-revoked", Fault::Revoked);
    let endless = rig.with(|answer| {
        answer.status = revoked(None);
        answer.next_update = None;
    });
    rig.fails("revoked without an end", &[endless], "certificate-revoked", Fault::Revoked);
}

#[test]
fn a_response_of_another_time_is_no_answer() {
    let rig = Rig::new();
    let stale = rig.with(|answer| answer.next_update = Some(NOW.0 - 1));
    rig.fails("stale", &[stale], "ocsp-expired", Fault::Expired);
    let early = rig.with(|answer| answer.this_update = NOW.0 + 1);
    rig.fails("early", &[early], "ocsp-expired", Fault::Expired);
    let endless = rig.with(|answer| answer.next_update = None);
    rig.fails("endless", &[endless], "ocsp-no-next-update", Fault::Missing);
    let edge = rig.with(|answer| answer.next_update = Some(NOW.0));
    assert!(rig.check(&[edge]).is_ok());
}

#[test]
fn a_response_about_another_certificate_is_passed_over() {
    let rig = Rig::new();
    let other_key = Key::generate(KeyKind::P384);
    for response in [
        rig.with(|answer| answer.serial = vec![1]),
        rig.with(|answer| answer.issuer = Name::common("another")),
        rig.with(|answer| answer.issuer_key = other_key.public_key().to_vec()),
        b"hello".to_vec(),
        response(3, None),
        rig.good()[1..].to_vec(),
        [rig.good(), vec![0]].concat(),
    ] {
        assert_eq!(rig.check(std::slice::from_ref(&response)), Ok(Standing::NotGiven));
        assert_eq!(rig.check(&[response, rig.good()]), GOOD);
    }
}

#[test]
fn two_answers_and_critical_extensions_are_refused() {
    let rig = Rig::new();
    let mut ocsp = TestOcsp::by_issuer(rig.answer());
    ocsp.answers.push(TestAnswer { status: TestStatus::Unknown, ..rig.answer() });
    rig.fails("two answers", &[ocsp.sign(&rig.issuer_key)], "ocsp-ambiguous", Fault::Missing);
    let critical = Extension::critical("1.2.3.4", der::null());
    let mut ocsp = TestOcsp::by_issuer(rig.answer());
    ocsp.extensions = vec![critical.clone()];
    rig.fails("of the response", &[ocsp.sign(&rig.issuer_key)], "ocsp-critical-extension", Fault::Missing);
    let single = rig.with(|answer| answer.extensions = vec![critical]);
    rig.fails("of the answer", &[single], "ocsp-critical-extension", Fault::Missing);
}

#[test]
fn an_explanation_says_what_a_response_says() {
    let rig = Rig::new();
    let shown = explain(&rig.with(|answer| answer.status = TestStatus::Revoked { at: NOT_BEFORE, reason: Some(1) }));
    let claims: Vec<_> = shown.claims.iter().map(|claim| format!("{}: {}", claim.name, claim.value)).collect();
    assert_eq!(
        claims,
        [
            "responder: CN=issuer",
            "serial number 00c0ffee: revoked since 2020-01-01T00:00:00Z (its key was compromised); said from \
             2020-01-01T00:00:00Z to 2050-01-01T00:00:00Z"
        ]
    );
    assert_eq!(explain(&response(3, None)).problems[0].code, "ocsp-not-successful");
}

#[test]
fn every_bit_of_a_response_counts() {
    let rig = Rig::new();
    let good = rig.good();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut changed = good.clone();
            changed[at] ^= 1 << bit;
            let standing = rig.check(&[changed]);
            assert!(!matches!(standing, Ok(Standing::Good { .. })), "byte {at} bit {bit}: {standing:?}");
            assert!(!standing.is_err_and(|error| error.fault() == Fault::Revoked), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn what_cannot_be_read_has_a_name() {
    let rig = Rig::new();
    let parse = |der: &[u8]| Response::parse(der).map(|_| ()).unwrap_err();
    assert_eq!(parse(&response(3, None)), Unusable::NotSuccessful { status: 3 });
    assert_eq!(parse(&response(0, None)), Unusable::Malformed { what: "response" });
    assert_eq!(parse(&response(0, Some(&der::null()))), Unusable::Malformed { what: "basic response" });
    let other_type = der::sequence(&[der::oid("1.3.6.1.5.5.7.48.1.9"), der::octet_string(&[])]);
    let other_type = der::sequence(&[der::tlv(0x0a, &[0]), der::explicit(0, &other_type)]);
    assert_eq!(parse(&other_type), Unusable::NotBasic);
    let too_much = |what, got, limit| Unusable::TooMuch { what, got, limit };
    assert_eq!(parse(&vec![0; 65_537]), too_much("bytes", 65_537, 65_536));
    let mut many = TestOcsp::by_issuer(rig.answer());
    many.answers = vec![rig.answer(); 17];
    assert_eq!(parse(&many.sign(&rig.issuer_key)), too_much("answers", 17, 16));
    let mut many = TestOcsp::by_issuer(rig.answer());
    many.certificates = vec![rig.issuer.der().to_vec(); 5];
    assert_eq!(parse(&many.sign(&rig.issuer_key)), too_much("certificates", 5, 4));
    let mut many = TestOcsp::by_issuer(rig.answer());
    many.extensions = vec![Extension::new("1.2.3", vec![]); 17];
    assert_eq!(parse(&many.sign(&rig.issuer_key)), too_much("extensions", 17, 16));
    // An Ed25519 signature: 1.3.101.112.
    let other = der::sequence(&[der::oid("1.3.101.112")]);
    let good = rig.good();
    let mut ours = rig.issuer_key.algorithm();
    let at = good.windows(ours.len()).position(|window| window == ours).unwrap();
    ours.resize(ours.len(), 0);
    let swapped = [&good[..at], &other[..], &good[at + ours.len()..]].concat();
    assert!(matches!(parse(&swapped), Unusable::Malformed { .. }), "lengths no longer fit");
    for cut in 0..good.len() {
        assert!(Response::parse(&good[..cut]).is_err());
    }
    assert!(looks_like(&good) && looks_like(&response(6, None)));
    assert!(!looks_like(b"") && !looks_like(rig.issuer.der()) && !looks_like(&good[1..]));
}
