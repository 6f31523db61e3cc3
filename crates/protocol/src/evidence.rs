//! Evidence as it travels: which TEE made it, its opaque bytes, and nothing believed yet.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The kinds of TEE that can make Evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tee {
    /// The local engine's software TEE. INSECURE: whoever runs the engine holds its root key.
    Software,
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
    /// Intel SGX.
    Sgx,
}

impl Tee {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Snp => "snp",
            Self::Tdx => "tdx",
            Self::Sgx => "sgx",
        }
    }

    /// Whether Evidence of this kind proves nothing about hardware.
    pub const fn is_insecure(self) -> bool {
        matches!(self, Self::Software)
    }
}

/// Evidence as received: claims of a peer, not yet verified. `verifier::verify` is the only way on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Which TEE made it.
    pub tee: Tee,
    /// The TEE's own format: for `software` see [`crate::software`].
    #[serde(with = "crate::secret::base64_bytes")]
    pub body: Vec<u8>,
}

impl Evidence {
    /// LIMIT: a TDX quote with its certification data is under 8 KiB, an SNP report with its certificate table under
    /// 20 KiB. Evidence beyond this is refused before it is parsed.
    pub const MAX_BODY: usize = 64 * 1024;

    /// The digest under which a release decision names this Evidence in the log.
    pub fn digest(&self) -> Digest {
        Digest::of_fields(&[self.tee.name().as_bytes(), &self.body])
    }
}
