//! Reading: what [`write`](super::write()) makes and what `mkfs.erofs` makes without compression.

use std::collections::BTreeMap;
use std::io;

use super::{BLOCK, ENTRY, INLINE, MAGIC, PLAIN, PREFIXES, SLOT, SUPER, SUPER_SIZE, XATTR_HEAD};
use crate::source::{Fields as _, ReadAt};
use crate::tree::{Content, Id, Kind, MAX_DEPTH, MAX_NAME, MAX_TARGET, Node, Piece, Tree, TreeError};

/// LIMIT: one folder, as with ext4.
const MAX_FOLDER: u64 = 64 << 20;

/// Why a file system was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErofsError {
    /// There is no superblock.
    #[error("no EROFS: its superblock has the magic {found:#010x}")]
    Magic {
        /// What is there.
        found: u32,
    },
    /// A feature that changes how files are to be read.
    #[error("EROFS with {feature} is not read here")]
    Feature {
        /// Which.
        feature: String,
    },
    /// An inode that cannot be.
    #[error("inode at slot {nid}: {reason}")]
    Inode {
        /// Where.
        nid: u64,
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

/// Whether a file system has the magic of EROFS.
pub fn is(image: &dyn ReadAt) -> bool {
    let mut magic = [0; 4];
    image.read_exact_at(&mut magic, SUPER as u64).is_ok() && magic == MAGIC.to_le_bytes()
}

/// Reads the whole tree.
pub fn read(image: &dyn ReadAt) -> Result<Tree, ErofsError> {
    let (reader, root) = Reader::open(image)?;
    let (node, mut folder) = reader.node(root)?;
    if !matches!(node.kind, Kind::Folder(_)) {
        return Err(ErofsError::Inode { nid: root, reason: "the root is no folder" });
    }
    let mut tree = Tree::new(node);
    let mut known = BTreeMap::from([(root, Tree::ROOT)]);
    let mut waiting = vec![(root, Tree::ROOT, 0, std::mem::take(&mut folder))];
    while let Some((nid, id, depth, content)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return Err(ErofsError::Inode { nid, reason: "folders lie deeper than is read" });
        }
        for (name, entry) in reader.names(nid, &content)? {
            if let Some(other) = known.get(&entry) {
                if matches!(tree.node(*other).map(|node| &node.kind), Some(Kind::Folder(_))) {
                    return Err(ErofsError::Inode { nid: entry, reason: "a folder with two names" });
                }
                tree.name(id, &name, *other);
                continue;
            }
            let (node, content) = reader.node(entry)?;
            let is_folder = matches!(node.kind, Kind::Folder(_));
            let inner: Id = tree.add(node)?;
            known.insert(entry, inner);
            tree.name(id, &name, inner);
            if is_folder {
                waiting.push((entry, inner, depth + 1, content));
            }
        }
    }
    Ok(tree)
}

struct Reader<'a> {
    image: &'a dyn ReadAt,
    meta: u64,
    shared: u64,
}

impl<'a> Reader<'a> {
    fn open(image: &'a dyn ReadAt) -> Result<(Self, u64), ErofsError> {
        let mut head = vec![0; SUPER_SIZE];
        let failed = |source| ErofsError::Read { offset: SUPER as u64, bytes: SUPER_SIZE, source };
        image.read_exact_at(&mut head, SUPER as u64).map_err(failed)?;
        let u32 = |at| head.u32_at(at).unwrap_or_default();
        if u32(0) != MAGIC {
            return Err(ErofsError::Magic { found: u32(0) });
        }
        let feature = |feature: String| Err(ErofsError::Feature { feature });
        if head.u8_at(12) != Some(12) {
            return feature(format!("blocks of 2^{} bytes", head.u8_at(12).unwrap_or_default()));
        }
        match u32(80) {
            0 => {}
            bits @ 1..=3 => return feature(format!("compression (features {bits:#x})")),
            bits => return feature(format!("features {bits:#x}")),
        }
        if head.u8_at(90).unwrap_or_default() != 0 {
            return feature("large folder blocks".to_owned());
        }
        let block = BLOCK as u64;
        let reader = Self { image, meta: u64::from(u32(40)) * block, shared: u64::from(u32(44)) * block };
        Ok((reader, u64::from(head.u16_at(14).unwrap_or_default())))
    }

    fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, ErofsError> {
        let mut bytes = vec![0; length];
        let failed = |source| ErofsError::Read { offset, bytes: length, source };
        self.image.read_exact_at(&mut bytes, offset).map_err(failed)?;
        Ok(bytes)
    }

    /// A node, and its content where that is a folder's.
    fn node(&self, nid: u64) -> Result<(Node, Content), ErofsError> {
        let wrong = |reason| ErofsError::Inode { nid, reason };
        let place = nid.checked_mul(SLOT as u64).and_then(|at| at.checked_add(self.meta));
        let place = place.ok_or_else(|| wrong("not in the file system"))?;
        let head = self.bytes(place, SLOT)?;
        let format = head.u16_at(0).unwrap_or_default();
        let extended = format & 1 == 1;
        let raw = if extended { self.bytes(place, 64)? } else { head };
        let u16 = |at| raw.u16_at(at).unwrap_or_default();
        let u32 = |at| raw.u32_at(at).unwrap_or_default();
        let (size, data, uid, gid) = if extended {
            (raw.u64_at(8).unwrap_or_default(), u32(16), u32(24), u32(28))
        } else {
            (u64::from(u32(8)), u32(16), u32::from(u16(24)), u32::from(u16(26)))
        };
        let count = usize::from(u16(2));
        let xattr_bytes = if count == 0 { 0 } else { XATTR_HEAD + (count - 1) * 4 };
        let after = place + raw.len() as u64;
        let xattrs = if count == 0 { BTreeMap::new() } else { self.xattrs(nid, after, xattr_bytes)? };
        let mode = u16(4);
        let content = match mode & 0xf000 {
            0x4000 | 0x8000 | 0xa000 => {
                self.content(nid, (format >> 1) & 7, size, u64::from(data), after + xattr_bytes as u64)?
            }
            _ => Content::default(),
        };
        let kind = match mode & 0xf000 {
            0x4000 => {
                let kind = Kind::Folder(BTreeMap::new());
                return Ok((Node { mode: mode & 0xfff, uid, gid, xattrs, kind }, content));
            }
            0x8000 => Kind::File(content),
            0xa000 => {
                let target = content.read(self.image, MAX_TARGET as u64);
                let target = target.map_err(|source| ErofsError::Read { offset: place, bytes: 0, source })?;
                Kind::Link(target.filter(|target| !target.is_empty()).ok_or_else(|| wrong("a link of no target"))?)
            }
            0x2000 => Kind::Char(major(data), minor(data)),
            0x6000 => Kind::Block(major(data), minor(data)),
            0x1000 => Kind::Fifo,
            0xc000 => Kind::Socket,
            _ => return Err(wrong("it is of no kind of file")),
        };
        Ok((Node { mode: mode & 0xfff, uid, gid, xattrs, kind }, Content::default()))
    }

    fn content(&self, nid: u64, layout: u16, size: u64, start: u64, inline: u64) -> Result<Content, ErofsError> {
        let wrong = |reason| ErofsError::Inode { nid, reason };
        let start = start * BLOCK as u64;
        let inside = |offset: u64, length: u64| {
            offset
                .checked_add(length)
                .is_some_and(|end| end <= self.image.size())
                .then_some(Piece::Image { offset, length })
        };
        let outside = || wrong("its content is not in the file system");
        let mut pieces = Vec::new();
        match layout {
            _ if size == 0 => {}
            PLAIN => pieces.push(inside(start, size).ok_or_else(outside)?),
            INLINE => {
                let tail = size % BLOCK as u64;
                if size > tail {
                    pieces.push(inside(start, size - tail).ok_or_else(outside)?);
                }
                if tail > 0 {
                    pieces.push(inside(inline, tail).ok_or_else(outside)?);
                }
            }
            1 | 3 => return Err(wrong("its content is compressed")),
            _ => return Err(wrong("its content is in chunks")),
        }
        Ok(Content(pieces))
    }

    fn names(&self, nid: u64, content: &Content) -> Result<Vec<(Vec<u8>, u64)>, ErofsError> {
        let wrong = |reason| ErofsError::Inode { nid, reason };
        let bytes = content.read(self.image, MAX_FOLDER);
        let bytes = bytes.map_err(|source| ErofsError::Read { offset: 0, bytes: 0, source })?;
        let bytes = bytes.ok_or_else(|| wrong("a folder that is larger than is read"))?;
        let mut names = Vec::new();
        for block in bytes.chunks(BLOCK) {
            let first = usize::from(block.u16_at(8).unwrap_or_default());
            if first == 0 || first % ENTRY != 0 || first > block.len() {
                return Err(wrong("a folder's block is damaged"));
            }
            let entries: Vec<&[u8]> = block.get(..first).unwrap_or_default().chunks_exact(ENTRY).collect();
            for (index, entry) in entries.iter().enumerate() {
                let from = usize::from(entry.u16_at(8).unwrap_or_default());
                let to = match entries.get(index + 1) {
                    Some(next) => usize::from(next.u16_at(8).unwrap_or_default()),
                    None => block.len(),
                };
                let name = block.get(from..to).ok_or_else(|| wrong("a folder's name is not in its block"))?;
                // The last name of a block ends with it or with a zero.
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                if name.is_empty() || name.len() > MAX_NAME || name.contains(&b'/') {
                    return Err(wrong("a folder's entry has no possible name"));
                }
                names.push((name.to_vec(), entry.u64_at(0).unwrap_or_default()));
            }
        }
        Ok(names)
    }

    fn xattrs(&self, nid: u64, offset: u64, length: usize) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ErofsError> {
        let bytes = self.bytes(offset, length)?;
        let mut found = BTreeMap::new();
        let shared = usize::from(bytes.u8_at(4).unwrap_or_default());
        for index in 0..shared {
            let slot = bytes.u32_at(XATTR_HEAD + index * 4);
            let slot = slot.ok_or(ErofsError::Inode { nid, reason: "its attributes are damaged" })?;
            let place = self.shared + u64::from(slot) * 4;
            let head = self.bytes(place, 4)?;
            let size =
                4 + usize::from(head.u8_at(0).unwrap_or_default()) + usize::from(head.u16_at(2).unwrap_or_default());
            attribute(nid, &self.bytes(place, size)?, &mut found)?;
        }
        let mut rest = bytes.get(XATTR_HEAD + shared * 4..).unwrap_or_default();
        while rest.len() >= 4 && rest.u32_at(0) != Some(0) {
            let used = attribute(nid, rest, &mut found)?;
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(found)
    }
}

/// Reads one attribute, and gives the bytes that it takes.
fn attribute(nid: u64, bytes: &[u8], found: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<usize, ErofsError> {
    let wrong = |reason| ErofsError::Inode { nid, reason };
    let name = usize::from(bytes.u8_at(0).unwrap_or_default());
    let number = bytes.u8_at(1).unwrap_or_default();
    let value = usize::from(bytes.u16_at(2).unwrap_or_default());
    let prefix = PREFIXES.iter().find(|(known, _)| *known == number).map(|(_, prefix)| *prefix);
    let prefix = prefix.ok_or_else(|| wrong("an attribute of a kind that is not carried over"))?;
    let text = bytes.get(4..4 + name).zip(bytes.get(4 + name..4 + name + value));
    let (text, content) = text.ok_or_else(|| wrong("its attributes are damaged"))?;
    found.insert([prefix, text].concat(), content.to_vec());
    Ok((4 + name + value).next_multiple_of(4))
}

fn major(device: u32) -> u32 {
    (device & 0xf_ff00) >> 8
}

fn minor(device: u32) -> u32 {
    (device & 0xff) | ((device >> 12) & 0xf_ff00)
}
