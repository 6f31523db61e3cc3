//! Reads tar archives entry by entry, holding no more than one name in memory.
//!
//! A reader of our own, because readers made for unpacking keep names of any length, and because what two of them
//! understand differently (`..`, a link with content, a size that is said twice) is to be an error here.

use std::io::Read;

use protocol::text::quoted;

const BLOCK: usize = 512;
/// LIMIT: a long name or a PAX header. Go's reader, which made most images, stops at the same.
const MAX_SPECIAL: u64 = 1024 * 1024;
/// LIMIT: entries of one layer. A distribution's base image has about ten thousand.
const MAX_ENTRIES: u64 = 4_000_000;
/// LIMIT: error messages quote at most this many characters of a name.
const QUOTE_CHARS: usize = 120;

/// Why an archive is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// It ends early, or its packing is broken.
    #[error("after {at} bytes of the archive: {reason}")]
    Read {
        /// Where.
        at: u64,
        /// Why.
        reason: String,
    },
    /// No header where one must be.
    #[error("no tar header at byte {at}: {what}")]
    Header {
        /// Where.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An entry that readers understand differently, or that leads out of the image.
    #[error("entry `{path}`: {what}")]
    Entry {
        /// Its path.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// More than images have.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: u64,
    },
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    File,
    /// A file with holes: its content in the archive is not its content on disk.
    Sparse,
    Directory,
    Symlink,
    Hardlink,
    /// Devices and pipes.
    Other,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Without `./`, `/` at either end, or empty parts; empty for the root.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Of a symbolic link as it stands, of a hard link as `path`.
    pub(super) target: String,
    pub(super) size: u64,
}

/// The archive.
pub(super) struct Archive<R> {
    source: R,
    /// Bytes read so far.
    at: u64,
    /// Content of the last entry that was not read, with its padding.
    pending: u64,
    /// Content of the last entry that was not read, without.
    content: u64,
    entries: u64,
}

#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, at: 0, pending: 0, content: 0, entries: 0 }
    }

    /// Where the next byte stands in the archive.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    pub(super) fn into_inner(self) -> R {
        self.source
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        let at = self.at;
        self.source.read_exact(buffer).map_err(|error| read_error(at, &error))?;
        self.at = self.at.saturating_add(buffer.len() as u64);
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), TarError> {
        let at = self.at;
        let skipped = std::io::copy(&mut (&mut self.source).take(bytes), &mut std::io::sink());
        let skipped = skipped.map_err(|error| read_error(at, &error))?;
        self.at = self.at.saturating_add(skipped);
        if skipped < bytes {
            return Err(TarError::Read { at: self.at, reason: "it ends inside an entry".into() });
        }
        Ok(())
    }

    fn special(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_SPECIAL {
            return Err(TarError::TooMany { what: "bytes in a long name or a PAX header", limit: MAX_SPECIAL });
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.fill(&mut content)?;
        self.skip(padding(size))?;
        Ok(content)
    }

    /// The content of the entry that `next` gave, of which at most `limit` bytes are taken. `None` when it is longer.
    pub(super) fn read(&mut self, limit: u64) -> Result<Option<Vec<u8>>, TarError> {
        if self.content > limit {
            return Ok(None);
        }
        let mut content = vec![0; usize::try_from(self.content).unwrap_or(0)];
        self.fill(&mut content)?;
        self.pending = self.pending.saturating_sub(self.content);
        self.content = 0;
        Ok(Some(content))
    }

    /// The next entry; the content of the one before is skipped. `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip(self.pending)?;
        (self.pending, self.content) = (0, 0);
        let mut extended = Extended::default();
        loop {
            let at = self.at;
            let mut header = [0; BLOCK];
            if !self.header(&mut header)? {
                return Ok(None);
            }
            self.entries = self.entries.saturating_add(1);
            if self.entries > MAX_ENTRIES {
                return Err(TarError::TooMany { what: "entries", limit: MAX_ENTRIES });
            }
            let header_size = number(header.get(124..136).unwrap_or_default());
            let header_size = header_size.ok_or(TarError::Header { at, what: "its size is no number" })?;
            let kind = header.get(156).copied().unwrap_or_default();
            match kind {
                b'L' => extended.path = Some(until_nul(&self.special(header_size)?)),
                b'K' => extended.target = Some(until_nul(&self.special(header_size)?)),
                b'x' => {
                    let records = self.special(header_size)?;
                    pax(&records, &mut extended).ok_or(TarError::Header { at, what: "its PAX records are broken" })?;
                }
                b'g' => {
                    let mut global = Extended::default();
                    let records = self.special(header_size)?;
                    pax(&records, &mut global).ok_or(TarError::Header { at, what: "its PAX records are broken" })?;
                    if global.path.is_some() || global.target.is_some() || global.size.is_some() || global.sparse {
                        let what = "a global PAX header names one entry, which readers understand differently";
                        return Err(TarError::Header { at, what });
                    }
                }
                _ => return self.entry(&header, kind, header_size, extended).map(Some),
            }
        }
    }

    /// Reads a header; `false` at the end of the archive.
    fn header(&mut self, header: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let at = self.at;
        // Some archives simply stop; inside a header they must not.
        let mut got = 0;
        while got < BLOCK {
            match self.source.read(header.get_mut(got..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(more) => got = got.saturating_add(more),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(at, &error)),
            }
        }
        self.at = self.at.saturating_add(got as u64);
        if got == 0 {
            return Ok(false);
        }
        if got < BLOCK {
            return Err(TarError::Read { at: self.at, reason: "it ends inside a header".into() });
        }
        if header.iter().all(|byte| *byte == 0) {
            // Two empty blocks end an archive. After one, readers go on or stop.
            let mut second = [0; BLOCK];
            let mut rest = (&mut self.source).take(BLOCK as u64);
            let mut got = Vec::new();
            rest.read_to_end(&mut got).map_err(|error| read_error(at, &error))?;
            self.at = self.at.saturating_add(got.len() as u64);
            second.iter_mut().zip(&got).for_each(|(to, from)| *to = *from);
            if second.iter().any(|byte| *byte != 0) {
                return Err(TarError::Header { at, what: "one empty block, and then more" });
            }
            return Ok(false);
        }
        let stored = number(header.get(148..156).unwrap_or_default());
        let bytes =
            header.iter().enumerate().map(|(index, byte)| if (148..156).contains(&index) { b' ' } else { *byte });
        let sum: u64 = bytes.map(u64::from).sum();
        if stored != Some(sum) {
            return Err(TarError::Header { at, what: "its checksum is wrong" });
        }
        Ok(true)
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        kind: u8,
        header_size: u64,
        extended: Extended,
    ) -> Result<Entry, TarError> {
        let field = |from: usize, to: usize| until_nul(header.get(from..to).unwrap_or_default());
        let name = extended.path.unwrap_or_else(|| {
            let (prefix, name) = (field(345, 500), field(0, 100));
            // The old GNU format keeps other things where POSIX has the prefix.
            let posix = header.get(257..263) == Some(b"ustar\0");
            if posix && !prefix.is_empty() { [prefix.as_slice(), b"/", &name].concat() } else { name }
        });
        let target = extended.target.unwrap_or_else(|| field(157, 257));
        let size = extended.size.unwrap_or(header_size);
        let shown = quote(&name);
        let refuse = |what: String| TarError::Entry { path: shown.clone(), what };
        if name.contains(&0) || target.contains(&0) {
            return Err(refuse("a NUL in its name".into()));
        }
        let mut kind = match kind {
            // Before POSIX, a folder was a file with a slash at its end.
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' | b'4' | b'6' => Kind::Other,
            b'5' => Kind::Directory,
            b'S' => Kind::Sparse,
            other => return Err(refuse(format!("of kind `{}`, which images do not have", char::from(other)))),
        };
        if kind == Kind::Sparse {
            // The old GNU format has more of the map behind the header.
            let mut more = header.get(482) == Some(&1);
            while more {
                let mut block = [0; BLOCK];
                self.fill(&mut block)?;
                more = block.get(504) == Some(&1);
            }
        }
        if extended.sparse && kind == Kind::File {
            kind = Kind::Sparse;
        }
        if !matches!(kind, Kind::File | Kind::Sparse) && size != 0 {
            return Err(refuse(format!("{size} bytes in an entry that has no content")));
        }
        self.content = size;
        self.pending = size.checked_add(padding(size)).ok_or_else(|| refuse("a size beyond all files".into()))?;
        let path = clean(&name).ok_or_else(|| refuse("its name leads out of the image".into()))?;
        let target = match kind {
            Kind::Hardlink => {
                let shown = quote(&target);
                clean(&target).ok_or_else(|| refuse(format!("it links to `{shown}`, out of the image")))?
            }
            _ => String::from_utf8_lossy(&target).into_owned(),
        };
        Ok(Entry { path, kind, target, size })
    }
}

fn read_error(at: u64, error: &std::io::Error) -> TarError {
    let reason = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    };
    TarError::Read { at, reason }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn quote(name: &[u8]) -> String {
    quoted(&String::from_utf8_lossy(name), QUOTE_CHARS)
}

/// A path from the root of the image. `None` when it climbs.
pub(super) fn clean(path: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            // Readers clamp, refuse or follow it; images do not need it.
            b".." => return None,
            part => parts.push(String::from_utf8_lossy(part)),
        }
    }
    Some(parts.join("/"))
}

/// Octal digits between blanks, or GNU's binary form.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The bit that marks the form is not part of the number; the next one would make it negative.
        return rest.iter().try_fold(u64::from(first & 0x7f), |value, byte| {
            value.checked_mul(256).and_then(|value| value.checked_add(u64::from(*byte)))
        });
    }
    let digits = field.iter().skip_while(|byte| **byte == b' ');
    let digits: Vec<u8> = digits.copied().take_while(|byte| !matches!(byte, 0 | b' ')).collect();
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = u64::from(*digit).checked_sub(u64::from(b'0')).filter(|digit| *digit < 8)?;
        value.checked_mul(8).and_then(|value| value.checked_add(digit))
    })
}

/// Records of `<length> <name>=<value>\n`, the length counting itself.
fn pax(mut records: &[u8], extended: &mut Extended) -> Option<()> {
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
        let record = records.get(space.checked_add(1)?..length.checked_sub(1)?)?;
        if records.get(length.checked_sub(1)?) != Some(&b'\n') {
            return None;
        }
        records = records.get(length..)?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (record.get(..equals)?, record.get(equals.checked_add(1)?..)?);
        match name {
            b"path" => extended.path = Some(value.to_vec()),
            b"linkpath" => extended.target = Some(value.to_vec()),
            b"size" => extended.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            b"GNU.sparse.name" => {
                extended.path = Some(value.to_vec());
                extended.sparse = true;
            }
            name if name.starts_with(b"GNU.sparse.") => extended.sparse = true,
            _ => {}
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
