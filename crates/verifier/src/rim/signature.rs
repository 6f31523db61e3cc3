//! The XML signature of a RIM (W3C XML-Signature, RFC 6931), in the one form that NVIDIA writes:
//! one `Signature`, a child of the root; one `Reference` to the whole document; the transforms enveloped-signature and
//! C14N 1.1; SHA-384; ECDSA with P-384 as `r || s`.
//!
//! The parser's first look at a document only finds the signature. Whatever decides is read again from the canonical
//! bytes that were hashed or signed, and from nothing else: so there is no element in the document that could be taken
//! for a signed one.

use aws_lc_rs::digest::{SHA384, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Document, Node};

use super::error::{RimError, cut};
use super::{c14n, xml};

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
/// Canonical XML 1.1 without comments.
const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// RFC 6931, 2.1.3. `xmlenc#sha384`, the namespace of the measurements' digests, is no registered digest method.
const SHA384_METHOD: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
/// RFC 6931, 2.3.6.
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";

/// LIMIT: NVIDIA's RIMs bring four certificates: signer, two authorities, root.
const MAX_CERTIFICATES: usize = 6;
/// LIMIT: NVIDIA's certificates have 550 to 700 bytes.
const MAX_CERTIFICATE: usize = 8 * 1024;

/// A document taken apart. The digest of `content` is already known to be the one that `signed_info` states; that
/// `signed_info` is signed, by whom, is not.
pub(super) struct Envelope {
    /// The canonical form of the document without its signature: what the digest is over.
    pub(super) content: String,
    /// The canonical form of `SignedInfo`: what the signature is over.
    pub(super) signed_info: Vec<u8>,
    /// `r || s`.
    pub(super) signature: [u8; 96],
    /// The certificates that came along, in DER, in the order of the document, which means nothing.
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Takes a document apart and checks all of the signature that needs no key.
pub(super) fn open(document: &Document<'_>) -> Result<Envelope, RimError> {
    let root = document.root_element();
    let signature = find(root)?;
    let [info, value, key] = parts(signature, "Signature", ["SignedInfo", "SignatureValue", "KeyInfo"])?;
    let certificates = certificates(key)?;
    xml::only_attributes(value, &[])?;
    let signature_value = base64("SignatureValue", value, "96")?;
    let signature_value: [u8; 96] =
        signature_value.try_into().map_err(|_| RimError::Base64 { element: "SignatureValue", expected: "96" })?;

    let signed_info = c14n::canonical(info, None);
    let signed = stated_digest(&signed_info)?;
    let content = c14n::canonical(root, Some(signature.id()));
    let computed = sha384(&content);
    if computed != signed {
        return Err(RimError::Digest { signed: Box::new(signed), computed: Box::new(computed) });
    }
    let content =
        String::from_utf8(content).map_err(|error| RimError::NotUtf8 { at: error.utf8_error().valid_up_to() })?;
    Ok(Envelope { content, signed_info, signature: signature_value, certificates })
}

/// The one signature. Every element is looked at, so that none hides where a laxer reader would find it.
fn find<'a, 'i>(root: Node<'a, 'i>) -> Result<Node<'a, 'i>, RimError> {
    let signatures: Vec<_> = root.descendants().filter(|node| node.has_tag_name((DSIG, "Signature"))).collect();
    let [signature] = signatures.as_slice() else {
        return Err(RimError::NotOne { inside: "the document", element: "Signature", count: signatures.len() });
    };
    match signature.parent_element() {
        Some(parent) if parent == root => Ok(*signature),
        parent => Err(RimError::SignatureElsewhere {
            inside: parent.map_or_else(|| "the document".to_owned(), |parent| cut(parent.tag_name().name())),
        }),
    }
}

/// What `SignedInfo` says the document's digest is, once it says that in the one accepted form.
fn stated_digest(signed_info: &[u8]) -> Result<[u8; 48], RimError> {
    let text = std::str::from_utf8(signed_info).map_err(|error| RimError::NotUtf8 { at: error.valid_up_to() })?;
    let document = xml::parse(text)?;
    let info = document.root_element();
    let [canonicalization, method, reference] =
        parts(info, "SignedInfo", ["CanonicalizationMethod", "SignatureMethod", "Reference"])?;
    algorithm("CanonicalizationMethod", canonicalization, C14N11)?;
    algorithm("SignatureMethod", method, ECDSA_SHA384)?;

    xml::only_attributes(reference, &["URI"])?;
    match reference.attribute("URI") {
        Some("") => {}
        Some(uri) => return Err(RimError::Reference { got: cut(uri) }),
        None => return Err(RimError::MissingField { field: "Reference@URI" }),
    }
    // Not `parts`, which would refuse its attribute.
    let [transforms, digest_method, digest_value] =
        children(reference, "Reference", ["Transforms", "DigestMethod", "DigestValue"])?;
    xml::only_attributes(transforms, &[])?;
    let transforms = children(transforms, "Transforms", ["Transform", "Transform"])?;
    for (transform, expected) in transforms.into_iter().zip([ENVELOPED, C14N11]) {
        algorithm("Transform", transform, expected)?;
    }
    algorithm("DigestMethod", digest_method, SHA384_METHOD)?;
    xml::only_attributes(digest_value, &[])?;
    base64("DigestValue", digest_value, "48")?
        .try_into()
        .map_err(|_| RimError::Base64 { element: "DigestValue", expected: "48" })
}

/// An element that names an algorithm and holds no parameters.
fn algorithm(element: &'static str, node: Node<'_, '_>, expected: &'static str) -> Result<(), RimError> {
    xml::only_attributes(node, &["Algorithm"])?;
    let [] = children(node, element, [])?;
    match node.attribute("Algorithm") {
        Some(got) if got == expected => Ok(()),
        got => Err(RimError::Algorithm { element, got: cut(got.unwrap_or("")), expected }),
    }
}

/// The certificates of `KeyInfo`, which holds nothing else: no key by value, by name or by reference.
fn certificates(key: Node<'_, '_>) -> Result<Vec<Vec<u8>>, RimError> {
    xml::only_attributes(key, &[])?;
    let [data] = children(key, "KeyInfo", ["X509Data"])?;
    xml::only_attributes(data, &[])?;
    let mut certificates = Vec::new();
    for node in xml::elements(data)? {
        if !node.has_tag_name((DSIG, "X509Certificate")) {
            return Err(unexpected(data, node));
        }
        if certificates.len() >= MAX_CERTIFICATES {
            return Err(RimError::TooMuch {
                what: "certificates",
                got: certificates.len().saturating_add(1),
                limit: MAX_CERTIFICATES,
            });
        }
        xml::only_attributes(node, &[])?;
        let der = base64("X509Certificate", node, "some")?;
        if der.len() > MAX_CERTIFICATE {
            return Err(RimError::TooMuch { what: "bytes in a certificate", got: der.len(), limit: MAX_CERTIFICATE });
        }
        certificates.push(der);
    }
    Ok(certificates)
}

/// The children of an element without attributes, which are to be just these, in this order.
fn parts<'a, 'i, const N: usize>(
    parent: Node<'a, 'i>,
    name: &'static str,
    expected: [&'static str; N],
) -> Result<[Node<'a, 'i>; N], RimError> {
    xml::only_attributes(parent, &[])?;
    children(parent, name, expected)
}

/// The children of an element, which are to be just these of the signature's namespace, in this order.
fn children<'a, 'i, const N: usize>(
    parent: Node<'a, 'i>,
    name: &'static str,
    expected: [&'static str; N],
) -> Result<[Node<'a, 'i>; N], RimError> {
    let found = xml::elements(parent)?;
    for element in expected {
        let count = found.iter().filter(|node| node.has_tag_name((DSIG, element))).count();
        let wanted = expected.iter().filter(|name| **name == element).count();
        if count != wanted {
            return Err(RimError::NotOne { inside: name, element, count });
        }
    }
    let stranger = found.iter().zip(expected).find(|(node, name)| !node.has_tag_name((DSIG, *name)));
    if let Some(stranger) = stranger.map(|(node, _)| *node).or_else(|| found.get(N).copied()) {
        return Err(unexpected(parent, stranger));
    }
    found.try_into().map_err(|_| RimError::NotOne { inside: name, element: "child", count: 0 })
}

fn unexpected(parent: Node<'_, '_>, node: Node<'_, '_>) -> RimError {
    RimError::UnexpectedElement {
        inside: cut(parent.tag_name().name()),
        name: cut(node.tag_name().name()),
        at: xml::place(node),
    }
}

/// Base64 of XML Schema: white space anywhere.
fn base64(element: &'static str, node: Node<'_, '_>, expected: &'static str) -> Result<Vec<u8>, RimError> {
    let mut text = xml::only_text(node)?.as_bytes().to_vec();
    text.retain(|byte| !byte.is_ascii_whitespace());
    STANDARD.decode(text).map_err(|_| RimError::Base64 { element, expected })
}

pub(super) fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut result = [0; 48];
    // PANIC-FREE: SHA-384 gives 48 bytes; zip copies what there is.
    for (to, from) in result.iter_mut().zip(digest(&SHA384, bytes).as_ref()) {
        *to = *from;
    }
    result
}
