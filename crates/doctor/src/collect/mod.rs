//! The edges: what makes a bundle. Each of these reads and judges nothing.

mod certificates;
mod cluster;
mod list;
mod machine;
mod services;
mod work;

pub use certificates::{from_pem, mesh};
pub use cluster::{Reach, Session, cluster, connect};
pub use machine::machine;
pub use services::{address, services};
pub use work::work;

use std::time::{SystemTime, UNIX_EPOCH};

/// The clock, in seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
