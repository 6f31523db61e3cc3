//! The block device with initdata: eight bytes `initdata`, the length of what follows (64 bits, little endian), and the
//! document, compressed with gzip. The document is TOML with `version`, `algorithm` and `[data]`; the digest is over its bytes
//! (Confidential Containers, trustee, `kbs/docs/initdata.md`; kata-containers, `src/agent/src/initdata.rs`).

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The first bytes of the device.
pub const MAGIC: [u8; 8] = *b"initdata";
/// Magic and length.
pub const HEAD: usize = 16;
/// LIMIT: what is compressed. It travels in an annotation, and all annotations of a pod have 256 KiB together.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// LIMIT: the document, as `casemate generate` and the pod's own reader have it.
pub const MAX_DOCUMENT: usize = 4 << 20;

/// What stands in a device of initdata that holds none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitdataError {
    /// The device ends within its header or before the length that the header names.
    #[error("the device ends after {has} bytes, and its header wants {wants}")]
    Short {
        /// How many bytes there are.
        has: u64,
        /// How many there would have to be.
        wants: u64,
    },
    /// It does not begin with the magic.
    #[error("the device begins with {found:02x?}, and not with `initdata`")]
    Magic {
        /// What is there.
        found: Vec<u8>,
    },
    /// The header names no length, or one beyond the limit.
    #[error("the header says {bytes} bytes, and 1 to {MAX_PAYLOAD} are possible")]
    Length {
        /// What it says.
        bytes: u64,
    },
    /// The document is larger than it may be.
    #[error("the document inflates to more than {MAX_DOCUMENT} bytes")]
    TooLarge,
    /// What follows the header is no gzip, or damaged.
    #[error("not gzip: {reason}")]
    Gzip {
        /// What the decoder says.
        reason: String,
    },
    /// There are bytes behind the compressed document that belong to nothing.
    #[error("{bytes} bytes follow the compressed document")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The document is not UTF-8, no TOML, or of another shape.
    #[error("no initdata document: {reason}")]
    Document {
        /// What the parser says.
        reason: String,
    },
    /// A version that is not known.
    #[error("the document is of version `{version}`, and this check knows 0.1.0")]
    Version {
        /// What it says.
        version: String,
    },
    /// A digest algorithm that is not known.
    #[error("the document names the digest algorithm `{algorithm}`; sha256, sha384 and sha512 are known")]
    Algorithm {
        /// What it says.
        algorithm: String,
    },
}

/// A document and its digest, under the algorithm that it names itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    bytes: Vec<u8>,
    digest: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    version: String,
    algorithm: String,
    #[serde(rename = "data")]
    _data: BTreeMap<String, String>,
}

/// How many bytes of the device are initdata, header included.
pub fn extent(head: &[u8]) -> Result<usize, InitdataError> {
    let short = || InitdataError::Short { has: head.len() as u64, wants: HEAD as u64 };
    let (magic, rest) = head.split_first_chunk::<8>().ok_or_else(short)?;
    if *magic != MAGIC {
        return Err(InitdataError::Magic { found: magic.to_vec() });
    }
    let length = u64::from_le_bytes(*rest.first_chunk::<8>().ok_or_else(short)?);
    match usize::try_from(length) {
        Ok(length @ 1..=MAX_PAYLOAD) => Ok(HEAD + length),
        _ => Err(InitdataError::Length { bytes: length }),
    }
}

impl Document {
    /// Reads what stands in a device, of which at least [`extent`] bytes are given.
    pub fn read(device: &[u8]) -> Result<Self, InitdataError> {
        let extent = extent(device)?;
        let payload =
            device.get(HEAD..extent).ok_or(InitdataError::Short { has: device.len() as u64, wants: extent as u64 })?;
        let mut decoder = flate2::bufread::GzDecoder::new(payload);
        let mut bytes = Vec::new();
        let most = MAX_DOCUMENT as u64 + 1;
        let gzip = |error: std::io::Error| InitdataError::Gzip { reason: error.to_string() };
        (&mut decoder).take(most).read_to_end(&mut bytes).map_err(gzip)?;
        if bytes.len() > MAX_DOCUMENT {
            return Err(InitdataError::TooLarge);
        }
        let rest = decoder.into_inner();
        if !rest.is_empty() {
            return Err(InitdataError::Trailing { bytes: rest.len() });
        }
        Self::parse(bytes)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, InitdataError> {
        let wrong = |reason: String| InitdataError::Document { reason };
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
        let shape: Shape = toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
        if shape.version != "0.1.0" {
            return Err(InitdataError::Version { version: shape.version });
        }
        let digest = match shape.algorithm.as_str() {
            "sha256" => Sha256::digest(&bytes).to_vec(),
            "sha384" => Sha384::digest(&bytes).to_vec(),
            "sha512" => Sha512::digest(&bytes).to_vec(),
            _ => return Err(InitdataError::Algorithm { algorithm: shape.algorithm }),
        };
        Ok(Self { bytes, digest })
    }

    /// The document.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest as a field of the hardware has it: cut off or padded with zeros on the right.
    pub fn field<const N: usize>(&self) -> [u8; N] {
        let mut field = [0; N];
        for (to, from) in field.iter_mut().zip(&self.digest) {
            *to = *from;
        }
        field
    }
}

/// A device's bytes around a document: what a runtime writes. For tests and stand-ins.
pub fn device(document: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let payload = std::io::Write::write_all(&mut gzip, document).and_then(|()| gzip.finish()).unwrap_or_default();
    let mut device = MAGIC.to_vec();
    device.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    device.extend_from_slice(&payload);
    // A disk has whole sectors.
    device.resize(device.len().next_multiple_of(512), 0);
    device
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"policy.rego\" = \"package agent_policy\"\n";

    #[test]
    fn the_digest_is_over_the_document_under_the_algorithm_that_it_names() {
        let document = Document::read(&device(TEXT.as_bytes())).unwrap();
        assert_eq!(document.bytes(), TEXT.as_bytes());
        let sha256: [u8; 32] = Sha256::digest(TEXT).into();
        assert_eq!(document.field::<32>(), sha256);
        assert_eq!(document.field::<48>()[..32], sha256);
        assert_eq!(document.field::<48>()[32..], [0; 16]);
        let text = TEXT.replace("sha256", "sha512");
        let sha512: [u8; 64] = Sha512::digest(&text).into();
        assert_eq!(Document::read(&device(text.as_bytes())).unwrap().field::<48>(), sha512[..48]);
    }

    #[test]
    fn what_is_no_document_is_one_named_error() {
        let cases = [
            ("0.1.0", "0.2.0", "of version `0.2.0`"),
            ("sha256", "md5", "the digest algorithm `md5`"),
            ("sha256", "SHA256", "the digest algorithm `SHA256`"),
            ("version =", "versions =", "no initdata document"),
            ("[data]", "[more]", "no initdata document"),
            ("\"package agent_policy\"", "7", "no initdata document"),
            ("[data]", "[data", "no initdata document"),
        ];
        for (from, to, expected) in cases {
            let text = TEXT.replacen(from, to, 1);
            let error = Document::read(&device(text.as_bytes())).unwrap_err().to_string();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
        let error = Document::read(&device(b"\xff")).unwrap_err().to_string();
        assert!(error.contains("no initdata document"), "{error}");
    }

    #[test]
    fn a_damaged_device_is_one_named_error() {
        let good = device(TEXT.as_bytes());
        let length = u64::from_le_bytes(good[8..16].try_into().unwrap());
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut device = good.clone();
            change(&mut device);
            Document::read(&device).unwrap_err().to_string()
        };
        let set_length = |length: u64| move |device: &mut Vec<u8>| device[8..16].copy_from_slice(&length.to_le_bytes());
        let cases: [(&str, String); 9] = [
            ("ends after 7 bytes", with(&|device| device.truncate(7))),
            ("ends after 12 bytes", with(&|device| device.truncate(12))),
            ("ends after 40 bytes", with(&|device| device.truncate(40))),
            ("not with `initdata`", with(&|device| device[0] = b'I')),
            ("says 0 bytes", with(&set_length(0))),
            ("says 18446744073709551615 bytes", with(&set_length(u64::MAX))),
            ("not gzip", with(&set_length(length - 1))),
            ("1 bytes follow", with(&set_length(length + 1))),
            ("not gzip", with(&|device| device[HEAD] ^= 0x40)),
        ];
        for (expected, error) in cases {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_memory() {
        let bomb = vec![b'#'; MAX_DOCUMENT + 1];
        assert_eq!(Document::read(&device(&bomb)).unwrap_err(), InitdataError::TooLarge);
    }
}
