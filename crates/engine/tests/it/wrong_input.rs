//! What is wrong is said in one error, and nothing is left.

use engine::EngineError;
use serde_json::{Value, json};

use crate::Test;
use crate::registry::Registry;
use crate::support::{Work, assert_nothing_left, container, workload};

pub(crate) const TESTS: &[Test] = &[
    ("wrong_resources_are_refused_before_anything_is_started", wrong_resources_are_refused_before_anything_is_started),
    ("a_failing_up_says_why_and_leaves_nothing", a_failing_up_says_why_and_leaves_nothing),
];

fn wrong_resources_are_refused_before_anything_is_started() {
    let cases: [(&str, &str); 4] = [
        ("kind: Deployment\nmetadata: {name: [\n", "line"),
        ("kind: Deploiment\nmetadata: {name: x}\n", "line 1: unknown kind `Deploiment`"),
        ("kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c}]}\n", "pod/x has no initdata annotation"),
        ("kind: Service\nmetadata: {name: x}\nspec: {}\n", "no pod, deployment or other workload"),
    ];
    for (text, reason) in cases {
        let work = Work::new();
        std::fs::write(work.resources().join("a.yaml"), text).unwrap();
        let error = work.up().unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.is_refusal());
        assert!(!work.paths().state().join("engine.json").exists());
        assert_nothing_left(&work);
    }
}

/// Ends at once; without a probe it would count as running for a moment.
fn failing(mut container: Value) -> Value {
    container["args"] = json!(["guest", "fail", "no luck"]);
    container["startupProbe"] = json!({"tcpSocket": {"port": 8080}});
    container
}

fn a_failing_up_says_why_and_leaves_nothing() {
    let main = || container("main", &["http", "8080"]);
    let with = |field: &str, value: Value| {
        let mut container = main();
        container[field] = value;
        container
    };
    let down = format!("127.0.0.1:1/guest@sha256:{}", "0".repeat(64));
    let cases = [
        (with("image", json!(Registry::get().missing_image())), "does not exist", true),
        (with("image", json!(down)), "does not answer", false),
        (with("command", json!(["/nothing"])), "process.args[0]: `/nothing` cannot be run", true),
        (with("command", json!(["/casemate/bin/launch"])), "the launcher is placed by the pod's initializer", true),
        (
            with("env", json!([{"name": "FORBIDDEN", "value": "1"}])),
            "the policy does not allow this CreateContainerRequest",
            true,
        ),
        (failing(main()), "its last words: no luck", true),
        (with("volumeMounts", json!([{"name": "none", "mountPath": "/x"}])), "none", true),
    ];
    for (container, reason, refusal) in cases {
        let work = Work::with(&[workload("Deployment", "web", 2, json!({"containers": [container]}))]);
        let error = work.up().unwrap_err();
        assert!(error.to_string().contains(reason), "{error}\n{}", work.log());
        assert_eq!(error.is_refusal(), refusal, "{error}");
        assert!(!matches!(error, EngineError::Timeout { .. }), "{error}");
        assert_nothing_left(&work);
    }
    // Initdata that its own digest does not fit cannot even be launched; one that cannot be read neither.
    let mut broken = workload("Deployment", "web", 1, json!({"containers": [main()]}));
    broken["spec"]["template"]["metadata"]["annotations"][protocol::initdata::ANNOTATION] = json!("aGVsbG8=");
    let work = Work::with(&[broken]);
    let error = work.up().unwrap_err();
    assert!(error.to_string().contains("its initdata cannot be read"), "{error}");
    assert_nothing_left(&work);
}
