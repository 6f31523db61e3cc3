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
    // Keys with dots and slashes are found by all of their parts.
    let text = "metadata:\n  annotations:\n    a.example: x\n    a.example/b: y\n    a.example/c:\n      d: z\n";
    let document = parse(text).unwrap().remove(0);
    for (path, line) in [
        ("metadata.annotations.a.example", 3),
        ("metadata/annotations/a.example.b", 4),
        ("metadata.annotations.a.example.c.d", 6),
        ("metadata.annotations.a.exampl", 2),
        ("metadata.annotations.b", 2),
    ] {
        assert_eq!(document.node.line_of(&document.tree, &path.replace('/', ".")), line, "{path}");
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

/// Pseudo-random numbers (xorshift), so that a failure can be seen again by its seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % end.max(1)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A place between two characters.
    fn cut(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

const PIECES: [&str; 40] = [
    "- ",
    ": ",
    "\n",
    "\n\n",
    "  ",
    "\t",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "|\n",
    ">-\n",
    "? ",
    "# c\n",
    "---\n",
    "...\n",
    "<<: *a\n",
    "%YAML 1.2\n",
    "~",
    "null",
    "0o7",
    "1e400",
    ".nan",
    "-",
    "\u{0}",
    "\u{feff}",
    "\r\n",
    "\r",
    "\u{e9}\u{1f600}",
    "key: value\n",
    "- item\n",
    "\\",
    "\u{2028}",
];

fn mutated(text: &str, random: &mut Random) -> String {
    let mut text = text.to_owned();
    for _ in 0..=random.below(4) {
        let (from, to) = (random.cut(&text), random.cut(&text));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 40));
        let to = (to..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let piece = text[from..to].to_owned();
        match random.below(4) {
            0 => drop(text.drain(from..to)),
            1 => text.insert_str(from, &piece),
            2 => {
                let at = random.cut(&text);
                text.insert_str(at, &piece);
            }
            _ => text.insert_str(from, random.of(&PIECES)),
        }
    }
    text
}

fn is_filled(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| !fields.is_empty())
        || value.as_array().is_some_and(|items| !items.is_empty())
}

/// Changes, adds or takes away one value.
fn change(tree: &mut Value, random: &mut Random) {
    let new = [
        json!("text: #"),
        json!(7),
        json!(null),
        json!({"k": ["v", {"w": 1}]}),
        json!([{"name": "n"}]),
        json!([]),
        json!(""),
    ];
    let mut at = tree;
    loop {
        let stop = random.below(4) == 0;
        if !is_filled(at) {
            *at = new[random.below(new.len())].clone();
            return;
        }
        match at {
            Value::Object(fields) if !fields.is_empty() => {
                let index = random.below(fields.len());
                let key = fields.keys().nth(index).cloned().unwrap();
                match (stop, random.below(3)) {
                    (true, 0) => return drop(fields.shift_remove(&key)),
                    (true, 1) => return drop(fields.insert("added".into(), new[random.below(new.len())].clone())),
                    _ => at = fields.get_mut(&key).unwrap(),
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let index = random.below(items.len());
                match (stop, random.below(3)) {
                    (true, 0) => return drop(items.remove(index)),
                    (true, 1) => return items.insert(index, new[random.below(new.len())].clone()),
                    _ => at = &mut items[index],
                }
            }
            _ => return,
        }
    }
}

#[test]
fn whatever_the_text_rewriting_keeps_every_value_and_nothing_panics() {
    let anchors =
        "a: &a {k: [1, 2]}\nb: *a\nc:\n  <<: *a\n  d: !!str 7\n? complex\n: |\n  two\n\n  lines\n\n'q q': \"e\\n\"\n";
    let example = include_str!("../../../../examples/inference/resources/deployment.yaml");
    let (mut read, mut in_place) = (0, 0);
    for seed in 0..6000 {
        let mut random = Random::new(seed);
        let text = mutated(random.of(&[POD, anchors, example]), &mut random);
        let Ok(documents) = parse(&text) else { continue };
        read += 1;
        let mut trees: Vec<Value> = documents.iter().map(|document| document.tree.clone()).collect();
        let same = rewrite(&text, &documents, &trees);
        assert!(same.in_place && same.text == text, "seed {seed}: {text:?}");
        for tree in &mut trees {
            for _ in 0..=random.below(3) {
                change(tree, &mut random);
            }
            // A document that holds nothing would not be read again.
            if tree.is_null() {
                *tree = json!({});
            }
            assert!(documents[0].node.line_of(tree, "spec.template.spec.containers[0].name") > 0);
        }
        let rewritten = rewrite(&text, &documents, &trees);
        let again: Vec<_> = parse(&rewritten.text)
            .unwrap_or_else(|error| panic!("seed {seed}: {error:?}\n{}", rewritten.text))
            .into_iter()
            .map(|document| document.tree)
            .collect();
        assert_eq!(again, trees, "seed {seed}:\n{text}\n---->\n{}", rewritten.text);
        in_place += usize::from(rewritten.in_place);
    }
    assert!(read > 300 && in_place * 2 > read, "{read} texts were read, {in_place} edited in place");
}

#[test]
fn files_of_many_documents_and_collections_are_read_and_bombs_are_not() {
    assert_eq!(parse(&"kind: A\n---\n".repeat(5000)).unwrap().len(), 5000);
    assert!(parse(&"a\n---\n".repeat(MAX_DOCUMENTS + 1)).is_err());
    // Lines are looked up and not counted from the top.
    let begun = std::time::Instant::now();
    let many = format!("a:\n{}", "- {b: [1]}\n".repeat(50_000));
    let documents = parse(&many).unwrap();
    assert_eq!(documents[0].node.line_of(&documents[0].tree, "a[49999].b"), 50_001);
    let one_line = format!("[{}]", "{\"b\": [1]},".repeat(50_000));
    assert_eq!(parse(&one_line).unwrap()[0].tree.as_array().unwrap().len(), 50_000);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    // A long text that is referred to often.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(5000));
    assert!(parse(&long).is_err());
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    assert!(parse(&deep).is_err());
}

#[test]
fn block_scalars_stay_beside_what_changes() {
    let text = "command:\n- sh\n- |\n  # no comment\n  one\n- last\n";
    let first = |tree: &mut Value| tree["command"].as_array_mut().unwrap().insert(0, json!("first"));
    assert_eq!(edited(text, first), text.replace("- sh", "- first\n- sh"));
    for header in ["|", "|-", ">", ">-  # why | so", "|+", "|2", "| "] {
        let text = format!("a: {header}\n    one\n\n    two\n\nb: 1\n");
        let more = |tree: &mut Value| tree["c"] = json!(2);
        assert_eq!(edited(&text, more), format!("{text}c: 2\n"), "{header}");
        let other = |tree: &mut Value| tree["b"] = json!(2);
        assert_eq!(edited(&text, other), text.replace("b: 1", "b: 2"), "{header}");
        let replaced = |tree: &mut Value| tree["a"] = json!("x");
        let rest = if header == "|+" { "a: x\nb: 1\n" } else { "a: x\n\nb: 1\n" };
        assert_eq!(edited(&text, replaced), rest, "{header}");
        let text = format!("b: 1\na: {header}\n  one\n");
        assert_eq!(edited(&text, more), format!("{text}c: 2\n"), "{header}");
    }
    assert_eq!(edited("- a: |\n    x\n  b: 1\n", |tree| tree[0]["b"] = json!(2)), "- a: |\n    x\n  b: 2\n");
    let deep = "a:\n  - b:\n      - |+\n        x\n\n  - c: 1\n";
    let more = |tree: &mut Value| tree["a"][0]["d"] = json!(2);
    assert_eq!(edited(deep, more), deep.replace("  - c", "    d: 2\n  - c"));
    assert_eq!(parse("a:\n  - |\n    x\n").unwrap()[0].node.line_of(&json!({"a": ["x\n"]}), "a[0]"), 2);
}

#[test]
fn flow_style_keeps_its_comments_and_grows_in_place() {
    let text = "{a: 1, # why\n b: [x, {c: d}], # how\n}\n";
    assert_eq!(edited(text, |tree| tree["a"] = json!(2)), text.replace("a: 1", "a: 2"));
    let more = |tree: &mut Value| tree["e"] = json!({"f": "g"});
    assert_eq!(edited(text, more), "{a: 1, # why\n b: [x, {c: d}], e: {\"f\":\"g\"}, # how\n}\n");
    let first = |tree: &mut Value| tree["b"].as_array_mut().unwrap().insert(0, json!("w: v"));
    assert_eq!(edited(text, first), text.replace("[x", "[\"w: v\", x"));
    let last = |tree: &mut Value| tree["b"].as_array_mut().unwrap().push(json!(null));
    assert_eq!(edited(text, last), text.replace("{c: d}]", "{c: d}, null]"));
    let deep = |tree: &mut Value| tree["b"][1]["c"] = json!("e");
    assert_eq!(edited(text, deep), text.replace("c: d", "c: e"));
    // Less than before is written anew, and a mapping that becomes a list, too.
    assert_eq!(edited("a: {b: 1, c: 2}\n", |tree| tree["a"] = json!({"b": 1})), "a: {\"b\":1}\n");
    assert_eq!(edited("a: [b, c]\n", |tree| tree["a"] = json!(["c"])), "a: [\"c\"]\n");
    assert_eq!(edited("a: {b, c: }\n", |tree| tree["a"]["b"] = json!(1)), "a: {\"b\":1,\"c\":null}\n");
    assert_eq!(edited("a: {}\n", |tree| tree["a"]["b"] = json!(1)), "a: {\"b\":1}\n");
}

#[test]
fn elements_of_a_list_of_resources_are_changed_where_they_stand() {
    let text = "kind: List\nitems:\n- kind: A\n  metadata: {name: x}\n  v: 1 # one\n- kind: A\n  metadata:\n    name: y\n  v: 2 # two\n";
    assert_eq!(edited(text, |tree| tree["items"][1]["v"] = json!(3)), text.replace("v: 2", "v: 3"));
    let both = |tree: &mut Value| {
        tree["items"][0]["v"] = json!(4);
        tree["items"][1]["v"] = json!(5);
    };
    assert_eq!(edited(text, both), text.replace("v: 1", "v: 4").replace("v: 2", "v: 5"));
    assert_eq!(edited("- 1 # one\n- 2 # two\n", |tree| *tree = json!([3, 4])), "- 3 # one\n- 4 # two\n");
}

#[test]
fn lines_end_as_they_did() {
    let text = "a: 1\r\nb:\r\n- x\r\n";
    assert_eq!(edited(text, |tree| tree["c"] = json!({"d": 1})), format!("{text}c:\r\n  d: 1\r\n"));
    assert_eq!(edited("a: 1\r\nb: 2", |tree| tree["a"] = json!(2)), "a: 2\r\nb: 2\r\n");
}
