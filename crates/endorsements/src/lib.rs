//! Fetches Endorsements, the documents with which AMD, Intel and NVIDIA vouch for their hardware, and keeps them: from a
//! list of what some Evidence needs ([`Need`]) to a set that `verifier` can judge with ([`Endorsements`]).
//!
//! This crate does the input and output, and **judges nothing**. It looks at a document only closely enough to notice an
//! answer that is no answer: another kind of document, another id, a digest that does not fit. Signatures, chains,
//! revocation and dates are verified by `verifier`, wherever a document came from: a service, a proxy in between, the
//! cache on disk or a bundle that somebody carried over. A forged document costs an answer ("could not tell"), never a
//! wrong one. So nothing here needs protection but against loss, and plain HTTP to a proxy is allowed.
//!
//! - [`Client`] gathers: from the cache where that is fresh, else from the service, and from the cache again when the
//!   service fails ("stale while error"), saying so. One need that cannot be met never loses the others.
//! - [`Cache`] keeps documents in a folder, for any number of processes at once.
//! - [`Cache::export`] and [`Cache::import`] carry them to a machine with no way out.
//!
//! Decision 0008 says why it is done so.
//!
//! ```no_run
//! # async fn f(needs: Vec<endorsements::Need>) -> Result<(), Box<dyn std::error::Error>> {
//! use endorsements::{Cache, Client, Freshness, Sources};
//!
//! let cache = Cache::open(std::path::Path::new(".casemate/endorsements"))?;
//! let client = Client::new(Sources::vendors(), cache)?;
//! let gathered = client.gather(&needs, Freshness::Normal).await;
//! for status in &gathered.report {
//!     println!("{}: {}", status.need, status);
//! }
//! # Ok(()) }
//! ```

#![warn(missing_docs)]

mod answer;
mod bundle;
mod cache;
mod client;
mod dates;
mod der;
mod error;
#[cfg(test)]
#[allow(dead_code, reason = "the integration tests use all of it")]
mod examples;
mod fetch;
mod flight;
mod http;
mod newer;
mod sources;

pub use bundle::{BundleError, Exported, Imported, Refusal};
pub use cache::{Cache, CacheError, Damage, Entry, Item, Listing};
pub use client::{Client, ClientError, Clock, Freshness, Gathered, Note, Origin, Status, download};
pub use error::{FetchError, Wrong};
pub use fetch::Limits;
pub use sources::{Channel, Intel, Sources};
pub use verifier::UnixTime;
pub use verifier::endorsements::{EndorsementKind, Endorsements, Need};
