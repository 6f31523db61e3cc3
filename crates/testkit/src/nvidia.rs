//! GPUs and NVSwitches under a root of one's own: transcripts for any claims, whole machines of them, and everything that
//! can be wrong about them.

use protocol::Digest;
use protocol::digest::Hex;
use protocol::evidence::{DeviceEvidence, DeviceKind};

use crate::der::{
    self, COMMON_NAME, Certificate, Extension, Key, KeyKind, Name, bit_string, explicit, implicit, integer,
    octet_string, oid, pem, printable_string, sequence, tlv, utf8_string,
};
use crate::rim::TestRim;

/// The last second of X.509: NVIDIA's device certificates never expire.
const NEVER: u64 = 253_402_300_799;

/// A kind of device that the rig makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chip {
    /// A Hopper GPU.
    Gh100,
    /// A Blackwell GPU.
    Gb100,
    /// An NVSwitch.
    Ls10,
}

impl Chip {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gh100, Self::Gb100, Self::Ls10];

    /// Its name in certificates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gh100 => "GH100",
            Self::Gb100 => "GB100",
            Self::Ls10 => "LS_10",
        }
    }

    /// Its name in manifests.
    pub const fn product(self) -> &'static str {
        match self {
            Self::Ls10 => "LS10",
            other => other.name(),
        }
    }

    const fn engine(self) -> &'static str {
        match self {
            Self::Ls10 => "FSP",
            Self::Gh100 | Self::Gb100 => "GSP",
        }
    }

    /// The first byte of the boot ROM's serial number.
    const fn prefix(self) -> u8 {
        match self {
            Self::Ls10 => 0x50,
            Self::Gh100 | Self::Gb100 => 0x41,
        }
    }

    /// Which kind of device it is.
    pub const fn kind(self) -> DeviceKind {
        match self {
            Self::Ls10 => DeviceKind::Switch,
            Self::Gh100 | Self::Gb100 => DeviceKind::Gpu,
        }
    }

    /// The driver version of [`TestReport::new`]; a switch has none.
    pub const fn driver_version(self) -> &'static str {
        match self {
            Self::Gh100 => "590.12",
            Self::Gb100 => "595.32",
            Self::Ls10 => "",
        }
    }

    /// The VBIOS or firmware version of [`TestReport::new`].
    pub const fn vbios_version(self) -> &'static str {
        match self {
            Self::Gh100 => "96.00.A5.00.01",
            Self::Gb100 => "97.00.88.00.0F",
            Self::Ls10 => "96.10.73.00.01",
        }
    }

    const fn vbios_bytes(self) -> [u8; 8] {
        match self {
            Self::Gb100 => [0x00, 0x88, 0x00, 0x97, 0x0f, 0, 0, 0],
            Self::Gh100 | Self::Ls10 => [0x00, 0xa5, 0x00, 0x96, 0x01, 0, 0, 0],
        }
    }

    const fn blocks(self) -> u8 {
        match self {
            Self::Ls10 => 31,
            Self::Gh100 | Self::Gb100 => 64,
        }
    }
}

/// An NVIDIA of one's own: a root and the authorities below it.
#[derive(Debug)]
pub struct TestNvidia {
    root: (Key, Vec<u8>),
    families: Vec<Family>,
}

/// The authorities of one chip.
#[derive(Debug)]
struct Family {
    chip: Chip,
    key: Key,
    certificate: Vec<u8>,
    provisioner: Key,
    provisioner_certificate: Vec<u8>,
}

impl Default for TestNvidia {
    fn default() -> Self {
        Self::new()
    }
}

impl TestNvidia {
    /// New keys, and certificates of the shape of NVIDIA's.
    pub fn new() -> Self {
        let root_key = Key::generate(KeyKind::P384);
        let root_name = Name::common("NVIDIA Device Identity CA");
        let root = authority(root_name.clone(), root_name.clone(), false).sign(&root_key, &root_key);
        let families = Chip::ALL.map(|chip| {
            let key = Key::generate(KeyKind::P384);
            // Switches of Hopper machines stand under Hopper's family.
            let family = if chip == Chip::Ls10 { Chip::Gh100 } else { chip };
            let family_name = Name::common(&format!("NVIDIA {} Identity", family.name()));
            let certificate = authority(family_name.clone(), root_name.clone(), true).sign(&key, &root_key);
            let below = Key::generate(KeyKind::P384);
            let provisioner_certificate = authority(provisioner(chip), family_name, true).sign(&below, &key);
            Family { chip, key, certificate, provisioner: below, provisioner_certificate }
        });
        Self { root: (root_key, root), families: families.into() }
    }

    /// The fingerprint of the root.
    pub fn root(&self) -> Digest {
        Digest::of(&self.root.1)
    }

    /// The key and the certificate of the root.
    pub fn root_authority(&self) -> (&Key, &[u8]) {
        (&self.root.0, &self.root.1)
    }

    /// The keys of the authorities above a chip's boot ROM, lowest first: provisioner, family.
    pub fn authorities(&self, chip: Chip) -> [&Key; 2] {
        let family = self.family(chip);
        [&family.provisioner, &family.key]
    }

    fn family(&self, chip: Chip) -> &Family {
        self.families.iter().find(|family| family.chip == chip).expect("every chip has a family")
    }

    /// A device with this identity, whose firmware has this id.
    pub fn device(&self, chip: Chip, pdi: [u8; 8], fwid: [u8; 48]) -> TestDevice {
        self.device_with(chip, pdi, fwid, |leaf, _| leaf)
    }

    /// A device whose key's certificate was changed before it was signed. `change` gets the certificate, and the key of the
    /// boot ROM that is going to sign it.
    pub fn device_with(
        &self,
        chip: Chip,
        pdi: [u8; 8],
        fwid: [u8; 48],
        change: impl FnOnce(Certificate, &Key) -> Certificate,
    ) -> TestDevice {
        let family = self.family(chip);
        let brom_key = Key::generate(KeyKind::P384);
        let mut serial = vec![chip.prefix()];
        serial.extend_from_slice(&pdi);
        let brom_name = device_name(&serial, &format!("{} A01 {} BROM", chip.name(), chip.engine()));
        let mut brom = Certificate::new(brom_name.clone(), provisioner(chip)).valid(der::NOT_BEFORE, NEVER);
        brom.serial.clone_from(&serial);
        brom.extensions = vec![Extension::ca(None), Extension::key_usage(&[5])];

        let key = Key::generate(KeyKind::P384);
        let leaf_serial = leaf_serial(pdi, &fwid);
        let name = device_name(&leaf_serial, &format!("{} A01 {} FMC LF", chip.name(), chip.engine()));
        let mut leaf = Certificate::new(name, brom_name).valid(der::NOT_BEFORE, NEVER);
        leaf.serial = leaf_serial;
        leaf.extensions = vec![Extension::key_usage(&[0]), firmware(chip, &brom_key, &fwid, &[0x80])];
        let leaf = change(leaf, &brom_key);
        let chain = vec![
            leaf.sign(&key, &brom_key),
            brom.sign(&brom_key, &family.provisioner),
            family.provisioner_certificate.clone(),
            family.certificate.clone(),
            self.root.1.clone(),
        ];
        TestDevice { chip, pdi, fwid, key, chain }
    }

    /// A machine: GPUs and switches that are linked each with each and answer `nonce`. Drivers and firmware are those of
    /// [`TestReport::new`].
    pub fn machine(&self, number: u8, gpus: u8, switches: u8, nonce: [u8; 32]) -> Vec<(TestDevice, TestReport)> {
        let pdi = |kind: u8, index: u8| [kind, number, index, 4, 5, 6, 7, 8];
        let gpu_pdis: Vec<_> = (0..gpus).map(|index| pdi(0xa0, index)).collect();
        let switch_pdis: Vec<_> = (0..switches).map(|index| pdi(0xb0, index)).collect();
        let device = |chip: Chip, pdi: [u8; 8]| self.device(chip, pdi, [chip.prefix(); 48]);
        let gpus = gpu_pdis.iter().map(|pdi| {
            let mut report = TestReport::new(Chip::Gh100, nonce);
            report.set(field::FWID, vec![Chip::Gh100.prefix(); 48]).links(&switch_pdis);
            (device(Chip::Gh100, *pdi), report)
        });
        let switches = switch_pdis.iter().map(|pdi| {
            let mut report = TestReport::new(Chip::Ls10, nonce);
            report.set(field::PDI, pdi.to_vec()).links(&gpu_pdis);
            (device(Chip::Ls10, *pdi), report)
        });
        gpus.chain(switches).collect()
    }
}

/// The Evidence of a whole machine.
pub fn evidence_of(machine: &[(TestDevice, TestReport)]) -> Vec<DeviceEvidence> {
    machine.iter().map(|(device, report)| device.evidence(report)).collect()
}

fn authority(subject: Name, issuer: Name, responder: bool) -> Certificate {
    let mut certificate = Certificate::ca(subject, issuer, None).valid(der::NOT_BEFORE, NEVER);
    if responder {
        // Authority information access: id-ad-ocsp and a URI (RFC 5280, section 4.2.2.1).
        let access = sequence(&[oid("1.3.6.1.5.5.7.48.1"), tlv(0x86, b"http://ocsp.ndis.nvidia.com")]);
        certificate = certificate.with(Extension::new("1.3.6.1.5.5.7.1.1", sequence(&[access])));
    }
    // Serial numbers differ, so that OCSP can tell the authorities apart.
    certificate.serial = Digest::of(&certificate.subject.der()).as_bytes()[..8].to_vec();
    certificate
}

/// The name of a chip's provisioner.
pub fn provisioner(chip: Chip) -> Name {
    Name::common(&format!("NVIDIA {} Provisioner ICA 1", chip.name()))
}

/// A device's name: its serial number, country, organisation and common name, in NVIDIA's order.
pub fn device_name(serial: &[u8], common: &str) -> Name {
    let serial = serial.iter().fold(String::new(), |text, byte| format!("{text}{byte:02X}"));
    Name(vec![
        ("2.5.4.5", printable_string(&serial)),
        ("2.5.4.6", printable_string("US")),
        ("2.5.4.10", utf8_string("NVIDIA Corporation")),
        (COMMON_NAME, utf8_string(common)),
    ])
}

fn leaf_serial(pdi: [u8; 8], fwid: &[u8; 48]) -> Vec<u8> {
    let mut serial = Digest::of_fields(&[&pdi, fwid]).as_bytes()[..20].to_vec();
    serial[0] = 0x45;
    serial
}

/// The extension that names the firmware: CompositeDeviceID for Hopper and switches, TcbInfo for Blackwell, with `flags`
/// as the first bytes of its OperationalFlags.
pub fn firmware(chip: Chip, device_key: &Key, fwid: &[u8; 48], flags: &[u8]) -> Extension {
    let id = sequence(&[oid("2.16.840.1.101.3.4.2.2"), octet_string(fwid)]);
    match chip {
        Chip::Gh100 | Chip::Ls10 => Extension::new("2.23.133.5.4.1", sequence(&[integer(1), device_key.spki(), id])),
        Chip::Gb100 => {
            let other = sequence(&[oid("2.16.840.1.101.3.4.2.2"), octet_string(&[0; 48])]);
            let flags = bit_string(flags);
            Extension::new(
                "2.23.133.5.4.1.1",
                sequence(&[
                    implicit(0, b"NVIDIA"),
                    implicit(1, b"GB100 A01 GSP"),
                    implicit(2, b"01"),
                    implicit(3, &[1]),
                    explicit(6, &[id, other].concat()),
                    // Implicit: the content of the BIT STRING without its tag and length.
                    implicit(7, &flags[2..]),
                ]),
            )
        }
    }
}

/// A device: a key that signs reports, and its chain.
#[derive(Debug)]
pub struct TestDevice {
    /// What it is.
    pub chip: Chip,
    /// Its identity.
    pub pdi: [u8; 8],
    /// The firmware that its key was issued to.
    pub fwid: [u8; 48],
    /// The key that signs reports.
    pub key: Key,
    /// Its certificates, leaf first, DER.
    pub chain: Vec<Vec<u8>>,
}

impl TestDevice {
    /// Its identity as claims have it.
    pub fn id(&self) -> Hex<8> {
        Hex(self.pdi)
    }

    /// Its certificates, leaf first, PEM.
    pub fn pem(&self) -> Vec<u8> {
        pem_of(&self.chain)
    }

    /// A signed transcript.
    pub fn sign(&self, report: &TestReport) -> Vec<u8> {
        let mut bytes = report.unsigned();
        bytes.extend(self.key.sign_fixed(&bytes));
        bytes
    }

    /// Evidence.
    pub fn evidence(&self, report: &TestReport) -> DeviceEvidence {
        DeviceEvidence { kind: self.chip.kind(), report: self.sign(report), chain: self.pem() }
    }
}

/// Certificates as PEM.
pub fn pem_of(chain: &[Vec<u8>]) -> Vec<u8> {
    chain.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>().into_bytes()
}

/// NVIDIA's kinds of opaque fields.
pub mod field {
    /// The driver's version.
    pub const DRIVER_VERSION: u16 = 3;
    /// The VBIOS's version, or the firmware's of a switch.
    pub const VBIOS_VERSION: u16 = 6;
    /// The state of the video decoder.
    pub const NVDEC0: u16 = 11;
    /// How often each measurement was extended.
    pub const COUNTS: u16 = 12;
    /// The board's id.
    pub const BOARD_ID: u16 = 14;
    /// The chip's SKU.
    pub const CHIP_SKU: u16 = 15;
    /// The project.
    pub const PROJECT: u16 = 17;
    /// The project's SKU.
    pub const PROJECT_SKU: u16 = 18;
    /// The firmware's id.
    pub const FWID: u16 = 20;
    /// Whether PCIe is protected.
    pub const PROTECTED_PCIE: u16 = 21;
    /// A GPU's switches; a switch's own identity.
    pub const PDI: u16 = 22;
    /// A switch's place.
    pub const POSITION: u16 = 24;
    /// Whether a switch is locked.
    pub const LOCK: u16 = 25;
    /// A switch's GPUs and ports.
    pub const GPU_PDIS: u16 = 26;
    /// The version of these fields.
    pub const FIELDS_VERSION: u16 = 34;
    /// The chip's name.
    pub const CHIP: u16 = 35;
    /// How the GPU runs.
    pub const FEATURE: u16 = 36;
}

/// A transcript to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestReport {
    /// Of which kind of device.
    pub chip: Chip,
    /// The request.
    pub request: Vec<u8>,
    /// The response up to the count of blocks: version, code and two parameters.
    pub response: [u8; 4],
    /// The measurements: SPDM's index from 1, and the digest.
    pub measurements: Vec<(u8, [u8; 48])>,
    /// The responder's nonce.
    pub responder_nonce: [u8; 32],
    /// The opaque fields.
    pub fields: Vec<(u16, Vec<u8>)>,
}

impl TestReport {
    /// A report of a genuine device, by itself: every measurement differs, and a GPU runs alone. It reports no firmware id
    /// until one is set.
    pub fn new(chip: Chip, nonce: [u8; 32]) -> Self {
        let mut request = vec![0x11, 0xe0, 0x01, 0xff];
        request.extend_from_slice(&nonce);
        request.push(0);
        let measurements = (1..=chip.blocks()).map(|index| (index, measurement(chip, index))).collect();
        let mut report = Self {
            chip,
            request,
            response: [0x11, 0x60, 0, 0],
            measurements,
            responder_nonce: [0x77; 32],
            fields: Vec::new(),
        };
        match chip {
            Chip::Gh100 | Chip::Gb100 => {
                let driver = [chip.driver_version().as_bytes(), &[0]].concat();
                report
                    .set(field::VBIOS_VERSION, chip.vbios_bytes().to_vec())
                    .set(field::BOARD_ID, vec![0x37, 4, 0, 0])
                    .set(field::CHIP_SKU, b"885\0\0\0\0\0\0".to_vec())
                    .set(16, b"0\0\0\0\0".to_vec())
                    .set(field::PROJECT, b"G520\0".to_vec())
                    .set(field::PROJECT_SKU, b"0200\0".to_vec())
                    .set(19, b"\0\0".to_vec())
                    .set(field::DRIVER_VERSION, driver)
                    .set(4, vec![0x80, 1, 0, 0, 0, 0, 0, 0])
                    .set(field::COUNTS, vec![0; 256])
                    .set(13, vec![0, 0xc0, 1, 0])
                    .set(field::NVDEC0, vec![0x55])
                    .set(field::PROTECTED_PCIE, vec![0x55])
                    .set(field::FIELDS_VERSION, vec![1, 0])
                    .set(field::FEATURE, vec![1, 0]);
            }
            Chip::Ls10 => {
                report
                    .set(field::VBIOS_VERSION, chip.vbios_version().as_bytes().to_vec())
                    .set(field::PDI, vec![1; 8])
                    .set(field::COUNTS, vec![0; 104])
                    .set(field::GPU_PDIS, [[0xff; 64], [0xff; 64]].concat())
                    .set(23, vec![0xec, 0])
                    .set(field::POSITION, vec![2, 0])
                    .set(field::LOCK, vec![1, 0]);
            }
        }
        report
    }

    /// Puts a field, or replaces it.
    pub fn set(&mut self, kind: u16, data: Vec<u8>) -> &mut Self {
        match self.fields.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, old)) => *old = data,
            None => self.fields.push((kind, data)),
        }
        self
    }

    /// Takes a field away.
    pub fn remove(&mut self, kind: u16) -> &mut Self {
        self.fields.retain(|(known, _)| *known != kind);
        self
    }

    /// Links it with others, as its kind of device reports that: a GPU in PPCIe mode with switches at its 18 links, a
    /// locked switch with GPUs.
    pub fn links(&mut self, peers: &[[u8; 8]]) -> &mut Self {
        match self.chip {
            Chip::Gh100 | Chip::Gb100 => {
                let links: Vec<u8> = (0..18)
                    .flat_map(|link: usize| {
                        let mut pdi = if peers.is_empty() { [0xff; 8] } else { peers[link % peers.len()] };
                        pdi.reverse();
                        pdi
                    })
                    .collect();
                self.set(field::PDI, links).set(field::FEATURE, vec![2, 0]).set(field::PROTECTED_PCIE, vec![0xaa])
            }
            Chip::Ls10 => {
                let mut gpus: Vec<u8> = peers.concat();
                gpus.resize(64, 0xff);
                gpus.resize(128, 0xff);
                self.set(field::GPU_PDIS, gpus)
            }
        }
    }

    /// The transcript without its signature.
    pub fn unsigned(&self) -> Vec<u8> {
        let record: Vec<u8> = self.measurements.iter().flat_map(|(index, digest)| block(*index, digest)).collect();
        let opaque: Vec<u8> = self
            .fields
            .iter()
            .flat_map(|(kind, data)| {
                let length = u16::try_from(data.len()).expect("fields are short");
                [&kind.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
            })
            .collect();
        let mut bytes = self.request.clone();
        bytes.extend_from_slice(&self.response);
        bytes.push(u8::try_from(self.measurements.len()).expect("measurements are few"));
        bytes.extend_from_slice(&u32::try_from(record.len()).expect("and short").to_le_bytes()[..3]);
        bytes.extend_from_slice(&record);
        bytes.extend_from_slice(&self.responder_nonce);
        bytes.extend_from_slice(&u16::try_from(opaque.len()).expect("fields are few").to_le_bytes());
        bytes.extend_from_slice(&opaque);
        bytes
    }

    /// The manifests that this report agrees with: the driver's with indices 1 to 20 and the VBIOS's with 21 to 32, or the
    /// switch's with all.
    pub fn manifests(&self) -> Vec<TestRim> {
        let golden = |indices: std::ops::RangeInclusive<u8>| -> Vec<(u32, [u8; 48])> {
            indices.map(|index| (u32::from(index), measurement(self.chip, index + 1))).collect()
        };
        let (product, vbios) = (self.chip.product(), self.chip.vbios_version());
        match self.chip {
            Chip::Gh100 | Chip::Gb100 => vec![
                TestRim::new(product, "GPU", self.chip.driver_version(), &golden(1..=20)),
                TestRim::new(product, "GPU", vbios, &golden(21..=32)),
            ],
            Chip::Ls10 => vec![TestRim::new(product, "SWITCH", vbios, &golden(0..=30))],
        }
    }
}

/// One block of a measurement record.
pub fn block(index: u8, digest: &[u8; 48]) -> Vec<u8> {
    [&[index, 1, 51, 0, 1, 48, 0][..], digest].concat()
}

/// What a genuine device of the rig measures.
pub fn measurement(chip: Chip, index: u8) -> [u8; 48] {
    let mut digest = [index; 48];
    digest[..5].copy_from_slice(chip.name().as_bytes());
    digest
}
