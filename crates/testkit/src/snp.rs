//! An AMD of our own: roots, authorities and keys of every product, which sign whatever report a test asks for.

use std::sync::OnceLock;

use protocol::reference::snp::{SigningKey, has_fmc};
use protocol::reference::{AmdProduct, TcbVersion};

use crate::der::{
    COMMON_NAME, Certificate, Crl, Extension, Key, KeyKind, Name, ia5_string, integer, printable_string, utf8_string,
};

/// One product line: a root, the authority for VCEKs and the one for VLEKs, all under test keys.
#[derive(Debug)]
pub struct Line {
    /// The product.
    pub product: AmdProduct,
    /// The root's key.
    pub ark_key: &'static Key,
    /// The key of the authority for VCEKs.
    pub ask_key: &'static Key,
    /// The key of the authority for VLEKs.
    pub asvk_key: &'static Key,
    /// The root's certificate, DER.
    pub ark: Vec<u8>,
    /// The certificate of the authority for VCEKs, DER.
    pub ask: Vec<u8>,
    /// The certificate of the authority for VLEKs, DER.
    pub asvk: Vec<u8>,
}

/// A name as AMD writes them.
pub fn name(common: &str) -> Name {
    Name(vec![
        ("2.5.4.11", utf8_string("Engineering")),
        ("2.5.4.6", printable_string("US")),
        ("2.5.4.7", utf8_string("Santa Clara")),
        ("2.5.4.8", utf8_string("CA")),
        ("2.5.4.10", utf8_string("Advanced Micro Devices")),
        (COMMON_NAME, utf8_string(common)),
    ])
}

/// The serial number of the authority for VCEKs, as revocation lists name it.
pub const ASK_SERIAL: u64 = 0x1_0001;
/// The serial number of the authority for VLEKs.
pub const ASVK_SERIAL: u64 = 0x1_0101;

impl Line {
    /// The line of a product, made once in a process.
    pub fn of(product: AmdProduct) -> &'static Self {
        static LINES: [OnceLock<Line>; 3] = [const { OnceLock::new() }; 3];
        let index = match product {
            AmdProduct::Milan => 0,
            AmdProduct::Genoa => 1,
            AmdProduct::Turin => 2,
        };
        LINES[index].get_or_init(|| {
            let [ark_key, ask_key, asvk_key] = [0, 1, 2].map(|key| Key::rsa(index * 3 + key));
            let root = name(&format!("ARK-{product}"));
            let authority = |common: String, serial, key: &Key| {
                let mut template = Certificate::new(name(&common), root.clone()).serial(serial);
                template.extensions = vec![Extension::ca(Some(0)), Extension::key_usage(&[5])];
                template.sign(key, ark_key)
            };
            Self {
                product,
                ark_key,
                ask_key,
                asvk_key,
                ark: Certificate::ca(root.clone(), root.clone(), None).serial(0x1_0000).sign(ark_key, ark_key),
                ask: authority(format!("SEV-{product}"), ASK_SERIAL, ask_key),
                asvk: authority(format!("SEV-VLEK-{product}"), ASVK_SERIAL, asvk_key),
            }
        })
    }

    /// The name of the root.
    pub fn root_name(&self) -> Name {
        name(&format!("ARK-{}", self.product))
    }

    /// The name of the authority for a kind of key.
    pub fn authority_name(&self, kind: SigningKey) -> Name {
        match kind {
            SigningKey::Vcek => name(&format!("SEV-{}", self.product)),
            SigningKey::Vlek => name(&format!("SEV-VLEK-{}", self.product)),
        }
    }

    /// The key of the authority for a kind of key.
    pub fn authority_key(&self, kind: SigningKey) -> &'static Key {
        match kind {
            SigningKey::Vcek => self.ask_key,
            SigningKey::Vlek => self.asvk_key,
        }
    }

    /// A revocation list that names nobody.
    pub fn crl(&self) -> Vec<u8> {
        Crl::new(self.root_name()).sign(self.ark_key)
    }

    /// A revocation list that names a serial number.
    pub fn crl_revoking(&self, serial: u64) -> Vec<u8> {
        Crl::new(self.root_name()).revoking(&serial.to_be_bytes()).sign(self.ark_key)
    }
}

/// What is common to all lines: certificates that are pinned or compiled in, in the order Milan, Genoa, Turin.
pub fn lines() -> [&'static Line; 3] {
    AmdProduct::ALL.map(Line::of)
}

/// A key that signs reports, with its certificate.
#[derive(Debug)]
pub struct ReportKey {
    /// Which line it is of.
    pub line: &'static Line,
    /// Which kind it is.
    pub kind: SigningKey,
    /// The private key.
    pub key: Key,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
}

/// The provider that the rig's VLEKs are handed to.
pub const CSP_ID: &str = "CN=cloud.example";

/// AMD's extensions for a key: what a test may want to change.
pub fn key_extensions(product: AmdProduct, kind: SigningKey, tcb: &TcbVersion, chip_id: &[u8; 64]) -> Vec<Extension> {
    let number =
        |suffix: &str, value: u8| Extension::new(&format!("1.3.6.1.4.1.3704.1.{suffix}"), integer(value.into()));
    let name = match kind {
        SigningKey::Vcek => format!("{product}-B0"),
        SigningKey::Vlek => product.name().to_owned(),
    };
    let mut extensions = vec![
        number("1", u8::from(has_fmc(product))),
        Extension::new("1.3.6.1.4.1.3704.1.2", ia5_string(&name)),
        number("3.1", tcb.bootloader),
        number("3.2", tcb.tee),
        number("3.4", 0),
        number("3.5", 0),
        number("3.6", 0),
        number("3.7", 0),
        number("3.3", tcb.snp),
        number("3.8", tcb.microcode),
    ];
    extensions.extend(tcb.fmc.map(|fmc| number("3.9", fmc)));
    extensions.push(match kind {
        SigningKey::Vcek => {
            let id = if has_fmc(product) { &chip_id[..8] } else { &chip_id[..] };
            Extension::new("1.3.6.1.4.1.3704.1.4", id.to_vec())
        }
        SigningKey::Vlek => Extension::new("1.3.6.1.4.1.3704.1.5", ia5_string(CSP_ID)),
    });
    extensions
}

/// The certificate of a key, before it is signed.
pub fn key_certificate(line: &Line, kind: SigningKey, extensions: Vec<Extension>) -> Certificate {
    let subject = name(match kind {
        SigningKey::Vcek => "SEV-VCEK",
        SigningKey::Vlek => "SEV-VLEK",
    });
    let mut template = Certificate::new(subject, line.authority_name(kind)).serial(0);
    template.extensions = extensions;
    template
}

impl ReportKey {
    /// The key that a report names as its signer.
    pub fn of(report: &Report) -> Self {
        Self::new(report.product, report.signing_key, &report.reported_tcb, &report.chip_id)
    }

    /// A key with its certificate.
    pub fn new(product: AmdProduct, kind: SigningKey, tcb: &TcbVersion, chip_id: &[u8; 64]) -> Self {
        let extensions = key_extensions(product, kind, tcb, chip_id);
        Self::with_extensions(product, kind, extensions)
    }

    /// A key whose certificate has other extensions.
    pub fn with_extensions(product: AmdProduct, kind: SigningKey, extensions: Vec<Extension>) -> Self {
        let line = Line::of(product);
        let template = key_certificate(line, kind, extensions);
        Self::with_certificate(line, kind, |key| template.sign(key, line.authority_key(kind)))
    }

    /// A key with a certificate of any making.
    pub fn with_certificate(line: &'static Line, kind: SigningKey, certify: impl FnOnce(&Key) -> Vec<u8>) -> Self {
        let key = Key::generate(KeyKind::P384);
        let certificate = certify(&key);
        Self { line, kind, key, certificate }
    }

    /// The report, signed.
    pub fn sign(&self, report: &Report) -> Vec<u8> {
        self.seal(report.signed_bytes())
    }

    /// Any bytes, signed as the firmware signs.
    pub fn seal(&self, mut signed: Vec<u8>) -> Vec<u8> {
        let signature = self.key.sign_fixed(&signed);
        let (r, s) = signature.split_at(48);
        for half in [r, s] {
            signed.extend(half.iter().rev());
            signed.extend([0; 24]);
        }
        signed.extend([0; 368]);
        signed
    }

    /// The report, signed, with a certificate table that has this key's certificate.
    pub fn sign_extended(&self, report: &Report) -> Vec<u8> {
        let guid = match self.kind {
            SigningKey::Vcek => VCEK_GUID,
            SigningKey::Vlek => VLEK_GUID,
        };
        let mut body = self.sign(report);
        body.extend(certificate_table(&[(guid, &self.certificate)]));
        body
    }
}

/// The GUID of a VCEK certificate in a certificate table (GHCB standard, 56421, section 4.1.8.1).
pub const VCEK_GUID: [u8; 16] = 0x63da_758d_e664_4564_adc5_f4b9_3be8_accd_u128.to_be_bytes();
/// The GUID of a VLEK certificate.
pub const VLEK_GUID: [u8; 16] = 0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1_u128.to_be_bytes();
/// The GUID of a revocation list.
pub const CRL_GUID: [u8; 16] = 0x92f8_1bc3_5811_4d3d_97ff_d19f_88dc_67ea_u128.to_be_bytes();

/// The certificate table that a host adds to a report.
pub fn certificate_table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
    let mut offset = (entries.len() + 1) * 24;
    let mut table = Vec::new();
    for (guid, document) in entries {
        table.extend(guid);
        table.extend(u32::try_from(offset).expect("a small table").to_le_bytes());
        table.extend(u32::try_from(document.len()).expect("a small table").to_le_bytes());
        offset += document.len();
    }
    table.extend([0; 24]);
    table.extend(entries.iter().flat_map(|(_, document)| document.iter().copied()));
    table
}

/// Every field of a report, with values that strict reference values accept. Nothing is checked: any value may be set.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are those of the report, under its names")]
pub struct Report {
    /// Decides the layout of TCB versions, and for [`ReportKey::of`] the line.
    pub product: AmdProduct,
    pub version: u32,
    pub guest_svn: u32,
    pub policy: u64,
    pub family_id: [u8; 16],
    pub image_id: [u8; 16],
    pub vmpl: u32,
    pub signature_algorithm: u32,
    pub current_tcb: TcbVersion,
    pub platform_info: u64,
    pub author_key_enabled: bool,
    pub mask_chip_key: bool,
    /// What [`ReportKey::of`] makes.
    pub signing_key: SigningKey,
    /// What the report says, if it is to say something else.
    pub signing_key_field: Option<u32>,
    pub report_data: [u8; 64],
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub id_key_digest: [u8; 48],
    pub author_key_digest: [u8; 48],
    pub report_id: [u8; 32],
    pub report_id_ma: [u8; 32],
    pub reported_tcb: TcbVersion,
    /// Family, model, stepping; written from version 3 on.
    pub processor: [u8; 3],
    pub chip_id: [u8; 64],
    /// Whether the chip id is written as zeros.
    pub mask_chip_id: bool,
    pub committed_tcb: TcbVersion,
    /// Major, minor, build.
    pub current_version: [u8; 3],
    pub committed_version: [u8; 3],
    pub launch_tcb: TcbVersion,
    /// Written from version 5 on.
    pub launch_mitigations: u64,
    pub current_mitigations: u64,
}

impl Report {
    /// A report of a well-kept machine.
    pub fn new(product: AmdProduct, version: u32, signing_key: SigningKey) -> Self {
        let fmc = has_fmc(product).then_some(1);
        let tcb = TcbVersion { fmc, bootloader: 10, tee: 1, snp: 27, microcode: 213 };
        let mut chip_id = [0; 64];
        let significant = if has_fmc(product) { 8 } else { 64 };
        for (index, byte) in chip_id.iter_mut().take(significant).enumerate() {
            *byte = u8::try_from(index).expect("64 bytes") ^ 0xa5;
        }
        Self {
            product,
            version,
            guest_svn: 2,
            // ABI 1.55, single socket, and the bit that is always one.
            policy: 0x0137 | 1 << 17 | 1 << 20,
            family_id: [0xf1; 16],
            image_id: [0xf2; 16],
            vmpl: 0,
            signature_algorithm: 1,
            current_tcb: tcb,
            // ECC, and the alias check is complete.
            platform_info: 0b10_0100,
            author_key_enabled: true,
            mask_chip_key: false,
            signing_key,
            signing_key_field: None,
            report_data: [0xd1; 64],
            measurement: [0xd2; 48],
            host_data: [0xd3; 32],
            id_key_digest: [0xd4; 48],
            author_key_digest: [0xd5; 48],
            report_id: [0xd6; 32],
            report_id_ma: [0xff; 32],
            reported_tcb: tcb,
            processor: match product {
                AmdProduct::Milan => [0x19, 0x01, 1],
                AmdProduct::Genoa => [0x19, 0x11, 1],
                AmdProduct::Turin => [0x1a, 0x02, 1],
            },
            chip_id,
            // A cloud masks what it signs with its own key.
            mask_chip_id: signing_key == SigningKey::Vlek,
            committed_tcb: tcb,
            current_version: [1, 55, 40],
            committed_version: [1, 55, 40],
            launch_tcb: tcb,
            launch_mitigations: 0b1011,
            current_mitigations: 0b1111,
        }
    }

    fn tcb(&self, tcb: TcbVersion) -> [u8; 8] {
        let TcbVersion { fmc, bootloader, tee, snp, microcode } = tcb;
        if has_fmc(self.product) {
            [fmc.unwrap_or(0), bootloader, tee, snp, 0, 0, 0, microcode]
        } else {
            [bootloader, tee, 0, 0, 0, 0, snp, microcode]
        }
    }

    /// The part of the report that is signed, 0x2A0 bytes.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(0x2a0);
        let key = self.signing_key_field.unwrap_or(match self.signing_key {
            SigningKey::Vcek => 0,
            SigningKey::Vlek => 1,
        });
        let flags = u32::from(self.author_key_enabled) | u32::from(self.mask_chip_key) << 1 | key << 2;
        out.extend(self.version.to_le_bytes());
        out.extend(self.guest_svn.to_le_bytes());
        out.extend(self.policy.to_le_bytes());
        out.extend(self.family_id);
        out.extend(self.image_id);
        out.extend(self.vmpl.to_le_bytes());
        out.extend(self.signature_algorithm.to_le_bytes());
        out.extend(self.tcb(self.current_tcb));
        out.extend(self.platform_info.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.report_data);
        out.extend(self.measurement);
        out.extend(self.host_data);
        out.extend(self.id_key_digest);
        out.extend(self.author_key_digest);
        out.extend(self.report_id);
        out.extend(self.report_id_ma);
        out.extend(self.tcb(self.reported_tcb));
        if self.version >= 3 {
            out.extend(self.processor);
        }
        out.resize(0x1a0, 0);
        out.extend(if self.mask_chip_id { [0; 64] } else { self.chip_id });
        out.extend(self.tcb(self.committed_tcb));
        for [major, minor, build] in [self.current_version, self.committed_version] {
            out.extend([build, minor, major, 0]);
        }
        out.extend(self.tcb(self.launch_tcb));
        if self.version >= 5 {
            out.extend(self.launch_mitigations.to_le_bytes());
            out.extend(self.current_mitigations.to_le_bytes());
        }
        out.resize(0x2a0, 0);
        out
    }
}
