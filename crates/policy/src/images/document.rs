//! The documents of an image: index, manifest and configuration, read so that no two programs can differ.
//!
//! The guest, containerd and this generator read the same bytes with parsers of three languages. A document that one
//! of them takes for an index and another for a manifest, or that holds a name twice, would let a registry run another
//! image than the one that the policy was made from. Such documents are refused, whatever they would mean to us.

use std::collections::{BTreeMap, BTreeSet};

use protocol::text::quoted;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::ImageConfig;
use super::users::Users;

/// LIMIT: the OCI distribution specification asks registries to take manifests of 4 MiB; a configuration is smaller.
pub(super) const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// LIMIT: overlayfs takes 500 lower directories; Docker stops at 127.
pub(super) const MAX_LAYERS: usize = 127;
/// LIMIT: one layer as it is pulled. The largest in use hold models of some ten GiB.
pub(super) const MAX_LAYER: u64 = 64 * 1024 * 1024 * 1024;
/// LIMIT: platforms of one index; Docker Hub's largest have some thirty, with attestations twice that.
pub(super) const MAX_ENTRIES: usize = 1024;
/// LIMIT: error messages quote at most this many characters of a document.
const QUOTE_CHARS: usize = 80;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// What a registry is asked for.
pub(super) const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// Why a document is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not JSON, or a name twice.
    #[error("not JSON that can be read in one way only: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
    /// Longer than images have.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// An index and a manifest in one.
    #[error("it has both `{first}` and `{second}`, so it is an index to one program and a manifest to another")]
    Ambiguous {
        /// The field of an index.
        first: &'static str,
        /// The field of a manifest.
        second: &'static str,
    },
    /// Two fields that differ in case alone.
    #[error("`{found}` is read as `{expected}` by programs that do not look at case")]
    Case {
        /// What stands there.
        found: String,
        /// What it may be taken for.
        expected: &'static str,
    },
    /// A type that the content does not have.
    #[error("{source_of_type} says `{said}`, the content is {content}")]
    WrongType {
        /// Where the type stands.
        source_of_type: &'static str,
        /// The type.
        said: String,
        /// What the content is.
        content: String,
    },
    /// A field that is missing or is something else.
    #[error("`{field}` is {what}")]
    Field {
        /// The field, from the document.
        field: String,
        /// What is wrong with it.
        what: String,
    },
    /// Two entries of an index that both fit.
    #[error("`{first}` and `{second}` are both for linux/amd64, and the guest may choose the other")]
    TwoPlatforms {
        /// A digest.
        first: String,
        /// A digest.
        second: String,
    },
    /// An index in an index.
    #[error("the entry for linux/amd64, `{digest}`, is an index again, which the guest does not follow")]
    Nested {
        /// The digest of the inner index.
        digest: String,
    },
    /// More than images have.
    #[error("{got} {what}, up to {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        got: usize,
        /// How many are taken.
        limit: usize,
    },
    /// Layers that the configuration does not name one by one.
    #[error("the manifest has {layers} layers, the configuration names {diff_ids}")]
    DiffIds {
        /// Layers in the manifest.
        layers: usize,
        /// Entries in `rootfs.diff_ids`.
        diff_ids: usize,
    },
}

impl DocumentError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TwoPlatforms { .. } => Some("name one of the two by its digest: `image: name@sha256:…`".into()),
            Self::Nested { digest } => Some(format!("name an image in it by its digest instead of `{digest}`")),
            Self::WrongType { said, .. } if said.contains("manifest.v1") => {
                Some("it is in Docker's first format of 2014; pull and push it with a present tool".into())
            }
            _ => None,
        }
    }
}

/// What a document names: content by digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
}

/// How a layer is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// The manifest of one image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<(Descriptor, Packing)>,
}

/// What a tag or a digest names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Top {
    Manifest(Manifest),
    /// The entry for linux/amd64, or what the index has instead.
    Index(Result<Descriptor, Vec<String>>),
}

/// A configuration, and what it says beyond the container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Configuration {
    pub(super) config: ImageConfig,
    pub(super) diff_ids: Vec<String>,
    /// `os/architecture`, where it is not linux/amd64.
    pub(super) other_platform: Option<String>,
}

/// Whether this is the digest of content, as images write it.
pub(super) fn is_sha256(digest: &str) -> bool {
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digest.strip_prefix("sha256:").is_some_and(is_hex)
}

/// A JSON value without a name twice in any object: parsers take the first, the last, or neither.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(Unique(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::Array(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
                let mut map = serde_json::Map::new();
                while let Some((name, Unique(value))) = fields.next_entry::<String, Unique>()? {
                    if map.contains_key(&name) {
                        return Err(A::Error::custom(format!("`{}` twice in one object", quote(&name))));
                    }
                    map.insert(name, value);
                }
                Ok(Value::Object(map))
            }
        }
        deserializer.deserialize_any(Any).map(Unique)
    }
}

/// Reads a document of at most 4 MiB.
pub(super) fn parse(document: &[u8]) -> Result<Value, DocumentError> {
    if document.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLong { limit: MAX_DOCUMENT });
    }
    let json = |error: serde_json::Error| DocumentError::Json { reason: error.to_string() };
    let Unique(value) = serde_json::from_slice(document).map_err(json)?;
    if value.is_object() { Ok(value) } else { Err(field("the document", "not an object")) }
}

fn field(field: impl Into<String>, what: impl Into<String>) -> DocumentError {
    DocumentError::Field { field: field.into(), what: what.into() }
}

/// A word of a document, a registry or a layer, for a message.
pub(super) fn quote(text: &str) -> String {
    quoted(text, QUOTE_CHARS)
}

/// As Go's JSON does: `ſ` and the Kelvin sign are letters to it, too.
fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Refuses fields of an object that another parser takes for one of `known`.
fn exact(object: &Value, known: &[&'static str]) -> Result<(), DocumentError> {
    for name in object.as_object().into_iter().flat_map(serde_json::Map::keys) {
        let name_folded = folded(name);
        if let Some(expected) = known.iter().find(|known| folded(known) == name_folded && *known != name) {
            return Err(DocumentError::Case { found: quote(name), expected });
        }
    }
    Ok(())
}

fn descriptor(value: &Value, path: &str) -> Result<Descriptor, DocumentError> {
    if !value.is_object() {
        return Err(field(path, "missing"));
    }
    exact(value, &["mediaType", "digest", "size", "urls", "data", "platform", "artifactType", "annotations"])?;
    let digest = value["digest"].as_str().unwrap_or_default();
    if !is_sha256(digest) {
        return Err(field(format!("{path}.digest"), format!("`{}`, which is no sha256 digest", quote(digest))));
    }
    let size = value["size"].as_u64().ok_or_else(|| field(format!("{path}.size"), "not a number of bytes"))?;
    let Some(media_type) = value["mediaType"].as_str() else {
        return Err(field(format!("{path}.mediaType"), "missing"));
    };
    if value["urls"].as_array().is_some_and(|urls| !urls.is_empty()) {
        return Err(field(format!("{path}.urls"), "set: content from elsewhere than the registry is not taken"));
    }
    Ok(Descriptor { media_type: media_type.to_owned(), digest: digest.to_owned(), size })
}

fn packing(media_type: &str, path: &str) -> Result<Packing, DocumentError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Packing::Plain),
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Ok(Packing::Gzip)
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Ok(Packing::Zstd)
        }
        other => {
            let why = if other.contains("encrypted") {
                "an encrypted layer"
            } else if other.contains("nondistributable") || other.contains("foreign") {
                "a layer that the registry does not hold"
            } else {
                "no layer that is known here"
            };
            Err(field(format!("{path}.mediaType"), format!("`{}`, {why}", quote(other))))
        }
    }
}

/// Reads what a reference leads to. `content_type` is the registry's header, `said` the type in the descriptor that
/// led here.
pub(super) fn top(document: &Value, content_type: Option<&str>, said: Option<&str>) -> Result<Top, DocumentError> {
    exact(document, &["schemaVersion", "mediaType", "manifests", "config", "layers", "fsLayers", "subject"])?;
    let own = match &document["mediaType"] {
        Value::Null => None,
        Value::String(own) => Some(own.as_str()),
        _ => return Err(field("mediaType", "not text")),
    };
    for first in ["manifests"] {
        for second in ["config", "layers", "fsLayers"] {
            if document.get(first).is_some() && document.get(second).is_some() {
                return Err(DocumentError::Ambiguous { first, second });
            }
        }
    }
    let is_index = document.get("manifests").is_some();
    let content = if is_index { "an index" } else { "a manifest" };
    let fitting = if is_index { [OCI_INDEX, DOCKER_LIST] } else { [OCI_MANIFEST, DOCKER_MANIFEST] };
    // Parameters such as `; charset=utf-8` are no part of the type.
    let header = content_type.map(|header| header.split(';').next().unwrap_or_default().trim());
    // A static server knows nothing of images and sends a general type. That is as good as none, if the document says
    // for itself what it is.
    let header = header.filter(|header| header.starts_with("application/vnd.") || own.is_none());
    let sources = [("its `mediaType`", own), ("the registry's Content-Type", header), ("its descriptor", said)];
    for (source_of_type, said) in sources {
        let Some(said) = said else { continue };
        if !fitting.contains(&said) {
            let content = content.to_owned();
            return Err(DocumentError::WrongType { source_of_type, said: quote(said), content });
        }
        if let Some(own) = own.filter(|own| *own != said) {
            let content = format!("`{}` by its own word", quote(own));
            return Err(DocumentError::WrongType { source_of_type, said: quote(said), content });
        }
    }
    if document["schemaVersion"] != 2 && !document["schemaVersion"].is_null() {
        return Err(field("schemaVersion", "not 2"));
    }
    if is_index { index(document).map(Top::Index) } else { manifest(document).map(Top::Manifest) }
}

fn index(document: &Value) -> Result<Result<Descriptor, Vec<String>>, DocumentError> {
    let entries = document["manifests"].as_array().ok_or_else(|| field("manifests", "not a list"))?;
    if entries.len() > MAX_ENTRIES {
        let (got, limit) = (entries.len(), MAX_ENTRIES);
        return Err(DocumentError::TooMany { what: "entries", got, limit });
    }
    let mut fits: Option<Descriptor> = None;
    let mut others = BTreeSet::new();
    for (position, entry) in entries.iter().enumerate() {
        let path = format!("manifests[{position}]");
        let entry_descriptor = descriptor(entry, &path)?;
        let platform = &entry["platform"];
        exact(platform, &["os", "architecture", "variant"])?;
        let text = |name: &str| quote(platform[name].as_str().unwrap_or_default());
        if (text("os").as_str(), text("architecture").as_str()) != ("linux", "amd64") {
            // Attestations stand in an index as `unknown/unknown`.
            if platform.is_object() && text("os") != "unknown" {
                others.insert(format!("{}/{}", text("os"), text("architecture")));
            }
            continue;
        }
        if let Some(first) = fits {
            return Err(DocumentError::TwoPlatforms { first: first.digest, second: entry_descriptor.digest });
        }
        if [OCI_INDEX, DOCKER_LIST].contains(&entry_descriptor.media_type.as_str()) {
            return Err(DocumentError::Nested { digest: entry_descriptor.digest });
        }
        if entry_descriptor.size > MAX_DOCUMENT as u64 {
            return Err(DocumentError::TooLong { limit: MAX_DOCUMENT });
        }
        fits = Some(entry_descriptor);
    }
    Ok(fits.ok_or_else(|| others.into_iter().collect()))
}

fn manifest(document: &Value) -> Result<Manifest, DocumentError> {
    if document.get("fsLayers").is_some() {
        return Err(field("fsLayers", "that of Docker's first format, which is not taken"));
    }
    let config = descriptor(&document["config"], "config")?;
    if !CONFIG_TYPES.contains(&config.media_type.as_str()) {
        let what = format!("`{}`, so this is something else than a container image", quote(&config.media_type));
        return Err(field("config.mediaType", what));
    }
    if config.size > MAX_DOCUMENT as u64 {
        return Err(DocumentError::TooLong { limit: MAX_DOCUMENT });
    }
    let entries = document["layers"].as_array().ok_or_else(|| field("layers", "not a list"))?;
    if entries.len() > MAX_LAYERS {
        return Err(DocumentError::TooMany { what: "layers", got: entries.len(), limit: MAX_LAYERS });
    }
    let mut layers = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let path = format!("layers[{position}]");
        let layer = descriptor(entry, &path)?;
        if layer.size > MAX_LAYER {
            return Err(field(format!("{path}.size"), format!("{} bytes, up to {MAX_LAYER} are taken", layer.size)));
        }
        let packing = packing(&layer.media_type, &path)?;
        layers.push((layer, packing));
    }
    Ok(Manifest { config, layers })
}

/// Reads a configuration.
pub(super) fn configuration(document: &Value) -> Result<Configuration, DocumentError> {
    exact(document, &["architecture", "os", "config", "rootfs"])?;
    let config = match &document["config"] {
        Value::Null => &Value::Null,
        config if config.is_object() => config,
        _ => return Err(field("config", "not an object")),
    };
    exact(config, &["Env", "Entrypoint", "Cmd", "User", "WorkingDir", "Volumes", "ArgsEscaped"])?;
    let list = |name: &str| match &config[name] {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            let texts = items.iter().enumerate().map(|(position, item)| {
                let path = format!("config.{name}[{position}]");
                item.as_str().ok_or_else(|| field(&path, "not text")).and_then(|text| printable(text, &path))
            });
            texts.collect()
        }
        _ => Err(field(format!("config.{name}"), "not a list")),
    };
    let text = |name: &str| {
        let path = format!("config.{name}");
        match &config[name] {
            Value::Null => Ok(String::new()),
            Value::String(text) => printable(text, &path),
            _ => Err(field(path, "not text")),
        }
    };
    let volumes = match &config["Volumes"] {
        Value::Null => Vec::new(),
        Value::Object(volumes) => {
            let paths: BTreeMap<_, _> = volumes.iter().collect();
            paths.keys().map(|path| printable(path, "config.Volumes")).collect::<Result<_, _>>()?
        }
        _ => return Err(field("config.Volumes", "not an object")),
    };
    let mut entrypoint = list("Entrypoint")?;
    // Docker writes one empty string to undo a base image's entry point, and containerd reads it as none.
    if entrypoint == [""] {
        entrypoint.clear();
    }
    let config = ImageConfig {
        env: list("Env")?,
        entrypoint,
        cmd: list("Cmd")?,
        user: text("User")?,
        working_dir: text("WorkingDir")?,
        volumes,
        users: Users::unread(),
    };
    let rootfs = &document["rootfs"];
    exact(rootfs, &["type", "diff_ids"])?;
    let mut diff_ids = Vec::new();
    for (position, id) in rootfs["diff_ids"].as_array().into_iter().flatten().enumerate() {
        let id = id.as_str().unwrap_or_default();
        if !is_sha256(id) {
            let path = format!("rootfs.diff_ids[{position}]");
            return Err(field(path, format!("`{}`, which is no sha256 digest", quote(id))));
        }
        diff_ids.push(id.to_owned());
    }
    let platform = |name: &str| document[name].as_str().map(quote);
    let (os, architecture) = (platform("os"), platform("architecture"));
    let is = |value: &Option<String>, wanted: &str| value.as_deref().is_none_or(|value| value == wanted);
    let fits = is(&os, "linux") && is(&architecture, "amd64");
    let other_platform = (!fits).then(|| format!("{}/{}", os.unwrap_or_default(), architecture.unwrap_or_default()));
    Ok(Configuration { config, diff_ids, other_platform })
}

/// Text as people write it into a Dockerfile. Other control characters have no use there, and some mean something to
/// the generator.
fn printable(text: &str, path: &str) -> Result<String, DocumentError> {
    // Line ends and tabs stand in scripts, escape in colourful prompts.
    let strange = |character: &char| character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{1b}');
    match text.chars().find(strange) {
        Some(character) => Err(field(path, format!("text with the control character U+{:04X}", u32::from(character)))),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
