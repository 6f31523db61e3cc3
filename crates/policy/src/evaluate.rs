//! Decides the requests of a pod agent.
use serde_json::Value;

/// A decision on one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may be acted on.
    pub allowed: bool,
    /// Why not, one sentence fragment for each field, such as `OCI.Process.Args[2]: got "x", policy has "y"`.
    pub reasons: Vec<String>,
}

/// A policy that cannot be used, or a request that cannot be decided. Both mean: refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The policy is no Rego.
    #[error("policy: {reason}")]
    Policy {
        /// The engine's words.
        reason: String,
    },
    /// LIMIT exceeded.
    #[error("request of {got} bytes, at most {limit} are decided")]
    TooLong {
        /// Its length.
        got: usize,
        /// The limit.
        limit: usize,
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
pub struct PolicyEngine {}

impl PolicyEngine {
    /// Loads a policy.
    pub fn new(_rego: &str) -> Result<Self, EvaluateError> {
        Ok(Self {})
    }

    /// Decides one request. The state changes only when it is allowed.
    pub fn decide(&mut self, endpoint: &str, _request: &Value) -> Result<Decision, EvaluateError> {
        Err(EvaluateError::Undecided { endpoint: endpoint.into(), reason: "not built yet".into() })
    }
}
