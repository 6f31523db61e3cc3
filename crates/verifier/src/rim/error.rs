//! Why a RIM was not taken, by whose fault.

use std::fmt;

use super::MAX_INDEX;
use crate::error::Fault;
use crate::ocsp::OcspError;
use crate::value::Value;
use crate::x509::PathError;

/// Where in the document, counted from 1 as editors do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character in it.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// How a namespace declaration is not one that can be read in one way only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamespaceProblem {
    /// It is empty: it takes a namespace back, or binds a prefix to nothing.
    Empty,
    /// It is a relative URI, which C14N 1.1 refuses.
    Relative,
    /// It stands twice on one element.
    Twice,
    /// It is written `prefix:xmlns`.
    PrefixedXmlns,
}

impl fmt::Display for NamespaceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a namespace is declared empty",
            Self::Relative => "a namespace is a relative URI",
            Self::Twice => "a namespace is declared twice",
            Self::PrefixedXmlns => "`xmlns` has a prefix",
        })
    }
}

/// How a certificate is not one that signs RIMs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignerProblem {
    /// Its key is not of P-384.
    Curve,
    /// It is a certificate authority.
    Authority,
    /// Its key usage does not allow signatures.
    KeyUsage,
    /// It is for a purpose of its own, such as answering for an authority by OCSP.
    Purpose,
}

impl fmt::Display for SignerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Curve => "its key is not of P-384",
            Self::Authority => "it is a certificate authority",
            Self::KeyUsage => "its key may not sign documents",
            Self::Purpose => "it is for another purpose",
        })
    }
}

/// Why a RIM was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RimError {
    /// Unsupported: NVIDIA's newer form.
    #[error("a CBOR CoRIM; this release reads XML")]
    Corim,
    /// Malformed: more of something than any RIM has.
    #[error("RIM has {got} {what}, at most {limit} are read")]
    TooMuch {
        /// What is counted.
        what: &'static str,
        /// How many there are, or how many were counted before giving up.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Malformed: the bytes are no UTF-8.
    #[error("RIM is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first bad byte.
        at: usize,
    },
    /// Malformed: an XML declaration of another version or encoding.
    #[error("RIM's XML declaration is not for version 1.0 in UTF-8")]
    Declaration,
    /// Malformed: no well-formed XML.
    #[error("RIM is not well-formed XML at {at}")]
    NotXml {
        /// Where.
        at: Place,
    },
    /// Malformed: a document type, which could redefine what everything else means.
    #[error("RIM has a DTD")]
    Dtd,
    /// Malformed: a reference to an entity that is none of XML's own five.
    #[error("RIM uses an entity at {at}")]
    Entity {
        /// Where.
        at: Place,
    },
    /// Malformed: a processing instruction.
    #[error("RIM has a processing instruction at {at}")]
    ProcessingInstruction {
        /// Where.
        at: Place,
    },
    /// Malformed: one attribute twice.
    #[error("an attribute stands twice at {at}")]
    DuplicateAttribute {
        /// Where.
        at: Place,
    },
    /// Malformed: a namespace declaration that two readers could take differently.
    #[error("{problem} at {at}")]
    Namespace {
        /// What is wrong with it.
        problem: NamespaceProblem,
        /// Where.
        at: Place,
    },
    /// Malformed: an attribute that C14N 1.1 would inherit into `SignedInfo`.
    #[error("attribute `xml:{name}` at {at}")]
    XmlAttribute {
        /// Its name.
        name: String,
        /// Where.
        at: Place,
    },
    /// Malformed: an element where none like it belongs.
    #[error("element `{name}` does not belong into `{inside}` at {at}")]
    UnexpectedElement {
        /// Its parent.
        inside: String,
        /// Its name.
        name: String,
        /// Where.
        at: Place,
    },
    /// Malformed: text between elements.
    #[error("text between the elements of `{inside}` at {at}")]
    UnexpectedText {
        /// Its parent.
        inside: String,
        /// Where.
        at: Place,
    },
    /// Malformed: an element that holds more than one piece of text.
    #[error("`{element}` is not plain text at {at}")]
    NotPlainText {
        /// Its name.
        element: String,
        /// Where.
        at: Place,
    },
    /// Malformed: an attribute that could change what its element means.
    #[error("attribute `{name}` does not belong to `{element}` at {at}")]
    UnexpectedAttribute {
        /// The element.
        element: String,
        /// The attribute.
        name: String,
        /// Where.
        at: Place,
    },
    /// Malformed: an element that is to stand exactly once.
    #[error("`{inside}` has {count} `{element}`, exactly one is read")]
    NotOne {
        /// The parent.
        inside: &'static str,
        /// The element.
        element: &'static str,
        /// How often it stands there.
        count: usize,
    },
    /// Malformed: an attribute is not there.
    #[error("`{field}` is missing")]
    MissingField {
        /// `element@attribute`.
        field: &'static str,
    },
    /// Malformed: an attribute has a value that this reader does not take.
    #[error("`{field}` is `{got}`, expected `{expected}`")]
    Field {
        /// `element@attribute`.
        field: &'static str,
        /// What it is.
        got: String,
        /// What it is in NVIDIA's RIMs.
        expected: &'static str,
    },
    /// Not genuine: a signature elsewhere than as a child of the root.
    #[error("a signature is inside `{inside}`, not a child of the document's root")]
    SignatureElsewhere {
        /// Its parent.
        inside: String,
    },
    /// Not genuine: another algorithm than the one of NVIDIA's RIMs, so that nobody chooses a weaker one.
    #[error("`{element}` is `{got}`, expected `{expected}`")]
    Algorithm {
        /// The element that names it.
        element: &'static str,
        /// What it names.
        got: String,
        /// What it must name.
        expected: &'static str,
    },
    /// Not genuine: the signature is over something else than the whole document.
    #[error("the signature refers to `{got}`, not to the whole document")]
    Reference {
        /// The URI of its reference.
        got: String,
    },
    /// Malformed: text that is no base64, or not of the right length.
    #[error("`{element}` is not {expected} bytes in base64")]
    Base64 {
        /// The element.
        element: &'static str,
        /// How many bytes it is to hold.
        expected: &'static str,
    },
    /// Not genuine: the document is not the one that was signed.
    #[error("the document's digest is {}, signed was {}", short(computed), short(signed))]
    Digest {
        /// What the signature says.
        signed: Box<[u8; 48]>,
        /// What the document has.
        computed: Box<[u8; 48]>,
    },
    /// Not genuine: the certificates of the signature are not one chain with one end.
    #[error("the signature's {given} certificates have {leaves} leaves, not one")]
    Leaves {
        /// How many certificates came along.
        given: usize,
        /// How many of them issued none of the others.
        leaves: usize,
    },
    /// Not genuine: a certificate came along that has no place between signer and root.
    #[error("certificate `{certificate}` is not between the signer and the root")]
    Stray {
        /// Its subject.
        certificate: String,
    },
    /// The certificates do not lead to NVIDIA's root, or not at this time.
    #[error("the signer's certificates")]
    Path(#[from] PathError),
    /// Not genuine: a certificate under NVIDIA's root that was not made for signing RIMs.
    #[error("`{signer}` is no signer of RIMs: {problem}")]
    Signer {
        /// Its subject.
        signer: String,
        /// Why.
        problem: SignerProblem,
    },
    /// One of the signer's certificates is revoked, or a response about it cannot be used.
    #[error("the signer's standing")]
    Standing(#[from] OcspError),
    /// Not genuine: the signature is not by the signer at the end of the chain.
    #[error("the signature is not by `{signer}`")]
    Signature {
        /// The subject of the signer.
        signer: String,
    },
    /// Malformed: a measurement's number is no number, or too large.
    #[error("measurement index `{got}` is not a number from 0 to {MAX_INDEX}")]
    Index {
        /// What stands there.
        got: String,
    },
    /// Malformed: two measurements of one index.
    #[error("measurement {index} stands twice")]
    DuplicateIndex {
        /// The index.
        index: u32,
    },
    /// Malformed: a digest under another hash algorithm than SHA-384, or a number that is none.
    #[error("measurement {index} has `{name}` of the namespace `{namespace}`, not a SHA-384 digest")]
    HashAlgorithm {
        /// The measurement.
        index: u32,
        /// The attribute.
        name: String,
        /// Its namespace, which names the algorithm.
        namespace: String,
    },
    /// Malformed: a digest that is not 48 bytes in hex.
    #[error("alternative {alternative} of measurement {index} is not 96 hex digits")]
    DigestText {
        /// The measurement.
        index: u32,
        /// Which of its digests.
        alternative: u32,
    },
    /// Malformed: not as many digests as it says.
    #[error("measurement {index} states `{stated}` alternatives and has {found}")]
    Alternatives {
        /// The measurement.
        index: u32,
        /// What it says.
        stated: String,
        /// How many digests it has.
        found: usize,
    },
}

impl RimError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Corim => Fault::Unsupported,
            Self::Path(error) => error.fault(),
            Self::Standing(error) => error.fault(),
            Self::SignatureElsewhere { .. }
            | Self::Algorithm { .. }
            | Self::Reference { .. }
            | Self::Digest { .. }
            | Self::Leaves { .. }
            | Self::Stray { .. }
            | Self::Signer { .. }
            | Self::Signature { .. } => Fault::NotGenuine,
            Self::TooMuch { .. }
            | Self::NotUtf8 { .. }
            | Self::Declaration
            | Self::NotXml { .. }
            | Self::Dtd
            | Self::Entity { .. }
            | Self::ProcessingInstruction { .. }
            | Self::DuplicateAttribute { .. }
            | Self::Namespace { .. }
            | Self::XmlAttribute { .. }
            | Self::UnexpectedElement { .. }
            | Self::UnexpectedText { .. }
            | Self::NotPlainText { .. }
            | Self::UnexpectedAttribute { .. }
            | Self::NotOne { .. }
            | Self::MissingField { .. }
            | Self::Field { .. }
            | Self::Base64 { .. }
            | Self::Index { .. }
            | Self::DuplicateIndex { .. }
            | Self::HashAlgorithm { .. }
            | Self::DigestText { .. }
            | Self::Alternatives { .. } => Fault::Malformed,
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Corim => Some("fetch the RIM from NVIDIA's RIM service, which gives XML".to_owned()),
            Self::Path(error) if error.fault() == Fault::Expired => Some(
                "NVIDIA's signers hold for about two years, and NVIDIA signs its RIMs again: fetch the current one with \
                 `casemate endorsements fetch`; if this machine's clock is wrong, set it"
                    .to_owned(),
            ),
            Self::Path(error) => error.hint(),
            Self::Standing(error) => error.hint(),
            Self::Digest { .. } | Self::Signature { .. } => {
                Some("the file was changed after NVIDIA signed it: fetch it again".to_owned())
            }
            _ => None,
        }
    }

    /// The message with those of its sources, in one line.
    pub fn chain(&self) -> String {
        match self {
            Self::Path(error) => format!("{self}: {error}"),
            Self::Standing(error) => format!("{self}: {error}"),
            _ => self.to_string(),
        }
    }

    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corim => "rim-corim",
            Self::TooMuch { .. } => "rim-too-much",
            Self::NotUtf8 { .. } => "rim-not-utf8",
            Self::Declaration => "rim-xml-declaration",
            Self::NotXml { .. } => "rim-not-xml",
            Self::Dtd => "rim-dtd",
            Self::Entity { .. } => "rim-entity",
            Self::ProcessingInstruction { .. } => "rim-processing-instruction",
            Self::DuplicateAttribute { .. } => "rim-duplicate-attribute",
            Self::Namespace { .. } => "rim-namespace",
            Self::XmlAttribute { .. } => "rim-xml-attribute",
            Self::UnexpectedElement { .. } => "rim-unexpected-element",
            Self::UnexpectedText { .. } => "rim-unexpected-text",
            Self::NotPlainText { .. } => "rim-not-plain-text",
            Self::UnexpectedAttribute { .. } => "rim-unexpected-attribute",
            Self::NotOne { .. } => "rim-not-one",
            Self::MissingField { .. } => "rim-missing-field",
            Self::Field { .. } => "rim-field",
            Self::SignatureElsewhere { .. } => "rim-signature-elsewhere",
            Self::Algorithm { .. } => "rim-algorithm",
            Self::Reference { .. } => "rim-reference",
            Self::Base64 { .. } => "rim-base64",
            Self::Digest { .. } => "rim-digest",
            Self::Signature { .. } => "rim-signature",
            Self::Leaves { .. } => "rim-leaves",
            Self::Stray { .. } => "rim-stray-certificate",
            Self::Path(error) => error.code(),
            Self::Signer { .. } => "rim-signer",
            Self::Standing(error) => error.code(),
            Self::Index { .. } => "rim-index",
            Self::DuplicateIndex { .. } => "rim-duplicate-index",
            Self::HashAlgorithm { .. } => "rim-hash-algorithm",
            Self::DigestText { .. } => "rim-digest-text",
            Self::Alternatives { .. } => "rim-alternatives",
        }
    }
}

/// LIMIT: messages quote this much of a document, so that a document cannot fill a log.
const QUOTE_CHARS: usize = 80;

/// Text of the document as a message quotes it: short, and nothing that a terminal obeys.
pub(super) fn cut(text: &str) -> String {
    let mut quote: String = text.chars().take(QUOTE_CHARS).collect();
    if text.chars().nth(QUOTE_CHARS).is_some() {
        quote.push('…');
    }
    Value::peer_text(&quote).to_string()
}

fn short(digest: &[u8; 48]) -> String {
    let mut text = hex::encode(digest);
    text.truncate(12);
    text
}
