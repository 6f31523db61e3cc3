//! What a device says of itself and what its certificates say of it, as plain values.

use protocol::Digest;
use protocol::digest::Hex;
use protocol::evidence::DeviceKind;
use protocol::reference::device::{Architecture, DeviceId, GpuMode, Nvdec0};
use serde::Serialize;

use super::error::NvidiaError;
use super::spdm::Transcript;
use crate::time::UnixTime;

/// Everything that is known of one device. What the report and the certificates say means something only once the layers
/// hold; [`Claims::established`] is what the verification found out itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// What the report says.
    pub report: Report,
    /// What the certificates say; `None` when there are none that can be read.
    pub identity: Option<Identity>,
    /// What the verification established beyond yes and no.
    pub established: Established,
}

/// What a report says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whose fields it has.
    pub kind: DeviceKind,
    /// The nonce that it answers.
    pub nonce: Hex<32>,
    /// The certificate slot that it was asked to sign with.
    pub slot: u8,
    /// Every measurement, by the manifests' index: one less than SPDM's.
    pub measurements: Vec<Measured>,
    /// The driver that runs the GPU; switches have none of their own.
    pub driver_version: Option<String>,
    /// The GPU's VBIOS or the switch's firmware, `96.00.5E.00.01`.
    pub vbios_version: String,
    /// What board it is.
    pub board: Board,
    /// The firmware that the report's key belongs to, where the driver reports it.
    pub fwid: Option<Hex<48>>,
    /// The state of the video decoder; `None` where it is not reported.
    pub nvdec0: Option<Nvdec0>,
    /// How the GPU runs.
    pub mode: GpuMode,
    /// Whether the GPU protects PCIe; `None` where it is not reported.
    pub protected_pcie: Option<bool>,
    /// The switch's own identity.
    pub pdi: Option<DeviceId>,
    /// The devices that it is linked with, without repetition: a GPU's switches, a switch's GPUs.
    pub peers: Vec<DeviceId>,
    /// Whether the switch is locked: its routes cannot be changed any more.
    pub locked: Option<bool>,
    /// Its place on the board, where it is reported.
    pub position: Option<u16>,
    /// The version of the opaque fields, 0 where it is not reported.
    pub fields_version: u64,
}

/// One measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Measured {
    /// The manifests' index.
    pub index: u32,
    /// SHA-384 of what NVIDIA measures there.
    pub digest: Hex<48>,
}

/// What a board is called. Empty where the report does not say.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Board {
    /// The board's id.
    pub board_id: Option<u32>,
    /// The project, `1010`.
    pub project: String,
    /// The project's SKU, `0200`.
    pub project_sku: String,
    /// The chip's SKU, `882`.
    pub chip_sku: String,
    /// The chip's name, where the driver reports it.
    pub chip: Option<String>,
}

/// What the certificates of a device say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Identity {
    /// By the names in the chain.
    pub architecture: Architecture,
    /// The chip, `GH100`.
    pub chip: String,
    /// What NVIDIA calls `hwmodel`: the common name of the boot ROM's certificate.
    pub hwmodel: String,
    /// What the device is born with.
    pub device_id: DeviceId,
    /// What NVIDIA calls `ueid`: the serial number of the device certificate, in decimal.
    pub ueid: String,
    /// SHA-256 of the device's public key (SubjectPublicKeyInfo).
    pub leaf_key: Digest,
    /// The firmware that the device certificate was issued to.
    pub fwid: Hex<48>,
}

/// What the verification established beyond yes and no. Reference values judge it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Established {
    /// Whether the report's firmware id was compared with the certificate's.
    pub fwid: FwidCheck,
    /// Whether NVIDIA vouched for the certificates' standing.
    pub revocation: RevocationCheck,
    /// The manifests that the measurements were compared with.
    pub manifests: Vec<ManifestUsed>,
    /// How many measurements were compared.
    pub compared: u32,
    /// Measurements that are not zero and that no manifest speaks of.
    pub uncovered: Vec<u32>,
}

/// Whether the report's firmware id was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FwidCheck {
    /// The report does not have it: it could not be compared.
    #[default]
    NotReported,
    /// It is that of the certificate.
    Equal,
    /// It is another: the layer refuses it.
    Different,
}

impl FwidCheck {
    /// The name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotReported => "not-reported",
            Self::Equal => "equal",
            Self::Different => "different",
        }
    }
}

/// Whether NVIDIA vouched for the standing of the certificates of the device and of the signers of its manifests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationCheck {
    /// Nothing is at hand, or it does not cover every certificate that names a responder.
    #[default]
    NotGiven,
    /// Every certificate that names a responder is in good standing, until then.
    Good {
        /// When the first of the responses ends.
        until: UnixTime,
    },
}

/// A manifest that was compared with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ManifestUsed {
    /// `driver` or `vbios`.
    pub manifest: &'static str,
    /// NVIDIA's id of the document.
    pub id: String,
    /// The version that it is for.
    pub version: String,
    /// SHA-256 of the certificate that signed it.
    pub signer: Digest,
    /// How many measurements it had compared.
    pub compared: u32,
    /// Whether NVIDIA vouched for the standing of its signer and the authorities above it.
    pub revocation_known: bool,
}

impl Report {
    /// Whether the GPU trusts whoever is at its NVLinks: it protects PCIe, and NVLink is in clear. Drivers before the 590
    /// series do not report the mode, but the state of PCIe.
    pub fn has_nvlink_in_clear(&self) -> bool {
        self.mode == GpuMode::Ppcie || self.protected_pcie == Some(true)
    }
}

impl Claims {
    /// What the device is, for people: `gpu 6a5fafcbd9fa5ca3`.
    pub fn label(&self) -> String {
        let kind = self.report.kind.name();
        match &self.identity {
            Some(identity) => format!("{kind} {}", identity.device_id),
            None => format!("{kind} of unknown identity"),
        }
    }
}

// NVIDIA's kinds of opaque fields. Switches number some of them otherwise: 22 is a GPU's switches and a switch's own PDI.
const DRIVER_VERSION: u16 = 3;
const VBIOS_VERSION: u16 = 6;
const NVDEC0: u16 = 11;
const COUNTS: u16 = 12;
const BOARD_ID: u16 = 14;
const CHIP_SKU: u16 = 15;
const PROJECT: u16 = 17;
const PROJECT_SKU: u16 = 18;
const FWID: u16 = 20;
const PROTECTED_PCIE: u16 = 21;
const PDI: u16 = 22;
const POSITION: u16 = 24;
const LOCK: u16 = 25;
const GPU_PDIS: u16 = 26;
const FIELDS_VERSION: u16 = 34;
const CHIP: u16 = 35;
const FEATURE: u16 = 36;

/// What is known as kinds: NVIDIA's verifier refuses a GPU's field beyond 36 and a switch's beyond 27. So does this one:
/// whatever a later field says, it may be that the device is in a state that nobody should trust.
fn is_known(kind: DeviceKind, field: u16) -> bool {
    match kind {
        DeviceKind::Gpu => matches!(field, 1..=25 | 32..=36),
        DeviceKind::Switch => matches!(field, 1..=27),
    }
}

/// NVIDIA writes yes and no into a byte as values far from each other.
const YES: u8 = 0xaa;
const NO: u8 = 0x55;

/// LIMIT: versions, SKUs and chip names have at most ten characters.
const MAX_TEXT: usize = 32;
/// LIMIT: a GPU has 18 links; a switch has 8 GPUs to tell of. What is longer is neither.
const MAX_PDIS: usize = 36;
/// A switch tells of 8 GPUs and then which of its 64 ports leads to which of them.
const SWITCH_GPUS: usize = 8;

impl Report {
    /// Reads NVIDIA's fields out of a transcript.
    pub(super) fn read(transcript: &Transcript<'_>) -> Result<Self, NvidiaError> {
        // A switch alone tells of GPUs, and a GPU alone is run by a driver.
        let kind = if transcript.field(GPU_PDIS).is_some() { DeviceKind::Switch } else { DeviceKind::Gpu };
        if let Some(unknown) = transcript.fields.iter().find(|field| !is_known(kind, field.kind)) {
            return Err(NvidiaError::UnknownField { kind: unknown.kind });
        }
        let fields_version = transcript.field(FIELDS_VERSION).map_or(Ok(0), number)?;
        if fields_version > 1 {
            return Err(NvidiaError::OpaqueVersion { got: fields_version });
        }
        if let Some(counts) = transcript.field(COUNTS)
            && !counts.len().is_multiple_of(4)
        {
            // They are not compared. A genuine switch with 31 measurements has 26 of them.
            let (field, got) = ("measurement counts", counts.len());
            return Err(NvidiaError::FieldSize { field, got, expected: "a multiple of 4" });
        }
        let measurements = transcript
            .blocks
            .iter()
            .map(|block| Measured { index: u32::from(block.index).saturating_sub(1), digest: Hex(*block.digest) })
            .collect();
        let mut report = Self {
            kind,
            nonce: Hex(transcript.nonce),
            slot: transcript.slot,
            measurements,
            driver_version: None,
            vbios_version: String::new(),
            board: Board::default(),
            fwid: transcript.field(FWID).map(|data| exact(data, "firmware id", "48")).transpose()?.map(Hex),
            nvdec0: None,
            mode: GpuMode::Unstated,
            protected_pcie: None,
            pdi: None,
            peers: Vec::new(),
            locked: transcript.field(LOCK).map(lock).transpose()?,
            position: transcript
                .field(POSITION)
                .map(|data| exact(data, "position", "2"))
                .transpose()?
                .map(u16::from_le_bytes),
            fields_version,
        };
        match kind {
            DeviceKind::Gpu => report.read_gpu(transcript)?,
            DeviceKind::Switch => report.read_switch(transcript)?,
        }
        Ok(report)
    }

    fn read_gpu(&mut self, transcript: &Transcript<'_>) -> Result<(), NvidiaError> {
        self.driver_version = Some(text(needed(transcript, DRIVER_VERSION, "driver version")?, "driver version")?);
        let vbios = exact(needed(transcript, VBIOS_VERSION, "VBIOS version")?, "VBIOS version", "8")?;
        self.vbios_version = vbios_text(vbios);
        let optional = |kind, field| transcript.field(kind).map(|data| text(data, field)).transpose();
        self.board = Board {
            board_id: transcript
                .field(BOARD_ID)
                .map(|data| exact(data, "board id", "4"))
                .transpose()?
                .map(u32::from_le_bytes),
            project: text(needed(transcript, PROJECT, "project")?, "project")?,
            project_sku: text(needed(transcript, PROJECT_SKU, "project SKU")?, "project SKU")?,
            chip_sku: text(needed(transcript, CHIP_SKU, "chip SKU")?, "chip SKU")?,
            chip: optional(CHIP, "chip")?,
        };
        self.nvdec0 = transcript
            .field(NVDEC0)
            .map(|data| flag(data, "NVDEC0 status"))
            .transpose()?
            .map(|on| if on { Nvdec0::Enabled } else { Nvdec0::Disabled });
        self.protected_pcie =
            transcript.field(PROTECTED_PCIE).map(|data| flag(data, "protected PCIe status")).transpose()?;
        self.mode = match transcript.field(FEATURE).map(number).transpose()? {
            None => GpuMode::Unstated,
            Some(0) => GpuMode::Mpt,
            Some(1) => GpuMode::Spt,
            Some(2) => GpuMode::Ppcie,
            Some(got) => return Err(NvidiaError::FieldValue { field: "feature flag", got }),
        };
        if self.mode == GpuMode::Ppcie && self.protected_pcie == Some(false) {
            return Err(NvidiaError::FieldValue { field: "protected PCIe status in PPCIe mode", got: NO.into() });
        }
        if let Some(data) = transcript.field(PDI) {
            // A GPU writes the switches' identities the other way round than they do themselves.
            let reversed = |mut pdi: [u8; 8]| {
                pdi.reverse();
                pdi
            };
            self.peers = set(pdis(data, "switch identities")?.into_iter().map(reversed));
        }
        Ok(())
    }

    fn read_switch(&mut self, transcript: &Transcript<'_>) -> Result<(), NvidiaError> {
        self.vbios_version = text(needed(transcript, VBIOS_VERSION, "firmware version")?, "firmware version")?;
        self.pdi = Some(Hex(exact(needed(transcript, PDI, "switch identity")?, "switch identity", "8")?));
        let gpus = needed(transcript, GPU_PDIS, "GPU identities")?;
        let (gpus, _ports) = gpus.split_at_checked(SWITCH_GPUS * 8).ok_or(NvidiaError::FieldSize {
            field: "GPU identities",
            got: gpus.len(),
            expected: "64 or more",
        })?;
        // A genuine switch of the corpus names one GPU twice: what counts is the set.
        self.peers = set(pdis(gpus, "GPU identities")?.into_iter());
        Ok(())
    }

    /// The architecture that the report's own fields speak of. NVIDIA's VBIOS versions begin with a number for the
    /// generation: 96 on every Hopper, 97 and up on Blackwell.
    pub(super) fn architecture(&self) -> Option<Architecture> {
        if self.kind == DeviceKind::Switch {
            return Some(Architecture::Ls10);
        }
        let generation = self.vbios_version.split('.').next().and_then(|text| u8::from_str_radix(text, 16).ok())?;
        match generation {
            0x96 => Some(Architecture::Hopper),
            0x97..=0x9f => Some(Architecture::Blackwell),
            _ => None,
        }
    }

    /// The id under which NVIDIA publishes the manifest of the driver. The id is not in the manifest: it serves to fetch one.
    pub(super) fn driver_rim(&self) -> Option<String> {
        let version = self.driver_version.as_deref()?;
        match self.architecture()? {
            Architecture::Hopper => Some(format!("NV_GPU_DRIVER_GH100_{version}")),
            Architecture::Blackwell => {
                Some(format!("NV_GPU_CC_DRIVER_{}_{version}", self.board.chip.as_deref().unwrap_or("GB100")))
            }
            _ => None,
        }
    }

    /// The id under which NVIDIA publishes the manifest of the VBIOS or of the switch's firmware.
    pub(super) fn vbios_rim(&self) -> String {
        let version = self.vbios_version.replace('.', "").to_uppercase();
        match self.kind {
            DeviceKind::Gpu => {
                let Board { project, project_sku, chip_sku, .. } = &self.board;
                format!("NV_GPU_VBIOS_{project}_{project_sku}_{chip_sku}_{version}")
            }
            // A switch does not report its board. There is one, and NVIDIA's verifier writes its numbers here too.
            DeviceKind::Switch => format!("NV_SWITCH_BIOS_5612_0002_890_{version}"),
        }
    }

    /// The measurement at a manifest's index.
    pub(super) fn measurement(&self, index: u32) -> Option<Hex<48>> {
        self.measurements.iter().find(|measured| measured.index == index).map(|measured| measured.digest)
    }
}

fn needed<'a>(transcript: &Transcript<'a>, kind: u16, field: &'static str) -> Result<&'a [u8], NvidiaError> {
    transcript.field(kind).ok_or(NvidiaError::MissingField { field })
}

fn exact<const N: usize>(data: &[u8], field: &'static str, expected: &'static str) -> Result<[u8; N], NvidiaError> {
    data.try_into().map_err(|_| NvidiaError::FieldSize { field, got: data.len(), expected })
}

fn flag(data: &[u8], field: &'static str) -> Result<bool, NvidiaError> {
    match exact(data, field, "1")? {
        [YES] => Ok(true),
        [NO] => Ok(false),
        [got] => Err(NvidiaError::FieldValue { field, got: got.into() }),
    }
}

/// Little-endian, of up to eight bytes: NVIDIA does not fix the size of these.
fn number(data: &[u8]) -> Result<u64, NvidiaError> {
    let mut bytes = [0; 8];
    let place = bytes.get_mut(..data.len()).filter(|place| !place.is_empty());
    let Some(place) = place else {
        return Err(NvidiaError::FieldSize { field: "a number", got: data.len(), expected: "1 to 8" });
    };
    place.copy_from_slice(data);
    Ok(u64::from_le_bytes(bytes))
}

/// In all genuine reports of systems whose switches are locked this is 1. No other value is documented.
fn lock(data: &[u8]) -> Result<bool, NvidiaError> {
    match number(data)? {
        0 => Ok(false),
        1 => Ok(true),
        got => Err(NvidiaError::FieldValue { field: "lock status", got }),
    }
}

/// Text that is padded with zero bytes. It goes into names of documents, so it holds nothing that has a meaning there.
fn text(data: &[u8], field: &'static str) -> Result<String, NvidiaError> {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, padding) = data.split_at_checked(end).unwrap_or((data, &[]));
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(NvidiaError::FieldSize { field, got: text.len(), expected: "1 to 32 characters" });
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !text.iter().all(plain) || padding.iter().any(|byte| *byte != 0) {
        return Err(NvidiaError::FieldText { field });
    }
    String::from_utf8(text.to_vec()).map_err(|_| NvidiaError::FieldText { field })
}

/// Identities of eight bytes. All zeros and all ones stand for a link that leads nowhere.
fn pdis(data: &[u8], field: &'static str) -> Result<Vec<[u8; 8]>, NvidiaError> {
    let (chunks, rest) = data.as_chunks::<8>();
    if !rest.is_empty() || chunks.len() > MAX_PDIS {
        return Err(NvidiaError::FieldSize { field, got: data.len(), expected: "a multiple of 8 up to 288" });
    }
    Ok(chunks.iter().copied().filter(|pdi| *pdi != [0; 8] && *pdi != [0xff; 8]).collect())
}

fn set(pdis: impl Iterator<Item = [u8; 8]>) -> Vec<DeviceId> {
    let mut set: Vec<DeviceId> = pdis.map(Hex).collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// A VBIOS version as people write it: bytes 3, 2, 1, 0 and 4 in hex, so that `00 5e 00 96 01 …` is `96.00.5E.00.01`.
fn vbios_text(bytes: [u8; 8]) -> String {
    let [fourth, third, second, first, fifth, ..] = bytes;
    format!("{first:02X}.{second:02X}.{third:02X}.{fourth:02X}.{fifth:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vbios_version_reads_as_people_write_it() {
        assert_eq!(vbios_text([0x00, 0x5e, 0x00, 0x96, 0x01, 0, 0, 0]), "96.00.5E.00.01");
        assert_eq!(vbios_text([0x00, 0x88, 0x00, 0x97, 0x0f, 0, 0, 0]), "97.00.88.00.0F");
    }

    #[test]
    fn text_ends_at_the_padding_and_holds_nothing_else() {
        assert_eq!(text(b"882\0\0", "x"), Ok("882".to_owned()));
        assert_eq!(text(b"550.90.07", "x"), Ok("550.90.07".to_owned()));
        for wrong in [b"\0".as_slice(), b"", b"a\0b", b"a b", b"../x", b"\xff", &[b'1'; 33]] {
            assert!(text(wrong, "x").is_err(), "{wrong:?}");
        }
    }
}
