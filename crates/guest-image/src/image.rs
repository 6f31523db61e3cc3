//! One image: read, guarded and written anew.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use crate::disk::{self, DiskError, Partition};
use crate::erofs::{self, BLOCK, ErofsError};
use crate::ext4::{self, Ext4Error};
use crate::rootfs::{self, Found, RootfsError, StartUpCheck};
use crate::source::{Disk, Part, ReadAt};
use crate::tree::Tree;
use crate::verity::{self, Compare, Into, Verity};

/// What the salt of dm-verity is made from, before the contents: a salt keeps prepared collisions from fitting, and this one
/// also lets everybody build the same image.
const SALT: &[u8] = b"casemate guest image salt 1\0";

/// Why an image was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It could not be opened, read or written.
    #[error("{what} `{path}`")]
    Io {
        /// What was done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Its partitions.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its file system is of another kind.
    #[error("the first partition has neither ext4 nor EROFS")]
    FileSystem,
    /// Its file system cannot be read.
    #[error("ext4")]
    Ext4(#[from] Ext4Error),
    /// Its file system cannot be read.
    #[error("EROFS")]
    Erofs(#[from] ErofsError),
    /// Its file system could not be written.
    #[error("write EROFS")]
    Write(#[from] erofs::WriteError),
    /// What is in it.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// It is not the image that its parameters are of.
    #[error("the image has the dm-verity root {found}, and its parameters say {expected}")]
    Root {
        /// What the parameters say, in hex.
        expected: String,
        /// What it is, in hex.
        found: String,
    },
    /// The parameters speak of more than there is.
    #[error("the parameters speak of {blocks} blocks of data, and the first partition has {has}")]
    Blocks {
        /// What they say.
        blocks: u64,
        /// What there is.
        has: u64,
    },
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { what, path, source }
}

/// An image that was opened.
pub struct Image {
    path: PathBuf,
    root: Part,
    hashes: Option<Part>,
}

impl Image {
    /// Opens an image and reads its partition table.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let file = File::open(path).map_err(io("open", path))?;
        let whole: Arc<dyn ReadAt> = Arc::new(Disk::new(file).map_err(io("read", path))?);
        let (root, hashes) = disk::partitions(&*whole)?;
        let part = |Partition { start, size }| Part::new(Arc::clone(&whole), start, size).ok_or(DiskError::NoRoot);
        Ok(Self { path: path.to_owned(), root: part(root)?, hashes: hashes.map(part).transpose()? })
    }

    /// Its first partition.
    pub fn root(&self) -> &dyn ReadAt {
        &self.root
    }

    /// `ext4` or `erofs`.
    pub fn file_system(&self) -> Result<&'static str, ImageError> {
        if ext4::is(&self.root) {
            Ok("ext4")
        } else if erofs::is(&self.root) {
            Ok("erofs")
        } else {
            Err(ImageError::FileSystem)
        }
    }

    /// Its files.
    pub fn tree(&self) -> Result<Tree, ImageError> {
        match self.file_system()? {
            "ext4" => Ok(ext4::read(&self.root)?),
            _ => Ok(erofs::read(&self.root)?),
        }
    }

    /// Compares every block with the parameters. Says also how many blocks of the hash tree in the image are not what they
    /// should be; a guest could not read what is below one.
    pub fn verify(&self, expected: &Verity) -> Result<u64, ImageError> {
        let has = self.root.size() / verity::BLOCK as u64;
        if expected.blocks > has {
            return Err(ImageError::Blocks { blocks: expected.blocks, has });
        }
        let nothing: Vec<u8> = Vec::new();
        let tree: &dyn ReadAt = self.hashes.as_ref().map_or(&nothing, |part| part);
        let mut compare = Compare { tree, differ: 0 };
        let found = verity::build(&self.root, expected.blocks, &expected.salt, &mut compare);
        let found = found.map_err(io("read", &self.path))?;
        if found.root != expected.root {
            let (expected, found) = (hex::encode(expected.root), hex::encode(found.root));
            return Err(ImageError::Root { expected, found });
        }
        Ok(compare.differ)
    }
}

/// An image that was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Written {
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of all of it.
    pub sha256: String,
    /// The parameters of its dm-verity, as Kata's runtimes read them.
    pub kernel_verity_params: String,
    /// What is in it.
    pub rootfs: Found,
    /// The same as a value.
    #[serde(skip)]
    pub verity: Verity,
}

/// Writes a guarded image. `expected` is what the release says of the one that was opened.
pub fn repack(
    image: &Image,
    expected: Option<&Verity>,
    check: &StartUpCheck,
    target: &Path,
) -> Result<Written, ImageError> {
    if let Some(expected) = expected {
        image.verify(expected)?;
    }
    let mut tree = image.tree()?;
    let rootfs = rootfs::guard(&mut tree, &image.root, check)?;
    let file = File::options().read(true).write(true).create_new(true).open(target).map_err(io("write", target))?;
    let mut salting = Salting { file: BufWriter::with_capacity(1 << 20, &file), context: Context::new(&SHA256) };
    salting.context.update(SALT);
    // The first partition begins behind what the table keeps free.
    salting.file.write_all(&vec![0; usize::try_from(disk::ALIGN).unwrap_or_default()]).map_err(io("write", target))?;
    let blocks = erofs::write(&tree, &image.root, &mut salting)?;
    let salt = salting.context.finish().as_ref().to_vec();
    salting.file.flush().map_err(io("write", target))?;
    drop(salting.file);

    let unhashed = Verity { root: [0; 32], salt: salt.clone(), blocks };
    let (parts, bytes) = disk::layout(blocks * BLOCK as u64, unhashed.tree_bytes().max(BLOCK as u64))?;
    file.set_len(bytes).map_err(io("write", target))?;
    file.write_all_at(&disk::record(&parts)?, 0).map_err(io("write", target))?;
    let whole: Arc<dyn ReadAt> =
        Arc::new(Disk::new(file.try_clone().map_err(io("write", target))?).map_err(io("read", target))?);
    let [first, second] = parts;
    let data = Part::new(whole, first.start, first.size).ok_or(DiskError::NoRoot)?;
    let verity = verity::build(&data, blocks, &salt, &mut Into { file: &file, offset: second.start });
    let verity = verity.map_err(io("write", target))?;
    file.sync_all().map_err(io("write", target))?;

    // What was written is read again, as a guest will.
    let again = Image::open(target)?;
    again.verify(&verity)?;
    let sha256 = sha256(target)?;
    Ok(Written { bytes, sha256, kernel_verity_params: verity.params(), rootfs, verity })
}

/// Hashes on the way, since the salt is made from the contents.
struct Salting<'a> {
    file: BufWriter<&'a File>,
    context: Context,
}

impl Write for Salting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.context.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 of a file, in hex.
pub fn sha256(path: &Path) -> Result<String, ImageError> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = io::Read::read(&mut file, &mut buffer).map_err(io("read", path))?;
        if n == 0 {
            return Ok(hex::encode(context.finish()));
        }
        context.update(buffer.get(..n).unwrap_or_default());
    }
}

/// What is in an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Inspected {
    /// `ext4` or `erofs`.
    pub file_system: &'static str,
    /// Files, folders and all else, each once however many names it has.
    pub files: usize,
    /// What starts the agent, and with which policy it begins.
    pub rootfs: Found,
    /// Whether its dm-verity is what the parameters say; `None` without parameters.
    pub verity: Option<InspectedVerity>,
}

/// What came of comparing an image with its parameters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct InspectedVerity {
    /// What the parameters say.
    pub expected_root: String,
    /// Whether it is that.
    pub matches: bool,
    /// Blocks of the hash tree that are not what they should be.
    pub damaged_hash_blocks: u64,
}

/// Looks into an image.
pub fn inspect(path: &Path, expected: Option<&Verity>) -> Result<Inspected, ImageError> {
    let image = Image::open(path)?;
    let verity = match expected {
        None => None,
        Some(expected) => {
            let (matches, damaged_hash_blocks) = match image.verify(expected) {
                Ok(damaged) => (true, damaged),
                Err(ImageError::Root { .. } | ImageError::Blocks { .. }) => (false, 0),
                Err(error) => return Err(error),
            };
            Some(InspectedVerity { expected_root: hex::encode(expected.root), matches, damaged_hash_blocks })
        }
    };
    let tree = image.tree()?;
    let rootfs = rootfs::look(&tree, image.root())?;
    Ok(Inspected { file_system: image.file_system()?, files: tree.walk().len(), rootfs, verity })
}
