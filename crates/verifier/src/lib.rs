//! Verifies and appraises Evidence: bytes, expectations and trust anchors go in, a proof type or a typed error comes
//! out. Nothing in this crate reads a clock, a socket or a file, and it does not know who is asking.
//!
//! The argument is carried by types that only this crate makes, in this order:
//!
//! 1. [`UnverifiedEvidence`]: bytes of a peer, of bounded size. `Ok` proves nothing else.
//! 2. [`VerifiedEvidence`]: the signature is good under the root that the Evidence itself presents, and its report data
//!    is what this channel demands. It does **not** prove that the root is one to be trusted.
//! 3. [`AttestationResult`]: the root and the measurement are among the reference values. It does **not** prove that the
//!    identity may do anything: that is the relying party's decision (the manifest).
//!
//! None of them is `Clone`, and each step takes the one before by value, so one Evidence gives one result.
//!
//! ```
//! # fn f(evidence: protocol::Evidence, expected: protocol::Expected, values: protocol::manifest::ReferenceValues,
//! # endorsements: verifier::Endorsements, now: verifier::UnixTime) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = verifier::Verifier::new(); // believes the vendors' roots
//! let evidence = verifier::UnverifiedEvidence::new(evidence)?;
//! let verified = verifier.verify(evidence, &expected, &endorsements, now)?;
//! let result = verifier::appraise(verified, &values)?;
//! println!("{} on {}", result.identity(), result.tee().name());
//! # Ok(()) }
//! ```
//!
//! Skipping a step does not compile:
//!
//! ```compile_fail,E0308
//! # fn f(evidence: protocol::Evidence, values: &protocol::manifest::ReferenceValues) {
//! let unverified = verifier::UnverifiedEvidence::new(evidence).unwrap();
//! let result = verifier::appraise(unverified, values); // expected `VerifiedEvidence`
//! # }
//! ```
//!
//! nor does making a proof oneself:
//!
//! ```compile_fail,E0451
//! # fn f(claims: verifier::Claims, digest: protocol::Digest) -> verifier::VerifiedEvidence {
//! verifier::VerifiedEvidence { claims, digest, verified_at: verifier::UnixTime(0) }
//! # }
//! ```
//!
//! ```compile_fail,E0451
//! # fn f(claims: verifier::Claims, digest: protocol::Digest, vector: verifier::ear::TrustVector)
//! # -> verifier::AttestationResult {
//! verifier::AttestationResult { claims, digest, vector, device_vector: None, platform: None }
//! # }
//! ```
//!
//! nor using one twice:
//!
//! ```compile_fail,E0382
//! # fn f(verified: verifier::VerifiedEvidence, values: &protocol::manifest::ReferenceValues) {
//! let first = verifier::appraise(verified, values);
//! let second = verifier::appraise(verified, values);
//! # }
//! ```

#![warn(missing_docs)]
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

pub mod anchors;
pub mod ccel;
mod certificates;
mod context;
pub mod dcap;
pub mod ear;
pub mod endorsements;
mod error;
mod evidence;
pub mod explain;
pub mod input;
mod layer;
mod mismatch;
pub mod nvidia;
pub mod ocsp;
mod question;
pub mod rim;
pub mod sgx;
pub mod snp;
mod software;
pub mod tdx;
mod time;
mod value;
mod verifier;
pub mod x509;

pub use anchors::TrustAnchors;
pub use endorsements::Endorsements;
pub use error::{AppraiseError, Fault, NotGenuine, Tried, VerifyError};
pub use evidence::{AttestationResult, Claims, Detail, UnverifiedEvidence, VerifiedEvidence};
pub use layer::Outcome;
pub use mismatch::{Mismatch, Rule};
pub use question::{NoReferenceValues, Question, needs_of};
pub use rim::further_needs;
pub use time::UnixTime;
pub use value::Value;
pub use verifier::{Verifier, appraise, claimed_identity, needs};
