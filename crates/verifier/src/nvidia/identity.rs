//! Who a device is: its five certificates, from the key that signs reports to NVIDIA's root.
//!
//! | place | name | what it is |
//! |---|---|---|
//! | 0 | `GH100 A01 GSP FMC LF` | the key that signs reports, made for one firmware |
//! | 1 | `GH100 A01 GSP BROM` | the device; its serial number ends in the PDI |
//! | 2 | `NVIDIA GH100 Provisioner ICA 1` | the line that provisions the chip |
//! | 3 | `NVIDIA GH100 Identity` | the family; NVSwitches of Hopper systems stand under Hopper's |
//! | 4 | `NVIDIA Device Identity CA` | the root |
//!
//! The architecture comes from these names, which NVIDIA signed, and is then compared with the report's own fields. What
//! the sender says of the architecture is not looked at.

use std::sync::Arc;

use protocol::Digest;
use protocol::digest::Hex;
use protocol::evidence::DeviceKind;
use protocol::reference::device::Architecture;

use super::claims::{Identity, Report};
use super::error::NvidiaError;
use crate::VerifyError;
use crate::context::Context;
use crate::x509::{Certificate, PathError, PreparedKey, VerifiedPath, pem_chain, verify_path};
use x509_parser::asn1_rs::{Any, FromDer as _, Oid};

/// Leaf to root.
pub(super) const CERTIFICATES: usize = 5;
/// DICE's CompositeDeviceID (TCG DICE Attestation Architecture 1.0, section 5): Hopper and LS10.
const DEVICE_ID: &str = "2.23.133.5.4.1";
/// DICE's TcbInfo (TCG DICE Attestation Architecture 1.1, section 6.1.1): Blackwell.
const TCB_INFO: &str = "2.23.133.5.4.1.1";
/// SHA-384, which every firmware id of NVIDIA's is made with.
const SHA384: &str = "2.16.840.1.101.3.4.2.2";

/// A chain as it was read: of [`Self::path`] alone can be said that it leads to NVIDIA's root.
#[derive(Debug)]
pub(super) struct Chain {
    pub certificates: Vec<Certificate>,
    pub path: Result<VerifiedPath, VerifyError>,
    /// The leaf's key, ready for a report's signature; `None` when it is of no curve.
    pub signer: Option<PreparedKey>,
    pub identity: Result<Identity, NvidiaError>,
}

impl Chain {
    /// The name of the key that signs reports.
    pub(super) fn leaf(&self) -> String {
        self.certificates.first().map(|leaf| leaf.subject().to_owned()).unwrap_or_default()
    }

    /// Whether that key made a signature.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.signer.as_ref().is_some_and(|key| key.verify_fixed(message, signature))
    }
}

/// Reads a chain and verifies it. One that was verified before is not even parsed again.
pub(super) fn read(pem: &[u8], context: &Context<'_>) -> Result<Arc<Chain>, VerifyError> {
    let root = context.anchors.nvidia_device();
    let key = Digest::of_fields(&[b"nvidia chain", root.as_bytes(), pem]);
    if let Some(chain) = context.cache.get::<Chain>(&key, context.now) {
        return Ok(chain);
    }
    let certificates = pem_chain(pem).map_err(|error| PathError::malformed("device chain", error))?;
    let path = if certificates.len() == CERTIFICATES {
        verify_path(certificates.clone(), &[root], &[], context.now, context.cache).map_err(VerifyError::from)
    } else {
        Err(NvidiaError::ChainLength { got: certificates.len() }.into())
    };
    let identity = identify(&certificates);
    let signer = certificates.first().and_then(|leaf| leaf.key().prepare_fixed());
    let chain = Arc::new(Chain { certificates, path, signer, identity });
    if let Ok(path) = &chain.path {
        context.cache.keep(key, context.now, path.until(), &chain);
    }
    Ok(chain)
}

/// The architecture of a chip, by NVIDIA's name of it.
pub(super) fn architecture_of(chip: &str) -> Option<Architecture> {
    match chip {
        "GH100" => Some(Architecture::Hopper),
        "LS_10" | "LS10" => Some(Architecture::Ls10),
        _ => {
            let digits = chip.strip_prefix("GB")?;
            let blackwell = digits.len() == 3
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits.starts_with('1') || digits.starts_with('2'));
            blackwell.then_some(Architecture::Blackwell)
        }
    }
}

/// Whether two names are of one chip. Certificates call a switch's `LS_10`, manifests `LS10`. Chips of one family are not
/// one: firmware of a GB202 says nothing of a GB100.
pub(super) fn is_same_chip(one: &str, other: &str) -> bool {
    let letters = |name: &str| name.bytes().filter(|byte| *byte != b'_').collect::<Vec<u8>>();
    letters(one) == letters(other)
}

/// Reads who a device is out of its certificates, which nobody has verified yet.
fn identify(certificates: &[Certificate]) -> Result<Identity, NvidiaError> {
    let [leaf, device, provisioner, _, _] = certificates else {
        return Err(NvidiaError::ChainLength { got: certificates.len() });
    };
    let role = |certificate: &Certificate, expected| NvidiaError::CertificateRole {
        certificate: certificate.subject().to_owned(),
        expected,
    };
    let words = |certificate: &Certificate| -> Vec<String> {
        certificate.subject().split(' ').map(ToOwned::to_owned).collect()
    };
    let key_role = "device key (`GH100 A01 GSP FMC LF`)";
    let leaf_words = words(leaf);
    let [chip, revision, engine, fmc, lf] = leaf_words.as_slice() else { return Err(role(leaf, key_role)) };
    if fmc != "FMC" || lf != "LF" || !matches!(engine.as_str(), "GSP" | "FSP") {
        return Err(role(leaf, key_role));
    }
    let differ = |certificate: &Certificate| NvidiaError::ChipsDiffer {
        certificate: certificate.subject().to_owned(),
        leaf: leaf.subject().to_owned(),
    };
    match words(device).as_slice() {
        [first, second, third, brom] if brom == "BROM" => {
            if [first, second, third] != [chip, revision, engine] {
                return Err(differ(device));
            }
        }
        _ => return Err(role(device, "boot ROM (`GH100 A01 GSP BROM`)")),
    }
    let Some(architecture) = architecture_of(chip) else {
        return Err(NvidiaError::UnknownChip { chip: chip.clone() });
    };
    match words(provisioner).as_slice() {
        [nvidia, family, word, ..] if nvidia == "NVIDIA" && word == "Provisioner" => {
            if architecture_of(family) != Some(architecture) {
                return Err(differ(provisioner));
            }
        }
        _ => return Err(role(provisioner, "provisioner (`NVIDIA GH100 Provisioner ICA 1`)")),
    }
    // One byte that tells kinds of devices apart, and the eight of the PDI.
    let [_, pdi @ ..] = device.serial() else { return Err(no_id(device)) };
    let device_id = <[u8; 8]>::try_from(pdi).map(Hex).map_err(|_| no_id(device))?;
    let fwid = match architecture {
        Architecture::Blackwell => tcb_info(leaf)?,
        _ => composite_device_id(leaf)?,
    };
    Ok(Identity {
        architecture,
        chip: chip.clone(),
        hwmodel: device.subject().to_owned(),
        device_id,
        ueid: decimal(leaf.serial()),
        leaf_key: Digest::of(leaf.spki()),
        fwid,
    })
}

fn no_id(device: &Certificate) -> NvidiaError {
    NvidiaError::NoDeviceId { certificate: device.subject().to_owned() }
}

/// Compares what the certificates say with the report's own fields.
pub(super) fn agree(identity: &Identity, report: &Report) -> Result<(), NvidiaError> {
    let certified = identity.architecture;
    let other = |field, reported: String| Err(NvidiaError::OtherArchitecture { certified, field, reported });
    let kind = match certified {
        Architecture::Ls10 => DeviceKind::Switch,
        _ => DeviceKind::Gpu,
    };
    if report.kind != kind {
        return other("the report", format!("a {}'s", report.kind.name()));
    }
    if report.architecture() != Some(certified) {
        return other("the VBIOS version", report.vbios_version.clone());
    }
    if let Some(chip) = &report.board.chip
        && architecture_of(chip) != Some(certified)
    {
        return other("the chip", chip.clone());
    }
    match report.pdi {
        Some(reported) if reported != identity.device_id => {
            Err(NvidiaError::OtherDeviceId { reported, certified: identity.device_id })
        }
        _ => Ok(()),
    }
}

/// One value of DER: its tag byte's number, whether it is context-specific, and its content.
struct Value<'a> {
    class: x509_parser::asn1_rs::Class,
    tag: u32,
    content: &'a [u8],
}

/// The values in a constructed value's content, which must be nothing but values.
fn values(mut content: &[u8]) -> Option<Vec<Value<'_>>> {
    // LIMIT: TcbInfo has ten elements.
    const MAX_VALUES: usize = 16;
    let mut values = Vec::new();
    while !content.is_empty() {
        if values.len() == MAX_VALUES {
            return None;
        }
        let (rest, any) = Any::from_der(content).ok()?;
        values.push(Value { class: any.header.class(), tag: any.header.tag().0, content: any.data });
        content = rest;
    }
    Some(values)
}

/// The values of a SEQUENCE that is the whole of `der`.
fn sequence(der: &[u8]) -> Option<Vec<Value<'_>>> {
    let (rest, any) = Any::from_der(der).ok()?;
    let is_sequence = any.header.tag().0 == 0x10 && any.header.class() == x509_parser::asn1_rs::Class::Universal;
    if is_sequence && rest.is_empty() { values(any.data) } else { None }
}

/// FWID: SEQUENCE of the hash algorithm and the digest. `content` is the SEQUENCE's.
fn fwid(content: &[u8]) -> Option<Hex<48>> {
    let values = values(content)?;
    let [algorithm, digest] = values.as_slice() else { return None };
    // OBJECT IDENTIFIER and OCTET STRING.
    if algorithm.tag != 6 || digest.tag != 4 {
        return None;
    }
    if Oid::new(algorithm.content.into()).to_id_string() != SHA384 {
        return None;
    }
    <[u8; 48]>::try_from(digest.content).ok().map(Hex)
}

/// CompositeDeviceID: SEQUENCE of version 1, the device's key and the FWID of what was started.
fn composite_device_id(leaf: &Certificate) -> Result<Hex<48>, NvidiaError> {
    let no = |reason| NvidiaError::NoFwid { oid: DEVICE_ID, reason };
    let der = leaf.extension(DEVICE_ID).ok_or_else(|| no("it is not there"))?;
    let values = sequence(der).ok_or_else(|| no("it is no sequence"))?;
    match values.as_slice() {
        [version, _key, fwid_] if version.tag == 2 && version.content == [1] && fwid_.tag == 0x10 => {
            fwid(fwid_.content).ok_or_else(|| no("it holds no SHA-384 digest"))
        }
        _ => Err(no("it is not version, key and firmware id")),
    }
}

/// TcbInfo: a SEQUENCE of optional elements under context tags. Element 6 is the list of FWIDs, of which the first is that
/// of the firmware that holds the key; element 7 are flags.
fn tcb_info(leaf: &Certificate) -> Result<Hex<48>, NvidiaError> {
    use x509_parser::asn1_rs::Class;
    const FWIDS: u32 = 6;
    const FLAGS: u32 = 7;
    let no = |reason| NvidiaError::NoFwid { oid: TCB_INFO, reason };
    let der = leaf.extension(TCB_INFO).ok_or_else(|| no("it is not there"))?;
    let elements = sequence(der).ok_or_else(|| no("it is no sequence"))?;
    let element = |tag| {
        let mut found =
            elements.iter().filter(move |element| element.class == Class::ContextSpecific && element.tag == tag);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(no("an element stands twice")),
            (first, _) => Ok(first),
        }
    };
    if let Some(flags) = element(FLAGS)? {
        // A BIT STRING's content: the count of unused bits, then bits from the highest.
        let first = flags.content.get(1).copied().unwrap_or(0);
        // TCG DICE Attestation Architecture 1.1, section 6.1.1: OperationalFlags. Genuine Blackwells set notConfigured.
        for (bit, state) in [(1, "not secure"), (2, "in recovery"), (3, "open to debugging")] {
            if first & (0x80_u8 >> bit) != 0 {
                return Err(NvidiaError::UnsafeState { state });
            }
        }
    }
    let list = element(FWIDS)?.ok_or_else(|| no("it has no list of firmware ids"))?;
    let list = values(list.content).ok_or_else(|| no("its list of firmware ids cannot be read"))?;
    let first =
        list.first().filter(|first| first.tag == 0x10).ok_or_else(|| no("its list of firmware ids is empty"))?;
    fwid(first.content).ok_or_else(|| no("it holds no SHA-384 digest"))
}

/// A big-endian number in decimal, as NVIDIA writes the UEID.
fn decimal(bytes: &[u8]) -> String {
    // LIMIT: RFC 5280, section 4.1.2.2: serial numbers have at most 20 bytes; what is longer is shown in part.
    let mut digits: Vec<u8> = vec![0];
    for byte in bytes.iter().take(24) {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry = carry.saturating_add(u32::from(*digit).saturating_mul(256));
            *digit = u8::try_from(carry % 10).unwrap_or(0);
            carry /= 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0'.saturating_add(*digit))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_read_in_decimal() {
        assert_eq!(decimal(&[]), "0");
        assert_eq!(decimal(&[0, 255]), "255");
        assert_eq!(decimal(&[1, 0]), "256");
        assert_eq!(decimal(&u64::MAX.to_be_bytes()), u64::MAX.to_string());
        assert_eq!(decimal(&u128::MAX.to_be_bytes()), u128::MAX.to_string());
    }

    #[test]
    fn chips_are_told_apart_by_name() {
        for (chip, architecture) in [
            ("GH100", Some(Architecture::Hopper)),
            ("LS_10", Some(Architecture::Ls10)),
            ("GB100", Some(Architecture::Blackwell)),
            ("GB202", Some(Architecture::Blackwell)),
            ("GB300", None),
            ("GB10B", None),
            ("GB1000", None),
            ("GA100", None),
            ("", None),
        ] {
            assert_eq!(architecture_of(chip), architecture, "{chip}");
        }
    }

    #[test]
    fn a_chip_is_the_same_in_both_spellings_and_no_other_of_its_family() {
        for (one, other) in [("GH100", "GH100"), ("LS_10", "LS10"), ("LS10", "LS_10"), ("GB202", "GB202")] {
            assert!(is_same_chip(one, other), "{one} {other}");
        }
        for (one, other) in
            [("GB100", "GB202"), ("GB100", "GB10"), ("GB100", "gb100"), ("LS_10", "LS_1"), ("GH100", "")]
        {
            assert!(!is_same_chip(one, other), "{one} {other}");
        }
    }
}
