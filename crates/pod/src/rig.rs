//! What the tests of this crate share.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh::lease::BootInstant;
use protocol::api::{ReleasedSecret, Roots};
use protocol::digest::Measurement;
use protocol::initdata::Settings;
use protocol::manifest::{Quorum, ReferenceValues};
use protocol::{DeploymentId, Digest, Identity, Initdata, Role, Secret};

use crate::answer::Membership;
use crate::pins::{LogHead, Pins};

pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([7; 16]);
pub(crate) const MEASUREMENT: Measurement = Measurement::from_bytes([9; 48]);

/// Initdata of a workload, changed as a test needs it.
pub(crate) fn initdata(change: impl FnOnce(&mut Settings)) -> Initdata {
    let mut settings = Settings {
        version: 1,
        deployment_id: DEPLOYMENT,
        role: Role::Workload,
        mesh: true,
        coordinator: Some(Identity(Digest::of(b"coordinator"))),
        open_ports: vec![],
        fs_group: None,
        owners: Quorum { threshold: 1, keys: vec![] },
        reference_values: ReferenceValues::default(),
        files: BTreeMap::new(),
        ingress: vec![],
        egress: vec![],
    };
    change(&mut settings);
    Initdata::build("package agent_policy\n", &settings).unwrap()
}

/// A membership that nobody checked.
pub(crate) fn membership() -> Membership {
    let lease = Duration::from_mins(1);
    Membership {
        certificate_chain: "chain".into(),
        roots: Roots { root_ca: "root".into(), mesh_ca: "mesh".into(), log_key: "log".into() },
        lease,
        valid_until: BootInstant::now() + lease,
        callers: BTreeMap::from([(Identity(Digest::of(b"frontend")), "frontend".into())]),
        name: "inference".into(),
        secrets: vec![ReleasedSecret {
            name: "model-key".into(),
            version: 1,
            value: Secret::new(b"opensesame".to_vec()),
        }],
        pins: Pins {
            root_ca: "root".into(),
            log_key: "log".into(),
            generation: 1,
            transition: Digest::of(b"transition"),
            log: LogHead { origin: pki::log::origin(DEPLOYMENT), size: 2, root: Digest::of(b"root") },
        },
        insecure: true,
    }
}
