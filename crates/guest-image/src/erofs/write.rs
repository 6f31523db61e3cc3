//! Writing.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{BLOCK, ENTRY, INODE, MAGIC, PLAIN, PREFIXES, SLOT, SUPER, SUPER_SIZE, XATTR_HEAD};
use crate::source::ReadAt;
use crate::tree::{Content, Id, Kind, MAX_NAME, Node, Tree};

/// A tree that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// More than the format holds.
    #[error("{what} {value} does not fit into EROFS, which holds {most}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there is.
        value: u64,
        /// What fits.
        most: u64,
    },
    /// An attribute that has no place.
    #[error("the attribute `{name}` is of no kind that EROFS keeps")]
    Attribute {
        /// Its name.
        name: String,
    },
    /// The contents could not be read, or the image not be written.
    #[error("copy contents")]
    Copy(#[from] io::Error),
}

/// A node with its place.
struct Placed<'a> {
    id: Id,
    node: &'a Node,
    links: u32,
    xattrs: Vec<u8>,
    /// In slots, from the beginning of the file system.
    nid: u64,
    /// Where the content begins, in blocks, and its bytes.
    start: u32,
    size: u64,
    /// A folder's blocks, as they will be, but for the numbers of inodes.
    blocks: Vec<u8>,
}

/// Writes a tree and gives the number of blocks. The bytes rest on the tree alone: all times are zero, since a time says when
/// somebody built and not what, and there is no identifier.
pub fn write(tree: &Tree, image: &dyn ReadAt, out: &mut dyn Write) -> Result<u64, WriteError> {
    let mut placed = place(tree)?;
    let nids: BTreeMap<Id, u64> = placed.iter().map(|placed| (placed.id, placed.nid)).collect();
    // A folder has one name, so one folder above it; what else has several is asked for none.
    let parents: BTreeMap<Id, Id> =
        placed.iter().flat_map(|above| tree.entries(above.id).map(|(_, inner)| (inner, above.id))).collect();
    let meta_end = placed
        .iter()
        .map(|placed| usize::try_from(placed.nid).unwrap_or(usize::MAX / 64) * SLOT + INODE + placed.xattrs.len())
        .max();
    let meta_blocks = meta_end.unwrap_or(BLOCK).div_ceil(BLOCK);
    // The superblock has the first block for itself; then inodes, then contents.
    let mut next = meta_blocks as u64;
    for placed in &mut placed {
        let folder = matches!(placed.node.kind, Kind::Folder(_));
        if folder {
            let above = parents.get(&placed.id).copied().unwrap_or(Tree::ROOT);
            placed.blocks = folder_blocks(tree, placed.id, above, &nids);
            placed.size = placed.blocks.len() as u64;
        }
        placed.start = fits("a number of blocks", next)?;
        next += placed.size.div_ceil(BLOCK as u64);
    }
    let blocks = fits("a number of blocks", next)?;
    let root = nids.get(&Tree::ROOT).copied().unwrap_or_default();
    out.write_all(&super_block(u16::try_from(root).unwrap_or_default(), placed.len() as u64, blocks))?;
    out.write_all(&inodes(&placed, (meta_blocks - 1) * BLOCK)?)?;
    for placed in &placed {
        match &placed.node.kind {
            Kind::Folder(_) => padded(out, &placed.blocks)?,
            Kind::Link(target) => padded(out, target)?,
            Kind::File(content) => file(out, content, image)?,
            _ => {}
        }
    }
    Ok(next)
}

fn place(tree: &Tree) -> Result<Vec<Placed<'_>>, WriteError> {
    let mut placed = Vec::new();
    // Inodes begin behind the superblock's block, and are numbered from the beginning of the file system: number 0 would be
    // a deleted file to some programs.
    let mut nid = (BLOCK / SLOT) as u64;
    for (id, links) in tree.walk() {
        let Some(node) = tree.node(id) else { continue };
        let xattrs = attributes(node)?;
        let size = match &node.kind {
            Kind::File(content) => content.size(),
            Kind::Link(target) => target.len() as u64,
            _ => 0,
        };
        let slots = (INODE + xattrs.len()).div_ceil(SLOT) as u64;
        placed.push(Placed { id, node, links, xattrs, nid, start: 0, size, blocks: Vec::new() });
        nid += slots;
    }
    Ok(placed)
}

fn fits(what: &'static str, value: u64) -> Result<u32, WriteError> {
    u32::try_from(value).map_err(|_| WriteError::TooMuch { what, value, most: u32::MAX.into() })
}

fn attributes(node: &Node) -> Result<Vec<u8>, WriteError> {
    if node.xattrs.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = vec![0; XATTR_HEAD];
    for (full, value) in &node.xattrs {
        let prefix = PREFIXES.iter().find(|(_, prefix)| full.starts_with(prefix));
        let name = prefix.and_then(|(_, prefix)| full.get(prefix.len()..));
        let (Some((number, _)), Some(name)) = (prefix, name) else {
            return Err(WriteError::Attribute { name: String::from_utf8_lossy(full).into_owned() });
        };
        let most = |what, value: usize, most: u64| WriteError::TooMuch { what, value: value as u64, most };
        list.push(u8::try_from(name.len()).map_err(|_| most("a name of", name.len(), MAX_NAME as u64))?);
        list.push(*number);
        let size = u16::try_from(value.len()).map_err(|_| most("an attribute of", value.len(), u16::MAX.into()))?;
        list.extend_from_slice(&size.to_le_bytes());
        list.extend_from_slice(name);
        list.extend_from_slice(value);
        list.resize(list.len().next_multiple_of(4), 0);
    }
    let count = xattr_count(list.len());
    u16::try_from(count).map_err(|_| WriteError::TooMuch {
        what: "a list of attributes of",
        value: list.len() as u64,
        most: u64::from(u16::MAX) * 4,
    })?;
    Ok(list)
}

/// What an inode says of its attributes: their bytes in fours, with the head as one.
fn xattr_count(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes - XATTR_HEAD) / 4 + 1 }
}

/// The blocks of a folder: in each the entries, then their names; names sorted over all of them, `.` and `..` among them.
fn folder_blocks(tree: &Tree, folder: Id, above: Id, nids: &BTreeMap<Id, u64>) -> Vec<u8> {
    let own: [(&[u8], Id); 2] = [(b".", folder), (b"..", above)];
    let mut names: Vec<(&[u8], Id)> = tree.entries(folder).chain(own).collect();
    names.sort_unstable();
    let mut blocks = Vec::new();
    let mut rest = names.as_slice();
    while !rest.is_empty() {
        let mut used = 0;
        let fit = rest.iter().take_while(|(name, _)| {
            used += ENTRY + name.len();
            used <= BLOCK
        });
        let (these, others) = rest.split_at(fit.count());
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        let mut offset = these.len() * ENTRY;
        for (name, id) in these {
            let kind = tree.node(*id).map_or(0, |node| kind_number(&node.kind));
            blocks.extend_from_slice(&nids.get(id).copied().unwrap_or_default().to_le_bytes());
            // A block has 4096 bytes, so an offset in it has 16 bits.
            blocks.extend_from_slice(&u16::try_from(offset).unwrap_or_default().to_le_bytes());
            blocks.extend_from_slice(&[kind, 0]);
            offset += name.len();
        }
        for (name, _) in these {
            blocks.extend_from_slice(name);
        }
        rest = others;
    }
    blocks
}

fn kind_number(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Folder(_) => 2,
        Kind::Char(..) => 3,
        Kind::Block(..) => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Link(_) => 7,
    }
}

fn super_block(root: u16, inodes: u64, blocks: u32) -> Vec<u8> {
    let mut block = vec![0; SUPER];
    block.extend_from_slice(&MAGIC.to_le_bytes());
    // No checksum (dm-verity is one), no compatible features.
    block.extend_from_slice(&[0; 8]);
    // Blocks of 2^12 bytes, no extensions.
    block.extend_from_slice(&[12, 0]);
    block.extend_from_slice(&root.to_le_bytes());
    block.extend_from_slice(&inodes.to_le_bytes());
    // Built at no time.
    block.extend_from_slice(&[0; 12]);
    block.extend_from_slice(&blocks.to_le_bytes());
    // Inodes are numbered from block 0; no shared attributes.
    block.extend_from_slice(&[0; 8]);
    block.resize(SUPER + SUPER_SIZE, 0);
    block.resize(BLOCK, 0);
    block
}

fn inodes(placed: &[Placed<'_>], bytes: usize) -> Result<Vec<u8>, WriteError> {
    let mut meta = Vec::with_capacity(bytes);
    for (number, placed) in placed.iter().enumerate() {
        let Placed { node, xattrs, .. } = placed;
        let (kind, data) = match &node.kind {
            Kind::Folder(_) => (0x4000, placed.start),
            Kind::File(_) => (0x8000, placed.start),
            Kind::Link(_) => (0xa000, placed.start),
            Kind::Char(major, minor) => (0x2000, device(*major, *minor)?),
            Kind::Block(major, minor) => (0x6000, device(*major, *minor)?),
            Kind::Fifo => (0x1000, 0),
            Kind::Socket => (0xc000, 0),
        };
        // An extended inode, its content in blocks.
        meta.extend_from_slice(&(1 | (PLAIN << 1)).to_le_bytes());
        let count = u16::try_from(xattr_count(xattrs.len())).unwrap_or_default();
        meta.extend_from_slice(&count.to_le_bytes());
        meta.extend_from_slice(&(kind | (node.mode & 0xfff)).to_le_bytes());
        meta.extend_from_slice(&[0; 2]);
        meta.extend_from_slice(&placed.size.to_le_bytes());
        meta.extend_from_slice(&data.to_le_bytes());
        meta.extend_from_slice(&fits("an inode's number", number as u64 + 1)?.to_le_bytes());
        meta.extend_from_slice(&node.uid.to_le_bytes());
        meta.extend_from_slice(&node.gid.to_le_bytes());
        meta.extend_from_slice(&[0; 12]);
        meta.extend_from_slice(&placed.links.to_le_bytes());
        meta.extend_from_slice(&[0; 16]);
        meta.extend_from_slice(xattrs);
        meta.resize(meta.len().next_multiple_of(SLOT), 0);
    }
    meta.resize(bytes, 0);
    Ok(meta)
}

/// Linux' own encoding of a device's number in 32 bits.
fn device(major: u32, minor: u32) -> Result<u32, WriteError> {
    if major > 0xfff {
        return Err(WriteError::TooMuch { what: "a device's major number", value: major.into(), most: 0xfff });
    }
    if minor > 0xf_ffff {
        return Err(WriteError::TooMuch { what: "a device's minor number", value: minor.into(), most: 0xf_ffff });
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

fn padded(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    pad(out, bytes.len() as u64)
}

fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let short = size.next_multiple_of(BLOCK as u64) - size;
    let zeros = [0; BLOCK];
    out.write_all(zeros.get(..usize::try_from(short).unwrap_or_default()).unwrap_or_default())
}

fn file(out: &mut dyn Write, content: &Content, image: &dyn ReadAt) -> io::Result<()> {
    content.copy(image, &mut |part| out.write_all(part))?;
    pad(out, content.size())
}
