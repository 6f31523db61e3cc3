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

/// What kind of device made device evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A GPU.
    Gpu,
    /// A switch between GPUs.
    Switch,
}

impl DeviceKind {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Switch => "switch",
        }
    }
}

/// What one device says of itself. The CPU's report data covers the set of all of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEvidence {
    /// Which kind it claims to be.
    pub kind: DeviceKind,
    /// SPDM request and response, as the device signed them.
    #[serde(with = "crate::secret::base64_bytes")]
    pub report: Vec<u8>,
    /// Its certificates, leaf first, PEM.
    #[serde(with = "crate::secret::base64_bytes")]
    pub chain: Vec<u8>,
}

/// Evidence as received: claims of a peer, not yet verified. `verifier::Verifier::verify` is the only way on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Which TEE made it.
    pub tee: Tee,
    /// The TEE's own format: for `software` see [`crate::software`]; for `snp` the report, with the certificate table of the
    /// extended report behind it where there is one; for `tdx` and `sgx` the quote.
    #[serde(with = "crate::secret::base64_bytes")]
    pub body: Vec<u8>,
    /// What the devices of the TEE say, in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceEvidence>,
}

impl Evidence {
    /// LIMIT: a TDX quote with its certification data is under 8 KiB, an SNP report with its certificate table under
    /// 20 KiB. Evidence beyond this is refused before it is parsed.
    pub const MAX_BODY: usize = 64 * 1024;
    /// LIMIT: the largest machine of the design has 8 GPUs and 4 switches.
    pub const MAX_DEVICES: usize = 16;
    /// LIMIT: a GPU's report has 4 KiB, its chain of five certificates 5 KiB.
    pub const MAX_DEVICE: usize = 16 * 1024;

    /// Evidence of a TEE without devices.
    pub fn new(tee: Tee, body: Vec<u8>) -> Self {
        Self { tee, body, devices: Vec::new() }
    }

    /// The digest under which a release decision names this Evidence in the log.
    pub fn digest(&self) -> Digest {
        match self.devices_digest() {
            None => Digest::of_fields(&[self.tee.name().as_bytes(), &self.body]),
            Some(devices) => Digest::of_fields(&[self.tee.name().as_bytes(), &self.body, devices.as_bytes()]),
        }
    }

    /// What the report data covers of the devices: every device's kind, report and chain, in the order of their digests, so
    /// that the set counts and not how it is listed. `None` without devices.
    pub fn devices_digest(&self) -> Option<Digest> {
        if self.devices.is_empty() {
            return None;
        }
        let mut each: Vec<Digest> = self
            .devices
            .iter()
            .map(|device| Digest::of_fields(&[device.kind.name().as_bytes(), &device.report, &device.chain]))
            .collect();
        each.sort_unstable();
        let fields: Vec<&[u8]> =
            std::iter::once(DEVICES).chain(each.iter().map(|digest| digest.as_bytes().as_slice())).collect();
        Some(Digest::of_fields(&fields))
    }
}

/// The first hashed field of a set of devices.
const DEVICES: &[u8] = b"casemate devices 1";

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: DeviceKind, report: &[u8]) -> DeviceEvidence {
        DeviceEvidence { kind, report: report.to_vec(), chain: b"chain".to_vec() }
    }

    #[test]
    fn the_set_of_devices_counts_and_not_its_order() {
        let (a, b) = (device(DeviceKind::Gpu, b"a"), device(DeviceKind::Switch, b"b"));
        let digest = |devices: &[&DeviceEvidence]| {
            let devices = devices.iter().map(|device| (*device).clone()).collect();
            Evidence { tee: Tee::Snp, body: vec![1], devices }.devices_digest()
        };
        assert_eq!(digest(&[&a, &b]), digest(&[&b, &a]));
        let base = digest(&[&a, &b]);
        let other_chain = DeviceEvidence { chain: b"other".to_vec(), ..a.clone() };
        for changed in [
            digest(&[&a]),
            digest(&[&a, &b, &b]),
            digest(&[&a, &a]),
            digest(&[&other_chain, &b]),
            digest(&[&device(DeviceKind::Switch, b"a"), &b]),
            None,
        ] {
            assert_ne!(changed, base);
        }
        assert_eq!(digest(&[]), None);
    }

    #[test]
    fn the_log_names_evidence_with_its_devices() {
        let bare = Evidence::new(Tee::Snp, vec![1]);
        let with = Evidence { devices: vec![device(DeviceKind::Gpu, b"a")], ..bare.clone() };
        assert_ne!(bare.digest(), with.digest());
    }

    #[test]
    fn evidence_without_devices_reads_as_before() {
        let text = r#"{"tee":"snp","body":"AQ=="}"#;
        let evidence: Evidence = serde_json::from_str(text).unwrap();
        assert_eq!(evidence, Evidence::new(Tee::Snp, vec![1]));
        assert_eq!(serde_json::to_string(&evidence).unwrap(), text);
    }
}
