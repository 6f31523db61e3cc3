//! The certificate of a key that signs reports: what AMD says of the chip or the provider, and of the TCB.
//!
//! AMD, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification" (57230), chapter 3. AMD does not
//! mark these extensions critical; a certificate without them is no key certificate here.

use protocol::digest::Hex;
use protocol::reference::snp::{SigningKey, has_fmc};
use protocol::reference::{AmdProduct, TcbVersion};

use super::error::{Difference, KeyCertificateError, tcb_differences};
use super::report::{Claims, MASKED, RawReport};
use super::tcb::show;
use crate::value::Value;
use crate::x509::{Certificate, PreparedKey};

/// AMD's arc, as every key certificate contains it: 1.3.6.1.4.1.3704 in DER.
pub(crate) const AMD_ARC: [u8; 7] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78];

/// OIDs of 57230, chapter 3, with AMD's names.
mod oid {
    type Named = (&'static str, &'static str);
    pub(super) const PRODUCT_NAME: Named = ("1.3.6.1.4.1.3704.1.2", "productName1");
    pub(super) const BOOTLOADER: Named = ("1.3.6.1.4.1.3704.1.3.1", "blSPL");
    pub(super) const TEE: Named = ("1.3.6.1.4.1.3704.1.3.2", "teeSPL");
    pub(super) const SNP: Named = ("1.3.6.1.4.1.3704.1.3.3", "snpSPL");
    pub(super) const MICROCODE: Named = ("1.3.6.1.4.1.3704.1.3.8", "ucodeSPL");
    pub(super) const FMC: Named = ("1.3.6.1.4.1.3704.1.3.9", "fmcSPL");
    pub(super) const HWID: Named = ("1.3.6.1.4.1.3704.1.4", "hwID");
    pub(super) const CSP_ID: Named = ("1.3.6.1.4.1.3704.1.5", "cspID");
    pub(super) const STRUCT_VERSION: Named = ("1.3.6.1.4.1.3704.1.1", "structVersion");
}

/// AMD's extensions, for path validation: this module reads them, so they may be critical.
pub(crate) const UNDERSTOOD: [&str; 9] = [
    oid::STRUCT_VERSION.0,
    oid::PRODUCT_NAME.0,
    oid::BOOTLOADER.0,
    oid::TEE.0,
    oid::SNP.0,
    oid::MICROCODE.0,
    oid::FMC.0,
    oid::HWID.0,
    oid::CSP_ID.0,
];

/// LIMIT: a provider's id is a domain name with a prefix; DNS names end at 253 characters.
const MAX_CSP_ID: usize = 256;

/// What the key belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// A chip: its VCEK.
    Chip(Hex<64>),
    /// A cloud provider: its VLEK.
    Provider(String),
}

/// A key certificate, read but not verified.
#[derive(Debug)]
pub(crate) struct KeyCertificate {
    pub(crate) certificate: Certificate,
    pub(crate) key: PreparedKey,
    pub(crate) product: AmdProduct,
    pub(crate) product_name: String,
    pub(crate) tcb: TcbVersion,
    pub(crate) holder: Holder,
}

impl KeyCertificate {
    pub(crate) fn read(certificate: Certificate) -> Result<Self, KeyCertificateError> {
        let curve = certificate.key().name();
        if curve != "P-384" {
            return Err(KeyCertificateError::Curve { got: curve });
        }
        let key = certificate.key().prepare_fixed().ok_or(KeyCertificateError::Curve { got: curve })?;
        let product_name = ia5_string(&certificate, oid::PRODUCT_NAME)?;
        // `Milan-B0` for a VCEK, `Milan` for a VLEK.
        let line = product_name.split('-').next().unwrap_or_default();
        let product = AmdProduct::ALL
            .into_iter()
            .find(|product| product.name() == line)
            .ok_or_else(|| KeyCertificateError::Product { name: product_name.chars().take(MAX_CSP_ID).collect() })?;
        let tcb = TcbVersion {
            fmc: if has_fmc(product) { Some(small_integer(&certificate, oid::FMC)?) } else { None },
            bootloader: small_integer(&certificate, oid::BOOTLOADER)?,
            tee: small_integer(&certificate, oid::TEE)?,
            snp: small_integer(&certificate, oid::SNP)?,
            microcode: small_integer(&certificate, oid::MICROCODE)?,
        };
        let kind = || KeyCertificateError::Kind { subject: certificate.subject().to_owned() };
        let has = |(oid, _): (&str, _)| certificate.extension(oid).is_some();
        let holder = match (certificate.subject(), has(oid::HWID), has(oid::CSP_ID)) {
            ("SEV-VCEK", true, false) => Holder::Chip(hardware_id(&certificate)?),
            ("SEV-VLEK", false, true) => Holder::Provider(ia5_string(&certificate, oid::CSP_ID)?),
            _ => return Err(kind()),
        };
        Ok(Self { certificate, key, product, product_name, tcb, holder })
    }

    pub(crate) fn kind(&self) -> SigningKey {
        match self.holder {
            Holder::Chip(_) => SigningKey::Vcek,
            Holder::Provider(_) => SigningKey::Vlek,
        }
    }

    /// Whether the key made the report's signature.
    pub(crate) fn signed(&self, report: &RawReport<'_>) -> bool {
        self.key.verify_fixed(report.signed, &report.signature.fixed)
    }

    /// What the certificate and the report say differently. Claims of a report without CPUID must have been read for
    /// this certificate's product.
    pub(crate) fn differences(&self, claims: &Claims) -> Vec<Difference> {
        let mut differences = Vec::new();
        let signer = claims.signer.key();
        if signer != Some(self.kind()) {
            differences.push(Difference {
                field: "signing_key",
                report: signer.map(SigningKey::name).into(),
                certificate: self.kind().name().into(),
            });
        }
        if let Some(product) = claims.product.filter(|product| *product != self.product) {
            differences.push(Difference {
                field: "product",
                report: product.name().into(),
                certificate: self.product.name().into(),
            });
        }
        if let Holder::Chip(chip) = self.holder
            && claims.chip_id != MASKED
            && claims.chip_id != chip
        {
            differences.push(Difference { field: "chip_id", report: claims.chip_id.into(), certificate: chip.into() });
        }
        differences.extend(tcb_differences(claims.reported_tcb, self.tcb));
        differences
    }
}

type Named = (&'static str, &'static str);

fn extension(certificate: &Certificate, (oid, name): Named) -> Result<&[u8], KeyCertificateError> {
    certificate.extension(oid).ok_or(KeyCertificateError::Missing { oid, name })
}

const TAG_INTEGER: u8 = 0x02;
const TAG_OCTET_STRING: u8 = 0x04;
const TAG_IA5_STRING: u8 = 0x16;

/// INTEGER from 0 to 255, in DER: one byte, or two of which the first is zero and the second has its highest bit set.
fn small_integer(certificate: &Certificate, named: Named) -> Result<u8, KeyCertificateError> {
    let (oid, name) = named;
    match *extension(certificate, named)? {
        [TAG_INTEGER, 1, value] if value < 0x80 => Ok(value),
        [TAG_INTEGER, 2, 0, value] if value >= 0x80 => Ok(value),
        _ => Err(KeyCertificateError::Unreadable { oid, name }),
    }
}

fn ia5_string(certificate: &Certificate, named: Named) -> Result<String, KeyCertificateError> {
    let (oid, name) = named;
    let unreadable = || KeyCertificateError::Unreadable { oid, name };
    // LIMIT: lengths up to 127 are one byte in DER, and every product and provider name is shorter.
    let [TAG_IA5_STRING, length, text @ ..] = extension(certificate, named)? else { return Err(unreadable()) };
    if usize::from(*length) != text.len() || *length >= 0x80 || !text.iter().all(u8::is_ascii_graphic) {
        return Err(unreadable());
    }
    String::from_utf8(text.to_vec()).map_err(|_| unreadable())
}

/// 64 bytes, on Turin 8 (57230, chapter 3: "hwID"). They stand in the extension as they are, in newer certificates
/// within an OCTET STRING.
fn hardware_id(certificate: &Certificate) -> Result<Hex<64>, KeyCertificateError> {
    let (oid, name) = oid::HWID;
    let bytes = extension(certificate, oid::HWID)?;
    let id = match bytes {
        [TAG_OCTET_STRING, 64 | 8, id @ ..] if matches!(bytes.len(), 66 | 10) => id,
        _ => bytes,
    };
    if !matches!(id.len(), 64 | 8) {
        return Err(KeyCertificateError::Unreadable { oid, name });
    }
    let mut chip = [0; 64];
    for (to, from) in chip.iter_mut().zip(id) {
        *to = *from;
    }
    Ok(Hex(chip))
}

/// What a certificate says of AMD's, if it is one of a chip's or a cloud's key: for whoever looks at a file.
pub(crate) fn facts(certificate: &Certificate) -> Vec<(&'static str, Value)> {
    let Ok(key) = KeyCertificate::read(certificate.clone()) else { return Vec::new() };
    let holder = match &key.holder {
        Holder::Chip(chip) => ("chip id", (*chip).into()),
        Holder::Provider(csp) => ("cloud provider", Value::peer_text(csp)),
    };
    vec![("product", Value::peer_text(&key.product_name)), ("tcb", show(key.tcb).into()), holder]
}
