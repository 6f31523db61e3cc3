//! PEM (RFC 7468), as much of it as key files and certificates need.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

/// LIMIT: an RSA-4096 key in PKCS#8 is 2.4 KiB of DER, 3.3 KiB of PEM; comments before it are allowed some room.
pub(crate) const MAX_KEY_FILE: usize = 64 * 1024;

/// Text that holds no private key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// Longer than any key file.
    #[error("{got} bytes are too long for a key file, at most {MAX_KEY_FILE} are read")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// No private key section in it.
    #[error("no PEM section with an unencrypted private key")]
    NoPrivateKey,
}

/// The first unencrypted private key of a PEM text.
pub(crate) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, PemError> {
    if text.len() > MAX_KEY_FILE {
        return Err(PemError::TooLong { got: text.len() });
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| PemError::NoPrivateKey)
}

/// Encodes DER as PEM with lines of 64 characters.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Three bytes in four characters, and a line break every 64 of them; reserved at once, so that no copy of a key
    // is left behind by a reallocation.
    let mut text = Zeroizing::new(String::with_capacity(body.len().saturating_mul(2).saturating_add(128)));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for (index, character) in body.chars().enumerate() {
        if index != 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_64_characters_and_nothing_is_lost() {
        for length in [1, 47, 48, 49, 96, 300] {
            let der: Vec<u8> = (0..length).map(|byte| u8::try_from(byte % 256).unwrap()).collect();
            let text = encode("CERTIFICATE", &der);
            assert!(text.lines().all(|line| !line.is_empty() && line.len() <= 64), "{}", *text);
            let again = rustls_pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(again.as_ref(), der);
        }
    }

    #[test]
    fn a_text_without_a_private_key_is_refused() {
        for text in ["", "hello", "-----BEGIN PRIVATE KEY-----\n", &encode("CERTIFICATE", &[1, 2, 3])] {
            assert_eq!(private_key(text).unwrap_err(), PemError::NoPrivateKey, "{text}");
        }
        let long = "x".repeat(MAX_KEY_FILE + 1);
        assert_eq!(private_key(&long).unwrap_err(), PemError::TooLong { got: MAX_KEY_FILE + 1 });
    }
}
