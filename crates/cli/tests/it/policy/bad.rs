//! Input that is wrong: each with its exit code and a sentence that says what, where, and what next.

use protocol::initdata::ANNOTATION;

use super::recordings::{lines, recording};
use super::*;

/// Exit code and a part of what is said, for each wrong input.
fn refused(files: &[(&str, &[u8])], arguments: &[&str], exit: u8, parts: &[&str]) {
    let dir = folder(files);
    let said = casemate(dir.path(), arguments);
    assert!(said.starts_with(&format!("exit {exit}\n")), "{arguments:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{arguments:?}: `{part}` is not in {said}");
    }
    assert!(!said.contains('\u{1b}'), "{arguments:?}: something moves the cursor: {said:?}");
}

#[test]
fn show_refuses_what_holds_no_policy() {
    let annotated =
        |value: &str| format!("kind: Pod\nmetadata:\n  name: x\n  annotations:\n    {ANNOTATION}: {value}\n");
    let (broken, number) = (annotated("'!'"), annotated("7"));
    let cut = annotated(&initdata(&values(), &settings()).to_annotation()[..400]);
    let cases: [(&[u8], &[&str]); 12] = [
        (b"", &["error: no policy in it", "hint: `casemate generate` writes"]),
        (b"kind: ConfigMap\nmetadata: {name: x}\n", &["error: no policy in it"]),
        (b"kind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n", &["error: Pod/x has no policy"]),
        (b"a: [\n", &["error: `f`", "line 1 column 4"]),
        (b"\xff\xfe", &["error: read `f`", "caused by: not UTF-8 text"]),
        (broken.as_bytes(), &["caused by: Pod/x", "initdata annotation is not base64", "hint: `casemate generate`"]),
        (number.as_bytes(), &["caused by: Pod/x", "not base64"]),
        (cut.as_bytes(), &["caused by: Pod/x", "not gzip of UTF-8 text"]),
        (b"version = \"0.1.0\"\nalgorithm = \"md5\"\n[data]\n", &["algorithm is `md5`, expected `sha256`"]),
        (b"version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n", &["initdata has no `policy.rego`"]),
        (b"package agent_policy\ndefault X := true\n", &["no `policy_data`", "hint: `casemate policy test`"]),
        (
            b"package agent_policy\npolicy_data := {\"mounts\": []}\n",
            &["`policy_data.namespace` is not text", "another release"],
        ),
    ];
    for (text, parts) in cases {
        refused(&[("f", text)], &["policy", "show", "f"], 1, parts);
    }
    refused(&[], &["policy", "show", "absent"], 1, &["error: read `absent`", "No such file"]);
    refused(&[], &["policy", "show"], 1, &["required", "<FILE"]);
    refused(&[("m.json", b"{}")], &["policy", "show", "--manifest", "m.json"], 1, &["manifest line 1"]);
    refused(&[("d/x.txt", b"")], &["policy", "show", "d"], 1, &["no policy in it"]);
}

#[test]
fn test_says_that_it_could_not_read() {
    let rego = policy_with(&values());
    let good = lines(&recording()[..1]);
    let cases: [(&[u8], &[&str]); 10] = [
        (b"", &["caused by: no request in it"]),
        (b"{", &["caused by: line 1"]),
        (b"\n\nx", &["caused by: line 3"]),
        (b"{}", &["no `ep` or `kind`", "hint: a request is"]),
        (b"{\"ep\":\"A\"}", &["A has no `request`"]),
        (b"{\"ep\":\"A\",\"request\":1}", &["no object"]),
        (b"{\"ep\":\"A\",\"request\":{},\"response\":{}}", &["`response` beside `request`"]),
        (b"[\"ep\":\"A\",{}", &["`]` is missing"]),
        (b"\xff", &["not UTF-8 text"]),
        (b"[\"ep\":\"AllowRequestsFailingPolicy\",{}],", &["no request in it"]),
    ];
    for (text, parts) in cases {
        refused(&[("p", rego.as_bytes()), ("r", text)], &["policy", "test", "p", "r"], 2, parts);
    }
    refused(&[("p", rego.as_bytes())], &["policy", "test", "p", "absent"], 2, &["No such file"]);
    for (policy, parts) in [
        (&b"package agent_policy\ndefault X := "[..], &["policy:"][..]),
        (b"package other\n", &["package `data.other`, expected `agent_policy`"]),
        (b"kind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n", &["Pod/x has no policy"]),
        (b"", &["no policy in it"]),
        (b"a: [", &["line"]),
    ] {
        refused(&[("p", policy), ("r", good.as_bytes())], &["policy", "test", "p", "r"], 2, parts);
    }
}

#[test]
fn any_policy_of_an_agent_decides_also_one_that_cannot_be_described() {
    let rego = "package agent_policy\nimport rego.v1\ndefault StatsContainerRequest := true\ndefault ExecProcessRequest := false\n";
    let requests = "{\"ep\":\"StatsContainerRequest\",\"request\":{}}{\"ep\":\"ExecProcessRequest\",\"request\":{}}";
    let files = [("p.rego", rego.as_bytes()), ("r", requests.as_bytes())];
    refused(
        &files,
        &["policy", "test", "p.rego", "r"],
        1,
        &["1 allowed, 1 denied", "no rule of the policy allows this ExecProcessRequest"],
    );
}

#[test]
fn diff_says_that_it_could_not_tell() {
    let good = yaml("inference", &initdata(&values(), &settings()));
    let good = good.as_bytes();
    let cases: [(&[u8], &[&str]); 5] = [
        (b"", &["no policy in it"]),
        (b"a: [", &["line"]),
        (b"\xff", &["not UTF-8"]),
        (b"{\"policies\": {}}", &["manifest line 1"]),
        (b"package other", &["expected `agent_policy`"]),
    ];
    for (text, parts) in cases {
        refused(&[("good.yaml", good), ("f", text)], &["policy", "diff", "good.yaml", "f"], 2, parts);
        refused(&[("good.yaml", good), ("f", text)], &["policy", "diff", "f", "good.yaml"], 2, parts);
    }
    refused(&[("good.yaml", good)], &["policy", "diff", "good.yaml", "absent"], 2, &["No such file"]);
    let manifest = manifest(&initdata(&values(), &settings()), |_| {});
    let files = [("a/i.yaml", good), ("b/i.yaml", good), ("b/manifest.json", manifest.as_bytes())];
    refused(&files, &["policy", "diff", "a", "b"], 2, &["the old side has no manifest"]);
}

#[test]
fn names_and_values_of_a_file_do_not_move_the_cursor() {
    let evil = "\u{1b}[2J\u{202e}\u{8}\r";
    let mut values = values();
    values["namespace"] = json!(evil);
    values["containers"]["server"]["args"] = json!([evil]);
    values["containers"]["server"]["env"] = json!([format!("{evil}={evil}")]);
    values["containers"]["server"][evil] = json!(evil);
    let rego = policy_with(&values);
    let ours = policy_with(&self::values());
    let request = json!({"ep": evil, "request": {evil: evil}, "description": evil}).to_string();
    let unnamed = json!({"ep": evil, "request": 1}).to_string();
    let pod = json!({"kind": evil, "metadata": {"name": evil, "annotations": {ANNOTATION: evil}}}).to_string();
    let files = [
        ("e.rego", rego.as_bytes()),
        ("o.rego", ours.as_bytes()),
        ("r", request.as_bytes()),
        ("u", unnamed.as_bytes()),
        ("pod.yaml", pod.as_bytes()),
    ];
    let dir = folder(&files);
    for arguments in [
        &["policy", "show", "e.rego", "--all", "--rules"][..],
        &["policy", "show", "e.rego", "--json"],
        &["policy", "test", "e.rego", "r"],
        &["policy", "test", "e.rego", "r", "--json"],
        &["policy", "test", "e.rego", "u"],
        &["policy", "show", "pod.yaml"],
        &["policy", "diff", "o.rego", "e.rego"],
        &["policy", "diff", "o.rego", "e.rego", "--json"],
    ] {
        let said = casemate(dir.path(), arguments);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(bad), "{arguments:?}: {said:?}");
    }
}
