//! `casemate doctor` as its user meets it, on bundles.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

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

fn check(dir: &Path, arguments: &[&str], expected: Expect) {
    expected.assert_eq(&casemate(dir, &[&["doctor"], arguments].concat()));
}

#[test]
fn a_fault_is_exit_1_with_what_mends_it() {
    let dir = bundle(PODS);
    check(dir.path(), &["--bundle", "support", "--only", "image-name"], expect![[""]]);
    check(dir.path(), &["--bundle", "support", "--only", "image-name", "--json"], expect![[""]]);
}

#[test]
fn nothing_wrong_is_exit_0_in_a_line() {
    let dir = bundle("known: []\n");
    check(dir.path(), &["--bundle", "support", "--only", "image-name,image-pull,pod-pending"], expect![[""]]);
}

#[test]
fn what_could_not_be_read_is_exit_2_and_named() {
    let dir = bundle("unknown: 'pods is forbidden: User \"reader\" cannot list resource \"pods\"'\n");
    check(dir.path(), &["--bundle", "support", "--only", "image-name,image-pull,runtime-class"], expect![[""]]);
}

#[test]
fn wrong_input_is_exit_1() {
    let dir = bundle(PODS);
    check(dir.path(), &["--only", "image-nmae"], expect![[""]]);
    check(dir.path(), &["--bundle", "none"], expect![[""]]);
    fs::write(dir.path().join("support/objects/pods.yaml"), "known: {}\n").expect("written");
    check(dir.path(), &["--bundle", "support"], expect![[""]]);
}

#[test]
fn no_kubeconfig_is_could_not_tell() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(dir.path(), &["--kubeconfig", "none", "--offline"], expect![[""]]);
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
