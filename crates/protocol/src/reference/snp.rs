//! Reference Values for AMD SEV-SNP.
//!
//! One entry is for one product line, because TCB components of two products do not compare. What an entry leaves out has
//! the strictest value that a well-kept machine can meet; fields that are not compared unless they are named say so, and
//! say why that is safe. A guest that may be debugged is refused always: there is no field that would accept it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AmdProduct, Machines, TcbVersion};
use crate::digest::{Hex, Measurement};

/// Which key signs a report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigningKey {
    /// The key of the chip, derived from its fuses and its TCB.
    Vcek,
    /// A key that AMD handed to a cloud provider for all its chips.
    Vlek,
}

impl SigningKey {
    /// The name in JSON and in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek => "vlek",
        }
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The four TCB versions of a report, each against its own floor, component by component.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcbFloors {
    /// What the signing key is derived from; the host may set it lower than what runs.
    pub reported: TcbVersion,
    /// What the host can no longer go back behind.
    pub committed: TcbVersion,
    /// What ran when the guest was launched.
    pub launch: TcbVersion,
    /// What runs.
    pub current: TcbVersion,
}

impl TcbFloors {
    /// The same floor for all four.
    pub const fn all(floor: TcbVersion) -> Self {
        Self { reported: floor, committed: floor, launch: floor, current: floor }
    }
}

/// Whether TCB versions of a product have the FMC component (SNP firmware ABI, 56860, section 2.2).
pub const fn has_fmc(product: AmdProduct) -> bool {
    matches!(product, AmdProduct::Turin)
}

/// What one bit may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// Not compared.
    Any,
    /// Must be set.
    On,
    /// Must be clear.
    Off,
}

impl Expect {
    /// Whether a bit is acceptable.
    pub const fn accepts(self, bit: bool) -> bool {
        match self {
            Self::Any => true,
            Self::On => bit,
            Self::Off => !bit,
        }
    }
}

/// The ABI version of the SNP firmware that a guest policy demands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbiVersion {
    /// Major.
    pub major: u8,
    /// Minor.
    pub minor: u8,
}

/// What the guest policy may be: the terms that the guest was launched on (SNP firmware ABI, 56860, section 4.3).
///
/// There is no field for the debug bit. It lets the host read the guest's memory, so it is refused always.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuestPolicyRules {
    /// The lowest ABI that the guest's policy must demand. Default 0.0, not compared: the TCB floors say which firmware
    /// may run.
    pub abi: AbiVersion,
    /// Whether the guest may run where SMT is on. Default `off`.
    pub smt: Expect,
    /// Whether a migration agent may take the guest's memory elsewhere. Default `off`.
    pub migration_agent: Expect,
    /// Whether the guest is kept to one socket. Default `any`: a second socket is as genuine as the first.
    pub single_socket: Expect,
    /// Whether the guest may run on memory behind CXL. Default `off`.
    pub cxl: Expect,
    /// Whether AES-256-XTS is demanded for memory. Default `any`: the alternative is AES-128-XEX.
    pub aes_256_xts: Expect,
    /// Whether power readings must be off. Default `any`: older firmware does not know the bit.
    pub rapl_disabled: Expect,
    /// Whether ciphertext hiding is demanded. Default `any`: only Turin can.
    pub ciphertext_hiding: Expect,
    /// Whether the host may not swap or move pages. Default `any`: only the newest firmware knows the bit.
    pub page_swap_disabled: Expect,
}

impl Default for GuestPolicyRules {
    fn default() -> Self {
        Self {
            abi: AbiVersion::default(),
            smt: Expect::Off,
            migration_agent: Expect::Off,
            single_socket: Expect::Any,
            cxl: Expect::Off,
            aes_256_xts: Expect::Any,
            rapl_disabled: Expect::Any,
            ciphertext_hiding: Expect::Any,
            page_swap_disabled: Expect::Any,
        }
    }
}

/// What the machine may be set to (56860, PLATFORM_INFO).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlatformInfoRules {
    /// Whether SMT is on. Default `off`.
    pub smt: Expect,
    /// Whether all memory is encrypted with one key besides. Default `any`: a guest's memory has a key of its own.
    pub tsme: Expect,
    /// Whether memory has error correction. Default `any`.
    pub ecc: Expect,
    /// Whether power readings are off. Default `any`: they are on wherever nobody turned them off.
    pub rapl_disabled: Expect,
    /// Whether ciphertext in DRAM is hidden from the host. Default `any`: only Turin can.
    pub ciphertext_hiding: Expect,
    /// Whether memory was checked for aliases since the last reset. Default `on`: without it, memory modules that lie
    /// about their size give the host a second view of a guest's memory (AMD-SB-3015). Reports of version 2 have no
    /// such bit and count as `off`.
    pub alias_check_complete: Expect,
    /// Whether devices may be trusted with guest memory (SEV-TIO). Default `off`.
    pub tio: Expect,
}

impl Default for PlatformInfoRules {
    fn default() -> Self {
        Self {
            smt: Expect::Off,
            tsme: Expect::Any,
            ecc: Expect::Any,
            rapl_disabled: Expect::Any,
            ciphertext_hiding: Expect::Any,
            alias_check_complete: Expect::On,
            tio: Expect::Off,
        }
    }
}

/// The mitigations that must be in place, by bit number of the vectors that reports have from version 5 on. An older
/// report shows none. Default none: the TCB floors carry the same promise for what is in the firmware.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mitigations {
    /// When the guest was launched.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub launch: BTreeSet<u8>,
    /// Now.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub current: BTreeSet<u8>,
}

impl Mitigations {
    fn is_empty(&self) -> bool {
        self.launch.is_empty() && self.current.is_empty()
    }
}

/// The oldest report version that shows which processor made it.
const REPORT_WITH_CPUID: u32 = 3;
/// The report versions that this release reads.
const REPORT_VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;
/// The least privileged VMPL.
const LAST_VMPL: u32 = 3;
/// Bits of a mitigation vector.
const MITIGATION_BITS: u8 = 64;

fn chip_key_only() -> BTreeSet<SigningKey> {
    BTreeSet::from([SigningKey::Vcek])
}

fn report_with_cpuid() -> u32 {
    REPORT_WITH_CPUID
}

/// One entry: what a guest on one product line must be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpReferenceValues {
    /// What this entry is for, in people's words.
    pub platform: String,
    /// The product line.
    pub product: AmdProduct,
    /// Launch digests that may have been started.
    pub measurements: Vec<Measurement>,
    /// The chips that may answer, or `"any"`. A report that masks its chip is judged by the chip in its VCEK; one that
    /// was signed with a VLEK and masks its chip is on no list.
    pub chip_ids: Machines<Hex<64>>,
    /// Floors of the four TCB versions.
    pub tcb: TcbFloors,
    /// Whether the host may run firmware that it can still go back from (committed and current differ). Default no.
    #[serde(default)]
    pub provisional_firmware: bool,
    /// The keys that may sign. Default: the chip's own, `["vcek"]`.
    #[serde(default = "chip_key_only")]
    pub signing_keys: BTreeSet<SigningKey>,
    /// The cloud providers whose VLEK may sign, as their certificates spell them. Needed with `vlek`, senseless without.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub csp_ids: BTreeSet<String>,
    /// The oldest acceptable report version. Default 3, the first that shows which processor made it.
    #[serde(default = "report_with_cpuid")]
    pub min_report_version: u32,
    /// The guest policy. Its defaults refuse SMT, migration and CXL.
    #[serde(default)]
    pub guest_policy: GuestPolicyRules,
    /// The machine's settings. Their defaults refuse SMT and SEV-TIO and demand the alias check.
    #[serde(default)]
    pub platform_info: PlatformInfoRules,
    /// The privilege level that the report was asked from. Default 0, the most privileged: only there does the report
    /// speak for the whole guest.
    #[serde(default)]
    pub vmpl: u32,
    /// Mitigations that must be in place.
    #[serde(default, skip_serializing_if = "Mitigations::is_empty")]
    pub mitigations: Mitigations,
    /// The lowest acceptable SVN of the guest. Default 0, not compared: the measurement is.
    #[serde(default)]
    pub min_guest_svn: u32,
    /// SHA-384 digests of keys that may have signed the ID block. Absent: not compared, which is safe because an ID block
    /// only adds conditions to a launch whose measurement is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_key_digests: Option<BTreeSet<Hex<48>>>,
    /// SHA-384 digests of keys that may have certified the ID key. Absent: not compared, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_key_digests: Option<BTreeSet<Hex<48>>>,
    /// Acceptable family ids. Absent: not compared, since only the ID block's signer means something by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_ids: Option<BTreeSet<Hex<16>>>,
    /// Acceptable image ids. Absent: not compared, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ids: Option<BTreeSet<Hex<16>>>,
}

impl SnpReferenceValues {
    /// An entry with every default, for one product, its measurements, chips and one floor for all four TCB versions.
    pub fn new(
        platform: impl Into<String>,
        product: AmdProduct,
        measurements: Vec<Measurement>,
        chip_ids: Machines<Hex<64>>,
        floor: TcbVersion,
    ) -> Self {
        Self {
            platform: platform.into(),
            product,
            measurements,
            chip_ids,
            tcb: TcbFloors::all(floor),
            provisional_firmware: false,
            signing_keys: chip_key_only(),
            csp_ids: BTreeSet::new(),
            min_report_version: REPORT_WITH_CPUID,
            guest_policy: GuestPolicyRules::default(),
            platform_info: PlatformInfoRules::default(),
            vmpl: 0,
            mitigations: Mitigations::default(),
            min_guest_svn: 0,
            id_key_digests: None,
            author_key_digests: None,
            family_ids: None,
            image_ids: None,
        }
    }

    /// Checks what types cannot: an entry that nothing could meet, or that contradicts itself. Gives the JSON path
    /// within the entry, and why.
    pub fn validate(&self) -> Result<(), (String, &'static str)> {
        let invalid = |path: &str, reason: &'static str| Err((path.to_owned(), reason));
        if self.measurements.is_empty() {
            return invalid("measurements", "empty: nothing could ever be accepted");
        }
        if let Machines::Listed(chips) = &self.chip_ids {
            if chips.is_empty() {
                return invalid("chip_ids", "empty: no machine could ever be accepted");
            }
            if let Some(index) = chips.iter().position(|chip| chip.0 == [0; 64]) {
                return Err((format!("chip_ids[{index}]"), "zero is how a report masks its chip, and names none"));
            }
        }
        if self.signing_keys.is_empty() {
            return invalid("signing_keys", "empty: nothing could ever be accepted");
        }
        match (self.signing_keys.contains(&SigningKey::Vlek), self.csp_ids.is_empty()) {
            (true, true) => return invalid("csp_ids", "a VLEK is accepted, but no cloud provider is named"),
            (false, false) => return invalid("csp_ids", "cloud providers are named, but `signing_keys` has no `vlek`"),
            (true, false) | (false, true) => {}
        }
        let floors = [
            ("tcb.reported.fmc", self.tcb.reported),
            ("tcb.committed.fmc", self.tcb.committed),
            ("tcb.launch.fmc", self.tcb.launch),
            ("tcb.current.fmc", self.tcb.current),
        ];
        for (path, floor) in floors {
            match (has_fmc(self.product), floor.fmc) {
                (true, None) => return invalid(path, "missing: TCB versions of this product have an FMC component"),
                (false, Some(_)) => return invalid(path, "TCB versions of this product have no FMC component"),
                (true, Some(_)) | (false, None) => {}
            }
        }
        if !REPORT_VERSIONS.contains(&self.min_report_version) {
            return invalid("min_report_version", "must be from 2 to 5");
        }
        if self.vmpl > LAST_VMPL {
            return invalid("vmpl", "must be from 0 to 3");
        }
        for (path, bits) in
            [("mitigations.launch", &self.mitigations.launch), ("mitigations.current", &self.mitigations.current)]
        {
            if bits.iter().any(|bit| *bit >= MITIGATION_BITS) {
                return invalid(path, "bits are numbered from 0 to 63");
            }
        }
        let (policy, platform) = (&self.guest_policy, &self.platform_info);
        // The firmware launches no guest whose policy its platform does not meet, so these could never be met together.
        let impossible = [
            ("platform_info.smt", policy.smt == Expect::Off && platform.smt == Expect::On),
            (
                "platform_info.rapl_disabled",
                policy.rapl_disabled == Expect::On && platform.rapl_disabled == Expect::Off,
            ),
            (
                "platform_info.ciphertext_hiding",
                policy.ciphertext_hiding == Expect::On && platform.ciphertext_hiding == Expect::Off,
            ),
        ];
        if let Some((path, _)) = impossible.into_iter().find(|(_, wrong)| *wrong) {
            return invalid(path, "contradicts `guest_policy`: no such guest can be launched on such a machine");
        }
        for (path, list) in [("id_key_digests", &self.id_key_digests), ("author_key_digests", &self.author_key_digests)]
        {
            if list.as_ref().is_some_and(BTreeSet::is_empty) {
                return invalid(path, "empty: nothing could ever be accepted; leave it out not to compare it");
            }
        }
        for (path, list) in [("family_ids", &self.family_ids), ("image_ids", &self.image_ids)] {
            if list.as_ref().is_some_and(BTreeSet::is_empty) {
                return invalid(path, "empty: nothing could ever be accepted; leave it out not to compare it");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: TcbVersion = TcbVersion { fmc: None, bootloader: 3, tee: 0, snp: 8, microcode: 115 };

    fn entry() -> SnpReferenceValues {
        let chips = Machines::Listed(vec![Hex([7; 64])]);
        SnpReferenceValues::new(
            "metal-qemu-snp",
            AmdProduct::Milan,
            vec![Measurement::from_bytes([1; 48])],
            chips,
            FLOOR,
        )
    }

    #[test]
    fn an_entry_with_what_is_required_has_the_strict_defaults() {
        let json = serde_json::json!({
            "platform": "metal-qemu-snp",
            "product": "milan",
            "measurements": ["01".repeat(48)],
            "chip_ids": ["07".repeat(64)],
            "tcb": {
                "reported": { "bootloader": 3, "tee": 0, "snp": 8, "microcode": 115 },
                "committed": { "bootloader": 3, "tee": 0, "snp": 8, "microcode": 115 },
                "launch": { "bootloader": 3, "tee": 0, "snp": 8, "microcode": 115 },
                "current": { "bootloader": 3, "tee": 0, "snp": 8, "microcode": 115 },
            },
        });
        let read: SnpReferenceValues = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(read, entry());
        assert_eq!(read.validate(), Ok(()));
        for required in ["platform", "product", "measurements", "chip_ids", "tcb"] {
            let mut without = json.clone();
            without.as_object_mut().unwrap().remove(required);
            assert!(serde_json::from_value::<SnpReferenceValues>(without).is_err(), "{required}");
        }
    }

    #[test]
    fn an_entry_survives_its_json() {
        let mut full = entry();
        full.signing_keys.insert(SigningKey::Vlek);
        full.csp_ids.insert("CN=cloud".to_owned());
        full.mitigations.launch.insert(1);
        full.id_key_digests = Some(BTreeSet::from([Hex([1; 48])]));
        full.family_ids = Some(BTreeSet::from([Hex([1; 16])]));
        full.guest_policy.smt = Expect::Any;
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<SnpReferenceValues>(&text).unwrap(), full);
        let debug = text.replace(r#""cxl":"#, r#""debug":"any","cxl":"#);
        assert!(serde_json::from_str::<SnpReferenceValues>(&debug).is_err(), "there is no field for debug");
    }

    #[test]
    fn contradictions_are_named_by_their_path() {
        type Change = fn(&mut SnpReferenceValues);
        let table: [(&str, Change); 19] = [
            ("measurements", |v| v.measurements.clear()),
            ("chip_ids", |v| v.chip_ids = Machines::Listed(vec![])),
            ("chip_ids[1]", |v| v.chip_ids = Machines::Listed(vec![Hex([1; 64]), Hex([0; 64])])),
            ("signing_keys", |v| v.signing_keys.clear()),
            ("csp_ids", |v| _ = v.signing_keys.insert(SigningKey::Vlek)),
            ("csp_ids", |v| _ = v.csp_ids.insert("CN=cloud".to_owned())),
            ("tcb.reported.fmc", |v| v.product = AmdProduct::Turin),
            ("tcb.reported.fmc", |v| v.tcb.reported.fmc = Some(1)),
            ("tcb.committed.fmc", |v| v.tcb.committed.fmc = Some(1)),
            ("tcb.launch.fmc", |v| v.tcb.launch.fmc = Some(1)),
            ("tcb.current.fmc", |v| v.tcb.current.fmc = Some(1)),
            ("min_report_version", |v| v.min_report_version = 6),
            ("vmpl", |v| v.vmpl = 4),
            ("mitigations.launch", |v| _ = v.mitigations.launch.insert(64)),
            ("mitigations.current", |v| _ = v.mitigations.current.insert(255)),
            ("platform_info.smt", |v| v.platform_info.smt = Expect::On),
            ("id_key_digests", |v| v.id_key_digests = Some(BTreeSet::new())),
            ("author_key_digests", |v| v.author_key_digests = Some(BTreeSet::new())),
            ("image_ids", |v| v.image_ids = Some(BTreeSet::new())),
        ];
        for (path, change) in table {
            let mut values = entry();
            change(&mut values);
            assert_eq!(values.validate().unwrap_err().0, path);
        }
    }
}
