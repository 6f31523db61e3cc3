//! What can be wrong with an image, and what to do about it.

use std::path::PathBuf;

use super::document::DocumentError;
use super::layer::LayerError;

/// Why an image could not be resolved. Parts are boxed to keep it, and what has it inside, small.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No image reference.
    #[error("`{reference}` is not an image reference: {reason}")]
    Reference {
        /// The text.
        reference: String,
        /// Why.
        reason: String,
    },
    /// The registry does not have it.
    #[error("image `{reference}` does not exist")]
    NotFound {
        /// The image.
        reference: String,
    },
    /// The registry has the image and not this part of it.
    #[error("image `{reference}`: its {place} `{digest}` does not exist in `{registry}`")]
    PartNotFound {
        /// The image.
        reference: String,
        /// Manifest, configuration or layer.
        place: Place,
        /// Its digest.
        digest: Box<str>,
        /// Where it was looked for.
        registry: Box<str>,
    },
    /// The registry wants credentials, or hides what is not there behind that.
    #[error("registry `{registry}` does not give out `{reference}`")]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The image.
        reference: String,
    },
    /// The registry does not answer, or not in time.
    #[error("registry `{registry}` does not answer: {reason}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The innermost cause.
        reason: String,
    },
    /// A document that no image has, or that two programs would read as two images.
    #[error("image `{reference}`: {place}{}: {error}", of(digest.as_deref()))]
    Document {
        /// The image.
        reference: String,
        /// Index, manifest or configuration.
        place: Place,
        /// Its digest, where one was asked for.
        digest: Option<String>,
        /// What is wrong.
        error: Box<DocumentError>,
    },
    /// Content that is not what its digest says.
    #[error("image `{reference}`: {place}: the registry answered content of digest `{got}`, asked for `{expected}`")]
    WrongDigest {
        /// The image.
        reference: String,
        /// Manifest, configuration or layer.
        place: Place,
        /// The digest asked for.
        expected: Box<str>,
        /// That of what came.
        got: Box<str>,
    },
    /// Content that is longer or shorter than its descriptor says.
    #[error("image `{reference}`: {place} `{digest}` has {expected} bytes, {got} came")]
    WrongSize {
        /// The image.
        reference: String,
        /// Configuration, manifest or layer.
        place: Place,
        /// Its digest.
        digest: Box<str>,
        /// The size in the descriptor.
        expected: u64,
        /// What came, or as much of it as was read.
        got: u64,
    },
    /// A layer that is no file system.
    #[error("image `{reference}`: layer `{digest}`: {error}")]
    Layer {
        /// The image.
        reference: String,
        /// Its digest.
        digest: String,
        /// What is wrong.
        error: Box<LayerError>,
    },
    /// `/etc/passwd` or `/etc/group` cannot be told from the layers.
    #[error("image `{reference}`: `/{file}`: {reason}")]
    Users {
        /// The image.
        reference: String,
        /// The file, without the leading slash.
        file: Box<str>,
        /// What is wrong.
        reason: String,
    },
    /// An index without an image for linux/amd64, or an image for something else.
    #[error("image `{reference}` is not built for linux/amd64{}", for_what(found))]
    NoPlatform {
        /// The image.
        reference: String,
        /// What it is built for.
        found: Vec<String>,
    },
    /// Credentials that are there and cannot be used.
    #[error("credentials for registry `{registry}`: {reason}")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// A file of the client's own configuration.
    #[error("`{}`: {reason}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A part of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// What a tag names: an index or a manifest.
    Top,
    /// The manifest for one platform.
    Manifest,
    /// The configuration.
    Configuration,
    /// A layer.
    Layer,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Top => "index or manifest",
            Self::Manifest => "manifest",
            Self::Configuration => "configuration",
            Self::Layer => "layer",
        })
    }
}

fn of(digest: Option<&str>) -> String {
    digest.map(|digest| format!(" `{digest}`")).unwrap_or_default()
}

fn for_what(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(", but for {}", found.join(", ")) }
}

impl RegistryError {
    /// Whether this means "could not tell" rather than "no".
    pub fn could_not_tell(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { reference } if reference.contains("@sha256:") => Some(
                "the image is pinned to a digest that the registry does not have (any more); remove `@sha256:…` from \
                 `image` to pin the tag again"
                    .into(),
            ),
            Self::NotFound { .. } => Some("push it first, or correct `image`".into()),
            Self::Unreachable { registry, .. } => {
                Some(format!("start the registry at `{registry}`, or wait and repeat"))
            }
            Self::Unauthorized { registry, .. } => {
                Some(format!("run `docker login {registry}`, or correct `image`: registries hide what is not there"))
            }
            Self::PartNotFound { .. } | Self::WrongDigest { .. } | Self::WrongSize { .. } => {
                Some("the registry or a proxy before it is broken; push the image again, or ask its operator".into())
            }
            Self::Document { error, .. } => error.hint(),
            Self::NoPlatform { .. } => Some("build it with `--platform linux/amd64`".into()),
            Self::Users { .. } => Some(
                "set `runAsUser`, `runAsGroup` and `supplementalGroupsPolicy: Strict`, then the image's files do not \
                 matter"
                    .into(),
            ),
            _ => None,
        }
    }
}
