//! The DER of an OCSP response (RFC 6960, section 4.2.1 and appendix B.1).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};
use x509_parser::asn1_rs::{Any, Class, FromDer as _};
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use super::{Reason, Unusable};
use crate::time::UnixTime;
use crate::value::Value;
use crate::x509::{Certificate, SignatureAlgorithm};

/// LIMIT: a response about one certificate, with the responder's, has 1 to 3 KiB.
const MAX_BYTES: usize = 64 * 1024;
/// LIMIT: responders answer what was asked, which is one certificate at a time.
const MAX_ANSWERS: usize = 16;
/// LIMIT: a responder sends its own certificate and perhaps those above it.
const MAX_CERTIFICATES: usize = 4;
/// LIMIT: nonces and archive cut-offs: two or three.
const MAX_EXTENSIONS: usize = 16;

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1, as DER content.
const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// 1.3.14.3.2.26.
const SHA1_OID: [u8; 5] = [0x2b, 0x0e, 3, 2, 0x1a];
/// 2.16.840.1.101.3.4.2.1.
const SHA256_OID: [u8; 9] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// 2.16.840.1.101.3.4.2.2.
const SHA384_OID: [u8; 9] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];

const BOOLEAN: u32 = 1;
const INTEGER: u32 = 2;
const BIT_STRING: u32 = 3;
const OCTET_STRING: u32 = 4;
const OBJECT_IDENTIFIER: u32 = 6;
const ENUMERATED: u32 = 10;
const SEQUENCE: u32 = 16;
const GENERALIZED_TIME: u32 = 24;

/// A basic response, read but not verified.
pub(super) struct Response<'a> {
    /// The bytes that are signed.
    pub(super) signed: &'a [u8],
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) signature: &'a [u8],
    responder: Responder<'a>,
    pub(super) answers: Vec<Answer<'a>>,
    /// Those that came along, DER, unread: most often there is no need to.
    pub(super) certificates: Vec<&'a [u8]>,
    /// A critical extension of the whole response, none of which is understood.
    pub(super) critical: Option<String>,
}

enum Responder<'a> {
    /// The subject's name, DER.
    Name(&'a [u8]),
    /// SHA-1 of its key.
    Key(&'a [u8]),
}

/// What is said of one certificate.
pub(super) struct Answer<'a> {
    hash: Hash,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    pub(super) status: Status,
    pub(super) this_update: UnixTime,
    pub(super) next_update: Option<UnixTime>,
    /// A critical extension of the answer.
    pub(super) critical: Option<String>,
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Other,
}

/// What a responder says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    Good,
    Revoked { since: UnixTime, reason: Reason },
    Unknown,
}

/// LIMIT: a serial number has at most 20 bytes (RFC 5280, 4.1.2.2).
const SERIAL_SHOWN: usize = 20;

impl Answer<'_> {
    /// The serial number of the certificate, for people.
    pub(super) fn serial_shown(&self) -> String {
        hex::encode(self.serial.get(..SERIAL_SHOWN).unwrap_or(self.serial))
    }

    /// Whether it is about `certificate`, as one of `issuer`'s.
    ///
    /// SHA-1 is what NVIDIA's responder takes, and safe here: the hashes only pick among answers. That an answer is the
    /// issuer's is proven by its signature, and one issuer's serial numbers are its own; somebody who makes two issuers
    /// of one SHA-1 would need the true issuer's signature over an answer about the false one.
    pub(super) fn is_about(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let algorithm = match self.hash {
            Hash::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &SHA256,
            Hash::Sha384 => &SHA384,
            Hash::Other => return false,
        };
        same_number(self.serial, certificate.serial())
            && digest(algorithm, issuer.subject_der()).as_ref() == self.issuer_name
            && digest(algorithm, issuer.key().bytes()).as_ref() == self.issuer_key
    }
}

/// Serial numbers are integers: leading zero bytes do not make another one.
fn same_number(a: &[u8], b: &[u8]) -> bool {
    let trim = |bytes: &[u8]| bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    a.get(trim(a)..) == b.get(trim(b)..)
}

impl<'a> Response<'a> {
    /// Reads a response, and nothing after it.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Unusable> {
        limit("bytes", der.len(), MAX_BYTES)?;
        let basic = basic(der)?;
        let mut outer = Reader::new("basic response", basic).only(SEQUENCE)?;
        let tbs = outer.next(SEQUENCE)?;
        let algorithm = outer.next(SEQUENCE)?;
        // The next parser takes other types for an identifier too, and one whose last arc does not end (X.690, 8.19.2).
        let oid = Reader::new("signature algorithm", algorithm.content).next(OBJECT_IDENTIFIER)?;
        if oid.content.last().is_none_or(|last| last & 0x80 != 0) {
            return Err(malformed("signature algorithm"));
        }
        let (_, algorithm) =
            AlgorithmIdentifier::from_der(algorithm.raw).map_err(|_| malformed("signature algorithm"))?;
        let signature = outer.next(BIT_STRING)?.content;
        let Some((0, signature)) = signature.split_first() else { return Err(malformed("signature")) };
        let mut certificates = Vec::new();
        if let Some(list) = outer.tagged(0)? {
            let mut list = Reader::new("certificates", list.content).only(SEQUENCE)?;
            while let Some(certificate) = list.more()? {
                limit("certificates", certificates.len().saturating_add(1), MAX_CERTIFICATES)?;
                certificates.push(certificate.raw);
            }
        }
        outer.end()?;

        let mut data = Reader::new("response data", tbs.content);
        if let Some(version) = data.tagged(0)?
            && Reader::new("version", version.content).next(INTEGER)?.content != [0]
        {
            return Err(Unusable::Version);
        }
        let responder = match (data.tagged(1)?, data.tagged(2)?) {
            (Some(name), None) => Responder::Name(name.content),
            (None, Some(key)) => Responder::Key(Reader::new("responder", key.content).next(OCTET_STRING)?.content),
            _ => return Err(malformed("responder")),
        };
        time(data.next(GENERALIZED_TIME)?.content)?;
        let mut list = Reader::new("answers", data.next(SEQUENCE)?.content);
        let mut answers = Vec::new();
        while let Some(answer) = list.more()? {
            limit("answers", answers.len().saturating_add(1), MAX_ANSWERS)?;
            answers.push(Answer::parse(answer)?);
        }
        let critical = critical(data.tagged(1)?)?;
        data.end()?;
        Ok(Self {
            signed: tbs.raw,
            algorithm: SignatureAlgorithm::parse(&algorithm)?,
            signature,
            responder,
            answers,
            certificates,
            critical,
        })
    }

    /// Whether it names `certificate` as its responder. SHA-1 of a key is the one hash of this field (RFC 6960, 4.2.1);
    /// it picks among certificates, each of which must then have made the signature.
    pub(super) fn is_by(&self, certificate: &Certificate) -> bool {
        match self.responder {
            Responder::Name(name) => name == certificate.subject_der(),
            Responder::Key(key) => digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.key().bytes()).as_ref() == key,
        }
    }
}

impl Response<'_> {
    /// Who answers, as the response names them, for people.
    pub(super) fn responder_shown(&self) -> Value {
        match self.responder {
            Responder::Key(key) => Value::from(key),
            Responder::Name(name) => match X509Name::from_der(name) {
                Ok((_, name)) => Value::peer_text(&name.to_string()),
                Err(_) => Value::from(name),
            },
        }
    }
}

/// The basic response within a response, undone from its wrappings.
fn basic(der: &[u8]) -> Result<&[u8], Unusable> {
    let mut outer = Reader::new("response", der).only(SEQUENCE)?;
    match outer.next(ENUMERATED)?.content {
        [0] => {}
        [status] => return Err(Unusable::NotSuccessful { status: *status }),
        _ => return Err(malformed("status")),
    }
    let bytes = outer.tagged(0)?.ok_or(malformed("response"))?;
    outer.end()?;
    let mut bytes = Reader::new("response", bytes.content).only(SEQUENCE)?;
    if bytes.next(OBJECT_IDENTIFIER)?.content != BASIC {
        return Err(Unusable::NotBasic);
    }
    let basic = bytes.next(OCTET_STRING)?.content;
    bytes.end()?;
    Ok(basic)
}

impl<'a> Answer<'a> {
    fn parse(answer: Element<'a>) -> Result<Self, Unusable> {
        if !answer.is(SEQUENCE) {
            return Err(malformed("answer"));
        }
        let mut reader = Reader::new("answer", answer.content);
        let mut id = Reader::new("certificate id", reader.next(SEQUENCE)?.content);
        let mut algorithm = Reader::new("certificate id", id.next(SEQUENCE)?.content);
        let oid = algorithm.next(OBJECT_IDENTIFIER)?.content;
        let hash = match oid {
            _ if oid == SHA1_OID => Hash::Sha1,
            _ if oid == SHA256_OID => Hash::Sha256,
            _ if oid == SHA384_OID => Hash::Sha384,
            _ => Hash::Other,
        };
        let issuer_name = id.next(OCTET_STRING)?.content;
        let issuer_key = id.next(OCTET_STRING)?.content;
        let serial = id.next(INTEGER)?.content;
        id.end()?;

        let status = reader.more()?.ok_or(malformed("status"))?;
        if status.class != Class::ContextSpecific {
            return Err(malformed("status"));
        }
        let status = match (status.tag, status.constructed, status.content) {
            (0, false, []) => Status::Good,
            (1, true, revoked) => {
                let mut revoked = Reader::new("revocation", revoked);
                let since = time(revoked.next(GENERALIZED_TIME)?.content)?;
                let reason = match revoked.tagged(0)? {
                    None => Reason(None),
                    Some(reason) => match Reader::new("revocation", reason.content).next(ENUMERATED)?.content {
                        [reason] => Reason(Some(*reason)),
                        _ => return Err(malformed("revocation")),
                    },
                };
                revoked.end()?;
                Status::Revoked { since, reason }
            }
            (2, false, []) => Status::Unknown,
            _ => return Err(malformed("status")),
        };
        let this_update = time(reader.next(GENERALIZED_TIME)?.content)?;
        let next_update = match reader.tagged(0)? {
            None => None,
            Some(next) => Some(time(Reader::new("answer", next.content).next(GENERALIZED_TIME)?.content)?),
        };
        let critical = critical(reader.tagged(1)?)?;
        reader.end()?;
        Ok(Self { hash, issuer_name, issuer_key, serial, status, this_update, next_update, critical })
    }
}

/// The first critical extension among `[n] EXPLICIT Extensions`.
fn critical(extensions: Option<Element<'_>>) -> Result<Option<String>, Unusable> {
    let Some(extensions) = extensions else { return Ok(None) };
    let mut list = Reader::new("extensions", extensions.content).only(SEQUENCE)?;
    let mut count = 0_usize;
    let mut found = None;
    while let Some(extension) = list.more()? {
        count = count.saturating_add(1);
        limit("extensions", count, MAX_EXTENSIONS)?;
        let mut extension = Reader::new("extension", extension.raw).only(SEQUENCE)?;
        let oid = extension.next(OBJECT_IDENTIFIER)?;
        let next = extension.more()?.ok_or(malformed("extension"))?;
        let is_critical = next.is(BOOLEAN) && next.content != [0];
        if is_critical && found.is_none() {
            let (_, any) = Any::from_der(oid.raw).map_err(|_| malformed("extension"))?;
            found = Some(any.oid().map_err(|_| malformed("extension"))?.to_id_string());
        }
    }
    Ok(found)
}

/// A critical extension of a responder's certificate that is not understood.
pub(super) fn critical_of(responder: &Certificate) -> Option<String> {
    // Key usage, basic constraints, authority key id, extended key usage.
    const UNDERSTOOD: [&str; 4] = ["2.5.29.15", "2.5.29.19", "2.5.29.35", "2.5.29.37"];
    let (_, certificate) = X509Certificate::from_der(responder.der()).ok()?;
    let critical = certificate.extensions().iter().filter(|extension| extension.critical);
    let mut critical = critical.map(|extension| extension.oid.to_id_string());
    critical.find(|oid| !UNDERSTOOD.contains(&oid.as_str()))
}

/// Whether bytes look like an OCSP response: for telling files apart, never for judging.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    !matches!(basic(bytes), Err(Unusable::Malformed { .. }))
}

fn malformed(what: &'static str) -> Unusable {
    Unusable::Malformed { what }
}

fn limit(what: &'static str, got: usize, limit: usize) -> Result<(), Unusable> {
    if got > limit { Err(Unusable::TooMuch { what, got, limit }) } else { Ok(()) }
}

/// A GeneralizedTime as RFC 5280 (4.1.2.5.2) wants it: `YYYYMMDDhhmmssZ`.
fn time(content: &[u8]) -> Result<UnixTime, Unusable> {
    let text = std::str::from_utf8(content).map_err(|_| malformed("time"))?;
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or("");
    if text.len() != 15 || !text.ends_with('Z') {
        return Err(malformed("time"));
    }
    let [date, clock] = [[0..4, 4..6, 6..8].map(part).join("-"), [8..10, 10..12, 12..14].map(part).join(":")];
    format!("{date}T{clock}Z").parse().map_err(|_| malformed("time"))
}

/// One DER element.
#[derive(Clone, Copy)]
struct Element<'a> {
    class: Class,
    tag: u32,
    constructed: bool,
    content: &'a [u8],
    raw: &'a [u8],
}

impl Element<'_> {
    /// Whether it is of a universal type, encoded as DER encodes it: only sequences are made of elements.
    fn is(&self, tag: u32) -> bool {
        self.class == Class::Universal && self.tag == tag && self.constructed == (tag == SEQUENCE)
    }
}

/// Elements one after another.
struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(what: &'static str, rest: &'a [u8]) -> Self {
        Self { what, rest }
    }

    /// A reader of the contents of the one element that there is.
    fn only(mut self, tag: u32) -> Result<Self, Unusable> {
        let element = self.next(tag)?;
        self.end()?;
        Ok(Self { what: self.what, rest: element.content })
    }

    /// The next element, if there is one.
    fn more(&mut self) -> Result<Option<Element<'a>>, Unusable> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (rest, any) = Any::from_der(self.rest).map_err(|_| malformed(self.what))?;
        let length = self.rest.len().saturating_sub(rest.len());
        let raw = self.rest.get(..length).ok_or(malformed(self.what))?;
        self.rest = rest;
        let (class, tag, constructed) = (any.class(), any.tag().0, any.header.constructed());
        Ok(Some(Element { class, tag, constructed, content: any.data, raw }))
    }

    /// The next element, which must be of this universal type.
    fn next(&mut self, tag: u32) -> Result<Element<'a>, Unusable> {
        match self.more()? {
            Some(element) if element.is(tag) => Ok(element),
            _ => Err(malformed(self.what)),
        }
    }

    /// The next element, if it has this context tag.
    fn tagged(&mut self, tag: u32) -> Result<Option<Element<'a>>, Unusable> {
        let before = self.rest;
        match self.more()? {
            Some(element) if element.class == Class::ContextSpecific && element.constructed && element.tag == tag => {
                Ok(Some(element))
            }
            _ => {
                self.rest = before;
                Ok(None)
            }
        }
    }

    fn end(&self) -> Result<(), Unusable> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed(self.what)) }
    }
}
