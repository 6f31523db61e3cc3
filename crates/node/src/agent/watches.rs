//! What the agent watches, and the picture of the cluster that comes of it.
//!
//! Each watch goes on where it was after a lost connection, reads everything anew after `410 Gone`, and waits longer
//! after each failure. What was read stays in the picture while the API server is away: a wish does not end because
//! nobody can be asked about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, CustomResourceExt as _, ResourceExt};
use tokio::sync::watch;

use super::backoff::Backoff;
use super::crd::NodeConfiguration;
use super::metrics::Metrics;
use super::policy::{self, ClusterPolicy};
use super::wish::Labels;
use super::write::watch_words;

const FIRST_WAIT: Duration = Duration::from_secs(1);
/// LIMIT: an agent that the API server does not want, or that has lost it, asks once a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// LIMIT: how often in a row a watch may be refused from where it was before everything is read anew.
const STUBBORN: u32 = 3;

/// The agent's node, as it was last seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeView {
    /// Its unique id.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
}

/// What is known of the cluster.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Picture {
    /// Our node; `None` when there is none of our name.
    pub node: Option<NodeView>,
    /// All configurations, by name.
    pub configurations: BTreeMap<String, NodeConfiguration>,
    /// The GPU Operator's policy. There is at most one; of several the first by name counts, as the operator has it.
    pub policies: BTreeMap<String, ClusterPolicy>,
    node_read: bool,
    configurations_read: bool,
    policies_read: bool,
}

impl Picture {
    /// Whether everything was read at least once. Before that nothing may be decided: a wish that has not been read yet
    /// looks like one that nobody has.
    pub const fn is_whole(&self) -> bool {
        self.node_read && self.configurations_read && self.policies_read
    }

    /// The policy that counts.
    pub fn policy(&self) -> Option<&ClusterPolicy> {
        self.policies.values().next()
    }
}

/// Begins to watch. The tasks end when every receiver is gone.
pub fn start(client: &Client, node: &str, metrics: &Arc<Metrics>) -> watch::Receiver<Picture> {
    let (picture, receiver) = watch::channel(Picture::default());
    let picture = Arc::new(picture);

    let nodes = Watch { kind: "nodes", metrics: Arc::clone(metrics), picture: Arc::clone(&picture) };
    let api: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
    let config = watcher::Config::default().fields(&format!("metadata.name={node}"));
    tokio::spawn(async move {
        let put = |picture: &mut Picture, node: PartialObjectMeta<Node>| {
            let labels = node.metadata.labels.unwrap_or_default();
            picture.node = Some(NodeView { uid: node.metadata.uid.unwrap_or_default(), labels });
        };
        let remove = |picture: &mut Picture, _: &str| picture.node = None;
        let read = |picture: &mut Picture, names: &[String]| {
            picture.node = picture.node.take().filter(|_| !names.is_empty());
            picture.node_read = true;
        };
        nodes.follow(|| watcher(api.clone(), config.clone()), put, remove, read, false).await;
    });

    let configurations =
        Watch { kind: "nodeconfigurations", metrics: Arc::clone(metrics), picture: Arc::clone(&picture) };
    let api: Api<NodeConfiguration> = Api::all(client.clone());
    let defined = definition(client, NodeConfiguration::crd_name(), metrics);
    tokio::spawn(async move {
        let put = |picture: &mut Picture, object: NodeConfiguration| {
            picture.configurations.insert(object.name_any(), object);
        };
        let remove = |picture: &mut Picture, name: &str| {
            picture.configurations.remove(name);
        };
        let read = |picture: &mut Picture, names: &[String]| {
            picture.configurations.retain(|name, _| names.contains(name));
            picture.configurations_read = true;
        };
        configurations.follow_if(defined, || watcher(api.clone(), watcher::Config::default()), put, remove, read).await;
    });

    let policies = Watch { kind: "clusterpolicies", metrics: Arc::clone(metrics), picture };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ClusterPolicy::resource());
    let defined = definition(client, policy::DEFINITION, metrics);
    tokio::spawn(async move {
        let put = |picture: &mut Picture, object: DynamicObject| {
            picture.policies.insert(object.name_any(), ClusterPolicy::read(&object));
        };
        let remove = |picture: &mut Picture, name: &str| {
            picture.policies.remove(name);
        };
        let read = |picture: &mut Picture, names: &[String]| {
            picture.policies.retain(|name, _| names.contains(name));
            picture.policies_read = true;
        };
        policies.follow_if(defined, || watcher(api.clone(), watcher::Config::default()), put, remove, read).await;
    });
    receiver
}

/// Watches whether a kind is defined. A watch for a kind that is not would be an endless row of `404`; this one waits
/// silently. `None`: not known yet.
fn definition(client: &Client, name: &str, metrics: &Arc<Metrics>) -> watch::Receiver<Option<bool>> {
    let (defined, receiver) = watch::channel(None);
    let defined = Arc::new(defined);
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let definitions = Watch { kind: "customresourcedefinitions", metrics: Arc::clone(metrics), picture: defined };
    tokio::spawn(async move {
        let set = |defined: &mut Option<bool>, value: bool| *defined = Some(value);
        definitions
            .follow(
                || watcher(api.clone(), config.clone()),
                |defined, _: PartialObjectMeta<CustomResourceDefinition>| set(defined, true),
                |defined, _| set(defined, false),
                |defined, names| set(defined, !names.is_empty()),
                false,
            )
            .await;
    });
    receiver
}

/// One watch, and the picture that it paints in.
struct Watch<P> {
    kind: &'static str,
    metrics: Arc<Metrics>,
    picture: Arc<watch::Sender<P>>,
}

impl<P: Clone + PartialEq> Watch<P> {
    /// Follows a kind that may come and go.
    async fn follow_if<K: ResourceExt, S: Stream<Item = watcher::Result<Event<K>>>>(
        self,
        mut defined: watch::Receiver<Option<bool>>,
        begin: impl Fn() -> S,
        put: impl Fn(&mut P, K),
        remove: impl Fn(&mut P, &str),
        read: impl Fn(&mut P, &[String]),
    ) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let is_defined = *defined.borrow_and_update();
            match is_defined {
                Some(true) => {
                    let follow = self.follow(&begin, &put, &remove, &read, true);
                    tokio::select! {
                        () = follow => {}
                        () = self.picture.closed() => return,
                    }
                    // A definition is there a moment before what it defines is served.
                    tokio::time::sleep(backoff.wait()).await;
                    continue;
                }
                Some(false) => {
                    backoff.reset();
                    self.paint(|picture| read(picture, &[]));
                }
                None => {}
            }
            tokio::select! {
                changed = defined.changed() => if changed.is_err() { return },
                () = self.picture.closed() => return,
            }
        }
    }

    /// Follows a kind. Returns when nobody looks at the picture any more and, with `until_gone`, when the API server
    /// says that there is no such kind.
    async fn follow<K: ResourceExt, S: Stream<Item = watcher::Result<Event<K>>>>(
        &self,
        begin: impl Fn() -> S,
        put: impl Fn(&mut P, K),
        remove: impl Fn(&mut P, &str),
        read: impl Fn(&mut P, &[String]),
        until_gone: bool,
    ) {
        let mut events = Box::pin(begin());
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut names: Vec<String> = Vec::new();
        let mut objects: Vec<K> = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.picture.closed() => return,
            };
            match event {
                Some(Ok(event)) => {
                    match event {
                        Event::Init => (names, objects) = (Vec::new(), Vec::new()),
                        Event::InitApply(object) => {
                            names.push(object.name_any());
                            objects.push(object);
                        }
                        // All of it at once: between the first and the last object nothing is to be decided.
                        Event::InitDone => {
                            backoff.reset();
                            let objects = std::mem::take(&mut objects);
                            self.paint(|picture| {
                                for object in objects {
                                    put(picture, object);
                                }
                                read(picture, &names);
                            });
                        }
                        Event::Apply(object) => {
                            backoff.reset();
                            self.paint(|picture| put(picture, object));
                        }
                        Event::Delete(object) => {
                            backoff.reset();
                            self.paint(|picture| remove(picture, &object.name_any()));
                        }
                    }
                }
                Some(Err(error)) => {
                    let reason = reason(&error);
                    self.metrics.watch_restart(self.kind, reason);
                    if until_gone && reason == "not found" {
                        return;
                    }
                    let wait = backoff.wait();
                    if backoff.failures().is_multiple_of(STUBBORN) && reason != "connection" {
                        // The server answers, and cannot go on from where this watch was: etcd has forgotten what came
                        // before the next change, and the server says `500` to that and not `410`. From the beginning.
                        events = Box::pin(begin());
                    }
                    let error = watch_words(&error);
                    tracing::warn!(kind = self.kind, %error, ?wait, "a watch begins again");
                    tokio::time::sleep(wait).await;
                }
                None => return,
            }
        }
    }

    /// Changes the picture, and tells those who look only if it is another one then.
    fn paint(&self, change: impl FnOnce(&mut P)) {
        self.picture.send_if_modified(|picture| {
            let before = picture.clone();
            change(picture);
            *picture != before
        });
    }
}

/// Why a watch begins again, in words of ours.
fn reason(error: &watcher::Error) -> &'static str {
    let of = |error: &kube::Error| match error {
        kube::Error::Api(status) => code(status.code),
        _ => "connection",
    };
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => of(error),
        watcher::Error::WatchError(status) => code(status.code),
        watcher::Error::NoResourceVersion => "no version",
    }
}

const fn code(code: u16) -> &'static str {
    match code {
        401 | 403 => "forbidden",
        404 => "not found",
        410 => "expired",
        429 => "throttled",
        500..=599 => "server error",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn object(name: &str) -> NodeConfiguration {
        NodeConfiguration::new(name, super::super::crd::NodeConfigurationSpec::default())
    }

    /// A watch over a script of events; the picture is the list of names.
    async fn watched(events: Vec<watcher::Result<Event<NodeConfiguration>>>) -> (Vec<Vec<String>>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let (sender, mut receiver) = watch::channel(Vec::<String>::new());
        let watch = Watch { kind: "nodes", metrics: Arc::clone(&metrics), picture: Arc::new(sender) };
        let seen = tokio::spawn(async move {
            let mut seen = Vec::new();
            while receiver.changed().await.is_ok() {
                seen.push(receiver.borrow_and_update().clone());
            }
            seen
        });
        let slowly = || {
            stream::iter(events_of(&events)).then(|event| async {
                tokio::task::yield_now().await;
                event
            })
        };
        let put = |picture: &mut Vec<String>, object: NodeConfiguration| picture.push(object.name_any());
        let remove = |picture: &mut Vec<String>, name: &str| picture.retain(|other| other != name);
        let read = |picture: &mut Vec<String>, names: &[String]| *picture = names.to_vec();
        watch.follow(slowly, put, remove, read, false).await;
        drop(watch);
        (seen.await.expect("the looker"), metrics)
    }

    fn events_of(
        events: &[watcher::Result<Event<NodeConfiguration>>],
    ) -> Vec<watcher::Result<Event<NodeConfiguration>>> {
        let copy = |event: &watcher::Result<Event<NodeConfiguration>>| match event {
            Ok(event) => Ok(event.clone()),
            Err(_) => Err(gone()),
        };
        events.iter().map(copy).collect()
    }

    fn gone() -> watcher::Error {
        watcher::Error::WatchError(Box::new(kube::core::Status { code: 410, ..Default::default() }))
    }

    #[tokio::test]
    async fn a_list_is_taken_at_once_and_an_expired_watch_reads_anew() {
        let (seen, metrics) = watched(vec![
            Ok(Event::Init),
            Ok(Event::InitApply(object("a"))),
            Ok(Event::InitApply(object("b"))),
            Ok(Event::InitDone),
            Ok(Event::Delete(object("a"))),
            Err(gone()), // a second passes
            Ok(Event::Init),
            Ok(Event::InitApply(object("c"))),
            Ok(Event::InitDone),
        ])
        .await;
        assert!(seen.iter().all(|names| names != &["a"]), "half a list was shown: {seen:?}");
        assert_eq!(seen.last(), Some(&vec!["c".to_owned()]), "{seen:?}");
        assert!((metrics.sum("casemate_node_watch_restarts_total", &["expired"]) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn nothing_is_decided_before_everything_was_read() {
        let mut picture = Picture::default();
        assert!(!picture.is_whole());
        (picture.node_read, picture.policies_read) = (true, true);
        assert!(!picture.is_whole());
        picture.configurations_read = true;
        assert!(picture.is_whole());
    }
}
