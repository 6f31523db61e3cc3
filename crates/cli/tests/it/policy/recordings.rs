//! `casemate policy test`: recorded requests against a policy, in order.

use super::*;

/// What an agent is asked when the example's pod starts.
pub(super) fn recording() -> Vec<(&'static str, Value)> {
    let instance = PodInstance {
        name: "inference-7c9d8f6b5d-abcde".into(),
        namespace: "default".into(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        hostname: "inference-7c9d8f6b5d-abcde".into(),
        ..PodInstance::default()
    };
    let pod = json!({"metadata": {}, "spec": {}});
    vec![
        ("CreateSandboxRequest", sandbox_request(&pod, &instance)),
        ("CreateContainerRequest", pause_request(&pod, &instance)),
        ("StartContainerRequest", json!({"container_id": instance.sandbox_id})),
        ("StatsContainerRequest", json!({"container_id": instance.sandbox_id})),
        ("StatsContainerRequest", json!({"container_id": instance.sandbox_id})),
        ("StatsContainerRequest", json!({"container_id": instance.sandbox_id})),
    ]
}

pub(super) fn lines(requests: &[(&str, Value)]) -> String {
    let mut text = String::new();
    for (kind, request) in requests {
        writeln!(text, "{}", json!({"kind": kind, "request": request})).expect("a String takes all");
    }
    text
}

#[test]
fn a_recording_that_is_allowed_is_decided_with_its_state() {
    let yaml = yaml("inference", &initdata(&values(), &settings()));
    let text = lines(&recording());
    check(
        &[("a.yaml", &yaml), ("policy.jsonl", &text)],
        &["policy", "test", "a.yaml", "policy.jsonl"],
        expect![[r#"
        exit 0
        --- stdout
        Deployment/inference in a.yaml

          allowed      1 CreateSandboxRequest, policy.jsonl:1
          allowed      2 CreateContainerRequest, policy.jsonl:2
          allowed      3 StartContainerRequest, policy.jsonl:3
          allowed      4–6 StatsContainerRequest, policy.jsonl:4

        all 6 requests are allowed
        --- stderr
    "#]],
    );
    // Every form is decided alike.
    let list: Vec<_> = recording().into_iter().map(|(ep, request)| json!({"ep": ep, "request": request})).collect();
    let earlier: Vec<_> = recording().iter().map(|(ep, request)| format!("[\"ep\":\"{ep}\",{request}],\n\n")).collect();
    let earlier = earlier.concat();
    let asked = format!("[\"ep\":\"AllowRequestsFailingPolicy\",{{}}],\n\n{earlier}");
    for (name, text) in [("list.json", json!(list).to_string()), ("log.txt", asked)] {
        let dir = folder(&[("a.yaml", yaml.as_bytes()), (name, text.as_bytes())]);
        let decided = casemate(dir.path(), &["policy", "test", "a.yaml", name]);
        assert!(decided.starts_with("exit 0\n") && decided.contains("\nall 6 requests are allowed\n"), "{decided}");
    }
    // The order counts: without the sandbox there is nothing to start.
    let mut backwards = recording();
    backwards.reverse();
    let dir = folder(&[("a.yaml", yaml.as_bytes()), ("r", lines(&backwards).as_bytes())]);
    let decided = casemate(dir.path(), &["policy", "test", "a.yaml", "r"]);
    assert!(decided.starts_with("exit 1\n") && decided.contains("there is no sandbox yet"), "{decided}");
}

#[test]
fn a_denial_names_the_field_what_was_asked_and_what_is_allowed() {
    let mut requests = recording();
    requests[1].1["OCI"]["Process"]["Args"] = json!(["/bin/sh", "\u{1b}[2J"]);
    requests[1].1["OCI"]["Process"]["User"]["UID"] = json!(0);
    requests.push(("ExecProcessRequest", json!({})));
    requests.push(("NoSuchRequest", json!({})));
    let rego = policy_with(&values());
    on_page(
        &[("policy.rego", &rego), ("r.json", &lines(&requests))],
        &["policy", "test", "policy.rego", "r.json"],
        expect![[r#"
            exit 1
            --- stdout
            policy.rego

              allowed      1 CreateSandboxRequest, r.json:1
              DENIED       2 CreateContainerRequest, r.json:2
                           OCI.Process.Args[0]: got "/bin/sh", policy has "/pause"
                           OCI.Process.Args[1]: got "\u001b[2J", policy has none
                           OCI.Process.User.UID: got 0, policy has 65535
              allowed      3 StartContainerRequest, r.json:3
              allowed      4–6 StatsContainerRequest, r.json:4
              DENIED       7 ExecProcessRequest, r.json:7
                           container_id: no live container has this id
              DENIED       8 NoSuchRequest, r.json:8
                           the policy has no rule for `NoSuchRequest`

            5 allowed, 3 denied
            --- stderr
            error: 3 of 8 requests are denied
        "#]],
    );
    check(
        &[("policy.rego", &rego), ("r.json", &lines(&requests[4..]))],
        &["policy", "test", "policy.rego", "r.json", "--json"],
        expect![[r#"
            exit 1
            --- stdout
            {"policy":"policy.rego","decisions":[{"number":1,"file":"r.json","line":1,"endpoint":"StatsContainerRequest","allowed":true,"reasons":[]},{"number":2,"file":"r.json","line":2,"endpoint":"StatsContainerRequest","allowed":true,"reasons":[]},{"number":3,"file":"r.json","line":3,"endpoint":"ExecProcessRequest","allowed":false,"reasons":["container_id: no live container has this id"]},{"number":4,"file":"r.json","line":4,"endpoint":"NoSuchRequest","allowed":false,"reasons":["the policy has no rule for `NoSuchRequest`"]}],"allowed":2,"denied":2}
            --- stderr
        "#]],
    );
}

#[test]
fn a_recorded_answer_that_is_another_is_said() {
    let rego = policy_with(&values());
    let test = r#"[{"kind": "SetPolicyRequest", "request": {}, "allowed": true, "description": "a new policy"}]"#;
    check(
        &[("p.rego", &rego), ("t.json", test)],
        &["policy", "test", "p.rego", "t.json"],
        expect![[r#"
        exit 1
        --- stdout
        p.rego

          DENIED       1 SetPolicyRequest (a new policy), t.json:1
                       the recording says that it was allowed
                       SetPolicyRequest is never allowed

        0 allowed, 1 denied
        --- stderr
        error: 1 of 1 request is denied
    "#]],
    );
}

#[test]
fn one_pod_of_several_is_named() {
    let initdata = initdata(&values(), &settings());
    let (a, b) = (yaml("a", &initdata), yaml("b", &initdata));
    let text = lines(&recording()[..1]);
    let files = [("y/a.yaml", a.as_bytes()), ("y/b.yaml", b.as_bytes()), ("r", text.as_bytes())];
    let dir = folder(&files);
    let run = |more: &[&str]| casemate(dir.path(), &[&["policy", "test", "y", "r"], more].concat());
    assert!(run(&["--pod", "a"]).starts_with("exit 0\n"));
    assert!(run(&["--pod", "Deployment/b"]).starts_with("exit 0\n"));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: 2 pods have a policy

        hint: name one with `--pod`: Deployment/a, Deployment/b
    "#]]
    .assert_eq(&run(&[]));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: no pod `c` with a policy

        hint: there is Deployment/a, Deployment/b
    "#]]
    .assert_eq(&run(&["--pod", "c"]));
}
