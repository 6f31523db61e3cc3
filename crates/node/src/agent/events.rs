//! Kubernetes events about the node: a line for each transition, which `kubectl describe node` shows.
//!
//! An event is a courtesy. Whether it could be written is counted and changes nothing else.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use super::client;
use super::metrics::Metrics;

/// Who we are in events, field managers and logs.
pub const COMPONENT: &str = "casemate-node";
/// Where events about objects without a namespace go.
const NAMESPACE: &str = "default";
/// LIMIT: an event's note, by the validation of events.k8s.io/v1.
const MAX_NOTE: usize = 1024;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A change of mode begins.
    CcModeChanging,
    /// It ended well.
    CcModeChanged,
    /// It did not.
    CcModeFailed,
    /// What the devices are to be makes no sense.
    CcModeRefused,
    /// What an earlier agent left was ended.
    CcModeRecovered,
    /// Labels of ours are held by another.
    LabelConflict,
    /// Components that were left paused go on.
    ComponentsResumed,
    /// Devices were bound to VFIO, or given back.
    DriversChanged,
    /// They could not be.
    DriversFailed,
    /// The Kata runtime was installed or upgraded.
    RuntimeInstalled,
    /// It could not be.
    RuntimeFailed,
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Self::CcModeChanging => "CcModeChanging",
            Self::CcModeChanged => "CcModeChanged",
            Self::CcModeFailed => "CcModeFailed",
            Self::CcModeRefused => "CcModeRefused",
            Self::CcModeRecovered => "CcModeRecovered",
            Self::LabelConflict => "LabelConflict",
            Self::ComponentsResumed => "ComponentsResumed",
            Self::DriversChanged => "DriversChanged",
            Self::DriversFailed => "DriversFailed",
            Self::RuntimeInstalled => "RuntimeInstalled",
            Self::RuntimeFailed => "RuntimeFailed",
        }
    }

    const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::CcModeFailed | Self::CcModeRefused | Self::LabelConflict | Self::DriversFailed | Self::RuntimeFailed
        )
    }

    const fn action(self) -> &'static str {
        match self {
            Self::LabelConflict => "LabelNode",
            Self::ComponentsResumed => "ResumeComponents",
            Self::DriversChanged | Self::DriversFailed => "BindDrivers",
            Self::RuntimeInstalled | Self::RuntimeFailed => "InstallRuntime",
            _ => "ChangeCcMode",
        }
    }
}

/// Writes events about one node.
#[derive(Clone)]
pub struct Events {
    api: Api<Event>,
    node: String,
    metrics: Arc<Metrics>,
}

impl Events {
    /// About this node.
    pub fn new(client: Client, node: &str, metrics: Arc<Metrics>) -> Self {
        Self { api: Api::namespaced(client, NAMESPACE), node: node.to_owned(), metrics }
    }

    /// Writes one.
    pub async fn write(&self, uid: Option<String>, reason: Reason, note: &str) {
        let event = event(&self.node, uid, reason, note, Timestamp::now());
        let written = client::call(self.api.create(&PostParams::default(), &event)).await;
        if let Err(error) = &written {
            tracing::warn!(reason = reason.name(), error = error.message(), "an event could not be written");
        }
        self.metrics.event(if written.is_ok() { "written" } else { "lost" });
    }
}

fn event(node: &str, uid: Option<String>, reason: Reason, note: &str, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            // The node's name, and what makes it another event than the one before.
            name: Some(format!("{node}.{:x}", now.as_nanosecond())),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(reason.action().to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(shortened(note).to_owned()),
        reason: Some(reason.name().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid,
            ..ObjectReference::default()
        }),
        reporting_controller: Some(format!("casemate.dev/{COMPONENT}")),
        reporting_instance: Some(node.to_owned()),
        type_: Some(if reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

fn shortened(note: &str) -> &str {
    let end = (0..=MAX_NOTE.min(note.len())).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
    note.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        let note = "ä".repeat(MAX_NOTE);
        assert_eq!(shortened(&note).len(), MAX_NOTE);
        let note = format!("a{note}");
        assert_eq!(shortened(&note).len(), MAX_NOTE - 1);
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn failures_are_warnings() {
        let event = event("n", None, Reason::CcModeFailed, "why", Timestamp::UNIX_EPOCH);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.metadata.name.as_deref(), Some("n.0"));
    }
}
