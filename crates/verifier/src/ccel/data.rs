//! Whether an event's digest is over its data. Where it is, altered text shows; where it is not, the text is a label.

use protocol::digest::Measurement;
use serde::Serialize;

use super::describe::{Tagged, Variable, loader_text, trimmed};
use super::{EventKind, sha384};

/// What the digest of an event says about its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "check")]
pub enum DataCheck {
    /// The digest is that of the data, or of the part of them that this kind measures.
    Matches,
    /// This kind measures its data, and the digest is another: data or digest were altered.
    Contradicts {
        /// The digest that the data have.
        computed: Measurement,
    },
    /// The digest is of something that is not in the log, so nothing vouches for the data.
    Unverifiable,
    /// The event is not measured at all, so nothing vouches for its data or digest.
    NotMeasured,
}

/// What may have been measured.
struct Measured<'a> {
    /// Any of these.
    parts: Vec<&'a [u8]>,
    /// Whether it must be one of them.
    certain: bool,
}

pub(super) fn check(kind: EventKind, data: &[u8], digest: &Measurement) -> DataCheck {
    if !kind.is_measured() {
        return DataCheck::NotMeasured;
    }
    let Measured { parts, certain } = measured(kind, data);
    let mut first = None;
    for part in parts {
        let computed = sha384(part);
        if computed == *digest {
            return DataCheck::Matches;
        }
        first.get_or_insert(computed);
    }
    match first {
        Some(computed) if certain => DataCheck::Contradicts { computed },
        _ => DataCheck::Unverifiable,
    }
}

/// The data of a separator that announces an error is what went wrong; the digest is then of this (section 10.4.1).
const SEPARATOR_ERROR: &[u8] = &[1, 0, 0, 0];

fn measured(kind: EventKind, data: &[u8]) -> Measured<'_> {
    let always = |parts: Vec<_>| Measured { parts, certain: true };
    let perhaps = |parts: Vec<_>| Measured { parts, certain: false };
    match kind {
        EventKind::SEPARATOR if data == [0; 4] || data == [0xff; 4] => always(vec![data]),
        EventKind::SEPARATOR => always(vec![data, SEPARATOR_ERROR]),
        EventKind::ACTION
        | EventKind::EFI_ACTION
        | EventKind::OMIT_BOOT_DEVICE_EVENTS
        | EventKind::S_CRTM_VERSION
        | EventKind::EFI_VARIABLE_DRIVER_CONFIG
        | EventKind::EFI_VARIABLE_BOOT2
        | EventKind::EFI_VARIABLE_AUTHORITY
        | EventKind::EFI_GPT_EVENT => always(vec![data]),
        // edk2 measures the value alone, other firmware the whole.
        EventKind::EFI_VARIABLE_BOOT => match Variable::parse(data) {
            Some(variable) => always(vec![variable.value, data]),
            None => always(vec![data]),
        },
        EventKind::PLATFORM_CONFIG_FLAGS => match Tagged::parse(data) {
            // td-shim says in front of the data what they are, and measures the data alone.
            Some(tagged) => Measured { parts: vec![tagged.body, data], certain: tagged.is_td_shim() },
            None => perhaps(vec![data]),
        },
        EventKind::IPL => match loader_text(data) {
            // GRUB puts a label in front of what it measures; builds differ about the zero behind.
            Some((_, text)) => always(vec![trimmed(text), text, trimmed(data), data]),
            None => perhaps(vec![data, trimmed(data)]),
        },
        // Digests of the SPDM kinds and of the censored partition table may be over the data, depending on the firmware.
        EventKind::EFI_GPT_EVENT2
        | EventKind::EFI_SPDM_FIRMWARE_BLOB
        | EventKind::EFI_SPDM_FIRMWARE_CONFIG
        | EventKind::EFI_SPDM_DEVICE_POLICY
        | EventKind::EFI_SPDM_DEVICE_AUTHORITY
        | EventKind::NONHOST_CONFIG
        | EventKind::TABLE_OF_DEVICES => perhaps(vec![data]),
        // Code, tables and files: the digest is of them, the data say where they are or what they are called.
        _ => perhaps(Vec::new()),
    }
}
