//! Reference Values for Intel TDX.

use serde::{Deserialize, Serialize};

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxReferenceValues {
    /// What this entry is for, in people's words.
    pub platform: String,
}
