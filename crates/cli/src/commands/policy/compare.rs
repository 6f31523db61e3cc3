//! `casemate policy diff`.

use std::path::Path;

use policy::describe::{self, Change, Deployment, Difference, Effect};

use super::page::{Page, count};
use super::{DiffArgs, read};
use crate::failure::{Class, Failure, Outcome};
use crate::workspace::read_manifest;
use crate::{Context, output};

/// The manifest's name in a folder.
const MANIFEST: &str = "manifest.json";

pub(super) fn run(context: &Context, args: &DiffArgs) -> Outcome {
    let side = |path: &Path| {
        deployment(path).map_err(|mut failure| {
            failure.class = Class::CouldNotTell;
            failure
        })
    };
    let (old, new) = (side(&args.old)?, side(&args.new)?);
    let difference = describe::diff(&old, &new);
    if context.json {
        let json = serde_json::to_string(&difference).map_err(anyhow::Error::new)?;
        output::json(&json);
    } else {
        output::result(&text(&difference));
    }
    if !difference.untold.is_empty() {
        let message = anyhow::anyhow!("not everything could be compared");
        return Err(Failure::could_not_tell(message)
            .hint("put the generated YAML beside each manifest: a manifest holds identities, not policies")
            .told(context.json));
    }
    if difference.changes.is_empty() {
        return Ok(());
    }
    Err(Failure::refuse(format!("they differ in {}", count(difference.changes.len(), "point"))).told(context.json))
}

/// What a path stands for.
fn deployment(path: &Path) -> Outcome<Deployment> {
    if path.is_dir() {
        let beside = path.join(MANIFEST);
        let manifest = if beside.is_file() { Some(read_manifest(&beside)?.1) } else { None };
        return with_pods(path, manifest, false);
    }
    let is_manifest = path != Path::new("-")
        && path.is_file()
        && read::text(path).is_ok_and(|text| {
            serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|json| json["policies"].is_object())
        });
    if !is_manifest {
        return with_pods(path, None, false);
    }
    let (_, manifest) = read_manifest(path)?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    with_pods(folder, Some(manifest), true)
}

/// `listed` leaves out what the manifest does not list: its folder may hold other deployments, too.
fn with_pods(path: &Path, manifest: Option<protocol::Manifest>, listed: bool) -> Outcome<Deployment> {
    let pods = read::pods(&[path.to_owned()])?;
    if pods.is_empty() && manifest.is_none() {
        return Err(read::no_policy(&pods).context(format!("`{}`", path.display())));
    }
    let is_listed = |description: &describe::Description| {
        let identity = description.identity;
        identity.is_some_and(|id| manifest.as_ref().is_some_and(|manifest| manifest.policies.contains_key(&id)))
    };
    let wanted = |pod: &read::Pod| !listed || pod.description.as_ref().is_some_and(is_listed);
    let mut known = Vec::new();
    for pod in pods.into_iter().filter(wanted) {
        let title = read::place(&pod);
        let name = if pod.name.is_empty() { pod.title } else { pod.name };
        known.push(describe::Pod { title, name, description: pod.description });
    }
    Ok(Deployment { manifest, pods: known })
}

fn text(difference: &Difference) -> String {
    // Digests in full: who signs for an image signs for all of its digits.
    let mut page = Page::of_stdout(true);
    let number = difference.changes.len();
    let of = |effect: Effect| difference.changes.iter().filter(|change| change.effect == effect).count();
    let counts = [
        (Effect::Opens, "allow more (+)"),
        (Effect::Changes, "allow something else (~)"),
        (Effect::Closes, "allow less (-)"),
    ];
    let counts: Vec<_> = counts
        .into_iter()
        .filter(|(effect, _)| of(*effect) > 0)
        .map(|(effect, words)| format!("{} {words}", of(effect)))
        .collect();
    let title = match (number, difference.untold.is_empty()) {
        (0, true) => "Nothing changed.".to_owned(),
        (0, false) => "No change was found; not everything could be compared.".to_owned(),
        _ => format!("{}: {}.", count(number, "change"), counts.join(", ")),
    };
    page.title(0, &title);
    page.blank();
    for (index, change) in difference.changes.iter().enumerate() {
        let head = format!("{:>3}. {} {}{}", index + 1, mark(change), subject(change), change.what);
        page.text(0, 7, &head);
        for (label, value) in [("was", &change.was), ("now", &change.now)] {
            if let Some(value) = value {
                page.value(7, label, value);
            }
        }
    }
    if !difference.untold.is_empty() {
        page.blank();
        page.title(0, "What could not be told:");
        for line in &difference.untold {
            page.text(2, 2, line);
        }
    }
    if !difference.notes.is_empty() {
        page.blank();
        for line in &difference.notes {
            page.text(0, 6, &format!("note: {line}"));
        }
    }
    page.finish()
}

fn mark(change: &Change) -> char {
    match change.effect {
        Effect::Opens => '+',
        Effect::Changes => '~',
        Effect::Closes => '-',
    }
}

fn subject(change: &Change) -> String {
    match (&change.workload, &change.container) {
        (Some(workload), Some(container)) => format!("{workload}, container {container}: "),
        (Some(workload), None) => format!("{workload}: "),
        _ => String::new(),
    }
}
