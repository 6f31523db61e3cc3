//! `policy_data` as the policy's own engine evaluates it.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};
use serde_json::{Map, Value};

use super::container::{self, Container};
use super::{Access, DescribeError, Policy, rules};
use crate::PolicyEngine;
use crate::policy_data::read_values;

/// LIMIT: the same document as an agent takes; see `evaluate`.
const MAX_POLICY: usize = protocol::initdata::MAX_DOCUMENT;
/// LIMIT: an argument of 128 KiB, the most that Linux passes on, stands on one line.
const MAX_LINE: u32 = 160 * 1024;
/// LIMIT: values are constants; whoever needs longer than this computes them, or is an attack.
const MAX_TIME: Duration = Duration::from_secs(2);

/// Reads a policy.
pub(super) fn policy(rego: &str) -> Result<Policy, DescribeError> {
    let (values, constants) = values(rego)?;
    let (rules, requests) = rules::examine(rego, &values);
    let mut fields = Fields::new(&values, "")?;
    let mut unknown = BTreeMap::new();
    let namespace = fields.text("namespace")?;
    let volume_options = fields.take("volume_options", "an object")?;
    let annotations = fields.take("annotations", "an object")?;
    let frame = container::Frame { constants: &constants, volume_options: &volume_options, annotations: &annotations };
    let sysctls = fields.take("sysctl", "an object")?.as_object().cloned().unwrap_or_default();
    // The rules have put it into the record of the pause container.
    fields.optional("pause_user");
    let pause = container::read("pause", Fields::new(&constants.pause, "pause")?, &frame, &mut unknown)?;
    let mut containers: Vec<Container> = Vec::new();
    let all = fields.take("containers", "an object")?;
    let all = all.as_object().ok_or(DescribeError::Field { path: "containers".into(), expected: "an object" })?;
    for (name, record) in all {
        let record = Fields::new(record, &format!("containers.{name}"))?;
        containers.push(container::read(name, record, &frame, &mut unknown)?);
    }
    let signals = fields.texts("signals")?;
    container::connect(&mut containers, &signals);
    let logs = match fields.optional("logs") {
        Some(Value::Bool(open)) => Some(if open { Access::Open } else { Access::Closed }),
        Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            Some(if names.is_empty() { Access::Closed } else { Access::Only(names) })
        }
        Some(other) => {
            unknown.insert("logs".to_owned(), other);
            Some(Access::Rules)
        }
        None => None,
    };
    let is = |list: &[String]| list.iter().any(|name| name == "ReadStreamRequest");
    let logs = match logs {
        _ if !rules.known => Access::Rules,
        _ if is(&requests.always) => Access::Open,
        _ if is(&requests.never) => Access::Closed,
        Some(access) => access,
        None => Access::Rules,
    };
    let mut copies = Fields::new(&fields.take("copies", "an object")?, "copies")?;
    let (host_files, host_folders) = (copies.texts("files")?, copies.texts("trees")?);
    copies.rest(&mut unknown);
    let completions = fields.optional("completions").map(|value| {
        value.as_u64().ok_or(DescribeError::Field { path: "completions".into(), expected: "a whole number" })
    });
    let policy = Policy {
        rules,
        requests,
        namespace,
        pod: fields.text("pod")?,
        hostname: fields.text("hostname")?,
        hostname_is_fixed: fields.flag("hostname_is_fixed")?,
        completions: completions.transpose()?,
        shared_processes: fields.flag("pidns")?,
        services: fields.texts("services")?,
        host_files,
        host_folders,
        signals,
        logs,
        sysctls: sysctls.into_iter().collect(),
        pause,
        containers,
        unknown: BTreeMap::new(),
    };
    fields.rest(&mut unknown);
    Ok(Policy { unknown, ..policy })
}

/// What the rules hold for every pod.
pub(super) struct Constants {
    /// The record of the pause container.
    pub(super) pause: Value,
    /// Mounts of every container.
    pub(super) mounts_of_all: Value,
    /// Mounts of every container but the pause container: with a root file system that can be written, and without.
    pub(super) mounts_of_kubelet: [Value; 2],
    /// What `default` stands for.
    pub(super) default_capabilities: Value,
}

/// The values, and what the rules add. Where the text of the values is ours, its order of containers is kept: it is
/// that of the pod.
fn values(rego: &str) -> Result<(Value, Constants), DescribeError> {
    let policy = |reason: String| DescribeError::Policy { reason };
    PolicyEngine::new(rego).map_err(|error| policy(error.to_string()))?;
    let mut engine = regorus::Engine::new();
    if let (Some(max_col), Some(max_file_bytes), Some(max_lines)) =
        (NonZeroU32::new(MAX_LINE), NonZeroUsize::new(MAX_POLICY), NonZeroUsize::new(MAX_POLICY / 20))
    {
        engine.set_policy_length_config(PolicyLengthConfig { max_col, max_file_bytes, max_lines });
    }
    if let Some(check_interval) = NonZeroU32::new(64) {
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: MAX_TIME, check_interval });
    }
    engine.set_strict_builtin_errors(false);
    engine.add_policy("policy.rego".into(), rego.into()).map_err(|error| policy(error.to_string()))?;
    let value = engine.eval_rule("data.agent_policy.policy_data".into()).map_err(|_| DescribeError::NoData)?;
    let value = serde_json::to_value(&value).map_err(|error| policy(error.to_string()))?;
    if !value.is_object() {
        return Err(DescribeError::NoData);
    }
    let mut query = |name: &str| -> Value {
        let results = engine.eval_query(format!("data.agent_policy.{name}"), false).ok();
        let first = results.and_then(|results| results.result.into_iter().next());
        let first = first.and_then(|result| result.expressions.into_iter().next());
        first.and_then(|expression| serde_json::to_value(expression.value).ok()).unwrap_or_default()
    };
    let of_kubelet = |readonly: bool| format!("mounts_of_kubelet({{\"image\": \"x\", \"readonly_root\": {readonly}}})");
    let constants = Constants {
        pause: query("pause"),
        mounts_of_all: query("mounts_of_all"),
        mounts_of_kubelet: [query(&of_kubelet(false)), query(&of_kubelet(true))],
        default_capabilities: query("default_capabilities"),
    };
    let written = rules::split(rego).and_then(|(_, text)| read_values(text));
    Ok((written.filter(|written| *written == value).unwrap_or(value), constants))
}

/// The members of an object, each of which must be taken or handed on.
pub(super) struct Fields {
    path: String,
    members: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(value: &Value, path: &str) -> Result<Self, DescribeError> {
        match value.as_object() {
            Some(members) => Ok(Self { path: path.to_owned(), members: members.clone() }),
            None => Err(DescribeError::Field { path: path.to_owned(), expected: "an object" }),
        }
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, expected: &'static str) -> DescribeError {
        DescribeError::Field { path: self.at(key), expected }
    }

    pub(super) fn optional(&mut self, key: &str) -> Option<Value> {
        self.members.shift_remove(key)
    }

    /// A list or an object.
    pub(super) fn take(&mut self, key: &str, expected: &'static str) -> Result<Value, DescribeError> {
        let fits = |value: &Value| if expected == "a list" { value.is_array() } else { value.is_object() };
        self.optional(key).filter(fits).ok_or_else(|| self.wrong(key, expected))
    }

    pub(super) fn text(&mut self, key: &str) -> Result<String, DescribeError> {
        match self.optional(key) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(self.wrong(key, "text")),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool, DescribeError> {
        self.optional(key).and_then(|value| value.as_bool()).ok_or_else(|| self.wrong(key, "true or false"))
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, DescribeError> {
        let items = self.take(key, "a list")?;
        let texts = items.as_array().into_iter().flatten().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>().ok_or_else(|| self.wrong(key, "a list of text"))
    }

    /// Hands on what nobody took.
    pub(super) fn rest(self, unknown: &mut BTreeMap<String, Value>) {
        let path = |key: &str| if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        unknown.extend(self.members.iter().map(|(key, value)| (path(key), value.clone())));
    }
}
