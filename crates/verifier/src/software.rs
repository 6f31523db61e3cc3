//! The software TEE of the local engine. INSECURE: its root key lies in a file of the machine it vouches for.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use protocol::manifest::ReferenceValues;
use protocol::software::SoftwareReport;
use protocol::{Digest, Identity, ReportData, Tee};

use crate::ear::{TrustClaim, TrustVector};
use crate::{AppraiseError, Claims, Detail, NotGenuine, VerifyError};

/// Checks signature, chip id and binding of a report.
pub(crate) fn verify(body: &[u8], expected: &ReportData) -> Result<Claims, VerifyError> {
    let report = SoftwareReport::parse(body).map_err(VerifyError::Malformed)?;
    let root = Digest::of(&report.root);
    UnparsedPublicKey::new(&ED25519, &report.root)
        .verify(&report.signed_bytes(), &report.signature)
        .map_err(|_| VerifyError::NotGenuine(NotGenuine::Signature { root }))?;
    if report.chip_id != root {
        return Err(VerifyError::NotGenuine(NotGenuine::ChipId { reported: report.chip_id, expected: root }));
    }
    if report.report_data != *expected {
        return Err(VerifyError::Unbound { expected: Box::new(*expected), got: Box::new(report.report_data) });
    }
    Ok(Claims {
        tee: Tee::Software,
        measurement: report.measurement,
        identity: Identity(report.host_data),
        chip_id: root,
        detail: Detail::Software,
        devices: Vec::new(),
    })
}

/// Compares root and measurement with the reference values.
pub(crate) fn appraise(claims: &Claims, values: &ReferenceValues) -> Result<TrustVector, AppraiseError> {
    // Promise P8 once more, for reference values that nobody validated.
    let Some(accepted) = values.software.as_ref().filter(|_| !values.mixes_software_and_hardware()) else {
        return Err(AppraiseError::SoftwareNotAccepted);
    };
    // The chip id was found to be the digest of the signing root.
    if claims.chip_id != accepted.root {
        return Err(AppraiseError::OtherRoot { reported: claims.chip_id, accepted: accepted.root });
    }
    if !accepted.measurements.contains(&claims.measurement) {
        return Err(AppraiseError::OtherMeasurement {
            reported: claims.measurement,
            accepted: accepted.measurements.clone(),
        });
    }
    Ok(TrustVector {
        instance_identity: TrustClaim::TRUSTWORTHY_INSTANCE,
        executables: TrustClaim::APPROVED_BOOT,
        runtime_opaque: TrustClaim::ISOLATED_MEMORY,
        ..TrustVector::default()
    })
}

/// The host data of an unverified report.
pub(crate) fn claimed_identity(body: &[u8]) -> Result<Identity, VerifyError> {
    SoftwareReport::parse(body).map(|report| Identity(report.host_data)).map_err(VerifyError::Malformed)
}
