//! `casemate-serve` as a process: exit codes and last words.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use inference::sealed::{ModelKey, SealOptions, seal_file};

use crate::rig::example;

fn serve(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_casemate-serve")).args(args).env_clear().output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_wrong_input_ends_with_1_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (sealed, key_file, other) = (dir.path().join("m.sealed"), dir.path().join("key"), dir.path().join("other"));
    let key = ModelKey::generate().unwrap();
    key.to_new_file(&key_file).unwrap();
    ModelKey::generate().unwrap().to_new_file(&other).unwrap();
    seal_file(&example("digits.onnx"), &sealed, &key, &SealOptions::new("m")).unwrap();
    let digits = example("digits.onnx");
    for (args, words) in [
        (vec!["--model", "/absent.onnx"], "error: read model `/absent.onnx`\n  caused by: No such file"),
        (vec!["--model", text(&sealed)], "hint: name the key with `--key-file`"),
        (vec!["--model", text(&sealed), "--key-file", text(&other)], "not with the given key"),
        (vec!["--model", text(&digits), "--key-file", text(&key_file)], "is not sealed although"),
        (vec!["--model", text(&key_file)], "not a usable ONNX model"),
        (vec!["--model", text(&digits), "--labels", text(&key_file)], "hint: one label a line"),
        (vec![], "--model <FILE>"),
        (vec!["--model", text(&digits), "--listen", "nowhere"], "invalid value 'nowhere'"),
        (vec!["--model", text(&digits), "--log-level", "loud"], "invalid value 'loud'"),
        (vec!["--model", text(&digits), "--max-batch", "0"], "invalid value '0'"),
    ] {
        let args: Vec<&str> =
            if args.contains(&"--listen") { args } else { [&args[..], &["--listen", "127.0.0.1:0"]].concat() };
        let output = serve(&args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?} lacks `{words}`: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn a_port_in_use_ends_with_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = serve(&["--model", text(&example("digits.onnx")), "--listen", &address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("error: listen on {address}")));
}

#[test]
fn sigterm_ends_it_with_0() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_casemate-serve"))
        .args(["--model", text(&example("digits.onnx")), "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("LOG_LEVEL", "INFO")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready")));
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(lines.map_while(Result::ok).any(|line| line.contains("SIGTERM")));
}

#[test]
fn help_and_version_are_no_failure() {
    for flag in ["--help", "--version"] {
        let output = serve(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("casemate-serve"));
    }
}
