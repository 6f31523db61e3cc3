//! Where a device is on the PCI bus.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Domain, bus, device and function of a PCI device. Ordered as a number, so that `10:00.0` comes after `9:00.0`
/// whatever the width it is written in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    // The order of the fields is the order of addresses.
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Text that is no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no PCI address such as 0000:41:00.0")]
pub struct NotAnAddress(pub String);

impl Address {
    /// An address from its parts; `None` when the device is beyond 31 or the function beyond 7 (PCI Express Base
    /// Specification, routing ID).
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device > 31 || function > 7 { None } else { Some(Self { domain, bus, device, function }) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    /// As the kernel names folders: at least four digits of the domain (a volume management device has more), two, two
    /// and one, all hexadecimal.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let parse = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (device, function) = rest.split_once('.')?;
            let digits = |text: &str, widths: std::ops::RangeInclusive<usize>| {
                let good = widths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                good.then(|| u32::from_str_radix(text, 16).ok()).flatten()
            };
            let byte = |text, width| digits(text, width..=width).and_then(|number| u8::try_from(number).ok());
            Self::new(digits(domain, 4..=8)?, byte(bus, 2)?, byte(device, 2)?, byte(function, 1)?)
        };
        parse().ok_or_else(|| NotAnAddress(text.to_owned()))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in ["0000:41:00.0", "10000:e1:1f.7", "ffff:00:01.2"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn addresses_are_ordered_as_numbers() {
        let mut addresses: Vec<Address> =
            ["10000:00:00.0", "0000:9a:00.0", "0000:1b:00.1", "0000:1b:00.0", "0001:00:00.0"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        addresses.sort();
        let sorted: Vec<String> = addresses.iter().map(Address::to_string).collect();
        assert_eq!(sorted, ["0000:1b:00.0", "0000:1b:00.1", "0000:9a:00.0", "0001:00:00.0", "10000:00:00.0"]);
    }

    #[test]
    fn other_text_is_no_address() {
        for bad in ["", "41:00.0", "0000:41:00", "0000:41:20.0", "0000:41:00.8", "0000:+1:00.0", "0000:41:00.0 ", "x"] {
            assert_eq!(bad.parse::<Address>(), Err(NotAnAddress(bad.to_owned())), "{bad}");
        }
    }
}
