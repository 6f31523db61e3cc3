//! `casemate doctor` as its user meets it, on bundles.

use std::fs;
use std::path::{Path, PathBuf};

use super::casemate;

const PODS: &str = r#"
known:
  - metadata: {name: web-0, namespace: shop}
    spec: {containers: [{name: web, image: "gcr.io/<PROJECT_ID>/web:1"}]}
"#;

/// The smallest bundle in which every kind was seen.
fn bundle(pods: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let root = dir.path().join("support");
    fs::create_dir_all(root.join("objects")).expect("a folder");
    let main = "format: 1\nbundle:\n  taken: 1790000000\n  cluster: {context: test, namespace: default}\n";
    fs::write(root.join("bundle.yaml"), main).expect("written");
    for kind in ::doctor::Kind::ALL {
        let text = if kind == ::doctor::Kind::Pods { pods } else { "known: []\n" };
        fs::write(root.join(format!("objects/{}.yaml", kind.plural())), text).expect("written");
    }
    dir
}

/// Runs it and looks for the exit code and for words.
fn check(dir: &Path, arguments: &[&str], code: u8, words: &[&str]) {
    let said = casemate(dir, &[&["doctor"], arguments].concat());
    assert!(said.starts_with(&format!("exit {code}\n")), "{said}");
    for words in words {
        assert!(said.contains(words), "{words}:\n{said}");
    }
}

#[test]
fn a_fault_is_exit_1_with_what_mends_it() {
    let dir = bundle(PODS);
    let words = [
        "problem  Pod shop/web-0  (image-name)",
        "angle brackets",
        "$ casemate generate --reference-values PLATFORM resources/",
        "1 check: 1 problem",
    ];
    check(dir.path(), &["--bundle", "support", "--only", "image-name"], 1, &words);
    let words = ["\"answer\":\"problems\"", "\"id\":\"image-name\"", "\"state\":\"found\""];
    check(dir.path(), &["--bundle", "support", "--only", "image-name", "--json"], 1, &words);
}

#[test]
fn nothing_wrong_is_exit_0_in_a_line() {
    let dir = bundle("known: []\n");
    let arguments = ["--bundle", "support", "--only", "image-name,image-pull,pod-pending"];
    check(dir.path(), &arguments, 0, &["--- stdout\n3 checks, all well\n--- stderr\n"]);
}

#[test]
fn what_could_not_be_read_is_exit_2_and_named() {
    let dir = bundle("unknown: 'pods is forbidden: User \"reader\" cannot list resource \"pods\"'\n");
    let words = ["pods could not be read: pods is forbidden: User \"reader\"", "3 checks: 3 could not tell"];
    check(dir.path(), &["--bundle", "support", "--only", "image-name,image-pull,runtime-class"], 2, &words);
}

#[test]
fn wrong_input_is_exit_1() {
    let dir = bundle(PODS);
    check(dir.path(), &["--only", "image-nmae"], 1, &["there is no check `image-nmae`", "doctor --list"]);
    check(dir.path(), &["--bundle", "none"], 1, &["`none` is no bundle", "--save DIR"]);
    fs::write(dir.path().join("support/objects/pods.yaml"), "known: {}\n").expect("written");
    check(dir.path(), &["--bundle", "support"], 1, &["is no part of a bundle"]);
}

#[test]
fn no_kubeconfig_is_could_not_tell() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(
        dir.path(),
        &["--kubeconfig", "none", "--offline"],
        2,
        &["find the cluster", "`--local` looks at this machine"],
    );
}

#[test]
fn what_is_saved_is_read_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let saved = casemate(dir.path(), &["doctor", "--local", "--save", "support", "--json"]);
    let loaded = casemate(dir.path(), &["doctor", "--bundle", "support", "--json"]);
    let stdout = |text: &str| text.split("--- stderr").next().unwrap_or_default().to_owned();
    assert_eq!(stdout(&saved), stdout(&loaded));
    assert!(saved.contains("look through it before you give it away"), "{saved}");
    let objects: PathBuf = dir.path().join("support/objects");
    assert_eq!(fs::read_dir(objects).expect("a folder").count(), 0);
}

#[test]
fn the_checks_are_listed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let listed = casemate(dir.path(), &["doctor", "--list"]);
    for check in ::doctor::checks::CHECKS {
        assert!(listed.lines().any(|line| line.starts_with(check.id) && line.ends_with(check.about)), "{}", check.id);
    }
}
