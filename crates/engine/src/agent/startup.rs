//! The start-up check (design, section 6, "The guest must enforce it").
//!
//! A host can launch a pod with an approved identity in HOSTDATA and attach no initdata, or another one. What the
//! hardware reports would then be approved and what runs would not. So before it serves anything, the agent compares.

use protocol::initdata::{Initdata, InitdataError};
use protocol::{Digest, Identity};

/// Why a pod may not start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StartupError {
    /// The host attached none.
    #[error("initdata is absent")]
    Absent,
    /// It is not a document of ours.
    #[error("{0}")]
    Unreadable(#[from] InitdataError),
    /// It is another document than the one the TEE vouches for.
    #[error("initdata has the digest {initdata}, and HOSTDATA is {host_data}")]
    Differs {
        /// What the host attached.
        initdata: Identity,
        /// What the host said at launch, as the TEE reports it.
        host_data: Digest,
    },
}

/// Compares initdata with HOSTDATA from the pod's own report.
pub(crate) fn check(annotation: Option<&str>, host_data: &Digest) -> Result<Initdata, StartupError> {
    let initdata = Initdata::from_annotation(annotation.ok_or(StartupError::Absent)?)?;
    let identity = initdata.identity();
    if identity.0 == *host_data {
        Ok(initdata)
    } else {
        Err(StartupError::Differs { initdata: identity, host_data: *host_data })
    }
}

#[cfg(test)]
mod tests {
    use protocol::initdata::Settings;
    use protocol::manifest::{Quorum, ReferenceValues};
    use protocol::{DeploymentId, Role};

    use super::*;

    fn initdata(policy: &str) -> Initdata {
        let settings = Settings {
            version: 1,
            deployment_id: DeploymentId::from_bytes([1; 16]),
            role: Role::Workload,
            mesh: false,
            coordinator: None,
            open_ports: vec![],
            fs_group: None,
            owners: Quorum { threshold: 1, keys: vec![] },
            reference_values: ReferenceValues::default(),
            files: std::collections::BTreeMap::default(),
            ingress: vec![],
            egress: vec![],
        };
        Initdata::build(policy, &settings).unwrap()
    }

    #[test]
    fn initdata_that_fits_hostdata_passes() {
        let initdata = initdata("package agent_policy");
        assert_eq!(check(Some(&initdata.to_annotation()), &initdata.identity().0), Ok(initdata));
    }

    #[test]
    fn absent_initdata_is_refused() {
        assert_eq!(check(None, &Digest::ZERO), Err(StartupError::Absent));
    }

    #[test]
    fn other_initdata_under_an_approved_identity_is_refused() {
        let (approved, other) = (initdata("package agent_policy"), initdata("package agent_policy # allow all"));
        let error = check(Some(&other.to_annotation()), &approved.identity().0).unwrap_err();
        assert_eq!(error, StartupError::Differs { initdata: other.identity(), host_data: approved.identity().0 });
        assert!(error.to_string().contains("HOSTDATA"));
    }

    #[test]
    fn unreadable_initdata_is_refused_even_if_its_digest_fits() {
        for text in ["", "!", "aGVsbG8=", "H4sIAAAAAAAA"] {
            let error = check(Some(text), &Digest::of(text.as_bytes())).unwrap_err();
            assert!(matches!(error, StartupError::Unreadable(_)), "{text}");
        }
    }

    #[test]
    fn a_zero_hostdata_fits_no_document() {
        let initdata = initdata("");
        assert!(matches!(check(Some(&initdata.to_annotation()), &Digest::ZERO), Err(StartupError::Differs { .. })));
    }
}
