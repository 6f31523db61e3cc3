//! A bundle as a folder: `bundle.json`, and `objects/KIND.json` for each kind that was asked for.
//!
//! Files are JSON as they are written, and JSON or YAML as they are read: people write examples by hand. What is read is
//! [reduced](crate::reduce) again, so a bundle that somebody put together from `kubectl get -o json` holds no more than
//! one of ours.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bundle::{Answer, Bundle};
use crate::kind::Kind;
use crate::reduce::reduce;

/// The version of the form.
const FORMAT: u32 = 1;
/// LIMIT: a reduced pod has about 4 KiB, and no more than 20 000 are collected.
const MAX_FILE: u64 = 128 * 1024 * 1024;
const MAIN: &str = "bundle";
const OBJECTS: &str = "objects";

/// Why a folder cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder is there and not empty.
    #[error("`{}` is there and not empty", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// It has no `bundle.json`.
    #[error("`{}` is no bundle: it has no bundle.json", path.display())]
    NoBundle {
        /// The folder.
        path: PathBuf,
    },
    /// A file is larger than anything that we write.
    #[error("`{}` has more than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The system's word.
    #[error("{what} `{}`", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("`{}` is no part of a bundle: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A later form.
    #[error("`{}` has form {found}, and this release reads {FORMAT}", path.display())]
    OtherForm {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
}

impl FolderError {
    /// What to do next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Taken { .. } => Some("name a folder that is not there yet"),
            Self::NoBundle { .. } => Some("`casemate doctor --save DIR` writes one"),
            Self::OtherForm { .. } => Some("read it with the release that wrote it"),
            _ => None,
        }
    }

    /// Whether what the user named is wrong, rather than the system in trouble.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io { source, .. } if source.kind() != io::ErrorKind::NotFound)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Main {
    format: u32,
    #[serde(default)]
    casemate: String,
    bundle: Bundle,
}

/// Writes a bundle: to a folder beside it first, so that the name stands for a whole bundle or for nothing. Only the
/// user may read it: names of machines and images are nobody else's business.
///
/// # Errors
/// When the folder is taken, or the system refuses.
pub fn save(bundle: &Bundle, path: &Path) -> Result<(), FolderError> {
    let io = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| FolderError::Io { what, path, source }
    };
    match fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(FolderError::Taken { path: path.to_owned() }),
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("read", path)(error)),
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name else { return Err(FolderError::Taken { path: path.to_owned() }) };
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let attempt = || -> Result<(), FolderError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(beside.join(OBJECTS))
            .map_err(io("create", &beside))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let main = Main { format: FORMAT, casemate: version, bundle: bundle.clone() };
        write(&beside.join(format!("{MAIN}.json")), &main)?;
        for (kind, answer) in bundle.cluster.iter().flat_map(|cluster| &cluster.objects) {
            write(&beside.join(OBJECTS).join(format!("{}.json", kind.plural())), answer)?;
        }
        fs::rename(&beside, path).map_err(io("rename to", path))
    };
    attempt().inspect_err(|_| drop(fs::remove_dir_all(&beside)))
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), FolderError> {
    let io = |source| FolderError::Io { what: "write", path: path.to_owned(), source };
    let text = serde_json::to_string_pretty(value).map_err(|error| io(io::Error::other(error)))?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

/// Reads a bundle.
///
/// # Errors
/// When a file is missing, too long or malformed. A kind without a file was not asked for.
pub fn load(path: &Path) -> Result<Bundle, FolderError> {
    let Some(main) = read::<Main>(path, MAIN)? else {
        return Err(FolderError::NoBundle { path: path.to_owned() });
    };
    if main.format != FORMAT {
        return Err(FolderError::OtherForm { path: path.join(MAIN), found: main.format });
    }
    let mut bundle = main.bundle;
    if let Some(cluster) = &mut bundle.cluster {
        for kind in Kind::ALL {
            let answer: Option<Answer<Vec<Value>>> = read(&path.join(OBJECTS), kind.plural())?;
            let answer = answer.map(|answer| match answer {
                Answer::Known(objects) => Answer::Known(objects.into_iter().map(reduce).collect()),
                unknown @ Answer::Unknown(_) => unknown,
            });
            cluster.objects.extend(answer.map(|answer| (kind, answer)));
        }
    }
    for resource in bundle.work.iter_mut().flat_map(|work| &mut work.resources) {
        resource.object = reduce(resource.object.take());
    }
    Ok(bundle)
}

/// `NAME.json` or `NAME.yaml`, whichever is there.
fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, FolderError> {
    for end in ["json", "yaml"] {
        let path = folder.join(format!("{name}.{end}"));
        let Some(text) = read_text(&path)? else { continue };
        let malformed = |reason: String| FolderError::Malformed { path: path.clone(), reason };
        // Both by way of JSON values, in which an object's order is kept.
        let value: Value = if end == "json" {
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?
        } else {
            serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?
        };
        return T::deserialize(value).map(Some).map_err(|error| malformed(error.to_string()));
    }
    Ok(None)
}

fn read_text(path: &Path) -> Result<Option<String>, FolderError> {
    let io = |source| FolderError::Io { what: "read", path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        Err(error) => return Err(io(error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(io)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(FolderError::TooLong { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Cluster;
    use serde_json::json;

    fn bundle() -> Bundle {
        let mut cluster = Cluster { context: "c".to_owned(), ..Cluster::default() };
        cluster.objects.insert(Kind::Pods, Answer::Known(vec![json!({"metadata": {"name": "a"}})]));
        cluster.objects.insert(Kind::Nodes, Answer::Unknown("forbidden".to_owned()));
        Bundle { taken: 7, cluster: Some(cluster), ..Bundle::default() }
    }

    #[test]
    fn what_is_saved_is_what_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        save(&bundle(), &path).unwrap();
        assert_eq!(load(&path).unwrap(), bundle());
        assert!(matches!(save(&bundle(), &path), Err(FolderError::Taken { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_bundle_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("bundle.json");
        let said = || load(folder.path()).unwrap_err().to_string();
        assert!(said().contains("it has no bundle.json"), "{}", said());
        fs::write(&main, "{").unwrap();
        assert!(said().contains("is no part of a bundle"), "{}", said());
        fs::write(&main, r#"{"format": 9, "bundle": {"taken": 1}}"#).unwrap();
        assert!(said().contains("form 9"), "{}", said());
        fs::write(&main, r#"{"format": 1, "bundle": {"taken": 1, "more": 2}}"#).unwrap();
        assert!(said().contains("more"), "{}", said());
    }
}
