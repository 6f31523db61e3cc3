//! Two policies of one workload.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::SocketAddr;

use protocol::Identity;
use protocol::file::VolumeFile;
use protocol::initdata::{Egress, Settings};
use serde_json::Value;

use super::super::cluster::{Argument, readable};
use super::super::container::{Container, Environment, Mount, Supplier, power, words};
use super::super::{Access, Description, Policy, reference};
use super::{Changes, Effect, Kind, quorums};

/// Says what differs.
pub(super) fn compare(was: &Description, now: &Description, known: &BTreeSet<Identity>, changes: &mut Changes) {
    match (&was.settings, &now.settings) {
        (Some(before), Some(after)) => settings(before, after, known, changes),
        (None, None) => {}
        (before, _) => {
            let what = if before.is_some() { "has lost the settings of our code" } else { "has settings of our code" };
            changes.push(Kind::Role, Effect::Changes, what, None, None);
        }
    }
    if was.complete && !now.complete {
        let what = "carries a document that this release would not write: something besides may stand in it";
        changes.push(Kind::Rules, Effect::Opens, what, None, None);
    }
    policies(&was.policy, &now.policy, changes);
}

fn policies(was: &Policy, now: &Policy, changes: &mut Changes) {
    // Known rules are those of this release, of which each pod has the parts that its values use: what is said of the
    // values says all.
    if was.rules != now.rules && !(was.rules.known && now.rules.known) {
        let known = |policy: &Policy| {
            let whose = if policy.rules.known { "those of this release" } else { "others, which nobody knows here" };
            Some(format!("{} ({whose})", policy.rules.digest))
        };
        let effect = if now.rules.known { Effect::Changes } else { Effect::Opens };
        changes.push(Kind::Rules, effect, "has other rules: read both (`--rules` shows them)", known(was), known(now));
    }
    for (kind, what, was, now) in [
        (Kind::Names, "is in another namespace", &was.namespace, &now.namespace),
        (Kind::Names, "its pods have other names", &was.pod, &now.pod),
        (Kind::Names, "its pods have other host names", &was.hostname, &now.hostname),
    ] {
        if was != now {
            changes.push(kind, Effect::Changes, what, Some(was.clone()), Some(now.clone()));
        }
    }
    if was.completions != now.completions {
        let text = |policy: &Policy| policy.completions.map(|count| count.to_string());
        changes.push(Kind::Names, Effect::Changes, "its pods have other indexes", text(was), text(now));
    }
    flag(
        Kind::Process,
        was.shared_processes,
        now.shared_processes,
        true,
        ["its containers see each other's processes", "its containers no longer see each other's processes"],
        changes,
    );
    if was.logs != now.logs {
        let open = |access: &Access| !matches!(access, Access::Closed);
        let wider = open(&now.logs) && was.logs != Access::Open;
        let effect = if wider { Effect::Opens } else { Effect::Closes };
        let what = if wider {
            "the host may read what more containers print"
        } else {
            "the host may read less of what containers print"
        };
        changes.push(Kind::Logs, effect, what, Some(access(&was.logs)), Some(access(&now.logs)));
    }
    let set = |list: &[String]| -> BTreeSet<String> { list.iter().cloned().collect() };
    changes.sets(
        Kind::Host,
        &set(&was.host_files),
        &set(&now.host_files),
        "the host may copy in files named {}",
        "the host may no longer copy in {}",
    );
    changes.sets(
        Kind::Host,
        &set(&was.host_folders),
        &set(&now.host_folders),
        "the host may copy in folders named {}, with all that is below them",
        "the host may no longer copy in folders named {}",
    );
    changes.sets(
        Kind::Host,
        &set(&was.signals),
        &set(&now.signals),
        "the host may signal {}",
        "the host may no longer signal {}",
    );
    changes.sets(
        Kind::Environment,
        &set(&was.services),
        &set(&now.services),
        "the host sets variables for the Services {}",
        "the host no longer sets variables for the Services {}",
    );
    maps(Kind::Sysctls, "kernel parameter", &was.sysctls, &now.sysctls, changes);
    maps(Kind::Other, "a value that this release has no words for,", &was.unknown, &now.unknown, changes);
    let by_name = |policy: &Policy| -> BTreeMap<String, Container> {
        policy.containers.iter().map(|container| (container.name.clone(), container.clone())).collect()
    };
    let (before, after) = (by_name(was), by_name(now));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        changes.container = Some(name.clone());
        match (before.get(name), after.get(name)) {
            (Some(was), Some(now)) => container(was, now, changes),
            (None, Some(now)) => {
                changes.push(
                    Kind::NewContainer,
                    Effect::Opens,
                    format!("is new and runs {}", words(&now.args)),
                    None,
                    now.image.clone(),
                );
            }
            (Some(was), None) => {
                changes.push(Kind::RemovedContainer, Effect::Closes, "is gone", was.image.clone(), None);
            }
            (None, None) => {}
        }
    }
    changes.container = Some("pause".into());
    container(&was.pause, &now.pause, changes);
    changes.container = None;
}

fn access(access: &Access) -> String {
    match access {
        Access::Closed => "closed".into(),
        Access::Open => "open".into(),
        Access::Only(names) => format!("open for {}", names.join(", ")),
        Access::Rules => "as its rules say".into(),
    }
}

/// `opens` is the value that lets more happen.
fn flag(kind: Kind, was: bool, now: bool, opens: bool, [on, off]: [&str; 2], changes: &mut Changes) {
    if was != now {
        let effect = if now == opens { Effect::Opens } else { Effect::Closes };
        changes.push(kind, effect, if now { on } else { off }, None, None);
    }
}

fn maps(kind: Kind, of: &str, was: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>, changes: &mut Changes) {
    let keys: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    for key in keys {
        let (before, after) = (was.get(key), now.get(key));
        if before != after {
            let word = match (before, after) {
                (None, _) => "is set",
                (_, None) => "is no longer set",
                _ => "is another",
            };
            let text = |value: Option<&Value>| {
                value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            changes.push(kind, Effect::Changes, format!("{of} `{key}` {word}"), text(before), text(after));
        }
    }
}

fn container(was: &Container, now: &Container, changes: &mut Changes) {
    let before = changes.all.len();
    if was.image != now.image {
        changes.push(Kind::Image, Effect::Changes, "runs another image", was.image.clone(), now.image.clone());
    }
    let also = |container: &Container| Some(container.image_also.join(", ")).filter(|names| !names.is_empty());
    // Another image has other names, as a matter of course.
    if was.image_also != now.image_also && was.image == now.image {
        changes.push(Kind::Image, Effect::Changes, "its image has other names besides", also(was), also(now));
    }
    if was.args != now.args {
        let what = match (was.launched, now.launched) {
            (true, false) => "runs another command, and no longer waits for the initializer",
            _ => "runs another command",
        };
        changes.push(Kind::Command, Effect::Changes, what, Some(words(&was.args)), Some(words(&now.args)));
    }
    arguments(was, now, changes);
    if was.cwd != now.cwd {
        changes.push(
            Kind::Command,
            Effect::Changes,
            "runs in another folder",
            Some(was.cwd.clone()),
            Some(now.cwd.clone()),
        );
    }
    let commands =
        |container: &Container| -> BTreeSet<String> { container.exec.iter().map(|command| words(command)).collect() };
    changes.sets(
        Kind::Exec,
        &commands(was),
        &commands(now),
        "the host may run inside: {}",
        "the host may no longer run inside: {}",
    );
    if was.exec_access != now.exec_access {
        let text = |container: &Container| Some(access(&container.exec_access));
        changes.push(
            Kind::Exec,
            Effect::Changes,
            "commands that the host may run are decided otherwise",
            text(was),
            text(now),
        );
    }
    let set = |list: &[String]| -> BTreeSet<String> { list.iter().cloned().collect() };
    let (held, holds) = (set(&was.capabilities), set(&now.capabilities));
    for gained in holds.difference(&held) {
        changes.push(Kind::Capabilities, Effect::Opens, format!("gets {gained}: it may {}", power(gained)), None, None);
    }
    for lost in held.difference(&holds) {
        changes.push(
            Kind::Capabilities,
            Effect::Closes,
            format!("loses {lost}: it may no longer {}", power(lost)),
            None,
            None,
        );
    }
    if was.user != now.user {
        let text = |container: &Container| {
            let user = &container.user;
            let groups: Vec<_> = user.groups.iter().map(u64::to_string).collect();
            Some(format!("user {}, group {}, groups {}", user.uid, user.gid, groups.join(", ")))
        };
        let root = now.user.uid == 0 && was.user.uid != 0;
        let (effect, what) =
            if root { (Effect::Opens, "runs as root") } else { (Effect::Changes, "runs as another user") };
        changes.push(Kind::Process, effect, what, text(was), text(now));
    }
    flag(
        Kind::Process,
        was.no_new_privileges,
        now.no_new_privileges,
        false,
        ["can no longer gain privileges", "may gain privileges, as by a set-user-id program"],
        changes,
    );
    flag(
        Kind::Process,
        was.readonly_root,
        now.readonly_root,
        false,
        ["may no longer write to its root file system", "may write to its root file system"],
        changes,
    );
    flag(Kind::Process, was.terminal, now.terminal, true, ["has a terminal", "has no terminal any more"], changes);
    if was.gpus != now.gpus {
        let effect = if now.gpus > was.gpus { Effect::Opens } else { Effect::Closes };
        let text = |container: &Container| Some(container.gpus.to_string());
        changes.push(Kind::Process, effect, "gets another number of GPUs", text(was), text(now));
    }
    mounts(&was.mounts, &now.mounts, changes);
    environment(&was.env, &now.env, changes);
    maps(Kind::Other, "annotation", &was.annotations, &now.annotations, changes);
    // Whether the host may signal it was said for the pod. What else differs has no words yet, which is no reason to
    // stay silent.
    let same = Container { signals: was.signals, ..now.clone() } == *was;
    if changes.all.len() == before && !same {
        let text = |container: &Container| serde_json::to_string(container).ok();
        changes.push(
            Kind::Other,
            Effect::Changes,
            "differs in a way that this release has no words for",
            text(was),
            text(now),
        );
    }
}

/// Which arguments take values of the cluster. With a pattern that says less than text, the host may choose more.
fn arguments(was: &Container, now: &Container, changes: &mut Changes) {
    // Counted as people count, from the program on.
    let own = |container: &Container| -> BTreeMap<usize, Argument> {
        let first = container.own_command();
        container.args_from.iter().map(|argument| (argument.place.saturating_sub(first), argument.clone())).collect()
    };
    let (was, now) = (own(was), own(now));
    let places: BTreeSet<usize> = was.keys().chain(now.keys()).copied().collect();
    for at in places {
        let (before, after) = (was.get(&at), now.get(&at));
        if before.map(|argument| &argument.pattern) == after.map(|argument| &argument.pattern) {
            continue;
        }
        let what = match (&before, &after) {
            (None, _) => format!("argument {at} takes values of the cluster"),
            (_, None) => format!("argument {at} takes no value of the cluster any more"),
            _ => format!("argument {at} takes other values of the cluster"),
        };
        let effect = match (&before, &after) {
            (Some(_), None) => Effect::Closes,
            (None, Some(_)) => Effect::Opens,
            _ => Effect::Changes,
        };
        let text = |argument: &Argument| {
            readable(&argument.pattern).map_or_else(|| argument.pattern.clone(), |(text, _)| text)
        };
        changes.push(Kind::Command, effect, what, before.map(text), after.map(text));
    }
}

fn environment(was: &[Environment], now: &[Environment], changes: &mut Changes) {
    let by_name = |all: &[Environment]| -> BTreeMap<String, String> {
        let text = |variable: &Environment| match (&variable.value, &variable.from) {
            (Some(value), _) => value.clone(),
            (None, from) => format!("from the cluster: {}", from.as_deref().unwrap_or_default()),
        };
        all.iter().map(|variable| (variable.name.clone(), text(variable))).collect()
    };
    let (before, after) = (by_name(was), by_name(now));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (was, now) = (before.get(name), after.get(name));
        if was != now {
            let what = match (was, now) {
                (None, _) => format!("variable `{name}` is new"),
                (_, None) => format!("variable `{name}` is gone"),
                _ => format!("variable `{name}` is another"),
            };
            changes.push(Kind::Environment, Effect::Changes, what, was.cloned(), now.cloned());
        }
    }
}

fn mounts(was: &[Mount], now: &[Mount], changes: &mut Changes) {
    let find = |all: &[Mount], at: &str| all.iter().find(|mount| mount.destination == at).cloned();
    let places: BTreeSet<&String> = was.iter().chain(now).map(|mount| &mount.destination).collect();
    for at in places {
        let (before, after) = (find(was, at), find(now, at));
        if before == after {
            continue;
        }
        let trusts = |mount: &Option<Mount>| {
            mount.as_ref().is_some_and(|mount| matches!(mount.supplied_by, Supplier::Host | Supplier::Unknown))
        };
        let effect = if trusts(&after) && !trusts(&before) { Effect::Opens } else { Effect::Changes };
        let what = match (&before, &after) {
            (None, _) => format!("mounts `{at}`"),
            (_, None) => format!("no longer mounts `{at}`"),
            _ => format!("mounts `{at}` otherwise"),
        };
        let words = |mount: &Mount| {
            let same_words = before.as_ref().zip(after.as_ref()).is_some_and(|(a, b)| a.to_string() == b.to_string());
            if same_words {
                format!(
                    "{mount} ({} {} {}{})",
                    mount.kind,
                    mount.source,
                    mount.options.join(","),
                    mount.storage.as_ref().map(|storage| format!(" {storage}")).unwrap_or_default()
                )
            } else {
                mount.to_string()
            }
        };
        changes.push(Kind::Mounts, effect, what, before.as_ref().map(words), after.as_ref().map(words));
    }
}

fn settings(was: &Settings, now: &Settings, known: &BTreeSet<Identity>, changes: &mut Changes) {
    if was.role != now.role {
        let text = |settings: &Settings| Some(settings.role.name().to_owned());
        changes.push(Kind::Role, Effect::Changes, "has another role", text(was), text(now));
    }
    if was.deployment_id != now.deployment_id {
        let text = |settings: &Settings| Some(settings.deployment_id.to_string());
        changes.push(Kind::Role, Effect::Changes, "belongs to another deployment", text(was), text(now));
    }
    if was.coordinator != now.coordinator {
        let text = |settings: &Settings| settings.coordinator.map(|identity| identity.to_string());
        let follows = now.coordinator.is_some_and(|identity| known.contains(&identity));
        if follows {
            let what = "listens to the new Coordinator of this deployment";
            changes.push(Kind::Other, Effect::Changes, what, text(was), text(now));
        } else {
            let what = "listens to a Coordinator that is not among what was compared";
            changes.push(Kind::Role, Effect::Opens, what, text(was), text(now));
        }
    }
    flag(
        Kind::Role,
        was.mesh,
        now.mesh,
        false,
        ["has the mesh: its ports are closed but those listed", "has no mesh any more: nothing closes its ports"],
        changes,
    );
    let open = |settings: &Settings| -> BTreeSet<u16> { settings.open_ports.iter().copied().collect() };
    changes.sets(
        Kind::Ports,
        &open(was),
        &open(now),
        "opens the ports {} to everybody, as they are",
        "closes the ports {}",
    );
    let by_port = |settings: &Settings| -> BTreeMap<u16, bool> {
        settings.ingress.iter().map(|ingress| (ingress.port, ingress.client_certificate)).collect()
    };
    let (before, after) = (by_port(was), by_port(now));
    let ports: BTreeSet<&u16> = before.keys().chain(after.keys()).collect();
    let callers =
        |certificate: bool| if certificate { "callers with a certificate of the mesh" } else { "everybody, over TLS" };
    for port in ports {
        let (effect, what) = match (before.get(port), after.get(port)) {
            (None, Some(now)) => (Effect::Opens, format!("opens port {port} to {}", callers(*now))),
            (Some(_), None) => (Effect::Closes, format!("closes port {port}")),
            (Some(true), Some(false)) => (Effect::Opens, format!("opens port {port} to callers without a certificate")),
            (Some(false), Some(true)) => (Effect::Closes, format!("demands a certificate of the mesh on port {port}")),
            _ => continue,
        };
        changes.push(Kind::Ports, effect, what, None, None);
    }
    if was.ingress != now.ingress && before == after {
        let text = |settings: &Settings| {
            Some(
                settings
                    .ingress
                    .iter()
                    .map(|ingress| format!("{} {}", ingress.port, ingress.name))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        };
        changes.push(Kind::Names, Effect::Changes, "its ports have other names", text(was), text(now));
    }
    egress(was, now, changes);
    let files = |settings: &Settings| -> BTreeMap<String, VolumeFile> {
        let all = settings.files.iter();
        let each =
            all.flat_map(|(volume, files)| files.iter().map(move |(name, file)| (format!("{volume}/{name}"), *file)));
        each.collect()
    };
    let (before, after) = (files(was), files(now));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (was, now) = (before.get(name), after.get(name));
        if was != now {
            let what = match (was, now) {
                (None, _) => format!("file `{name}` is new"),
                (_, None) => format!("file `{name}` is gone"),
                (Some(was), Some(now)) if was.digest() == now.digest() => format!("file `{name}` has another mode"),
                _ => format!("file `{name}` has other content"),
            };
            let text = |file: Option<&VolumeFile>| file.map(VolumeFile::to_string);
            changes.push(Kind::Files, Effect::Changes, what, text(was), text(now));
        }
    }
    if was.fs_group != now.fs_group {
        let text = |settings: &Settings| settings.fs_group.map(|group| group.to_string());
        changes.push(Kind::Files, Effect::Changes, "its files have another group", text(was), text(now));
    }
    quorums(Kind::Owners, "owners", &was.owners, &now.owners, changes);
    reference::compare(&was.reference_values, &now.reference_values, &mut |effect, what, was, now| {
        changes.push(Kind::ReferenceValues, effect, what, was, now);
    });
    if was.version != now.version {
        let text = |value: &dyn Display| Some(value.to_string());
        changes.push(
            Kind::Role,
            Effect::Changes,
            "has settings of another version",
            text(&was.version),
            text(&now.version),
        );
    }
}

/// Where programs of the pod connect to stands for one remote: another one there gets to hear what they say.
fn egress(was: &Settings, now: &Settings, changes: &mut Changes) {
    let by_listener = |settings: &Settings| -> BTreeMap<SocketAddr, Egress> {
        settings.egress.iter().map(|egress| (egress.listen, egress.clone())).collect()
    };
    let to = |egress: &Egress| format!("{}:{} as `{}`", egress.host, egress.port, egress.certificate_name);
    let (before, after) = (by_listener(was), by_listener(now));
    let listeners: BTreeSet<&SocketAddr> = before.keys().chain(after.keys()).collect();
    for listen in listeners {
        let (was, now) = (before.get(listen), after.get(listen));
        let (effect, what) = match (was, now) {
            (None, Some(now)) => (Effect::Opens, format!("calls {} for programs that connect to {listen}", to(now))),
            (Some(was), None) => (Effect::Closes, format!("no longer calls {} for its programs", to(was))),
            (Some(was), Some(now)) if to(was) != to(now) => {
                (Effect::Opens, format!("calls another remote for programs that connect to {listen}"))
            }
            (Some(was), Some(now)) if was.name != now.name => {
                changes.push(
                    Kind::Names,
                    Effect::Changes,
                    "its egress has other names",
                    Some(was.name.clone()),
                    Some(now.name.clone()),
                );
                continue;
            }
            _ => continue,
        };
        let both = was.is_some() && now.is_some();
        let text = |egress: Option<&Egress>| egress.filter(|_| both).map(to);
        changes.push(Kind::Ports, effect, what, text(was), text(now));
    }
}
