//! Why nothing was generated.

use std::path::PathBuf;

use protocol::initdata::InitdataError;
use protocol::manifest::ManifestError;

use crate::images::RegistryError;
use crate::request::RequestError;

/// A place in a file of the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What is wrong with a pod, before it is known where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// From the pod: `spec.containers.app.resources`.
    pub(super) path: String,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

/// Why nothing was generated. Nothing was written, either.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A file or directory cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file cannot be written. All files are as they were.
    #[error("write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A path whose content cannot be taken.
    #[error("`{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// No YAML under the paths.
    #[error("no YAML files in `{}`", path.display())]
    NoFiles {
        /// The path.
        path: PathBuf,
    },
    /// No pod that wants to be confidential.
    #[error("none of the resources has `runtimeClassName: casemate`")]
    NoWorkload,
    /// A syntax error.
    #[error("{place}:{column}: {reason}")]
    Yaml {
        /// Where.
        place: Place,
        /// The column, from 1.
        column: usize,
        /// The parser's words.
        reason: String,
    },
    /// A document that is no Kubernetes object, or of a kind that is not known.
    #[error("{place}: {reason}")]
    Object {
        /// Where.
        place: Place,
        /// What is wrong with it.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A resource that cannot be made confidential as it is.
    #[error("{place}: {resource}: {reason}")]
    Resource {
        /// Where.
        place: Place,
        /// `Deployment/inference`.
        resource: String,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A container that the policy could not bind.
    #[error("{place}: {resource}")]
    Request {
        /// Where.
        place: Place,
        /// `Deployment/inference`.
        resource: String,
        /// Why.
        source: Box<RequestError>,
    },
    /// An image that cannot be pinned.
    #[error("{place}: {resource}")]
    Image {
        /// Where.
        place: Place,
        /// `Deployment/inference`.
        resource: String,
        /// Why.
        source: Box<RegistryError>,
    },
    /// Our own image cannot be pinned.
    #[error("`pod_image` of `{}`", file.display())]
    PodImage {
        /// The settings, from which it is.
        file: PathBuf,
        /// Why.
        source: Box<RegistryError>,
    },
    /// An initdata document that is too long for an annotation.
    #[error("{resource}")]
    Initdata {
        /// `Deployment/inference`.
        resource: String,
        /// Why.
        source: InitdataError,
    },
    /// The manifest that is there, or the one that would be written, is not valid.
    #[error("`{}`", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// Keys or a threshold were given that are not those of the manifest.
    #[error("`{field}`: {got} given, but `{}` has {manifest}", path.display())]
    Quorum {
        /// The manifest.
        path: PathBuf,
        /// `owners` or `seed_share_holders`.
        field: &'static str,
        /// What the caller gave.
        got: String,
        /// What the manifest has.
        manifest: String,
    },
    /// A new manifest without a key.
    #[error("`{field}`: a new manifest needs at least one key")]
    NoKeys {
        /// `owners` or `seed_share_holders`.
        field: &'static str,
    },
    /// The settings are not valid.
    #[error("{place}: {reason}")]
    Settings {
        /// Where.
        place: Place,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A namespace that cannot be one.
    #[error("`{name}` is no name of a namespace")]
    Namespace {
        /// The name.
        name: String,
    },
    /// A platform that nothing can be generated for.
    #[error("platform `{name}`: {reason}")]
    Platform {
        /// The name.
        name: String,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Reference values that the caller must give are missing.
    #[error("reference values for `{name}` are missing")]
    NoReferenceValues {
        /// The platform.
        name: String,
    },
    /// No randomness for the deployment id.
    #[error("draw a deployment id")]
    Random {
        /// The system's words.
        source: std::io::Error,
    },
}

impl GenerateError {
    /// Whether this means "could not tell" (exit 2) rather than a wrong input (exit 1).
    pub fn could_not_tell(&self) -> bool {
        match self {
            Self::Image { source, .. } | Self::PodImage { source, .. } => source.could_not_tell(),
            Self::Write { .. } | Self::Random { .. } => true,
            Self::Read { source, .. } => source.kind() != std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { hint, .. } => Some(hint.clone()),
            Self::Object { hint, .. } | Self::Resource { hint, .. } => hint.clone(),
            Self::Request { source, .. } => source.hint(),
            Self::Image { source, .. } => source.hint().or_else(|| match source.as_ref() {
                RegistryError::Reference { .. } => {
                    Some("images are named as in `registry.example:5000/shop/web:1.2`".into())
                }
                _ => None,
            }),
            Self::PodImage { source, .. } => source.hint().or_else(|| {
                Some("`pod_image` in `settings.json` names Casemate's own image; `--pod-image` takes another".into())
            }),
            Self::Yaml { reason, .. } => yaml_hint(reason),
            Self::NoWorkload => {
                Some("set `spec.template.spec.runtimeClassName: casemate` on what is to be confidential".into())
            }
            Self::Platform { hint, .. } | Self::Settings { hint, .. } => hint.clone(),
            Self::Quorum { field, .. } => Some(format!(
                "edit `{field}` in manifest.json if they are to change, or remove the file to begin a new deployment"
            )),
            Self::Manifest { .. } => Some("correct it, or remove it to begin a new deployment".into()),
            _ => None,
        }
    }
}

/// What to do about a syntax error of YAML, by the parser's words.
fn yaml_hint(reason: &str) -> Option<String> {
    let hints = [
        ("is there twice", "keep one of the two"),
        ("tabs disallowed", "indent with spaces"),
        ("repetitions than a file of resources has", "write out what its aliases stand for, or make more files of it"),
        (
            "mapping values are not allowed",
            "indent the lines of one mapping alike, and put text with `: ` in it between quotes",
        ),
    ];
    hints.iter().find(|(word, _)| reason.contains(word)).map(|(_, hint)| (*hint).to_owned())
}
