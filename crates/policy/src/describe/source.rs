//! Finds initdata in what people have: YAML, an annotation, a document, a policy.

use protocol::Initdata;
use protocol::initdata::{ANNOTATION, InitdataError};
use serde_json::Value;

use super::{DescribeError, Description, describe, describe_policy};
use crate::yaml;

/// What stood in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// `Deployment/inference`, or `policy` where a file is nothing but one.
    pub title: String,
    /// The resource's name; empty where there is no resource.
    pub name: String,
    /// The policy; absent for a pod that has none.
    pub description: Option<Description>,
    /// The text of the policy.
    pub rego: Option<String>,
}

/// A file in which nothing can be found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Not YAML.
    #[error("line {line} column {column}: {reason}")]
    Yaml {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's words.
        reason: String,
    },
    /// A pod whose policy cannot be described.
    #[error("{title}")]
    Pod {
        /// `Deployment/inference`.
        title: String,
        /// Why.
        source: DescribeError,
    },
    /// A document whose policy cannot be described.
    #[error(transparent)]
    Document(#[from] DescribeError),
}

/// LIMIT: Lists of Lists are legal and pointless; deeper ones than this are an attack on the stack.
const MAX_DEPTH: usize = 16;

/// Everything in a text that has a policy, or is a pod without one.
pub fn find(text: &str) -> Result<Vec<Found>, SourceError> {
    let starts = |word: &str| text.lines().any(|line| line.trim_end().starts_with(word));
    let bare = |description: Description, rego: String| {
        vec![Found { title: "policy".into(), name: String::new(), description: Some(description), rego: Some(rego) }]
    };
    if starts("[data]") {
        let initdata = Initdata::parse(text).map_err(DescribeError::from)?;
        let rego = initdata.policy().map_err(DescribeError::from)?.to_owned();
        return Ok(bare(describe(&initdata)?, rego));
    }
    if starts("package ") {
        return Ok(bare(describe_policy(text)?, text.to_owned()));
    }
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    // gzip begins with two bytes that base64 writes as `H4s`.
    if text.starts_with("H4s") && text.trim_end().bytes().all(base64) {
        let initdata = Initdata::from_annotation(text).map_err(DescribeError::from)?;
        let rego = initdata.policy().map_err(DescribeError::from)?.to_owned();
        return Ok(bare(describe(&initdata)?, rego));
    }
    let documents = yaml::parse(text).map_err(|error| SourceError::Yaml {
        line: error.line,
        column: error.column,
        reason: error.reason,
    })?;
    let mut found = Vec::new();
    for document in documents {
        resource(&document.tree, 0, &mut found)?;
    }
    Ok(found)
}

fn resource(tree: &Value, depth: usize, found: &mut Vec<Found>) -> Result<(), SourceError> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    if let Some(items) = tree["items"].as_array() {
        return items.iter().try_for_each(|item| resource(item, depth + 1, found));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&tree["kind"]), text(&tree["metadata"]["name"]));
    let title = format!("{kind}/{name}");
    for pod in pods(tree, 0) {
        let annotation = &pod["metadata"]["annotations"][ANNOTATION];
        let (description, rego) = match annotation {
            Value::Null => (None, None),
            Value::String(annotation) => {
                let fail = |source: DescribeError| SourceError::Pod { title: title.clone(), source };
                let initdata = Initdata::from_annotation(annotation).map_err(|error| fail(error.into()))?;
                let rego = initdata.policy().map_err(|error: InitdataError| fail(error.into()))?.to_owned();
                (Some(describe(&initdata).map_err(fail)?), Some(rego))
            }
            _ => {
                let source = InitdataError::Encoding { expected: "base64" }.into();
                return Err(SourceError::Pod { title, source });
            }
        };
        found.push(Found { title: title.clone(), name: name.clone(), description, rego });
    }
    Ok(())
}

/// The pods and pod templates of a resource, wherever its kind keeps them.
fn pods(tree: &Value, depth: usize) -> Vec<&Value> {
    if tree["spec"]["containers"].is_array() || tree["metadata"]["annotations"].get(ANNOTATION).is_some() {
        return vec![tree];
    }
    if depth > MAX_DEPTH {
        return Vec::new();
    }
    let within =
        ["template", "jobTemplate"].into_iter().filter_map(|key| tree["spec"].get(key).or_else(|| tree.get(key)));
    within.flat_map(|inner| pods(inner, depth + 1)).collect()
}
