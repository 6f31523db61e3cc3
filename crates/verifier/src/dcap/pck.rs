//! What a PCK certificate says of its platform: the extension 1.2.840.113741.1.13.1 ("Intel SGX PCK Certificate and CRL
//! Profile Specification", section 1.3.5, table 4).
//!
//! ```text
//! SEQUENCE OF SEQUENCE { OBJECT IDENTIFIER, value }, with the object identifiers 1.2.840.113741.1.13.1.n
//!   1 PPID, 2 TCB { 1..16 component SVNs, 17 PCESVN, 18 CPUSVN }, 3 PCEID, 4 FMSPC, 5 SGX type,
//!   6 platform instance id, 7 configuration { 1 dynamic platform, 2 cached keys, 3 SMT enabled }
//! ```

use protocol::digest::Hex;
use serde::Serialize;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};

/// The extension's object identifier.
pub(super) const PCK_EXTENSION: &str = "1.2.840.113741.1.13.1";

/// The same in DER, without tag and length: what every identifier inside begins with.
const ARC: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];

/// LIMIT: the TCB sequence has 18 entries, no other has more than 7.
const MAX_ENTRIES: usize = 32;

/// Why the extension cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PckError {
    /// No such extension.
    #[error("PCK certificate has no SGX extension")]
    NoExtension,
    /// Not the DER that the profile describes.
    #[error("SGX extension of the PCK certificate: {0} is not as the profile has it")]
    Malformed(&'static str),
    /// A field that every PCK certificate has is not there.
    #[error("SGX extension of the PCK certificate: {0} is missing")]
    Absent(&'static str),
    /// A field stands there twice.
    #[error("SGX extension of the PCK certificate: {0} stands there twice")]
    Twice(&'static str),
}

/// What a PCK certificate says of its platform.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PckExtension {
    /// Provisioning id of the processor package.
    pub ppid: Hex<16>,
    /// The SVNs of the 16 components of the TCB, which Intel's TCB levels are compared with.
    pub components: [u8; 16],
    /// SVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// CPUSVN: the same components, as the processor reports them.
    pub cpu_svn: Hex<16>,
    /// Which provisioning certification enclave.
    pub pce_id: Hex<2>,
    /// Family, model, stepping, platform and custom SKU.
    pub fmspc: Hex<6>,
    /// 0 standard, 1 scalable, 2 scalable with integrity.
    pub sgx_type: u8,
    /// The platform instance id. Certificates of the processor CA have none.
    pub platform_instance_id: Option<Hex<16>>,
    /// Whether packages may be added to the platform after registration.
    pub dynamic_platform: Option<bool>,
    /// Whether Intel's registration service keeps the platform's root keys.
    pub cached_keys: Option<bool>,
    /// Whether hyperthreading is on.
    pub smt_enabled: Option<bool>,
}

/// The fields, as they are found.
#[derive(Default)]
struct Found {
    ppid: Option<Hex<16>>,
    components: [Option<u8>; 16],
    pce_svn: Option<u16>,
    cpu_svn: Option<Hex<16>>,
    pce_id: Option<Hex<2>>,
    fmspc: Option<Hex<6>>,
    sgx_type: Option<u8>,
    platform_instance_id: Option<Hex<16>>,
    dynamic_platform: Option<bool>,
    cached_keys: Option<bool>,
    smt_enabled: Option<bool>,
}

impl PckExtension {
    /// Reads the extension's value (what the certificate's OCTET STRING holds).
    pub fn parse(der: &[u8]) -> Result<Self, PckError> {
        let outer = whole(der, "the extension")?;
        let mut found = Found::default();
        for_each(&outer, "the extension", |suffix, value| {
            match suffix {
                [1] => set(&mut found.ppid, octets(value, "PPID")?, "PPID"),
                [2] => for_each(value, "TCB", |suffix, value| tcb_entry(&mut found, suffix, value)),
                [3] => set(&mut found.pce_id, octets(value, "PCEID")?, "PCEID"),
                [4] => set(&mut found.fmspc, octets(value, "FMSPC")?, "FMSPC"),
                [5] => set(&mut found.sgx_type, number(value, Tag::Enumerated, "SGX type")?, "SGX type"),
                [6] => {
                    set(&mut found.platform_instance_id, octets(value, "platform instance id")?, "platform instance id")
                }
                [7] => for_each(value, "configuration", |suffix, value| configuration_entry(&mut found, suffix, value)),
                // The profile grows by further numbers; what they say is not judged here.
                _ => Ok(()),
            }
        })?;
        found.complete()
    }
}

impl Found {
    fn complete(self) -> Result<PckExtension, PckError> {
        let mut components = [0; 16];
        for (slot, component) in components.iter_mut().zip(self.components) {
            *slot = component.ok_or(PckError::Absent("a TCB component"))?;
        }
        Ok(PckExtension {
            ppid: self.ppid.ok_or(PckError::Absent("PPID"))?,
            components,
            pce_svn: self.pce_svn.ok_or(PckError::Absent("PCESVN"))?,
            cpu_svn: self.cpu_svn.ok_or(PckError::Absent("CPUSVN"))?,
            pce_id: self.pce_id.ok_or(PckError::Absent("PCEID"))?,
            fmspc: self.fmspc.ok_or(PckError::Absent("FMSPC"))?,
            sgx_type: self.sgx_type.ok_or(PckError::Absent("SGX type"))?,
            platform_instance_id: self.platform_instance_id,
            dynamic_platform: self.dynamic_platform,
            cached_keys: self.cached_keys,
            smt_enabled: self.smt_enabled,
        })
    }
}

fn tcb_entry(found: &mut Found, suffix: &[u8], value: &Any<'_>) -> Result<(), PckError> {
    match suffix {
        [2, 17] => set(&mut found.pce_svn, number(value, Tag::Integer, "PCESVN")?, "PCESVN"),
        [2, 18] => set(&mut found.cpu_svn, octets(value, "CPUSVN")?, "CPUSVN"),
        [2, component] => {
            let index = usize::from(*component).checked_sub(1);
            match index.and_then(|index| found.components.get_mut(index)) {
                Some(slot) => set(slot, number(value, Tag::Integer, "a TCB component")?, "a TCB component"),
                None => Err(PckError::Malformed("TCB")),
            }
        }
        _ => Err(PckError::Malformed("TCB")),
    }
}

fn configuration_entry(found: &mut Found, suffix: &[u8], value: &Any<'_>) -> Result<(), PckError> {
    match suffix {
        [7, 1] => set(&mut found.dynamic_platform, boolean(value)?, "dynamic platform"),
        [7, 2] => set(&mut found.cached_keys, boolean(value)?, "cached keys"),
        [7, 3] => set(&mut found.smt_enabled, boolean(value)?, "SMT enabled"),
        _ => Ok(()),
    }
}

fn set<T>(slot: &mut Option<T>, value: T, what: &'static str) -> Result<(), PckError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(PckError::Twice(what)),
    }
}

/// One DER value that fills `der`.
fn whole<'a>(der: &'a [u8], what: &'static str) -> Result<Any<'a>, PckError> {
    match Any::from_der(der) {
        Ok((&[], value)) => Ok(value),
        _ => Err(PckError::Malformed(what)),
    }
}

fn universal<'a>(value: &Any<'a>, tag: Tag, what: &'static str) -> Result<&'a [u8], PckError> {
    if value.class() == Class::Universal && value.tag() == tag {
        Ok(value.data)
    } else {
        Err(PckError::Malformed(what))
    }
}

/// Calls `entry` with what follows [`ARC`] in the identifier, and the value, of each pair of a sequence.
fn for_each<'a>(
    sequence: &Any<'a>,
    what: &'static str,
    mut entry: impl FnMut(&[u8], &Any<'a>) -> Result<(), PckError>,
) -> Result<(), PckError> {
    let malformed = |_| PckError::Malformed(what);
    let mut rest = universal(sequence, Tag::Sequence, what)?;
    for _ in 0..MAX_ENTRIES {
        if rest.is_empty() {
            return Ok(());
        }
        let (after, pair) = Any::from_der(rest).map_err(malformed)?;
        rest = after;
        let (value, oid) = Any::from_der(universal(&pair, Tag::Sequence, what)?).map_err(malformed)?;
        let value = whole(value, what)?;
        let suffix = universal(&oid, Tag::Oid, what)?.strip_prefix(&ARC).ok_or(PckError::Malformed(what))?;
        entry(suffix, &value)?;
    }
    Err(PckError::Malformed(what))
}

fn octets<const N: usize>(value: &Any<'_>, what: &'static str) -> Result<Hex<N>, PckError> {
    let bytes = universal(value, Tag::OctetString, what)?;
    bytes.try_into().map(Hex).map_err(|_| PckError::Malformed(what))
}

/// A number that is not negative.
fn number<T: TryFrom<u32>>(value: &Any<'_>, tag: Tag, what: &'static str) -> Result<T, PckError> {
    let malformed = PckError::Malformed(what);
    let bytes = match universal(value, tag, what)? {
        [] => return Err(malformed),
        // A sign byte before a number whose first bit is set.
        [0, rest @ ..] if !rest.is_empty() => rest,
        [first, ..] if first & 0x80 != 0 => return Err(malformed),
        bytes => bytes,
    };
    if bytes.len() > 2 {
        return Err(malformed);
    }
    let number = bytes.iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    T::try_from(number).map_err(|_| malformed)
}

fn boolean(value: &Any<'_>) -> Result<bool, PckError> {
    match universal(value, Tag::Boolean, "a configuration flag")? {
        [0] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(PckError::Malformed("a configuration flag")),
    }
}
