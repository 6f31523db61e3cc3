//! Kata's release: one tar archive, compressed with Zstandard, xz or not at all, that unpacks below `opt/kata`.
//!
//! It is read twice: once for its list and the configurations, and once for the files that these name. Nothing of it is ever
//! unpacked by name: a file goes where the caller says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

/// LIMIT: entries. A release has some 2,000.
const MAX_ENTRIES: usize = 200_000;
/// LIMIT: one file. Images with a GPU's drivers have 1 to 4 GiB.
pub const MAX_FILE: u64 = 16 << 30;
/// LIMIT: everything together, unpacked. A release has some 6 GiB.
const MAX_TOTAL: u64 = 64 << 30;
/// LIMIT: a configuration. Kata's have 30 KiB.
const MAX_CONFIG: u64 = 1 << 20;
/// LIMIT: links on the way to a file.
const MAX_LINKS: usize = 16;

/// Why an archive is no release.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It could not be read, or is damaged.
    #[error("read `{path}`")]
    Read {
        /// The archive.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A name that leads out of the archive, or is none.
    #[error("the archive names `{name}`, which is no path inside of it")]
    Name {
        /// As it stands there, cut off.
        name: String,
    },
    /// Two entries of one name.
    #[error("the archive has `{name}` twice")]
    Twice {
        /// Which.
        name: String,
    },
    /// More than a release has.
    #[error("the archive has more than {most} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: u64,
    },
    /// A file is not there.
    #[error("the archive has no file `{name}`")]
    Absent {
        /// Which.
        name: String,
    },
    /// Links that lead to one another.
    #[error("`{name}` goes through more than {MAX_LINKS} links")]
    Links {
        /// Which.
        name: String,
    },
    /// The archive changed between two readings.
    #[error("`{name}` had {expected} bytes, and now it has {found}")]
    Changed {
        /// Which.
        name: String,
        /// At first.
        expected: u64,
        /// Now.
        found: u64,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    File { size: u64, executable: bool },
    Link { target: String },
    Hard { target: String },
}

/// A release, as its list has it.
#[derive(Debug)]
pub struct Release {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    configs: BTreeMap<String, Vec<u8>>,
}

/// A file that was taken out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Of its bytes.
    pub sha256: [u8; 32],
    /// How many.
    pub size: u64,
    /// Whether the archive has it as executable.
    pub executable: bool,
}

impl Release {
    /// Reads the list, and every configuration.
    pub fn open(path: &Path) -> Result<Self, ReleaseError> {
        let mut release = Self { path: path.to_owned(), entries: BTreeMap::new(), configs: BTreeMap::new() };
        let mut total = 0_u64;
        let read = |source| ReleaseError::Read { path: path.to_owned(), source };
        let mut archive = tar::Archive::new(open(path).map_err(read)?);
        for entry in archive.entries().map_err(read)? {
            let mut entry = entry.map_err(read)?;
            if release.entries.len() >= MAX_ENTRIES {
                return Err(ReleaseError::TooMuch { what: "entries", most: MAX_ENTRIES as u64 });
            }
            let kind = entry.header().entry_type();
            let Some(name) = inner_name(&entry.path_bytes())? else { continue };
            let size = entry.size();
            total = total.saturating_add(size);
            if size > MAX_FILE || total > MAX_TOTAL {
                return Err(ReleaseError::TooMuch {
                    what: "bytes",
                    most: if size > MAX_FILE { MAX_FILE } else { MAX_TOTAL },
                });
            }
            let target = |entry: &tar::Entry<'_, Box<dyn Read>>| {
                entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned()).unwrap_or_default()
            };
            let found = if kind.is_file() {
                let executable = entry.header().mode().map_err(read)? & 0o111 != 0;
                if is_config(&name) {
                    let mut text = Vec::new();
                    (&mut entry).take(MAX_CONFIG + 1).read_to_end(&mut text).map_err(read)?;
                    if text.len() as u64 > MAX_CONFIG {
                        return Err(ReleaseError::TooMuch { what: "bytes in a configuration", most: MAX_CONFIG });
                    }
                    release.configs.insert(name.clone(), text);
                }
                Entry::File { size, executable }
            } else if kind.is_symlink() {
                Entry::Link { target: target(&entry) }
            } else if kind.is_hard_link() {
                let target = target(&entry);
                let target = inner_name(target.as_bytes())?.ok_or(ReleaseError::Name { name: target })?;
                Entry::Hard { target }
            } else {
                // Folders, and devices that nobody asks for.
                continue;
            };
            if release.entries.insert(name.clone(), found).is_some() {
                return Err(ReleaseError::Twice { name });
            }
        }
        Ok(release)
    }

    /// Names and texts of the configurations.
    pub fn configs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.configs.iter().map(|(name, text)| (name.as_str(), text.as_slice()))
    }

    /// Names of all files, links among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The regular file that a name leads to, through links.
    pub fn resolve(&self, name: &str) -> Result<&str, ReleaseError> {
        let mut at = name.to_owned();
        for _ in 0..MAX_LINKS {
            match self.entries.get_key_value(&at) {
                Some((name, Entry::File { .. })) => return Ok(name),
                Some((_, Entry::Hard { target })) => at.clone_from(target),
                Some((_, Entry::Link { target })) => at = relative(&at, target)?,
                None => return Err(ReleaseError::Absent { name: at }),
            }
        }
        Err(ReleaseError::Links { name: name.to_owned() })
    }

    /// Takes files out, each to a path of its own, and tells their digests. Names are of regular files, as
    /// [`Self::resolve`] gives them. `progress` is told of every file.
    pub fn take(
        &self,
        wanted: &BTreeMap<String, PathBuf>,
        progress: &mut dyn FnMut(&str, u64),
    ) -> Result<BTreeMap<String, Taken>, ReleaseError> {
        let read = |source| ReleaseError::Read { path: self.path.clone(), source };
        let mut taken = BTreeMap::new();
        let mut archive = tar::Archive::new(open(&self.path).map_err(read)?);
        for entry in archive.entries().map_err(read)? {
            if taken.len() == wanted.len() {
                break;
            }
            let entry = entry.map_err(read)?;
            let Some(name) = inner_name(&entry.path_bytes())? else { continue };
            let (Some(target), Some(Entry::File { size, executable })) = (wanted.get(&name), self.entries.get(&name))
            else {
                continue;
            };
            progress(&name, *size);
            let one = copy(entry, target, *executable).map_err(|failure| match failure {
                Failure::Read(source) => read(source),
                Failure::Write(source) => ReleaseError::Write { path: target.clone(), source },
            })?;
            if one.size != *size {
                return Err(ReleaseError::Changed { name, expected: *size, found: one.size });
            }
            taken.insert(name, one);
        }
        match wanted.keys().find(|name| !taken.contains_key(*name)) {
            Some(name) => Err(ReleaseError::Absent { name: name.clone() }),
            None => Ok(taken),
        }
    }
}

enum Failure {
    Read(io::Error),
    Write(io::Error),
}

fn copy(mut from: impl Read, target: &Path, executable: bool) -> Result<Taken, Failure> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).map_err(Failure::Write)?;
    }
    let mut out = File::options().write(true).create_new(true).open(target).map_err(Failure::Write)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let part = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Read(error)),
        };
        size += part.len() as u64;
        context.update(part);
        out.write_all(part).map_err(Failure::Write)?;
    }
    out.sync_all().map_err(Failure::Write)?;
    let sha256 = context.finish().as_ref().first_chunk().copied().unwrap_or([0; 32]);
    Ok(Taken { sha256, size, executable })
}

/// Opens an archive by its first bytes.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 6];
    let mut file = File::open(path)?;
    let known = file.read(&mut magic)?;
    let magic = magic.get(..known).unwrap_or_default();
    let reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    // RFC 8878, section 3.1.1, and the .xz file format, section 2.1.1.1.
    Ok(if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(reader);
        Box::new(decoder.map_err(|error| io::Error::other(error.to_string()))?)
    } else if magic == [0xfd, b'7', b'z', b'X', b'Z', 0] {
        // LIMIT: the largest window that `xz -9e` takes is 64 MiB.
        Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, 256 * 1024))
    } else {
        Box::new(reader)
    })
}

fn is_config(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let toml = Path::new(name).extension().is_some_and(|ending| ending == "toml");
    name.contains("share/defaults/kata-containers/") && file.starts_with("configuration-") && toml
}

/// A name without what stands for the archive's own folder; `None` for that folder itself.
fn inner_name(name: &[u8]) -> Result<Option<String>, ReleaseError> {
    let wrong = || ReleaseError::Name { name: String::from_utf8_lossy(name).chars().take(200).collect() };
    let text = std::str::from_utf8(name).map_err(|_| wrong())?;
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") || text.contains('\0') {
        return Err(wrong());
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// Where a link leads, inside of the archive. An absolute target counts from its root, as it would once it is unpacked.
fn relative(link: &str, target: &str) -> Result<String, ReleaseError> {
    let wrong = || ReleaseError::Name { name: target.chars().take(200).collect() };
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { link.split('/').collect() };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(wrong)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_are_refused() {
        assert_eq!(inner_name(b"./opt/kata//x").unwrap().unwrap(), "opt/kata/x");
        assert_eq!(inner_name(b"/opt/kata").unwrap().unwrap(), "opt/kata");
        assert_eq!(inner_name(b"./").unwrap(), None);
        for bad in [&b"../x"[..], b"opt/../../x", b"opt/kata/..", b"\xff"] {
            assert!(matches!(inner_name(bad), Err(ReleaseError::Name { .. })), "{bad:?}");
        }
    }

    #[test]
    fn links_stay_inside() {
        assert_eq!(relative("opt/kata/share/vmlinuz", "vmlinuz-6.18").unwrap(), "opt/kata/share/vmlinuz-6.18");
        assert_eq!(relative("opt/kata/share/a", "../bin/./b").unwrap(), "opt/kata/bin/b");
        assert_eq!(relative("opt/a", "/opt/b").unwrap(), "opt/b");
        assert!(relative("opt/a", "../../b").is_err());
    }

    #[test]
    fn configurations_are_known_by_their_names() {
        assert!(is_config("opt/kata/share/defaults/kata-containers/configuration-qemu-snp.toml"));
        assert!(is_config("opt/kata/share/defaults/kata-containers/runtime-rs/configuration-qemu-snp-runtime-rs.toml"));
        assert!(!is_config("opt/kata/share/defaults/kata-containers/genpolicy-settings.json"));
        assert!(!is_config("opt/kata/share/configuration-qemu-snp.toml"));
    }
}
