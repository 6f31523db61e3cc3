//! Kinds of events: TCG PC Client Platform Firmware Profile 1.06, table 27.

use std::fmt;

use serde::{Serialize, Serializer};

/// The kind of an event, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventKind(pub u32);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl EventKind {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Its name in the specification.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(concat!("EV_", stringify!($name))),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Deprecated.
    PREBOOT_CERT = 0x0;
    /// Code or tables of the platform.
    POST_CODE = 0x1;
    /// For information; never measured.
    NO_ACTION = 0x3;
    /// End of the firmware's own measurements.
    SEPARATOR = 0x4;
    /// A text that says what happened.
    ACTION = 0x5;
    /// Something tagged by who measured it: the Linux EFI stub logs load options and initrd so.
    EVENT_TAG = 0x6;
    /// Contents of the core root of trust.
    S_CRTM_CONTENTS = 0x7;
    /// Version of the core root of trust.
    S_CRTM_VERSION = 0x8;
    /// Microcode.
    CPU_MICROCODE = 0x9;
    /// Configuration of the platform.
    PLATFORM_CONFIG_FLAGS = 0xa;
    /// Devices of the platform.
    TABLE_OF_DEVICES = 0xb;
    /// Something measured by its digest only.
    COMPACT_HASH = 0xc;
    /// What the boot loader does.
    IPL = 0xd;
    /// Partition of the boot loader.
    IPL_PARTITION_DATA = 0xe;
    /// Code of a device.
    NONHOST_CODE = 0xf;
    /// Configuration of a device.
    NONHOST_CONFIG = 0x10;
    /// A device.
    NONHOST_INFO = 0x11;
    /// Boot devices are not logged.
    OMIT_BOOT_DEVICE_EVENTS = 0x12;
    /// Code or tables of the platform, with a description.
    POST_CODE2 = 0x13;
    /// Base of the UEFI kinds.
    EFI_EVENT_BASE = 0x8000_0000;
    /// A variable that configures a driver: Secure Boot.
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001;
    /// A boot variable.
    EFI_VARIABLE_BOOT = 0x8000_0002;
    /// A UEFI application: boot loader or kernel.
    EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003;
    /// A boot driver.
    EFI_BOOT_SERVICES_DRIVER = 0x8000_0004;
    /// A runtime driver.
    EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005;
    /// The partition table.
    EFI_GPT_EVENT = 0x8000_0006;
    /// A text that says what happened.
    EFI_ACTION = 0x8000_0007;
    /// Firmware, by address.
    EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008;
    /// Tables handed over, by address.
    EFI_HANDOFF_TABLES = 0x8000_0009;
    /// Firmware, by address, with a description.
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a;
    /// Tables handed over, by address, with a description.
    EFI_HANDOFF_TABLES2 = 0x8000_000b;
    /// A boot variable, measured with its name.
    EFI_VARIABLE_BOOT2 = 0x8000_000c;
    /// The partition table without what is unique to a disk.
    EFI_GPT_EVENT2 = 0x8000_000d;
    /// The hardware's root of trust.
    EFI_HCRTM_EVENT = 0x8000_0010;
    /// The certificate that allowed an image.
    EFI_VARIABLE_AUTHORITY = 0x8000_00e0;
    /// Firmware of an SPDM device.
    EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1;
    /// Configuration of an SPDM device.
    EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2;
    /// Policy for SPDM devices.
    EFI_SPDM_DEVICE_POLICY = 0x8000_00e3;
    /// The certificate that allowed an SPDM device.
    EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00e4;
}

impl EventKind {
    /// Whether such an event extends its register.
    pub fn is_measured(self) -> bool {
        self != Self::NO_ACTION
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
