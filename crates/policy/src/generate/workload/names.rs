//! Names of a pod: those of its certificates, and those of the secrets that it may read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::error::GenerateError;
use super::super::ingress;
use super::{Context, NAMES_ANNOTATION, SECRETS_ANNOTATION, containers, list_annotation};

/// Where a program finds a secret.
const SECRETS_PATH: &str = "/casemate/secrets/";

/// The resource, the Services that lead to it, and what the user adds.
pub(super) fn names(
    context: &Context<'_>,
    pod: &Value,
    services: &BTreeMap<&str, &Value>,
) -> Result<Vec<String>, GenerateError> {
    let mut names = vec![context.object.name.clone()];
    let more = list_annotation(pod, NAMES_ANNOTATION);
    for name in ingress::selecting(pod, services).into_iter().map(|(name, _)| name.to_owned()).chain(more) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in &names {
        let label = |label: &str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
            edge(label.chars().next())
                && edge(label.chars().last())
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !name.split('.').all(label) {
            let path = format!("metadata.annotations.{NAMES_ANNOTATION}");
            return Err(context.refuse(&path, format!("`{name}` is no DNS name"), None));
        }
    }
    Ok(names)
}

/// Secrets that the pod's programs look for, and those of its annotation.
pub(super) fn wanted_secrets(context: &Context<'_>, pod: &Value) -> Result<BTreeSet<String>, GenerateError> {
    let mut secrets = BTreeSet::new();
    for container in containers(pod) {
        let strings = |field: &str| container[field].as_array().cloned().unwrap_or_default();
        let values = strings("env").into_iter().map(|variable| variable["value"].clone());
        for text in strings("command").into_iter().chain(strings("args")).chain(values) {
            let text = text.as_str().unwrap_or_default();
            for after in text.split(SECRETS_PATH).skip(1) {
                let name: String = after.chars().take_while(|c| is_secret_char(*c)).collect();
                if !name.is_empty() {
                    secrets.insert(name);
                }
            }
        }
    }
    for name in list_annotation(pod, SECRETS_ANNOTATION) {
        if !name.chars().all(is_secret_char) {
            let path = format!("metadata.annotations.{SECRETS_ANNOTATION}");
            return Err(context.refuse(&path, format!("`{name}` is no name of a secret"), None));
        }
        secrets.insert(name);
    }
    Ok(secrets)
}

pub(super) fn is_secret_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}
