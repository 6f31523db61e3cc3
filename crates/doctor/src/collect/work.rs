//! The work folder: YAML and the manifest.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::Manifest;
use protocol::manifest::MAX_MANIFEST;
use serde_json::Value;

use crate::bundle::{Answer, ManifestFacts, Resource, Work};
use crate::kind::Kind;
use crate::reduce::reduce;

/// LIMIT: a deployment has some dozens of files.
const MAX_FILES: usize = 2_000;
/// LIMIT: as `generate` reads.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// LIMIT: kustomize's bases and overlays lie three deep.
const MAX_DEPTH: usize = 8;
/// LIMIT: documents that are kept.
const MAX_RESOURCES: usize = 10_000;
/// LIMIT: unreadable files that are named.
const MAX_UNREADABLE: usize = 20;

/// Reads resources from a folder or a file, and a manifest.
pub fn work(resources: Option<&Path>, manifest: Option<&Path>) -> Work {
    let shown = resources.or(manifest).map(|path| path.display().to_string()).unwrap_or_default();
    let mut work = Work { path: shown, ..Work::default() };
    work.manifest = manifest.map(manifest_facts);
    let Some(root) = resources else { return work };
    let mut files = Vec::new();
    if let Err(error) = find(root, MAX_DEPTH, &mut files) {
        work.unreadable.push(format!("{}: {error}", root.display()));
    }
    files.sort();
    if files.len() >= MAX_FILES {
        work.unreadable.push(format!("{}: only the first {MAX_FILES} files are read", root.display()));
    }
    for path in files {
        let name = path.strip_prefix(root).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(&path);
        // Commands name it as it is found from here.
        let file = if name == path { name.to_owned() } else { root.join(name) };
        let file = file.display().to_string();
        match documents(&path) {
            Ok(documents) => {
                let documents = documents.into_iter().flat_map(flatten).filter(matters);
                let room = MAX_RESOURCES.saturating_sub(work.resources.len());
                let resource = |object| Resource { file: file.clone(), object: reduce(object) };
                work.resources.extend(documents.take(room).map(resource));
            }
            Err(why) if work.unreadable.len() < MAX_UNREADABLE => work.unreadable.push(format!("{file}: {why}")),
            Err(_) => {}
        }
    }
    work
}

/// Files of YAML below a folder; links are not followed, hidden folders and the work folder's own are left alone.
fn find(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if fs::metadata(path)?.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if files.len() >= MAX_FILES || name.starts_with('.') {
            continue;
        }
        if kind.is_dir() && depth > 1 && !["verify", "node_modules", "target"].contains(&name.as_ref()) {
            find(&entry.path(), depth - 1, files)?;
        } else if kind.is_file() && [".yaml", ".yml"].iter().any(|end| name.to_ascii_lowercase().ends_with(end)) {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn read(path: &Path, limit: u64) -> Result<String, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(limit + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
        return Err(format!("it has more than {limit} bytes"));
    }
    Ok(text)
}

fn documents(path: &Path) -> Result<Vec<Value>, String> {
    let text = read(path, MAX_FILE)?;
    // A chart's template is no YAML, and none of the user's faults.
    if text.contains("{{") && text.contains("}}") && !text.contains("kind:") {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_multiple_with_options(&text, options)
        .map_err(|error| error.to_string().lines().next().unwrap_or("it is no YAML").to_owned())
}

/// The items of a `List`, or the object itself.
fn flatten(mut object: Value) -> Vec<Value> {
    if object.get("kind").and_then(Value::as_str) == Some("List")
        && let Some(Value::Array(items)) = object.get_mut("items").map(Value::take)
    {
        return items;
    }
    vec![object]
}

/// Whether checks look at such objects.
fn matters(object: &Value) -> bool {
    let kind = object.get("kind").and_then(Value::as_str).and_then(Kind::named);
    kind.is_some_and(|kind| kind == Kind::Pods || Kind::WORKLOADS.contains(&kind))
}

fn manifest_facts(path: &Path) -> Answer<ManifestFacts> {
    let limit = u64::try_from(MAX_MANIFEST).unwrap_or(u64::MAX);
    let text = match read(path, limit) {
        Ok(text) => text,
        Err(why) => return Answer::Unknown(format!("{}: {why}", path.display())),
    };
    let manifest = match Manifest::parse(&text) {
        Ok(manifest) => manifest,
        Err(error) => return Answer::Unknown(format!("{}: {error}", path.display())),
    };
    let values = &manifest.reference_values;
    let vendors = [
        ("amd", !values.snp.is_empty()),
        ("intel", !values.tdx.is_empty() || !values.sgx.is_empty()),
        ("nvidia", !values.devices.is_empty()),
    ];
    let entry = |(identity, entry): (&protocol::Identity, &protocol::manifest::PolicyEntry)| {
        (identity.to_string(), entry.names.first().cloned().unwrap_or_default())
    };
    Answer::Known(ManifestFacts {
        deployment: manifest.deployment_id.to_string(),
        entries: manifest.policies.iter().map(entry).collect(),
        vendors: vendors.iter().filter(|(_, needed)| *needed).map(|(vendor, _)| (*vendor).to_owned()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_found_where_it_lies_and_what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write(
            "web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\nkind: Secret\ndata: {a: b}\n",
        );
        write("deep/er/job.yml", "kind: List\nitems:\n- {kind: Job, metadata: {name: job}}\n");
        write("broken.yaml", "a: [\n");
        write("notes.txt", "kind: Pod\n");
        write(".hidden/x.yaml", "kind: Pod\n");
        write("chart.yaml", "{{- if .Values.x }}\n");
        let found = work(Some(folder.path()), None);
        let names: Vec<&str> =
            found.resources.iter().filter_map(|it| it.object.pointer("/metadata/name")?.as_str()).collect();
        assert_eq!(names, ["job", "web"]);
        assert_eq!(found.unreadable.len(), 1, "{:?}", found.unreadable);
        assert!(found.manifest.is_none());
        assert_eq!(work(Some(&folder.path().join("none")), None).unreadable.len(), 1);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_not_one_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        assert!(matches!(work(None, Some(&path)).manifest, Some(Answer::Unknown(_))));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(work(None, Some(&path)).manifest, Some(Answer::Unknown(_))));
    }
}
