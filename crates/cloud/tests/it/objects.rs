//! Objects out of YAML, to be compared by what they say and not by how it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testkit::go::{HELM, KUSTOMIZE, Program};

use crate::{repository, skipped};

/// The objects of a text, each with the YAML it stands in.
pub(crate) fn objects(text: &str) -> Vec<(Value, String)> {
    let documents = text.split("\n---\n").map(|document| document.trim_start_matches("---\n").to_owned());
    let parsed = documents.map(|document| {
        let object: Value =
            serde_saphyr::from_str(&document).unwrap_or_else(|error| panic!("YAML: {error}:\n{document}"));
        (object, document)
    });
    // What is left of a template that says nothing.
    parsed.filter(|(object, _)| !object.is_null()).collect()
}

/// `StatefulSet/coordinator` of an object.
pub(crate) fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The objects of a text by name. A name that is there twice is a mistake.
pub(crate) fn by_name(text: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (object, _) in objects(text) {
        let name = name(&object);
        assert!(all.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    all
}

/// Runs one of the tools; `None`, aloud, where it cannot be built.
pub(crate) fn tool(program: &Program, args: &[&str]) -> Option<Output> {
    match program.binary() {
        Ok(binary) => {
            let mut command = Command::new(binary);
            let home = tempfile::tempdir().expect("a folder");
            // Nothing of the user's own configuration decides about what is tested.
            command.args(args).current_dir(repository()).env("HOME", home.path()).env_remove("KUBECONFIG");
            Some(command.output().unwrap_or_else(|error| panic!("start {}: {error}", program.name)))
        }
        Err(missing) => {
            skipped(missing);
            None
        }
    }
}

/// What a tool printed, when it did its work.
pub(crate) fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `kustomize build` of a folder.
pub(crate) fn kustomize(folder: &str) -> Option<String> {
    tool(&KUSTOMIZE, &["build", folder]).map(|output| printed(&output))
}

/// `helm template` with further arguments.
pub(crate) fn helm(args: &[&str]) -> Option<Output> {
    let chart = ["template", "casemate", "deploy/helm/casemate", "--namespace", "casemate-system"];
    tool(&HELM, &[&chart, args].concat())
}

/// All files below a folder with one of the endings, in order.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
