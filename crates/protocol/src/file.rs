//! A file of a ConfigMap or Secret volume, as initdata names it.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

/// The mode of a file of which nobody says another, as Kubernetes has it.
pub const DEFAULT_MODE: u32 = 0o644;

/// LIMIT: Kubernetes takes permission bits and no others.
pub const MAX_MODE: u32 = 0o777;

/// A file: what is in it, and the mode that the initializer gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeFile {
    digest: Digest,
    mode: u32,
}

/// As it is written where the mode is not the default one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithMode {
    sha256: Digest,
    mode: String,
}

impl VolumeFile {
    /// A file; `None` for a mode beyond the permission bits.
    pub fn new(digest: Digest, mode: u32) -> Option<Self> {
        (mode <= MAX_MODE).then_some(Self { digest, mode })
    }

    /// The digest of its content.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its permission bits.
    pub fn mode(&self) -> u32 {
        self.mode
    }
}

impl From<Digest> for VolumeFile {
    fn from(digest: Digest) -> Self {
        Self { digest, mode: DEFAULT_MODE }
    }
}

impl fmt::Display for VolumeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.fmt(f)?;
        if self.mode == DEFAULT_MODE { Ok(()) } else { write!(f, ", mode {:04o}", self.mode) }
    }
}

impl Serialize for VolumeFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.mode == DEFAULT_MODE {
            return self.digest.serialize(serializer);
        }
        WithMode { sha256: self.digest, mode: format!("{:04o}", self.mode) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for VolumeFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;
        impl<'de> Visitor<'de> for EitherForm {
            type Value = VolumeFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest, or a table of `sha256` and `mode`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<VolumeFile, E> {
                text.parse::<Digest>().map(VolumeFile::from).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VolumeFile, A::Error> {
                let WithMode { sha256, mode } = WithMode::deserialize(MapAccessDeserializer::new(map))?;
                // One way to write each file, so that equal settings are equal bytes.
                parse_mode(&mode)
                    .filter(|mode| *mode != DEFAULT_MODE)
                    .and_then(|mode| VolumeFile::new(sha256, mode))
                    .ok_or_else(|| {
                        let quoted: String = mode.chars().take(80).collect();
                        A::Error::custom(format!(
                            "`{quoted}` is no mode: four octal digits up to 0777, and 0644 is left out"
                        ))
                    })
            }
        }
        deserializer.deserialize_any(EitherForm)
    }
}

fn parse_mode(text: &str) -> Option<u32> {
    let digits = text.len() == 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    digits.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Files = BTreeMap<String, BTreeMap<String, VolumeFile>>;

    fn with(mode: u32) -> VolumeFile {
        VolumeFile::new(Digest::of(b"x"), mode).unwrap()
    }

    #[test]
    fn a_mode_is_written_where_it_is_not_the_default_and_read_again() {
        let digest = Digest::of(b"x");
        let volume = [("a", with(0o400)), ("b", digest.into()), ("c", with(0)), ("d", with(0o755)), ("e", with(0o777))];
        let files: Files = [
            ("modes".to_owned(), volume.map(|(name, file)| (name.to_owned(), file)).into()),
            ("plain".to_owned(), [("f".to_owned(), digest.into())].into()),
        ]
        .into();
        let text = toml::to_string(&files).unwrap();
        assert_eq!(toml::from_str::<Files>(&text).unwrap(), files, "{text}");
        assert!(text.contains(&format!("b = \"{digest}\"")) && text.contains("mode = \"0400\""), "{text}");
        assert!(!text.contains("0644"), "{text}");
        let json = serde_json::to_string(&files).unwrap();
        assert_eq!(serde_json::from_str::<Files>(&json).unwrap(), files, "{json}");
        assert_eq!(with(0o400).to_string(), format!("{digest}, mode 0400"));
        assert_eq!(VolumeFile::from(digest).to_string(), digest.to_string());
    }

    #[test]
    fn whatever_is_not_exactly_that_is_refused() {
        let digest = Digest::of(b"x");
        for mode in
            ["", "400", "00400", "0o400", "0644", "1777", "0800", "+400", "-400", " 400", "07 7", "٠٤٠٠", "7777777777"]
        {
            let text = format!("{{\"sha256\": \"{digest}\", \"mode\": \"{mode}\"}}");
            let error = serde_json::from_str::<VolumeFile>(&text).unwrap_err().to_string();
            assert!(error.contains("is no mode"), "{mode}: {error}");
        }
        for text in [
            format!("{{\"sha256\": \"{digest}\"}}"),
            format!("{{\"sha256\": \"{digest}\", \"mode\": 256}}"),
            format!("{{\"sha256\": \"{digest}\", \"mode\": \"0400\", \"owner\": 0}}"),
            format!("{{\"sha256\": \"{digest}\", \"mode\": \"0400\", \"mode\": \"0440\"}}"),
            "{\"mode\": \"0400\"}".into(),
            "{\"sha256\": \"x\", \"mode\": \"0400\"}".into(),
            "\"x\"".into(),
            "7".into(),
            "null".into(),
            "[]".into(),
        ] {
            assert!(serde_json::from_str::<VolumeFile>(&text).is_err(), "{text}");
        }
        assert!(VolumeFile::new(digest, 0o1000).is_none() && VolumeFile::new(digest, u32::MAX).is_none());
    }
}
