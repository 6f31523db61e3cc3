//! Evidence on its way to a result: the proof types, which only this crate makes.

use protocol::digest::Measurement;
use protocol::{Digest, Evidence, Identity, Tee};

use crate::ear::{Ear, TrustVector};
use crate::{AppraiseError, UnixTime, VerifyError, nvidia, sgx, snp, tdx};

/// Evidence of a peer, of a size that may be parsed. Nothing in it is believed.
#[derive(Debug)]
pub struct UnverifiedEvidence {
    evidence: Evidence,
}

impl UnverifiedEvidence {
    /// Takes Evidence over, unless it is larger than any TEE makes.
    pub fn new(evidence: Evidence) -> Result<Self, VerifyError> {
        if evidence.body.len() > Evidence::MAX_BODY {
            return Err(VerifyError::TooLong { got: evidence.body.len(), limit: Evidence::MAX_BODY });
        }
        if evidence.devices.len() > Evidence::MAX_DEVICES {
            return Err(VerifyError::TooManyDevices { got: evidence.devices.len(), limit: Evidence::MAX_DEVICES });
        }
        for device in &evidence.devices {
            for got in [device.report.len(), device.chain.len()] {
                if got > Evidence::MAX_DEVICE {
                    return Err(VerifyError::TooLong { got, limit: Evidence::MAX_DEVICE });
                }
            }
        }
        Ok(Self { evidence })
    }

    /// Which TEE it claims to be of.
    pub fn tee(&self) -> Tee {
        self.evidence.tee
    }

    /// The Evidence as it came: to ask which Endorsements it needs.
    pub fn as_claimed(&self) -> &Evidence {
        &self.evidence
    }

    pub(crate) fn into_inner(self) -> Evidence {
        self.evidence
    }
}

/// What genuine Evidence says of its TEE. A plain value: only inside a proof type does it mean anything.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Claims {
    /// Which TEE made the Evidence.
    pub tee: Tee,
    /// What was started: the guest, for the software TEE the pod agent.
    pub measurement: Measurement,
    /// The digest of the initdata, as the TEE's host-data field has it.
    pub identity: Identity,
    /// Which machine: the SHA-256 of the vendor's id of it, or zero where the machine hides it; for the software TEE the
    /// SHA-256 of the engine's root key.
    pub chip_id: Digest,
    /// Everything else that this kind of TEE says.
    pub detail: Detail,
    /// The devices that it vouches for.
    pub devices: Vec<nvidia::Claims>,
}

/// What each kind of TEE says beyond [`Claims`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing.
    Software,
    /// A report of SEV-SNP.
    Snp(Box<snp::Claims>),
    /// A quote of a TDX guest.
    Tdx(Box<tdx::Claims>),
    /// A quote of an SGX enclave.
    Sgx(Box<sgx::Claims>),
}

/// Genuine Evidence, bound to what the verifying side demanded. The only value that [`appraise`](crate::appraise) takes.
///
/// It shows no identity: before the appraisal anybody who can make a key pair can make Evidence that is genuine in
/// this sense.
#[derive(Debug)]
pub struct VerifiedEvidence {
    pub(crate) claims: Claims,
    pub(crate) digest: Digest,
    pub(crate) verified_at: UnixTime,
}

impl VerifiedEvidence {
    /// Which TEE made it.
    pub fn tee(&self) -> Tee {
        self.claims.tee
    }

    /// The digest under which the log names the Evidence.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The outcome of an appraisal: Evidence that is genuine, bound and within the reference values.
#[derive(Debug)]
pub struct AttestationResult {
    pub(crate) claims: Claims,
    pub(crate) digest: Digest,
    pub(crate) vector: TrustVector,
    pub(crate) device_vector: Option<TrustVector>,
    pub(crate) platform: Option<String>,
}

impl AttestationResult {
    /// The identity of the pod: the digest of its initdata.
    pub fn identity(&self) -> Identity {
        self.claims.identity
    }

    /// The result, if it is that of one expected pod: for a relying party that knows whom it wants to talk to.
    pub fn require_identity(self, expected: Identity) -> Result<Self, AppraiseError> {
        if self.claims.identity == expected {
            Ok(self)
        } else {
            Err(AppraiseError::OtherIdentity { reported: self.claims.identity, expected })
        }
    }

    /// Which TEE made the Evidence.
    pub fn tee(&self) -> Tee {
        self.claims.tee
    }

    /// The measurement that was found among the reference values.
    pub fn measurement(&self) -> Measurement {
        self.claims.measurement
    }

    /// The platform whose entry of the reference values accepted the Evidence; none for the software TEE.
    pub fn platform(&self) -> Option<&str> {
        self.platform.as_deref()
    }

    /// The devices that the TEE vouches for; each of them was accepted too.
    pub fn devices(&self) -> &[nvidia::Claims] {
        &self.claims.devices
    }

    /// Everything that the TEE says of itself.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The machine.
    pub fn chip_id(&self) -> Digest {
        self.claims.chip_id
    }

    /// The digest under which the log names the Evidence this rests on.
    pub fn evidence_digest(&self) -> Digest {
        self.digest
    }

    /// Whether this proves nothing about hardware. Every output that rests on it must say INSECURE.
    pub fn is_insecure(&self) -> bool {
        self.claims.tee.is_insecure()
    }

    /// The AR4SI trustworthiness vector.
    pub fn trust_vector(&self) -> &TrustVector {
        &self.vector
    }

    /// The result as EAR claims. `issued_at`, in seconds since 1970, comes from the caller, who has the clock.
    pub fn ear(&self, issued_at: u64) -> Ear {
        Ear::new(self, issued_at)
    }
}
