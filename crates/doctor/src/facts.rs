//! What is kept of a pod's initdata.
//!
//! Initdata holds the pod's policy, and that holds its whole environment and its arguments. A bundle travels to support,
//! so the annotation is reduced to what the checks need as soon as it is read.

use protocol::Role;
use protocol::initdata::{ANNOTATION, Initdata as Document};
use protocol::text::quoted;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// LIMIT: how much of a parser's words is kept.
const MAX_FAULT: usize = 300;

/// What the initdata annotation of a pod, or of a template, says. It stands in the annotation's place.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initdata {
    /// The pod's identity, 64 hexadecimal digits; absent where the document cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What the pod is; absent where the document has no settings of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The deployment it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Bytes of the annotation.
    #[serde(default)]
    pub bytes: usize,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Initdata {
    /// Reduces an annotation's value.
    pub fn of(annotation: &str) -> Self {
        let bytes = annotation.len();
        let fault = |error: &dyn std::fmt::Display| Some(quoted(&error.to_string(), MAX_FAULT));
        let document = match Document::from_annotation(annotation) {
            Ok(document) => document,
            Err(error) => return Self { bytes, fault: fault(&error), ..Self::default() },
        };
        let identity = Some(document.identity().to_string());
        match document.settings() {
            Ok(settings) => Self {
                identity,
                role: Some(settings.role),
                deployment: Some(settings.deployment_id.to_string()),
                bytes,
                fault: None,
            },
            Err(error) => Self { identity, bytes, fault: fault(&error), ..Self::default() },
        }
    }

    /// That of an object with `metadata`, already reduced; `None`: it has none.
    pub fn on(object: &Value) -> Option<Self> {
        let value = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?;
        // In a bundle that somebody edited anything may stand here.
        Some(Self::deserialize(value).unwrap_or_else(|_| Self {
            fault: Some("the bundle has something else in its place".to_owned()),
            ..Self::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_initdata_is_a_fault_and_not_nothing() {
        for text in ["", "!!", "aGVsbG8=", "{\"identity\":\"00\"}"] {
            let facts = Initdata::of(text);
            assert!(facts.fault.is_some() && facts.identity.is_none(), "{text}: {facts:?}");
            assert_eq!(facts.bytes, text.len());
        }
        let odd = serde_json::json!({"metadata": {"annotations": {ANNOTATION: 7}}});
        assert!(Initdata::on(&odd).is_some_and(|facts| facts.fault.is_some()));
        assert_eq!(Initdata::on(&serde_json::json!({"metadata": {}})), None);
    }
}
