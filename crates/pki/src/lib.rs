//! Keys, certificates, seed sharing and the transparency log of a deployment: everything that the Coordinator's
//! authority rests on, as pure functions of bytes, time and randomness.
//!
//! - [`owner`]: the owners' signatures and the quorum that turns them into an approval.
//! - [`holder`]: encryption of seed shares to their holders.
//! - [`seed`]: the seed, its Shamir shares, and the key schedule that everything else comes from.
//! - [`ca`]: root CA, mesh CA of a generation, leaf certificates.
//! - [`log`]: the Merkle tree (RFC 6962, RFC 9162) and its signed checkpoints (C2SP tlog-checkpoint, signed-note).
//! - [`history`]: whether a list of manifests is a history that the owners made.
//!
//! This crate never reads a clock, a file or a socket, and it decides nothing about Evidence: who may get a
//! certificate is the Coordinator's decision, and [`ca::MeshCa::issue`] trusts its caller.
//! Byte strings from a peer give a typed error, never a panic.
//!
//! ```
//! use pki::owner::{OwnerKey, verify_quorum};
//! use protocol::{Digest, manifest::Quorum};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (OwnerKey::generate()?, OwnerKey::generate()?);
//! let owners = Quorum { threshold: 2, keys: vec![alice.public(), bob.public()] };
//! let message = Digest::of(b"from protocol::api");
//! assert!(verify_quorum(&owners, &message, &[alice.sign(&message)?]).is_err());
//! let approved = verify_quorum(&owners, &message, &[alice.sign(&message)?, bob.sign(&message)?])?;
//! assert_eq!(approved.signers().len(), 2);
//! # Ok(()) }
//! ```
//!
//! An approval cannot be made without the signatures:
//!
//! ```compile_fail,E0451
//! # fn f(message: protocol::Digest) -> pki::owner::Approved {
//! pki::owner::Approved { message, signers: vec![] }
//! # }
//! ```
//!
//! nor a next manifest without an approval:
//!
//! ```compile_fail,E0639
//! # fn f(manifest: protocol::Manifest, tip: pki::history::Tip, approved: pki::owner::Approved)
//! # -> pki::history::Successor {
//! pki::history::Successor { manifest, tip, approved }
//! # }
//! ```
//!
//! and a seed cannot be copied:
//!
//! ```compile_fail,E0599
//! # fn f(seed: pki::seed::Seed) {
//! let copy = seed.clone();
//! # }
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]
#![warn(missing_docs)]

pub mod ca;
pub mod history;
pub mod holder;
pub mod log;
pub mod owner;
mod pem;
pub mod seed;

/// The random generator, key derivation or another primitive of the crypto library failed. On a working machine this
/// does not happen; it is our side's failure and says nothing about a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the crypto library failed to {operation}")]
pub struct CryptoFailure {
    /// What was asked of it.
    pub operation: &'static str,
}

impl CryptoFailure {
    const fn new(operation: &'static str) -> Self {
        Self { operation }
    }
}

/// Fills an array with random bytes of the operating system's generator.
fn random<const N: usize>() -> Result<[u8; N], CryptoFailure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CryptoFailure::new("make random bytes"))?;
    Ok(bytes)
}
