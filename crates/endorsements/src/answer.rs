//! From what a service answers to documents: unpacked, and of the kind that was asked for. Nothing is verified here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::{Digest, Tee};
use serde_json::Value;
use verifier::endorsements::{EndorsementKind, Need};
use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use crate::der;
use crate::error::{Wrong, quote};
use crate::http::Answer;
use crate::sources::Request;

/// LIMIT: certificates in one answer: Intel's chains have two, AMD's two or three.
pub(crate) const MAX_DOCUMENTS: usize = 8;

/// A document as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Document {
    pub(crate) kind: EndorsementKind,
    pub(crate) bytes: Vec<u8>,
}

/// Takes an answer apart.
pub(crate) fn read(need: &Need, request: &Request, answer: &Answer) -> Result<Vec<Document>, Wrong> {
    let body = &answer.body;
    let one = |kind, bytes: Vec<u8>| vec![Document { kind, bytes }];
    let mut documents = match need {
        Need::Vcek { .. } | Need::AmdChain { .. } => certificates(body)?,
        Need::AmdCrl { .. } | Need::PckCrl { .. } | Need::IntelRootCrl => one(EndorsementKind::Crl, crl(body)?),
        Need::TcbInfo { .. } => one(EndorsementKind::TcbInfo, body.clone()),
        Need::QeIdentity { .. } => one(EndorsementKind::QeIdentity, body.clone()),
        Need::Rim { id } => one(EndorsementKind::Rim, rim(id, body)?),
        _ => one(EndorsementKind::OcspResponse, body.clone()),
    };
    if let Some(header) = request.chain_header {
        let chain = answer.chain.as_deref().map(percent_decoded).map(|pem| certificates(&pem)).transpose();
        match chain {
            Ok(Some(chain)) => documents.extend(chain),
            // A PCK chain is in every quote; TCB info has its signer nowhere else.
            _ if matches!(need, Need::PckCrl { .. }) => {}
            _ => return Err(Wrong::NoChain { header }),
        }
    }
    check(need, &documents)?;
    Ok(documents)
}

/// Whether documents can be an answer to a need, as far as that shows without verifying anything. The same holds for what
/// a service sends and for what a bundle brings.
pub(crate) fn check(need: &Need, documents: &[Document]) -> Result<(), Wrong> {
    let of = |kind| documents.iter().filter(move |document| document.kind == kind);
    for document in documents {
        if document.bytes.len() > document.kind.max_len() || !is(document.kind, &document.bytes) {
            return Err(Wrong::NotA { kind: document.kind });
        }
    }
    let (main, chain) = match need {
        Need::Vcek { .. } | Need::Vlek { .. } => (EndorsementKind::Certificate, 1..=1),
        Need::AmdChain { .. } => (EndorsementKind::Certificate, 1..=MAX_DOCUMENTS),
        Need::AmdCrl { .. } | Need::IntelRootCrl => (EndorsementKind::Crl, 0..=0),
        Need::PckCrl { .. } => (EndorsementKind::Crl, 0..=MAX_DOCUMENTS),
        Need::TcbInfo { .. } => (EndorsementKind::TcbInfo, 1..=MAX_DOCUMENTS),
        Need::QeIdentity { .. } => (EndorsementKind::QeIdentity, 1..=MAX_DOCUMENTS),
        Need::Rim { .. } => (EndorsementKind::Rim, 0..=0),
        _ => (EndorsementKind::OcspResponse, 0..=0),
    };
    let certificates = of(EndorsementKind::Certificate).count();
    if !chain.contains(&certificates) {
        return Err(Wrong::Count { got: certificates });
    }
    let mains = of(main).count();
    let others = documents.len() - if main == EndorsementKind::Certificate { mains } else { mains + certificates };
    if others > 0 || (main != EndorsementKind::Certificate && mains != 1) {
        return Err(Wrong::NotA { kind: main });
    }
    let first = of(main).next().map_or(&[][..], |document| &document.bytes);
    match need {
        Need::TcbInfo { tee, fmspc } => tcb_info(first, *tee, &fmspc.to_string()),
        Need::QeIdentity { tee } => qe_identity(first, *tee),
        Need::Ocsp { .. } => match der::ocsp_status(first) {
            Some(0) => Ok(()),
            Some(status) => Err(Wrong::OcspStatus { status }),
            None => Err(Wrong::NotA { kind: main }),
        },
        _ => Ok(()),
    }
}

/// Whether bytes are of a kind.
fn is(kind: EndorsementKind, bytes: &[u8]) -> bool {
    match kind {
        EndorsementKind::Certificate => X509Certificate::from_der(bytes).is_ok_and(|(rest, _)| rest.is_empty()),
        EndorsementKind::Crl => CertificateRevocationList::from_der(bytes).is_ok_and(|(rest, _)| rest.is_empty()),
        EndorsementKind::TcbInfo => member(bytes, "tcbInfo").is_some(),
        EndorsementKind::QeIdentity => member(bytes, "enclaveIdentity").is_some(),
        EndorsementKind::Rim => {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
            text.starts_with(b"<") && std::str::from_utf8(bytes).is_ok_and(|text| text.contains("SoftwareIdentity"))
        }
        EndorsementKind::OcspResponse => der::ocsp_status(bytes).is_some(),
    }
}

/// A member of Intel's signed JSON, if there is a signature beside it.
fn member(json: &[u8], name: &str) -> Option<Value> {
    let mut document: Value = serde_json::from_slice(json).ok()?;
    document.get("signature")?.as_str()?;
    document.get_mut(name).map(Value::take).filter(Value::is_object)
}

fn text<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, Wrong> {
    value.get(field).and_then(Value::as_str).ok_or(Wrong::Field { field })
}

fn same(asked: &str, got: &str) -> Result<(), Wrong> {
    if asked.eq_ignore_ascii_case(got) {
        Ok(())
    } else {
        Err(Wrong::Other { asked: asked.to_owned(), got: quote(got) })
    }
}

fn tcb_info(json: &[u8], tee: Tee, fmspc: &str) -> Result<(), Wrong> {
    let info = member(json, "tcbInfo").ok_or(Wrong::NotA { kind: EndorsementKind::TcbInfo })?;
    same(tee.name(), text(&info, "id")?)?;
    same(fmspc, text(&info, "fmspc")?)
}

fn qe_identity(json: &[u8], tee: Tee) -> Result<(), Wrong> {
    let identity = member(json, "enclaveIdentity").ok_or(Wrong::NotA { kind: EndorsementKind::QeIdentity })?;
    same(if tee == Tee::Tdx { "TD_QE" } else { "QE" }, text(&identity, "id")?)
}

/// Certificates as DER or PEM.
fn certificates(bytes: &[u8]) -> Result<Vec<Document>, Wrong> {
    let kind = EndorsementKind::Certificate;
    if is(kind, bytes) {
        return Ok(vec![Document { kind, bytes: bytes.to_vec() }]);
    }
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.map_err(|_| Wrong::NotA { kind })?;
        if block.label != "CERTIFICATE" || !is(kind, &block.contents) {
            return Err(Wrong::NotA { kind });
        }
        if found.len() == MAX_DOCUMENTS {
            return Err(Wrong::Count { got: found.len() + 1 });
        }
        found.push(Document { kind, bytes: block.contents });
    }
    if found.is_empty() { Err(Wrong::NotA { kind }) } else { Ok(found) }
}

/// A revocation list as DER, as PEM, or in hex, which is how a PCCS answers.
fn crl(bytes: &[u8]) -> Result<Vec<u8>, Wrong> {
    let kind = EndorsementKind::Crl;
    let trimmed = bytes.trim_ascii();
    let der = if trimmed.starts_with(b"-----BEGIN") {
        let block = Pem::iter_from_buffer(trimmed).next().and_then(Result::ok);
        block.map(|block| block.contents)
    } else if !trimmed.is_empty() && trimmed.iter().all(u8::is_ascii_hexdigit) {
        hex::decode(trimmed).ok()
    } else {
        Some(bytes.to_vec())
    };
    der.filter(|der| is(kind, der)).ok_or(Wrong::NotA { kind })
}

/// A RIM out of the JSON around it. The digest in it protects against truncation and mix-ups, which is worth a check;
/// it is signed by nobody.
fn rim(id: &str, json: &[u8]) -> Result<Vec<u8>, Wrong> {
    let kind = EndorsementKind::Rim;
    let document: Value = serde_json::from_slice(json).map_err(|_| Wrong::NotA { kind })?;
    let answered = text(&document, "id")?;
    if answered != id {
        return Err(Wrong::Other { asked: id.to_owned(), got: quote(answered) });
    }
    let encoded = text(&document, "rim")?;
    let rim = STANDARD.decode(encoded).map_err(|_| Wrong::Field { field: "rim" })?;
    let announced = digest(text(&document, "sha256")?).ok_or(Wrong::Field { field: "sha256" })?;
    // What the digest covers is documented nowhere: the document, or the text that stands for it.
    let got = Digest::of(&rim);
    if announced != got && announced != Digest::of(encoded.as_bytes()) {
        return Err(Wrong::WrongDigest { announced, got });
    }
    Ok(rim)
}

/// A SHA-256 digest in hex or base64.
fn digest(text: &str) -> Option<Digest> {
    if let Ok(digest) = text.to_ascii_lowercase().parse() {
        return Some(digest);
    }
    STANDARD.decode(text).ok()?.try_into().ok().map(Digest::from_bytes)
}

/// Undoes percent-encoding (RFC 3986, 2.1). What is no escape stays as it is.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    while let [first, rest @ ..] = bytes {
        let escape = if *first == b'%' { rest.first_chunk::<2>() } else { None };
        let decoded = escape.and_then(|digits| hex::decode(digits).ok());
        if let Some(decoded) = decoded {
            out.extend(decoded);
            bytes = &rest[2..];
        } else {
            out.push(*first);
            bytes = rest;
        }
    }
    out
}

#[cfg(test)]
mod tests;
