//! The key that opens a sealed model, and what is derived from it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{SealFileError, SealedError};

/// LIMIT: a key file holds 44 characters of base64 or 64 of hex; what is longer than a page is another file.
const MAX_KEY_FILE: u64 = 4096;
/// Mode of a key file: its owner alone.
const KEY_FILE_MODE: u32 = 0o600;

/// A model key: 32 random bytes. No `Display`, a redacting `Debug`, overwritten on drop.
pub struct ModelKey(Zeroizing<[u8; 32]>);

/// The public name of a [`ModelKey`], stored in every file sealed with it, so that another key is told apart from an
/// altered file. It is derived by HKDF and says nothing about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; KeyId::LEN]);

impl KeyId {
    /// Length in bytes: enough that two keys of one owner never share an id.
    pub(super) const LEN: usize = 16;
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // 12 digits, as every shortened digest.
        f.write_str(&hex::encode(self.0.get(..6).unwrap_or_default()))
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyId({})", hex::encode(self.0))
    }
}

impl std::fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelKey(id {})", self.id())
    }
}

/// Text that is not a model key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// Neither encoding.
    #[error("not base64 or hex text")]
    Encoding,
    /// The right encoding, the wrong size.
    #[error("{got} bytes where a model key has 32")]
    Length {
        /// Bytes found.
        got: usize,
    },
}

impl ModelKey {
    /// A fresh key from the system's random generator.
    pub fn generate() -> Result<Self, SealedError> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| SealedError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Reads base64 (standard alphabet, padded) or hex text; white space around it is ignored.
    pub fn from_text(text: &str) -> Result<Self, ParseKeyError> {
        let text = text.trim();
        // 64 characters of hex are base64 of 48 bytes as well, which is no key; so the length decides.
        let bytes = if text.len() == 64 {
            Zeroizing::new(hex::decode(text).map_err(|_| ParseKeyError::Encoding)?)
        } else {
            Zeroizing::new(STANDARD.decode(text).map_err(|_| ParseKeyError::Encoding)?)
        };
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return Err(ParseKeyError::Length { got: bytes.len() });
        }
        key.copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// The key as base64 text with a line end, as its file holds it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(STANDARD.encode(self.0.as_slice()));
        text.push('\n');
        text
    }

    /// Reads a key file: base64 or hex text.
    pub fn from_file(path: &Path) -> Result<Self, SealFileError> {
        let io = |source| SealFileError::Io { action: "read key file", path: path.to_owned(), source };
        let mut text = Zeroizing::new(String::new());
        let file = File::open(path).map_err(io)?;
        let read = file.take(MAX_KEY_FILE.saturating_add(1)).read_to_string(&mut text);
        match read {
            Ok(_) if text.len() as u64 <= MAX_KEY_FILE => {}
            Ok(got) => {
                return Err(SealFileError::Key { path: path.to_owned(), source: ParseKeyError::Length { got } });
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(SealFileError::Key { path: path.to_owned(), source: ParseKeyError::Encoding });
            }
            Err(error) => return Err(io(error)),
        }
        Self::from_text(&text).map_err(|source| SealFileError::Key { path: path.to_owned(), source })
    }

    /// Writes the key to a new file with mode 0600. An existing file is never overwritten: it may hold the only copy of
    /// the key to another sealed model.
    pub fn to_new_file(&self, path: &Path) -> Result<(), SealFileError> {
        let io = |source: std::io::Error| match source.kind() {
            ErrorKind::AlreadyExists => SealFileError::KeyExists { path: path.to_owned() },
            _ => SealFileError::Io { action: "write key file", path: path.to_owned(), source },
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(KEY_FILE_MODE).open(path).map_err(io)?;
        let written = file.write_all(self.to_text().as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a key is worse than none; the error of the write is the one to report.
            let _ = std::fs::remove_file(path);
        }
        written.map_err(io)
    }

    /// The key's public name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; KeyId::LEN];
        self.derive(&[], b"casemate sealed model 1: key id", &mut id);
        KeyId(id)
    }

    /// The AES-256-GCM key of one file. Each file has its own, so that nonces may be plain chunk numbers.
    pub(super) fn file_key(&self, file_id: &[u8]) -> LessSafeKey {
        let mut bytes = Zeroizing::new([0; 32]);
        self.derive(file_id, b"casemate sealed model 1: chunks", bytes.as_mut_slice());
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.as_slice()).expect("an AES-256 key has 32 bytes"))
    }

    /// The key that authenticates the header of one file.
    pub(super) fn header_key(&self, file_id: &[u8]) -> hmac::Key {
        let mut bytes = Zeroizing::new([0; 32]);
        self.derive(file_id, b"casemate sealed model 1: header", bytes.as_mut_slice());
        hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice())
    }

    fn derive(&self, salt: &[u8], info: &[u8], out: &mut [u8]) {
        struct Length(usize);
        impl KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let prk = Salt::new(HKDF_SHA256, salt).extract(self.0.as_slice());
        prk.expand(&[info], Length(out.len()))
            .and_then(|okm| okm.fill(out))
            .expect("HKDF-SHA256 gives up to 8160 bytes and 32 are asked for");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn text_of(fill: u8) -> String {
        STANDARD.encode([fill; 32])
    }

    #[test]
    fn a_key_survives_its_text_form() {
        let key = ModelKey::generate().unwrap();
        assert_eq!(ModelKey::from_text(&key.to_text()).unwrap().id(), key.id());
        assert_eq!(key.to_text().len(), 45);
    }

    #[test]
    fn hex_and_base64_name_the_same_key() {
        let base64 = ModelKey::from_text(&format!("  {}\r\n", text_of(7))).unwrap();
        let hex = ModelKey::from_text(&"07".repeat(32)).unwrap();
        assert_eq!(base64.id(), hex.id());
    }

    #[test]
    fn text_that_is_no_key_is_refused() {
        for (text, error) in [
            ("", ParseKeyError::Length { got: 0 }),
            ("not a key", ParseKeyError::Encoding),
            ("AAAA", ParseKeyError::Length { got: 3 }),
            (&"g".repeat(64), ParseKeyError::Encoding),
            (&"00".repeat(31), ParseKeyError::Encoding),
            (&STANDARD.encode([0; 31]), ParseKeyError::Length { got: 31 }),
            (&STANDARD.encode([0; 33]), ParseKeyError::Length { got: 33 }),
            (text_of(1).trim_end_matches('='), ParseKeyError::Encoding),
        ] {
            assert_eq!(ModelKey::from_text(text).err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn debug_output_holds_no_key() {
        let key = ModelKey::from_text(&text_of(7)).unwrap();
        assert!(!format!("{key:?}").contains("0707"));
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.key");
        let first = ModelKey::generate().unwrap();
        first.to_new_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = ModelKey::generate().unwrap().to_new_file(&path);
        assert!(matches!(again, Err(SealFileError::KeyExists { .. })), "{again:?}");
        assert_eq!(ModelKey::from_file(&path).unwrap().id(), first.id());
    }

    #[test]
    fn a_key_file_that_holds_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.key");
        for content in [b"\xff\xfe".as_slice(), b"hello", &[b'A'; 5000], b""] {
            std::fs::write(&path, content).unwrap();
            let got = ModelKey::from_file(&path);
            assert!(matches!(got, Err(SealFileError::Key { .. })), "{got:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(ModelKey::from_file(&path), Err(SealFileError::Io { .. })));
    }
}
