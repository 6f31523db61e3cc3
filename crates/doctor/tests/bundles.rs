//! Each check against a bundle that has its fault and one that only looks like it.
//!
//! `bundles/healthy` is a whole bundle in which nothing is wrong. Every other folder has two changes to it: `fault.yaml`,
//! after which the report is `report.txt`, and `fine.yaml`, after which every check is silent. So a check that speaks
//! out of turn fails the tests of all others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use doctor::{Answer, Bundle, Exit, Kind, Selection, Unknown, examine, folder};
use expect_test::{expect, expect_file};
use serde_json::{Map, Value};

fn bundles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles")
}

fn healthy() -> Bundle {
    folder::load(&bundles().join("healthy")).unwrap_or_else(|error| panic!("healthy: {error}"))
}

/// RFC 7396.
fn merge(target: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, change) in change {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

fn id(object: &Value) -> String {
    let at = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", at("/metadata/namespace"), at("/metadata/name"))
}

fn items<'a>(change: &'a Value, section: &str, kind: Kind) -> &'a [Value] {
    let list = change.get(section).and_then(|it| it.get(kind.plural())).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// The healthy bundle with a change: `bundle` is merged into it, `objects` into those of the same name or added, those in
/// `remove` go. `only` names the checks that run where a change cannot help bringing others to speak.
fn changed(path: &Path) -> (Bundle, Selection) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let change: Value = serde_saphyr_value(&text, path);
    let known = ["bundle", "objects", "remove", "only"];
    let strange = change.as_object().and_then(|map| map.keys().find(|key| !known.contains(&key.as_str())));
    assert_eq!(strange, None, "{}", path.display());
    let before = healthy();
    let mut objects = before.cluster.clone().expect("a cluster").objects;
    let mut value = serde_json::to_value(&before).expect("JSON");
    merge(&mut value, change.get("bundle").unwrap_or(&Value::Object(Map::new())));
    let mut bundle: Bundle =
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for kind in Kind::ALL {
        let Some(Answer::Known(list)) = objects.get_mut(&kind) else { panic!("healthy has no {}", kind.plural()) };
        for object in items(&change, "objects", kind) {
            match list.iter_mut().find(|it| id(it) == id(object)) {
                Some(known) => merge(known, object),
                None => {
                    let mut new = Value::Null;
                    merge(&mut new, object);
                    list.push(new);
                }
            }
        }
        for name in items(&change, "remove", kind) {
            let length = list.len();
            list.retain(|it| Some(id(it).as_str()) != name.as_str());
            assert!(list.len() < length, "{}: there is no {name}", path.display());
        }
        *list = list.drain(..).map(doctor::reduce::reduce).collect();
    }
    bundle.cluster.as_mut().expect("a cluster").objects = objects;
    let only: Vec<String> = change
        .get("only")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    (bundle, Selection::new(&only, &[]).expect("ids of checks"))
}

fn serde_saphyr_value(text: &str, path: &Path) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(bundles()).expect("the folder of bundles");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|path| !path.ends_with("healthy"));
    folders.sort();
    folders
}

#[test]
fn a_healthy_bundle_is_well_and_says_so_in_a_line() {
    let report = examine(&healthy(), &Selection::all());
    expect!["48 checks, all well"].assert_eq(&report.text());
    assert_eq!(report.exit(), Exit::Well);
}

#[test]
fn every_planted_fault_is_found_and_nothing_else() {
    for folder in folders() {
        let (bundle, selection) = changed(&folder.join("fault.yaml"));
        let report = examine(&bundle, &selection);
        expect_file![folder.join("report.txt")].assert_eq(&format!("{}\n", report.text()));
        let found: BTreeSet<&str> =
            report.outcomes.iter().filter(|it| !it.found.is_empty()).map(|it| it.check.id).collect();
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(found.iter().any(|id| name.starts_with(id)), "{name}: {found:?}\n{}", report.text());
    }
}

#[test]
fn what_only_looks_like_a_fault_is_none() {
    for folder in folders() {
        let (bundle, selection) = changed(&folder.join("fine.yaml"));
        let report = examine(&bundle, &selection);
        let text = report.text();
        assert!(text.contains("all well"), "{}: {text}", folder.display());
        assert_eq!(report.exit(), Exit::Well, "{}: {text}", folder.display());
    }
}

#[test]
fn every_check_has_a_fault() {
    let mut checks: BTreeSet<&str> = doctor::checks::CHECKS.iter().map(|check| check.id).collect();
    for folder in folders() {
        let (bundle, selection) = changed(&folder.join("fault.yaml"));
        for outcome in examine(&bundle, &selection).outcomes.iter().filter(|it| !it.found.is_empty()) {
            checks.remove(outcome.check.id);
        }
    }
    assert!(checks.is_empty(), "no bundle triggers {checks:?}");
}

/// Without an answer that was asked for, no check that looks at it says "well".
#[test]
fn what_is_missing_is_unknown_and_never_silence() {
    let full = healthy();
    let reads = |kind: Kind| {
        let mut bundle = full.clone();
        let objects = &mut bundle.cluster.as_mut().expect("a cluster").objects;
        objects.insert(kind, Answer::Unknown("forbidden".to_owned()));
        let untold = |bundle: &Bundle| -> BTreeSet<&'static str> {
            let report = examine(bundle, &Selection::all());
            assert_eq!(report.count(doctor::Severity::Problem), 0, "{}: {}", kind.plural(), report.text());
            assert_eq!(report.exit(), Exit::CouldNotTell, "{}", kind.plural());
            report.outcomes.iter().filter(|it| it.could_not_tell()).map(|it| it.check.id).collect()
        };
        let forbidden = untold(&bundle);
        // A list that is not in the bundle at all is the same.
        bundle.cluster.as_mut().expect("a cluster").objects.remove(&kind);
        assert_eq!(untold(&bundle), forbidden);
        forbidden.into_iter().collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> =
        Kind::ALL.into_iter().map(|kind| format!("{}: {}\n", kind.plural(), reads(kind))).collect();
    expect_file!["bundles-unknown.txt"].assert_eq(&lines.concat());
}

#[test]
fn a_cluster_that_does_not_answer_leaves_nothing_well_that_needs_it() {
    let mut bundle = healthy();
    bundle.cluster.as_mut().expect("a cluster").unreachable = Some("no route to host".to_owned());
    let report = examine(&bundle, &Selection::new(&[], &["cluster".to_owned()]).expect("an id"));
    let well: Vec<&str> = report.outcomes.iter().filter(|it| it.state() == "well").map(|it| it.check.id).collect();
    let expected = ["certificates", "collateral", "machine-kvm", "machine-tee", "machine-iommu", "coordinator-address"];
    assert_eq!(well, expected);
}

#[test]
fn parts_that_nobody_asked_for_are_not_could_not_tell() {
    let mut bundle = healthy();
    bundle.machine = None;
    bundle.work = None;
    bundle.services = None;
    bundle.coordinator = None;
    bundle.certificates.clear();
    let report = examine(&bundle, &Selection::all());
    assert_eq!(report.exit(), Exit::Well, "{}", report.text());
    expect!["39 checks, all well (9 more with `--coordinator`, a kubeconfig with certificates, or `verify/`, a work folder, this machine (`--local`), vendors' services (without `--offline`))"]
        .assert_eq(&report.summary());
}

#[test]
fn one_namespace_is_not_the_whole_cluster() {
    let mut bundle = healthy();
    bundle.cluster.as_mut().expect("a cluster").namespaces = Some(vec!["shop".to_owned()]);
    let report = examine(&bundle, &Selection::all());
    let untold: Vec<&str> = report.outcomes.iter().filter(|it| it.could_not_tell()).map(|it| it.check.id).collect();
    assert_eq!(untold, ["iommu", "node-agent", "gpu-operator", "manifest-unused"]);
}

/// Every field of every object taken away or made another thing, one at a time: whatever comes, there is an answer.
#[test]
fn no_object_makes_a_check_panic() {
    let full = healthy();
    let all = Selection::all();
    let bug = |unknown: &Unknown| matches!(unknown, Unknown::NoAnswer { why, .. } if why.contains("a bug of casemate"));
    let mut tried = 0;
    for kind in Kind::ALL {
        let objects = match full.cluster.as_ref().expect("a cluster").objects.get(&kind) {
            Some(Answer::Known(objects)) => objects.clone(),
            _ => panic!("healthy has no {}", kind.plural()),
        };
        // One object of each kind, the richest: more of them have no other fields.
        let Some(richest) = (0..objects.len()).max_by_key(|index| objects[*index].to_string().len()) else { continue };
        let mut pointers = Vec::new();
        collect(&objects[richest], String::new(), &mut pointers);
        for pointer in pointers {
            for odd in
                [Value::Null, Value::from(-1), Value::from("\u{1b}[2J\u{202e}<x>"), Value::from(vec![Value::Null])]
            {
                let mut mutated = objects.clone();
                if let Some(place) = mutated[richest].pointer_mut(&pointer) {
                    *place = odd;
                }
                let mut bundle = full.clone();
                bundle.cluster.as_mut().expect("a cluster").objects.insert(kind, Answer::Known(mutated));
                let report = examine(&bundle, &all);
                assert!(!report.outcomes.iter().any(|it| it.unknown.iter().any(bug)), "{} {pointer}", kind.plural());
                let text = report.text();
                assert!(text.chars().all(|c| c == '\n' || protocol::text::is_printable(c)), "{pointer}: {text:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "only {tried} mutations");
}

fn collect(value: &Value, at: String, pointers: &mut Vec<String>) {
    pointers.push(at.clone());
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), pointers);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{at}/{index}"), pointers);
            }
        }
        _ => {}
    }
}

#[test]
fn the_report_as_json() {
    let (bundle, _) = changed(&bundles().join("image-name/fault.yaml"));
    let selection = Selection::new(&["image-name".to_owned(), "clock".to_owned()], &[]).expect("ids");
    let json = serde_json::to_string_pretty(&examine(&bundle, &selection).json()).expect("JSON");
    expect_file!["bundles-json.txt"].assert_eq(&format!("{json}\n"));
}

#[test]
fn a_bundle_of_every_fault_survives_its_folder() {
    let place = tempfile::tempdir().expect("a temporary folder");
    for folder in folders() {
        let (bundle, selection) = changed(&folder.join("fault.yaml"));
        let path = place.path().join(folder.file_name().expect("a name"));
        folder::save(&bundle, &path).expect("saved");
        let again = folder::load(&path).expect("loaded");
        assert_eq!(examine(&again, &selection).json(), examine(&bundle, &selection).json(), "{}", folder.display());
    }
}
