//! AR4SI trustworthiness vectors and the EAR claims-set.

use crate::AttestationResult;
use serde::{Deserialize, Serialize};

/// One AR4SI claim value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustClaim(pub i8);

impl TrustClaim {
    /// The instance is recognised and not known to be compromised.
    pub const TRUSTWORTHY_INSTANCE: Self = Self(2);
    /// Only approved executables were loaded during boot.
    pub const APPROVED_BOOT: Self = Self(3);
    /// Isolated from others on the machine, visible to its operator.
    pub const ISOLATED_MEMORY: Self = Self(32);
}

/// The AR4SI trustworthiness vector.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TrustVector {
    /// Who the instance is.
    pub instance_identity: TrustClaim,
    /// What was executed.
    pub executables: TrustClaim,
    /// Who can read its memory.
    pub runtime_opaque: TrustClaim,
}

/// EAR claims.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ear {
    /// When the result was issued.
    pub iat: u64,
}

impl Ear {
    pub(crate) fn new(_result: &AttestationResult, issued_at: u64) -> Self {
        Self { iat: issued_at }
    }
}
