//! Decides the requests of a pod agent: Rego decides, `explain` says why not.

mod effort;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use protocol::text::{printable, quoted};
use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};
use serde_json::{Map, Value, json};

use crate::explain;
use crate::policy_data::is_refused_without_rule;

/// LIMIT: a request with a few hundred variables and mounts is under 100 KiB; the agent's own limit for a message is
/// 4 MiB (gRPC's default), which a policy has no reason to read through.
pub const MAX_REQUEST: usize = 1024 * 1024;

/// LIMIT: the largest argument or variable that Linux passes to a process is 128 KiB (`MAX_ARG_STRLEN`), and each
/// stands in a line of its own.
const MAX_LINE: u32 = 160 * 1024;
/// LIMIT: what [`protocol::initdata::MAX_DOCUMENT`] lets in.
const MAX_POLICY: usize = protocol::initdata::MAX_DOCUMENT;
/// LIMIT: as many lines as a policy of that size has at 20 characters each, which is less than the average of ours.
const MAX_LINES: usize = MAX_POLICY / 20;
/// LIMIT: a decision takes about 2 ms; a thousand times that is an attack or a hung machine.
const MAX_TIME: Duration = Duration::from_secs(2);

/// A decision on one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may be acted on.
    pub allowed: bool,
    /// Why not, one sentence fragment for each field, such as `OCI.Process.Args[2]: got "x", policy has "y"`.
    pub reasons: Vec<String>,
}

/// A policy that cannot be used, or a request that cannot be decided. Both mean: refuse.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The policy is no Rego, or not one of an agent.
    #[error("policy: {reason}")]
    Policy {
        /// The engine's words.
        reason: String,
    },
    /// Longer than [`MAX_REQUEST`].
    #[error("{endpoint} of {got} bytes, at most {MAX_REQUEST} are decided")]
    TooLong {
        /// The request's name.
        endpoint: String,
        /// Its length.
        got: usize,
    },
    /// The evaluation failed or took too long.
    #[error("{endpoint} could not be decided: {reason}")]
    Undecided {
        /// The request's name.
        endpoint: String,
        /// The engine's words.
        reason: String,
    },
}

/// One pod's policy with its state: which containers are live.
pub struct PolicyEngine {
    engine: regorus::Engine,
    state: Map<String, Value>,
}

impl PolicyEngine {
    /// Loads a policy.
    pub fn new(rego: &str) -> Result<Self, EvaluateError> {
        let policy = |reason: &dyn std::fmt::Display| EvaluateError::Policy { reason: reason.to_string() };
        effort::check(rego).map_err(|reason| policy(&reason))?;
        let mut engine = regorus::Engine::new();
        if let (Some(max_col), Some(max_file_bytes), Some(max_lines)) =
            (NonZeroU32::new(MAX_LINE), NonZeroUsize::new(MAX_POLICY), NonZeroUsize::new(MAX_LINES))
        {
            engine.set_policy_length_config(PolicyLengthConfig { max_col, max_file_bytes, max_lines });
        }
        if let Some(check_interval) = NonZeroU32::new(64) {
            engine.set_execution_timer_config(ExecutionTimerConfig { limit: MAX_TIME, check_interval });
        }
        // A call of a built-in function on a value of the wrong type is undefined, and so refuses, as in the Kata agent.
        engine.set_strict_builtin_errors(false);
        let package = engine.add_policy("policy.rego".into(), rego.into()).map_err(|error| policy(&error))?;
        if package != "data.agent_policy" {
            return Err(policy(&format!("package `{package}`, expected `agent_policy`")));
        }
        let mut this = Self { engine, state: Map::new() };
        this.keep_state().map_err(|error| policy(&error))?;
        Ok(this)
    }

    /// Decides one request. The state changes only when it is allowed.
    pub fn decide(&mut self, endpoint: &str, request: &Value) -> Result<Decision, EvaluateError> {
        let undecided =
            |reason: String| EvaluateError::Undecided { endpoint: endpoint.to_owned(), reason: printable(&reason) };
        if !is_request_name(endpoint) {
            let reasons = vec![format!("`{}` is no request of an agent", quoted(endpoint, 80))];
            return Ok(Decision { allowed: false, reasons });
        }
        let text = request.to_string();
        if text.len() > MAX_REQUEST {
            return Err(EvaluateError::TooLong { endpoint: endpoint.to_owned(), got: text.len() });
        }
        self.engine.set_input_json(&text).map_err(|error| undecided(error.to_string()))?;
        // The rule itself and no query: the engine has prepared it, and would have to parse a query each time.
        let answer = match self.engine.eval_rule(format!("data.agent_policy.{endpoint}")) {
            // A rule without a value for this request refuses it.
            Ok(regorus::Value::Undefined) => Value::Null,
            Ok(answer) => serde_json::to_value(&answer).map_err(|error| undecided(error.to_string()))?,
            // Our rules say nothing of what they always refuse.
            Err(error) if error.to_string() == NO_SUCH_RULE && is_refused_without_rule(endpoint) => Value::Null,
            Err(error) if error.to_string() == NO_SUCH_RULE => {
                let reasons = vec![format!("the policy has no rule for `{endpoint}`")];
                return Ok(Decision { allowed: false, reasons });
            }
            Err(error) => return Err(undecided(error.to_string())),
        };
        let operations = match &answer {
            Value::Bool(allowed) => allowed.then(|| json!([])),
            Value::Object(fields) if fields.get("allowed") == Some(&Value::Bool(true)) => {
                Some(fields.get("ops").cloned().unwrap_or_else(|| json!([])))
            }
            _ => None,
        };
        if let Some(operations) = operations {
            self.patch(&operations).map_err(undecided)?;
            return Ok(Decision { allowed: true, reasons: Vec::new() });
        }
        let rules = explain::Rules {
            data: self.constant("policy_data"),
            expected: self.expected(request),
            annotation_patterns: self.constant("annotation_patterns"),
            shm_storage: self.constant("shm_storage"),
            masked_paths: self.constant("masked_paths"),
            masked_paths_of_newer_hosts: self.constant("masked_paths_of_newer_hosts"),
            readonly_paths: self.constant("readonly_paths"),
            namespaces: self.constant("namespaces"),
            sysctls_of_newer_hosts: self.constant("sysctls_of_newer_hosts"),
            service_variables: self.constant("service_variables"),
            copy_dir_modes: self.constant("copy_dir_modes"),
            network: self.constant("network"),
            ip: self.constant("ip"),
        };
        // Reasons compare a request with what our rules hold it against; other rules have their own.
        let is_ours = rules.data.is_object();
        let mut reasons = if is_ours { explain::reasons(&rules, &self.state, endpoint, request) } else { Vec::new() };
        if reasons.is_empty() {
            reasons.push(format!("no rule of the policy allows this {endpoint}"));
        }
        // They quote the host's request, and are logged and shown.
        Ok(Decision { allowed: false, reasons: reasons.iter().map(|reason| printable(reason)).collect() })
    }

    fn constant(&mut self, name: &str) -> Value {
        let value = self.engine.eval_rule(format!("data.agent_policy.{name}"));
        value.ok().and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
    }

    /// What the rules make of the record of the container that a request names.
    fn expected(&mut self, request: &Value) -> explain::Expected {
        let annotation = |name: &str| &request["OCI"]["Annotations"][format!("io.kubernetes.cri.{name}")];
        let record = match annotation("container-type").as_str() {
            Some("sandbox") => "data.agent_policy.pause".to_owned(),
            Some("container") => {
                // JSON's way to write text is Rego's, too.
                format!("data.agent_policy.policy_data.containers[{}]", annotation("container-name"))
            }
            _ => return explain::Expected::default(),
        };
        let mut of_record = |function: &str| self.query(&format!("data.agent_policy.{function}({record})"));
        let [mounts, storages, capabilities, images] =
            ["mounts_of", "storages_of", "capabilities_of", "images_of"].map(&mut of_record);
        explain::Expected { record: self.query(&record), mounts, storages, capabilities, images }
    }

    fn query(&mut self, query: &str) -> Value {
        let results = self.engine.eval_query(query.to_owned(), false).ok();
        let first = results.and_then(|results| results.result.into_iter().next());
        let value = first.and_then(|result| result.expressions.into_iter().next());
        value.and_then(|expression| serde_json::to_value(expression.value).ok()).unwrap_or_default()
    }

    /// Applies a JSON patch below `/pstate`; the rules use `add` and `remove` of whole members.
    fn patch(&mut self, operations: &Value) -> Result<(), String> {
        let mut state = self.state.clone();
        let operations = operations.as_array().ok_or("`ops` is no list")?;
        for operation in operations {
            let key = operation["path"].as_str().and_then(|path| path.strip_prefix("/pstate/"));
            let key = key.filter(|key| !key.contains(['/', '~'])).ok_or("a path of `ops` is not below /pstate")?;
            match operation["op"].as_str() {
                Some("add") => state.insert(key.to_owned(), operation["value"].clone()),
                Some("remove") => Some(state.remove(key).ok_or("`ops` removes what is not there")?),
                _ => return Err("`ops` holds an unknown operation".into()),
            };
        }
        if !operations.is_empty() {
            self.state = state;
            self.keep_state()?;
        }
        Ok(())
    }

    fn keep_state(&mut self) -> Result<(), String> {
        self.engine.clear_data();
        let data = json!({"pstate": self.state}).to_string();
        self.engine.add_data_json(&data).map_err(|error| error.to_string())
    }
}

/// What the engine says of a rule that it does not have. In other words it would be a refusal without this reason.
const NO_SUCH_RULE: &str = "not a valid rule path";

/// An agent asks by the name of the message that it received, and these two are requests all the same.
const MESSAGES_BY_OTHER_NAMES: [&str; 2] = ["MemAgentMemcgConfig", "MemAgentCompactConfig"];

/// Only names of requests are asked for: other rules of the policy answer no question of an agent.
fn is_request_name(name: &str) -> bool {
    name.len() <= 64
        && (name.ends_with("Request") || MESSAGES_BY_OTHER_NAMES.contains(&name))
        && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
pub(crate) mod mutate;
#[cfg(test)]
mod tests;
