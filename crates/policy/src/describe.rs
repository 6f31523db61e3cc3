//! What a policy lets a pod do, as values that can be printed, compared and signed for.
//!
//! It reads what the rules read, `policy_data`, and nothing that the rules ignore. Whether the rules are those of this
//! release is part of the answer: the values say what a pod may do only under rules that are known. A value of which
//! this module does not know what it means is handed on as it is, never left out.

mod cluster;
mod container;
mod data;
mod diff;
mod reference;
mod requests;
mod rules;
mod source;

use std::collections::BTreeMap;

use protocol::initdata::{InitdataError, Settings};
use protocol::{Identity, Initdata};
use serde::Serialize;
use serde_json::Value;

pub use cluster::{Argument, readable, value_words};
pub use container::{Container, Environment, Mount, Supplier, User, power, words};
pub use diff::{Change, Deployment, Difference, Effect, Kind, Pod, diff};
pub use requests::{MAX_REQUESTS, Recorded, RequestsError, requests};
pub use rules::{Endpoints, Rules};
pub use source::{Found, SourceError, find};

/// What a pod may do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// SHA-256 of the initdata document; absent where a policy was given alone.
    pub identity: Option<Identity>,
    /// What our own code in the pod obeys; absent where a policy was given alone, or another's initdata.
    pub settings: Option<Settings>,
    /// Whether the document holds policy and settings, as this release writes them, and nothing besides.
    pub complete: bool,
    /// What the agent enforces.
    pub policy: Policy,
}

/// What the agent enforces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// The rules.
    pub rules: Rules,
    /// Which requests are always, never or sometimes allowed.
    pub requests: Endpoints,
    /// The namespace.
    pub namespace: String,
    /// The pattern that the pod's name fits.
    pub pod: String,
    /// The pattern that its host name fits.
    pub hostname: String,
    /// Whether the host name is given, not made from the pod's name.
    pub hostname_is_fixed: bool,
    /// How many pods with an index each its Job has: the same index in name, host name and variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<u64>,
    /// Whether its containers see each other's processes.
    pub shared_processes: bool,
    /// Services whose environment variables the host may set.
    pub services: Vec<String>,
    /// Names of files that the host copies in.
    pub host_files: Vec<String>,
    /// Names of folders that the host copies in, with all that is below them.
    pub host_folders: Vec<String>,
    /// Containers that the host may signal.
    pub signals: Vec<String>,
    /// Whether the host may read what containers print.
    pub logs: Access,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, Value>,
    /// The container that holds the sandbox.
    pub pause: Container,
    /// The others, in the order of the policy.
    pub containers: Vec<Container>,
    /// Values that this release has no words for, by path.
    pub unknown: BTreeMap<String, Value>,
}

/// To whom something is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// To no container.
    Closed,
    /// To every container.
    Open,
    /// To these containers.
    Only(Vec<String>),
    /// The rules decide in a way that this release does not know.
    Rules,
}

/// A document of which nothing can be said.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// No initdata.
    #[error(transparent)]
    Initdata(#[from] InitdataError),
    /// No policy of an agent.
    #[error("{reason}")]
    Policy {
        /// The engine's words.
        reason: String,
    },
    /// A policy without our values.
    #[error("the policy has no `policy_data`: it is not of this generator, and what it allows is in its rules alone")]
    NoData,
    /// A value that is missing or of another type.
    #[error("`policy_data.{path}` is not {expected}")]
    Field {
        /// Where.
        path: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// Describes initdata.
pub fn describe(initdata: &Initdata) -> Result<Description, DescribeError> {
    let settings = match initdata.settings() {
        Ok(settings) => Some(settings),
        Err(InitdataError::Missing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let rego = initdata.policy()?;
    let mut policy = data::policy(rego)?;
    if let Some(settings) = &settings {
        container::check_files(&mut policy.containers, settings);
    }
    let again = settings.as_ref().and_then(|settings| Initdata::build(rego, settings).ok());
    let complete = again.is_some_and(|again| again.document() == initdata.document());
    Ok(Description { identity: Some(initdata.identity()), settings, complete, policy })
}

/// Describes a policy alone.
pub fn describe_policy(rego: &str) -> Result<Description, DescribeError> {
    Ok(Description { identity: None, settings: None, complete: false, policy: data::policy(rego)? })
}

/// The policy with these values under the rules of this release: for whoever wants to see what a change would do.
pub fn policy_with(values: &Value) -> String {
    crate::policy_data::render(values)
}

/// The rules of this release, written to be read: all of them, of which a pod has those that its values use.
pub fn rules_text() -> String {
    crate::policy_data::all_rules()
}

#[cfg(test)]
mod tests;
