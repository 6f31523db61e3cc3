//! From files to a running model: open what is sealed, compile, match labels.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::{Digest, Secret};

use crate::model::{Model, ModelError};
use crate::sealed::{ModelKey, OpenLimits, SealFileError, SealOptions, SealedError, is_sealed, open_file_in_memory};

/// LIMIT: a label is a word or two; a thousand classes of them (ImageNet) make some 30 KiB.
const MAX_LABELS_FILE: u64 = 1024 * 1024;
/// LIMIT: the longest label that stands in an answer.
const MAX_LABEL: usize = 200;

/// What to load.
#[derive(Debug, Clone)]
pub struct Source {
    /// The model, sealed or not.
    pub model: PathBuf,
    /// The key of a sealed model.
    pub key_file: Option<PathBuf>,
    /// Names of the classes, one a line.
    pub labels: Option<PathBuf>,
    /// The name to serve it under; otherwise the sealed name, or the file's.
    pub name: Option<String>,
    /// LIMIT: largest model in bytes; it is in memory once as a file and once compiled.
    pub max_model_bytes: u64,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("read {what} `{}`", path.display())]
    Read {
        /// Which.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The sealed model or its key.
    #[error(transparent)]
    Sealed(#[from] SealFileError),
    /// A sealed model without a key.
    #[error("model `{}` is sealed and no key file is given", path.display())]
    KeyMissing {
        /// The model.
        path: PathBuf,
    },
    /// A key without a sealed model: somebody put another file in its place.
    #[error("model `{}` is not sealed although a key file is given", path.display())]
    NotSealed {
        /// The model.
        path: PathBuf,
    },
    /// Too large.
    #[error("model `{}` has more than {max} bytes", path.display())]
    TooLarge {
        /// The model.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// A name that cannot stand in a URL.
    #[error("model name")]
    Name(#[source] SealedError),
    /// The model's contents.
    #[error("model `{}`", path.display())]
    Model {
        /// The model.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ModelError,
    },
    /// The labels' contents.
    #[error("labels `{}`: {what}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl LoadError {
    /// Whether the input is wrong (exit 1), as opposed to a failure around it (exit 2).
    pub fn is_input(&self) -> bool {
        use std::io::ErrorKind as K;
        match self {
            Self::Read { source, .. } => {
                matches!(
                    source.kind(),
                    K::NotFound | K::PermissionDenied | K::IsADirectory | K::NotADirectory | K::InvalidInput
                )
            }
            Self::Sealed(error) => error.is_input(),
            _ => true,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Sealed(error) => error.hint(),
            Self::KeyMissing { .. } => {
                Some("name the key with `--key-file`; in a pod it is `/casemate/secrets/<name>`")
            }
            Self::NotSealed { .. } => Some("seal it with `casemate model seal`, or leave `--key-file` out"),
            Self::TooLarge { .. } => Some("raise `--max-model-bytes`, and the pod's memory with it"),
            Self::Labels { .. } => Some("one label a line, as many lines as the model has classes"),
            _ => None,
        }
    }
}

/// A model with its labels.
pub(super) struct Loaded {
    pub(super) model: Model,
    /// One for each class, where there are labels.
    pub(super) labels: Option<Vec<String>>,
}

/// Loads everything. Blocks; the key and the plaintext are gone from memory when it returns, but for what the compiled
/// model holds.
pub(super) fn load(source: &Source) -> Result<Loaded, LoadError> {
    let path = &source.model;
    let (bytes, sealed_name, version) = read_model(source)?;
    let name = match (&source.name, sealed_name) {
        (Some(name), _) => SealOptions::new(name.as_str()).checked().map_err(LoadError::Name)?.name,
        (None, Some(name)) => name,
        (None, None) => SealOptions::named_after(path).name,
    };
    let model = Model::load(bytes.expose(), &name, version)
        .map_err(|source| LoadError::Model { path: path.clone(), source })?;
    let labels = source.labels.as_deref().map(|path| read_labels(path, &model)).transpose()?;
    Ok(Loaded { model, labels })
}

fn read_model(source: &Source) -> Result<(Secret, Option<String>, Digest), LoadError> {
    let path = &source.model;
    let max = source.max_model_bytes;
    let read = |error| LoadError::Read { what: "model", path: path.clone(), source: error };
    let mut file = File::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    file.by_ref().take(8).read_to_end(&mut bytes).map_err(read)?;
    match (is_sealed(&bytes), &source.key_file) {
        (true, Some(key_file)) => {
            let key = ModelKey::from_file(key_file)?;
            let opened = open_file_in_memory(path, &key, OpenLimits { max_plaintext: max })?;
            Ok((opened.plaintext, Some(opened.info.name), opened.info.digest))
        }
        (true, None) => Err(LoadError::KeyMissing { path: path.clone() }),
        (false, Some(_)) => Err(LoadError::NotSealed { path: path.clone() }),
        (false, None) => {
            file.take(max).read_to_end(&mut bytes).map_err(read)?;
            if bytes.len() as u64 > max {
                return Err(LoadError::TooLarge { path: path.clone(), max });
            }
            let version = Digest::of(&bytes);
            Ok((Secret::new(bytes), None, version))
        }
    }
}

fn read_labels(path: &Path, model: &Model) -> Result<Vec<String>, LoadError> {
    let read = |error| LoadError::Read { what: "labels", path: path.to_owned(), source: error };
    let wrong = |what: String| LoadError::Labels { path: path.to_owned(), what };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(read)?;
    file.take(MAX_LABELS_FILE + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > MAX_LABELS_FILE {
        return Err(wrong(format!("more than {MAX_LABELS_FILE} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8 text".into()))?;
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    for (number, label) in (1..).zip(&labels) {
        if label.is_empty() {
            return Err(wrong(format!("line {number} is empty")));
        }
        if label.len() > MAX_LABEL || label.chars().any(char::is_control) {
            return Err(wrong(format!("line {number} has more than {MAX_LABEL} bytes or a control character")));
        }
    }
    let fits = model.outputs.iter().any(|output| output.row == [labels.len()]);
    if !fits {
        let classes: Vec<String> =
            model.outputs.iter().map(|output| format!("`{}` {}", output.name, output.row_len())).collect();
        return Err(wrong(format!("{} labels, but the model's classes are {}", labels.len(), classes.join(", "))));
    }
    Ok(labels)
}
