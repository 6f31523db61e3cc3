//! Signed checkpoints: C2SP tlog-checkpoint inside a C2SP signed-note, Ed25519 (signature type 1).
//!
//! ```text
//! <origin>
//! <size>
//! <base64 of the root>
//!
//! — <origin> <base64 of key id (4 bytes) and signature (64 bytes)>
//! ```

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::{DeploymentId, Digest};

/// LIMIT: origin, size and root take 200 bytes, a signature line 200; the rest is for a dozen witnesses.
pub const MAX_CHECKPOINT: usize = 4096;
/// LIMIT: a verifier key names an origin of at most 200 bytes and 33 bytes of key in base64.
const MAX_VKEY: usize = 512;
/// C2SP signed-note, signature type of Ed25519.
const ED25519_TYPE: u8 = 1;
const KEY_ID: usize = 4;

/// The name of a deployment's log: the checkpoint's origin and its key's name.
pub fn origin(deployment: DeploymentId) -> String {
    format!("casemate.dev/log/{deployment}")
}

/// What a log commits to: that its first `size` entries hash to `root`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The signed text, with its newline at the end.
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

/// Text that is no checkpoint of a log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Longer than [`MAX_CHECKPOINT`].
    #[error("a checkpoint of {got} bytes, at most {MAX_CHECKPOINT} are read")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Not in the format.
    #[error("the checkpoint has no valid {what}")]
    Malformed {
        /// The part that is wrong.
        what: &'static str,
    },
    /// The verifier key is not one.
    #[error("the log key has no valid {what}")]
    Key {
        /// The part that is wrong.
        what: &'static str,
    },
    /// A checkpoint of another log.
    #[error("the checkpoint is of log `{got}`, expected `{expected}`")]
    OtherLog {
        /// Its origin.
        got: String,
        /// The key's name.
        expected: String,
    },
    /// No signature by the key, or one that does not verify.
    #[error("the checkpoint is not signed by log key `{key}`")]
    NotSigned {
        /// The key's name.
        key: String,
    },
}

/// Signs checkpoints of one deployment's log.
pub struct LogSigner {
    name: String,
    key: Ed25519KeyPair,
}

impl std::fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogSigner({})", self.vkey())
    }
}

/// The first bytes of SHA-256 over name, newline, signature type and public key.
fn key_id(name: &str, public: &[u8]) -> [u8; KEY_ID] {
    let digest = Digest::of(&[name.as_bytes(), b"\n", &[ED25519_TYPE], public].concat());
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

impl LogSigner {
    pub(crate) fn new(deployment: DeploymentId, key: Ed25519KeyPair) -> Self {
        Self { name: origin(deployment), key }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.name
    }

    /// The verifier key: `<name>+<key id, hex>+<base64 of type and public key>`.
    pub fn vkey(&self) -> String {
        let public = self.key.public_key().as_ref();
        let typed = [&[ED25519_TYPE], public].concat();
        format!("{}+{}+{}", self.name, hex::encode(key_id(&self.name, public)), STANDARD.encode(typed))
    }

    /// The checkpoint of a tree of this log, signed.
    pub fn sign_tree(&self, size: u64, root: Digest) -> String {
        self.sign(&Checkpoint { origin: self.name.clone(), size, root })
    }

    /// Signs a checkpoint. One with another origin than the signer's will not be accepted by anybody.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let body = checkpoint.body();
        let signature = self.key.sign(body.as_bytes());
        let id = key_id(&self.name, self.key.public_key().as_ref());
        format!("{body}\n— {} {}\n", self.name, STANDARD.encode([id.as_slice(), signature.as_ref()].concat()))
    }
}

/// A verifier key, parsed.
struct Key<'a> {
    name: &'a str,
    id: [u8; KEY_ID],
    public: [u8; 32],
}

fn parse_vkey(vkey: &str) -> Result<Key<'_>, CheckpointError> {
    let bad = |what| CheckpointError::Key { what };
    if vkey.len() > MAX_VKEY {
        return Err(bad("length"));
    }
    // A name holds no plus; base64 may.
    let mut parts = vkey.trim_end().splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad("form `name+id+key`"));
    };
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(bad("name"));
    }
    let typed = STANDARD.decode(key).map_err(|_| bad("base64"))?;
    let public: [u8; 32] = typed
        .strip_prefix(&[ED25519_TYPE])
        .and_then(|public| public.try_into().ok())
        .ok_or_else(|| bad("Ed25519 key"))?;
    let expected = key_id(name, &public);
    if hex::encode(expected) != id {
        return Err(bad("key id"));
    }
    Ok(Key { name, id: expected, public })
}

/// Splits a note into its text and its signature lines, and parses the text.
fn parse_note(note: &str) -> Result<(&str, Checkpoint, &str), CheckpointError> {
    let bad = |what| CheckpointError::Malformed { what };
    if note.len() > MAX_CHECKPOINT {
        return Err(CheckpointError::TooLong { got: note.len() });
    }
    if note.chars().any(|c| c < ' ' && c != '\n') {
        return Err(bad("characters"));
    }
    let (text, signatures) = note.rsplit_once("\n\n").ok_or_else(|| bad("signature block"))?;
    // The newline that ends the text is the first of the two.
    let body = note.get(..text.len().saturating_add(1)).ok_or_else(|| bad("signature block"))?;
    let mut lines = text.split('\n');
    let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next()) else {
        // The format allows extension lines. No log of ours writes any, and ignoring them would let two texts mean
        // the same.
        return Err(bad("three lines"));
    };
    if origin.is_empty() {
        return Err(bad("origin"));
    }
    let canonical = size == "0" || (!size.starts_with('0') && size.bytes().all(|byte| byte.is_ascii_digit()));
    let size = if canonical { size.parse().ok() } else { None }.ok_or_else(|| bad("size"))?;
    let root: [u8; 32] = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or_else(|| bad("root"))?;
    Ok((body, Checkpoint { origin: origin.to_owned(), size, root: Digest::from_bytes(root) }, signatures))
}

/// Opens a signed checkpoint: the text must be of the key's own log and carry the key's signature. Signatures of
/// others (witnesses) are passed over.
pub fn open_checkpoint(note: &str, vkey: &str) -> Result<Checkpoint, CheckpointError> {
    let key = parse_vkey(vkey)?;
    let (body, checkpoint, signatures) = parse_note(note)?;
    if checkpoint.origin != key.name {
        return Err(CheckpointError::OtherLog { got: checkpoint.origin, expected: key.name.to_owned() });
    }
    let mut signed = false;
    let lines = signatures.strip_suffix('\n').ok_or(CheckpointError::Malformed { what: "end of line" })?;
    for line in lines.split('\n') {
        let (name, signature) = line
            .strip_prefix("— ")
            .and_then(|line| line.split_once(' '))
            .ok_or(CheckpointError::Malformed { what: "signature line" })?;
        let bytes =
            STANDARD.decode(signature).map_err(|_| CheckpointError::Malformed { what: "signature encoding" })?;
        let (id, signature) =
            bytes.split_first_chunk::<KEY_ID>().ok_or(CheckpointError::Malformed { what: "signature length" })?;
        if name == key.name && *id == key.id {
            UnparsedPublicKey::new(&ED25519, key.public)
                .verify(body.as_bytes(), signature)
                .map_err(|_| CheckpointError::NotSigned { key: key.name.to_owned() })?;
            signed = true;
        }
    }
    if signed { Ok(checkpoint) } else { Err(CheckpointError::NotSigned { key: key.name.to_owned() }) }
}

/// Reads a checkpoint without checking any signature: what somebody claims. For a Coordinator that has not yet
/// rebuilt its seed and cannot know the log key.
pub fn peek_checkpoint(note: &str) -> Result<Checkpoint, CheckpointError> {
    parse_note(note).map(|(_, checkpoint, _)| checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: u8) -> LogSigner {
        LogSigner::new(DeploymentId::from_bytes([7; 16]), Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap())
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: origin(DeploymentId::from_bytes([7; 16])), size: 12, root: Digest::of(b"root") }
    }

    fn malformed(what: &'static str) -> CheckpointError {
        CheckpointError::Malformed { what }
    }

    #[test]
    fn a_checkpoint_survives_signing() {
        let note = signer(1).sign(&checkpoint());
        assert_eq!(open_checkpoint(&note, &signer(1).vkey()), Ok(checkpoint()));
        assert_eq!(open_checkpoint(&note, &format!("{}\n", signer(1).vkey())), Ok(checkpoint()), "as a file has it");
        assert_eq!(peek_checkpoint(&note), Ok(checkpoint()));
        assert_eq!(note, signer(1).sign_tree(12, Digest::of(b"root")));
        let lines: Vec<_> = note.lines().collect();
        assert_eq!(lines[0], "casemate.dev/log/07070707070707070707070707070707");
        assert_eq!(lines[1], "12");
        assert_eq!(lines[3], "");
        assert!(lines[4].starts_with("— casemate.dev/log/07070707070707070707070707070707 "));
    }

    #[test]
    fn the_verifier_key_of_the_signed_note_specification_is_read() {
        // The example of C2SP signed-note and of Go's sumdb/note.
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let key = parse_vkey(vkey).unwrap();
        assert_eq!((key.name, hex::encode(key.id)), ("PeterNeumann", "c74f20a3".to_owned()));
        let (body, signature) = note.rsplit_once("\n\n— PeterNeumann ").unwrap();
        let signature = STANDARD.decode(signature.trim_end()).unwrap();
        assert_eq!(signature[..4], key.id);
        UnparsedPublicKey::new(&ED25519, key.public).verify(format!("{body}\n").as_bytes(), &signature[4..]).unwrap();
        // A note, but no checkpoint.
        assert_eq!(open_checkpoint(note, vkey), Err(malformed("three lines")));
    }

    #[test]
    fn another_key_or_another_log_is_refused() {
        let note = signer(1).sign(&checkpoint());
        let name = origin(DeploymentId::from_bytes([7; 16]));
        assert_eq!(open_checkpoint(&note, &signer(2).vkey()), Err(CheckpointError::NotSigned { key: name.clone() }));
        let foreign =
            LogSigner::new(DeploymentId::from_bytes([8; 16]), Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap());
        assert!(matches!(open_checkpoint(&note, &foreign.vkey()), Err(CheckpointError::OtherLog { .. })));
        // The right key signs a checkpoint of another log.
        let stray = signer(1).sign(&Checkpoint { origin: "elsewhere".into(), ..checkpoint() });
        assert!(matches!(open_checkpoint(&stray, &signer(1).vkey()), Err(CheckpointError::OtherLog { .. })));
    }

    #[test]
    fn signatures_of_witnesses_are_passed_over_and_prove_nothing() {
        let note = signer(1).sign(&checkpoint());
        let witness = format!("— witness.example {}\n", STANDARD.encode([9; 76]));
        assert_eq!(open_checkpoint(&format!("{note}{witness}"), &signer(1).vkey()), Ok(checkpoint()));
        let (text, _) = note.rsplit_once("\n\n").unwrap();
        let only_witness = format!("{text}\n\n{witness}");
        assert!(matches!(open_checkpoint(&only_witness, &signer(1).vkey()), Err(CheckpointError::NotSigned { .. })));
        // One good and one bad signature by the same key is no honest note.
        let id = key_id(signer(1).origin(), signer(1).key.public_key().as_ref());
        let bad = STANDARD.encode([id.as_slice(), &[0; 64]].concat());
        let both = format!("{note}— {} {bad}\n", signer(1).origin());
        assert!(matches!(open_checkpoint(&both, &signer(1).vkey()), Err(CheckpointError::NotSigned { .. })));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let note = signer(1).sign(&checkpoint());
        let vkey = signer(1).vkey();
        for index in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(open_checkpoint(&changed, &vkey).is_err(), "byte {index}");
            }
            if let Some(cut) = note.get(..index) {
                assert!(open_checkpoint(cut, &vkey).is_err(), "cut at {index}");
            }
        }
    }

    #[test]
    fn text_out_of_form_is_refused_with_the_part() {
        let root = STANDARD.encode([1; 32]);
        let line = format!("— n {}\n", STANDARD.encode([0; 68]));
        let cases = [
            (String::new(), "signature block"),
            (format!("o\n1\n{root}\n{line}"), "signature block"),
            (format!("o\n1\n\n{line}"), "three lines"),
            (format!("o\n1\n{root}\nextension\n\n{line}"), "three lines"),
            (format!("\n1\n{root}\n\n{line}"), "origin"),
            (format!("o\n01\n{root}\n\n{line}"), "size"),
            (format!("o\n+1\n{root}\n\n{line}"), "size"),
            (format!("o\n-1\n{root}\n\n{line}"), "size"),
            (format!("o\n\n{root}\n\n{line}"), "size"),
            (format!("o\n18446744073709551616\n{root}\n\n{line}"), "size"),
            (format!("o\n1\n{}\n\n{line}", STANDARD.encode([1; 31])), "root"),
            (format!("o\n1\n!\n\n{line}"), "root"),
            (format!("o\r\n1\n{root}\n\n{line}"), "characters"),
        ];
        for (note, what) in cases {
            assert_eq!(peek_checkpoint(&note), Err(malformed(what)), "{note:?}");
        }
        let long = "x".repeat(MAX_CHECKPOINT + 1);
        assert_eq!(peek_checkpoint(&long), Err(CheckpointError::TooLong { got: MAX_CHECKPOINT + 1 }));
        let body = checkpoint().body();
        for (block, what) in [
            ("", "end of line"),
            ("— n AAAA", "end of line"),
            ("n AAAA\n", "signature line"),
            ("— n\n", "signature line"),
            ("— n !\n", "signature encoding"),
            ("— n AAAA\n", "signature length"),
        ] {
            assert_eq!(
                open_checkpoint(&format!("{body}\n{block}"), &signer(1).vkey()),
                Err(malformed(what)),
                "{block:?}"
            );
        }
    }

    #[test]
    fn keys_out_of_form_are_refused_with_the_part() {
        let key = signer(1).vkey();
        let mut parts = key.splitn(3, '+');
        let (name, id, public) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let short = STANDARD.encode([1; 32]);
        let other_type = STANDARD.encode([[2].as_slice(), &[1; 32]].concat());
        let cases = [
            (String::new(), "form `name+id+key`"),
            ("a+b".to_owned(), "form `name+id+key`"),
            (format!("+{id}+{public}"), "name"),
            (format!("a b+{id}+{public}"), "name"),
            (format!("{name}+00000000+{public}"), "key id"),
            (format!("other+{id}+{public}"), "key id"),
            (format!("{name}+{id}+!"), "base64"),
            (format!("{name}+{id}+{short}"), "Ed25519 key"),
            (format!("{name}+{id}+{other_type}"), "Ed25519 key"),
            ("x".repeat(MAX_VKEY + 1), "length"),
        ];
        let note = signer(1).sign(&checkpoint());
        for (vkey, what) in cases {
            assert_eq!(open_checkpoint(&note, &vkey), Err(CheckpointError::Key { what }), "{vkey}");
        }
    }
}
