//! Documents shaped as the vendors' are, for tests: signed by nobody who matters.

#![expect(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::Digest;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// An authority with one certificate that it issued.
pub(crate) struct Authority {
    pub(crate) root: Certificate,
    pub(crate) leaf: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Root and leaf are valid from 2026-01-01 to 2026-12-31.
    pub(crate) fn new(name: &str) -> Self {
        let validity = |params: &mut CertificateParams| {
            (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 12, 31));
        };
        let key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        root.distinguished_name.push(rcgen::DnType::CommonName, name);
        validity(&mut root);
        let certificate = root.self_signed(&key).unwrap();
        let issuer = Issuer::new(root, key);
        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        // The first bit is set, so DER has a zero in front.
        leaf.serial_number = Some(SerialNumber::from_slice(&[0x9c, 1, 2, 3, 4, 5, 6, 7]));
        validity(&mut leaf);
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        Self { root: certificate, leaf, issuer }
    }

    /// Leaf and root, PEM.
    pub(crate) fn chain(&self) -> String {
        format!("{}{}", self.leaf.pem(), self.root.pem())
    }

    /// The chain as Intel has it in a header.
    pub(crate) fn header(&self) -> String {
        let escape = |c: char| match c {
            c if c.is_ascii_alphanumeric() => c.to_string(),
            c => format!("%{:02X}", u32::from(c)),
        };
        self.chain().chars().map(escape).collect()
    }

    /// An empty revocation list, DER, of this month of 2026 and good until the next.
    pub(crate) fn crl(&self, month: u8) -> Vec<u8> {
        self.crl_of(2026, month, &[])
    }

    /// A revocation list of this month that has these serial numbers.
    pub(crate) fn crl_of(&self, year: i32, month: u8, serials: &[u64]) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 2),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(year, month, 1),
            next_update: date_time_ymd(year, month + 1, 1),
            crl_number: SerialNumber::from(u64::from(month)),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

/// TCB info as Intel's service sends it, issued in this month of 2026.
pub(crate) fn tcb_info(id: &str, fmspc: &str, month: u8) -> String {
    let next = month + 1;
    format!(
        r#"{{"tcbInfo":{{"id":"{id}","version":3,"issueDate":"2026-{month:02}-01T00:00:00Z","nextUpdate":"2026-{next:02}-01T00:00:00Z","fmspc":"{fmspc}","tcbEvaluationDataNumber":17,"tcbLevels":[]}},"signature":"00"}}"#
    )
}

/// A QE identity, likewise.
pub(crate) fn qe_identity(id: &str) -> String {
    format!(
        r#"{{"enclaveIdentity":{{"id":"{id}","version":2,"issueDate":"2026-10-01T00:00:00Z","nextUpdate":"2026-12-01T00:00:00Z"}},"signature":"00"}}"#
    )
}

/// A manifest whose signer has this certificate.
pub(crate) fn rim(signer: &Certificate) -> String {
    let signer = STANDARD.encode(signer.der());
    format!(
        "<SoftwareIdentity><ds:Signature><ds:X509Certificate>\n{signer}\n</ds:X509Certificate></ds:Signature></SoftwareIdentity>"
    )
}

/// The answer of NVIDIA's service that holds a manifest.
pub(crate) fn rim_answer(id: &str, rim: &str) -> String {
    let digest = Digest::of(rim.as_bytes());
    let rim = STANDARD.encode(rim);
    format!(r#"{{"id":"{id}","rim":"{rim}","sha256":"{digest}","last_updated":"2026-10-01","rim_format":"TCG_RIM"}}"#)
}

/// An OCSP response without signature, of one answer with these dates.
pub(crate) fn ocsp(this_update: &str, next_update: Option<&str>) -> Vec<u8> {
    ocsp_of(&[0x80, 0], this_update, next_update)
}

/// One that says "revoked".
pub(crate) fn ocsp_revoked(this_update: &str, next_update: Option<&str>) -> Vec<u8> {
    ocsp_of(&tlv(0xa1, &[&tlv(0x18, &[this_update.as_bytes()])]), this_update, next_update)
}

fn ocsp_of(status: &[u8], this_update: &str, next_update: Option<&str>) -> Vec<u8> {
    let time = |text: &str| tlv(0x18, &[text.as_bytes()]);
    let next_update = next_update.map_or_else(Vec::new, |text| tlv(0xa0, &[&time(text)]));
    let single = tlv(0x30, &[&tlv(0x30, &[]), status, &time(this_update), &next_update]);
    let data = tlv(0x30, &[&tlv(0xa2, &[&tlv(0x04, &[b"key"])]), &time(this_update), &tlv(0x30, &[&single])]);
    let basic = tlv(0x30, &[&data, &tlv(0x30, &[]), &tlv(0x03, &[&[0]])]);
    let bytes = tlv(0x30, &[&tlv(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]), &tlv(0x04, &[&basic])]);
    tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&bytes])])
}

/// DER of at most 65,535 bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, short @ 0..0x80] => out.push(short),
        [0, long] => out.extend([0x81, long]),
        long => out.extend([&[0x82][..], &long].concat()),
    }
    [out, content].concat()
}
