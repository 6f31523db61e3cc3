//! Images: references, and what a registry says of them.
//!
//! Everything a registry answers is checked against the digest that asked for it; only the step from a tag to a digest
//! rests on the registry's word, and `generate` writes that digest down for all to see.

use std::time::Duration;

use futures_util::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use protocol::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// LIMIT: the OCI distribution specification asks registries to take manifests of 4 MiB; a configuration is smaller.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// LIMIT: a registry that accepts no connection for this long is down for the person who waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// LIMIT: three small documents are read; a minute is enough for a slow registry behind a slow token service.
const RESOLVE_TIMEOUT: Duration = Duration::from_mins(1);
/// LIMIT: a reference is a host of 255, a repository of 255, a tag of 128 and a digest of 71 characters.
const MAX_REFERENCE: usize = 768;

const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The parts of an image's configuration that end up in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// The command.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// `user[:group]`, names or numbers, or empty.
    #[serde(default)]
    pub user: String,
    /// The working directory, or empty.
    #[serde(default)]
    pub working_dir: String,
}

impl ImageConfig {
    /// Reads an OCI or Docker image configuration. `None` when it is not one.
    pub fn from_oci(document: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(document).ok()?;
        let config = match document.get("config") {
            None | Some(Value::Null) => &Value::Null,
            Some(config) => config.is_object().then_some(config)?,
        };
        let list = |field: &str| match &config[field] {
            Value::Null => Some(Vec::new()),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let text = |field: &str| match &config[field] {
            Value::Null => Some(String::new()),
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        document.is_object().then_some(())?;
        Some(Self {
            env: list("Env")?,
            entrypoint: list("Entrypoint")?,
            cmd: list("Cmd")?,
            user: text("User")?,
            working_dir: text("WorkingDir")?,
        })
    }
}

/// An image as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// `registry/name:tag@sha256:…`, in full.
    pub reference_with_digest: String,
    /// Its configuration for linux/amd64.
    pub config: ImageConfig,
}

/// Why an image could not be resolved.
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
    /// The registry answers what it should not.
    #[error("image `{reference}`: {what}")]
    Malformed {
        /// The image.
        reference: String,
        /// What is wrong.
        what: String,
    },
    /// Content that is not what its digest says.
    #[error("image `{reference}`: the registry answered other content than that of digest `{digest}`")]
    WrongDigest {
        /// The image.
        reference: String,
        /// The digest asked for.
        digest: String,
    },
    /// An index without an image for linux/amd64.
    #[error("image `{reference}` is not built for linux/amd64")]
    NoPlatform {
        /// The image.
        reference: String,
    },
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
            Self::Unauthorized { .. } => Some("registries that ask for credentials are not supported yet".into()),
            _ => None,
        }
    }
}

/// A client of image registries. Plain HTTP for loopback addresses, HTTPS for all others.
#[derive(Default)]
pub struct Registry {}

impl Registry {
    /// A client without credentials.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves a reference to a digest and reads the image's configuration.
    pub async fn resolve(&self, reference: &str) -> Result<ResolvedImage, RegistryError> {
        let parsed = parse(reference)?;
        let unreachable = |_| RegistryError::Unreachable {
            registry: parsed.resolve_registry().to_owned(),
            reason: format!("no answer within {} seconds", RESOLVE_TIMEOUT.as_secs()),
        };
        tokio::time::timeout(RESOLVE_TIMEOUT, resolve(reference, &parsed)).await.map_err(unreachable)?
    }
}

fn parse(reference: &str) -> Result<Reference, RegistryError> {
    let shown: String = reference.chars().take(80).collect();
    let refuse = |reason: String| RegistryError::Reference { reference: shown.clone(), reason };
    if reference.len() > MAX_REFERENCE {
        return Err(refuse(format!("longer than {MAX_REFERENCE} characters")));
    }
    let parsed: Reference = reference.parse().map_err(|error: oci_client::ParseError| refuse(error.to_string()))?;
    if parsed.digest().is_some_and(|digest| !is_sha256(digest)) {
        return Err(refuse("only sha256 digests are supported".into()));
    }
    Ok(parsed)
}

fn is_sha256(digest: &str) -> bool {
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digest.strip_prefix("sha256:").is_some_and(is_hex)
}

/// Whether a registry's host is this machine, where TLS protects nothing.
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = registry.strip_prefix('[').map_or_else(
        || registry.split(':').next().unwrap_or_default(),
        |rest| rest.split(']').next().unwrap_or_default(),
    );
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn resolve(text: &str, reference: &Reference) -> Result<ResolvedImage, RegistryError> {
    let registry = reference.resolve_registry();
    let protocol = if is_loopback(registry) { ClientProtocol::Http } else { ClientProtocol::Https };
    let client = Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(CONNECT_TIMEOUT),
        ..ClientConfig::default()
    });
    let fetch = Fetch { client, reference: text, registry };
    let top = fetch.manifest(reference).await?;
    // The digest is computed here; what the registry says of it is not asked for.
    let digest = format!("sha256:{}", Digest::of(&top));
    let document = fetch.json(&top)?;
    let manifest = match document["manifests"].as_array() {
        None => document,
        Some(entries) => {
            let fits =
                |entry: &&Value| entry["platform"]["os"] == "linux" && entry["platform"]["architecture"] == "amd64";
            let digest = entries.iter().find(fits).and_then(|entry| entry["digest"].as_str());
            let digest = digest.ok_or_else(|| RegistryError::NoPlatform { reference: text.to_owned() })?;
            if !is_sha256(digest) {
                return Err(fetch.malformed("the index names a manifest without a sha256 digest"));
            }
            fetch.json(&fetch.manifest(&reference.clone_with_digest(digest.to_owned())).await?)?
        }
    };
    let config = manifest["config"]["digest"].as_str().filter(|digest| is_sha256(digest));
    let config = config.ok_or_else(|| fetch.malformed("the manifest names no configuration"))?;
    let document = fetch.blob(reference, config).await?;
    let config = ImageConfig::from_oci(&document).ok_or_else(|| fetch.malformed("its configuration is malformed"))?;
    let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let reference_with_digest = format!("{}/{}{tag}@{digest}", reference.registry(), reference.repository());
    Ok(ResolvedImage { reference_with_digest, config })
}

struct Fetch<'a> {
    client: Client,
    reference: &'a str,
    registry: &'a str,
}

impl Fetch<'_> {
    fn malformed(&self, what: &str) -> RegistryError {
        RegistryError::Malformed { reference: self.reference.to_owned(), what: what.to_owned() }
    }

    fn json(&self, document: &[u8]) -> Result<Value, RegistryError> {
        serde_json::from_slice(document).map_err(|_| self.malformed("its manifest is not JSON"))
    }

    async fn manifest(&self, reference: &Reference) -> Result<Vec<u8>, RegistryError> {
        let auth = RegistryAuth::Anonymous;
        let answer = self.client.pull_manifest_raw(reference, &auth, &MANIFEST_TYPES).await;
        let (document, _) = answer.map_err(|error| self.error(&error, reference.digest()))?;
        if document.len() > MAX_DOCUMENT {
            return Err(self.malformed("its manifest is longer than 4 MiB"));
        }
        self.check(&document, reference.digest())?;
        Ok(document.to_vec())
    }

    async fn blob(&self, reference: &Reference, digest: &str) -> Result<Vec<u8>, RegistryError> {
        let descriptor = OciDescriptor { digest: digest.to_owned(), ..OciDescriptor::default() };
        let stream = self.client.pull_blob_stream(reference, &descriptor).await;
        let mut stream = stream.map_err(|error| self.error(&error, Some(digest)))?;
        let mut document = Vec::new();
        while let Some(bytes) = stream.next().await {
            let unreachable = |error: std::io::Error| {
                if error.to_string().to_lowercase().contains("digest") {
                    return self.wrong_digest(digest);
                }
                RegistryError::Unreachable { registry: self.registry.to_owned(), reason: error.to_string() }
            };
            document.extend_from_slice(&bytes.map_err(unreachable)?);
            if document.len() > MAX_DOCUMENT {
                return Err(self.malformed("its configuration is longer than 4 MiB"));
            }
        }
        self.check(&document, Some(digest))?;
        Ok(document)
    }

    fn wrong_digest(&self, digest: &str) -> RegistryError {
        RegistryError::WrongDigest { reference: self.reference.to_owned(), digest: digest.to_owned() }
    }

    fn check(&self, content: &[u8], digest: Option<&str>) -> Result<(), RegistryError> {
        match digest {
            Some(digest) if digest != format!("sha256:{}", Digest::of(content)) => Err(self.wrong_digest(digest)),
            _ => Ok(()),
        }
    }

    fn error(&self, error: &OciDistributionError, digest: Option<&str>) -> RegistryError {
        let reference = self.reference.to_owned();
        let unreachable = |reason: String| RegistryError::Unreachable { registry: self.registry.to_owned(), reason };
        match error {
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => RegistryError::NotFound { reference },
            OciDistributionError::RegistryError { envelope, .. } => {
                let is = |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
                use OciErrorCode::{
                    BlobUnknown, Denied, ManifestUnknown, NameInvalid, NameUnknown, NotFound, Unauthorized,
                };
                if is(&[ManifestUnknown, NameUnknown, NotFound, BlobUnknown, NameInvalid]) {
                    RegistryError::NotFound { reference }
                } else if is(&[Unauthorized, Denied]) {
                    RegistryError::Unauthorized { registry: self.registry.to_owned(), reference }
                } else {
                    unreachable(envelope.to_string())
                }
            }
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                RegistryError::Unauthorized { registry: self.registry.to_owned(), reference }
            }
            OciDistributionError::RequestError(error) => {
                let mut cause: &dyn std::error::Error = error;
                while let Some(next) = cause.source() {
                    cause = next;
                }
                unreachable(cause.to_string())
            }
            OciDistributionError::ServerError { code, .. } => unreachable(format!("HTTP status {code}")),
            OciDistributionError::IoError(error) => unreachable(error.to_string()),
            OciDistributionError::DigestError(_) => match digest {
                Some(digest) => self.wrong_digest(digest),
                None => self.malformed("the registry answered a digest that does not fit its content"),
            },
            other => self.malformed(&other.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
