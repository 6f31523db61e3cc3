//! `casemate model`: seal, show, open, and what is wrong with each.

use super::casemate;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("m.onnx"), vec![7; 100_000]).expect("a model");
    dir
}

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_model_survives_sealing_and_opening() {
    let dir = folder();
    let sealed = casemate(dir.path(), &["model", "seal", "m.onnx"]);
    assert!(sealed.starts_with("exit 0\n--- stdout\nsealed `m` (100000 bytes) into `m.onnx.sealed`\n"), "{sealed}");
    assert_eq!(names(&dir), ["m.key", "m.onnx", "m.onnx.sealed"]);
    let opened = casemate(dir.path(), &["model", "open", "m.onnx.sealed", "--key", "m.key", "--out", "again"]);
    assert!(opened.starts_with("exit 0\n"), "{opened}");
    assert_eq!(std::fs::read(dir.path().join("again")).expect("opened"), vec![7; 100_000]);
}

#[test]
fn an_existing_key_is_never_overwritten_and_nothing_is_left() {
    let dir = folder();
    std::fs::write(dir.path().join("m.key"), "somebody's").expect("a file");
    let output = casemate(dir.path(), &["model", "seal", "m.onnx"]);
    assert!(output.starts_with("exit 1\n") && output.contains("m.key"), "{output}");
    assert_eq!(names(&dir), ["m.key", "m.onnx"]);
}

#[test]
fn a_model_that_cannot_be_read_leaves_no_key() {
    let dir = folder();
    let output = casemate(dir.path(), &["model", "seal", "absent.onnx"]);
    assert!(output.starts_with("exit 1\n") && output.contains("absent.onnx"), "{output}");
    assert_eq!(names(&dir), ["m.onnx"]);
}

#[test]
fn a_damaged_file_opens_into_nothing() {
    let dir = folder();
    casemate(dir.path(), &["model", "seal", "m.onnx"]);
    let path = dir.path().join("m.onnx.sealed");
    let whole = std::fs::read(&path).expect("sealed");
    for position in [0, 9, 60, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[position] ^= 1;
        std::fs::write(&path, &damaged).expect("a file");
        let output = casemate(dir.path(), &["model", "open", "m.onnx.sealed", "--key", "m.key", "--out", "again"]);
        assert!(output.starts_with("exit 1\n") && output.contains("hint:"), "byte {position}: {output}");
        assert_eq!(names(&dir), ["m.key", "m.onnx", "m.onnx.sealed"], "byte {position}");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("a file");
    let output = casemate(dir.path(), &["model", "open", "m.onnx.sealed", "--key", "m.key", "--out", "again"]);
    assert!(output.starts_with("exit 1\n"), "{output}");
}

#[test]
fn what_a_file_claims_is_shown_as_a_claim() {
    let dir = folder();
    casemate(dir.path(), &["model", "seal", "m.onnx"]);
    let output = casemate(dir.path(), &["model", "show", "m.onnx.sealed"]);
    assert!(
        output.contains("claims to hold the model `m`: 100000 bytes") && output.contains("only its key"),
        "{output}"
    );
}

#[test]
fn a_failed_seal_leaves_the_users_own_key_alone() {
    let dir = folder();
    casemate(dir.path(), &["model", "seal", "m.onnx"]);
    for out in ["no-such-folder/x.sealed", "m.onnx", "m.key"] {
        let output = casemate(dir.path(), &["model", "seal", "m.onnx", "--key", "m.key", "--out", out]);
        assert!(!output.starts_with("exit 0\n"), "{out}: {output}");
        assert_eq!(names(&dir), ["m.key", "m.onnx", "m.onnx.sealed"], "{out}");
    }
    assert_eq!(std::fs::read(dir.path().join("m.onnx")).expect("the model"), vec![7; 100_000]);
}

#[test]
fn opening_never_replaces_the_key() {
    let dir = folder();
    casemate(dir.path(), &["model", "seal", "m.onnx"]);
    let key = std::fs::read(dir.path().join("m.key")).expect("the key");
    let output = casemate(dir.path(), &["model", "open", "m.onnx.sealed", "--key", "m.key", "--out", "./m.key"]);
    assert!(output.starts_with("exit 1\n"), "{output}");
    assert_eq!(std::fs::read(dir.path().join("m.key")).expect("the key"), key);
}
