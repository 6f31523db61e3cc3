//! A file system as a tree: names and what they stand for in memory, contents where they were.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::source::ReadAt;

/// LIMIT: inodes. A guest image of Kata has some ten thousand, one with a GPU's drivers some more.
pub const MAX_NODES: usize = 1 << 20;
/// LIMIT: how deep folders may lie; Linux' own limit of a path (4096 bytes) allows no more than half of it.
pub const MAX_DEPTH: usize = 128;
/// LIMIT: links on the way to a file, as Linux has it.
const MAX_LINKS: usize = 40;
/// LIMIT: one name (`NAME_MAX`).
pub const MAX_NAME: usize = 255;
/// LIMIT: a link's target (`PATH_MAX`).
pub const MAX_TARGET: usize = 4095;

/// Which node.
pub type Id = usize;

/// One piece of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Bytes of the image that the tree was read from.
    Image {
        /// Where they begin.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Zeros.
    Zeros(u64),
    /// Bytes of our own.
    Bytes(Arc<[u8]>),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Image { length, .. } | Self::Zeros(length) => *length,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// A file's content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content(pub Vec<Piece>);

impl Content {
    /// Bytes of our own.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self(vec![Piece::Bytes(bytes.into())])
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.0.iter().fold(0, |size, piece| size.saturating_add(piece.length()))
    }

    /// Hands all of it to `sink`, in order and in pieces of at most 1 MiB.
    pub fn copy(&self, image: &dyn ReadAt, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        const STEP: usize = 1 << 20;
        let mut buffer = vec![0; STEP];
        for piece in &self.0 {
            let mut done = 0;
            if let Piece::Bytes(bytes) = piece {
                bytes.chunks(STEP).try_for_each(&mut *sink)?;
                continue;
            }
            while done < piece.length() {
                let step = usize::try_from(piece.length() - done).unwrap_or(STEP).min(STEP);
                let part = buffer.get_mut(..step).unwrap_or_default();
                match piece {
                    Piece::Image { offset, .. } => image.read_exact_at(part, offset.saturating_add(done))?,
                    _ => part.fill(0),
                }
                sink(part)?;
                done += step as u64;
            }
        }
        Ok(())
    }

    /// All of it, if it is not longer than `most`.
    pub fn read(&self, image: &dyn ReadAt, most: u64) -> io::Result<Option<Vec<u8>>> {
        if self.size() > most {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.copy(image, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(Some(bytes))
    }
}

/// What a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Names and what they stand for.
    Folder(BTreeMap<Vec<u8>, Id>),
    /// A regular file.
    File(Content),
    /// A symbolic link.
    Link(Vec<u8>),
    /// A character device: major and minor.
    Char(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A node: everything but its names. Times are none of it; see the writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Permissions with set-id bits and the sticky bit: twelve bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes by their full names.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it is.
    pub kind: Kind,
}

impl Node {
    /// A node of root's without attributes.
    pub fn of_root(mode: u16, kind: Kind) -> Self {
        Self { mode, uid: 0, gid: 0, xattrs: BTreeMap::new(), kind }
    }
}

/// A path that leads nowhere, or not to what is wanted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is nothing.
    #[error("`{path}` is not there")]
    Absent {
        /// The whole path.
        path: String,
    },
    /// Something on the way, or at its end, is of another kind.
    #[error("`{path}` is no {wanted}")]
    Kind {
        /// The path.
        path: String,
        /// `folder` or `file`.
        wanted: &'static str,
    },
    /// Links that lead to one another.
    #[error("`{path}` goes through more than {MAX_LINKS} links")]
    Links {
        /// The path.
        path: String,
    },
    /// More nodes than a file system may have here.
    #[error("more than {MAX_NODES} files")]
    TooMany,
}

/// A file system. Node 0 is its root, which is a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::of_root(0o755, Kind::Folder(BTreeMap::new()))] }
    }
}

impl Tree {
    /// The root.
    pub const ROOT: Id = 0;

    /// A tree with this root.
    pub fn new(root: Node) -> Self {
        Self { nodes: vec![root] }
    }

    /// A node.
    pub fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// A node, to be changed.
    pub fn node_mut(&mut self, id: Id) -> Option<&mut Node> {
        self.nodes.get_mut(id)
    }

    /// Adds a node that has no name yet.
    pub fn add(&mut self, node: Node) -> Result<Id, TreeError> {
        if self.nodes.len() >= MAX_NODES {
            return Err(TreeError::TooMany);
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// Gives a node a name in a folder, in the place of whatever had it.
    pub fn name(&mut self, folder: Id, name: &[u8], node: Id) {
        if let Some(Node { kind: Kind::Folder(names), .. }) = self.nodes.get_mut(folder) {
            names.insert(name.to_vec(), node);
        }
    }

    /// The entries of a folder; nothing of anything else.
    pub fn entries(&self, folder: Id) -> impl Iterator<Item = (&[u8], Id)> {
        let names = match self.node(folder).map(|node| &node.kind) {
            Some(Kind::Folder(names)) => Some(names),
            _ => None,
        };
        names.into_iter().flatten().map(|(name, id)| (name.as_slice(), *id))
    }

    /// The folder and the last name of a path, with links on the way followed, the last one too. The folder must be there.
    fn locate(&self, path: &str) -> Result<(Id, Vec<u8>, Option<Id>), TreeError> {
        let absent = || TreeError::Absent { path: path.to_owned() };
        let split = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).rev().map(<[u8]>::to_vec).collect()
        };
        let mut rest = split(path.as_bytes());
        let mut above = vec![Self::ROOT];
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let folder = above.last().copied().unwrap_or(Self::ROOT);
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    above.truncate(above.len().saturating_sub(1).max(1));
                    continue;
                }
                _ => {}
            }
            let Some(Kind::Folder(names)) = self.node(folder).map(|node| &node.kind) else {
                return Err(TreeError::Kind { path: path.to_owned(), wanted: "folder" });
            };
            let found = names.get(&name).copied();
            match found.and_then(|id| self.node(id)).map(|node| &node.kind) {
                Some(Kind::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(TreeError::Links { path: path.to_owned() });
                    }
                    if target.starts_with(b"/") {
                        above.truncate(1);
                    }
                    rest.extend(split(target));
                }
                Some(_) if !rest.is_empty() => above.push(found.ok_or_else(absent)?),
                _ if rest.is_empty() => return Ok((folder, name, found)),
                _ => return Err(absent()),
            }
        }
        Err(TreeError::Kind { path: path.to_owned(), wanted: "file" })
    }

    /// What a path leads to.
    pub fn find(&self, path: &str) -> Result<Id, TreeError> {
        if path.split('/').all(str::is_empty) {
            return Ok(Self::ROOT);
        }
        match self.locate(path) {
            Ok((_, _, found)) => found.ok_or_else(|| TreeError::Absent { path: path.to_owned() }),
            // A path or link that ends in a folder's own name.
            Err(error) => Err(error),
        }
    }

    /// The content of a file, and who may do what with it.
    pub fn file(&self, path: &str) -> Result<(&Node, &Content), TreeError> {
        let id = self.find(path)?;
        match self.node(id) {
            Some(node @ Node { kind: Kind::File(content), .. }) => Ok((node, content)),
            _ => Err(TreeError::Kind { path: path.to_owned(), wanted: "file" }),
        }
    }

    /// Puts a node where a path leads, through links of folders but not through a last one, and makes folders of root's on the
    /// way.
    pub fn put(&mut self, path: &str, node: Node) -> Result<Id, TreeError> {
        let (folder, name) = match path.trim_end_matches('/').rsplit_once('/') {
            Some((folder, name)) => (folder, name),
            None => ("", path),
        };
        let folder = self.make_folder(folder)?;
        let id = self.add(node)?;
        self.name(folder, name.as_bytes(), id);
        Ok(id)
    }

    fn make_folder(&mut self, path: &str) -> Result<Id, TreeError> {
        let mut at = String::new();
        let mut folder = Self::ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = format!("{at}/{part}");
            let next = match self.find(&at) {
                Ok(id) => id,
                Err(TreeError::Absent { .. }) => {
                    let id = self.add(Node::of_root(0o755, Kind::Folder(BTreeMap::new())))?;
                    self.name(folder, part.as_bytes(), id);
                    id
                }
                Err(error) => return Err(error),
            };
            if !matches!(self.node(next).map(|node| &node.kind), Some(Kind::Folder(_))) {
                return Err(TreeError::Kind { path: at, wanted: "folder" });
            }
            folder = next;
        }
        Ok(folder)
    }

    /// All nodes that have a name, each once, in an order that rests on names alone: the root first, folders before what is in
    /// them. With the number of names of each; of a folder that is two and one for each folder in it.
    pub fn walk(&self) -> Vec<(Id, u32)> {
        let mut order = Vec::new();
        let mut names: BTreeMap<Id, u32> = BTreeMap::new();
        let mut seen = BTreeSet::from([Self::ROOT]);
        let mut waiting = vec![Self::ROOT];
        while let Some(id) = waiting.pop() {
            order.push(id);
            let mut inner = Vec::new();
            for (_, entry) in self.entries(id) {
                let folder = matches!(self.node(entry).map(|node| &node.kind), Some(Kind::Folder(_)));
                *names.entry(entry).or_default() += 1;
                if folder {
                    *names.entry(id).or_default() += 1;
                }
                if seen.insert(entry) {
                    inner.push(entry);
                }
            }
            waiting.extend(inner.into_iter().rev());
        }
        let count = |id: &Id| {
            let folder = matches!(self.node(*id).map(|node| &node.kind), Some(Kind::Folder(_)));
            // A folder's own two names are the one above and `.`; the root's is `..`.
            let own = u32::from(folder) + u32::from(*id == Self::ROOT);
            names.get(id).copied().unwrap_or_default().saturating_add(own)
        };
        order.iter().map(|id| (*id, count(id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let link = |target: &str| Node::of_root(0o777, Kind::Link(target.as_bytes().to_vec()));
        tree.put("/usr/bin/agent", Node::of_root(0o755, Kind::File(Content::bytes(b"agent")))).unwrap();
        tree.put("/bin", link("usr/bin")).unwrap();
        tree.put("/init", link("/bin/../bin/./agent")).unwrap();
        tree.put("/a", link("b")).unwrap();
        tree.put("/b", link("a")).unwrap();
        tree.put("/up", link("../../../usr/bin/agent")).unwrap();
        tree
    }

    #[test]
    fn paths_are_followed_through_links_and_never_out_of_the_tree() {
        let tree = tree();
        let agent = tree.find("/usr/bin/agent").unwrap();
        for path in ["/bin/agent", "/init", "/up", "usr/bin/agent", "//usr//bin/agent"] {
            assert_eq!(tree.find(path).unwrap(), agent, "{path}");
        }
        assert_eq!(tree.find("/").unwrap(), Tree::ROOT);
        for (path, expected) in [
            ("/a", "more than 40 links"),
            ("/usr/bin/other", "not there"),
            ("/usr/lib/other", "not there"),
            ("/usr/bin/agent/x", "no folder"),
        ] {
            assert!(tree.file(path).unwrap_err().to_string().contains(expected), "{path}");
        }
        assert!(tree.file("/usr").unwrap_err().to_string().contains("no file"));
    }

    #[test]
    fn a_node_is_put_through_links_of_folders_and_in_the_place_of_a_last_link() {
        let mut tree = tree();
        tree.put("/bin/new/file", Node::of_root(0o644, Kind::File(Content::bytes(b"new")))).unwrap();
        assert!(tree.file("/usr/bin/new/file").is_ok());
        tree.put("/init", Node::of_root(0o755, Kind::File(Content::bytes(b"init")))).unwrap();
        assert_eq!(tree.file("/init").unwrap().1.size(), 4);
        assert_eq!(tree.file("/usr/bin/agent").unwrap().1.size(), 5);
        assert!(tree.put("/usr/bin/agent/x", Node::of_root(0, Kind::Fifo)).is_err());
    }

    #[test]
    fn names_are_counted() {
        let mut tree = tree();
        let agent = tree.find("/usr/bin/agent").unwrap();
        tree.name(Tree::ROOT, b"again", agent);
        let counts: BTreeMap<Id, u32> = tree.walk().into_iter().collect();
        assert_eq!(counts[&agent], 2);
        assert_eq!(counts[&Tree::ROOT], 3, "`.`, `..` and the `..` of `usr`");
        assert_eq!(counts[&tree.find("/usr").unwrap()], 3);
        assert_eq!(counts[&tree.find("/usr/bin").unwrap()], 2);
    }
}
