//! A software TEE in this process: it signs whatever a test wants signed, as a hostile host's would.

use std::sync::Arc;

use attester::{AttestError, Attester, BoxFuture};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use protocol::digest::Measurement;
use protocol::manifest::{ReferenceValues, SoftwareReferenceValues};
use protocol::software::SoftwareReport;
use protocol::{Digest, Evidence, Identity, ReportData, Tee};

/// Signs a report with `root`. Nothing is checked: a test may ask for any measurement and any host data.
pub fn sign_report(
    root: &Ed25519KeyPair,
    measurement: Measurement,
    host_data: Digest,
    report_data: ReportData,
    launched_at: u64,
) -> SoftwareReport {
    let key: [u8; 32] = root.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
    let report = SoftwareReport {
        measurement,
        host_data,
        report_data,
        launched_at,
        root: key,
        chip_id: Digest::of(&key),
        signature: [0; 64],
    };
    seal(root, report)
}

/// Signs a report as it is, wrong fields and all.
pub fn seal(root: &Ed25519KeyPair, mut report: SoftwareReport) -> SoftwareReport {
    report.signature =
        root.sign(&report.signed_bytes()).as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
    report
}

/// The launch time that the rig's reports carry, so that they are reproducible.
pub const LAUNCHED_AT: u64 = 1_800_000_000;

/// A software TEE with its root key.
#[derive(Debug)]
pub struct SoftwareTee {
    root: Ed25519KeyPair,
}

impl SoftwareTee {
    /// The software TEE of a seed: equal seeds give equal roots.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { root: Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are an Ed25519 seed") }
    }

    /// A software TEE with a random root.
    pub fn generate() -> Self {
        Self { root: Ed25519KeyPair::generate().expect("the system has randomness") }
    }

    /// The root key.
    pub fn root(&self) -> &Ed25519KeyPair {
        &self.root
    }

    /// SHA-256 of the root key, as manifests name it.
    pub fn root_digest(&self) -> Digest {
        Digest::of(self.root.public_key().as_ref())
    }

    /// Reference values that accept this root and these measurements.
    pub fn reference_values(&self, measurements: &[Measurement]) -> ReferenceValues {
        let software = SoftwareReferenceValues { root: self.root_digest(), measurements: measurements.to_vec() };
        ReferenceValues::software(software)
    }

    /// A signed report.
    pub fn report(&self, measurement: Measurement, identity: Identity, report_data: &ReportData) -> SoftwareReport {
        sign_report(&self.root, measurement, identity.0, *report_data, LAUNCHED_AT)
    }

    /// Evidence.
    pub fn evidence(&self, measurement: Measurement, identity: Identity, report_data: &ReportData) -> Evidence {
        Evidence::new(Tee::Software, self.report(measurement, identity, report_data).encode())
    }

    /// An Attester of a pod in this TEE.
    pub fn attester(self: &Arc<Self>, measurement: Measurement, identity: Identity) -> Arc<SoftwareAttester> {
        Arc::new(SoftwareAttester { tee: Arc::clone(self), measurement, identity })
    }
}

/// A pod's Attester, in this process.
#[derive(Debug)]
pub struct SoftwareAttester {
    tee: Arc<SoftwareTee>,
    measurement: Measurement,
    identity: Identity,
}

impl Attester for SoftwareAttester {
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move { Ok(self.tee.evidence(self.measurement, self.identity, report_data)) })
    }
}
