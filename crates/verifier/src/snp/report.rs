//! The attestation report as the firmware writes it, and the certificate table that may follow it.
//!
//! Layout: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860), structure ATTESTATION_REPORT,
//! revisions 1.51 (version 2) to 1.58 (version 5). That document says of its reserved fields "must be zero"; here they are compared with zero, because a
//! field that a newer firmware gave a meaning to is a claim nobody appraised.

use protocol::digest::{Hex, Measurement};
use protocol::reference::snp::{AbiVersion, SigningKey};
use protocol::reference::{AmdProduct, TcbVersion};
use serde::Serialize;

use super::tcb::TcbLayout;

/// The length of a report: 0x4A0 bytes (56860, ATTESTATION_REPORT).
pub const REPORT_LEN: usize = 0x4a0;
/// The part that the signature covers: bytes 0 to 0x29F.
pub const SIGNED_LEN: usize = 0x2a0;
/// The versions that this release reads.
pub const VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;
/// From this version on a report shows which processor made it.
const VERSION_WITH_CPUID: u32 = 3;
/// From this version on a report has mitigation vectors.
const VERSION_WITH_MITIGATIONS: u32 = 5;
/// ECDSA on P-384 with SHA-384 (56860, "Encodings for Signature Algorithm"), the only algorithm there is.
const ECDSA_P384_SHA384: u32 = 1;
/// Guest policy bit 17, "reserved, must be one" (56860, guest policy structure).
const POLICY_ALWAYS_ONE: u64 = 1 << 17;
/// Guest policy bits 63:26, reserved (56860, guest policy structure).
const POLICY_RESERVED: u64 = !((1 << 26) - 1);
/// Platform information bits 63:8 and 6, reserved (56860, PLATFORM_INFO).
const PLATFORM_RESERVED: u64 = !0b1011_1111;
/// Key information bits 31:5, reserved (56860, ATTESTATION_REPORT, offset 0x48).
const FLAGS_RESERVED: u32 = !0b1_1111;
/// What the firmware writes for VMPL when the host asked for the report.
const HOST_REQUEST: u32 = u32::MAX;
/// The least privileged VMPL.
const LAST_VMPL: u32 = 3;

/// Why bytes are no report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Not as long as a report.
    #[error("SNP report of {got} bytes, needed are {REPORT_LEN}")]
    Length {
        /// Bytes received.
        got: usize,
    },
    /// A version that this release does not know.
    #[error("SNP report version {got}, known are 2 to 5")]
    Version {
        /// The version.
        got: u32,
    },
    /// A signature algorithm that this release does not know.
    #[error("SNP report signature algorithm {got}, known is 1 (ECDSA P-384 with SHA-384)")]
    Algorithm {
        /// The algorithm.
        got: u32,
    },
    /// A reserved field that is not what the specification demands.
    #[error("reserved bits of `{field}` are not as the specification demands")]
    Reserved {
        /// The field.
        field: &'static str,
    },
    /// A field with a value that has no meaning.
    #[error("`{field}` is {got}, which has no meaning")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        got: u64,
    },
    /// CPUID fields of no processor that this release has a root key for.
    #[error("processor family {family:#x} model {model:#x} is none of Milan, Genoa, Turin")]
    Processor {
        /// CPUID family.
        family: u8,
        /// CPUID model.
        model: u8,
    },
    /// What follows the report is no certificate table.
    #[error("certificate table: {0}")]
    Table(#[from] super::table::TableError),
}

impl FormatError {
    /// Whether this is about something newer than this release rather than about broken bytes.
    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Algorithm { .. } | Self::Processor { .. })
    }
}

/// The guest policy: the terms that the guest was launched on (56860, guest policy structure).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    const fn bit(self, index: u32) -> bool {
        self.0 >> index & 1 == 1
    }

    /// The lowest firmware ABI that the guest runs on.
    pub const fn abi(self) -> AbiVersion {
        let [minor, major, ..] = self.0.to_le_bytes();
        AbiVersion { major, minor }
    }
    /// It may run where SMT is on.
    pub const fn smt(self) -> bool {
        self.bit(16)
    }
    /// A migration agent may be associated with it.
    pub const fn migration_agent(self) -> bool {
        self.bit(18)
    }
    /// The host may read and write its memory.
    pub const fn debug(self) -> bool {
        self.bit(19)
    }
    /// It runs on one socket only.
    pub const fn single_socket(self) -> bool {
        self.bit(20)
    }
    /// It may run where CXL holds devices or memory.
    pub const fn cxl(self) -> bool {
        self.bit(21)
    }
    /// Its memory must be encrypted with AES-256-XTS.
    pub const fn aes_256_xts(self) -> bool {
        self.bit(22)
    }
    /// Power readings must be off.
    pub const fn rapl_disabled(self) -> bool {
        self.bit(23)
    }
    /// Ciphertext hiding must be on.
    pub const fn ciphertext_hiding(self) -> bool {
        self.bit(24)
    }
    /// The host may not move or swap its pages.
    pub const fn page_swap_disabled(self) -> bool {
        self.bit(25)
    }
}

/// How the machine is set (56860, PLATFORM_INFO).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PlatformInfo(pub u64);

impl PlatformInfo {
    const fn bit(self, index: u32) -> bool {
        self.0 >> index & 1 == 1
    }

    /// SMT is on.
    pub const fn smt(self) -> bool {
        self.bit(0)
    }
    /// All memory is encrypted with one key besides.
    pub const fn tsme(self) -> bool {
        self.bit(1)
    }
    /// Memory has error correction.
    pub const fn ecc(self) -> bool {
        self.bit(2)
    }
    /// Power readings are off.
    pub const fn rapl_disabled(self) -> bool {
        self.bit(3)
    }
    /// Ciphertext in DRAM is hidden from the host.
    pub const fn ciphertext_hiding(self) -> bool {
        self.bit(4)
    }
    /// Memory was checked for aliases since the last reset, and has none.
    pub const fn alias_check_complete(self) -> bool {
        self.bit(5)
    }
    /// SEV-TIO is on.
    pub const fn tio(self) -> bool {
        self.bit(7)
    }
}

/// Which key signed, as the report says (56860, ATTESTATION_REPORT, offset 0x48, bits 4:2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signer {
    /// The chip's own key.
    Vcek,
    /// The cloud provider's key.
    Vlek,
    /// Nobody: the report is not signed.
    None,
}

impl Signer {
    /// The key, if the report is signed.
    pub const fn key(self) -> Option<SigningKey> {
        match self {
            Self::Vcek => Some(SigningKey::Vcek),
            Self::Vlek => Some(SigningKey::Vlek),
            Self::None => None,
        }
    }
}

/// A firmware version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct FirmwareVersion {
    /// Major ABI version.
    pub major: u8,
    /// Minor ABI version.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

impl std::fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// The processor, as CPUID names it with the extended fields added in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Processor {
    /// Family.
    pub family: u8,
    /// Model.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl Processor {
    /// The product line (AMD, "Processor Programming Reference" of family 19h models 01h, 11h, A0h and 1Ah models 02h, 11h).
    pub const fn product(self) -> Option<AmdProduct> {
        match (self.family, self.model) {
            (0x19, 0x00..=0x0f) => Some(AmdProduct::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(AmdProduct::Genoa),
            (0x1a, 0x00..=0x11) => Some(AmdProduct::Turin),
            _ => None,
        }
    }
}

/// What a report says. A plain value: only inside a proof type does it mean anything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Claims {
    /// The layout of the report.
    pub version: u32,
    /// The guest's own security version, from the ID block.
    pub guest_svn: u32,
    /// The terms that the guest was launched on.
    pub policy: GuestPolicy,
    /// From the ID block.
    pub family_id: Hex<16>,
    /// From the ID block.
    pub image_id: Hex<16>,
    /// The privilege level that asked; `u32::MAX` is the host.
    pub vmpl: u32,
    /// The TCB that runs.
    pub current_tcb: TcbVersion,
    /// How the machine is set.
    pub platform_info: PlatformInfo,
    /// Whether an author key certified the ID key.
    pub author_key_enabled: bool,
    /// Whether the machine signs no reports with the chip's key.
    pub mask_chip_key: bool,
    /// Which key signed.
    pub signer: Signer,
    /// What the requester chose.
    pub report_data: Hex<64>,
    /// The launch digest.
    pub measurement: Measurement,
    /// What the host gave at launch: the digest of the initdata.
    pub host_data: Hex<32>,
    /// SHA-384 of the key that signed the ID block; zero without one.
    pub id_key_digest: Hex<48>,
    /// SHA-384 of the key that certified the ID key; zero without one.
    pub author_key_digest: Hex<48>,
    /// A random name of this guest.
    pub report_id: Hex<32>,
    /// The name of its migration agent; all ones without one.
    pub report_id_ma: Hex<32>,
    /// The TCB that the signing key is derived from.
    pub reported_tcb: TcbVersion,
    /// Which processor this is; from version 3 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<Processor>,
    /// Which chip this is; zero where the machine masks it. Turin's ids are 8 bytes, followed by zeros.
    pub chip_id: Hex<64>,
    /// The TCB that the machine cannot go back behind.
    pub committed_tcb: TcbVersion,
    /// The firmware that runs.
    pub current_version: FirmwareVersion,
    /// The firmware that the machine cannot go back behind.
    pub committed_version: FirmwareVersion,
    /// The TCB when the guest was launched or taken in.
    pub launch_tcb: TcbVersion,
    /// Mitigations when the guest was launched; from version 5 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_mitigations: Option<u64>,
    /// Mitigations now; from version 5 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_mitigations: Option<u64>,
    /// The product line: from `processor`, else from the certificate of the key that signed, else unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<AmdProduct>,
    /// What the certificate of the signing key adds, once it is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endorsed: Option<Endorsed>,
}

/// What AMD says of the key that signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Endorsed {
    /// The product as the certificate spells it: `Milan-B0`.
    pub product_name: String,
    /// The chip that a VCEK belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chip_id: Option<Hex<64>>,
    /// The cloud provider that a VLEK was handed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csp_id: Option<String>,
}

/// A chip id that is masked.
pub(crate) const MASKED: Hex<64> = Hex([0; 64]);

impl Claims {
    /// The chip: from the report, or where that masks it from the certificate of the key that signed.
    pub fn chip(&self) -> Option<Hex<64>> {
        if self.chip_id == MASKED { self.endorsed.as_ref()?.chip_id } else { Some(self.chip_id) }
    }

    /// Whether the chip id has the shape of Turin's: 8 bytes and zeros (AMD, KDS interface, 57230, "hwID").
    pub(crate) fn chip_id_is_short(&self) -> bool {
        is_short(&self.chip_id.0)
    }
}

fn is_short(chip_id: &[u8; 64]) -> bool {
    *chip_id != [0; 64] && chip_id.iter().skip(8).all(|byte| *byte == 0)
}

/// The signature as the firmware writes it: r and s, little-endian, in 72 bytes each (56860, "ECDSA P-384 with SHA-384 Signature").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signature {
    /// r, then s, each 48 bytes big-endian, as libraries take it.
    pub(crate) fixed: [u8; 96],
}

/// A report with its parts, nothing of it believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawReport<'a> {
    /// The bytes that are signed.
    pub(crate) signed: &'a [u8],
    /// The signature.
    pub(crate) signature: Signature,
    bytes: &'a [u8; REPORT_LEN],
}

/// Reads fields in their order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes. The caller never asks for more than the report has; if it did, the rest would read as zero
    /// and the test of the layout would fail.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn zero<const N: usize>(&mut self, field: &'static str) -> Result<(), FormatError> {
        if self.take::<N>() == [0; N] { Ok(()) } else { Err(FormatError::Reserved { field }) }
    }

    /// Build, minor, major: the order of the report, not of people.
    fn firmware(&mut self) -> FirmwareVersion {
        let [build, minor, major] = self.take();
        FirmwareVersion { major, minor, build }
    }
}

impl<'a> RawReport<'a> {
    /// Takes the report at the beginning of `body` apart, and gives what follows it.
    pub(crate) fn split(body: &'a [u8]) -> Result<(Self, &'a [u8]), FormatError> {
        let (bytes, rest) = body.split_first_chunk::<REPORT_LEN>().ok_or(FormatError::Length { got: body.len() })?;
        let (signed, signature) = bytes.split_at_checked(SIGNED_LEN).ok_or(FormatError::Length { got: body.len() })?;
        let mut fields = Fields(signature);
        // 56860, "ECDSA P-384 with SHA-384 Signature": 72 bytes each, of which P-384 needs 48, and the rest of the 512 reserved.
        let mut r: [u8; 48] = fields.take();
        fields.zero::<24>("signature.r")?;
        let mut s: [u8; 48] = fields.take();
        fields.zero::<24>("signature.s")?;
        fields.zero::<368>("signature.reserved")?;
        r.reverse();
        s.reverse();
        let mut fixed = [0; 96];
        for (to, from) in fixed.iter_mut().zip(r.into_iter().chain(s)) {
            *to = from;
        }
        Ok((Self { signed, signature: Signature { fixed }, bytes }, rest))
    }

    /// The fields that say which key signed: the reported TCB and the processor, with the reserved bytes after them.
    pub(crate) fn signer_fields(&self) -> &'a [u8] {
        self.bytes.get(0x180..0x1a0).unwrap_or_default()
    }

    /// Reads the fields. `product` is that of the signing key's certificate, if one is known: a report of version 2 does
    /// not say which layout its TCB versions have.
    pub(crate) fn claims(&self, product: Option<AmdProduct>) -> Result<Claims, FormatError> {
        let mut fields = Fields(self.bytes);
        let version = fields.u32();
        if !VERSIONS.contains(&version) {
            return Err(FormatError::Version { got: version });
        }
        let guest_svn = fields.u32();
        let policy = GuestPolicy(fields.u64());
        if policy.0 & POLICY_RESERVED != 0 || policy.0 & POLICY_ALWAYS_ONE == 0 {
            return Err(FormatError::Reserved { field: "policy" });
        }
        let family_id = Hex(fields.take());
        let image_id = Hex(fields.take());
        let vmpl = fields.u32();
        if vmpl > LAST_VMPL && vmpl != HOST_REQUEST {
            return Err(FormatError::Value { field: "vmpl", got: vmpl.into() });
        }
        let algorithm = fields.u32();
        if algorithm != ECDSA_P384_SHA384 {
            return Err(FormatError::Algorithm { got: algorithm });
        }
        let current_tcb = fields.take();
        let platform_info = PlatformInfo(fields.u64());
        if platform_info.0 & PLATFORM_RESERVED != 0 {
            return Err(FormatError::Reserved { field: "platform_info" });
        }
        let flags = fields.u32();
        if flags & FLAGS_RESERVED != 0 {
            return Err(FormatError::Reserved { field: "flags" });
        }
        let signer = match flags >> 2 & 0b111 {
            0 => Signer::Vcek,
            1 => Signer::Vlek,
            7 => Signer::None,
            other => return Err(FormatError::Value { field: "signing_key", got: other.into() }),
        };
        fields.zero::<4>("reserved at 0x4c")?;
        let report_data = Hex(fields.take());
        let measurement = Measurement::from_bytes(fields.take());
        let host_data = Hex(fields.take());
        let id_key_digest = Hex(fields.take());
        let author_key_digest = Hex(fields.take());
        let report_id = Hex(fields.take());
        let report_id_ma = Hex(fields.take());
        let reported_tcb = fields.take();
        let processor = if version >= VERSION_WITH_CPUID {
            let [family, model, stepping] = fields.take();
            fields.zero::<21>("reserved at 0x18b")?;
            Some(Processor { family, model, stepping })
        } else {
            fields.zero::<24>("reserved at 0x188")?;
            None
        };
        let chip_id: [u8; 64] = fields.take();
        let product = match processor {
            Some(processor) => {
                let Processor { family, model, .. } = processor;
                Some(processor.product().ok_or(FormatError::Processor { family, model })?)
            }
            None => product,
        };
        let committed_tcb = fields.take();
        let current_version = fields.firmware();
        fields.zero::<1>("reserved at 0x1eb")?;
        let committed_version = fields.firmware();
        fields.zero::<1>("reserved at 0x1ef")?;
        let launch_tcb = fields.take();
        let (launch_mitigations, current_mitigations) = if version >= VERSION_WITH_MITIGATIONS {
            let vectors = (Some(fields.u64()), Some(fields.u64()));
            fields.zero::<152>("reserved at 0x208")?;
            vectors
        } else {
            fields.zero::<168>("reserved at 0x1f8")?;
            (None, None)
        };
        let read = |layout: TcbLayout| -> Result<[TcbVersion; 4], FormatError> {
            Ok([
                layout.read("current_tcb", current_tcb)?,
                layout.read("reported_tcb", reported_tcb)?,
                layout.read("committed_tcb", committed_tcb)?,
                layout.read("launch_tcb", launch_tcb)?,
            ])
        };
        let tcbs = match product {
            Some(product) => read(TcbLayout::of(product)),
            None if is_short(&chip_id) => read(TcbLayout::Turin),
            // A masked chip of an unknown product: the layout whose reserved bytes are zero, if there is one. The
            // certificate decides later, and this is read again for its product.
            None => read(TcbLayout::Legacy).or_else(|error| read(TcbLayout::Turin).map_err(|_| error)),
        };
        let [current_tcb, reported_tcb, committed_tcb, launch_tcb] = tcbs?;
        Ok(Claims {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            current_tcb,
            platform_info,
            author_key_enabled: flags & 1 == 1,
            mask_chip_key: flags >> 1 & 1 == 1,
            signer,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            processor,
            chip_id: Hex(chip_id),
            committed_tcb,
            current_version,
            committed_version,
            launch_tcb,
            launch_mitigations,
            current_mitigations,
            product,
            endorsed: None,
        })
    }
}

/// Parses a report and what follows it. Nothing in the result is believed.
pub fn parse(body: &[u8]) -> Result<Claims, FormatError> {
    let (report, rest) = RawReport::split(body)?;
    let claims = report.claims(None)?;
    super::table::CertificateTable::parse(rest)?;
    Ok(claims)
}

/// LIMIT: report versions that a file may claim to be told apart as one, so that a newer report is named as such.
const PLAUSIBLE_VERSIONS: std::ops::RangeInclusive<u32> = 1..=32;

/// Whether bytes look like a report, known to this release or newer: for telling files apart, nothing else.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.first_chunk::<REPORT_LEN>() else { return false };
    let word = |offset: usize| bytes.get(offset..).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word));
    // Version, the algorithm at 0x34, the reserved word at 0x4C, and bit 17 of the policy, which is always one.
    word(0).is_some_and(|version| PLAUSIBLE_VERSIONS.contains(&version))
        && word(0x34) == Some(ECDSA_P384_SHA384)
        && word(0x4c) == Some(0)
        && word(8).is_some_and(|policy| u64::from(policy) & POLICY_ALWAYS_ONE != 0)
}
