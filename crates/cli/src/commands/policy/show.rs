//! `casemate policy show`.

use policy::describe::{
    self, Access, Container, Description, Endpoints, Mount, Policy, Supplier, power, readable, value_words, words,
};
use policy::generate::LAUNCHER;
use protocol::initdata::{Egress, Settings};
use protocol::manifest::PolicyEntry;
use protocol::{Identity, Manifest, Role};

use super::page::{Page, count};
use super::{ShowArgs, read};
use crate::failure::Outcome;
use crate::workspace::read_manifest;
use crate::{Context, output};

/// What containerd gives a container that asks for nothing.
const DEFAULT: &[&str] = &policy::request::DEFAULT_CAPABILITIES;
/// What the kubelet mounts into every container.
const KUBELET: [&str; 4] = ["hosts", "hostname", "resolv.conf", "termination-log"];

pub(super) fn run(context: &Context, args: &ShowArgs) -> Outcome {
    let manifest = match &args.manifest {
        Some(path) => Some(read_manifest(path)?.1),
        None => None,
    };
    let pods = read::pods(&args.files)?;
    if manifest.is_none() && !pods.iter().any(|pod| pod.description.is_some()) {
        return Err(read::no_policy(&pods));
    }
    if context.json {
        output::json(&json(&pods, manifest.as_ref(), args.rules).to_string());
    } else {
        output::result(&text(&pods, manifest.as_ref(), args));
    }
    Ok(())
}

/// The manifest's entry of a pod.
fn entry(manifest: Option<&Manifest>, identity: Option<Identity>) -> Option<&PolicyEntry> {
    manifest?.policies.get(&identity?)
}

/// Entries of which no file holds the policy.
fn without_file<'a>(pods: &[read::Pod], manifest: Option<&'a Manifest>) -> Vec<(&'a Identity, &'a PolicyEntry)> {
    let known: Vec<Identity> =
        pods.iter().filter_map(|pod| pod.description.as_ref().and_then(|description| description.identity)).collect();
    let all = manifest.into_iter().flat_map(|manifest| &manifest.policies);
    all.filter(|(identity, _)| !known.contains(identity)).collect()
}

fn json(pods: &[read::Pod], manifest: Option<&Manifest>, with_rules: bool) -> serde_json::Value {
    let all: Vec<_> = pods
        .iter()
        .map(|pod| {
            let identity = pod.description.as_ref().and_then(|description| description.identity);
            let mut json = serde_json::json!({
                "file": pod.file.display().to_string(),
                "resource": pod.title,
                "manifest": entry(manifest, identity),
                "description": pod.description,
            });
            if with_rules {
                json["rules"] = rules(pod).into();
            }
            json
        })
        .collect();
    let missing = without_file(pods, manifest);
    let missing: serde_json::Map<_, _> =
        missing.into_iter().map(|(identity, entry)| (identity.to_string(), serde_json::json!(entry))).collect();
    serde_json::json!({"pods": all, "without_file": missing})
}

/// The text of a pod's rules: with comments where they are known, as they stand where they are not.
fn rules(pod: &read::Pod) -> Option<String> {
    let description = pod.description.as_ref()?;
    if description.policy.rules.known {
        return Some(describe::rules_text());
    }
    pod.rego.clone()
}

fn text(pods: &[read::Pod], manifest: Option<&Manifest>, args: &ShowArgs) -> String {
    let mut page = Page::of_stdout(args.all);
    for pod in pods {
        page.blank();
        page.title(0, &read::place(pod));
        match &pod.description {
            Some(description) => whole(&mut page, description, manifest),
            None => page.warning(2, "policy", "NONE: the host decides what runs in it and reads all of it"),
        }
    }
    let missing = without_file(pods, manifest);
    if !missing.is_empty() {
        page.blank();
        page.title(0, "In the manifest, and in none of the files");
        for (identity, entry) in missing {
            page.text(2, 2, &entry.names.join(", "));
            page.row(4, "identity", &identity.to_string());
            of_manifest(&mut page, 4, entry, None);
        }
        page.text(2, 0, "What these may do, their identities do not tell: name their files, too.");
    }
    let mut said: Vec<&Endpoints> = Vec::new();
    for description in pods.iter().filter_map(|pod| pod.description.as_ref()) {
        let requests = &description.policy.requests;
        if description.policy.rules.known && !said.contains(&requests) {
            said.push(requests);
            nobody(&mut page, requests);
        }
    }
    if args.rules {
        let mut printed = Vec::new();
        for (pod, text) in pods.iter().filter_map(|pod| Some((pod, rules(pod)?))) {
            if !printed.contains(&text) {
                page.blank();
                let known = pod.description.as_ref().is_some_and(|description| description.policy.rules.known);
                page.title(0, &if known { "The rules".to_owned() } else { format!("The rules of {}", pod.title) });
                page.verbatim(&text);
                printed.push(text);
            }
        }
    }
    page.finish()
}

fn whole(page: &mut Page, description: &Description, manifest: Option<&Manifest>) {
    let policy = &description.policy;
    let listed = entry(manifest, description.identity);
    match (description.identity, manifest, listed) {
        (Some(identity), Some(_), None) => {
            page.warning(
                2,
                "identity",
                &format!("{identity}, NOT in the manifest: it gets no certificate and no secret"),
            );
        }
        (Some(identity), ..) => page.row(2, "identity", &identity.to_string()),
        (None, ..) => page.row(2, "identity", "none: a policy alone, without its initdata"),
    }
    if policy.rules.known {
        page.row(2, "rules", "those of this release");
    } else {
        let digest = policy.rules.digest;
        page.warning(
            2,
            "rules",
            &format!("OTHERS ({digest}): what follows is what their values say; what it means, the rules alone decide"),
        );
    }
    match &description.settings {
        Some(settings) => of_settings(page, settings, manifest, description.complete),
        None if description.identity.is_some() => {
            page.warning(2, "settings", "NONE: this initdata is not of this generator");
        }
        None => {}
    }
    if let Some(entry) = listed {
        of_manifest(page, 2, entry, description.settings.as_ref());
    }
    page.row(2, "pods", &format!("named {} in namespace {}", policy.pod, policy.namespace));
    if policy.hostname_is_fixed || policy.hostname != policy.pod {
        page.row(2, "host name", &policy.hostname);
    }
    if let Some(count) = policy.completions {
        let last = count.saturating_sub(1);
        page.row(2, "index", &format!("0 to {last}: the same in a pod's name, its host name and its variables"));
    }
    let logs = match &policy.logs {
        Access::Closed => "closed: the host reads nothing of what containers print".to_owned(),
        Access::Open => "open: the host reads what containers print".to_owned(),
        Access::Only(names) => format!("open for {}: the host reads what they print", names.join(", ")),
        Access::Rules => "as the rules say".to_owned(),
    };
    page.row(2, "output", &logs);
    if policy.shared_processes {
        page.warning(2, "processes", "shared: its containers see, and may stop, each other's processes");
    }
    let mut copied = policy.host_files.clone();
    copied.extend(policy.host_folders.iter().map(|name| format!("{name} (a folder)")));
    if !copied.is_empty() {
        let copied = copied.join(", ");
        page.row(2, "host files", &format!("{copied}: the host copies them in, and their content is its word"));
    }
    page.row(2, "host's env", &format!("addresses of the Services {}", or_none(&policy.services)));
    if !policy.sysctls.is_empty() {
        let pairs = policy
            .sysctls
            .iter()
            .map(|(key, value)| format!("{key} = {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        page.row(2, "sysctls", &pairs.collect::<Vec<_>>().join(", "));
    }
    for (path, value) in &policy.unknown {
        page.warning(2, "UNKNOWN", &format!("{path} = {value}: this release has no words for it"));
    }
    for container in &policy.containers {
        page.blank();
        page.title(2, &format!("container {}", container.name));
        of_container(page, container, policy);
    }
    // The pause container is the same in every pod, and shown where it is not.
    if page.all() || !is_usual_pause(&policy.pause) {
        page.blank();
        page.title(2, "the pause container, which holds the sandbox");
        of_container(page, &policy.pause, policy);
    }
}

fn is_usual_pause(pause: &Container) -> bool {
    let mounts = |mount: &Mount| {
        matches!(mount.supplied_by, Supplier::Kernel | Supplier::Memory)
            || mount.volume.as_deref() == Some("resolv.conf")
    };
    pause.args == ["/pause"]
        && pause.image.as_deref() == Some("pause")
        && pause.user.uid == 65535
        && pause.annotations.is_empty()
        && pause.cwd == "/"
        && pause.readonly_root
        && pause.no_new_privileges
        && !pause.terminal
        && pause.capabilities.iter().all(|name| DEFAULT.contains(&name.as_str()))
        && pause.env.iter().all(|variable| variable.name == "PATH")
        && pause.mounts.iter().all(mounts)
}

fn of_settings(page: &mut Page, settings: &Settings, manifest: Option<&Manifest>, complete: bool) {
    let kind = match settings.role {
        Role::Coordinator => "the Coordinator",
        Role::Workload => "a workload",
    };
    page.row(2, "is", &format!("{kind} of deployment {}", settings.deployment_id));
    if !complete {
        page.warning(
            2,
            "document",
            "not as this release writes it: something besides policy and settings may stand in it",
        );
    }
    match settings.coordinator {
        Some(identity) => {
            let known = manifest
                .map(|manifest| manifest.policies.get(&identity).is_some_and(|entry| entry.role == Role::Coordinator));
            let text = format!("listens to {identity} alone");
            match known {
                Some(false) => page.warning(2, "Coordinator", &format!("{text}, which the manifest does NOT know")),
                _ => page.row(2, "Coordinator", &text),
            }
        }
        None if settings.role == Role::Workload => page.warning(2, "Coordinator", "none is named"),
        None => {}
    }
    if settings.mesh {
        for ingress in &settings.ingress {
            let who =
                if ingress.client_certificate { "callers show a certificate of the mesh" } else { "anybody may call" };
            page.row(2, "port", &format!("{} ({}): TLS ends in the pod; {who}", ingress.port, ingress.name));
        }
    }
    for Egress { name, listen, host, port, certificate_name } in settings.egress.iter().filter(|_| settings.mesh) {
        let to = format!("{host}:{port}, once a certificate of the mesh for {certificate_name} is shown there");
        page.row(2, "egress", &format!("{listen} ({name}): its programs reach {to}"));
    }
    for port in &settings.open_ports {
        let why =
            if settings.role == Role::Coordinator { ": attested TLS of its own" } else { ", without TLS of ours" };
        page.row(2, "port", &format!("{port}: open to everybody, as it is{why}"));
    }
    if settings.mesh {
        page.row(
            2,
            "",
            if settings.ingress.is_empty() && settings.open_ports.is_empty() {
                "all ports are closed"
            } else {
                "all other ports are closed"
            },
        );
    } else if settings.role == Role::Workload {
        page.warning(2, "ports", "ALL OPEN: there is no mesh in this pod, and so no firewall, certificate or secret");
    }
    for (volume, files) in &settings.files {
        let names: Vec<_> = files
            .iter()
            .map(|(name, file)| if page.all() { format!("{name} ({file})") } else { name.clone() })
            .collect();
        page.row(2, "files", &format!("of volume {volume}, compared with digests: {}", or_none(&names)));
    }
    if let Some(group) = settings.fs_group {
        page.row(2, "", &format!("group {group} may read them"));
    }
    let owners = &settings.owners;
    page.row(
        2,
        "owners",
        &format!("{} of {} must sign a manifest that it obeys", owners.threshold, count(owners.keys.len(), "key")),
    );
    if settings.reference_values.software.is_some() {
        page.warning(2, "hardware", "INSECURE: it takes a software TEE for its peer");
    } else {
        let platforms: Vec<_> = settings.reference_values.platforms().into_iter().collect();
        page.row(2, "hardware", &format!("it believes peers on {}", platforms.join(", ")));
    }
}

/// `settings` tell whether a list of callers binds anybody.
fn of_manifest(page: &mut Page, indent: usize, entry: &PolicyEntry, settings: Option<&Settings>) {
    page.row(indent, "names", &format!("{} in its certificates", entry.names.join(", ")));
    let secrets: Vec<String> = entry.secrets.iter().cloned().collect();
    page.row(
        indent,
        "secrets",
        &if secrets.is_empty() { "reads none".to_owned() } else { format!("reads {}", secrets.join(", ")) },
    );
    let asks = settings.is_none_or(|settings| settings.ingress.iter().any(|ingress| ingress.client_certificate));
    match &entry.callers {
        None if asks && entry.role == Role::Workload => page.row(indent, "callers", "every workload of the manifest"),
        Some(callers) => {
            let callers: Vec<String> = callers.iter().cloned().collect();
            if asks {
                page.row(indent, "callers", &or_none(&callers));
            } else {
                let list = or_none(&callers);
                page.warning(indent, "callers", &format!("{list}, which binds NOBODY: no port asks for a certificate"));
            }
        }
        None => {}
    }
    if let Some(platforms) = &entry.platforms {
        page.row(indent, "platforms", &platforms.iter().cloned().collect::<Vec<_>>().join(", "));
    }
}

fn of_container(page: &mut Page, container: &Container, policy: &Policy) {
    match &container.image {
        Some(image) if image.contains("@sha256:") || image == "pause" => page.row(4, "image", image),
        Some(image) => page.warning(4, "image", &format!("{image}, WITHOUT a digest: the registry decides what it is")),
        None => page.warning(4, "image", "NONE that the policy binds"),
    }
    let digest = |image: &str| image.split_once('@').map(|(_, digest)| digest.to_owned());
    for also in &container.image_also {
        // The same content under another name is no news.
        if container.image.as_deref().and_then(digest).is_some_and(|known| digest(also) == Some(known)) {
            if page.all() {
                page.row(4, "", &format!("or {also}"));
            }
        } else {
            page.warning(4, "", &format!("OR {also}, as the host likes"));
        }
    }
    let command = match launched(&container.args) {
        Some((checked, program)) if container.launched => {
            let files = match checked.len() {
                0 => String::new(),
                1 => " and 1 file is compared".to_owned(),
                files => format!(" and {files} files are compared"),
            };
            let init = waits_for(&container.args).map(|name| format!(" and init container {name}")).unwrap_or_default();
            let are = if init.is_empty() { "is" } else { "are" };
            format!("{} (after the launcher, once the initializer{init} {are} done{files})", words(program))
        }
        _ => words(&container.args),
    };
    page.row(4, "runs", &command);
    arguments(page, container);
    page.row(4, "in", &container.cwd);
    let user = &container.user;
    let root = if user.uid == 0 { " (root of the guest)" } else { "" };
    let mut others: Vec<u64> = user.groups.iter().copied().filter(|group| *group != user.gid).collect();
    others.sort_unstable();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(", also {}", others.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
    };
    page.row(4, "as", &format!("user {}{root}, group {}{others}", user.uid, user.gid));
    if container.gpus > 0 {
        let whose = "of the host; what they are, attestation tells";
        page.row(4, "GPUs", &format!("{} {whose}", container.gpus));
    }
    capabilities(page, container);
    if !container.no_new_privileges {
        page.warning(4, "privileges", "may gain more, as by a set-user-id program");
    }
    if container.terminal {
        page.row(4, "terminal", "yes");
    }
    page.row(4, "root files", if container.readonly_root { "read-only" } else { "writable" });
    environment(page, container);
    mounts(page, &container.mounts);
    if container.name != "pause" {
        page.row(
            4,
            "signals",
            if container.signals {
                "the host may send them"
            } else {
                "none from the host, which may remove the container"
            },
        );
        commands(page, container, policy);
    }
    for (key, value) in &container.annotations {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        page.row(4, "annotation", &format!("{key} = {value}"));
    }
}

/// What stands before the launcher's dashes: the files that it compares, after the container's name, and the program.
fn launched(args: &[String]) -> Option<(&[String], &[String])> {
    let dashes = args.iter().position(|argument| argument == "--")?;
    let own = args.get(1..dashes).unwrap_or_default();
    let options = own.iter().take_while(|word| word.starts_with("--")).count();
    Some((own.get(options + 1..).unwrap_or_default(), args.get(dashes + 1..)?))
}

/// The init container that the launcher waits for beside the initializer.
fn waits_for(args: &[String]) -> Option<&str> {
    args.iter().take_while(|word| *word != "--").find_map(|word| word.strip_prefix("--after="))
}

fn commands(page: &mut Page, container: &Container, policy: &Policy) {
    let refused = policy.requests.never.iter().any(|name| name == "ExecProcessRequest");
    for command in &container.exec {
        let program = launched(command).filter(|_| command.first().is_some_and(|first| first == LAUNCHER));
        let shown = words(program.map_or(command, |(_, program)| program));
        if refused {
            page.row(4, "exec", &format!("lists {shown}, but the rules refuse all commands"));
        } else {
            page.warning(4, "exec", &format!("the host may run {shown}"));
        }
    }
    match &container.exec_access {
        Access::Closed if policy.rules.known && container.exec.is_empty() => {
            page.row(4, "exec", "closed: nobody runs another command in it");
        }
        Access::Closed if policy.rules.known => {}
        _ => page.warning(4, "exec", "as the rules say"),
    }
}

fn capabilities(page: &mut Page, container: &Container) {
    let held = &container.capabilities;
    let is_default = held.len() == DEFAULT.len() && DEFAULT.iter().all(|name| held.iter().any(|held| held == name));
    if held.is_empty() {
        page.row(4, "powers", "none beyond those of an ordinary process");
    } else if is_default && !page.all() {
        page.row(
            4,
            "powers",
            "the 14 capabilities that containerd gives by default, over its own files, users and packets",
        );
    } else {
        let mut label = "powers";
        let all = page.all();
        for name in held.iter().filter(|name| all || !is_default_of_many(held, name)) {
            page.row(4, label, &format!("{}: {}", name.trim_start_matches("CAP_"), power(name)));
            label = "";
        }
        if !page.all() && held.iter().any(|name| is_default_of_many(held, name)) {
            page.row(4, label, "and the 14 capabilities that containerd gives by default");
        }
    }
}

/// Whether a capability is one of the default ones, all of which are there beside others.
fn is_default_of_many(held: &[String], name: &str) -> bool {
    DEFAULT.contains(&name) && DEFAULT.iter().all(|name| held.iter().any(|held| held == name))
}

fn environment(page: &mut Page, container: &Container) {
    let own: Vec<_> = container.env.iter().filter(|variable| variable.value.is_some()).collect();
    let cluster: Vec<_> =
        container.env.iter().filter_map(|variable| Some((&variable.name, variable.from.as_ref()?))).collect();
    if page.all() {
        let mut label = "variables";
        for variable in &own {
            page.row(4, label, &format!("{}={}", variable.name, variable.value.as_deref().unwrap_or_default()));
            label = "";
        }
    } else if own.is_empty() {
        page.row(4, "variables", "none");
    } else {
        let names: Vec<_> = own.iter().map(|variable| variable.name.clone()).collect();
        page.row(4, "variables", &format!("{}, bound with their values: {}", own.len(), names.join(", ")));
    }
    if !cluster.is_empty() {
        let text = |from: &str| readable(from).map_or_else(|| from.to_owned(), |(text, _)| text);
        let words: Vec<_> = cluster.iter().map(|(name, from)| format!("{name} ({})", text(from))).collect();
        page.row(4, "", &format!("from the cluster: {}", words.join(", ")));
    }
}

/// The arguments that hold values of the cluster, counted as the user counts, without the launcher.
fn arguments(page: &mut Page, container: &Container) {
    let own = container.own_command();
    for argument in &container.args_from {
        let text = container.args.get(argument.place).cloned().unwrap_or_default();
        let which = match argument.place.checked_sub(own) {
            Some(0) => "its program".to_owned(),
            Some(place) => format!("argument {place}"),
            None => format!("argument {} of the launcher", argument.place),
        };
        if argument.values.is_empty() {
            page.warning(4, "", &format!("{which} is WHATEVER FITS the pattern {}", words(&[text])));
            continue;
        }
        let mut kinds: Vec<&str> = argument.values.iter().map(String::as_str).collect();
        kinds.dedup();
        let kinds: Vec<_> =
            kinds.iter().map(|kind| format!("$({kind}) is {}", value_words(kind).unwrap_or("unknown"))).collect();
        page.row(4, "", &format!("{which}, {}: {}", words(&[text]), kinds.join("; ")));
    }
}

fn mounts(page: &mut Page, mounts: &[Mount]) {
    // What every container has, and which is as it always is, is one line.
    let usual = |mount: &Mount| match (mount.kind.as_str(), mount.destination.as_str()) {
        ("proc", "/proc") | ("devpts", "/dev/pts") | ("mqueue", "/dev/mqueue") => mount.supplied_by == Supplier::Kernel,
        ("sysfs", "/sys") | ("cgroup", "/sys/fs/cgroup") => mount.supplied_by == Supplier::Kernel && mount.read_only,
        ("tmpfs", "/dev") | ("bind", "/dev/shm") => mount.supplied_by == Supplier::Memory && mount.volume.is_none(),
        _ => false,
    };
    let kubelet = |mount: &Mount| {
        let is_at =
            |name: &&str| mount.destination == format!("/etc/{name}") || mount.destination == format!("/dev/{name}");
        mount.supplied_by == Supplier::Host
            && mount.volume.as_deref().is_some_and(|volume| KUBELET.iter().filter(|name| **name == volume).any(is_at))
    };
    let mut label = "mounts";
    for mount in mounts {
        if !page.all() && (usual(mount) || kubelet(mount)) {
            continue;
        }
        let text = format!("{}: {mount}", mount.destination);
        match mount.supplied_by {
            Supplier::Host | Supplier::Unknown => page.warning(4, label, &text),
            _ => page.row(4, label, &text),
        }
        label = "";
        if page.all() {
            let storage = mount.storage.as_ref().map(|storage| format!(", storage {storage}")).unwrap_or_default();
            page.text(19, 2, &format!("{} {} ({}){storage}", mount.kind, mount.source, mount.options.join(",")));
        }
    }
    if page.all() {
        return;
    }
    let places = |of: &dyn Fn(&Mount) -> bool| -> Vec<String> {
        mounts.iter().filter(|mount| of(mount)).map(|mount| mount.destination.clone()).collect()
    };
    let files = places(&kubelet);
    if !files.is_empty() {
        page.row(4, label, &format!("{}: the host, as in every container", files.join(", ")));
        label = "";
    }
    if mounts.iter().any(usual) {
        page.row(4, label, "and the guest kernel's own, as in every container");
    }
}

/// What is closed to everybody, in words for what people ask about.
fn nobody(page: &mut Page, requests: &Endpoints) {
    let words: &[(&str, &str)] = &[
        ("SetPolicyRequest", "replace the policy"),
        ("ExecProcessRequest", "run a command in a container"),
        ("ReadStreamRequest", "read what a container prints"),
        ("WriteStreamRequest", "type into a container"),
        ("UpdateContainerRequest", "change a container's limits"),
        ("PauseContainerRequest", "freeze a container"),
        ("SetGuestDateTimeRequest", "set the clock"),
        ("ReseedRandomDevRequest", "feed the random generator"),
        ("SetIPTablesRequest", "change the firewall from outside"),
        ("PullImageRequest", "pull another image"),
        ("AddSwapRequest", "add swap"),
        ("MemHotplugByProbeRequest", "plug memory"),
        ("GetDiagnosticDataRequest", "fetch diagnostics"),
        ("StartTracingRequest", "trace the agent"),
    ];
    let never = |name: &&(&str, &str)| requests.never.iter().any(|known| known == name.0);
    let said: Vec<_> = words.iter().filter(never).map(|(_, words)| *words).collect();
    page.blank();
    page.title(0, "Nobody may");
    page.text(2, 0, &said.join(", "));
    if page.all() {
        for (label, list) in [("never", &requests.never), ("decided", &requests.decided), ("always", &requests.always)]
        {
            let names: Vec<_> = list.iter().map(|name| name.trim_end_matches("Request").to_owned()).collect();
            page.row(2, label, &names.join(", "));
        }
    } else {
        let number = requests.never.len();
        page.text(2, 0, &format!("{number} requests are refused to everybody; `--all` names them."));
    }
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}
