//! Writing labels of our node, and of nothing else.
//!
//! What is ours goes by server-side apply, under one field manager for features and one for modes: a label that is not
//! applied any more disappears, a label that others hold as well stays. Labels that belong to others, and that we only
//! rewrite for a while, go by a merge patch on condition that the node is as it was read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams};
use kube::core::Status;
use serde_json::json;

use super::client::{CallError, REQUEST};
use super::device::chain;
use super::pause::Change;
use super::wish::Labels;

/// Holds the labels of features.
pub const FEATURES: &str = "casemate-node-features";
/// Holds the labels of modes.
pub const MODES: &str = "casemate-node-modes";
/// Holds what is rewritten for a while.
const PAUSES: &str = "casemate-node-pauses";

/// The name of a conflict about all labels at once.
const WHOLE: &str = "(all labels)";

/// A label of ours that another field manager holds with another value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The label.
    pub label: String,
    /// Who holds it, in the API server's words.
    pub manager: String,
}

/// What applying labels came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// The node's labels afterwards.
    pub labels: Labels,
    /// The conflicts there were.
    pub conflicts: Vec<Conflict>,
}

/// What is done about labels that others hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnConflict {
    /// They are taken: what a node says about readiness must be true, whoever else wrote it.
    Take,
    /// They are left to whoever holds them.
    Leave,
}

/// One node.
#[derive(Clone)]
pub struct NodeLabels {
    api: Api<Node>,
    name: String,
}

impl NodeLabels {
    /// The node of this name.
    pub fn new(client: kube::Client, name: &str) -> Self {
        Self { api: Api::all(client), name: name.to_owned() }
    }

    /// What it says now, from etcd and not from a cache: unique id, version, labels.
    ///
    /// # Errors
    /// When the API server does not answer, or there is no such node.
    pub async fn read(&self) -> Result<PartialObjectMeta<Node>, CallError> {
        super::client::call(self.api.get_metadata(&self.name)).await
    }

    /// Makes `labels` those that `manager` holds, all of them and no others. With the unique id of the node, since an
    /// apply to a node that was deleted meanwhile would make a new one.
    ///
    /// # Errors
    /// When the API server does not take them.
    pub async fn apply(
        &self,
        manager: &str,
        uid: &str,
        labels: &Labels,
        on_conflict: OnConflict,
    ) -> Result<Applied, CallError> {
        let conflicts = match self.try_apply(manager, uid, labels, false).await? {
            Ok(labels) => return Ok(Applied { labels, conflicts: Vec::new() }),
            Err(conflicts) => conflicts,
        };
        let held: BTreeMap<&str, &Conflict> = conflicts.iter().map(|c| (c.label.as_str(), c)).collect();
        let labels = match on_conflict {
            OnConflict::Take => self.try_apply(manager, uid, labels, true).await?,
            OnConflict::Leave => {
                let mut rest = labels.clone();
                rest.retain(|label, _| !held.contains_key(label.as_str()));
                // Who holds the map as a whole has nothing in it.
                self.try_apply(manager, uid, &rest, held.contains_key(WHOLE)).await?
            }
        };
        // Another conflict in between is for the next try.
        let labels = labels.map_err(|_| CallError::Later("labels changed hands while they were applied".into()))?;
        Ok(Applied { labels, conflicts })
    }

    /// The outer error: no answer or a refusal. The inner one: conflicts.
    async fn try_apply(
        &self,
        manager: &str,
        uid: &str,
        labels: &Labels,
        force: bool,
    ) -> Result<Result<Labels, Vec<Conflict>>, CallError> {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "uid": uid},
        });
        // An empty map would be held as a whole, against every label that anybody sets afterwards.
        if !labels.is_empty() {
            object["metadata"]["labels"] = json!(labels);
        }
        let params = PatchParams { force, ..PatchParams::apply(manager) };
        let patch = Patch::Apply(&object);
        let request = self.api.patch_metadata(&self.name, &params, &patch);
        let answer = tokio::time::timeout(REQUEST, request).await;
        match answer {
            Err(_) => Err(CallError::Later(format!("no answer within {} s", REQUEST.as_secs()))),
            Ok(Ok(node)) => Ok(Ok(node.metadata.labels.unwrap_or_default())),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => match conflicts(&status) {
                // A conflict of another kind: of the unique id, or of a write at the same moment.
                conflicts if conflicts.is_empty() => Err(CallError::Later(status.message.clone())),
                conflicts => Ok(Err(conflicts)),
            },
            Ok(Err(error)) => super::client::call(async { Err(error) }).await,
        }
    }

    /// Rewrites labels of others, on condition that nothing of the node changed since `read`.
    ///
    /// # Errors
    /// [`CallError::Later`] when something did.
    pub async fn rewrite(&self, read: &PartialObjectMeta<Node>, changes: &[Change]) -> Result<(), CallError> {
        if changes.is_empty() {
            return Ok(());
        }
        let labels: BTreeMap<&str, &str> = changes.iter().map(|change| (change.label, change.to.as_str())).collect();
        let meta = &read.metadata;
        let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, "labels": labels}});
        let params = PatchParams { field_manager: Some(PAUSES.to_owned()), ..PatchParams::default() };
        super::client::call(self.api.patch_metadata(&self.name, &params, &Patch::Merge(&patch))).await?;
        Ok(())
    }
}

/// The labels that an apply conflicted about.
fn conflicts(status: &Status) -> Vec<Conflict> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let ours = causes.filter(|cause| cause.reason == "FieldManagerConflict").filter_map(|cause| {
        let label = match cause.field.strip_prefix(".metadata.labels")? {
            "" => WHOLE.to_owned(),
            label => label.strip_prefix('.')?.to_owned(),
        };
        // The manager is quoted in: conflict with "nfd-master" using v1
        let manager = cause.message.split('"').nth(1).unwrap_or("another").to_owned();
        Some(Conflict { label, manager })
    });
    ours.collect()
}

/// An error in one line, for logs.
pub(crate) fn words(error: &CallError) -> String {
    match error {
        CallError::Later(message) => format!("{message} (tried again)"),
        CallError::Never(message) => message.clone(),
    }
}

/// An error of the watch library in one line: the server's own words where there are any.
pub(crate) fn watch_words(error: &kube::runtime::watcher::Error) -> String {
    use kube::runtime::watcher::Error;
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        error => chain(error),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    #[test]
    fn conflicts_name_the_label_and_who_holds_it() {
        let cause = |reason: &str, message: &str, field: &str| StatusCause {
            reason: reason.into(),
            message: message.into(),
            field: field.into(),
        };
        let causes = vec![
            cause("FieldManagerConflict", "conflict with \"nfd-master\" using v1", ".metadata.labels.a.b/c.d"),
            cause("FieldManagerConflict", "conflict with \"x\"", ".spec.taints"),
            cause("FieldManagerConflict", "conflict with \"y\"", ".metadata.labelsome"),
            cause("FieldManagerConflict", "conflict with \"z\" using v1", ".metadata.labels"),
            cause("FieldValueInvalid", "no", ".metadata.labels.e"),
        ];
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes,
            retry_after_seconds: 0,
        };
        let status = Status { code: 409, details: Some(details), ..Status::default() };
        let expected = [
            Conflict { label: "a.b/c.d".into(), manager: "nfd-master".into() },
            Conflict { label: WHOLE.into(), manager: "z".into() },
        ];
        assert_eq!(conflicts(&status), expected);
        assert_eq!(conflicts(&Status::default()), []);
    }
}
