//! What lists of one issuer say together.

use testkit::der::{
    self, Extension, Key, KeyKind, NOT_AFTER, NOT_BEFORE, Name, explicit, integer, octet_string, sequence, signed,
};

use super::*;
use crate::endorsements::{EndorsementKind, Endorsements};

const NOW: u64 = NOT_BEFORE + 1_000_000;
const SERIAL: u64 = 0x0807;
/// RFC 5280, section 5.3.1.
const KEY_COMPROMISE: u8 = 1;
const HOLD: u8 = 6;

/// An issuer, a certificate of its, and somebody else's key.
struct Rig {
    key: Key,
    stranger: Key,
    issuer: Certificate,
    certificate: Certificate,
}

fn name(text: &str) -> Name {
    Name::common(text)
}

impl Rig {
    fn new() -> Self {
        let [key, stranger, below] = [(); 3].map(|()| Key::generate(KeyKind::P256));
        let issuer = der::Certificate::ca(name("issuer"), name("issuer"), None).sign(&key, &key);
        let certificate =
            der::Certificate::ca(name("authority"), name("issuer"), None).serial(SERIAL).sign(&below, &key);
        let parse = |der: &[u8]| Certificate::parse(der).unwrap();
        Self { issuer: parse(&issuer), certificate: parse(&certificate), key, stranger }
    }

    fn list(&self, from: u64, until: Option<u64>, entries: &[(u64, Option<u8>)]) -> Vec<u8> {
        self.list_by("issuer", &self.key, from, until, entries, &[])
    }

    #[expect(clippy::unused_self, reason = "reads like the other makers of lists")]
    fn list_by(
        &self,
        issuer: &str,
        key: &Key,
        from: u64,
        until: Option<u64>,
        entries: &[(u64, Option<u8>)],
        extensions: &[Vec<u8>],
    ) -> Vec<u8> {
        let mut fields = vec![integer(1), key.algorithm(), name(issuer).der(), der::time(from)];
        fields.extend(until.map(der::time));
        let entries: Vec<_> = entries
            .iter()
            .map(|(serial, reason)| {
                let mut entry = vec![integer(*serial), der::time(from)];
                entry.extend(reason.map(|reason| {
                    let value = octet_string(&der::tlv(0x0a, &[reason]));
                    sequence(&[sequence(&[der::oid("2.5.29.21"), value])])
                }));
                sequence(&entry)
            })
            .collect();
        if !entries.is_empty() {
            fields.push(sequence(&entries));
        }
        let number = sequence(&[der::oid("2.5.29.20"), octet_string(&integer(1))]);
        let mut all = vec![number];
        all.extend(extensions.iter().cloned());
        fields.push(explicit(0, &sequence(&all)));
        signed(&sequence(&fields), key)
    }

    /// The code of what the lists come to, in either order and from memory.
    fn judge(&self, lists: &[&[u8]]) -> &'static str {
        let cache = Cache::default();
        let ask = |lists: Vec<&[u8]>| {
            let mut endorsements = Endorsements::default();
            for list in lists {
                endorsements.add(EndorsementKind::Crl, list).unwrap();
            }
            let outcome = standing(&self.certificate, &self.issuer, endorsements.crl_set(), UnixTime(NOW), &cache);
            outcome.map_or_else(|error| error.code(), |()| "good")
        };
        let first = ask(lists.to_vec());
        assert_eq!(ask(lists.iter().rev().copied().collect()), first);
        first
    }
}

const UNTIL: Option<u64> = Some(NOT_AFTER);

#[test]
fn a_number_in_any_list_of_the_issuers_is_revoked() {
    let rig = Rig::new();
    let clear = rig.list(NOW - 10, UNTIL, &[(1, None)]);
    assert_eq!(rig.judge(&[&clear]), "good");
    assert_eq!(rig.judge(&[]), "crl-missing");
    for reason in [None, Some(KEY_COMPROMISE), Some(HOLD)] {
        let same = rig.list(NOW - 10, UNTIL, &[(1, None), (SERIAL, reason)]);
        assert_eq!(rig.judge(&[&same]), "certificate-revoked");
        assert_eq!(rig.judge(&[&same, &clear]), "certificate-revoked", "of the same day, {reason:?}");
        let newer = rig.list(NOW - 5, UNTIL, &[(SERIAL, reason)]);
        assert_eq!(rig.judge(&[&newer, &clear]), "certificate-revoked", "newer, {reason:?}");
    }
    for reason in [None, Some(KEY_COMPROMISE)] {
        let older = rig.list(NOW - 20, UNTIL, &[(SERIAL, reason)]);
        assert_eq!(rig.judge(&[&older, &clear]), "certificate-revoked", "older, {reason:?}");
        let expired = rig.list(NOW - 20, Some(NOW - 15), &[(SERIAL, reason)]);
        assert_eq!(rig.judge(&[&expired]), "certificate-revoked");
        assert_eq!(rig.judge(&[&expired, &clear]), "certificate-revoked", "expired, {reason:?}");
        let endless = rig.list(NOW - 20, None, &[(SERIAL, reason)]);
        assert_eq!(rig.judge(&[&endless, &clear]), "certificate-revoked", "without an end, {reason:?}");
    }
}

#[test]
fn a_hold_is_lifted_by_a_later_list_alone() {
    let rig = Rig::new();
    let held = rig.list(NOW - 20, UNTIL, &[(SERIAL, Some(HOLD))]);
    assert_eq!(rig.judge(&[&held]), "certificate-revoked");
    let earlier = rig.list(NOW - 30, UNTIL, &[]);
    assert_eq!(rig.judge(&[&held, &earlier]), "certificate-revoked");
    let later = rig.list(NOW - 10, UNTIL, &[]);
    assert_eq!(rig.judge(&[&held, &later]), "good");
    let again = rig.list(NOW - 5, UNTIL, &[(SERIAL, Some(HOLD))]);
    assert_eq!(rig.judge(&[&held, &later, &again]), "certificate-revoked");
    let for_good = rig.list(NOW - 25, UNTIL, &[(SERIAL, Some(HOLD)), (SERIAL, Some(KEY_COMPROMISE))]);
    assert_eq!(rig.judge(&[&for_good, &later]), "certificate-revoked");
    // Somebody else lifts nothing.
    let forged = rig.list_by("issuer", &rig.stranger, NOW - 10, UNTIL, &[], &[]);
    assert_eq!(rig.judge(&[&held, &forged]), "certificate-revoked");
}

#[test]
fn a_list_of_this_time_clears() {
    let rig = Rig::new();
    let clear = rig.list(NOW - 20, UNTIL, &[]);
    let expired = rig.list(NOW - 10, Some(NOW - 5), &[]);
    let future = rig.list(NOW + 10, UNTIL, &[]);
    let endless = rig.list(NOW - 10, None, &[]);
    assert_eq!(rig.judge(&[&expired]), "crl-expired");
    assert_eq!(rig.judge(&[&future]), "crl-expired");
    assert_eq!(rig.judge(&[&endless]), "crl-unusable");
    for other in [&expired, &future, &endless] {
        assert_eq!(rig.judge(&[other, &clear]), "good");
    }
}

#[test]
fn lists_that_cannot_be_used_say_nothing() {
    let rig = Rig::new();
    let clear = rig.list(NOW - 20, UNTIL, &[]);
    let revoking = [(SERIAL, None)];
    let forged = rig.list_by("issuer", &rig.stranger, NOW - 10, UNTIL, &revoking, &[]);
    // A delta list's base, critical (RFC 5280, section 5.2.4).
    let delta = Extension::critical("2.5.29.27", integer(1));
    let delta = sequence(&[der::oid("2.5.29.27"), der::boolean(true), octet_string(&delta.value)]);
    let partial = rig.list_by("issuer", &rig.key, NOW - 10, UNTIL, &revoking, &[delta]);
    let other = rig.list_by("somebody", &rig.stranger, NOW - 10, UNTIL, &revoking, &[]);
    let mut longer = rig.list(NOW - 10, UNTIL, &[]);
    longer.push(0);
    for (list, alone) in
        [(&forged, "crl-signature"), (&partial, "crl-unusable"), (&other, "crl-missing"), (&longer, "crl-unusable")]
    {
        assert_eq!(rig.judge(&[list]), alone);
        assert_eq!(rig.judge(&[list, &clear]), "good");
    }
}

#[test]
fn another_list_does_not_make_the_first_be_read_again() {
    let rig = Rig::new();
    let (cache, now) = (Cache::default(), UnixTime(NOW));
    let clear = rig.list(NOW - 20, UNTIL, &[]);
    let mut endorsements = Endorsements::default();
    endorsements.add(EndorsementKind::Crl, &clear).unwrap();
    assert_eq!(standing(&rig.certificate, &rig.issuer, endorsements.crl_set(), now, &cache), Ok(()));
    let fingerprint = rig.issuer.fingerprint();
    let kept = |document: &crate::endorsements::Document| {
        let key = Digest::of_fields(&[b"crl", fingerprint.as_bytes(), document.digest_bytes()]);
        cache.get::<List>(&key, now)
    };
    let first = kept(&endorsements.crls()[0]).unwrap();
    let forged = rig.list_by("issuer", &rig.stranger, NOW - 10, UNTIL, &[], &[]);
    endorsements.add(EndorsementKind::Crl, &forged).unwrap();
    assert_eq!(standing(&rig.certificate, &rig.issuer, endorsements.crl_set(), now, &cache), Ok(()));
    assert!(Arc::ptr_eq(&first, &kept(&endorsements.crls()[0]).unwrap()));
    // A forged list takes no place.
    assert!(kept(&endorsements.crls()[1]).is_none());
    // Another issuer's list is not even parsed.
    assert!(may_be_of(&rig.issuer, &clear) && !may_be_of(&rig.certificate, &clear));
    assert!(!may_be_of(&rig.issuer, b"") && !may_be_of(&rig.issuer, &clear[..20]));
}
