//! Bytes that are read at offsets: an image, or a part of one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Something that can be read at an offset.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn size(&self) -> u64;
    /// Fills the buffer from this offset on, or fails.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A file, whose size is taken once.
#[derive(Debug)]
pub struct Disk {
    file: File,
    size: u64,
}

impl Disk {
    /// A file.
    pub fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let part = usize::try_from(offset).ok().and_then(|from| {
            let end = from.checked_add(buffer.len())?;
            self.get(from..end)
        });
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A part of something larger: a partition.
#[derive(Clone)]
pub struct Part {
    whole: Arc<dyn ReadAt>,
    start: u64,
    size: u64,
}

impl Part {
    /// `size` bytes from `start` on; `None` where the whole ends before.
    pub fn new(whole: Arc<dyn ReadAt>, start: u64, size: u64) -> Option<Self> {
        (start.checked_add(size)? <= whole.size()).then_some(Self { whole, start, size })
    }
}

impl ReadAt for Part {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let fits = offset.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.size);
        if !fits {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.whole.read_exact_at(buffer, self.start + offset)
    }
}

/// Little-endian numbers out of bytes; `None` where the bytes end before.
pub(crate) trait Fields {
    fn u8_at(&self, at: usize) -> Option<u8>;
    fn u16_at(&self, at: usize) -> Option<u16>;
    fn u32_at(&self, at: usize) -> Option<u32>;
    fn u64_at(&self, at: usize) -> Option<u64>;
}

impl Fields for [u8] {
    fn u8_at(&self, at: usize) -> Option<u8> {
        self.get(at).copied()
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        self.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64_at(&self, at: usize) -> Option<u64> {
        self.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }
}
