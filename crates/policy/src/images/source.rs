//! A registry or a layout, asked for one image: documents and blobs, each checked against its descriptor.

use std::io::Read as _;

use bytes::Bytes;
use protocol::Digest;
use reqwest::Method;

use super::document::{DocumentError, MANIFEST_TYPES, MAX_DOCUMENT};
use super::http::{self, Client, Endpoint, Failure};
use super::layout::Layout;
use super::reference::Reference;
use super::{Place, RegistryError};

/// Read from a layout at once.
const CHUNK: usize = 128 * 1024;

/// Where one image comes from.
pub(super) enum Source<'a> {
    Registry { client: &'a Client, reference: &'a Reference },
    Layout { layout: &'a Layout, tag: Option<&'a str> },
}

/// One image at its source.
pub(super) struct Image<'a> {
    /// The reference as the user wrote it.
    pub(super) name: &'a str,
    pub(super) source: Source<'a>,
}

/// A document and what its source says that it is.
pub(super) struct Document {
    pub(super) content: Vec<u8>,
    pub(super) digest: String,
    pub(super) content_type: Option<String>,
}

/// The digest of content, as images write it.
pub(super) fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", Digest::of(content))
}

impl Image<'_> {
    pub(super) fn refuse(&self, place: Place, digest: Option<&str>, error: DocumentError) -> RegistryError {
        RegistryError::Document {
            reference: self.name.to_owned(),
            place,
            digest: digest.map(str::to_owned),
            error: error.into(),
        }
    }

    fn failed(&self, registry: &str, place: Place, digest: Option<&str>, failure: Failure) -> RegistryError {
        let reference = self.name.to_owned();
        let registry = registry.to_owned();
        match (failure, digest) {
            (Failure::NotFound, Some(digest)) if place != Place::Top => {
                RegistryError::PartNotFound { reference, place, digest: digest.into(), registry: registry.into() }
            }
            (Failure::NotFound, _) => RegistryError::NotFound { reference },
            (Failure::Unauthorized, _) => RegistryError::Unauthorized { registry, reference },
            (Failure::Unreachable(reason), _) => RegistryError::Unreachable { registry, reason },
            (Failure::Refused(error), _) => error,
        }
    }

    fn layout_error(&self, layout: &std::path::Path, reason: String) -> RegistryError {
        RegistryError::Configuration { path: layout.to_owned(), reason: format!("image `{}`: {reason}", self.name) }
    }

    /// The digest that the tag has now, where that can be told without reading what it names.
    pub(super) async fn digest_of_tag(&self) -> Option<String> {
        match &self.source {
            Source::Registry { client, reference } => {
                let at = Endpoint::registry(reference.host());
                let path = format!("manifests/{}", reference.tag()?);
                let answer = client.get(&at, reference.repository(), &path, Method::HEAD, &MANIFEST_TYPES).await;
                http::said_digest(&answer.ok()?)
            }
            Source::Layout { .. } => None,
        }
    }

    /// What the tag names.
    pub(super) async fn by_tag(&self) -> Result<Document, RegistryError> {
        match &self.source {
            Source::Registry { client, reference } => {
                let at = Endpoint::registry(reference.host());
                let name = reference.tag().unwrap_or("latest");
                self.manifest(client, reference, &at, name, Place::Top, None).await
            }
            Source::Layout { layout, tag } => {
                let found = layout.find(*tag).map_err(|reason| self.layout_error(layout.path(), reason))?;
                let mut document = self.by_digest(&found.0, Place::Top, None).await?;
                document.content_type = found.1;
                Ok(document)
            }
        }
    }

    /// What a digest names: an index or a manifest.
    pub(super) async fn by_digest(
        &self,
        digest: &str,
        place: Place,
        size: Option<u64>,
    ) -> Result<Document, RegistryError> {
        let Source::Registry { client, reference } = &self.source else {
            let content = self.blob(digest, place, size).await?;
            return Ok(Document { content, digest: digest.to_owned(), content_type: None });
        };
        let endpoints = client.endpoints(reference)?;
        let mut last = None;
        for at in &endpoints {
            let document = self.manifest(client, reference, at, digest, place, Some(digest)).await;
            match document.and_then(|document| self.sized(document, place, size)) {
                Ok(document) => return Ok(document),
                Err(error) => last = Some(error),
            }
        }
        // The last one is the registry itself.
        Err(last.unwrap_or_else(|| RegistryError::NotFound { reference: self.name.to_owned() }))
    }

    fn sized(&self, document: Document, place: Place, size: Option<u64>) -> Result<Document, RegistryError> {
        let got = document.content.len() as u64;
        match size {
            Some(expected) if expected != got => Err(RegistryError::WrongSize {
                reference: self.name.to_owned(),
                place,
                digest: document.digest.into(),
                expected,
                got,
            }),
            _ => Ok(document),
        }
    }

    async fn manifest(
        &self,
        client: &Client,
        reference: &Reference,
        at: &Endpoint,
        name: &str,
        place: Place,
        digest: Option<&str>,
    ) -> Result<Document, RegistryError> {
        let failed = |failure| self.failed(&at.host, place, digest, failure);
        let path = format!("manifests/{name}");
        let answer = client.get(at, reference.repository(), &path, Method::GET, &MANIFEST_TYPES).await;
        let answer = answer.map_err(failed)?;
        let content_type = http::content_type(&answer);
        let content = http::body(answer, MAX_DOCUMENT).await.map_err(failed)?;
        if content.len() > MAX_DOCUMENT {
            return Err(self.refuse(place, digest, DocumentError::TooLong { limit: MAX_DOCUMENT }));
        }
        // The digest is computed here; what the registry says of it is not asked for.
        let got = digest_of(&content);
        if let Some(expected) = digest.filter(|digest| *digest != got) {
            return Err(self.wrong_digest(place, expected, got));
        }
        Ok(Document { content, digest: got, content_type })
    }

    pub(super) fn wrong_digest(&self, place: Place, expected: &str, got: String) -> RegistryError {
        RegistryError::WrongDigest {
            reference: self.name.to_owned(),
            place,
            expected: expected.into(),
            got: got.into(),
        }
    }

    /// A small blob as a whole.
    pub(super) async fn blob(&self, digest: &str, place: Place, size: Option<u64>) -> Result<Vec<u8>, RegistryError> {
        let count = self.endpoints()?;
        let mut last = None;
        for number in 0..count {
            match self.blob_at(number, digest, place, size).await {
                Ok(content) => return Ok(content),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::NotFound { reference: self.name.to_owned() }))
    }

    async fn blob_at(
        &self,
        number: usize,
        digest: &str,
        place: Place,
        size: Option<u64>,
    ) -> Result<Vec<u8>, RegistryError> {
        let limit = size.unwrap_or(MAX_DOCUMENT as u64).min(MAX_DOCUMENT as u64);
        let mut stream = self.stream(number, digest, place).await?;
        let mut content = Vec::new();
        while let Some(bytes) = stream.next(self, digest, place).await? {
            content.extend_from_slice(&bytes);
            if content.len() as u64 > limit {
                break;
            }
        }
        let got = content.len() as u64;
        if let Some(expected) = size.filter(|size| *size != got) {
            let (reference, digest) = (self.name.to_owned(), digest.into());
            return Err(RegistryError::WrongSize { reference, place, digest, expected, got });
        }
        if got > limit {
            return Err(self.refuse(place, Some(digest), DocumentError::TooLong { limit: MAX_DOCUMENT }));
        }
        let got = digest_of(&content);
        if got == digest { Ok(content) } else { Err(self.wrong_digest(place, digest, got)) }
    }

    /// In how many places a blob may be found; the last one counts.
    pub(super) fn endpoints(&self) -> Result<usize, RegistryError> {
        match &self.source {
            Source::Registry { client, reference } => Ok(client.endpoints(reference)?.len()),
            Source::Layout { .. } => Ok(1),
        }
    }

    /// A blob as it comes, from one of its places.
    pub(super) async fn stream(&self, number: usize, digest: &str, place: Place) -> Result<Stream, RegistryError> {
        match &self.source {
            Source::Registry { client, reference } => {
                let endpoints = client.endpoints(reference)?;
                let at = endpoints.get(number).cloned();
                let at = at.unwrap_or_else(|| Endpoint::registry(reference.host()));
                let path = format!("blobs/{digest}");
                let answer = client.get(&at, reference.repository(), &path, Method::GET, &[]).await;
                let response = answer.map_err(|failure| self.failed(&at.host, place, Some(digest), failure))?;
                Ok(Stream::Http { response, host: at.host })
            }
            Source::Layout { layout, .. } => {
                let found = layout.blob(digest).map_err(|reason| self.layout_error(layout.path(), reason))?;
                let (file, left) = found.ok_or_else(|| RegistryError::PartNotFound {
                    reference: self.name.to_owned(),
                    place,
                    digest: digest.into(),
                    registry: layout.path().display().to_string().into(),
                })?;
                Ok(Stream::File { file, left })
            }
        }
    }
}

/// The bytes of a blob.
pub(super) enum Stream {
    Http { response: reqwest::Response, host: String },
    File { file: std::fs::File, left: u64 },
}

impl Stream {
    pub(super) async fn next(
        &mut self,
        image: &Image<'_>,
        digest: &str,
        place: Place,
    ) -> Result<Option<Bytes>, RegistryError> {
        match self {
            Self::Http { response, host } => {
                let chunk = http::chunk(response).await;
                chunk.map_err(|failure| image.failed(host, place, Some(digest), failure))
            }
            Self::File { file, left } => {
                if *left == 0 {
                    return Ok(None);
                }
                // Files of this machine answer at once; a thread for each read would cost more.
                let mut buffer = vec![0; CHUNK.min(usize::try_from(*left).unwrap_or(CHUNK))];
                let got = file.read(&mut buffer).map_err(|error| RegistryError::Unreachable {
                    registry: "the layout".into(),
                    reason: error.to_string(),
                })?;
                buffer.truncate(got);
                *left = if got == 0 { 0 } else { left.saturating_sub(got as u64) };
                Ok((got > 0).then(|| buffer.into()))
            }
        }
    }
}
