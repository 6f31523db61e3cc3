//! Attestation Results as others read them: the AR4SI trustworthiness vector and the EAR claims-set.
//!
//! Pinned: `draft-ietf-rats-ear-04` (profile `tag:ietf.org,2026:rats/ear#04`) and
//! `draft-ietf-rats-ar4si-05`, section 2.3, for the values. Both are drafts: compare them again before this form is frozen.
//!
//! # What software Evidence gets
//!
//! | claim | value | why |
//! |---|---|---|
//! | instance-identity | 2, affirming | the root is the one that the reference values name |
//! | executables | 3, affirming | the pod agent that was started is among the reference values |
//! | runtime-opaque | 32, warning | pods are kept apart from each other; the machine's operator sees into all of them |
//! | hardware, all others | none | there is no hardware that could be judged, and no claim about it is made up |
//!
//! So its tier is [`TrustTier::Warning`], never affirming, and the claims-set says `casemate.dev/insecure`. It is not
//! contraindicated, because the owners have named that very root; where they have not, the appraisal ends in an error
//! and there is no result at all. A reader who wants hardware asks for an affirming `hardware` claim and finds none.
//!
//! # What hardware gets
//!
//! | claim | value | why |
//! |---|---|---|
//! | instance-identity | 2, affirming | a machine, or any machine, that the reference values name |
//! | executables | 3, affirming | measured from its start, and the measurement is among the reference values |
//! | hardware | 2 or 32 | genuine at a TCB that the policy accepts; a warning where it accepts less than up to date |
//! | runtime-opaque | 2, affirming | memory is out of the operator's reach |
//!
//! Devices have a submodule each, with a vector of their own: what they say is signed by their own keys.
//!
//! `configuration` is none for every TEE: which initdata a pod may have is for the manifest to say, not for the Verifier.

use std::collections::BTreeMap;

use protocol::digest::Measurement;
use protocol::{Digest, Identity};
use serde::{Deserialize, Serialize};

use crate::AttestationResult;

/// The EAT profile of the pinned draft.
pub const PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";

/// The four tiers of AR4SI. The order is that of distrust, so that the tier of a whole is the maximum of the tiers of its
/// parts; `None`, which is no statement, comes first and changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustTier {
    /// No claim is made.
    #[default]
    None,
    /// Fine.
    Affirming,
    /// Known weaknesses.
    Warning,
    /// Not to be trusted in this respect.
    Contraindicated,
}

impl TrustTier {
    /// The name in EAR and in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Affirming => "affirming",
            Self::Warning => "warning",
            Self::Contraindicated => "contraindicated",
        }
    }
}

/// One claim's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustClaim(pub i8);

impl TrustClaim {
    /// No claim.
    pub const NONE: Self = Self(0);
    /// instance-identity 2: the instance is recognised and not known to be compromised.
    pub const TRUSTWORTHY_INSTANCE: Self = Self(2);
    /// executables 3: only approved executables were loaded during boot.
    pub const APPROVED_BOOT: Self = Self(3);
    /// runtime-opaque 32: out of reach of other guests of the machine, in reach of its operator.
    pub const ISOLATED_MEMORY: Self = Self(32);

    /// The tier that the value lies in (AR4SI, section 2.3.2).
    pub const fn tier(self) -> TrustTier {
        match self.0 {
            -1..=1 => TrustTier::None,
            -32..=-2 | 2..=31 => TrustTier::Affirming,
            -96..=-33 | 32..=95 => TrustTier::Warning,
            -128..=-97 | 96..=127 => TrustTier::Contraindicated,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    const fn is_none(&self) -> bool {
        self.0 == 0
    }
}

/// The AR4SI trustworthiness vector.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrustVector {
    /// Which instance this is.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub instance_identity: TrustClaim,
    /// How it is configured.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub configuration: TrustClaim,
    /// What it runs.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub executables: TrustClaim,
    /// What is in its file systems.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub file_system: TrustClaim,
    /// Whether its hardware is genuine.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub hardware: TrustClaim,
    /// Who can read its memory.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub runtime_opaque: TrustClaim,
    /// Who can read what it stores.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub storage_opaque: TrustClaim,
    /// Where its data comes from.
    #[serde(skip_serializing_if = "TrustClaim::is_none")]
    pub sourced_data: TrustClaim,
}

impl TrustVector {
    /// The claims with their names, in AR4SI's order.
    pub fn claims(&self) -> [(&'static str, TrustClaim); 8] {
        [
            ("instance-identity", self.instance_identity),
            ("configuration", self.configuration),
            ("executables", self.executables),
            ("file-system", self.file_system),
            ("hardware", self.hardware),
            ("runtime-opaque", self.runtime_opaque),
            ("storage-opaque", self.storage_opaque),
            ("sourced-data", self.sourced_data),
        ]
    }

    /// The tier of the whole: that of its worst claim.
    pub fn tier(&self) -> TrustTier {
        self.claims().into_iter().map(|(_, claim)| claim.tier()).max().unwrap_or_default()
    }
}

/// The EAR claims-set. It is not signed here: whoever hands it out signs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ear {
    /// [`PROFILE`].
    pub eat_profile: String,
    /// The tier of the worst submodule.
    pub ear_status: TrustTier,
    /// When the result was issued, seconds since 1970.
    pub iat: u64,
    /// Who appraised.
    pub ear_verifier_id: VerifierId,
    /// One appraisal for each Attester, by TEE.
    pub submods: BTreeMap<String, Appraisal>,
}

/// Who appraised.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerifierId {
    /// The maker of the Verifier.
    pub developer: String,
    /// Its release.
    pub build: String,
}

/// The appraisal of one Attester, with our claims under collision-resistant names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Appraisal {
    /// The tier of the vector's worst claim.
    pub ear_status: TrustTier,
    /// The vector.
    pub ear_trustworthiness_vector: TrustVector,
    /// Whether this proves nothing about hardware.
    #[serde(rename = "casemate.dev/insecure")]
    pub insecure: bool,
    /// The identity of the pod; a device has none.
    #[serde(rename = "casemate.dev/identity", skip_serializing_if = "Option::is_none", default)]
    pub identity: Option<Identity>,
    /// What was started; a device's measurements are many.
    #[serde(rename = "casemate.dev/measurement", skip_serializing_if = "Option::is_none", default)]
    pub measurement: Option<Measurement>,
    /// The machine.
    #[serde(rename = "casemate.dev/chip-id", skip_serializing_if = "Option::is_none", default)]
    pub chip_id: Option<Digest>,
    /// The device, by NVIDIA's identity of it.
    #[serde(rename = "casemate.dev/device", skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// The Evidence that this rests on, as the log names it.
    #[serde(rename = "casemate.dev/evidence")]
    pub evidence: Digest,
}

impl Ear {
    pub(crate) fn new(result: &AttestationResult, issued_at: u64) -> Self {
        let tee = Appraisal {
            ear_status: result.trust_vector().tier(),
            ear_trustworthiness_vector: result.trust_vector().clone(),
            insecure: result.is_insecure(),
            identity: Some(result.identity()),
            measurement: Some(result.measurement()),
            chip_id: Some(result.chip_id()),
            device: None,
            evidence: result.evidence_digest(),
        };
        let mut submods = BTreeMap::from([(result.tee().name().to_owned(), tee)]);
        for (index, device) in result.devices().iter().enumerate() {
            let vector = result.device_vector.clone().unwrap_or_default();
            let appraisal = Appraisal {
                ear_status: vector.tier(),
                ear_trustworthiness_vector: vector,
                insecure: false,
                identity: None,
                measurement: None,
                chip_id: None,
                device: Some(device.label()),
                evidence: result.evidence_digest(),
            };
            submods.insert(format!("{}-{index}", device.report.kind.name()), appraisal);
        }
        Self {
            eat_profile: PROFILE.to_owned(),
            ear_status: submods.values().map(|appraisal| appraisal.ear_status).max().unwrap_or_default(),
            iat: issued_at,
            ear_verifier_id: VerifierId {
                developer: "https://casemate.dev".to_owned(),
                build: concat!("casemate ", env!("CARGO_PKG_VERSION")).to_owned(),
            },
            submods,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_the_tier_of_its_range() {
        for value in i8::MIN..=i8::MAX {
            let expected = match value.unsigned_abs() {
                0 | 1 => TrustTier::None,
                // The negative ranges of AR4SI reach one further than the positive ones.
                32 if value < 0 => TrustTier::Affirming,
                96 if value < 0 => TrustTier::Warning,
                2..=31 => TrustTier::Affirming,
                32..=95 => TrustTier::Warning,
                _ => TrustTier::Contraindicated,
            };
            assert_eq!(TrustClaim(value).tier(), expected, "{value}");
        }
    }

    #[test]
    fn a_worse_claim_never_improves_the_whole() {
        let values = [0, 2, 32, 96, -2, -33, -128];
        for before in values {
            for after in values {
                let vector = |value| TrustVector {
                    executables: TrustClaim(2),
                    hardware: TrustClaim(value),
                    ..TrustVector::default()
                };
                if TrustClaim(after).tier() >= TrustClaim(before).tier() {
                    assert!(vector(after).tier() >= vector(before).tier(), "{before} to {after}");
                }
            }
        }
    }

    #[test]
    fn an_empty_vector_affirms_nothing() {
        assert_eq!(TrustVector::default().tier(), TrustTier::None);
    }

    #[test]
    fn an_unknown_claim_in_a_vector_is_refused() {
        assert!(serde_json::from_str::<TrustVector>(r#"{"hardwear": 2}"#).is_err());
    }
}
