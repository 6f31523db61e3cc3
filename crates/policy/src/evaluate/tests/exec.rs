//! Commands that the host may run in a container: exactly those of the policy.

use super::*;

fn openings() -> Openings {
    let commands = |all: &[&[&str]]| all.iter().map(|argv| argv.iter().map(|a| (*a).to_owned()).collect()).collect();
    let exec = [
        ("inference".to_owned(), commands(&[&["/bin/check"], &["/bin/check", "--deep"]])),
        // The policy leaves this out: nothing of the host runs beside the keys.
        ("casemate-initializer".to_owned(), commands(&[&["/bin/check"]])),
    ];
    Openings { exec: exec.into(), ..Openings::default() }
}

/// As the shims send it: the process of the container with another argv, without capabilities and limits.
pub(super) fn request(rig: &Rig) -> Value {
    let mut process = rig.workload()["OCI"]["Process"].clone();
    process["Args"] = json!(["/bin/check"]);
    process["Capabilities"] = Value::Null;
    process["OOMScoreAdj"] = json!(0);
    json!({"container_id": "c".repeat(64), "exec_id": "05e07bbb-d06c-402d-b9b7-e6386935b200", "string_user": null,
        "process": process, "stdin_port": 0, "stdout_port": 0, "stderr_port": 0})
}

/// The pod with its container running.
fn started(rig: &Rig) -> PolicyEngine {
    let mut engine = rig.engine(4);
    for id in ["a", "b", "c"] {
        let request = json!({"container_id": id.repeat(64)});
        assert!(engine.decide("StartContainerRequest", &request).unwrap().allowed);
    }
    engine
}

#[test]
fn the_listed_commands_run_and_no_others() {
    let rig = Rig::with(openings());
    let mut engine = started(&rig);
    let changes: Vec<(&str, Value, Option<&str>)> = vec![
        ("/process/Args", json!(["/bin/check"]), None),
        ("/process/Args", json!(["/bin/check", "--deep"]), None),
        (
            "/process/Args",
            json!(["/bin/sh"]),
            Some("process.Args: got [\"/bin/sh\"], policy has [\"/bin/check\"] or [\"/bin/check\",\"--deep\"]"),
        ),
        ("/process/Args", json!(["/bin/check", "--deep", "x"]), Some("process.Args: got")),
        ("/process/Args", json!(["/bin/check --deep"]), Some("process.Args: got")),
        ("/process/Args", json!([]), Some("process.Args: got []")),
        ("/process/Args", json!("/bin/check"), Some("process.Args: got")),
        ("/process/Terminal", json!(true), Some("process.Terminal: got true, policy has false")),
        ("/process/Cwd", json!("/tmp"), Some("process.Cwd: got \"/tmp\"")),
        ("/process/NoNewPrivileges", json!(true), Some("process.NoNewPrivileges")),
        ("/process/User/UID", json!(0), Some("process.User.UID: got 0")),
        ("/process/User/GID", json!(7), Some("process.User.GID: got 7")),
        ("/process/User/AdditionalGids", json!([0]), Some("process.User.AdditionalGids")),
        ("/process/User/Username", json!("root"), Some("process.User.Username: got \"root\"")),
        ("/process/Env/0", json!("LD_PRELOAD=/x.so"), Some("process.Env.LD_PRELOAD: got \"/x.so\"")),
        ("/process/Env", json!([]), Some("process.Env.MODEL: missing")),
        ("/process/Env", json!(null), Some("process.Env: missing")),
        ("/process/Capabilities", json!({"Effective": ["CAP_SYS_ADMIN"]}), Some("process.Capabilities: got")),
        ("/process/Rlimits", json!([{"Type": "RLIMIT_NOFILE"}]), Some("process.Rlimits: got")),
        ("/process/SelinuxLabel", json!("x"), Some("process.SelinuxLabel: got")),
        ("/process/ApparmorProfile", json!("unconfined"), Some("process.ApparmorProfile: got")),
        ("/process/OOMScoreAdj", json!(-1000), Some("process.OOMScoreAdj: got")),
        ("/process", json!(null), Some("process")),
        ("/string_user", json!({"uid": "0"}), Some("string_user: got")),
        ("/stdin_port", json!(7), Some("stdin_port: got 7")),
        // Where a shim wants the output; it is the host's own port.
        ("/stdout_port", json!(7), None),
        ("/stderr_port", json!(7), None),
        ("/exec_id", json!("c".repeat(64)), Some("exec_id: this is the container's own process")),
        ("/exec_id", json!("../x"), Some("exec_id: got")),
        ("/exec_id", json!(""), Some("exec_id: got")),
        ("/container_id", json!("a".repeat(64)), Some("no command runs in the pause container")),
        ("/container_id", json!("b".repeat(64)), Some("container casemate-initializer runs no commands of the host")),
        ("/container_id", json!("e".repeat(64)), Some("no live container")),
    ];
    for (pointer, value, reason) in changes {
        let mut request = request(&rig);
        *request.pointer_mut(pointer).unwrap() = value;
        let decision = engine.decide("ExecProcessRequest", &request).unwrap();
        assert_eq!(decision.allowed, reason.is_none(), "{pointer}: {decision:?}");
        if let Some(reason) = reason {
            assert!(decision.reasons.iter().any(|got| got.contains(reason)), "{pointer}: {decision:?}");
        }
    }
    for changed in mutate::with_an_extra_field(&request(&rig)) {
        let decision = engine.decide("ExecProcessRequest", &changed).unwrap();
        assert!(decision.reasons.iter().any(|reason| reason.contains("Extra")), "{decision:?}");
    }
}

#[test]
fn a_command_runs_only_while_its_container_does() {
    let rig = Rig::with(openings());
    let mut engine = rig.engine(4);
    let reasons = |engine: &mut PolicyEngine| engine.decide("ExecProcessRequest", &request(&rig)).unwrap().reasons;
    let container = json!({"container_id": "c".repeat(64)});
    assert_eq!(reasons(&mut engine), ["container_id: container inference has not been started"]);
    assert!(engine.decide("StartContainerRequest", &container).unwrap().allowed);
    assert!(reasons(&mut engine).is_empty());
    assert!(engine.decide("RemoveContainerRequest", &container).unwrap().allowed);
    assert_eq!(reasons(&mut engine), ["container_id: no live container has this id"]);
    assert!(!engine.decide("StartContainerRequest", &container).unwrap().allowed);
    // What is created anew is started anew.
    let id = "d".repeat(64);
    assert!(engine.decide("CreateContainerRequest", &rig.container("containers", &id)).unwrap().allowed);
    let mut again = request(&rig);
    again["container_id"] = json!(id);
    assert!(!engine.decide("ExecProcessRequest", &again).unwrap().allowed);
}

#[test]
fn without_a_list_no_command_runs() {
    let rig = Rig::new();
    let decision = started(&rig).decide("ExecProcessRequest", &request(&rig)).unwrap();
    assert_eq!(decision.reasons, ["process.Args: got [\"/bin/check\"], policy has no command for container inference"]);
    assert!(!started(&rig).decide("ExecProcessRequest", &json!({})).unwrap().allowed);
}

#[test]
fn where_privileges_are_not_gained_the_shim_says_so_or_the_launcher_sees_to_it() {
    const FLAG: &str = "--no-new-privileges";
    let launch = crate::generate::LAUNCHER;
    let commands: Vec<Vec<&str>> = vec![
        vec![launch, FLAG, "--", "/bin/check"],
        vec![launch, FLAG, "-", "/etc/x:v/x", "--", "/bin/check"],
        vec![launch, "--", "/bin/check", FLAG],
        vec![launch, "--", FLAG],
        vec![launch, "-", FLAG],
        vec![launch],
        vec![FLAG, launch],
        vec!["/bin/launch", FLAG, "--", "/bin/check"],
        vec!["/casemate/bin/launch/", FLAG],
        vec!["casemate/bin/launch", FLAG],
        vec![launch, "--no-new-privileges=false", "--", "/bin/check"],
        vec![launch, "--no-new-privilege", "--", "/bin/check"],
        vec!["/casemate/bin/launch --no-new-privileges", "--", "/bin/check"],
        vec!["/bin/check"],
    ];
    let owned = |argv: &[&str]| argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let openings = || {
        let exec = [("inference".to_owned(), commands.iter().map(|argv| owned(argv)).collect())];
        Openings { exec: exec.into(), ..Openings::default() }
    };
    let mut bound = resource();
    bound["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"allowPrivilegeEscalation": false});
    for (rig, demanded) in [(Rig::of(&bound, openings()), true), (Rig::with(openings()), false)] {
        let mut engine = started(&rig);
        for (index, argv) in commands.iter().enumerate() {
            let seen_to = index < 2;
            for (given, allowed) in [
                (json!(true), demanded),
                (json!(false), !demanded || seen_to),
                (json!(null), false),
                (json!("false"), false),
                (json!(0), false),
            ] {
                let mut request = request(&rig);
                request["process"]["Args"] = json!(argv);
                request["process"]["NoNewPrivileges"] = given.clone();
                let decision = engine.decide("ExecProcessRequest", &request).unwrap();
                assert_eq!(decision.allowed, allowed, "{argv:?} {given}: {decision:?}");
                let named = decision.reasons.iter().any(|reason| reason.starts_with("process.NoNewPrivileges:"));
                assert_eq!(named, !allowed, "{argv:?} {given}: {decision:?}");
            }
            let mut without = request(&rig);
            without["process"]["Args"] = json!(argv);
            without["process"].as_object_mut().unwrap().remove("NoNewPrivileges");
            assert!(!engine.decide("ExecProcessRequest", &without).unwrap().allowed, "{argv:?}");
        }
    }
}
