//! One layer: unpacked as it arrives, and asked what it says of the few paths that decide about users.
//!
//! A layer is never held, neither in memory nor on disk. What it says of a path stays valid for ever, because a layer
//! is named by its digest; [`super::rootfs`] lays the answers of all layers over one another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

use protocol::Digest;
use protocol::text::quoted;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::document::Packing;
use super::tar::{Archive, Entry, Kind, TarError};

/// LIMIT: containerd reads no more of `/etc/passwd` and `/etc/group` either.
pub(super) const MAX_USER_FILE: u64 = 1024 * 1024;
/// LIMIT: gzip packs up to 1,032 bytes into one; what packs more is made to keep readers busy. The constant lets small
/// layers of zstd, which knows no such bound, hold an empty disk or two.
const MAX_RATIO: u64 = 1100;
const FREE_BYTES: u64 = 256 * 1024 * 1024;
/// LIMIT: memory of one zstd stream. Builders use windows of up to 32 MiB at their strongest levels.
const MAX_WINDOW: u64 = 32 * 1024 * 1024;
/// Read at once from the unpacking.
const CHUNK: usize = 128 * 1024;

/// Why a layer is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The archive in it.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// Packed otherwise than its descriptor says.
    #[error("its descriptor says {said}, the content begins like {found}")]
    Packing {
        /// By the descriptor.
        said: &'static str,
        /// By the first bytes.
        found: &'static str,
    },
    /// It unpacks to other content than the configuration names.
    #[error("it unpacks to `{got}`, the configuration names `{expected}`")]
    DiffId {
        /// In the configuration.
        expected: String,
        /// Of what was unpacked.
        got: String,
    },
    /// Two tools would make two file systems of it.
    #[error("`{path}`: {what}")]
    Ambiguous {
        /// The path.
        path: String,
        /// Why.
        what: &'static str,
    },
}

/// What a layer says of one path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fact {
    /// A folder. What is below it in lower layers stays, unless it is `opaque`. One that no entry of its own makes is
    /// `implied`.
    Directory { opaque: bool, implied: bool },
    /// A file with this content.
    File(String),
    /// A file that is longer than files of users are, or has holes.
    Strange,
    /// A symbolic link.
    Symlink(String),
    /// Another name for what lower layers have at this path.
    Hardlink(String),
    /// What lower layers have here is deleted.
    Whiteout,
    /// A device or a pipe.
    Other,
}

/// What a layer says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Its digest when unpacked.
    pub(super) diff_id: String,
    /// Its size when unpacked.
    pub(super) unpacked: u64,
    /// The paths that were looked for; what is not among them is not known.
    pub(super) wanted: BTreeSet<String>,
    /// What was found of them.
    pub(super) found: BTreeMap<String, Fact>,
}

/// The folders above a path, the root (an empty path) first.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
    std::iter::once("").chain(slashes).take_while(move |_| !path.is_empty())
}

/// Reads a layer to its end. `size` is that of the packed layer.
pub(super) fn scan(
    source: impl Read,
    packing: Packing,
    size: u64,
    wanted: &BTreeSet<String>,
) -> Result<Facts, LayerError> {
    let mut source = BufReader::with_capacity(CHUNK, source);
    let found = match source.fill_buf().map_err(|error| read(0, &error))? {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        _ => Packing::Plain,
    };
    if found != packing {
        let name = |packing| match packing {
            Packing::Plain => "a plain archive",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        };
        return Err(LayerError::Packing { said: name(packing), found: name(found) });
    }
    let limit = size.saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES);
    match packing {
        Packing::Plain => unpacked(source, limit, wanted),
        Packing::Gzip => unpacked(flate2::bufread::MultiGzDecoder::new(source), limit, wanted),
        Packing::Zstd => unpacked(Zstd { source, frame: None }, limit, wanted),
    }
}

fn read(at: u64, error: &std::io::Error) -> TarError {
    TarError::Read { at, reason: error.to_string() }
}

fn unpacked(source: impl Read, limit: u64, wanted: &BTreeSet<String>) -> Result<Facts, LayerError> {
    let hashing = Hashing { source, hash: Sha256::new(), bytes: 0, limit };
    let mut archive = Archive::new(BufReader::with_capacity(CHUNK, hashing));
    let mut scan = Scan { wanted, found: BTreeMap::new() };
    while let Some(entry) = archive.next()? {
        scan.entry(&entry, &mut archive)?;
    }
    // Builders pad the end; the padding is part of the layer's digest.
    let at = archive.position();
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(|error| read(at, &error))?;
    let hashing = rest.into_inner();
    let digest: [u8; 32] = hashing.hash.finalize().into();
    Ok(Facts {
        diff_id: format!("sha256:{}", Digest::from_bytes(digest)),
        unpacked: hashing.bytes,
        wanted: wanted.clone(),
        found: scan.found,
    })
}

/// Hashes and counts what is read through it.
struct Hashing<R> {
    source: R,
    hash: Sha256,
    bytes: u64,
    limit: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.source.read(buffer)?;
        self.hash.update(buffer.get(..got).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(got as u64);
        if self.bytes > self.limit {
            let reason = format!("it unpacks to more than {} bytes, {MAX_RATIO} times its size", self.limit);
            return Err(std::io::Error::other(reason));
        }
        Ok(got)
    }
}

/// All frames of a zstd stream: builders that cut layers into chunks write one each.
struct Zstd<R> {
    source: R,
    frame: Option<ruzstd::decoding::FrameDecoder>,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
        use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
        let zstd = |error: FrameDecoderError| std::io::Error::other(format!("zstd: {error}"));
        loop {
            if let Some(frame) = &mut self.frame {
                while frame.can_collect() == 0 && !frame.is_finished() {
                    frame.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1)).map_err(zstd)?;
                }
                if frame.can_collect() > 0 {
                    return frame.read(buffer);
                }
                if let (Some(said), Some(got)) = (frame.get_checksum_from_data(), frame.get_calculated_checksum())
                    && said != got
                {
                    return Err(std::io::Error::other("zstd: the checksum of a frame is wrong"));
                }
                self.frame = None;
            }
            if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let mut frame = FrameDecoder::new();
            frame.set_max_window_size(MAX_WINDOW);
            match frame.init(&mut self.source) {
                Ok(()) => self.frame = Some(frame),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if std::io::copy(&mut (&mut self.source).take(length), &mut std::io::sink())? < length {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(zstd(error)),
            }
        }
    }
}

/// Takes entries one after the other and keeps what they say of the wanted paths.
struct Scan<'a> {
    wanted: &'a BTreeSet<String>,
    found: BTreeMap<String, Fact>,
}

impl Scan<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), LayerError> {
        let (parent, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if entry.path.starts_with(".wh..wh.") && name != OPAQUE {
            // What the file system AUFS kept for itself.
            return Ok(());
        }
        if name == OPAQUE {
            self.implied(&entry.path)?;
            if self.wanted.contains(parent) {
                match self.found.get_mut(parent) {
                    Some(Fact::Directory { opaque, .. }) => *opaque = true,
                    _ => return Err(ambiguous(parent, "emptied, and not a folder")),
                }
            }
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, "" | "." | "..") {
                return Err(ambiguous(&entry.path, "a whiteout of nothing"));
            }
            let hidden = if parent.is_empty() { hidden.to_owned() } else { format!("{parent}/{hidden}") };
            self.implied(&hidden)?;
            if self.wanted.contains(&hidden) {
                match self.found.get(&hidden) {
                    None | Some(Fact::Whiteout) => self.found.insert(hidden, Fact::Whiteout),
                    Some(_) => return Err(ambiguous(&hidden, "made, and then deleted in the same layer")),
                };
            }
            return Ok(());
        }
        self.implied(&entry.path)?;
        if !self.wanted.contains(&entry.path) {
            return Ok(());
        }
        let fact = match entry.kind {
            Kind::Directory => {
                let opaque = match self.found.get(&entry.path) {
                    None => false,
                    Some(Fact::Directory { opaque, .. }) => *opaque,
                    // Whatever was here before is gone, that of lower layers too.
                    Some(_) => true,
                };
                self.found.insert(entry.path.clone(), Fact::Directory { opaque, implied: false });
                return Ok(());
            }
            // containerd reads no more than the limit of either file, and nothing else is read here.
            Kind::File => match archive.read(MAX_USER_FILE)? {
                Some(content) => Fact::File(String::from_utf8_lossy(&content).into_owned()),
                None => Fact::Strange,
            },
            Kind::Sparse => Fact::Strange,
            Kind::Symlink => Fact::Symlink(entry.target.clone()),
            Kind::Hardlink => match self.found.get(&entry.target) {
                None => Fact::Hardlink(entry.target.clone()),
                Some(fact @ (Fact::File(_) | Fact::Strange | Fact::Symlink(_) | Fact::Hardlink(_) | Fact::Other)) => {
                    fact.clone()
                }
                Some(Fact::Directory { .. } | Fact::Whiteout) => {
                    return Err(ambiguous(&entry.path, "a hard link to what is no file"));
                }
            },
            Kind::Other => Fact::Other,
        };
        // What is no folder takes the place of a folder with all that was in it.
        let below = format!("{}/", entry.path);
        self.found.retain(|path, _| !path.starts_with(&below));
        self.found.insert(entry.path.clone(), fact);
        Ok(())
    }

    /// An entry makes the folders above it.
    fn implied(&mut self, path: &str) -> Result<(), LayerError> {
        for folder in ancestors(path) {
            if !self.wanted.contains(folder) {
                // Whatever is wanted, so are the folders above it.
                break;
            }
            match self.found.get(folder) {
                Some(Fact::Directory { .. }) => {}
                None => {
                    let implied = !folder.is_empty();
                    self.found.insert(folder.to_owned(), Fact::Directory { opaque: false, implied });
                }
                Some(Fact::Whiteout) => {
                    self.found.insert(folder.to_owned(), Fact::Directory { opaque: true, implied: false });
                }
                Some(_) => return Err(ambiguous(folder, "a link or a file, and then a folder for another entry")),
            }
        }
        Ok(())
    }
}

fn ambiguous(path: &str, what: &'static str) -> LayerError {
    LayerError::Ambiguous { path: quoted(path, 120), what }
}

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

#[cfg(test)]
mod tests;
