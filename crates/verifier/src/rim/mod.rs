//! NVIDIA's reference integrity manifests (RIMs): Reference Values that NVIDIA signs, one document for each version of a
//! GPU's driver, a GPU's VBIOS and a switch's firmware.
//!
//! A RIM is a SWID tag (ISO/IEC 19770-2:2015) with the attributes of the TCG RIM information model, in XML with an
//! enveloped XML signature. XML signatures are known for documents in which one element is signed and another is read.
//! So there is one narrow way through:
//!
//! 1. The document is bounded and free of whatever two readers could understand differently ([`RimError`] names it).
//! 2. It has exactly one signature, a child of the root, over the whole document, by the algorithms that NVIDIA uses.
//! 3. Its digest is right, its signature is by the leaf of the certificates that came along, and these lead to the root
//!    that is compiled in. The leaf is the one that issued none of the others, wherever it stands.
//! 4. The contents are read from the canonical bytes that were hashed, parsed anew. The document itself is not looked at
//!    again, so nothing that is not signed can be read.
//!
//! A document whose signer has expired is [`Fault::Expired`](crate::Fault): "could not tell", and only if it is genuine.

mod c14n;
mod error;
mod signature;
mod swid;
mod xml;

pub use error::{NamespaceProblem, Place, RimError};

/// LIMIT: RIMs number measurements from 0 to 63; index `i` is block `i + 1` of a GPU's 64 SPDM measurement blocks.
pub const MAX_INDEX: u32 = 63;

/// The Reference Value for one measurement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Golden {
    /// Which measurement: 0 to [`MAX_INDEX`], one less than the index of the SPDM measurement block.
    pub index: u32,
    /// Whether it is to be compared. NVIDIA's driver RIM and VBIOS RIM of one GPU have different ones active.
    pub active: bool,
    /// The digests of which one must be reported: at least one.
    pub digests: Vec<[u8; 48]>,
    /// What NVIDIA calls it, for people.
    pub name: Option<String>,
}

/// The canonical form (C14N 1.1 without comments) of a whole document, for comparison with another implementation.
pub fn canonical_form(document: &[u8]) -> Result<Vec<u8>, RimError> {
    let text = xml::text(document)?;
    let document = xml::parse(&text)?;
    Ok(c14n::canonical(document.root_element(), None))
}
