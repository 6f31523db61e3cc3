//! Reads an ext4 file system into a [`Tree`]: what Kata's image has in its first partition. Contents stay where they are.
//!
//! Layout: Linux, `Documentation/filesystems/ext4`. What `mkfs.ext4` makes by default is read; a feature that would change
//! what files contain is refused by name. Checksums are not looked at: the whole partition is compared with the release's
//! dm-verity root before anything of it is read.

use std::collections::BTreeMap;
use std::io;

use crate::source::{Fields as _, ReadAt};
use crate::tree::{Content, Id, Kind, MAX_DEPTH, MAX_NAME, MAX_TARGET, Node, Piece, Tree, TreeError};

/// Where the superblock is.
const SUPER: u64 = 1024;
const MAGIC: u16 = 0xef53;
/// Features that files can be read with: filetype, extents, 64bit, flex_bg, csum_seed, largedir.
const KNOWN: u32 = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000 | 0x4000;
/// Names of features that are refused.
const REFUSED: [(u32, &str); 10] = [
    (0x1, "compression"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x100, "mmp"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x8000, "inline_data"),
    (0x10000, "encrypt"),
    (0x20000, "casefold"),
];
/// Flags of inodes: extents; encrypted, with verity or inline data.
const EXTENTS: u32 = 0x8_0000;
const ODD: u32 = 0x800 | 0x10_0000 | 0x1000_0000;
/// LIMIT: depth of an extent tree, as Linux has it.
const MAX_EXTENT_DEPTH: u16 = 5;
/// LIMIT: pieces of one file. A file of 4 GiB without any two blocks beside each other has that many.
const MAX_PIECES: usize = 1 << 20;
/// LIMIT: one folder. 100,000 names of 100 bytes have 11 MiB.
const MAX_FOLDER: u64 = 64 << 20;
/// The root's inode.
const ROOT: u32 = 2;

/// Why a file system was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ext4Error {
    /// There is no superblock.
    #[error("no ext4 file system: its superblock has the magic {found:#06x}")]
    Magic {
        /// What is there.
        found: u16,
    },
    /// A feature that changes how files are to be read.
    #[error("the ext4 feature `{feature}` is not read here")]
    Feature {
        /// Its name.
        feature: String,
    },
    /// A number in the superblock that cannot be.
    #[error("the superblock says {field} {value}")]
    Super {
        /// Which number.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// An inode that cannot be.
    #[error("inode {inode}: {reason}")]
    Inode {
        /// Which.
        inode: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More files than are read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The image could not be read, or ends before what it names.
    #[error("read {bytes} bytes at {offset} of the file system")]
    Read {
        /// Where.
        offset: u64,
        /// How many.
        bytes: usize,
        /// Why not.
        source: io::Error,
    },
}

/// Whether a file system has the magic of ext4.
pub fn is(image: &dyn ReadAt) -> bool {
    let mut magic = [0; 2];
    image.read_exact_at(&mut magic, SUPER + 0x38).is_ok() && magic == MAGIC.to_le_bytes()
}

/// Reads the whole tree.
pub fn read(image: &dyn ReadAt) -> Result<Tree, Ext4Error> {
    let reader = Reader::open(image)?;
    let mut tree = Tree::new(reader.node(ROOT)?.0);
    let mut known = BTreeMap::from([(ROOT, Tree::ROOT)]);
    let mut waiting = vec![(ROOT, Tree::ROOT, 0)];
    while let Some((inode, folder, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return Err(Ext4Error::Inode { inode, reason: "folders lie deeper than is read" });
        }
        for (name, entry) in reader.folder(inode)? {
            // Where a file system's check puts what it finds: this file system's own, and empty.
            if folder == Tree::ROOT && name == b"lost+found" {
                continue;
            }
            if let Some(id) = known.get(&entry) {
                if matches!(tree.node(*id).map(|node| &node.kind), Some(Kind::Folder(_))) {
                    return Err(Ext4Error::Inode { inode: entry, reason: "a folder with two names" });
                }
                tree.name(folder, &name, *id);
                continue;
            }
            let (node, is_folder) = reader.node(entry)?;
            let id: Id = tree.add(node)?;
            known.insert(entry, id);
            tree.name(folder, &name, id);
            if is_folder {
                waiting.push((entry, id, depth + 1));
            }
        }
    }
    Ok(tree)
}

struct Reader<'a> {
    image: &'a dyn ReadAt,
    block: u64,
    blocks: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: usize,
    /// Where the group descriptors begin, and how long each is.
    groups: u64,
    group_size: u64,
    wide: bool,
}

impl<'a> Reader<'a> {
    fn open(image: &'a dyn ReadAt) -> Result<Self, Ext4Error> {
        let mut head = vec![0; 1024];
        image.read_exact_at(&mut head, SUPER).map_err(read_error(SUPER, 1024))?;
        let u16 = |at| head.u16_at(at).unwrap_or_default();
        let u32 = |at| head.u32_at(at).unwrap_or_default();
        if u16(0x38) != MAGIC {
            return Err(Ext4Error::Magic { found: u16(0x38) });
        }
        let incompatible = u32(0x60);
        if incompatible & !KNOWN != 0 {
            let named = REFUSED.iter().find(|(bit, _)| incompatible & bit != 0).map(|(_, name)| (*name).to_owned());
            let feature = named.unwrap_or_else(|| format!("{:#x}", incompatible & !KNOWN));
            return Err(Ext4Error::Feature { feature });
        }
        let wrong = |field, value: u64| Err(Ext4Error::Super { field, value });
        let shift = u32(0x18);
        if shift > 6 {
            return wrong("block size", shift.into());
        }
        let block = 1024_u64 << shift;
        let wide = incompatible & 0x80 != 0;
        let high = if wide { u64::from(u32(0x150)) << 32 } else { 0 };
        let blocks = high | u64::from(u32(4));
        if blocks.checked_mul(block).is_none_or(|bytes| bytes > image.size()) {
            return wrong("blocks", blocks);
        }
        let inode_size = if u32(0x4c) == 0 { 128 } else { usize::from(u16(0x58)) };
        if !inode_size.is_power_of_two() || !(128..=4096).contains(&inode_size) {
            return wrong("inode size", inode_size as u64);
        }
        let inodes_per_group = u32(0x28);
        if inodes_per_group == 0 {
            return wrong("inodes per group", 0);
        }
        let group_size = if wide { u64::from(u16(0xfe)) } else { 32 };
        if !(32..=1024).contains(&group_size) || (wide && group_size < 64) {
            return wrong("descriptor size", group_size);
        }
        let groups = (u64::from(u32(0x14)) + 1) * block;
        Ok(Self { image, block, blocks, inodes: u32(0), inodes_per_group, inode_size, groups, group_size, wide })
    }

    fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, Ext4Error> {
        let mut bytes = vec![0; length];
        self.image.read_exact_at(&mut bytes, offset).map_err(read_error(offset, length))?;
        Ok(bytes)
    }

    fn inode(&self, inode: u32) -> Result<Vec<u8>, Ext4Error> {
        if inode == 0 || inode > self.inodes {
            return Err(Ext4Error::Inode { inode, reason: "there are not as many" });
        }
        let (group, index) = ((inode - 1) / self.inodes_per_group, (inode - 1) % self.inodes_per_group);
        let descriptor =
            self.bytes(self.groups + u64::from(group) * self.group_size, if self.wide { 64 } else { 32 })?;
        let low = u64::from(descriptor.u32_at(8).unwrap_or_default());
        let high = if self.wide { u64::from(descriptor.u32_at(0x28).unwrap_or_default()) } else { 0 };
        let table = (high << 32) | low;
        if table >= self.blocks {
            return Err(Ext4Error::Inode { inode, reason: "its table is not in the file system" });
        }
        let offset = table * self.block + u64::from(index) * self.inode_size as u64;
        self.bytes(offset, self.inode_size)
    }

    /// A node, and whether it is a folder, whose names are still to be read.
    fn node(&self, inode: u32) -> Result<(Node, bool), Ext4Error> {
        let raw = self.inode(inode)?;
        let wrong = |reason| Ext4Error::Inode { inode, reason };
        let u16 = |at| raw.u16_at(at).unwrap_or_default();
        let u32 = |at| raw.u32_at(at).unwrap_or_default();
        let mode = u16(0);
        if u32(0x20) & ODD != 0 {
            return Err(wrong("it is encrypted, has verity of its own or inline data"));
        }
        let kind = match mode & 0xf000 {
            0x4000 => Kind::Folder(BTreeMap::new()),
            0x8000 => Kind::File(self.content(inode, &raw)?),
            0xa000 => Kind::Link(self.link(inode, &raw)?),
            0x2000 => device(&raw, Kind::Char),
            0x6000 => device(&raw, Kind::Block),
            0x1000 => Kind::Fifo,
            0xc000 => Kind::Socket,
            _ => return Err(wrong("it is of no kind of file")),
        };
        let wide = |low: usize, high: usize| (u32::from(u16(high)) << 16) | u32::from(u16(low));
        let folder = matches!(kind, Kind::Folder(_));
        let node = Node {
            mode: mode & 0xfff,
            uid: wide(2, 0x78),
            gid: wide(0x18, 0x7a),
            xattrs: self.xattrs(inode, &raw)?,
            kind,
        };
        Ok((node, folder))
    }

    fn size(raw: &[u8]) -> u64 {
        let part = |at| u64::from(raw.u32_at(at).unwrap_or_default());
        (part(0x6c) << 32) | part(4)
    }

    fn content(&self, inode: u32, raw: &[u8]) -> Result<Content, Ext4Error> {
        let size = Self::size(raw);
        let flags = raw.u32_at(0x20).unwrap_or_default();
        if size == 0 {
            return Ok(Content::default());
        }
        if flags & EXTENTS == 0 {
            return Err(Ext4Error::Inode { inode, reason: "its blocks are not in extents, as before ext4" });
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        let root = raw.get(0x28..0x28 + 60).unwrap_or_default();
        self.extents(inode, root, None, size, &mut at, &mut pieces)?;
        if at < size {
            pieces.push(Piece::Zeros(size - at));
        }
        Ok(Content(pieces))
    }

    /// Adds the pieces of one node of an extent tree. `at` is how far the file is known.
    fn extents(
        &self,
        inode: u32,
        node: &[u8],
        above: Option<u16>,
        size: u64,
        at: &mut u64,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), Ext4Error> {
        let wrong = |reason| Ext4Error::Inode { inode, reason };
        let depth = node.u16_at(6).unwrap_or_default();
        let entries = usize::from(node.u16_at(2).unwrap_or_default());
        if node.u16_at(0) != Some(0xf30a) || entries > node.len().saturating_sub(12) / 12 {
            return Err(wrong("its extent tree is damaged"));
        }
        if depth > MAX_EXTENT_DEPTH || above.is_some_and(|above| depth + 1 != above) {
            return Err(wrong("its extent tree has a wrong depth"));
        }
        for entry in node.chunks_exact(12).skip(1).take(entries) {
            let u16 = |at| u64::from(entry.u16_at(at).unwrap_or_default());
            let u32 = |at| u64::from(entry.u32_at(at).unwrap_or_default());
            if depth > 0 {
                let block = (u16(8) << 32) | u32(4);
                if block >= self.blocks {
                    return Err(wrong("its extent tree leads out of the file system"));
                }
                let inner = self.bytes(block * self.block, usize::try_from(self.block).unwrap_or_default())?;
                self.extents(inode, &inner, Some(depth), size, at, pieces)?;
                continue;
            }
            let (written, length) = if u16(4) > 0x8000 { (false, u16(4) - 0x8000) } else { (true, u16(4)) };
            let start = u32(0) * self.block;
            let block = (u16(6) << 32) | u32(8);
            if start < *at || length == 0 || block + length > self.blocks {
                return Err(wrong("an extent lies where none can be"));
            }
            // Blocks beyond the end were kept for later; they are none of the file.
            let end = (start + length * self.block).min(size);
            if end <= start {
                continue;
            }
            if start > *at {
                pieces.push(Piece::Zeros(start - *at));
            }
            let offset = block * self.block;
            pieces.push(if written { Piece::Image { offset, length: end - start } } else { Piece::Zeros(end - start) });
            *at = end;
            if pieces.len() > MAX_PIECES {
                return Err(wrong("it has more extents than are read"));
            }
        }
        Ok(())
    }

    fn link(&self, inode: u32, raw: &[u8]) -> Result<Vec<u8>, Ext4Error> {
        let size = usize::try_from(Self::size(raw)).unwrap_or(usize::MAX);
        let wrong = |reason| Ext4Error::Inode { inode, reason };
        if size == 0 || size > MAX_TARGET {
            return Err(wrong("a link without target, or with one that is too long"));
        }
        let flags = raw.u32_at(0x20).unwrap_or_default();
        let target = if flags & EXTENTS == 0 && size < 60 {
            raw.get(0x28..0x28 + size).unwrap_or_default().to_vec()
        } else {
            let content = self.content(inode, raw)?.read(self.image, MAX_TARGET as u64);
            content.map_err(read_error(0, size))?.ok_or_else(|| wrong("a link with a target that is too long"))?
        };
        if target.contains(&0) {
            return Err(wrong("a link whose target has a zero byte"));
        }
        Ok(target)
    }

    fn folder(&self, inode: u32) -> Result<Vec<(Vec<u8>, u32)>, Ext4Error> {
        let wrong = |reason| Ext4Error::Inode { inode, reason };
        let raw = self.inode(inode)?;
        let content = self.content(inode, &raw)?;
        let size = content.size();
        let bytes = content.read(self.image, MAX_FOLDER).map_err(read_error(0, 0))?;
        let bytes = bytes.ok_or_else(|| wrong("a folder that is larger than is read"))?;
        if size % self.block != 0 {
            return Err(wrong("a folder that is not whole blocks"));
        }
        let mut entries = Vec::new();
        for block in bytes.chunks(usize::try_from(self.block).unwrap_or(4096)) {
            let mut at = 0;
            while at < block.len() {
                let entry = block.get(at..).unwrap_or_default();
                let length = match entry.u16_at(4) {
                    Some(length @ (0 | 0xffff)) if self.block == 65536 || length == 0 => block.len() - at,
                    Some(length) => usize::from(length),
                    None => return Err(wrong("a folder's entry ends before its head does")),
                };
                let names = usize::from(entry.u8_at(6).unwrap_or_default());
                if length < 8 || at + length > block.len() || 8 + names > length {
                    return Err(wrong("a folder's entry reaches out of its block"));
                }
                let child = entry.u32_at(0).unwrap_or_default();
                let name = entry.get(8..8 + names).unwrap_or_default();
                at += length;
                if child == 0 || matches!(name, b"." | b"..") {
                    continue;
                }
                if name.is_empty() || name.len() > MAX_NAME || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                    return Err(wrong("a folder's entry has no possible name"));
                }
                entries.push((name.to_vec(), child));
            }
        }
        Ok(entries)
    }

    fn xattrs(&self, inode: u32, raw: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Ext4Error> {
        let mut found = BTreeMap::new();
        let extra = usize::from(raw.u16_at(0x80).unwrap_or_default());
        if raw.len() > 128 && raw.u32_at(128 + extra) == Some(XATTR_MAGIC) {
            let entries = raw.get(128 + extra + 4..).unwrap_or_default();
            attributes(inode, entries, entries, &mut found)?;
        }
        let part = |at| u64::from(raw.u32_at(at).unwrap_or_default());
        let block = (u64::from(raw.u16_at(0x76).unwrap_or_default()) << 32) | part(0x68);
        if block != 0 {
            let wrong = |reason| Ext4Error::Inode { inode, reason };
            if block >= self.blocks {
                return Err(wrong("its attributes are not in the file system"));
            }
            let bytes = self.bytes(block * self.block, usize::try_from(self.block).unwrap_or_default())?;
            if bytes.u32_at(0) != Some(XATTR_MAGIC) {
                return Err(wrong("its attributes are damaged"));
            }
            attributes(inode, bytes.get(32..).unwrap_or_default(), &bytes, &mut found)?;
        }
        Ok(found)
    }
}

const XATTR_MAGIC: u32 = 0xea02_0000;

/// Reads a list of attributes; values are at offsets from the beginning of `values`.
fn attributes(
    inode: u32,
    mut entries: &[u8],
    values: &[u8],
    found: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(), Ext4Error> {
    let wrong = |reason| Ext4Error::Inode { inode, reason };
    while let Some(head) = entries.u32_at(0) {
        if head == 0 {
            return Ok(());
        }
        let damaged = || wrong("its attributes are damaged");
        let length = usize::from(entries.u8_at(0).unwrap_or_default());
        let prefix: &[u8] = match entries.u8_at(1).unwrap_or_default() {
            0 => b"",
            1 => b"user.",
            4 => b"trusted.",
            6 => b"security.",
            _ => return Err(wrong("an attribute of a kind that is not carried over (an access control list?)")),
        };
        let from = usize::from(entries.u16_at(2).unwrap_or_default());
        let outside = entries.u32_at(4).ok_or_else(damaged)?;
        let size = usize::try_from(entries.u32_at(8).ok_or_else(damaged)?).map_err(|_| damaged())?;
        let name = entries.get(16..16 + length).ok_or_else(damaged)?;
        let end = from.checked_add(size).ok_or_else(damaged)?;
        let value = values.get(from..end).filter(|_| outside == 0).ok_or_else(damaged)?;
        found.insert([prefix, name].concat(), value.to_vec());
        entries = entries.get((16 + length).next_multiple_of(4)..).ok_or_else(damaged)?;
    }
    Ok(())
}

fn device(raw: &[u8], kind: fn(u32, u32) -> Kind) -> Kind {
    let (old, new) = (raw.u32_at(0x28).unwrap_or_default(), raw.u32_at(0x2c).unwrap_or_default());
    if old != 0 {
        kind((old >> 8) & 0xff, old & 0xff)
    } else {
        kind((new & 0xf_ff00) >> 8, (new & 0xff) | ((new >> 12) & 0xf_ff00))
    }
}

fn read_error(offset: u64, bytes: usize) -> impl FnOnce(io::Error) -> Ext4Error {
    move |source| Ext4Error::Read { offset, bytes, source }
}
