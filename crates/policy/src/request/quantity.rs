//! Quantities of Kubernetes: `100m`, `64Mi`, `1e3`, `0.5`.

use serde_json::Value;

/// Why a text is no amount of anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum QuantityError {
    /// Not the grammar of the API.
    #[error("not a quantity such as `500m` or `64Mi`")]
    Malformed,
    /// Nobody can be given less than nothing.
    #[error("a negative quantity")]
    Negative,
    /// The API keeps 63 bits.
    #[error("larger than any resource (2^63 - 1)")]
    TooLarge,
}

/// An amount of a resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Quantity {
    /// Billionths: the finest that the API keeps.
    nanos: u128,
}

const NANOS: u128 = 1_000_000_000;
/// LIMIT: the API holds amounts in 63 bits; in billionths that is far below 128.
const MAX_NANOS: u128 = (i64::MAX as u128) * NANOS;
/// LIMIT: the longest amount that means something is 19 digits, 9 decimals and a unit.
const MAX_TEXT: usize = 64;

impl Quantity {
    /// Reads a text or number of a manifest.
    pub(crate) fn parse(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => Self::from_text(text),
            Value::Number(number) => Self::from_text(&number.to_string()),
            _ => Err(QuantityError::Malformed),
        }
    }

    fn from_text(text: &str) -> Result<Self, QuantityError> {
        if text.len() > MAX_TEXT {
            return Err(QuantityError::Malformed);
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Malformed);
        }
        let (decimal, binary) = scale(suffix)?;
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self::default());
        }
        if negative {
            return Err(QuantityError::Negative);
        }
        // Never more than 38 digits: whatever is longer and not tiny is too large.
        let exponent = i64::from(decimal) + 9 - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        let value: u128 = digits.parse().map_err(|_| QuantityError::TooLarge)?;
        let value = value.checked_mul(1 << binary).ok_or(QuantityError::TooLarge)?;
        let power = u32::try_from(exponent.unsigned_abs()).ok().and_then(|power| 10_u128.checked_pow(power));
        let nanos = match (exponent >= 0, power) {
            (true, power) => power.and_then(|power| value.checked_mul(power)).ok_or(QuantityError::TooLarge)?,
            // The API rounds up what is finer than a billionth.
            (false, Some(power)) => value.div_ceil(power),
            (false, None) => 1,
        };
        if nanos > MAX_NANOS { Err(QuantityError::TooLarge) } else { Ok(Self { nanos }) }
    }

    /// Whole units, rounded up: what the API calls `Value`.
    pub(crate) fn units(self) -> u64 {
        u64::try_from(self.nanos.div_ceil(NANOS)).unwrap_or(u64::MAX)
    }

    /// Thousandths, rounded up and saturating: what the API calls `MilliValue`.
    pub(crate) fn milli(self) -> u64 {
        u64::try_from(self.nanos.div_ceil(NANOS / 1000)).unwrap_or(u64::MAX)
    }

    /// How many times `divisor` it is, rounded up.
    pub(crate) fn divided_by(self, divisor: Self) -> Option<u128> {
        (divisor.nanos > 0).then(|| self.nanos.div_ceil(divisor.nanos))
    }
}

/// The powers of ten and of two that a suffix stands for.
fn scale(suffix: &str) -> Result<(i32, u32), QuantityError> {
    Ok(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Malformed)?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
                return Err(QuantityError::Malformed);
            }
            let number = exponent.strip_prefix('+').unwrap_or(exponent);
            // More than nine digits are as good as a billion.
            (number.parse().unwrap_or(if exponent.starts_with('-') { -1_000_000_000 } else { 1_000_000_000 }), 0)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_whole_grammar_is_read() {
        for (text, units, milli) in [
            ("0", 0, 0),
            ("1", 1, 1000),
            ("+1", 1, 1000),
            ("1.", 1, 1000),
            (".5", 1, 500),
            ("0.1", 1, 100),
            ("100m", 1, 100),
            ("1500m", 2, 1500),
            ("1u", 1, 1),
            ("1n", 1, 1),
            ("1000000000n", 1, 1000),
            ("0.0000000001", 1, 1),
            ("2k", 2000, 2_000_000),
            ("3M", 3_000_000, 3_000_000_000),
            ("1G", 1_000_000_000, 1_000_000_000_000),
            ("1T", 1_000_000_000_000, 1_000_000_000_000_000),
            ("1P", 1_000_000_000_000_000, 1_000_000_000_000_000_000),
            ("1E", 1_000_000_000_000_000_000, u64::MAX),
            ("1Ki", 1024, 1_024_000),
            ("1.5Mi", 1_572_864, 1_572_864_000),
            ("1Gi", 1 << 30, (1 << 30) * 1000),
            ("1Ti", 1 << 40, (1 << 40) * 1000),
            ("1Pi", 1 << 50, (1 << 50) * 1000),
            ("7Ei", 7 << 60, u64::MAX),
            ("1e3", 1000, 1_000_000),
            ("1E3", 1000, 1_000_000),
            ("12e-1", 2, 1200),
            ("1e-99999999999", 1, 1),
            ("0e99999999999", 0, 0),
            ("-0", 0, 0),
            ("9223372036854775807", i64::MAX as u64, u64::MAX),
        ] {
            let quantity = Quantity::from_text(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((quantity.units(), quantity.milli()), (units, milli), "{text}");
        }
        assert_eq!(Quantity::parse(&json!(2)).unwrap().units(), 2);
        assert_eq!(Quantity::parse(&json!(0.5)).unwrap().milli(), 500);
        let mebi = Quantity::from_text("1Mi").unwrap();
        assert_eq!(Quantity::from_text("64Mi").unwrap().divided_by(mebi), Some(64));
        assert_eq!(mebi.divided_by(Quantity::default()), None);
    }

    #[test]
    fn what_is_no_amount_is_named() {
        let long = "1".repeat(65);
        for text in [
            "", ".", "x", "1x", "1 ", " 1", "1KiB", "1K", "1mm", "1.2.3", "0x10", "1e", "1e+", "1e1.5", "1ki", "--1",
            &long,
        ] {
            assert_eq!(Quantity::from_text(text), Err(QuantityError::Malformed), "{text}");
        }
        for text in ["-1", "-100m", "-.5"] {
            assert_eq!(Quantity::from_text(text), Err(QuantityError::Negative), "{text}");
        }
        for text in [
            "340282366920938463463374607431768211",
            "340282366920938463463374607431768211456",
            "99999999999999999999999999999999999999999",
            "9223372036854775808",
            "8Ei",
            "10E",
            "1e19",
            "1e999",
            "1e99999999999",
            "9999999999999999999Ei",
        ] {
            assert_eq!(Quantity::from_text(text), Err(QuantityError::TooLarge), "{text}");
        }
        for value in [json!(null), json!(true), json!([]), json!({})] {
            assert_eq!(Quantity::parse(&value), Err(QuantityError::Malformed));
        }
    }
}
