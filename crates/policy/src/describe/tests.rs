//! Nothing of a policy is left out, nothing is said of rules that are not known, and every change is found.

use protocol::digest::Measurement;
use protocol::file::VolumeFile;
use protocol::initdata::{Egress, Ingress};
use protocol::manifest::{PolicyEntry, PublicKey, Quorum, ReferenceValues, SoftwareReferenceValues};
use protocol::{DeploymentId, Digest, Manifest, Role};
use serde_json::json;

use super::*;

const GOLDEN: &str = include_str!("../../tests/golden/policy_data.rego");

fn golden() -> Value {
    let (_, data) = GOLDEN.split_once("policy_data := ").unwrap();
    serde_json::from_str(data).unwrap()
}

fn described(values: &Value) -> Result<Description, DescribeError> {
    describe_policy(&policy_with(values))
}

fn settings() -> Settings {
    Settings {
        version: 1,
        deployment_id: DeploymentId::from_bytes([1; 16]),
        role: Role::Workload,
        mesh: true,
        coordinator: Some(Identity(Digest::of(b"coordinator"))),
        open_ports: vec![9102],
        fs_group: None,
        owners: quorum(1, &[1]),
        reference_values: software(&[1]),
        files: BTreeMap::from([(
            "digits".into(),
            BTreeMap::from([("labels.txt".into(), Digest::of(b"labels").into())]),
        )]),
        ingress: vec![Ingress { name: "http".into(), port: 8080, client_certificate: true }],
        egress: vec![],
    }
}

fn egress(listen: &str, certificate_name: &str) -> Egress {
    Egress {
        name: "backend".into(),
        listen: listen.parse().unwrap(),
        host: "backend.default".into(),
        port: 4001,
        certificate_name: certificate_name.into(),
    }
}

fn quorum(threshold: u32, keys: &[u8]) -> Quorum {
    Quorum { threshold, keys: keys.iter().map(|key| PublicKey(vec![*key])).collect() }
}

fn software(measurements: &[u8]) -> ReferenceValues {
    let measurements = measurements.iter().map(|byte| Measurement::from_bytes([*byte; 48])).collect();
    ReferenceValues::software(SoftwareReferenceValues { root: Digest::of(b"root"), measurements })
}

fn with_settings(settings: &Settings) -> Description {
    describe(&Initdata::build(&policy_with(&golden()), settings).unwrap()).unwrap()
}

/// One pod called `inference`.
fn deployment(description: Description) -> Deployment {
    let pod = Pod { title: "Deployment/inference".into(), name: "inference".into(), description: Some(description) };
    Deployment { manifest: None, pods: vec![pod] }
}

fn sentences(difference: &Difference) -> Vec<String> {
    let words = |change: &Change| {
        let subject =
            [&change.workload, &change.container].into_iter().flatten().cloned().collect::<Vec<_>>().join("/");
        format!("{:?} {subject}: {}", change.effect, change.what)
    };
    difference.changes.iter().map(words).collect()
}

/// Whole policies, as they travel. Second implementations of the engine run them, too.
#[test]
fn policies_are_as_short_as_this() {
    expect_test::expect_file!["../../tests/golden/policy_example.rego"].assert_eq(&policy_with(&golden()));
    let mut everything = golden();
    let long = "x".repeat(5000);
    let server = &mut everything["containers"]["server"];
    server["gpus"] = json!(2);
    server["exec"] = json!([["/bin/check", long]]);
    server["args"] = json!(["/serve", long]);
    server["env_from"] = json!({"HOSTNAME": "hostname", "POD": "pod-name", "UID": "pod-uid", "NODE": "node-name",
        "IP": "ip"});
    expect_test::expect_file!["../../tests/golden/policy_everything.rego"].assert_eq(&policy_with(&everything));
}

#[test]
fn the_golden_policy_is_known_and_every_value_has_words() {
    let policy = described(&golden()).unwrap().policy;
    assert!(policy.rules.known);
    assert_eq!(policy.unknown, BTreeMap::new());
    let names: Vec<_> = policy.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["casemate-initializer", "casemate-mesh", "server"], "the order is that of the pod");
    for container in policy.containers.iter().chain([&policy.pause]) {
        assert!(container.image.is_some(), "{}", container.name);
        assert_eq!(container.annotations, BTreeMap::new(), "{}", container.name);
        for mount in &container.mounts {
            assert_ne!(mount.supplied_by, Supplier::Unknown, "{}: {}", container.name, mount.destination);
        }
    }
    let server = policy.containers.last().unwrap();
    assert!(server.launched && server.signals);
    let supplier = |at: &str| server.mounts.iter().find(|mount| mount.destination == at).unwrap().supplied_by;
    assert_eq!(supplier("/casemate"), Supplier::Initializer);
    assert_eq!(supplier("/etc/digits"), Supplier::Checked);
    assert_eq!(supplier("/etc/hosts"), Supplier::Host);
    assert_eq!(supplier("/proc"), Supplier::Kernel);
    for own in policy.containers.iter().take(2) {
        let at = |mount: &&Mount| mount.destination == crate::generate::INITDATA_FILE;
        assert_eq!(own.mounts.iter().find(at).unwrap().supplied_by, Supplier::Launched, "{}", own.name);
    }
    for name in ["PullImageRequest", "SetPolicyRequest"] {
        assert!(policy.requests.never.contains(&name.to_owned()), "{name}");
    }
    assert!(policy.requests.decided.contains(&"CreateContainerRequest".to_owned()));
    assert!(policy.requests.always.contains(&"WaitProcessRequest".to_owned()));
    assert!(!policy.requests.never.contains(&"AllowRequestsFailingPolicy".to_owned()));
}

#[test]
fn a_volume_is_checked_only_where_digests_are_bound_and_nobody_else_writes_it() {
    let supplier = |description: &Description| {
        let server = description.policy.containers.iter().find(|container| container.name == "server").unwrap();
        server.mounts.iter().find(|mount| mount.destination == "/etc/digits").unwrap().supplied_by
    };
    assert_eq!(supplier(&with_settings(&settings())), Supplier::Checked);
    let unbound = Settings { files: BTreeMap::new(), ..settings() };
    assert_eq!(supplier(&with_settings(&unbound)), Supplier::Memory);
    let mut written = golden();
    for mount in written["containers"]["server"]["mounts"].as_array_mut().unwrap() {
        mount[3] = json!("rw");
    }
    assert_eq!(supplier(&described(&written).unwrap()), Supplier::Memory);
}

#[test]
fn initdata_is_compared_by_our_own_programs_alone() {
    let of = |values: &Value| {
        let containers = described(values).unwrap().policy.containers;
        let mesh = containers.into_iter().find(|container| container.name == "casemate-mesh").unwrap();
        mesh.mounts.into_iter().find(|mount| mount.volume.as_deref() == Some("initdata")).map(|mount| mount.supplied_by)
    };
    let golden = golden();
    assert_eq!(of(&golden), Some(Supplier::Launched));
    let mut other = golden.clone();
    other["containers"]["casemate-mesh"]["args"] = json!(["/other", "mesh"]);
    assert_eq!(of(&other), Some(Supplier::Host));
    let mut elsewhere = golden;
    let mounts = elsewhere["containers"]["casemate-mesh"]["mounts"].as_array_mut().unwrap();
    let mount = mounts.iter_mut().find(|mount| mount[0] == crate::generate::INITDATA_FILE).unwrap();
    mount[0] = json!("/etc/initdata");
    assert_eq!(of(&elsewhere), Some(Supplier::Host));
}

#[test]
fn rules_that_are_not_ours_are_never_called_known() {
    let ours = policy_with(&golden());
    let changes: [(&str, String); 8] = [
        ("a rule behind the values", format!("{ours}\ndefault SetPolicyRequest := true\n")),
        ("a rule on the last line", format!("{} CreateContainerRequest := true\n", ours.trim_end())),
        ("a default", ours.replacen("default DestroySandboxRequest:=true", "default SetPolicyRequest:=true", 1)),
        (
            "failures let through",
            ours.replacen("AllowRequestsFailingPolicy:=false", "AllowRequestsFailingPolicy:=true", 1),
        ),
        ("a condition less", ours.replacen("\nallow_linux(oci.Linux)", "", 1)),
        ("a comment", ours.replacen("import rego.v1", "# Harmless.\nimport rego.v1", 1)),
        (
            "a rule before the values",
            ours.replacen("\npolicy_data :=", "\nPullImageRequest := true\n\npolicy_data :=", 1),
        ),
        (
            "values by another rule",
            ours.replacen("\npolicy_data := {", "\npolicy_data := object.union({}, {", 1).trim_end().to_owned() + ")\n",
        ),
    ];
    for (what, rego) in changes {
        assert_ne!(rego, ours, "{what}");
        match describe_policy(&rego) {
            Ok(description) => {
                assert!(!description.policy.rules.known, "{what}");
                assert_eq!(description.policy.requests, Endpoints::default(), "{what}: nothing is said of its rules");
                assert_eq!(description.policy.logs, Access::Rules, "{what}");
            }
            Err(error) => assert!(matches!(error, DescribeError::Policy { .. }), "{what}: {error}"),
        }
    }
}

#[test]
fn a_value_without_words_is_handed_on() {
    for pointer in ["", "/containers/server", "/copies"] {
        let mut values = golden();
        values.pointer_mut(pointer).unwrap()["new_field"] = json!({"open": true});
        let unknown = described(&values).unwrap().policy.unknown;
        assert!(unknown.keys().any(|path| path.contains("new_field")), "{pointer}: {unknown:?}");
    }
    let mut values = golden();
    values["logs"] = json!({"server": "sometimes"});
    assert!(described(&values).unwrap().policy.unknown.contains_key("logs"));
    let mut values = golden();
    values["containers"]["server"]["exec"] = json!("everything");
    let policy = described(&values).unwrap().policy;
    assert!(policy.unknown.contains_key("containers.server.exec"));
    assert_eq!(policy.containers.last().unwrap().exec_access, Access::Rules);
    values["containers"]["server"]["exec"] = json!([["/bin/health", "--quick check"]]);
    assert_eq!(described(&values).unwrap().policy.containers.last().unwrap().exec, [["/bin/health", "--quick check"]]);
    let mut values = golden();
    values["containers"]["server"]["mounts"][0] = json!(["/data", "blk", "/dev/vda", "rw"]);
    let policy = described(&values).unwrap().policy;
    let mounts = &policy.containers.last().unwrap().mounts;
    let mount = mounts.iter().find(|mount| mount.destination == "/data").unwrap();
    assert_eq!((mount.supplied_by, mount.source.as_str()), (Supplier::Unknown, "/dev/vda"));
}

#[test]
fn a_missing_or_mistyped_value_is_an_error_with_its_path() {
    let cases: [(&str, &str, Value); 10] = [
        ("", "namespace", json!(1)),
        ("", "containers", json!([])),
        ("", "volume_options", Value::Null),
        ("", "pidns", json!("no")),
        ("", "copies", json!([1])),
        ("/containers/server", "args", json!("x")),
        ("/containers/server", "capabilities", json!({})),
        ("/containers/server", "user", json!([0, 0, [-1]])),
        ("/containers/server", "image", json!([])),
        ("/containers/server", "mounts", json!([["/a", "b", "c"]])),
    ];
    for (pointer, key, value) in cases {
        let mut changed = golden();
        changed.pointer_mut(pointer).unwrap()[key] = value;
        let mut without = golden();
        without.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
        for values in [changed, without] {
            let error = described(&values).unwrap_err();
            assert!(error.to_string().contains(key), "{pointer}/{key}: {error}");
        }
    }
}

#[test]
fn what_is_no_policy_is_refused() {
    let many = "a".repeat(200_000);
    for (rego, part) in [
        ("", "policy"),
        ("package agent_policy", "no `policy_data`"),
        ("package other\npolicy_data := {}", "expected `agent_policy`"),
        ("package agent_policy\npolicy_data := 1", "no `policy_data`"),
        ("package agent_policy\npolicy_data := {}", "policy_data.namespace"),
        ("package agent_policy\npolicy_data := {\"mounts\": [", "policy"),
        ("package agent_policy\nimport rego.v1\npolicy_data := x if { x := http.send({}) }", "policy"),
        (many.as_str(), "policy"),
    ] {
        let error = describe_policy(rego).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// Every leaf of the values, changed in one way that keeps its type.
#[test]
fn every_change_of_a_value_is_in_the_difference() {
    fn leaves(value: &Value, path: &str, all: &mut Vec<String>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                fields
                    .iter()
                    .for_each(|(key, value)| leaves(value, &format!("{path}/{}", key.replace('/', "~1")), all));
            }
            Value::Array(items) if !items.is_empty() => {
                items.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{path}/{index}"), all));
            }
            _ => all.push(path.to_owned()),
        }
    }
    let mut all = Vec::new();
    leaves(&golden(), "", &mut all);
    assert!(all.len() > 100, "{}", all.len());
    let was = deployment(described(&golden()).unwrap());
    for path in all {
        let mut values = golden();
        let leaf = values.pointer_mut(&path).unwrap();
        *leaf = match leaf {
            Value::String(text) => json!(format!("{text}x")),
            Value::Bool(flag) => json!(!*flag),
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            Value::Array(_) => json!(["CAP_NEW"]),
            Value::Object(_) => json!({"new": "value"}),
            Value::Null => json!("new"),
        };
        let now = described(&values).unwrap_or_else(|error| panic!("{path}: {error}"));
        let difference = diff(&was, &deployment(now));
        assert!(!difference.changes.is_empty(), "{path}");
        for change in &difference.changes {
            assert_ne!(change.kind, Kind::Rules, "{path}: {change:?}");
        }
    }
}

#[test]
fn arguments_that_take_values_of_the_cluster_are_in_the_difference() {
    let with = |argument: &str, pattern: Option<&str>| {
        let mut values = golden();
        let server = &mut values["containers"]["server"];
        let at = server["args"].as_array().unwrap().iter().position(|word| word == "--").unwrap() + 2;
        server["args"][at] = json!(argument);
        if let Some(pattern) = pattern {
            server["args_from"] = json!({at.to_string(): pattern});
        }
        deployment(described(&values).unwrap())
    };
    let (text, ip) = (with("$(ip)", None), with("$(ip)", Some("^$(ip)$")));
    let (node, any) = (with("$(node-name)", Some("^$(node-name)$")), with("$(ip)", Some("^.*$")));
    let said = |was, now| sentences(&diff(was, now)).join("; ");
    for (was, now, words) in [
        (&text, &ip, "Opens inference/server: argument 1 takes values of the cluster"),
        (&ip, &text, "Closes inference/server: argument 1 takes no value of the cluster any more"),
        (&ip, &node, "Changes inference/server: argument 1 takes other values of the cluster"),
        (&ip, &any, "Changes inference/server: argument 1 takes other values of the cluster"),
    ] {
        assert!(said(was, now).contains(words), "{}", said(was, now));
    }
    assert_eq!(said(&ip, &ip), "");
}

#[test]
fn changes_are_sorted_by_danger_and_say_what_they_open() {
    let mut values = golden();
    let server = &mut values["containers"]["server"];
    server["image"] = json!("example.org/other@sha256:00");
    server["args"][3] = json!("--debug mode");
    server["capabilities"] = json!(["SYS_ADMIN"]);
    server["no_new_privileges"] = json!(false);
    server["user"][0] = json!(0);
    server["env"] = json!(["PATH=/", "NEW=1"]);
    server["mounts"][1] = json!(["/etc/digits", "copied", "digits", "ro"]);
    values["signals"] = json!([]);
    values["containers"].as_object_mut().unwrap().remove("casemate-mesh");
    let difference = diff(&deployment(described(&golden()).unwrap()), &deployment(described(&values).unwrap()));
    expect_test::expect![[r#"
        [
          "Changes inference/server: runs another image",
          "Changes inference/server: runs another command",
          "Opens inference/server: gets CAP_SYS_ADMIN: it may mount, enter namespaces, and most of what root can: the guest is its own",
          "Opens inference/server: runs as root",
          "Opens inference/server: may gain privileges, as by a set-user-id program",
          "Changes inference/casemate-initializer: mounts `/casemate` otherwise",
          "Changes inference/server: mounts `/casemate` otherwise",
          "Opens inference/server: mounts `/etc/digits` otherwise",
          "Changes inference/server: variable `LOG_LEVEL` is gone",
          "Changes inference/server: variable `NEW` is new",
          "Closes inference: the host may no longer signal server",
          "Closes inference/casemate-mesh: is gone"
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&sentences(&difference)).unwrap());
}

#[test]
fn who_is_called_for_programs_is_in_the_difference() {
    let with = |egress: Vec<Egress>| deployment(with_settings(&Settings { egress, ..settings() }));
    let named = Egress { name: "other".into(), ..egress("127.0.0.2:4001", "backend") };
    let moved = Egress { host: "evil".into(), ..egress("127.0.0.2:4001", "backend") };
    let was = || vec![egress("127.0.0.2:4001", "backend")];
    for (now, expected) in [
        (was(), &[][..]),
        (vec![], &["Closes inference: no longer calls backend.default:4001 as `backend` for its programs"]),
        (
            vec![egress("127.0.0.2:4001", "evil")],
            &["Opens inference: calls another remote for programs that connect to 127.0.0.2:4001"],
        ),
        (vec![moved], &["Opens inference: calls another remote for programs that connect to 127.0.0.2:4001"]),
        (vec![named], &["Changes inference: its egress has other names"]),
        (
            vec![egress("[::1]:4001", "backend")],
            &[
                "Opens inference: calls backend.default:4001 as `backend` for programs that connect to [::1]:4001",
                "Closes inference: no longer calls backend.default:4001 as `backend` for its programs",
            ],
        ),
    ] {
        let mut got = sentences(&diff(&with(was()), &with(now)));
        got.retain(|sentence| sentence.contains("call") || sentence.contains("egress"));
        assert_eq!(got, expected);
    }
}

#[test]
fn every_change_of_the_settings_is_in_the_difference() {
    let was = deployment(with_settings(&settings()));
    let changed: Vec<(&str, Settings)> = vec![
        ("Changes inference: has another role", Settings { role: Role::Coordinator, ..settings() }),
        ("belongs to another deployment", Settings { deployment_id: DeploymentId::from_bytes([2; 16]), ..settings() }),
        (
            "Opens inference: listens to a Coordinator that is not among",
            Settings { coordinator: Some(Identity(Digest::of(b"evil"))), ..settings() },
        ),
        ("Opens inference: has no mesh any more", Settings { mesh: false, ..settings() }),
        ("Opens inference: opens the ports 9103", Settings { open_ports: vec![9102, 9103], ..settings() }),
        ("Closes inference: closes the ports 9102", Settings { open_ports: vec![], ..settings() }),
        ("Closes inference: closes port 8080", Settings { ingress: vec![], ..settings() }),
        (
            "Opens inference: opens port 8080 to callers without a certificate",
            Settings {
                ingress: vec![Ingress { name: "http".into(), port: 8080, client_certificate: false }],
                ..settings()
            },
        ),
        (
            "its ports have other names",
            Settings {
                ingress: vec![Ingress { name: "web".into(), port: 8080, client_certificate: true }],
                ..settings()
            },
        ),
        (
            "Opens inference: calls backend.default:4001 as `backend` for programs that connect to 127.0.0.2:4001",
            Settings { egress: vec![egress("127.0.0.2:4001", "backend")], ..settings() },
        ),
        (
            "file `digits/labels.txt` has other content",
            Settings {
                files: BTreeMap::from([(
                    "digits".into(),
                    BTreeMap::from([("labels.txt".into(), Digest::of(b"x").into())]),
                )]),
                ..settings()
            },
        ),
        (
            "file `digits/labels.txt` has another mode",
            Settings {
                files: BTreeMap::from([(
                    "digits".into(),
                    BTreeMap::from([("labels.txt".into(), VolumeFile::new(Digest::of(b"labels"), 0o400).unwrap())]),
                )]),
                ..settings()
            },
        ),
        ("its files have another group", Settings { fs_group: Some(2000), ..settings() }),
        ("file `digits/labels.txt` is gone", Settings { files: BTreeMap::new(), ..settings() }),
        ("Opens inference: owners: key", Settings { owners: quorum(1, &[1, 2]), ..settings() }),
        (
            "Opens inference: reference values: measurements of software is looser",
            Settings { reference_values: software(&[1, 2]), ..settings() },
        ),
    ];
    for (sentence, settings) in changed {
        let difference = diff(&was, &deployment(with_settings(&settings)));
        let said = sentences(&difference);
        assert!(said.iter().any(|said| said.contains(sentence)), "{sentence}: {said:?}");
    }
    assert_eq!(diff(&was, &was).changes, []);
}

fn manifest(identity: &[u8]) -> Manifest {
    let entry = |name: &str, role| PolicyEntry {
        names: vec![name.into()],
        role,
        secrets: [].into(),
        callers: None,
        platforms: None,
    };
    Manifest {
        version: 1,
        deployment_id: DeploymentId::from_bytes([1; 16]),
        policies: BTreeMap::from([
            (Identity(Digest::of(b"coordinator")), entry("coordinator", Role::Coordinator)),
            (Identity(Digest::of(identity)), entry("inference", Role::Workload)),
        ]),
        reference_values: software(&[1]),
        owners: quorum(2, &[1, 2, 3]),
        seed_share_holders: quorum(1, &[4]),
        lease_seconds: 300,
    }
}

#[test]
fn manifests_alone_tell_who_may_what_and_that_policies_are_not_known() {
    let side = |manifest: Manifest| Deployment { manifest: Some(manifest), pods: Vec::new() };
    let was = side(manifest(b"a"));
    assert_eq!(diff(&was, &was), Difference::default(), "the same identity is the same policy");
    let other = diff(&was, &side(manifest(b"b")));
    assert_eq!(sentences(&other), ["Changes inference: has another policy"]);
    assert!(other.untold[0].contains("neither resource is at hand"), "{other:?}");

    let edit = |edit: &dyn Fn(&mut Manifest, &Identity)| {
        let mut new = manifest(b"a");
        edit(&mut new, &Identity(Digest::of(b"a")));
        sentences(&diff(&was, &side(new)))
    };
    fn at<'a>(manifest: &'a mut Manifest, identity: &Identity) -> &'a mut PolicyEntry {
        manifest.policies.get_mut(identity).unwrap()
    }
    let text = |words: &str| std::collections::BTreeSet::from([words.to_owned()]);
    let cases = [
        (edit(&|m, id| at(m, id).secrets = text("key")), "Opens inference: may read the secrets key"),
        (
            edit(&|m, id| at(m, id).callers = Some(text("web"))),
            "Closes inference: may no longer be called by every workload of the manifest",
        ),
        (edit(&|m, id| at(m, id).names.push("bank".into())), "Opens inference: gets certificates for the names bank"),
        (
            edit(&|m, id| at(m, id).platforms = Some(text("p"))),
            "Closes inference: may no longer run on every platform of the reference values",
        ),
        (edit(&|m, id| drop(m.policies.remove(id))), "Closes inference: is gone"),
        (edit(&|m, _| m.owners.threshold = 1), "Opens : owners: 1 instead of 2 must agree"),
        (edit(&|m, _| m.owners.threshold = 3), "Closes : owners: 3 instead of 2 must agree"),
        (edit(&|m, _| drop(m.owners.keys.pop())), "Closes : owners: key 084fed08b978 was removed"),
        (edit(&|m, _| m.seed_share_holders = quorum(1, &[4, 5])), "Opens : seed-share holders: key"),
        (edit(&|m, _| m.lease_seconds = 600), "Opens : certificates last for another time"),
        (edit(&|m, _| m.lease_seconds = 60), "Closes : certificates last for another time"),
        (
            edit(&|m, _| m.reference_values = software(&[1, 2])),
            "Opens : reference values: measurements of software is looser",
        ),
        (edit(&|m, _| m.deployment_id = DeploymentId::from_bytes([9; 16])), "Changes : this is another deployment"),
    ];
    for (said, sentence) in cases {
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(sentence), "{sentence}: {said:?}");
    }
    let one_sided = diff(&was, &deployment(with_settings(&settings())));
    assert!(one_sided.untold.iter().any(|line| line.contains("the new side has no manifest")), "{one_sided:?}");
}

#[test]
fn reference_values_are_looser_or_stricter() {
    let base = json!({
        "platform": "p", "product": "milan", "measurements": ["11".repeat(48)], "chip_ids": ["22".repeat(64)],
        "tcb": {"reported": {"bootloader": 4, "tee": 0, "snp": 20, "microcode": 200}, "committed": {"bootloader": 4, "tee": 0, "snp": 20, "microcode": 200},
                "launch": {"bootloader": 4, "tee": 0, "snp": 20, "microcode": 200}, "current": {"bootloader": 4, "tee": 0, "snp": 20, "microcode": 200}},
        "min_guest_svn": 2,
    });
    let values = |entry: &Value| -> ReferenceValues { serde_json::from_value(json!({"snp": [entry]})).unwrap() };
    let cases: [(&str, Value, Effect); 8] = [
        ("/chip_ids", json!("any"), Effect::Opens),
        ("/measurements", json!(["11".repeat(48), "33".repeat(48)]), Effect::Opens),
        ("/measurements", json!(["33".repeat(48)]), Effect::Opens),
        ("/tcb/reported/microcode", json!(100), Effect::Opens),
        ("/tcb/reported/microcode", json!(201), Effect::Closes),
        ("/min_guest_svn", json!(3), Effect::Closes),
        ("/min_guest_svn", json!(1), Effect::Opens),
        ("/product", json!("genoa"), Effect::Changes),
    ];
    for (pointer, value, effect) in cases {
        let mut entry = base.clone();
        *entry.pointer_mut(pointer).unwrap() = value;
        let mut said = Vec::new();
        reference::compare(&values(&base), &values(&entry), &mut |effect, what, _, _| said.push((effect, what)));
        assert_eq!(said.len(), 1, "{pointer}: {said:?}");
        assert_eq!(said[0].0, effect, "{pointer}: {said:?}");
        assert!(said[0].1.contains("snp `p`"), "{said:?}");
    }
    let mut debug = base.clone();
    debug["id_key_digests"] = json!(["44".repeat(48)]);
    let mut said = Vec::new();
    reference::compare(&values(&debug), &values(&base), &mut |effect, _, _, _| said.push(effect));
    assert_eq!(said, [Effect::Opens], "a demand that is dropped");
}

#[test]
fn recordings_of_all_forms_are_read() {
    let one = json!({"container_id": "a"});
    for text in [
        r#"{"ep":"A","request":{"container_id":"a"}}"#,
        r#"{"kind":"A","request":{"container_id":"a"}}"#,
        r#"{"endpoint":"A","input":{"container_id":"a"}}"#,
        r#"[{"ep":"A","request":{"container_id":"a"}}]"#,
        r#"["ep":"A",{"container_id":"a"}],"#,
        "\u{feff} [ \"ep\" : \"A\" , {\"container_id\":\"a\"} ]",
        "\r\n\r\n{\"kind\":\"A\",\"request\":{\"container_id\":\"a\"}}\r\n",
        r#"[{"kind":"A","request":{"container_id":"a"},"allowed":true,"description":"d"}]"#,
    ] {
        let read = requests(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((read.len(), read[0].endpoint.as_str(), &read[0].request), (1, "A", &one), "{text}");
    }
    let many = "[\"ep\":\"A\",{}],\n\n[\"ep\":\"B\",{}],\n{\"ep\":\"C\",\"request\":{}} {\"ep\":\"D\",\"request\":{}}\n[{\"ep\":\"E\",\"request\":{}},\n{\"ep\":\"F\",\"request\":{}}]";
    let read: Vec<_> = requests(many).unwrap().into_iter().map(|one| format!("{}{}", one.endpoint, one.line)).collect();
    assert_eq!(read, ["A1", "B3", "C4", "D4", "E5", "F5"]);
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let deep = "[".repeat(5_000);
    for (text, part) in [
        ("", "no request"),
        (" \n , ", "no request"),
        ("[]", "no request"),
        ("x", "line 1"),
        ("\n\n{\"ep\":", "line 3"),
        ("1", "neither a request"),
        ("[[]]", "no request: []"),
        ("{}", "no `ep` or `kind`"),
        (r#"{"ep":"A"}"#, "A has no `request`"),
        (r#"{"ep":"A","request":[]}"#, "no object"),
        (r#"{"ep":1,"request":{}}"#, "not text"),
        (r#"{"ep":"A","kind":"B","request":{}}"#, "one of them"),
        (r#"{"ep":"A","request":{},"extra":1}"#, "`extra`"),
        (r#"["ep":"A"]"#, "`,` is missing"),
        (r#"["ep":"A",{}"#, "`]` is missing"),
        (r#"["ep":"A",[]],"#, "no object"),
        (r#"["ep":7,{}]"#, "not text"),
        (deep.as_str(), "line 1"),
    ] {
        let error = requests(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:.60}: {error}");
    }
}

#[test]
fn policies_are_found_in_every_dress() {
    let initdata = Initdata::build(&policy_with(&golden()), &settings()).unwrap();
    let annotation = initdata.to_annotation();
    let pod = |kind: &str, spec: &str, indent: &str| {
        format!(
            "kind: {kind}\nmetadata: {{name: x}}\n{spec}{indent}metadata: {{annotations: {{{}: {annotation}}}}}\n",
            protocol::initdata::ANNOTATION
        )
    };
    let texts = [
        ("policy", initdata.document().to_owned()),
        ("policy", annotation.clone()),
        ("policy", format!("{annotation}\n")),
        ("Deployment/x", pod("Deployment", "spec:\n  template:\n", "    ")),
        ("CronJob/x", pod("CronJob", "spec:\n  jobTemplate:\n    spec:\n      template:\n", "        ")),
    ];
    for (title, text) in texts {
        let found = find(&text).unwrap_or_else(|error| panic!("{title}: {error}"));
        assert_eq!((found.len(), found[0].title.as_str()), (1, title));
        assert_eq!(found[0].description.as_ref().unwrap().identity, Some(initdata.identity()));
        assert!(found[0].description.as_ref().unwrap().complete);
    }
    let list = format!(
        "kind: List\nitems:\n- kind: Pod\n  metadata: {{name: a, annotations: {{{}: {annotation}}}}}\n- kind: Pod\n  metadata: {{name: b}}\n  spec: {{containers: [{{name: c}}]}}\n- kind: Service\n  metadata: {{name: s}}\n",
        protocol::initdata::ANNOTATION
    );
    let found: Vec<_> =
        find(&list).unwrap().into_iter().map(|found| (found.title, found.description.is_some())).collect();
    assert_eq!(found, [("Pod/a".to_owned(), true), ("Pod/b".to_owned(), false)]);
    // Something besides in the document is said, whatever it is.
    let more = format!("{}\n\"aa.toml\" = \"x\"\n", initdata.document().trim_end());
    assert!(!find(&more).unwrap()[0].description.as_ref().unwrap().complete);
}

#[test]
fn what_holds_no_policy_is_refused_or_empty() {
    let key = protocol::initdata::ANNOTATION;
    for text in ["", "# nothing\n", "kind: ConfigMap\nmetadata: {name: x}\n", "just text", "[1, 2]", "{}"] {
        assert_eq!(find(text).unwrap(), [], "{text}");
    }
    for (text, part) in [
        ("a: [", "line 1"),
        ("[data]\n", "initdata"),
        ("version = \"9\"\nalgorithm = \"sha256\"\n[data]\n", "version is `9`"),
        ("package agent_policy\n", "no `policy_data`"),
        ("package other\n", "expected `agent_policy`"),
        ("H4sIAAAA", "gzip"),
        (&format!("kind: Pod\nmetadata: {{name: x, annotations: {{{key}: '!'}}}}\n"), "Pod/x"),
        (&format!("kind: Pod\nmetadata: {{name: x, annotations: {{{key}: 7}}}}\n"), "Pod/x"),
        (&format!("kind: Pod\nmetadata: {{name: x, annotations: {{{key}: H4sIAAAA}}}}\n"), "Pod/x"),
    ] {
        let error = find(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
