//! `policy_data` as the policy's own engine evaluates it.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};
use serde_json::{Map, Value};

use super::container::{self, Container};
use super::{Access, DescribeError, Policy, rules};
use crate::PolicyEngine;
use crate::request::{PodInstance, sandbox_request};

/// LIMIT: the same document as an agent takes; see `evaluate`.
const MAX_POLICY: usize = protocol::initdata::MAX_DOCUMENT;
/// LIMIT: an argument of 128 KiB, the most that Linux passes on, stands on one line.
const MAX_LINE: u32 = 160 * 1024;
/// LIMIT: values are constants; whoever needs longer than this computes them, or is an attack.
const MAX_TIME: Duration = Duration::from_secs(2);

/// Reads a policy.
pub(super) fn policy(rego: &str) -> Result<Policy, DescribeError> {
    let values = values(rego)?;
    let (rules, requests) = rules::examine(rego, &values);
    let mut fields = Fields::new(&values, "")?;
    let mut unknown = BTreeMap::new();
    let mut shared = fields.take("mounts", "a list")?.as_array().cloned().unwrap_or_default();
    // Earlier policies have one list for all containers and name the pause image; later ones share a list with the
    // pause container, and their rules name its image.
    let of_containers = fields.optional("container_mounts");
    let is_later = of_containers.is_some();
    let of_pause = if is_later { shared.clone() } else { Vec::new() };
    match of_containers {
        None => {}
        Some(Value::Array(mounts)) => shared.extend(mounts),
        Some(_) => return Err(fields.wrong("container_mounts", "a list")),
    }
    let mut pause = Fields::new(&fields.take("pause", "an object")?, "pause")?;
    let sysctls = pause.take("sysctl", "an object")?.as_object().cloned().unwrap_or_default();
    let pause = container::read("pause", pause, &of_pause, is_later, &mut unknown)?;
    let mut containers: Vec<Container> = Vec::new();
    let all = fields.take("containers", "an object")?;
    let all = all.as_object().ok_or(DescribeError::Field { path: "containers".into(), expected: "an object" })?;
    for (name, record) in all {
        let record = Fields::new(record, &format!("containers.{name}"))?;
        containers.push(container::read(name, record, &shared, false, &mut unknown)?);
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
    let sandbox_storages = fields.take("sandbox_storages", "a list")?;
    let usual = sandbox_request(&Value::Null, &PodInstance::default());
    let usual = |storage: &Value| {
        let mut all = usual["storages"].as_array().into_iter().flatten();
        all.any(|known| {
            storage.as_object().is_some_and(|fields| fields.iter().all(|(key, value)| known[key] == *value))
        })
    };
    for (index, storage) in sandbox_storages.as_array().into_iter().flatten().enumerate() {
        if !usual(storage) {
            unknown.insert(format!("sandbox_storages[{index}]"), storage.clone());
        }
    }
    let (host_files, host_folders) = match fields.optional("copies") {
        Some(copies) if copies.is_object() => {
            let mut copies = Fields::new(&copies, "copies")?;
            let lists = (copies.texts("files")?, copies.texts("trees")?);
            copies.rest(&mut unknown);
            lists
        }
        Some(copies) => {
            fields.members.insert("copies".into(), copies);
            (fields.texts("copies")?, Vec::new())
        }
        None => return Err(fields.wrong("copies", "a list")),
    };
    let policy = Policy {
        rules,
        requests,
        namespace: fields.text("namespace")?,
        pod: fields.text("pod")?,
        hostname: fields.text("hostname")?,
        hostname_is_fixed: fields.flag("hostname_is_fixed")?,
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

/// The values. Where their text is JSON, its order of containers is kept: it is that of the pod.
fn values(rego: &str) -> Result<Value, DescribeError> {
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
    engine.add_policy("policy.rego".into(), rego.into()).map_err(|error| policy(error.to_string()))?;
    let value = engine.eval_rule("data.agent_policy.policy_data".into()).map_err(|_| DescribeError::NoData)?;
    let value = serde_json::to_value(&value).map_err(|error| policy(error.to_string()))?;
    if !value.is_object() {
        return Err(DescribeError::NoData);
    }
    let written = rego.split_once("\npolicy_data := ").and_then(|(_, text)| serde_json::from_str::<Value>(text).ok());
    Ok(written.filter(|written| *written == value).unwrap_or(value))
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
