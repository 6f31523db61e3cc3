//! The collector against a real API server: what is read, what may not be read, and what is kept of it. One server serves
//! all tests, so this executable has its own `main`. Where there can be no server, the tests are ignored, aloud.
#![expect(clippy::print_stdout, reason = "this is a test harness")]

mod rig;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use doctor::{Answer, Bundle, Exit, Initdata, Kind, Report, Selection, examine, folder};

use rig::{READER, Rig, SECRET};

type Test = (&'static str, fn(&mut Rig));

const TESTS: &[Test] = &[
    ("what_is_wrong_in_a_real_cluster_is_found", what_is_wrong_in_a_real_cluster_is_found),
    (
        "a_saved_bundle_comes_to_the_same_findings_and_has_no_secret",
        a_saved_bundle_comes_to_the_same_findings_and_has_no_secret,
    ),
    ("lists_are_read_to_their_end", lists_are_read_to_their_end),
    (
        "a_user_who_may_read_one_namespace_is_told_what_could_not_be_told",
        a_user_who_may_read_one_namespace_is_told_what_could_not_be_told,
    ),
    ("a_stranger_and_an_outage_are_problems_of_their_own", a_stranger_and_an_outage_are_problems_of_their_own),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| wanted(name)).collect();
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    let mut rig = match Rig::start() {
        Ok(rig) => rig,
        Err(missing) => {
            for (name, _) in &chosen {
                println!("test {name} ... ignored");
            }
            println!("\nSKIPPED: {} tests against a real API server: {missing}\n", chosen.len());
            println!("test result: ok. 0 passed; 0 failed; {} ignored", chosen.len());
            return ExitCode::SUCCESS;
        }
    };
    println!("\nrunning {} tests", chosen.len());
    let mut failed = 0;
    for (name, test) in &chosen {
        let begun = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(|| test(&mut rig))).is_ok();
        println!("test {name} ... {} ({:.2} s)", if ok { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        failed += usize::from(!ok);
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {} passed; {failed} failed\n", chosen.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn found(report: &Report) -> BTreeSet<&'static str> {
    report.outcomes.iter().filter(|outcome| !outcome.found.is_empty()).map(|outcome| outcome.check.id).collect()
}

fn objects(bundle: &Bundle, kind: Kind) -> &[serde_json::Value] {
    match bundle.cluster.as_ref().and_then(|cluster| cluster.objects.get(&kind)) {
        Some(Answer::Known(objects)) => objects,
        other => panic!("{}: {other:?}", kind.plural()),
    }
}

fn what_is_wrong_in_a_real_cluster_is_found(rig: &mut Rig) {
    let bundle = rig.collect(testkit::cluster::ADMIN, None);
    let cluster = bundle.cluster.as_ref().expect("a cluster");
    assert_eq!((cluster.unreachable.as_ref(), cluster.namespaces.as_ref()), (None, None));
    let clock = cluster.clock.expect("the API server sends its time");
    assert!(clock.server.abs_diff(clock.local) <= 2 + clock.milliseconds.div_ceil(1_000), "{clock:?}");
    // A kind that the cluster does not know has no objects; that is no failure.
    assert!(objects(&bundle, Kind::ClusterPolicies).is_empty());
    let report = examine(&bundle, &Selection::all());
    assert_eq!(report.exit(), Exit::Problems);
    let expected = BTreeSet::from([
        "containerd",
        "coordinator-missing",
        "image-name",
        "image-pull",
        "initdata",
        "kubernetes-version",
        "runtime-class",
    ]);
    assert!(found(&report).is_superset(&expected), "{:?}\n{}", found(&report), report.text());
    let text = report.text();
    for words in
        ["403 Forbidden", "roles/artifactregistry.reader", "angle brackets", "There is no RuntimeClass `kata-qemu-tdx`"]
    {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    // The identity is the one that the pod would have.
    let web = objects(&bundle, Kind::Deployments).iter().find(|it| it["metadata"]["name"] == "web").expect("web");
    let facts = Initdata::on(&web["spec"]["template"]).expect("initdata");
    assert_eq!(facts.identity, Some(rig.identity.clone()));
}

fn a_saved_bundle_comes_to_the_same_findings_and_has_no_secret(rig: &mut Rig) {
    let bundle = rig.collect(testkit::cluster::ADMIN, None);
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("support");
    folder::save(&bundle, &path).expect("saved");
    let again = folder::load(&path).expect("loaded");
    let all = Selection::all();
    assert_eq!(examine(&again, &all).json(), examine(&bundle, &all).json());
    assert_eq!(examine(&again, &all).text(), examine(&bundle, &all).text());
    let mut files = 0;
    for folder in [path.clone(), path.join("objects")] {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let text = fs::read_to_string(&path).expect("text");
                assert!(!text.contains(SECRET), "{}", path.display());
                assert!(!text.contains(testkit::cluster::ADMIN), "a token in {}", path.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, 1 + Kind::ALL.len());
}

fn lists_are_read_to_their_end(rig: &mut Rig) {
    // One more than a page.
    const ACCOUNTS: usize = 501;
    for number in 0..ACCOUNTS {
        rig.create(
            "/api/v1/namespaces/many/serviceaccounts",
            &serde_json::json!({"metadata": {"name": format!("a{number}")}}),
        );
    }
    let bundle = rig.collect(testkit::cluster::ADMIN, Some("many"));
    let names: BTreeSet<String> =
        objects(&bundle, Kind::ServiceAccounts).iter().map(|it| it["metadata"]["name"].to_string()).collect();
    assert_eq!(names.len(), ACCOUNTS);
    assert!(objects(&bundle, Kind::Deployments).is_empty(), "another namespace was listed");
}

fn a_user_who_may_read_one_namespace_is_told_what_could_not_be_told(rig: &mut Rig) {
    let bundle = rig.collect(READER, None);
    let cluster = bundle.cluster.as_ref().expect("a cluster");
    assert_eq!(cluster.namespaces, Some(vec!["shop".to_owned()]));
    let report = examine(&bundle, &Selection::all());
    assert_eq!(report.exit(), Exit::Problems);
    assert!(found(&report).contains("image-pull"), "{}", report.text());
    let untold: BTreeSet<&str> =
        report.outcomes.iter().filter(|outcome| outcome.could_not_tell()).map(|outcome| outcome.check.id).collect();
    for id in ["node-ready", "runtime-class", "node-agent", "gpu-allocatable", "service-account"] {
        assert!(untold.contains(id), "{id}:\n{}", report.text());
    }
    assert!(
        report.text().contains("nodes could not be read: nodes is forbidden: User \"reader\""),
        "{}",
        report.text()
    );
}

fn a_stranger_and_an_outage_are_problems_of_their_own(rig: &mut Rig) {
    let check = |bundle: &Bundle, words: &str| {
        let report = examine(bundle, &Selection::all());
        assert_eq!(found(&report), BTreeSet::from(["cluster"]), "{}", report.text());
        assert!(report.text().contains(words), "{}", report.text());
    };
    check(&rig.collect("unknown-token", None), "log in again");
    rig.cluster.stop_api();
    check(&rig.collect(testkit::cluster::ADMIN, None), "see whether the cluster runs");
}
