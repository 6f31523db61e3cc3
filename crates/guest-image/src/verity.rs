//! dm-verity: the hash tree over the blocks of a partition, and its root.
//!
//! Format: Linux, `Documentation/admin-guide/device-mapper/verity.rst`, version 1: SHA-256 over salt and block, blocks of 4096
//! bytes, the level next to the root first. Kata's runtime names the tree in the kernel's command line and expects it at
//! the beginning of the second partition, without a superblock (`veritysetup format --no-superblock`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use aws_lc_rs::digest::{Context, SHA256};

use crate::source::ReadAt;

/// Bytes of a block, of data and of hashes.
pub const BLOCK: usize = 4096;
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Digests of a block.
const PER_BLOCK: u64 = (BLOCK / DIGEST) as u64;
/// LIMIT: blocks of data. An image of 1 TiB has that many, and its root file system some millions.
pub const MAX_BLOCKS: u64 = 1 << 28;
/// LIMIT: a salt, as the kernel's superblock has it.
pub const MAX_SALT: usize = 256;

/// What the kernel must be told to check a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verity {
    /// SHA-256 over the salt and the root block.
    pub root: [u8; DIGEST],
    /// What every block is hashed with.
    pub salt: Vec<u8>,
    /// Blocks of data.
    pub blocks: u64,
}

/// Parameters that say nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseVerityError {
    /// A field is not there.
    #[error("`{field}` is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field is not what it should be.
    #[error("`{field}={value}` is not {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        expected: &'static str,
    },
}

impl Verity {
    /// As Kata's configuration has it in `kernel_verity_params`, and its `root_hash_….txt`.
    pub fn parse(text: &str) -> Result<Self, ParseVerityError> {
        let fields: Vec<(&str, &str)> = text.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let get = |name: &'static str| {
            let found = fields.iter().rev().find(|(field, _)| *field == name).map(|(_, value)| *value);
            found.filter(|value| !value.is_empty()).ok_or(ParseVerityError::Missing { field: name })
        };
        let wrong = |field: &'static str, expected: &'static str| {
            let value = get(field).unwrap_or_default().chars().take(2 * MAX_SALT + 1).collect();
            ParseVerityError::Field { field, value, expected }
        };
        let mut root = [0; DIGEST];
        hex::decode_to_slice(get("root_hash")?, &mut root)
            .map_err(|_| wrong("root_hash", "a SHA-256: 64 hexadecimal digits"))?;
        let salt = hex::decode(get("salt")?).ok().filter(|salt| salt.len() <= MAX_SALT);
        let salt = salt.ok_or_else(|| wrong("salt", "at most 256 bytes in hexadecimal"))?;
        for field in ["data_block_size", "hash_block_size"] {
            if get(field)? != "4096" {
                return Err(wrong(field, "4096, which is all that is read here"));
            }
        }
        let blocks = get("data_blocks")?.parse().ok().filter(|blocks| (1..=MAX_BLOCKS).contains(blocks));
        let blocks = blocks.ok_or_else(|| wrong("data_blocks", "a possible number of blocks"))?;
        Ok(Self { root, salt, blocks })
    }

    /// As [`Self::parse`] reads it and Kata's runtimes do.
    pub fn params(&self) -> String {
        format!(
            "root_hash={},salt={},data_blocks={},data_block_size={BLOCK},hash_block_size={BLOCK}",
            hex::encode(self.root),
            hex::encode(&self.salt),
            self.blocks
        )
    }

    /// Bytes of the hash tree.
    pub fn tree_bytes(&self) -> u64 {
        levels(self.blocks).iter().sum::<u64>() * BLOCK as u64
    }
}

/// Blocks of each level, that over the data first. None for a single block, whose digest is the root.
fn levels(blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut below = blocks;
    while below > 1 {
        below = below.div_ceil(PER_BLOCK);
        levels.push(below);
    }
    levels
}

/// Where the blocks of the tree go, or are compared.
pub trait Sink {
    /// A block of the tree, by its number in the tree.
    fn block(&mut self, number: u64, block: &[u8]) -> io::Result<()>;
}

/// Into a file, from an offset on.
#[derive(Debug)]
pub struct Into<'a> {
    /// The file.
    pub file: &'a File,
    /// Where the tree begins in it.
    pub offset: u64,
}

impl Sink for Into<'_> {
    fn block(&mut self, number: u64, block: &[u8]) -> io::Result<()> {
        self.file.write_all_at(block, self.offset + number * BLOCK as u64)
    }
}

/// Nowhere: the root alone is wanted.
#[derive(Debug)]
pub struct Nowhere;

impl Sink for Nowhere {
    fn block(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Compared with what is there: counts the blocks that differ.
pub struct Compare<'a> {
    /// What is there.
    pub tree: &'a dyn ReadAt,
    /// How many blocks differ so far, those that are not there included.
    pub differ: u64,
}

impl Sink for Compare<'_> {
    fn block(&mut self, number: u64, block: &[u8]) -> io::Result<()> {
        let mut there = vec![0; BLOCK];
        let read = self.tree.read_exact_at(&mut there, number * BLOCK as u64);
        if read.is_err() || there != block {
            self.differ += 1;
        }
        Ok(())
    }
}

/// One level while it is built: the block that is being filled.
struct Level {
    /// The number in the tree of the block that is being filled.
    number: u64,
    block: Vec<u8>,
}

/// Builds the tree over the first `blocks` blocks. Memory is one block for each level, of which there are at most four.
pub fn build(data: &dyn ReadAt, blocks: u64, salt: &[u8], sink: &mut dyn Sink) -> io::Result<Verity> {
    let sizes = levels(blocks);
    let mut levels: Vec<Level> = Vec::new();
    for index in 0..sizes.len() {
        // The root's level is written first, so a level begins behind all those above it.
        let above: u64 = sizes.iter().skip(index + 1).sum();
        levels.push(Level { number: above, block: Vec::with_capacity(BLOCK) });
    }
    let step = 256 * BLOCK;
    let mut buffer = vec![0; step];
    let mut root = [0; DIGEST];
    let mut done = 0;
    let total = blocks * BLOCK as u64;
    while done < total {
        let want = usize::try_from(total - done).unwrap_or(step).min(step);
        let part = buffer.get_mut(..want).unwrap_or_default();
        data.read_exact_at(part, done)?;
        for block in part.chunks(BLOCK) {
            add(&mut levels, 0, hash(salt, block), salt, &mut root, sink)?;
        }
        done += want as u64;
    }
    // What is not full is padded, from the bottom up.
    for index in 0..levels.len() {
        if levels.get(index).is_some_and(|level| !level.block.is_empty()) {
            finish(&mut levels, index, salt, &mut root, sink)?;
        }
    }
    Ok(Verity { root, salt: salt.to_vec(), blocks })
}

fn add(
    levels: &mut [Level],
    index: usize,
    digest: [u8; DIGEST],
    salt: &[u8],
    root: &mut [u8; DIGEST],
    sink: &mut dyn Sink,
) -> io::Result<()> {
    let Some(level) = levels.get_mut(index) else {
        *root = digest;
        return Ok(());
    };
    level.block.extend_from_slice(&digest);
    if level.block.len() == BLOCK { finish(levels, index, salt, root, sink) } else { Ok(()) }
}

fn finish(
    levels: &mut [Level],
    index: usize,
    salt: &[u8],
    root: &mut [u8; DIGEST],
    sink: &mut dyn Sink,
) -> io::Result<()> {
    let Some(level) = levels.get_mut(index) else { return Ok(()) };
    level.block.resize(BLOCK, 0);
    sink.block(level.number, &level.block)?;
    level.number += 1;
    let digest = hash(salt, &level.block);
    level.block.clear();
    add(levels, index + 1, digest, salt, root, sink)
}

fn hash(salt: &[u8], block: &[u8]) -> [u8; DIGEST] {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(block);
    // PANIC-FREE: SHA-256 gives 32 bytes; were it not so, zero is no root of anything.
    context.finish().as_ref().first_chunk().copied().unwrap_or([0; DIGEST])
}

#[cfg(test)]
mod tests;
