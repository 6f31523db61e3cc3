//! One file to apply, for those who want neither Helm nor kustomize.
//!
//! The kustomize bases are the source: what is in them is cut out, with its comments, and given to one platform. Names
//! of the node agent carry the version, so that the files of two releases can be applied to one cluster: which of both
//! agents a node has is said by its label `casemate.dev/release`, and the releases of the Kata runtime lie beside each
//! other on the node. Coordinators of two releases live in two namespaces.

use policy::generate::{PLATFORMS, Platform, Tee};

use crate::VERSION;

const NODE_AGENT: &str = include_str!("../../../deploy/kustomize/node-agent/node-agent.yaml");
const DEFINITION: &str = include_str!("../../../deploy/kustomize/crds/nodeconfigurations.yaml");
const CLASSES: &str = include_str!("../../../deploy/kustomize/runtime-classes/runtime-classes.yaml");
const COORDINATOR: &str = include_str!("../../../deploy/kustomize/coordinator/coordinator.yaml");

/// The registry that stands in the bases: a name that nobody can have, so that an image whose registry nobody chose is
/// not pulled from a stranger.
pub const PLACEHOLDER: &str = "registry.example.com";
/// What stands between two objects.
const SEPARATOR: &str = "\n---\n";
/// LIMIT: the distribution specification's limit of a repository's name.
const MAX_REGISTRY: usize = 255;

/// Why no files are made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// Not one of the table.
    #[error("`{name}` is no platform")]
    UnknownPlatform {
        /// What was given.
        name: String,
    },
    /// A platform that takes no files.
    #[error("`{name}` takes no files: {why}")]
    NoFiles {
        /// The platform.
        name: &'static str,
        /// What it takes instead.
        why: &'static str,
    },
    /// A registry that no image reference can begin with.
    #[error("registry `{registry}`: {problem}")]
    Registry {
        /// What was given.
        registry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl FilesError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownPlatform { .. } => "`casemate reference-values platforms` lists them",
            Self::NoFiles { .. } => "`casemate up resources/` starts the same resources on this machine",
            Self::Registry { .. } => "write it as in an image's name: `europe-west4-docker.pkg.dev/PROJECT/casemate`",
        }
    }
}

/// Where our images are: a host and perhaps a path, as in `europe-west4-docker.pkg.dev/my-project/casemate`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registry(String);

impl Registry {
    /// Checks what images' names are to begin with. The mistakes it names are those that end as `InvalidImageName`.
    pub fn new(text: &str) -> Result<Self, FilesError> {
        let refuse = |problem| Err(FilesError::Registry { registry: text.to_owned(), problem });
        if text.is_empty() || text.len() > MAX_REGISTRY {
            return refuse("it has between 1 and 255 characters");
        }
        if text.contains("://") {
            return refuse("it has a scheme, and the name of an image has none");
        }
        if text.contains(['<', '>', '$', '{', '}']) {
            return refuse("something in it was not filled in");
        }
        if text.contains('@') {
            return refuse("it has a digest, which belongs to an image and not to a registry");
        }
        let mut parts = text.split('/');
        let host = parts.next().unwrap_or_default();
        let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !name.split('.').all(label) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return refuse("it does not begin with a host");
        }
        // Without a dot or a port the first part is taken for a folder of docker.io.
        if !name.contains('.') && port.is_none() && name != "localhost" {
            return refuse("its first part is no host, so that images would be looked for at docker.io");
        }
        for part in parts {
            if part.is_empty() {
                return refuse("it has an empty part, between two slashes or at the end");
            }
            if part.contains(':') {
                return refuse("it has a tag, which belongs to an image and not to a registry");
            }
            let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            if !ends(part.as_bytes().first()) || !ends(part.as_bytes().last()) || !part.bytes().all(fine) {
                return refuse("a part of its path has other characters than a-z, 0-9 and `._-` between them");
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self(PLACEHOLDER.to_owned())
    }
}

/// A file, before it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SingleFile {
    /// `runtime-metal-qemu-snp.yml`.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// The files of a platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// What is to be written.
    pub files: Vec<SingleFile>,
    /// Why a file is not there that other platforms have.
    pub notes: Vec<String>,
}

/// A platform by its name.
pub fn platform(name: &str) -> Result<&'static Platform, FilesError> {
    let found = PLATFORMS.iter().find(|platform| platform.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| FilesError::UnknownPlatform { name: name.to_owned() })
}

/// Makes the files of a platform.
pub fn render(platform: &'static Platform, registry: &Registry) -> Result<Rendered, FilesError> {
    if platform.tee == Tee::Software {
        return Err(FilesError::NoFiles { name: platform.name, why: "it is this machine, and no cluster" });
    }
    let mut rendered = Rendered { files: Vec::new(), notes: Vec::new() };
    match runtime(platform, registry) {
        Ok(file) => {
            rendered.files.push(file);
            rendered.files.extend(configuration(platform));
        }
        Err(why) => rendered.notes.push(format!("no `runtime-{}.yml`: {why}", platform.name)),
    }
    match coordinator(platform, registry) {
        Ok(file) => rendered.files.push(file),
        Err(why) => rendered.notes.push(format!("no `coordinator-{}.yml`: {why}", platform.name)),
    }
    Ok(rendered)
}

/// The classes whose guests pods of a platform run in. One with GPUs has the plain class, too: the Coordinator asks for
/// no device.
fn classes(platform: &Platform) -> Vec<&'static str> {
    let plain = match platform.tee {
        Tee::Snp => Some("kata-qemu-snp"),
        Tee::Tdx => Some("kata-qemu-tdx"),
        _ => None,
    };
    let mut classes: Vec<&'static str> = plain.into_iter().collect();
    if let Some(own) = platform.runtime_class.filter(|own| !classes.contains(own)) {
        classes.push(own);
    }
    classes
}

/// The host's part. `Err` says why there is none.
fn runtime(platform: &Platform, registry: &Registry) -> Result<SingleFile, &'static str> {
    if platform.runtime_class == Some("kata-cc-isolation") {
        return Err("the cloud installs the runtime and its class itself, and workers there take no agent");
    }
    let name = platform.name;
    let classes = classes(platform);
    let mut head = format!(
        "# Casemate {VERSION}: the node agent for the workers of platform `{name}`, {}.\n\
         # Made by `casemate infra files`; change that command's options and not this file.\n#\n\
         #   kubectl apply -f runtime-{name}.yml\n#\n\
         # Applying it changes no node by itself. Names carry the version: an older release's agent keeps its nodes\n\
         # until `kubectl label node NODE casemate.dev/release={VERSION}` hands them over.\n",
        platform.about,
    );
    if classes.is_empty() {
        head.push_str(match platform.tee {
            Tee::Sgx => "# Enclaves run in ordinary pods: the agent labels nodes and installs no runtime.\n",
            _ => {
                "# The node is the TEE and its kubelet is inside: the agent labels nodes and installs no runtime, and no\n\
                 # policy binds the pods.\n"
            }
        });
    }
    let mut objects = vec![head + DEFINITION.trim_end()];
    objects.extend(documents(NODE_AGENT).map(|object| agent(object, registry)));
    for object in documents(CLASSES) {
        if classes.iter().any(|class| object.contains(&format!("\n  name: {class}\n"))) {
            objects.push(object.to_owned());
        }
    }
    Ok(SingleFile { name: format!("runtime-{name}.yml"), text: join(&objects) })
}

/// An object of the node agent, under names of this version.
fn agent(object: &str, registry: &Registry) -> String {
    let own = format!("casemate-node-{}", VERSION.replace('.', "-"));
    let lines = object.lines().map(|line| {
        if line.trim_start().starts_with("image:") {
            line.replace(PLACEHOLDER, registry.as_str())
        } else {
            line.replace("casemate-node", &own)
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What nodes are to be. A platform without classes asks for nothing.
fn configuration(platform: &Platform) -> Option<SingleFile> {
    let classes = classes(platform);
    if classes.is_empty() {
        return None;
    }
    let name = platform.name;
    let mut text = format!(
        "# Casemate {VERSION}: what the workers of platform `{name}` are to be. Applying it CHANGES EVERY NODE\n"
    );
    text.push_str(if platform.gpu {
        "# but those with the label `nvidia.com/gpu.workload.config=container`: GPUs are switched to confidential mode and\n\
         # taken from their ordinary driver. "
    } else {
        "# that has the TEE: the runtime is installed there. "
    });
    text.push_str(
        "To begin with some nodes, give the object another name and a `nodeSelector`.\n\
         apiVersion: casemate.dev/v1alpha1\nkind: NodeConfiguration\nmetadata:\n  name: cluster\nspec:\n",
    );
    if platform.gpu {
        text.push_str(
            "  # In quotes: YAML reads a truth value without them.\n  ccMode: \"on\"\n  vfio:\n    enabled: true\n    \
             switches: true\n  devicePlugin:\n    resourceNames: pgpu\n",
        );
    }
    text.push_str(
        "  # bundle: /opt/casemate/bundles/kata.toml    the Kata bundle on the nodes to install these from\n",
    );
    text.push_str("  runtimes:\n");
    for class in classes {
        text.push_str(&format!("    - {class}\n"));
    }
    Some(SingleFile { name: format!("configuration-{name}.yml"), text })
}

/// The owners' part, before `generate`. `Err` says why there is none.
fn coordinator(platform: &Platform, registry: &Registry) -> Result<SingleFile, &'static str> {
    let class = match platform.tee {
        Tee::Sgx => return Err("the Coordinator needs a guest of its own, and this platform has enclaves alone"),
        Tee::Node => return Err("the node is the TEE, so that a Coordinator would have no identity of its own"),
        _ => platform.runtime_class.filter(|_| !platform.gpu).or_else(|| classes(platform).first().copied()),
    };
    let Some(class) = class else { return Err("the platform has no class of guests") };
    let name = platform.name;
    // Guests with GPUs accept no pod without: the Coordinator is for the same machines' plain guests.
    let plain = name.strip_suffix("-gpu").unwrap_or(name);
    let also = if plain == name { String::new() } else { format!(" --reference-values {name}") };
    let head = format!(
        "# Casemate {VERSION}: the Coordinator for platform `{name}`, BEFORE `casemate generate`. Not to be applied as it is.\n\
         # Made by `casemate infra files`; change that command's options and not this file.\n#\n\
         #   casemate generate --reference-values {plain}{also} coordinator-{name}.yml resources/\n\
         #   kubectl apply -f coordinator-{name}.yml -f resources/\n#\n"
    );
    let mut text = String::new();
    for line in COORDINATOR.lines() {
        match line.trim_start() {
            "# `generate` writes the platform's class here." => continue,
            "runtimeClassName: casemate" => text.push_str(&line.replace("casemate", class)),
            _ => text.push_str(&line.replace(PLACEHOLDER, registry.as_str())),
        }
        text.push('\n');
        // Of the objects alone: a label of the pods would restart them with each release.
        if line == "    casemate.dev/role: coordinator" {
            text.push_str(&format!("    app.kubernetes.io/version: {VERSION}\n"));
        }
    }
    Ok(SingleFile { name: format!("coordinator-{name}.yml"), text: head + &text })
}

/// The objects of a file, each with the comments before it.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end().split(SEPARATOR)
}

fn join(objects: &[String]) -> String {
    let mut text = objects.join(SEPARATOR);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_what_an_images_name_may_begin_with() {
        for good in [
            "localhost",
            "localhost:5000",
            "ghcr.io/me",
            "europe-west4-docker.pkg.dev/my-project/casemate",
            "10.0.0.1:5000/a/b_c/d-e.f",
        ] {
            assert!(Registry::new(good).is_ok(), "{good}");
        }
        let long = format!("a.example/{}", "a".repeat(MAX_REGISTRY));
        for (bad, says) in [
            ("", "characters"),
            (long.as_str(), "characters"),
            ("https://ghcr.io/me", "scheme"),
            ("<REGION>-docker.pkg.dev/p/r", "filled in"),
            ("${REGION}-docker.pkg.dev/p/r", "filled in"),
            ("ghcr.io/me@sha256:00", "digest"),
            ("ghcr.io//me", "empty part"),
            ("ghcr.io/me/", "empty part"),
            ("ghcr.io/me:1", "tag"),
            ("ghcr.io/Me", "a-z"),
            ("ghcr.io/me_", "a-z"),
            ("ghcr.io/m e", "a-z"),
            ("ghcr.io:port/me", "host"),
            ("-ghcr.io/me", "host"),
            ("ghcr..io/me", "host"),
            ("/me", "host"),
            ("me/casemate", "docker.io"),
        ] {
            let error = Registry::new(bad).unwrap_err();
            assert!(error.to_string().contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn platforms_are_those_of_the_table() {
        assert_eq!(platform("Metal-QEMU-SNP").unwrap().name, "metal-qemu-snp");
        for bad in ["", "metal", "metal-qemu-snp ", "../x"] {
            assert!(matches!(platform(bad), Err(FilesError::UnknownPlatform { .. })), "{bad}");
        }
        let local = render(platform("local").unwrap(), &Registry::default());
        assert!(matches!(local, Err(FilesError::NoFiles { .. })));
    }

    #[test]
    fn every_other_platform_has_a_file_or_a_reason() {
        for platform in PLATFORMS.iter().filter(|platform| platform.tee != Tee::Software) {
            let rendered = render(platform, &Registry::default()).unwrap();
            let paired = rendered.files.iter().filter(|file| !file.name.starts_with("configuration-")).count();
            assert_eq!(paired + rendered.notes.len(), 2, "{}", platform.name);
            assert!(!rendered.files.is_empty(), "{}", platform.name);
        }
    }

    #[test]
    fn no_image_is_left_at_the_placeholder_once_a_registry_is_said() {
        let registry = Registry::new("ghcr.io/me").unwrap();
        for platform in PLATFORMS.iter().filter(|platform| platform.tee != Tee::Software) {
            for file in render(platform, &registry).unwrap().files {
                assert!(!file.text.contains(PLACEHOLDER), "{}", file.name);
                if file.name.starts_with("configuration-") {
                    continue;
                }
                let image = format!(
                    "image: ghcr.io/me/casemate-{}:{VERSION}\n",
                    if file.name.starts_with("runtime") { "node" } else { "pod" }
                );
                assert_eq!(file.text.matches(&image).count(), 1, "{}", file.name);
            }
        }
    }
}
