//! What changed between two deployments, in sentences that somebody can sign.
//!
//! Pods are joined by their first names. Two pods with one identity are the same to the byte, whoever has their
//! documents; of two with different ones both documents are needed, and where one is not at hand that is said.

mod policy;

use std::collections::{BTreeMap, BTreeSet};

use protocol::manifest::{PolicyEntry, Quorum};
use protocol::{Identity, Manifest, Role};
use serde::Serialize;

use super::{Description, reference};

/// What it does to the owners' side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// More is allowed than before.
    Opens,
    /// Something else is allowed.
    Changes,
    /// Less is allowed than before.
    Closes,
}

/// What a change is about, most dangerous first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The rules under which all else holds.
    Rules,
    /// What a pod is, and to which Coordinator it listens.
    Role,
    /// Another image.
    Image,
    /// Another command.
    Command,
    /// Commands that the host may run inside.
    Exec,
    /// Output that the host may read.
    Logs,
    /// Secrets.
    Secrets,
    /// Who may call, and under which names it answers.
    Callers,
    /// Open ports.
    Ports,
    /// Powers.
    Capabilities,
    /// Users and other bounds of a process.
    Process,
    /// Where what it reads comes from.
    Mounts,
    /// Digests of files.
    Files,
    /// Variables.
    Environment,
    /// Kernel parameters.
    Sysctls,
    /// What the host may write or signal.
    Host,
    /// Acceptable Evidence.
    ReferenceValues,
    /// Who may change the manifest.
    Owners,
    /// Who holds the seed.
    Holders,
    /// Where a pod may run.
    Platforms,
    /// How long a certificate lasts.
    Lease,
    /// A pod that was not there.
    NewWorkload,
    /// A container that was not there.
    NewContainer,
    /// A container that is gone.
    RemovedContainer,
    /// A pod that is gone.
    RemovedWorkload,
    /// Names of pods and the like.
    Names,
    /// Anything else.
    Other,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is about.
    pub kind: Kind,
    /// What it does.
    pub effect: Effect,
    /// The pod; absent for what holds for all.
    pub workload: Option<String>,
    /// The container.
    pub container: Option<String>,
    /// The sentence, without its subject.
    pub what: String,
    /// As it was.
    pub was: Option<String>,
    /// As it is.
    pub now: Option<String>,
}

/// All changes, most dangerous first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The changes. What only closes something comes last.
    pub changes: Vec<Change>,
    /// What could not be compared, and why.
    pub untold: Vec<String>,
    /// What the reader should know besides.
    pub notes: Vec<String>,
}

/// One side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    /// The manifest.
    pub manifest: Option<Manifest>,
    /// Pods with their policies.
    pub pods: Vec<Pod>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// `Deployment/inference in deployment.yaml`.
    pub title: String,
    /// `inference`.
    pub name: String,
    /// Its policy; absent where it is not confidential.
    pub description: Option<Description>,
}

/// What one side knows of a workload.
#[derive(Default)]
struct Known<'a> {
    entry: Option<(Identity, &'a PolicyEntry)>,
    pod: Option<&'a Description>,
    /// A pod that asks for no confidentiality.
    plain: bool,
}

/// Compares two deployments.
pub fn diff(old: &Deployment, new: &Deployment) -> Difference {
    let mut difference = Difference::default();
    match (&old.manifest, &new.manifest) {
        (Some(before), Some(after)) => manifests(before, after, &mut difference),
        (None, None) => difference
            .notes
            .push("no manifest is at hand: owners, reference values, secrets and callers were not compared".into()),
        (before, _) => {
            let side = if before.is_none() { "old" } else { "new" };
            difference.untold.push(format!(
                "the {side} side has no manifest: owners, reference values, secrets and callers cannot be compared"
            ));
        }
    }
    let (before, after) = (known(old, "old", &mut difference), known(new, "new", &mut difference));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let coordinators: BTreeSet<Identity> = after
        .values()
        .filter_map(|known| known.entry.filter(|(_, entry)| entry.role == Role::Coordinator).map(|(id, _)| id))
        .chain(after.values().filter_map(|known| {
            let description = known.pod?;
            let is_one = description.settings.as_ref().is_some_and(|settings| settings.role == Role::Coordinator);
            description.identity.filter(|_| is_one)
        }))
        .collect();
    let nothing = Known::default();
    for name in names {
        let (before, after) = (before.get(name), after.get(name));
        workload(name, before.unwrap_or(&nothing), after.unwrap_or(&nothing), &coordinators, &mut difference);
    }
    // A change of the manifest that each pod's own settings repeat is said once.
    let said: BTreeSet<_> = difference
        .changes
        .iter()
        .filter(|change| change.workload.is_none())
        .map(|change| (change.kind, change.what.clone(), change.was.clone(), change.now.clone()))
        .collect();
    difference.changes.retain(|change| {
        let key = (change.kind, change.what.clone(), change.was.clone(), change.now.clone());
        change.workload.is_none() || !said.contains(&key)
    });
    difference.changes.sort_by(|a, b| {
        let key = |change: &Change| (change.effect == Effect::Closes, change.kind);
        key(a).cmp(&key(b)).then_with(|| (&a.workload, &a.container).cmp(&(&b.workload, &b.container)))
    });
    difference
}

/// What is known of each workload, by its first name.
fn known<'a>(side: &'a Deployment, which: &str, difference: &mut Difference) -> BTreeMap<String, Known<'a>> {
    let mut all: BTreeMap<String, Known<'a>> = BTreeMap::new();
    let mut by_identity: BTreeMap<Identity, String> = BTreeMap::new();
    for (identity, entry) in side.manifest.iter().flat_map(|manifest| &manifest.policies) {
        let first = entry.names.first().cloned().unwrap_or_default();
        let name = if all.contains_key(&first) { format!("{first} ({})", identity.0.short()) } else { first };
        by_identity.insert(*identity, name.clone());
        all.insert(name, Known { entry: Some((*identity, entry)), ..Known::default() });
    }
    for pod in &side.pods {
        let Some(description) = &pod.description else {
            if side.manifest.is_none() {
                let name = if all.contains_key(&pod.name) { pod.title.clone() } else { pod.name.clone() };
                all.insert(name, Known { plain: true, ..Known::default() });
            }
            continue;
        };
        let listed = description.identity.and_then(|identity| by_identity.get(&identity));
        match (listed.and_then(|name| all.get_mut(name)), &side.manifest) {
            (Some(known), _) => known.pod = Some(description),
            (None, Some(_)) => difference.notes.push(format!(
                "{} of the {which} side has an identity that is not in its manifest: left out",
                pod.title
            )),
            (None, None) => {
                let name = if all.contains_key(&pod.name) { pod.title.clone() } else { pod.name.clone() };
                all.insert(name, Known { pod: Some(description), ..Known::default() });
            }
        }
    }
    all
}

fn workload(
    name: &str,
    before: &Known<'_>,
    after: &Known<'_>,
    coordinators: &BTreeSet<Identity>,
    difference: &mut Difference,
) {
    let mut changes = Changes { workload: Some(name.to_owned()), container: None, all: Vec::new() };
    let exists = |known: &Known<'_>| known.entry.is_some() || known.pod.is_some() || known.plain;
    match (exists(before), exists(after)) {
        (false, false) => return,
        (false, true) => {
            let images = after.pod.map(images);
            if images.is_none() && !after.plain {
                difference.untold.push(format!("`{name}` is new: what it may do, its resource is not at hand"));
            }
            let secrets = after.entry.map(|(_, entry)| entry.secrets.iter().cloned().collect::<Vec<_>>());
            let secrets = secrets.filter(|secrets| !secrets.is_empty());
            let secrets = secrets.map(|secrets| format!("; it may read the secrets {}", secrets.join(", ")));
            changes.push(
                Kind::NewWorkload,
                Effect::Opens,
                format!("is new{}", secrets.unwrap_or_default()),
                None,
                images,
            );
        }
        (true, false) => {
            changes.push(Kind::RemovedWorkload, Effect::Closes, "is gone", before.pod.map(images), None);
        }
        (true, true) => {
            if let (Some((_, was)), Some((_, now))) = (before.entry, after.entry) {
                entries(was, now, &mut changes);
            }
            let identity = |known: &Known<'_>| {
                known.entry.map(|(identity, _)| identity).or_else(|| known.pod.and_then(|pod| pod.identity))
            };
            let same = identity(before).is_some() && identity(before) == identity(after);
            match (before.pod, after.pod) {
                _ if same => {}
                (Some(was), Some(now)) => {
                    let already = changes.all.len();
                    policy::compare(was, now, coordinators, &mut changes);
                    if changes.all.len() == already && was != now {
                        changes.push(
                            Kind::Other,
                            Effect::Changes,
                            "has another document in a way that this release has no words for",
                            was.identity.map(|identity| identity.to_string()),
                            now.identity.map(|identity| identity.to_string()),
                        );
                    }
                }
                _ if before.plain && after.plain => {}
                (None, Some(_)) if before.plain => {
                    changes.push(Kind::Rules, Effect::Closes, "has a policy now; it had none", None, None);
                }
                (Some(_), None) if after.plain => {
                    changes.push(Kind::Rules, Effect::Opens, "has no policy any more: the host decides", None, None);
                }
                (was, now) => {
                    let missing = match (was, now) {
                        (None, None) => "neither resource is at hand",
                        (None, _) => "the old resource is not at hand",
                        _ => "the new resource is not at hand",
                    };
                    let text = |known: &Known<'_>| identity(known).map(|identity| identity.0.to_string());
                    changes.push(Kind::Other, Effect::Changes, "has another policy", text(before), text(after));
                    difference.untold.push(format!("what changed in the policy of `{name}`: {missing}"));
                }
            }
        }
    }
    difference.changes.append(&mut changes.all);
}

/// The images of a pod, without ours.
fn images(description: &Description) -> String {
    let containers = description.policy.containers.iter();
    let images = containers.map(|container| {
        let image = container.image.as_deref().unwrap_or("no image that the policy binds");
        format!("{}: {image}", container.name)
    });
    images.collect::<Vec<_>>().join(", ")
}

/// Changes of one workload.
struct Changes {
    workload: Option<String>,
    container: Option<String>,
    all: Vec<Change>,
}

impl Changes {
    fn push(&mut self, kind: Kind, effect: Effect, what: impl Into<String>, was: Option<String>, now: Option<String>) {
        let (workload, container) = (self.workload.clone(), self.container.clone());
        self.all.push(Change { kind, effect, workload, container, what: what.into(), was, now });
    }

    /// One change for what a set gained and one for what it lost.
    fn sets<T: Ord + std::fmt::Display>(
        &mut self,
        kind: Kind,
        was: &BTreeSet<T>,
        now: &BTreeSet<T>,
        gained: &str,
        lost: &str,
    ) {
        let list = |all: Vec<&T>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (more, less) = (list(now.difference(was).collect()), list(was.difference(now).collect()));
        if !more.is_empty() {
            self.push(kind, Effect::Opens, gained.replace("{}", &more), None, None);
        }
        if !less.is_empty() {
            self.push(kind, Effect::Closes, lost.replace("{}", &less), None, None);
        }
    }
}

fn entries(was: &PolicyEntry, now: &PolicyEntry, changes: &mut Changes) {
    if was.role != now.role {
        let text = |entry: &PolicyEntry| Some(entry.role.name().to_owned());
        changes.push(Kind::Role, Effect::Changes, "has another role", text(was), text(now));
    }
    changes.sets(Kind::Secrets, &was.secrets, &now.secrets, "may read the secrets {}", "may no longer read {}");
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (was.names.iter().collect(), now.names.iter().collect());
    changes.sets(
        Kind::Callers,
        &before,
        &after,
        "gets certificates for the names {}",
        "gets no certificates for {} any more",
    );
    optional(
        Kind::Callers,
        (was.callers.as_ref(), now.callers.as_ref()),
        ["may be called by {}", "may no longer be called by {}", "every workload of the manifest"],
        changes,
    );
    optional(
        Kind::Platforms,
        (was.platforms.as_ref(), now.platforms.as_ref()),
        ["may run on {}", "may no longer run on {}", "every platform of the reference values"],
        changes,
    );
}

/// A set whose absence stands for everything.
fn optional(
    kind: Kind,
    (was, now): (Option<&BTreeSet<String>>, Option<&BTreeSet<String>>),
    [gained, lost, everything]: [&str; 3],
    changes: &mut Changes,
) {
    let text = |set: Option<&BTreeSet<String>>| {
        Some(match set {
            None => everything.to_owned(),
            Some(set) if set.is_empty() => "nobody".to_owned(),
            Some(set) => set.iter().cloned().collect::<Vec<_>>().join(", "),
        })
    };
    match (was, now) {
        (None, None) => {}
        (Some(before), Some(after)) => changes.sets(kind, before, after, gained, lost),
        (Some(_), None) => {
            changes.push(kind, Effect::Opens, gained.replace("{}", everything), text(was), text(now));
        }
        (None, Some(_)) => {
            changes.push(kind, Effect::Closes, lost.replace("{}", everything), text(was), text(now));
        }
    }
}

fn manifests(was: &Manifest, now: &Manifest, difference: &mut Difference) {
    let mut changes = Changes { workload: None, container: None, all: Vec::new() };
    if was.deployment_id != now.deployment_id {
        let text = |manifest: &Manifest| Some(manifest.deployment_id.to_string());
        let what = "this is another deployment: every identity is another, and no secret comes along";
        changes.push(Kind::Role, Effect::Changes, what, text(was), text(now));
    }
    reference::compare(&was.reference_values, &now.reference_values, &mut |effect, what, was, now| {
        changes.push(Kind::ReferenceValues, effect, what, was, now);
    });
    quorums(Kind::Owners, "owners", &was.owners, &now.owners, &mut changes);
    quorums(Kind::Holders, "seed-share holders", &was.seed_share_holders, &now.seed_share_holders, &mut changes);
    if was.lease_seconds != now.lease_seconds {
        let effect = if now.lease_seconds > was.lease_seconds { Effect::Opens } else { Effect::Closes };
        let text = |seconds: u32| Some(format!("{seconds} s"));
        let what = "certificates last for another time without being renewed";
        changes.push(Kind::Lease, effect, what, text(was.lease_seconds), text(now.lease_seconds));
    }
    difference.changes.append(&mut changes.all);
}

/// A lower threshold and more keys both mean that fewer of the people before have to agree.
fn quorums(kind: Kind, whose: &str, was: &Quorum, now: &Quorum, changes: &mut Changes) {
    let ids = |quorum: &Quorum| -> BTreeSet<String> { quorum.keys.iter().map(|key| key.id().to_string()).collect() };
    let (before, after) = (ids(was), ids(now));
    if was.threshold == now.threshold && before == after {
        return;
    }
    let gained: Vec<_> = after.difference(&before).map(|id| id.get(..12).unwrap_or(id).to_owned()).collect();
    let lost: Vec<_> = before.difference(&after).map(|id| id.get(..12).unwrap_or(id).to_owned()).collect();
    let effect = if now.threshold < was.threshold || !gained.is_empty() { Effect::Opens } else { Effect::Closes };
    let mut parts = Vec::new();
    if was.threshold != now.threshold {
        parts.push(format!("{} instead of {} must agree", now.threshold, was.threshold));
    }
    if !gained.is_empty() {
        parts.push(format!("key {} was added", gained.join(", ")));
    }
    if !lost.is_empty() {
        parts.push(format!("key {} was removed", lost.join(", ")));
    }
    let text = |quorum: &Quorum| Some(format!("{} of {} keys", quorum.threshold, quorum.keys.len()));
    changes.push(kind, effect, format!("{whose}: {}", parts.join("; ")), text(was), text(now));
}
