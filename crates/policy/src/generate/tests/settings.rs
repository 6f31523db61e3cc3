//! What `settings.json` opens, and that nothing else is open.

use super::*;
use crate::describe;

fn settings(rig: &Rig, more: &str) -> String {
    format!("{{\n  \"pod_image\": \"{}/casemate-pod:0\",\n  {more}\n}}\n", rig.registry.host)
}

fn data(rig: &Rig) -> String {
    let initdata = Initdata::from_annotation(annotation(&rig.deployment())).unwrap();
    initdata.policy().unwrap().split_once("policy_data := ").unwrap().1.to_owned()
}

fn json_data(rig: &Rig) -> Value {
    serde_json::from_str(&data(rig)).unwrap()
}

#[tokio::test]
async fn the_first_run_on_the_local_engine_opens_logs_in_so_many_words() {
    let rig = Rig::new();
    let report = rig.generate().await.unwrap();
    assert!(rig.read("settings.json").contains("\"logs\": true"));
    assert_eq!(json_data(&rig)["logs"], true);
    assert!(!report.notices.iter().any(|notice| notice.contains("logs")));
    for (text, notice) in [("\"lease_seconds\": 60", true), ("\"logs\": false", false)] {
        let rig = Rig::new();
        rig.write("settings.json", &settings(&rig, text));
        let report = rig.generate().await.unwrap();
        assert_eq!(json_data(&rig)["logs"], false, "{text}");
        assert_eq!(report.notices.iter().any(|notice| notice.contains("logs are closed")), notice, "{text}");
        assert_eq!(rig.read("settings.json"), settings(&rig, text));
    }
}

#[tokio::test]
async fn commands_and_claims_are_opened_by_name() {
    let rig = Rig::new();
    let claim = "          persistentVolumeClaim: {claimName: c}\n";
    let text = DEPLOYMENT.replace("          configMap:\n            name: digits\n", claim);
    assert!(text.contains(claim));
    rig.write("resources/deployment.yaml", &text);
    let opened = "\"exec\": {\"Deployment/inference\": {\"server\": [[\"/bin/check\", \"--deep\"]]}},\n  \
                  \"copied_claims\": {\"inference\": [\"digits\"]}";
    rig.write("settings.json", &settings(&rig, opened));
    let report = rig.generate().await.unwrap();
    let notices = report.workloads[1].notices.join("\n");
    assert!(notices.contains("the host may run `/bin/check --deep` in container `server`"), "{notices}");
    assert!(notices.contains("volume `digits`: the host may copy anything into it"), "{notices}");
    let data = json_data(&rig);
    assert_eq!(data["containers"]["server"]["exec"], json!([["/bin/check", "--deep"]]));
    assert!(data["copies"]["trees"].as_array().unwrap().contains(&json!("digits")), "{data}");
    assert!(data["containers"]["casemate-mesh"].get("exec").is_none());
    // `policy show` says so.
    let initdata = Initdata::from_annotation(annotation(&rig.deployment())).unwrap();
    let shown = serde_json::to_string(&describe::describe(&initdata).unwrap()).unwrap();
    assert!(shown.contains("/bin/check"), "{shown}");
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_opened() {
    let exec = |inner: &str| format!("\"exec\": {inner}");
    for (text, line, reason, hint) in [
        (exec("{\"inferense\": {\"server\": [[\"/x\"]]}}"), 3, "`inferense`", "did you mean `inference`?"),
        (exec("{\n\"Job/inference\": {\"server\": [[\"/x\"]]}}"), 4, "`Job/inference`", "Deployment/inference"),
        (exec("{\n\"inference\": {\n\"sever\": [[\"/x\"]]}}"), 5, "has no container `sever`", "did you mean `server`?"),
        (exec("{\"inference\": {\"casemate-mesh\": [[\"/x\"]]}}"), 3, "has no container `casemate-mesh`", "`server`"),
        (exec("{\"inference\": {\"server\": []}}"), 3, "no command", "list of commands"),
        (exec("{\"inference\": {\"server\": [[]]}}"), 3, "without a program", "list of commands"),
        (exec("{\"inference\": {\"server\": [[\"/x\", \"\\u0001\"]]}}"), 3, "control character U+0001", "no program"),
        (exec("{\"inference\": {}, \"Deployment/inference\": {}}"), 3, "are one workload", "as one"),
        (exec("{\"coordinator\": {\"coordinator\": [[\"/x\"]]}}"), 3, "the Coordinator runs no command", "logs"),
        (exec("{\"inference\": {}, \"inference\": {}}"), 3, "`inference` stands twice", ""),
        (exec("{\"inference\": {\"server\": \"/x\"}}"), 3, "invalid type", ""),
        (
            "\"copied_claims\": {\"inference\": [\"digits\"]}".into(),
            3,
            "no volume `digits` that is a claim",
            "there is none",
        ),
        ("\"copied_claims\": {\"x\": [\"digits\"]}".into(), 3, "no confidential workload is called `x`", "there is"),
        ("\"log\": true".into(), 3, "unknown field `log`", "did you mean `logs`?"),
        ("\"logs\": \"yes\"".into(), 3, "invalid type", ""),
    ] {
        let rig = Rig::new();
        rig.write("settings.json", &settings(&rig, &text));
        let before = rig.snapshot();
        let error = rig.generate().await.expect_err(&text);
        let got = words(&error);
        assert!(got.contains(&format!("settings.json:{line}:")) && got.contains(reason), "{text}: {got}");
        assert!(hint.is_empty() || error.hint().is_some_and(|got| got.contains(hint)), "{text}: {:?}", error.hint());
        assert_eq!(rig.snapshot(), before);
    }
}
