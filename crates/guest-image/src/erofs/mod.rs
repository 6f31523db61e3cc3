//! EROFS: the file system that a repacked image has, and that newer images of Kata's have already.
//!
//! Layout: Linux, `fs/erofs/erofs_fs.h`. Written is the plainest form that every kernel since 5.4 reads: extended inodes, no
//! compression, every content in whole blocks of its own. It is small code, it is the same bytes for the same tree, and it is
//! read-only, which a root file system under dm-verity is anyway.

mod read;
mod write;

pub use read::{ErofsError, is, read};
pub use write::{WriteError, write};

/// Where the superblock is, and how long.
const SUPER: usize = 1024;
const SUPER_SIZE: usize = 128;
const MAGIC: u32 = 0xe0f5_e1e2;
/// Bytes of a block.
pub const BLOCK: usize = 4096;
/// Inodes are named by where they are, in units of this.
const SLOT: usize = 32;
/// Bytes of an extended inode.
const INODE: usize = 64;
/// Bytes of a folder's entry without its name.
const ENTRY: usize = 12;
/// Bytes of the head of a list of attributes.
const XATTR_HEAD: usize = 12;
/// Prefixes of attributes' names, by number.
const PREFIXES: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
/// Layouts of contents: in blocks, and the rest behind the inode.
const PLAIN: u16 = 0;
const INLINE: u16 = 2;

#[cfg(test)]
mod tests;
