use serde_json::json;

use super::*;

/// Applies `change` to the first document and gives the text.
fn edited(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let documents = parse(text).unwrap();
    let mut trees: Vec<_> = documents.iter().map(|document| document.tree.clone()).collect();
    change(&mut trees[0]);
    let rewritten = rewrite(text, &documents, &trees);
    assert!(rewritten.in_place, "written anew:\n{}", rewritten.text);
    let read: Vec<_> = parse(&rewritten.text).unwrap().into_iter().map(|document| document.tree).collect();
    assert_eq!(read, trees);
    rewritten.text
}

const POD: &str = "\
# The service.
kind: Deployment   # of ours
metadata: {name: web, labels: {app: web}}
spec:
    replicas: 2
    template:
        metadata:
            labels:
                app: 'web'
        spec:
            containers:
            # The main one.
            - name: web
              image: nginx:1   # pinned below
              args:
              - --port=80

              # Read only.
              - \"-v\"
            - image: side:1
              name: side
            volumes: []
---
kind: Service
";

#[test]
fn nothing_changes_when_nothing_changed() {
    assert_eq!(edited(POD, |_| {}), POD);
    assert_eq!(edited("a: 1", |_| {}), "a: 1");
}

#[test]
fn comments_order_and_layout_survive_an_edit() {
    let text = edited(POD, |tree| {
        let template = &mut tree["spec"]["template"];
        template["metadata"]["annotations"] = json!({"a.b/c": "H4sIAAA+/=", "n": "12"});
        let spec = &mut template["spec"];
        spec["containers"][0]["image"] = json!("nginx:1@sha256:00");
        spec["containers"][0]["args"].as_array_mut().unwrap().insert(0, json!("--"));
        spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v", "readOnly": true}]);
        spec["containers"][1]["command"] = json!(["/x", "yes"]);
        spec["initContainers"] = json!([{"name": "init", "image": "x:1"}]);
        spec["volumes"] = json!([{"name": "v", "emptyDir": {"medium": "Memory"}}]);
    });
    let expected = "\
# The service.
kind: Deployment   # of ours
metadata: {name: web, labels: {app: web}}
spec:
    replicas: 2
    template:
        metadata:
            labels:
                app: 'web'
            annotations:
              a.b/c: H4sIAAA+/=
              \"n\": \"12\"
        spec:
            containers:
            # The main one.
            - name: web
              image: nginx:1@sha256:00   # pinned below
              args:
              - \"--\"
              - --port=80

              # Read only.
              - \"-v\"
              volumeMounts:
                - name: v
                  mountPath: /v
                  readOnly: true
            - image: side:1
              name: side
              command: [\"/x\", \"yes\"]
            volumes: [{\"name\":\"v\",\"emptyDir\":{\"medium\":\"Memory\"}}]
            initContainers:
              - name: init
                image: x:1
---
kind: Service
";
    assert_eq!(text, expected);
}

#[test]
fn what_was_added_can_be_taken_away_again() {
    let text = "spec:\n  a: 1\n  list:\n    - name: x\n      v: 1\n    - name: y # keep\n      v: 2\n  z: 3\n";
    assert_eq!(
        edited(text, |tree| {
            tree["spec"].as_object_mut().unwrap().remove("a");
            tree["spec"]["list"].as_array_mut().unwrap().remove(0);
        }),
        "spec:\n  list:\n    - name: y # keep\n      v: 2\n  z: 3\n"
    );
    assert_eq!(
        edited(text, |tree| {
            tree["spec"].as_object_mut().unwrap().remove("z");
            tree["spec"]["new"] = json!(7);
        }),
        "spec:\n  a: 1\n  list:\n    - name: x\n      v: 1\n    - name: y # keep\n      v: 2\n  new: 7\n"
    );
}

#[test]
fn all_kinds_of_values_change_into_each_other() {
    let cases = [
        ("a: 1\n", json!({"a": "text"}), "a: text\n"),
        ("a:\nb: 1\n", json!({"a": {"x": 1}, "b": 1}), "a:\n  x: 1\nb: 1\n"),
        ("a: null\n", json!({"a": ["x", 1]}), "a: [\"x\", 1]\n"),
        ("a: |\n  two\n  lines\nb: 1\n", json!({"a": "one", "b": 1}), "a: one\nb: 1\n"),
        ("a: [1, 2] # c\n", json!({"a": [1]}), "a: [1] # c\n"),
        ("a:\n- 1\n- 2\nb: 1\n", json!({"a": [], "b": 1}), "a: []\nb: 1\n"),
        ("- a\n- b\n", json!(["b"]), "- b\n"),
        ("- a: 1\n  b: 2\n", json!([{"b": 2}]), "- b: 2\n"),
        ("a: >-\n  folded\n  text\n", json!({"a": "folded text", "c": true}), "a: >-\n  folded\n  text\nc: true\n"),
        ("a: 'x'", json!({"a": "x", "b": "no"}), "a: 'x'\nb: \"no\"\n"),
    ];
    for (text, tree, expected) in cases {
        assert_eq!(edited(text, |old| *old = tree.clone()), expected, "{text}");
    }
}

#[test]
fn anchors_that_cannot_be_edited_lead_to_a_clean_text_of_the_same_value() {
    let text = "a: &x {k: 1}\nb: *x\n";
    let documents = parse(text).unwrap();
    let tree = json!({"a": {"k": 2}, "b": {"k": 1}});
    let rewritten = rewrite(text, &documents, std::slice::from_ref(&tree));
    assert!(!rewritten.in_place);
    assert_eq!(parse(&rewritten.text).unwrap()[0].tree, tree);
}

#[test]
fn values_are_read_as_kubectl_reads_them() {
    let text = "a: 012\nb: yes\nc: 'yes'\nd: 1e3\ne: 0x10\nf: !!binary aGk=\ng: 2026-01-01\nh: \"\"\n";
    let tree = parse(text).unwrap().remove(0).tree;
    assert_eq!(
        tree,
        json!({"a": 10, "b": true, "c": "yes", "d": 1000.0, "e": 16, "f": "aGk=", "g": "2026-01-01", "h": ""})
    );
}

#[test]
fn text_that_others_would_misread_is_quoted() {
    for text in [
        "yes", "No", "on", "null", "~", "012", "1.5", "-x", "a: b", "a #b", "x:", "", " x", "a\nb", "*a", "!t", "@x",
        "0o7", "1_000", "12:30", ".inf", "{}", "[]", "?", "%",
    ] {
        let value = json!({ "k": text });
        let emitted = emit_document(&value);
        assert_eq!(parse(&emitted).unwrap()[0].tree, value, "{emitted}");
        assert!(emitted.contains('"'), "{emitted}");
    }
}

#[test]
fn errors_say_line_and_column() {
    let cases =
        [("a: 1\nb: [1\nc: 2\n", 3), ("a: 1\n  b: 2\n", 2), ("a: 1\na: 2\n", 2), ("a: *nothing\n", 1), ("a: \"x\n", 1)];
    for (text, line) in cases {
        let error = parse(text).unwrap_err();
        assert!(error.line == line || error.line == line + 1, "{text}: {error:?}");
        assert!(error.column > 0 && !error.reason.is_empty() && !error.reason.contains(" line "), "{text}: {error:?}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let before = level - 1;
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", ")));
    }
    assert!(parse(&text).is_err());
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"- ".repeat(100_000)).is_err());
    assert!(parse(&" ".repeat(MAX_FILE + 1)).is_err());
}

#[test]
fn the_line_of_a_path_is_found() {
    let document = parse(POD).unwrap().remove(0);
    for (path, line) in [
        ("kind", 2),
        ("spec.template.spec.containers.web.image", 14),
        ("spec.template.spec.containers[1].name", 21),
        ("spec.template.spec.containers.side", 20),
        ("spec.template.nothing.there", 6),
        ("", 2),
    ] {
        assert_eq!(document.node.line_of(&document.tree, path), line, "{path}");
    }
}

#[test]
fn documents_that_hold_nothing_are_left_out() {
    assert_eq!(parse("").unwrap().len(), 0);
    assert_eq!(parse("# only a comment\n---\n---\na: 1\n---\n~\n").unwrap().len(), 1);
}

#[test]
fn no_text_makes_the_reader_panic() {
    let example = include_str!("../../../../examples/inference/resources/deployment.yaml");
    for (cut, _) in example.char_indices() {
        let _ = parse(&example[..cut]);
        for piece in ["[", "{", "&a ", "*a", "- ", ": ", "\t", "\"", "!!binary ", "|\n", "\u{0}", "---\n", "? "] {
            let text = format!("{}{piece}{}", &example[..cut], &example[cut..]);
            if cut % 7 == 0
                && let Ok(documents) = parse(&text)
            {
                let trees: Vec<_> = documents.iter().map(|_| json!({"a": [1, {"b": "c"}]})).collect();
                let rewritten = rewrite(&text, &documents, &trees).text;
                let read: Vec<_> = parse(&rewritten).unwrap().into_iter().map(|document| document.tree).collect();
                assert_eq!(read, trees);
            }
        }
    }
}

#[test]
fn every_single_edit_of_the_example_stays_in_place() {
    let example = include_str!("../../../../examples/inference/resources/deployment.yaml");
    let mut pointers = Vec::new();
    fn walk(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.to_owned());
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(value, &format!("{at}/{key}"), all)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, value)| walk(value, &format!("{at}/{i}"), all));
            }
            _ => {}
        }
    }
    walk(&parse(example).unwrap()[0].tree, "", &mut pointers);
    for pointer in pointers.iter().skip(1) {
        for new in [json!("text"), json!(7), json!({"k": ["v"]}), json!([{"name": "n"}])] {
            edited(example, |tree| *tree.pointer_mut(pointer).unwrap() = new.clone());
        }
        edited(example, |tree| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match tree.pointer_mut(parent).unwrap() {
                Value::Object(fields) => drop(fields.insert("added".to_owned(), json!({"x": key}))),
                Value::Array(items) => items.insert(0, json!({"added": key})),
                _ => {}
            }
        });
    }
}
