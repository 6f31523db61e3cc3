//! Images, pulled inside the guest by digest and kept unpacked in a cache that the pods of one engine share.
//!
//! Nothing a registry says is believed: the manifest must have the digest that the policy allowed, every layer the
//! digest that the manifest names. Layers are unpacked once, each into a folder of its own, and stacked by overlayfs.
//!
//! What is deliberately absent: protection of the cache against root of this machine. A layer is checked when it is
//! unpacked and not when it is used; on a machine with a TEE the layers lie in guest memory instead. Credentials for
//! registries are absent too: images are pulled as anybody may.

mod unpack;

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use protocol::Digest;
use rustix::fs::FlockOperation;
use tokio::io::AsyncWrite;

use crate::agent_api::{AgentError, AgentErrorCode};

/// LIMIT: the distribution specification lets registries refuse manifests over 4 MiB.
const MAX_MANIFEST: usize = 4 * 1024 * 1024;
/// LIMIT: overlayfs takes 500 lower directories; Docker stops at 127.
const MAX_LAYERS: usize = 127;
/// LIMIT: one layer as it is pulled. The largest in use hold models of some ten GiB.
const MAX_LAYER: u64 = 64 * 1024 * 1024 * 1024;
/// A registry that sends nothing for this long is down.
const PATIENCE: Duration = Duration::from_secs(20);

const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The layers of an image, unpacked: lowest first.
pub(super) async fn layers(reference: &str, cache: &Path) -> Result<Vec<PathBuf>, AgentError> {
    let image: Reference = reference.parse().map_err(|error| fault(reference, &error))?;
    let digest = image.digest().ok_or_else(|| fault(reference, &"it does not name a digest"))?.to_owned();
    let puller = Puller { client: client(&image), image, cache: cache.to_owned(), reference: reference.to_owned() };
    let manifest = puller.manifest(&digest).await?;
    if manifest.layers.is_empty() || manifest.layers.len() > MAX_LAYERS {
        return Err(fault(reference, &format!("{} layers, from 1 to {MAX_LAYERS} are taken", manifest.layers.len())));
    }
    let mut folders = Vec::new();
    for layer in &manifest.layers {
        folders.push(puller.layer(layer).await?);
    }
    Ok(folders)
}

fn fault(reference: &str, reason: &dyn std::fmt::Display) -> AgentError {
    AgentError::failed(format!("image `{reference}`: {reason}"))
}

fn client(image: &Reference) -> Client {
    let registry = image.resolve_registry();
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host).trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    Client::new(ClientConfig {
        // On loopback nobody listens in, and nobody has certificates.
        protocol: if loopback { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(PATIENCE),
        read_timeout: Some(PATIENCE),
        ..ClientConfig::default()
    })
}

struct Puller {
    client: Client,
    image: Reference,
    cache: PathBuf,
    reference: String,
}

/// The hex part of a `sha256:` digest, which names files in the cache.
fn sha256_hex(digest: &str) -> Option<Digest> {
    digest.strip_prefix("sha256:")?.parse().ok()
}

impl Puller {
    fn fault(&self, reason: impl std::fmt::Display) -> AgentError {
        fault(&self.reference, &reason)
    }

    /// The manifest with this digest; of an index, the one for this machine.
    async fn manifest(&self, digest: &str) -> Result<OciImageManifest, AgentError> {
        let bytes = self.manifest_bytes(digest).await?;
        match serde_json::from_slice(&bytes).map_err(|error| self.fault(error))? {
            OciManifest::Image(manifest) => Ok(manifest),
            OciManifest::ImageIndex(index) => {
                let wanted = oci_client::client::linux_amd64_resolver(&index.manifests)
                    .ok_or_else(|| self.fault("it has no manifest for linux/amd64"))?;
                let bytes = self.manifest_bytes(&wanted).await?;
                match serde_json::from_slice(&bytes).map_err(|error| self.fault(error))? {
                    OciManifest::Image(manifest) => Ok(manifest),
                    OciManifest::ImageIndex(_) => Err(self.fault("an index inside an index")),
                }
            }
        }
    }

    async fn manifest_bytes(&self, digest: &str) -> Result<Vec<u8>, AgentError> {
        let expected = sha256_hex(digest).ok_or_else(|| self.fault(format!("`{digest}` is no SHA-256 digest")))?;
        let file = self.cache.join("manifests").join(expected.to_string());
        if let Ok(bytes) = std::fs::read(&file)
            && Digest::of(&bytes) == expected
        {
            return Ok(bytes);
        }
        self.client
            .auth(&self.image, &RegistryAuth::Anonymous, RegistryOperation::Pull)
            .await
            .map_err(|error| self.registry_fault(&error))?;
        let at = self.image.clone_with_digest(digest.to_owned());
        let (bytes, _) = self
            .client
            .pull_manifest_raw(&at, &RegistryAuth::Anonymous, &MANIFEST_TYPES)
            .await
            .map_err(|error| self.registry_fault(&error))?;
        let got = Digest::of(&bytes);
        if got != expected {
            return Err(self.fault(format!("the registry answered with a manifest of digest sha256:{got}")));
        }
        if bytes.len() > MAX_MANIFEST {
            return Err(self.fault(format!("manifest of {} bytes, at most {MAX_MANIFEST} are read", bytes.len())));
        }
        // A cache that cannot be written costs time, nothing else.
        let _ = std::fs::create_dir_all(self.cache.join("manifests"));
        let aside = file.with_extension(std::process::id().to_string());
        if std::fs::write(&aside, &bytes).is_ok() {
            let _ = std::fs::rename(&aside, &file);
        }
        Ok(bytes.to_vec())
    }

    /// A layer's folder in the cache; pulls and unpacks it when it is not there. Of several pods that want one layer,
    /// the first does the work and the others wait for its lock.
    async fn layer(&self, layer: &OciDescriptor) -> Result<PathBuf, AgentError> {
        let digest = sha256_hex(&layer.digest)
            .ok_or_else(|| self.fault(format!("layer `{}` has no SHA-256 digest", layer.digest)))?;
        let folder = self.cache.join("layers").join(digest.to_string());
        if folder.is_dir() {
            return Ok(folder);
        }
        let size = u64::try_from(layer.size).ok().filter(|size| *size <= MAX_LAYER);
        let size = size.ok_or_else(|| self.fault(format!("layer of {} bytes, at most {MAX_LAYER}", layer.size)))?;
        let (layers, aside) = (self.cache.join("layers"), self.cache.join("tmp"));
        for path in [&layers, &aside] {
            std::fs::create_dir_all(path).map_err(|error| self.fault(error))?;
        }
        let lock = std::fs::File::create(aside.join(format!("{digest}.lock"))).map_err(|error| self.fault(error))?;
        let lock = tokio::task::spawn_blocking(move || {
            rustix::fs::flock(lock.as_fd(), FlockOperation::LockExclusive).map(|()| lock)
        })
        .await
        .map_err(|error| self.fault(error))?
        .map_err(|error| self.fault(error))?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let (blob, part) = (aside.join(format!("{digest}.blob")), aside.join(format!("{digest}.part")));
        let result = self.pull_layer(layer, size, &blob, &part, &folder).await;
        let _ = std::fs::remove_file(&blob);
        let _ = std::fs::remove_dir_all(&part);
        drop(lock);
        result.map(|()| folder)
    }

    async fn pull_layer(
        &self,
        layer: &OciDescriptor,
        size: u64,
        blob: &Path,
        part: &Path,
        folder: &Path,
    ) -> Result<(), AgentError> {
        let _ = std::fs::remove_dir_all(part);
        let file = tokio::fs::File::create(blob).await.map_err(|error| self.fault(error))?;
        self.client
            .auth(&self.image, &RegistryAuth::Anonymous, RegistryOperation::Pull)
            .await
            .map_err(|error| self.registry_fault(&error))?;
        // `pull_blob` compares what came with the descriptor's digest.
        self.client
            .pull_blob(&self.image, layer, Limited { inner: file, left: size })
            .await
            .map_err(|error| self.registry_fault(&error))?;
        let (from, to) = (blob.to_owned(), part.to_owned());
        tokio::task::spawn_blocking(move || unpack::layer(&from, &to))
            .await
            .map_err(|error| self.fault(error))?
            .map_err(|error| self.fault(format!("layer {}: {error}", layer.digest)))?;
        std::fs::rename(part, folder).map_err(|error| self.fault(error))
    }

    fn registry_fault(&self, error: &OciDistributionError) -> AgentError {
        let code = match error {
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::ServerError { code: 404, .. } => AgentErrorCode::ImageMissing,
            OciDistributionError::RegistryError { envelope, .. }
                if envelope.errors.iter().any(|error| {
                    matches!(
                        error.code,
                        OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::BlobUnknown
                    )
                }) =>
            {
                AgentErrorCode::ImageMissing
            }
            OciDistributionError::RequestError(_) | OciDistributionError::ServerError { .. } => {
                AgentErrorCode::RegistryDown
            }
            _ => AgentErrorCode::Failed,
        };
        let mut reason = error.to_string();
        // The connection's own words are the last of the chain.
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        AgentError { code, ..self.fault(reason) }
    }
}

/// Takes no more bytes than the manifest announced.
struct Limited<W> {
    inner: W,
    left: u64,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Limited<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return Poll::Ready(Err(std::io::Error::other("the layer is longer than its manifest says")));
        }
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.left = self.left.saturating_sub(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn an_image_without_a_digest_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        for reference in ["127.0.0.1:1/a:latest", "a b", ""] {
            assert!(layers(reference, cache.path()).await.is_err(), "{reference}");
        }
    }

    #[tokio::test]
    async fn a_registry_that_is_down_is_not_a_missing_image() {
        let cache = tempfile::tempdir().unwrap();
        // Port 1 of loopback: nothing listens there.
        let reference = format!("127.0.0.1:1/a@sha256:{}", "0".repeat(64));
        let error = layers(&reference, cache.path()).await.unwrap_err();
        assert_eq!(error.code, AgentErrorCode::RegistryDown, "{error}");
    }

    #[tokio::test]
    async fn a_cached_manifest_that_was_changed_is_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"{}");
        std::fs::create_dir_all(cache.path().join("manifests")).unwrap();
        std::fs::write(cache.path().join("manifests").join(digest.to_string()), b"{ }").unwrap();
        let error = layers(&format!("127.0.0.1:1/a@sha256:{digest}"), cache.path()).await.unwrap_err();
        assert_eq!(error.code, AgentErrorCode::RegistryDown, "{error}");
    }

    #[tokio::test]
    async fn a_layer_longer_than_announced_is_cut_off() {
        let mut limited = Limited { inner: Vec::new(), left: 3 };
        limited.write_all(b"abc").await.unwrap();
        assert!(limited.write_all(b"d").await.is_err());
        assert_eq!(limited.inner, b"abc");
    }
}
