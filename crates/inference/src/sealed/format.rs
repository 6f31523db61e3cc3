//! The file format: header, chunks, trailer. Bytes in, bytes out.

use std::io::{ErrorKind, Read, Write};
use std::thread::ScopedJoinHandle;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use protocol::{Digest, Secret};
use zeroize::Zeroizing;

use super::{KeyId, ModelKey};

const MAGIC: &[u8; 8] = b"CMSEALED";
const VERSION: u16 = 1;
/// The header up to its name.
const FIXED_HEADER: usize = 8 + 2 + 2 + 4 + 8 + FILE_ID + KeyId::LEN;
const FILE_ID: usize = 32;
const MAC: usize = 32;
const TAG: usize = 16;
/// The trailer: a sealed SHA-256.
const TRAILER: usize = 32 + TAG;

/// LIMIT: a model's name is a Kubernetes label value twice over; it stands in URLs and log lines.
pub const MAX_NAME: usize = 126;
/// LIMIT: below 4 KiB tags and calls cost more than the encryption.
const MIN_CHUNK: u32 = 4 * 1024;
/// LIMIT: one chunk for each thread is in memory beside the plaintext.
const MAX_CHUNK: u32 = 16 * 1024 * 1024;
/// One megabyte: large enough that AES-GCM runs at full speed, small enough that even a model of some megabytes opens on
/// all cores.
const DEFAULT_CHUNK: u32 = 1024 * 1024;
/// LIMIT: 16 TiB, some ten times the largest weights published to date. Far below what one AES-GCM key may encrypt with
/// counted nonces.
const MAX_PLAINTEXT: u64 = 1 << 44;

/// Why bytes are not a model sealed with this key. Every variant but `NoRandomness` and `OutOfMemory` says that the input is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// No sealed model at all.
    #[error("not a sealed model")]
    NotSealed,
    /// Sealed by a later Casemate.
    #[error("sealed in format {found}, and this is format {VERSION}")]
    Version {
        /// The version in the file.
        found: u16,
    },
    /// A header field that sealing never writes.
    #[error("malformed header: {field}")]
    Malformed {
        /// Which field.
        field: &'static str,
    },
    /// A number beyond what is accepted.
    #[error("{what} is {value}, at most {max} is accepted")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The limit.
        max: u64,
    },
    /// Sealed with another key.
    #[error("sealed with key {file}, not with the given key {given}")]
    WrongKey {
        /// The key in the file's header.
        file: KeyId,
        /// The key that was given.
        given: KeyId,
    },
    /// The header is not the one that was sealed.
    #[error("the header was altered")]
    HeaderAltered,
    /// Bytes are missing.
    #[error("cut off at byte {got} of {expected}")]
    Truncated {
        /// Bytes that the header announces.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// Bytes follow the end.
    #[error("bytes follow after the end at byte {expected}")]
    Appended {
        /// Bytes that the header announces.
        expected: u64,
    },
    /// A chunk is not the one that was sealed at its place.
    #[error("chunk {index} of {count} was altered, moved or taken from another file")]
    Chunk {
        /// Its number, from 0.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// The trailer is not the one that was sealed.
    #[error("the trailer was altered or taken from another file")]
    Trailer,
    /// Every chunk is genuine, and yet the whole is not what the trailer says: sealed by something other than Casemate.
    #[error("the contents do not match the sealed digest")]
    Digest,
    /// Nothing to seal.
    #[error("the model is empty")]
    Empty,
    /// Sealing what is sealed.
    #[error("the model is sealed already")]
    AlreadySealed,
    /// A name that cannot be a model's.
    #[error(
        "`{name}` is no model name: letters, digits, `-`, `_` and `.`, 1 to {MAX_NAME} of them, a letter or digit first"
    )]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// The source grew or shrank while it was sealed.
    #[error("the model changed its length while it was read: {expected} bytes became {got}")]
    LengthChanged {
        /// Bytes announced.
        expected: u64,
        /// Bytes read, at least.
        got: u64,
    },
    /// The system gave no random bytes.
    #[error("the system's random generator failed")]
    NoRandomness,
    /// No room for the plaintext.
    #[error("no memory for {bytes} bytes")]
    OutOfMemory {
        /// Bytes wanted.
        bytes: u64,
    },
}

/// A failure while sealing or opening a stream.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The bytes are wrong.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The source failed.
    #[error("read")]
    Read(#[source] std::io::Error),
    /// The sink failed.
    #[error("write")]
    Write(#[source] std::io::Error),
}

/// How to seal.
#[derive(Debug, Clone)]
pub struct SealOptions {
    /// The model's name, as the server will serve it.
    pub name: String,
    /// Plaintext bytes of a chunk: a power of two from 4 KiB to 16 MiB.
    pub chunk_size: u32,
}

impl SealOptions {
    /// A model of this name, in chunks of 1 MiB.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), chunk_size: DEFAULT_CHUNK }
    }

    /// The options, if a file can be sealed with them.
    pub fn checked(self) -> Result<Self, SealedError> {
        check_name(&self.name)?;
        check_chunk_size(self.chunk_size)?;
        Ok(self)
    }
}

/// What to accept.
#[derive(Debug, Clone, Copy)]
pub struct OpenLimits {
    /// Largest plaintext in bytes.
    pub max_plaintext: u64,
}

impl Default for OpenLimits {
    /// The format's own limit. Whoever opens into memory sets a smaller one.
    fn default() -> Self {
        Self { max_plaintext: MAX_PLAINTEXT }
    }
}

/// What is known of a model once it was sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// SHA-256 of the plaintext: the model's version.
    pub digest: Digest,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Bytes of the sealed file.
    pub sealed_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// The key it is sealed with.
    pub key: KeyId,
}

/// A model opened into memory.
#[derive(Debug)]
pub struct OpenedModel {
    /// What it is.
    pub info: ModelInfo,
    /// The weights. Overwritten when dropped.
    pub plaintext: Secret,
}

/// A header. From [`Header::parse`] it is a claim; from `Header::authenticate` it is what the key's holder sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The model's name.
    pub name: String,
    /// Plaintext bytes of every chunk but the last.
    pub chunk_size: u32,
    /// Plaintext bytes in all.
    pub plaintext_len: u64,
    /// The key.
    pub key: KeyId,
    file_id: [u8; FILE_ID],
}

impl Header {
    fn new(options: &SealOptions, plaintext_len: u64, key: &ModelKey) -> Result<Self, SealedError> {
        let mut file_id = [0; FILE_ID];
        SystemRandom::new().fill(&mut file_id).map_err(|_| SealedError::NoRandomness)?;
        let SealOptions { name, chunk_size } = options.clone().checked()?;
        check_length(plaintext_len, MAX_PLAINTEXT)?;
        Ok(Self { name, chunk_size, plaintext_len, key: key.id(), file_id })
    }

    fn encode(&self) -> Vec<u8> {
        let name_len = u16::try_from(self.name.len()).expect("a checked name has at most 126 bytes");
        let mut bytes = Vec::with_capacity(FIXED_HEADER + self.name.len() + MAC);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&name_len.to_be_bytes());
        bytes.extend_from_slice(&self.chunk_size.to_be_bytes());
        bytes.extend_from_slice(&self.plaintext_len.to_be_bytes());
        bytes.extend_from_slice(&self.file_id);
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// Reads a header and says what it claims; nothing of it is authenticated.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealedError> {
        let mut source = bytes;
        match read_header(&mut source) {
            Ok((header, _)) => Ok(header),
            Err(StreamError::Sealed(error)) => Err(error),
            // PANIC-FREE: reading a slice does not fail.
            Err(StreamError::Read(_) | StreamError::Write(_)) => Err(SealedError::NotSealed),
        }
    }

    /// Parses a header whose bytes are complete but for the MAC.
    fn decode(fixed: &[u8; FIXED_HEADER], name: &[u8]) -> Result<Self, SealedError> {
        let mut rest = Fields(fixed);
        let (_magic, _version, _name_len): ([u8; 8], [u8; 2], [u8; 2]) = (rest.take(), rest.take(), rest.take());
        let chunk_size = u32::from_be_bytes(rest.take());
        let plaintext_len = u64::from_be_bytes(rest.take());
        let file_id = rest.take();
        let key = KeyId(rest.take());
        let name = std::str::from_utf8(name).map_err(|_| SealedError::Malformed { field: "name" })?;
        check_name(name).map_err(|_| SealedError::Malformed { field: "name" })?;
        check_chunk_size(chunk_size)?;
        check_length(plaintext_len, MAX_PLAINTEXT)?;
        Ok(Self { name: name.to_owned(), chunk_size, plaintext_len, key, file_id })
    }

    /// How many chunks there are, the trailer not counted.
    pub fn chunks(&self) -> u64 {
        self.plaintext_len.div_ceil(u64::from(self.chunk_size))
    }

    /// Bytes of the whole file.
    pub fn sealed_len(&self) -> u64 {
        self.encoded_len() + self.plaintext_len + self.chunks() * TAG as u64 + TRAILER as u64
    }

    fn encoded_len(&self) -> u64 {
        (FIXED_HEADER + self.name.len() + MAC) as u64
    }

    /// Plaintext bytes of one chunk.
    fn chunk_len(&self, index: u64) -> usize {
        let start = index * u64::from(self.chunk_size);
        let len = self.plaintext_len.saturating_sub(start).min(u64::from(self.chunk_size));
        usize::try_from(len).expect("a chunk has at most 16 MiB")
    }

    /// Where in the file one chunk begins.
    fn chunk_offset(&self, index: u64) -> u64 {
        self.encoded_len() + index * (u64::from(self.chunk_size) + TAG as u64)
    }

    fn kind(&self, index: u64) -> Kind {
        if index + 1 == self.chunks() { Kind::Last } else { Kind::Inner }
    }
}

/// Fixed-size fields off the front of a slice that is known to hold them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the fixed header holds all its fields");
        self.0 = rest;
        *field
    }
}

fn check_name(name: &str) -> Result<(), SealedError> {
    let fits = (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits { Ok(()) } else { Err(SealedError::Name { name: name.chars().take(80).collect() }) }
}

fn check_chunk_size(chunk_size: u32) -> Result<(), SealedError> {
    if (MIN_CHUNK..=MAX_CHUNK).contains(&chunk_size) && chunk_size.is_power_of_two() {
        Ok(())
    } else {
        Err(SealedError::Malformed { field: "chunk size" })
    }
}

fn check_length(plaintext_len: u64, max: u64) -> Result<(), SealedError> {
    match plaintext_len {
        0 => Err(SealedError::Empty),
        value if value > max => Err(SealedError::TooLarge { what: "the model's length in bytes", value, max }),
        _ => Ok(()),
    }
}

/// What a chunk is, as its nonce says it.
#[derive(Clone, Copy)]
enum Kind {
    Inner = 0,
    Last = 1,
    Trailer = 2,
}

/// The keys of one file and the header that its chunks vouch for.
struct ChunkCipher {
    key: LessSafeKey,
    aad: [u8; 32],
}

impl ChunkCipher {
    /// `header` is the encoded header with its MAC.
    fn new(key: &ModelKey, file_id: &[u8; FILE_ID], header: &[u8]) -> Self {
        let mut aad = [0; 32];
        aad.copy_from_slice(digest(&SHA256, header).as_ref());
        Self { key: key.file_key(file_id), aad }
    }

    fn nonce(index: u64, kind: Kind) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        let (number, rest) = nonce.split_at_mut(8);
        number.copy_from_slice(&index.to_be_bytes());
        if let Some(last) = rest.last_mut() {
            *last = kind as u8;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts in place and appends the tag.
    fn seal(&self, index: u64, kind: Kind, data: &mut Vec<u8>) {
        self.key
            .seal_in_place_append_tag(Self::nonce(index, kind), Aad::from(self.aad), data)
            .expect("AES-GCM encrypts up to 64 GiB under one nonce and a chunk has at most 16 MiB");
    }

    /// Decrypts `sealed` (ciphertext and tag) into `plaintext`, which has its length less the tag's.
    fn open(&self, index: u64, kind: Kind, sealed: &[u8], plaintext: &mut [u8]) -> bool {
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<TAG>() else { return false };
        let nonce = Self::nonce(index, kind);
        self.key.open_separate_gather(nonce, Aad::from(self.aad), ciphertext, tag, plaintext).is_ok()
    }
}

/// Whether a file that begins with these bytes claims to be sealed.
pub fn is_sealed(beginning: &[u8]) -> bool {
    beginning.starts_with(MAGIC)
}

/// Seals exactly `len` bytes of `source`.
pub fn seal(
    source: &mut dyn Read,
    len: u64,
    sink: &mut dyn Write,
    key: &ModelKey,
    options: &SealOptions,
) -> Result<ModelInfo, StreamError> {
    let header = Header::new(options, len, key)?;
    let mut encoded = header.encode();
    let mac = hmac::sign(&key.header_key(&header.file_id), &encoded);
    encoded.extend_from_slice(mac.as_ref());
    let cipher = ChunkCipher::new(key, &header.file_id, &encoded);
    sink.write_all(&encoded).map_err(StreamError::Write)?;

    let mut hash = Context::new(&SHA256);
    let mut chunk = Zeroizing::new(Vec::new());
    let mut done = 0;
    for index in 0..header.chunks() {
        chunk.clear();
        chunk.resize(header.chunk_len(index), 0);
        let got = read_up_to(source, &mut chunk)?;
        done += got as u64;
        if got < chunk.len() {
            return Err(SealedError::LengthChanged { expected: len, got: done }.into());
        }
        if index == 0 && is_sealed(&chunk) {
            return Err(SealedError::AlreadySealed.into());
        }
        hash.update(&chunk);
        cipher.seal(index, header.kind(index), &mut chunk);
        sink.write_all(&chunk).map_err(StreamError::Write)?;
    }
    if read_up_to(source, &mut [0])? != 0 {
        return Err(SealedError::LengthChanged { expected: len, got: len + 1 }.into());
    }
    let digest = finish(hash);
    let mut trailer = digest.as_bytes().to_vec();
    cipher.seal(header.chunks(), Kind::Trailer, &mut trailer);
    sink.write_all(&trailer).map_err(StreamError::Write)?;
    Ok(info(&header, digest))
}

/// Opens a stream chunk by chunk. **What was written before an error is genuine but incomplete**: the caller throws it
/// away unless this returns `Ok`.
pub fn open_stream(
    source: &mut dyn Read,
    sink: &mut dyn Write,
    key: &ModelKey,
    limits: OpenLimits,
) -> Result<ModelInfo, StreamError> {
    let (header, encoded) = read_header(source)?;
    header.authenticate(&encoded, key, limits)?;
    let cipher = ChunkCipher::new(key, &header.file_id, &encoded);
    let truncated = |got| SealedError::Truncated { expected: header.sealed_len(), got };

    let mut hash = Context::new(&SHA256);
    let mut sealed = Vec::new();
    let mut plaintext = Zeroizing::new(Vec::new());
    for index in 0..header.chunks() {
        let len = header.chunk_len(index);
        sealed.resize(len + TAG, 0);
        plaintext.resize(len, 0);
        let got = read_up_to(source, &mut sealed)?;
        if got < sealed.len() {
            return Err(truncated(header.chunk_offset(index) + got as u64).into());
        }
        if !cipher.open(index, header.kind(index), &sealed, &mut plaintext) {
            return Err(SealedError::Chunk { index, count: header.chunks() }.into());
        }
        hash.update(&plaintext);
        sink.write_all(&plaintext).map_err(StreamError::Write)?;
    }
    let mut trailer = [0; TRAILER];
    let got = read_up_to(source, &mut trailer)?;
    if got < TRAILER {
        return Err(truncated(header.sealed_len() - (TRAILER - got) as u64).into());
    }
    if read_up_to(source, &mut [0])? != 0 {
        return Err(SealedError::Appended { expected: header.sealed_len() }.into());
    }
    let digest = finish(hash);
    cipher.check_trailer(&header, &trailer, digest)?;
    Ok(info(&header, digest))
}

/// A source that several threads read at once, such as a file or a slice.
pub trait ReadAt: Sync {
    /// Its length.
    fn len(&self) -> std::io::Result<u64>;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> std::io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Fills the buffer from an offset; `UnexpectedEof` when the source ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn len(&self) -> std::io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> std::io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let bytes = self.get(start..end).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Reads a [`ReadAt`] from its beginning.
struct Cursor<'a, S: ?Sized> {
    source: &'a S,
    offset: u64,
}

impl<S: ReadAt + ?Sized> Read for Cursor<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.source.len()?.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..len) else { return Ok(0) };
        self.source.read_exact_at(buffer, self.offset)?;
        self.offset += len as u64;
        Ok(len)
    }
}

/// Opens a whole model into memory on up to `threads` threads. Memory for it is asked for only after the header was
/// authenticated, so a forged length costs nothing.
pub fn open<S: ReadAt + ?Sized>(
    source: &S,
    key: &ModelKey,
    limits: OpenLimits,
    threads: usize,
) -> Result<OpenedModel, StreamError> {
    let (header, encoded) = read_header(&mut Cursor { source, offset: 0 })?;
    header.authenticate(&encoded, key, limits)?;
    let (expected, got) = (header.sealed_len(), source.len().map_err(StreamError::Read)?);
    match got.cmp(&expected) {
        std::cmp::Ordering::Less => return Err(SealedError::Truncated { expected, got }.into()),
        std::cmp::Ordering::Greater => return Err(SealedError::Appended { expected }.into()),
        std::cmp::Ordering::Equal => {}
    }
    let cipher = ChunkCipher::new(key, &header.file_id, &encoded);

    let no_memory = || SealedError::OutOfMemory { bytes: header.plaintext_len };
    let len = usize::try_from(header.plaintext_len).map_err(|_| no_memory())?;
    let mut plaintext = Zeroizing::new(Vec::new());
    plaintext.try_reserve_exact(len).map_err(|_| no_memory())?;
    plaintext.resize(len, 0);

    // Every thread takes one run of neighbouring chunks: that reads the disk in long stretches.
    let threads = (threads.max(1) as u64).min(header.chunks());
    let run = header.chunks().div_ceil(threads);
    let run_bytes = usize::try_from(run * u64::from(header.chunk_size)).map_err(|_| no_memory())?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = plaintext
            .chunks_mut(run_bytes)
            .zip(0_u64..)
            .map(|(out, worker)| {
                let (header, cipher) = (&header, &cipher);
                scope.spawn(move || open_run(source, header, cipher, worker * run, out))
            })
            .collect();
        // All are joined and the first error in file order is the one reported, so that messages do not depend on timing.
        let results: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
        results.into_iter().try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;

    let mut trailer = [0; TRAILER];
    let offset = header.sealed_len() - TRAILER as u64;
    source.read_exact_at(&mut trailer, offset).map_err(|error| cut_off(&header, offset, error))?;
    let mut hash = Context::new(&SHA256);
    hash.update(&plaintext);
    let digest = finish(hash);
    cipher.check_trailer(&header, &trailer, digest)?;
    Ok(OpenedModel { info: info(&header, digest), plaintext: Secret::new(std::mem::take(&mut plaintext)) })
}

/// Opens neighbouring chunks, `first` and those that fill `out`.
fn open_run<S: ReadAt + ?Sized>(
    source: &S,
    header: &Header,
    cipher: &ChunkCipher,
    first: u64,
    out: &mut [u8],
) -> Result<(), StreamError> {
    let chunk_size = usize::try_from(header.chunk_size).expect("a chunk has at most 16 MiB");
    let mut sealed = Vec::with_capacity(chunk_size + TAG);
    for (index, plaintext) in (first..).zip(out.chunks_mut(chunk_size)) {
        sealed.resize(plaintext.len() + TAG, 0);
        let offset = header.chunk_offset(index);
        source.read_exact_at(&mut sealed, offset).map_err(|error| cut_off(header, offset, error))?;
        if !cipher.open(index, header.kind(index), &sealed, plaintext) {
            return Err(SealedError::Chunk { index, count: header.chunks() }.into());
        }
    }
    Ok(())
}

/// The file was long enough a moment ago: somebody cut it while it was read.
fn cut_off(header: &Header, offset: u64, error: std::io::Error) -> StreamError {
    match error.kind() {
        ErrorKind::UnexpectedEof => SealedError::Truncated { expected: header.sealed_len(), got: offset }.into(),
        _ => StreamError::Read(error),
    }
}

impl Header {
    /// Checks that the holder of `key` sealed this header. `encoded` is the header with its MAC.
    fn authenticate(&self, encoded: &[u8], key: &ModelKey, limits: OpenLimits) -> Result<(), SealedError> {
        let given = key.id();
        if self.key != given {
            return Err(SealedError::WrongKey { file: self.key, given });
        }
        let (bytes, mac) = encoded.split_last_chunk::<MAC>().ok_or(SealedError::HeaderAltered)?;
        hmac::verify(&key.header_key(&self.file_id), bytes, mac).map_err(|_| SealedError::HeaderAltered)?;
        check_length(self.plaintext_len, limits.max_plaintext)
    }
}

impl ChunkCipher {
    fn check_trailer(&self, header: &Header, trailer: &[u8; TRAILER], digest: Digest) -> Result<(), SealedError> {
        let mut sealed_digest = [0; 32];
        if !self.open(header.chunks(), Kind::Trailer, trailer, &mut sealed_digest) {
            return Err(SealedError::Trailer);
        }
        if &sealed_digest == digest.as_bytes() { Ok(()) } else { Err(SealedError::Digest) }
    }
}

/// Reads the header with its MAC; gives the encoded bytes too.
fn read_header(source: &mut dyn Read) -> Result<(Header, Vec<u8>), StreamError> {
    let mut fixed = [0; FIXED_HEADER];
    let got = read_up_to(source, &mut fixed)?;
    if !is_sealed(&fixed) {
        return Err(SealedError::NotSealed.into());
    }
    // Until the header says how long the file is, the header is all that can be missed.
    let truncated = |expected: usize, got: usize| SealedError::Truncated { expected: expected as u64, got: got as u64 };
    if got < FIXED_HEADER {
        return Err(truncated(FIXED_HEADER, got).into());
    }
    let mut fields = Fields(&fixed);
    let _magic: [u8; 8] = fields.take();
    let found = u16::from_be_bytes(fields.take());
    if found != VERSION {
        return Err(SealedError::Version { found }.into());
    }
    let name_len = usize::from(u16::from_be_bytes(fields.take()));
    if !(1..=MAX_NAME).contains(&name_len) {
        return Err(SealedError::Malformed { field: "name length" }.into());
    }
    let mut rest = vec![0; name_len + MAC];
    let got = read_up_to(source, &mut rest)?;
    if got < rest.len() {
        return Err(truncated(FIXED_HEADER + rest.len(), FIXED_HEADER + got).into());
    }
    let name = rest.get(..name_len).unwrap_or_default();
    let header = Header::decode(&fixed, name)?;
    let mut encoded = fixed.to_vec();
    encoded.append(&mut rest);
    Ok((header, encoded))
}

/// Reads until the buffer is full or the source ends; gives the number of bytes.
fn read_up_to(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, StreamError> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(StreamError::Read(error)),
        }
    }
    Ok(done)
}

fn finish(hash: Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    Digest::from_bytes(bytes)
}

fn info(header: &Header, digest: Digest) -> ModelInfo {
    ModelInfo {
        name: header.name.clone(),
        digest,
        bytes: header.plaintext_len,
        sealed_bytes: header.sealed_len(),
        chunks: header.chunks(),
        key: header.key,
    }
}

#[cfg(test)]
mod tests;
