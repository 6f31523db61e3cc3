//! The classes: how containerd calls them, and the RuntimeClass objects that a cluster selects nodes by.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// The name of a class: of the RuntimeClass, of its handler, and of containerd's runtime.
///
/// Lower-case letters, digits and hyphens, beginning with `kata`: a label that Kubernetes accepts, a TOML key that needs no
/// quotes, and part of the name of a shim binary.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Handler(String);

/// LIMIT: a label of RFC 1123, which a RuntimeClass's handler must be.
const MAX_HANDLER: usize = 63;

/// What is wrong with a name or a path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not a handler.
    #[error("`{0}` is no name of a Kata class: `kata` and then lower-case letters, digits and hyphens, at most 63")]
    Handler(String),
    /// Not a path that is safe in a configuration file.
    #[error("`{0}` is no absolute path of letters, digits and `._-/` without `..`")]
    Path(String),
    /// Not a snapshotter.
    #[error("`{0}` is no snapshotter: lower-case letters, digits and hyphens, at most 63")]
    Snapshotter(String),
}

fn is_label(text: &str) -> bool {
    (1..=MAX_HANDLER).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl Handler {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.starts_with("kata") && is_label(&name) { Ok(Self(name)) } else { Err(NameError::Handler(name)) }
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file name of the shim that containerd derives from the runtime type `io.containerd.NAME.v2`.
    pub fn shim_name(&self) -> String {
        format!("containerd-shim-{}-v2", self.0)
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Handler {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<Handler> for String {
    fn from(handler: Handler) -> Self {
        handler.0
    }
}

/// An absolute path of the host that needs no quoting in TOML, nor in a Go template.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPath(String);

impl HostPath {
    /// Checks a path.
    pub fn new(path: impl Into<String>) -> Result<Self, NameError> {
        let path = path.into();
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        let parts = path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
        if path.starts_with('/') && parts && path.bytes().all(fine) {
            Ok(Self(path))
        } else {
            Err(NameError::Path(path))
        }
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostPath {
    type Error = NameError;

    fn try_from(path: String) -> Result<Self, NameError> {
        Self::new(path)
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.0
    }
}

/// What containerd is told of one class.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// The class.
    pub handler: Handler,
    /// The shim's binary.
    pub shim: HostPath,
    /// Kata's own configuration file for this class.
    pub config: HostPath,
    /// The snapshotter for images of such pods; `None` for the node's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshotter: Option<Snapshotter>,
}

/// The name of a snapshotter, such as `nydus`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Snapshotter(String);

impl Snapshotter {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if is_label(&name) { Ok(Self(name)) } else { Err(NameError::Snapshotter(name)) }
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Snapshotter {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<Snapshotter> for String {
    fn from(name: Snapshotter) -> Self {
        name.0
    }
}

/// A RuntimeClass object of `node.k8s.io/v1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RuntimeClass {
    /// Of the object and of its handler.
    pub name: &'static str,
    /// What a pod of this class takes beside its containers, as Kubernetes quantities: virtual machine monitor, shim and
    /// the guest's own memory. The values are those of the Kata project's chart.
    pub overhead: Vec<(&'static str, &'static str)>,
    /// Labels that a node must have.
    pub node_selector: Vec<(&'static str, &'static str)>,
}

/// The label of nodes that have the runtime at all; kata-deploy writes the same one.
pub const RUNTIME_LABEL: &str = "katacontainers.io/kata-runtime";
const CC_READY: &str = "nvidia.com/cc.ready.state";
const SNP: (&str, &str) = ("amd.feature.node.kubernetes.io/snp", "true");
const TDX: (&str, &str) = ("intel.feature.node.kubernetes.io/tdx", "true");

/// Whether pods of confidential classes ask for one of the keys that the processor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// They do: the scheduler then puts no more guests on a node than it has keys for. Right only where something
    /// announces `sev-snp.amd.com/esids` and `tdx.intel.com/keys` as extended resources; no pod starts otherwise.
    Counted,
    /// They do not.
    NotCounted,
}

/// The five classes.
pub fn runtime_classes(keys: Keys) -> Vec<RuntimeClass> {
    let class = |name, gpu: bool, tee: Option<(&'static str, &'static str)>| {
        let memory = if gpu { "10240Mi" } else { "2048Mi" };
        let mut overhead = vec![("cpu", "1"), ("memory", memory)];
        let mut node_selector = vec![(RUNTIME_LABEL, "true")];
        if gpu {
            node_selector.push((CC_READY, if tee.is_some() { "true" } else { "false" }));
        }
        node_selector.extend(tee);
        if keys == Keys::Counted {
            overhead.extend(match tee {
                Some(SNP) => Some(("sev-snp.amd.com/esids", "1")),
                Some(_) => Some(("tdx.intel.com/keys", "1")),
                None => None,
            });
        }
        RuntimeClass { name, overhead, node_selector }
    };
    vec![
        class("kata-qemu-snp", false, Some(SNP)),
        class("kata-qemu-tdx", false, Some(TDX)),
        class("kata-qemu-nvidia-gpu", true, None),
        class("kata-qemu-nvidia-gpu-snp", true, Some(SNP)),
        class("kata-qemu-nvidia-gpu-tdx", true, Some(TDX)),
    ]
}

/// The objects as YAML. Quantities and label values are quoted, since YAML would take some of them for something else.
pub fn yaml(classes: &[RuntimeClass]) -> String {
    let mut text = String::new();
    for (number, RuntimeClass { name, overhead, node_selector }) in classes.iter().enumerate() {
        let separator = if number == 0 { "" } else { "---\n" };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{separator}apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: {name}\n  labels:\n    \
             app.kubernetes.io/managed-by: casemate-node\nhandler: {name}\noverhead:\n  podFixed:\n"
        );
        for (key, value) in overhead {
            let _ = writeln!(text, "    {key}: \"{value}\"");
        }
        text.push_str("scheduling:\n  nodeSelector:\n");
        for (key, value) in node_selector {
            let _ = writeln!(text, "    {key}: \"{value}\"");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn names_of_classes_are_labels_that_begin_with_kata() {
        for good in ["kata", "kata-qemu-snp", "kata-qemu-nvidia-gpu-tdx"] {
            assert!(Handler::new(good).is_ok(), "{good}");
        }
        let long = format!("kata-{}", "x".repeat(59));
        for bad in ["", "runc", "kata_qemu", "kata-", "Kata", "kata.qemu", "kata qemu", "kata\"", &long] {
            assert_eq!(Handler::new(bad), Err(NameError::Handler(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn paths_need_no_quoting_and_climb_nowhere() {
        assert!(HostPath::new("/opt/casemate/kata/current/shims/x").is_ok());
        for bad in ["", "opt", "/opt//x", "/opt/../x", "/opt/./x", "/opt/", "/a b", "/a\"b", "/{{x}}", "/a\nb", "/é"] {
            assert_eq!(HostPath::new(bad), Err(NameError::Path(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn snapshotters_are_labels() {
        assert!(Snapshotter::new("nydus").is_ok());
        for bad in ["", "a b", "a\"", "-a"] {
            assert!(Snapshotter::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_class_for_gpus_without_confidentiality_is_for_nodes_that_are_not_in_that_mode() {
        let classes = runtime_classes(Keys::NotCounted);
        let selector = |name: &str| {
            let class = classes.iter().find(|class| class.name == name).unwrap();
            class.node_selector.iter().find(|(key, _)| *key == CC_READY).map(|(_, value)| *value)
        };
        assert_eq!(selector("kata-qemu-nvidia-gpu"), Some("false"));
        assert_eq!(selector("kata-qemu-nvidia-gpu-snp"), Some("true"));
        assert_eq!(selector("kata-qemu-nvidia-gpu-tdx"), Some("true"));
        assert_eq!(selector("kata-qemu-snp"), None);
    }

    #[test]
    fn every_class_has_a_name_that_containerd_takes() {
        for class in runtime_classes(Keys::Counted) {
            assert_eq!(Handler::new(class.name).unwrap().shim_name(), format!("containerd-shim-{}-v2", class.name));
        }
    }

    #[test]
    fn keys_are_asked_for_by_confidential_classes_alone() {
        let asks = |keys| -> Vec<bool> {
            let classes = runtime_classes(keys);
            classes.iter().map(|class| class.overhead.iter().any(|(name, _)| name.contains('/'))).collect()
        };
        assert_eq!(asks(Keys::Counted), [true, true, false, true, true]);
        assert_eq!(asks(Keys::NotCounted), [false; 5]);
    }

    #[test]
    fn classes_as_yaml() {
        expect![[r#"
            apiVersion: node.k8s.io/v1
            kind: RuntimeClass
            metadata:
              name: kata-qemu-snp
              labels:
                app.kubernetes.io/managed-by: casemate-node
            handler: kata-qemu-snp
            overhead:
              podFixed:
                cpu: "1"
                memory: "2048Mi"
                sev-snp.amd.com/esids: "1"
            scheduling:
              nodeSelector:
                katacontainers.io/kata-runtime: "true"
                amd.feature.node.kubernetes.io/snp: "true"
            ---
            apiVersion: node.k8s.io/v1
            kind: RuntimeClass
            metadata:
              name: kata-qemu-tdx
              labels:
                app.kubernetes.io/managed-by: casemate-node
            handler: kata-qemu-tdx
            overhead:
              podFixed:
                cpu: "1"
                memory: "2048Mi"
                tdx.intel.com/keys: "1"
            scheduling:
              nodeSelector:
                katacontainers.io/kata-runtime: "true"
                intel.feature.node.kubernetes.io/tdx: "true"
        "#]]
        .assert_eq(&yaml(&runtime_classes(Keys::Counted)[..2]));
    }
}
