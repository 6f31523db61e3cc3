//! The snapshot that checks look at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::Kind;

/// Everything that was seen at one moment. A part that is absent was not asked for.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// When, by the clock of the machine that asked: seconds since 1970.
    pub taken: i64,
    /// The cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Answer<Machine>>,
    /// The work folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// The services of Endorsers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<Service>>,
    /// Whether the Coordinator's address of the command line can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<Address>,
    /// Certificates with an end: of the kubeconfig, and of `verify/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
}

/// Something that was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer<T> {
    /// It was seen.
    Known(T),
    /// It could not be, and why.
    Unknown(String),
}

/// Why a check cannot tell.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// Nobody wanted it looked at.
    #[error("{what} was not asked for")]
    NotAsked {
        /// What was not.
        what: &'static str,
    },
    /// It was asked for, and there was no answer.
    #[error("{what} could not be read: {why}")]
    NoAnswer {
        /// What was asked for.
        what: String,
        /// Why there was none.
        why: String,
    },
}

/// What a cluster said.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The context of the kubeconfig.
    #[serde(default)]
    pub context: String,
    /// The API server's address.
    #[serde(default)]
    pub server: String,
    /// Why it could not be reached at all; then nothing else is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
    /// The namespace of resources that name none.
    #[serde(default)]
    pub namespace: String,
    /// The namespaces that were looked at, where they were not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// `/version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Answer<Value>>,
    /// The API server's clock when it answered, and the local one: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// What the probes of Coordinators said, by `namespace/pod`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, Answer<String>>,
    /// The objects, by kind. They are kept in files of their own.
    #[serde(skip)]
    pub objects: BTreeMap<Kind, Answer<Vec<Value>>>,
}

/// Two clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The API server's, by the header `Date`, which has whole seconds.
    pub server: i64,
    /// Ours, in the middle of the request.
    pub local: i64,
    /// How long the request took, in milliseconds: the answer is off by no more.
    pub milliseconds: u64,
}

/// The user's folder.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Its path as it was given.
    pub path: String,
    /// Pods and what makes them, reduced like the cluster's.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// `manifest.json` reduced; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Answer<ManifestFacts>>,
    /// Files that could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// One document of a file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The file, relative to the folder.
    pub file: String,
    /// The object.
    pub object: Value,
}

/// What is kept of a manifest: nothing of it is secret, and most of it is of no use here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFacts {
    /// The deployment it is for.
    pub deployment: String,
    /// Its entries: identity, and the first name.
    pub entries: BTreeMap<String, String>,
    /// Which vendors' services its reference values need: `amd`, `intel`, `nvidia`.
    #[serde(default)]
    pub vendors: Vec<String>,
}

/// One vendor's service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// `amd`, `intel` or `nvidia`.
    pub vendor: String,
    /// What it is, for people.
    pub about: String,
    /// Its address.
    pub url: String,
    /// Why it did not answer; absent where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// An address that was connected to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Host and port.
    pub address: String,
    /// Why there was no connection; absent where there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Whose, for people: `the client certificate of the kubeconfig`.
    pub what: String,
    /// How a new one is had.
    pub renewal: String,
    /// When it ends, seconds since 1970; or why it cannot be read.
    pub ends: Answer<i64>,
}

/// The facts of a machine that is to run confidential guests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// `AuthenticAMD` or `GenuineIntel`.
    pub vendor: String,
    /// Flags of the processor that matter here.
    pub flags: Vec<String>,
    /// Parameters of KVM's modules: `kvm_amd.sev_snp`, `kvm_intel.tdx`, as they stand.
    pub parameters: BTreeMap<String, String>,
    /// Words of the kernel's command line that are about the IOMMU and memory encryption.
    pub command_line: Vec<String>,
    /// Groups of the IOMMU.
    pub iommu_groups: usize,
    /// Which of the device nodes that matter are there.
    pub devices: Vec<String>,
    /// NVIDIA GPUs on the PCI bus.
    pub gpus: usize,
}

impl Bundle {
    /// The cluster, if one was asked and answered.
    pub fn cluster(&self) -> Result<&Cluster, Unknown> {
        let cluster = self.cluster.as_ref().ok_or(Unknown::NotAsked { what: "a cluster" })?;
        match &cluster.unreachable {
            None => Ok(cluster),
            Some(why) => Err(Unknown::NoAnswer { what: "the cluster".to_owned(), why: why.clone() }),
        }
    }

    /// All objects of a kind.
    pub fn list(&self, kind: Kind) -> Result<&[Value], Unknown> {
        let no_answer = |why: &str| Unknown::NoAnswer { what: kind.plural().to_owned(), why: why.to_owned() };
        match self.cluster()?.objects.get(&kind) {
            Some(Answer::Known(objects)) => Ok(objects),
            Some(Answer::Unknown(why)) => Err(no_answer(why)),
            None => Err(no_answer("the bundle has no list of them")),
        }
    }

    /// All objects of a kind, which must include those of a namespace.
    pub fn list_with(&self, kind: Kind, namespace: &str) -> Result<&[Value], Unknown> {
        let objects = self.list(kind)?;
        match &self.cluster()?.namespaces {
            Some(seen) if kind.is_namespaced() && !seen.iter().any(|name| name == namespace) => {
                let what = format!("{} of namespace {namespace}", kind.plural());
                Err(Unknown::NoAnswer { what, why: format!("only {} was looked at", seen.join(", ")) })
            }
            _ => Ok(objects),
        }
    }

    /// The work folder.
    pub fn work(&self) -> Result<&Work, Unknown> {
        self.work.as_ref().ok_or(Unknown::NotAsked { what: "a work folder" })
    }

    /// The manifest of the work folder.
    pub fn manifest(&self) -> Result<&ManifestFacts, Unknown> {
        match &self.work()?.manifest {
            Some(Answer::Known(manifest)) => Ok(manifest),
            Some(Answer::Unknown(why)) => Err(Unknown::NoAnswer { what: "manifest.json".to_owned(), why: why.clone() }),
            None => Err(Unknown::NotAsked { what: "a work folder with a manifest.json" }),
        }
    }

    /// The machine.
    pub fn machine(&self) -> Result<&Machine, Unknown> {
        match self.machine.as_ref().ok_or(Unknown::NotAsked { what: "this machine (`--local`)" })? {
            Answer::Known(machine) => Ok(machine),
            Answer::Unknown(why) => Err(Unknown::NoAnswer { what: "this machine".to_owned(), why: why.clone() }),
        }
    }
}
