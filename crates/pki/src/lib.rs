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
