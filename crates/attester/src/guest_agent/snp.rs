//! SEV-SNP Evidence of the guest components: the report taken apart into fields, as their library serialises it (crate
//! `sev`, versions 6 and 7), put together again to the bytes that the firmware signed.
//!
//! Nothing is lost as long as reserved fields are zero, which every firmware up to report version 5 leaves them. A later
//! version would come without the bytes that its signature covers, so it is refused here.

use serde::Deserialize;
use serde_json::Value;

use crate::certificates;

/// AMD 56860, ATTESTATION_REPORT.
const REPORT: usize = 0x4a0;
/// Where the signature stands.
const SIGNATURE: usize = 0x2a0;
/// Report versions whose fields the shape has.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;

#[derive(Deserialize)]
struct Answer {
    attestation_report: Report,
    cert_chain: Option<Vec<Certificate>>,
}

#[derive(Deserialize)]
struct Report {
    version: u32,
    guest_svn: u32,
    policy: u64,
    family_id: Bytes<16>,
    image_id: Bytes<16>,
    vmpl: u32,
    sig_algo: u32,
    current_tcb: Tcb,
    plat_info: u64,
    key_info: u32,
    report_data: Bytes<64>,
    measurement: Bytes<48>,
    host_data: Bytes<32>,
    id_key_digest: Bytes<48>,
    author_key_digest: Bytes<48>,
    report_id: Bytes<32>,
    report_id_ma: Bytes<32>,
    reported_tcb: Tcb,
    cpuid_fam_id: Option<u8>,
    cpuid_mod_id: Option<u8>,
    cpuid_step: Option<u8>,
    chip_id: Bytes<64>,
    committed_tcb: Tcb,
    current: Version,
    committed: Version,
    launch_tcb: Tcb,
    launch_mit_vector: Option<u64>,
    current_mit_vector: Option<u64>,
    signature: Signature,
}

/// An array of numbers of known length.
#[derive(Deserialize)]
#[serde(try_from = "Vec<u8>")]
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> TryFrom<Vec<u8>> for Bytes<N> {
    type Error = String;

    fn try_from(bytes: Vec<u8>) -> Result<Self, String> {
        let got = bytes.len();
        bytes.try_into().map(Self).map_err(|_| format!("{got} bytes, not {N}"))
    }
}

/// TCB_VERSION: Turin and later have a fifth part, and another order.
#[derive(Deserialize)]
struct Tcb {
    fmc: Option<u8>,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

impl Tcb {
    fn bytes(&self) -> [u8; 8] {
        let Self { fmc, bootloader, tee, snp, microcode } = *self;
        match fmc {
            Some(fmc) => [fmc, bootloader, tee, snp, 0, 0, 0, microcode],
            None => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
        }
    }
}

#[derive(Deserialize)]
struct Version {
    major: u8,
    minor: u8,
    build: u8,
}

impl Version {
    fn bytes(&self) -> [u8; 4] {
        [self.build, self.minor, self.major, 0]
    }
}

#[derive(Deserialize)]
struct Signature {
    r: Bytes<72>,
    s: Bytes<72>,
}

#[derive(Deserialize)]
struct Certificate {
    cert_type: Kind,
    data: Vec<u8>,
}

#[derive(Deserialize)]
enum Kind {
    Empty,
    #[serde(rename = "ARK")]
    Ark,
    #[serde(rename = "ASK")]
    Ask,
    #[serde(rename = "VCEK")]
    Vcek,
    #[serde(rename = "VLEK")]
    Vlek,
    #[serde(rename = "CRL")]
    Crl,
    /// A provider's own, by its GUID. Nobody here would read it.
    #[serde(rename = "OTHER")]
    Other(#[expect(dead_code, reason = "a shape to read past")] String),
}

/// Report and certificate table, or why there are none.
pub(super) fn body(answer: Value) -> Result<Vec<u8>, String> {
    let Answer { attestation_report: report, cert_chain } =
        serde_json::from_value(answer).map_err(|error| format!("attestation_report: {error}"))?;
    if !VERSIONS.contains(&report.version) {
        return Err(format!(
            "attestation_report: version {} is not one of {} to {}",
            report.version,
            VERSIONS.start(),
            VERSIONS.end()
        ));
    }
    let mut body = report.bytes();
    let mut documents = Vec::new();
    for Certificate { cert_type, data } in cert_chain.unwrap_or_default() {
        let guid = match cert_type {
            Kind::Vcek => certificates::VCEK,
            Kind::Vlek => certificates::VLEK,
            Kind::Ask => certificates::ASK,
            Kind::Ark => certificates::ARK,
            Kind::Crl => certificates::CRL,
            Kind::Empty | Kind::Other(_) => continue,
        };
        documents.push((guid, data));
    }
    let table = certificates::table(&documents).ok_or("cert_chain: too long")?;
    body.extend(table);
    Ok(body)
}

impl Report {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REPORT);
        out.extend(self.version.to_le_bytes());
        out.extend(self.guest_svn.to_le_bytes());
        out.extend(self.policy.to_le_bytes());
        out.extend(self.family_id.0);
        out.extend(self.image_id.0);
        out.extend(self.vmpl.to_le_bytes());
        out.extend(self.sig_algo.to_le_bytes());
        out.extend(self.current_tcb.bytes());
        out.extend(self.plat_info.to_le_bytes());
        out.extend(self.key_info.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.report_data.0);
        out.extend(self.measurement.0);
        out.extend(self.host_data.0);
        out.extend(self.id_key_digest.0);
        out.extend(self.author_key_digest.0);
        out.extend(self.report_id.0);
        out.extend(self.report_id_ma.0);
        out.extend(self.reported_tcb.bytes());
        // Version 2 has no processor, and its bytes are reserved.
        out.extend([self.cpuid_fam_id, self.cpuid_mod_id, self.cpuid_step].map(Option::unwrap_or_default));
        out.extend([0; 21]);
        out.extend(self.chip_id.0);
        out.extend(self.committed_tcb.bytes());
        out.extend(self.current.bytes());
        out.extend(self.committed.bytes());
        out.extend(self.launch_tcb.bytes());
        out.extend(self.launch_mit_vector.unwrap_or_default().to_le_bytes());
        out.extend(self.current_mit_vector.unwrap_or_default().to_le_bytes());
        out.resize(SIGNATURE, 0);
        out.extend(self.signature.r.0);
        out.extend(self.signature.s.0);
        out.resize(REPORT, 0);
        out
    }
}
