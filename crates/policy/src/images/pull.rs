//! From a reference to an image: documents first, then as many layers as its users take.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use protocol::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::document::{self, Descriptor, DocumentError, Manifest, Packing, Top};
use super::layer::{self, Facts, LayerError};
use super::layout::Layout;
use super::reference::Reference;
use super::rootfs::{self, Answer, GROUP, PASSWD};
use super::source::{Image, Source};
use super::users::Users;
use super::{Ask, Layer, Place, Registry, RegistryError, ResolvedImage};

/// LIMIT: three small documents are read; a minute is enough for a slow registry behind a slow token service.
const RESOLVE_TIMEOUT: Duration = Duration::from_mins(1);
/// LIMIT: chunks of a layer between network and unpacking, some 64 KiB each: an unpacking that is slower than the
/// network holds the network up.
const QUEUE: usize = 8;
/// LIMIT: paths that links lead to, beyond the usual ones. Each means that layers are read again.
const MAX_PATHS: usize = 16;
/// LIMIT: how far below the uppermost layer that is still missing layers are read ahead. What is above may yet show
/// that they do not matter.
const AHEAD: usize = 8;

/// Resolves a reference and reads what is asked.
pub(super) async fn resolve(registry: &Registry, name: &str, ask: Ask) -> Result<ResolvedImage, RegistryError> {
    let reference = Reference::parse(name)?;
    // What `generate` has pinned is still the image of the layout.
    let layouts = &registry.options.layouts;
    let unpinned = name.split('@').next().unwrap_or_default();
    let layout = match layouts.get(name).or_else(|| layouts.get(unpinned)) {
        None => None,
        Some(source) => {
            let refuse = |reason| RegistryError::Configuration { path: source.path.clone(), reason };
            Some((Layout::open(&source.path).map_err(refuse)?, source.tag.as_deref()))
        }
    };
    let source = match &layout {
        Some((layout, tag)) => Source::Layout { layout, tag: *tag },
        None => Source::Registry { client: &registry.client, reference: &reference },
    };
    let image = Image { name, source };
    let documents = read_documents(registry, &image, reference.digest());
    let late = |_| RegistryError::Unreachable {
        registry: reference.host().to_owned(),
        reason: format!("no answer within {} seconds", RESOLVE_TIMEOUT.as_secs()),
    };
    let (digest, manifest, configuration) = tokio::time::timeout(RESOLVE_TIMEOUT, documents).await.map_err(late)??;
    let mut config = configuration.config;
    let layers = manifest.layers.into_iter().zip(configuration.diff_ids);
    let layers: Vec<Wanted> =
        layers.map(|((descriptor, packing), diff_id)| Wanted { descriptor, packing, diff_id }).collect();
    let mut read = Reading { registry, image: &image, layers: &layers, facts: vec![None; layers.len()] };
    if ask.users || ask.sizes {
        let (passwd, group) = read.files(ask).await?;
        if ask.users {
            let users = Users::from_files(passwd.as_deref(), group.as_deref());
            config.users = users.map_err(|reason| read.users_error(PASSWD, reason))?;
        }
    }
    let unpacked: Vec<_> = read.facts.iter().map(|facts| facts.as_ref().map(|facts| facts.unpacked)).collect();
    let layers = layers.into_iter().zip(unpacked).map(|(layer, unpacked)| Layer {
        digest: layer.descriptor.digest,
        diff_id: layer.diff_id,
        size: layer.descriptor.size,
        unpacked,
    });
    let layers = layers.collect();
    let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let reference_with_digest = format!("{}/{}{tag}@{digest}", reference.registry(), reference.repository());
    Ok(ResolvedImage { reference_with_digest, config, layers })
}

async fn read_documents(
    registry: &Registry,
    image: &Image<'_>,
    pinned: Option<&str>,
) -> Result<(String, Manifest, document::Configuration), RegistryError> {
    // A tag may have moved since the last run. Where it has not, all that it leads to is at hand.
    let known = match pinned {
        Some(digest) => Some(digest.to_owned()),
        None if registry.cache().is_empty() => None,
        None => image.digest_of_tag().await,
    };
    let known = known.and_then(|digest| registry.cache().document(&digest).map(|content| (digest, content)));
    let (digest, content, content_type) = match (known, pinned) {
        (Some((digest, content)), _) => (digest, content, None),
        (None, pinned) => {
            let document = match pinned {
                Some(digest) => image.by_digest(digest, Place::Top, None).await?,
                None => image.by_tag().await?,
            };
            (document.digest, document.content, document.content_type)
        }
    };
    let refuse = |error| image.refuse(Place::Top, Some(&digest), error);
    let value = document::parse(&content).map_err(refuse)?;
    let top = document::top(&value, content_type.as_deref(), None).map_err(refuse)?;
    registry.cache().keep_document(&digest, &content);
    let manifest = match top {
        Top::Manifest(manifest) => manifest,
        Top::Index(Err(found)) => return Err(RegistryError::NoPlatform { reference: image.name.to_owned(), found }),
        Top::Index(Ok(entry)) => manifest_of(registry, image, &entry).await?,
    };
    let at = Some(manifest.config.digest.as_str());
    let refuse = |error| image.refuse(Place::Configuration, at, error);
    let known = registry.cache().document(&manifest.config.digest);
    let content = match known {
        Some(content) => content,
        None => image.blob(&manifest.config.digest, Place::Configuration, Some(manifest.config.size)).await?,
    };
    let value = document::parse(&content).map_err(refuse)?;
    let configuration = document::configuration(&value).map_err(refuse)?;
    registry.cache().keep_document(&manifest.config.digest, &content);
    if let Some(other) = configuration.other_platform {
        return Err(RegistryError::NoPlatform { reference: image.name.to_owned(), found: vec![other] });
    }
    let (layers, diff_ids) = (manifest.layers.len(), configuration.diff_ids.len());
    if layers != diff_ids {
        return Err(refuse(DocumentError::DiffIds { layers, diff_ids }));
    }
    Ok((digest, manifest, configuration))
}

/// The manifest that an index names.
async fn manifest_of(registry: &Registry, image: &Image<'_>, entry: &Descriptor) -> Result<Manifest, RegistryError> {
    let refuse = |error| image.refuse(Place::Manifest, Some(&entry.digest), error);
    let known = registry.cache().document(&entry.digest);
    let (content, content_type) = match known {
        Some(content) => (content, None),
        None => {
            let document = image.by_digest(&entry.digest, Place::Manifest, Some(entry.size)).await?;
            (document.content, document.content_type)
        }
    };
    let value = document::parse(&content).map_err(refuse)?;
    match document::top(&value, content_type.as_deref(), Some(&entry.media_type)).map_err(refuse)? {
        Top::Manifest(manifest) => {
            registry.cache().keep_document(&entry.digest, &content);
            Ok(manifest)
        }
        Top::Index(_) => Err(refuse(DocumentError::Nested { digest: entry.digest.clone() })),
    }
}

/// A layer that may have to be read.
struct Wanted {
    descriptor: Descriptor,
    packing: Packing,
    diff_id: String,
}

struct Reading<'a> {
    registry: &'a Registry,
    image: &'a Image<'a>,
    /// Bottom first.
    layers: &'a [Wanted],
    facts: Vec<Option<Arc<Facts>>>,
}

enum Decision {
    Files(Option<String>, Option<String>),
    Layer,
    Path(String),
}

impl Reading<'_> {
    fn users_error(&self, file: &str, reason: String) -> RegistryError {
        RegistryError::Users { reference: self.image.name.to_owned(), file: file.into(), reason }
    }

    fn decide(&self) -> Result<Decision, RegistryError> {
        let facts: Vec<Option<&Facts>> = self.facts.iter().map(Option::as_deref).collect();
        let mut files = Vec::new();
        for path in [PASSWD, GROUP] {
            match rootfs::file(&facts, path).map_err(|reason| self.users_error(path, reason))? {
                Answer::Known(content) => files.push(content),
                Answer::Layer(_) => return Ok(Decision::Layer),
                Answer::Path(path) => return Ok(Decision::Path(path)),
            }
        }
        let group = files.pop().flatten();
        Ok(Decision::Files(files.pop().flatten(), group))
    }

    /// Reads layers from the top until both files are decided, some at a time.
    async fn files(&mut self, ask: Ask) -> Result<(Option<String>, Option<String>), RegistryError> {
        for (layer, facts) in self.layers.iter().zip(&mut self.facts) {
            let mut cache = self.registry.cache();
            *facts = cache.facts(&layer.descriptor.digest).filter(|facts| facts.diff_id == layer.diff_id);
            if facts.is_none() {
                // Another image has the layer under another unpacked digest: one of the two is wrong, and reading
                // it tells which.
                cache.forget(&layer.descriptor.digest);
            }
        }
        let mut wanted = rootfs::usual();
        let most = wanted.len().saturating_add(MAX_PATHS);
        for facts in self.facts.iter().flatten() {
            wanted.extend(facts.wanted.iter().take(most).cloned());
        }
        let mut started = false;
        let result = self.read(ask, wanted, &mut started).await;
        if let (Some(progress), true) = (&self.registry.progress, started) {
            progress.finished(self.image.name);
        }
        result
    }

    async fn read(
        &mut self,
        ask: Ask,
        mut wanted: BTreeSet<String>,
        started: &mut bool,
    ) -> Result<(Option<String>, Option<String>), RegistryError> {
        let (registry, image, layers) = (self.registry, self.image, self.layers);
        let mut running = FuturesUnordered::new();
        let mut in_flight = BTreeSet::new();
        let mut paths = 0_usize;
        loop {
            let decision = if ask.users { self.decide()? } else { Decision::Files(None, None) };
            match decision {
                Decision::Files(passwd, group) if !ask.sizes || self.facts.iter().all(Option::is_some) => {
                    // What is still running is dropped, and its connections with it.
                    return Ok((passwd, group));
                }
                Decision::Files(..) | Decision::Layer => {}
                Decision::Path(path) => {
                    paths = paths.saturating_add(1);
                    if paths > MAX_PATHS {
                        let reason = format!("links lead to more than {MAX_PATHS} paths");
                        return Err(self.users_error(PASSWD, reason));
                    }
                    rootfs::want(&mut wanted, &path);
                    for facts in &mut self.facts {
                        if facts.as_ref().is_some_and(|facts| !facts.wanted.contains(&path)) {
                            *facts = None;
                        }
                    }
                }
            }
            // From the top down: what is above hides what is below.
            let missing = |layer: &usize| self.facts.get(*layer).is_some_and(Option::is_none);
            let first = (0..layers.len()).rev().find(missing).unwrap_or(0);
            let lowest = if ask.sizes { 0 } else { first.saturating_sub(AHEAD - 1) };
            for layer in (lowest..layers.len()).rev() {
                let missing = missing(&layer);
                let Some(wanted_layer) = layers.get(layer).filter(|_| missing) else { continue };
                if in_flight.contains(&wanted_layer.descriptor.digest) {
                    continue;
                }
                let permit = if running.is_empty() {
                    registry.permits.acquire().await.ok()
                } else {
                    match registry.permits.try_acquire() {
                        Ok(permit) => Some(permit),
                        Err(_) => break,
                    }
                };
                if !*started {
                    *started = true;
                    self.announce();
                }
                in_flight.insert(wanted_layer.descriptor.digest.clone());
                let paths = wanted.clone();
                running.push(async move {
                    let facts = read_layer(registry, image, wanted_layer, paths).await;
                    drop(permit);
                    (wanted_layer, facts)
                });
            }
            let Some((layer, facts)) = running.next().await else {
                // Nothing runs and nothing is decided: a layer that is asked for is always started above.
                return Err(self.users_error(PASSWD, "the layers do not decide it".into()));
            };
            in_flight.remove(&layer.descriptor.digest);
            let facts = Arc::new(facts?);
            registry.cache().keep_facts(&layer.descriptor.digest, Arc::clone(&facts));
            for (same, slot) in layers.iter().zip(&mut self.facts) {
                if same.descriptor.digest == layer.descriptor.digest && same.diff_id == layer.diff_id {
                    *slot = Some(Arc::clone(&facts));
                }
            }
        }
    }

    fn announce(&self) {
        let Some(progress) = &self.registry.progress else { return };
        let missing = self.layers.iter().zip(&self.facts).filter(|(_, facts)| facts.is_none());
        let sizes: BTreeMap<_, _> =
            missing.map(|(layer, _)| (&layer.descriptor.digest, layer.descriptor.size)).collect();
        progress.started(self.image.name, sizes.len(), sizes.values().fold(0, |sum, size| sum.saturating_add(*size)));
    }
}

/// Reads one layer, from a mirror if there is one that has it in good order.
async fn read_layer(
    registry: &Registry,
    image: &Image<'_>,
    layer: &Wanted,
    wanted: BTreeSet<String>,
) -> Result<Facts, RegistryError> {
    let places = image.endpoints()?;
    let mut place = 0_usize;
    loop {
        let read = read_layer_at(registry, image, layer, wanted.clone(), place).await;
        place = place.saturating_add(1);
        // A layer of the right digest is no better elsewhere.
        let same_everywhere = matches!(read, Ok(_) | Err(RegistryError::Layer { .. }));
        if same_everywhere || place >= places {
            return read;
        }
    }
}

async fn read_layer_at(
    registry: &Registry,
    image: &Image<'_>,
    layer: &Wanted,
    wanted: BTreeSet<String>,
    place: usize,
) -> Result<Facts, RegistryError> {
    let Descriptor { digest, size, .. } = &layer.descriptor;
    let (size, packing) = (*size, layer.packing);
    let wrong_size = |got| RegistryError::WrongSize {
        reference: image.name.to_owned(),
        place: Place::Layer,
        digest: digest.as_str().into(),
        expected: size,
        got,
    };
    let mut stream = image.stream(place, digest, Place::Layer).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let scan = tokio::task::spawn_blocking(move || layer::scan(Chunks::new(receiver), packing, size, &wanted));
    let mut hash = Sha256::new();
    let mut got = 0_u64;
    while let Some(bytes) = stream.next(image, digest, Place::Layer).await? {
        got = got.saturating_add(bytes.len() as u64);
        if got > size {
            return Err(wrong_size(got));
        }
        hash.update(&bytes);
        if let Some(progress) = &registry.progress {
            progress.received(image.name, bytes.len() as u64);
        }
        // The unpacking has stopped when it found something wrong. Whether the registry or the image is to blame is
        // for the digest to say, so all is read.
        let _ = sender.send(bytes).await;
    }
    drop(sender);
    if got != size {
        return Err(wrong_size(got));
    }
    let computed: [u8; 32] = hash.finalize().into();
    let computed = format!("sha256:{}", Digest::from_bytes(computed));
    if computed != *digest {
        return Err(image.wrong_digest(Place::Layer, digest, computed));
    }
    let refuse = |error: LayerError| {
        let (reference, digest) = (image.name.to_owned(), digest.clone());
        RegistryError::Layer { reference, digest, error: error.into() }
    };
    let stopped = |error: tokio::task::JoinError| RegistryError::Unreachable {
        registry: "this program".into(),
        reason: format!("the reading of layer `{digest}` stopped: {error}"),
    };
    let facts = scan.await.map_err(stopped)?.map_err(refuse)?;
    if facts.diff_id != layer.diff_id {
        let (expected, got) = (layer.diff_id.clone(), facts.diff_id);
        return Err(refuse(LayerError::DiffId { expected, got }));
    }
    Ok(facts)
}

/// Chunks from the network as one stream for a thread that blocks.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Chunks {
    fn new(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self { receiver, chunk: Bytes::new() }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let part = self.chunk.split_to(self.chunk.len().min(buffer.len()));
        if let Some(to) = buffer.get_mut(..part.len()) {
            to.copy_from_slice(&part);
        }
        Ok(part.len())
    }
}
