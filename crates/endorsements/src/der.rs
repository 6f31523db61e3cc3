//! As much DER as an OCSP request takes to write and an OCSP response to look at (RFC 6960; X.690).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;
/// `revoked` of CertStatus: `[1]`, constructed.
const REVOKED: u8 = 0xa1;
/// AlgorithmIdentifier of SHA-1 with NULL parameters (RFC 3279, 2.1).
const SHA1: [u8; 11] = [0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];

/// One element: tag, definite length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(u8::try_from(short).expect("below 128")),
        long => {
            let bytes = long.to_be_bytes();
            let used = &bytes[bytes.iter().position(|byte| *byte != 0).expect("at least 128")..];
            out.push(0x80 | u8::try_from(used.len()).expect("at most 8"));
            out.extend_from_slice(used);
        }
    }
    out.extend_from_slice(content);
    out
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// An OCSP request about one certificate. `None` when the certificates cannot be read.
///
/// SHA-1 here names an issuer and protects nothing: NVIDIA's responder knows CertIDs of no other hash. There is no nonce,
/// so that an answer can be kept, shared and carried over; its own dates say how long it is good.
pub(crate) fn ocsp_request(certificate: &[u8], issuer: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (_, issuer) = X509Certificate::from_der(issuer).ok()?;
    let cert_id = [
        SHA1.to_vec(),
        element(OCTET_STRING, &sha1(certificate.issuer().as_raw())),
        element(OCTET_STRING, &sha1(&issuer.public_key().subject_public_key.data)),
        element(INTEGER, certificate.raw_serial()),
    ];
    let mut request = element(SEQUENCE, &cert_id.concat());
    // Request, requestList, tbsRequest, OCSPRequest: each a SEQUENCE around the one before.
    for _ in 0..4 {
        request = element(SEQUENCE, &request);
    }
    Some(request)
}

/// Splits the first element off: its tag, its content, and what follows. Definite lengths of up to four bytes.
fn split(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(count)?;
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of the first element, if it has this tag, and what follows.
fn expect(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    split(input).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// `responseStatus` of an OCSP response, or `None` for what is no OCSP response.
pub(crate) fn ocsp_status(response: &[u8]) -> Option<u8> {
    let (response, rest) = expect(SEQUENCE, response)?;
    let (status, body) = expect(ENUMERATED, response)?;
    let [status] = status else { return None };
    // An answer has a body, and only an answer.
    (rest.is_empty() && (*status == 0) != body.is_empty()).then_some(*status)
}

/// ResponderID and answers (the content of `responses`) of an OCSP response.
fn ocsp_data(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let (response, _) = expect(SEQUENCE, response)?;
    let (_, response) = expect(ENUMERATED, response)?;
    let (bytes, _) = expect(CONTEXT_0, response)?;
    let (bytes, _) = expect(SEQUENCE, bytes)?;
    let (_, bytes) = split(bytes).map(|(_, oid, rest)| (oid, rest))?;
    let (basic, _) = expect(OCTET_STRING, bytes)?;
    let (basic, _) = expect(SEQUENCE, basic)?;
    let (mut data, _) = expect(SEQUENCE, basic)?;
    // version [0] DEFAULT, responderID [1] or [2], producedAt, responses
    if let Some((_, rest)) = expect(CONTEXT_0, data) {
        data = rest;
    }
    let (_, responder, data) = split(data)?;
    let (_, data) = expect(GENERALIZED_TIME, data)?;
    let (responses, _) = expect(SEQUENCE, data)?;
    Some((responder, responses))
}

/// Who says what is in an OCSP response (the content of ResponderID), and whether it says "revoked" of anything.
pub(crate) fn ocsp_verdict(response: &[u8]) -> Option<(&[u8], bool)> {
    let (responder, mut responses) = ocsp_data(response)?;
    let mut revoked = false;
    while !responses.is_empty() {
        let (single, rest) = expect(SEQUENCE, responses)?;
        // certID, certStatus
        let (_, _, single) = split(single)?;
        let (status, ..) = split(single)?;
        revoked |= status == REVOKED;
        responses = rest;
    }
    Some((responder, revoked))
}

/// `thisUpdate` and `nextUpdate` of the first answer in an OCSP response, as the text of GeneralizedTime.
pub(crate) fn ocsp_dates(response: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (_, responses) = ocsp_data(response)?;
    let (single, _) = expect(SEQUENCE, responses)?;
    // certID, certStatus, thisUpdate, nextUpdate [0] OPTIONAL
    let (_, _, single) = split(single)?;
    let (_, _, single) = split(single)?;
    let (this_update, single) = expect(GENERALIZED_TIME, single)?;
    let next_update = expect(CONTEXT_0, single).and_then(|(next, _)| expect(GENERALIZED_TIME, next));
    Some((this_update, next_update.map(|(next, _)| next)))
}

#[cfg(test)]
mod tests;
