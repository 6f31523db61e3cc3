//! Sealed models: weights as ciphertext that only the model key opens (design, section 13).
//!
//! A sealed file may lie in an image, on a volume or with an object store: whoever holds it without the key learns the
//! model's name, its size and which key it was sealed with, and can change nothing without being noticed.
//!
//! ```text
//! header    "CMSEALED", version 1 (u16), name length (u16), chunk size (u32), plaintext length (u64),
//!           file id (32 random bytes), key id (16), name
//!           HMAC-SHA256 over all of that
//! chunk 0   AES-256-GCM of `chunk size` bytes, tag
//! …
//! chunk n   AES-256-GCM of the remaining 1..=`chunk size` bytes, tag
//! trailer   AES-256-GCM of the SHA-256 of the whole plaintext, tag
//! ```
//!
//! Numbers are big-endian. Keys come from the model key by HKDF-SHA256 with the file id as salt, one for the header and
//! one for the chunks, so a chunk of another file never opens here. A chunk's nonce is its number and its kind (inner, last, trailer);
//! its associated data is the SHA-256 of the header with its HMAC. So chunks cannot be moved, dropped, repeated or
//! appended, and each chunk vouches for the header. Chunks are independent of each other: they open in parallel, or one
//! by one as they arrive.
//!
//! The digest of the plaintext is in the trailer, encrypted: in the clear it would tell anybody which public model
//! somebody runs. It is the model's version, and opening compares it with what was decrypted.
//!
//! What this does not do: it does not say *which* sealed file is the right one. A holder of the key who replaces one
//! sealed file by another under the same name is believed. The image digest (design, section 6) is what pins the file.

mod file;
mod format;
mod key;

pub use file::{SealFileError, inspect_file, open_file, open_file_in_memory, seal_file};
pub use format::{
    Header, MAX_NAME, ModelInfo, OpenLimits, OpenedModel, ReadAt, SealOptions, SealedError, StreamError, is_sealed,
    open, open_stream, seal,
};
pub use key::{KeyId, ModelKey, ParseKeyError};
