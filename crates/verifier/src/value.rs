//! A fact or an expectation in the form in which it is shown.

use std::fmt;

use protocol::digest::{Hex, Measurement};
use protocol::{Digest, Identity};
use serde::{Serialize, Serializer};

use crate::time::UnixTime;

/// A value of a claim or of a reference value. Text shortens bytes to 12 hex digits; JSON has all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Bytes, shown in hex.
    Bytes(Vec<u8>),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Text. What comes from a peer is cut and freed of control characters by [`Value::peer_text`].
    Text(String),
    /// A point in time.
    Time(UnixTime),
    /// Several.
    List(Vec<Value>),
}

/// LIMIT: as many hex digits of a digest as a person compares by eye.
const SHORT_DIGITS: usize = 12;
/// LIMIT: a longer list is counted, in text; JSON has all of it.
const LISTED: usize = 4;
/// LIMIT: text of a peer that a line can hold.
const PEER_TEXT: usize = 200;

impl Value {
    /// Text from Evidence or a certificate: control characters become `?`, and it is cut at 200 characters, so that
    /// nobody writes on a terminal through their Evidence.
    pub fn peer_text(text: &str) -> Self {
        Self::Text(safe(text, PEER_TEXT))
    }

    /// Whether this is the absence of a value.
    pub fn none() -> Self {
        Self::Text("none".to_owned())
    }
}

/// Text of a peer, fit for a terminal and a log: what moves the cursor or turns text round becomes `?`, and it is cut.
pub(crate) fn safe(text: &str, limit: usize) -> String {
    let mut safe: String =
        text.chars().take(limit).map(|c| if c.is_control() || is_bidi(c) { '?' } else { c }).collect();
    if text.chars().nth(limit).is_some() {
        safe.push('…');
    }
    safe
}

/// A parser's words, which may quote what it read.
pub(crate) fn reason(error: &dyn fmt::Display) -> String {
    safe(&error.to_string(), PEER_TEXT)
}

/// Characters that make a terminal show text in another order than it has.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => {
                let mut text = hex::encode(bytes);
                text.truncate(SHORT_DIGITS);
                f.write_str(&text)
            }
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Text(text) => f.write_str(text),
            Self::Time(time) => time.fmt(f),
            Self::List(values) if values.is_empty() => f.write_str("none"),
            Self::List(values) => {
                for (index, value) in values.iter().take(LISTED).enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    value.fmt(f)?;
                }
                match values.len().saturating_sub(LISTED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.serialize_str(&hex::encode(bytes)),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(time) => time.serialize(serializer),
            Self::List(values) => values.serialize(serializer),
        }
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<Hex<N>> for Value {
    fn from(bytes: Hex<N>) -> Self {
        Self::Bytes(bytes.0.to_vec())
    }
}

impl From<Digest> for Value {
    fn from(digest: Digest) -> Self {
        Self::Bytes(digest.as_bytes().to_vec())
    }
}

impl From<Identity> for Value {
    fn from(identity: Identity) -> Self {
        identity.0.into()
    }
}

impl From<Measurement> for Value {
    fn from(measurement: Measurement) -> Self {
        Self::Bytes(measurement.as_bytes().to_vec())
    }
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(number: $type) -> Self {
                Self::Number(number.into())
            }
        }
    )*};
}

number!(u8, u16, u32, u64);

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<UnixTime> for Value {
    fn from(time: UnixTime) -> Self {
        Self::Time(time)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::none, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_short_and_json_is_whole() {
        let value = Value::from([0xab; 48]);
        assert_eq!(value.to_string(), "abababababab");
        assert_eq!(serde_json::to_string(&value).unwrap().len(), 2 + 96);
        let list: Value = (0u8..7).collect();
        assert_eq!(list.to_string(), "0, 1, 2, 3 and 3 more");
        assert_eq!(serde_json::to_string(&list).unwrap(), "[0,1,2,3,4,5,6]");
    }

    #[test]
    fn text_of_a_peer_cannot_write_on_the_terminal() {
        let shown = Value::peer_text("a\u{1b}[2Jb\nc\u{202e}d").to_string();
        assert_eq!(shown, "a?[2Jb?c?d");
        assert_eq!(Value::peer_text(&"x".repeat(1_000)).to_string().chars().count(), PEER_TEXT + 1);
    }
}
