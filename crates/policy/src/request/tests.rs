use serde_json::json;

use super::*;

fn instance() -> PodInstance {
    PodInstance {
        name: "web-0".into(),
        namespace: "default".into(),
        uid: "u".into(),
        sandbox_id: "a".repeat(64),
        node_name: "node".into(),
        host_ip: "192.168.0.1".into(),
        pod_ip: "10.0.0.7".into(),
        hostname: "web-0".into(),
        service_env: vec![("KUBERNETES_PORT".into(), "tcp://10.0.0.1:443".into()), ("DB_PORT".into(), "x".into())],
        config_maps: [("m".to_owned(), json!({"kind": "ConfigMap", "data": {"a": "1", "b": "2"}}))].into(),
        secrets: [("s".to_owned(), json!({"kind": "Secret", "data": {"k": "cHc="}}))].into(),
    }
}

fn image() -> ImageConfig {
    ImageConfig {
        env: vec!["PATH=/bin".into(), "FROM_IMAGE=i".into()],
        entrypoint: vec!["/entry".into()],
        cmd: vec!["cmd".into()],
        user: "1000:2000".into(),
        working_dir: "/srv/".into(),
        ..ImageConfig::default()
    }
}

/// The request for one container, given what differs from the plainest one.
fn request(spec: &Value, container: &Value) -> Result<Value, RequestError> {
    let mut whole = json!({"name": "c", "image": "x@sha256:0"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let pod = json!({"metadata": {"labels": {"l": "label"}}, "spec": spec});
    container_request(&pod, &whole, &image(), &instance(), &"c".repeat(64))
}

fn process(container: &Value) -> Value {
    request(&json!({}), container).unwrap()["OCI"]["Process"].clone()
}

fn env(container: &Value) -> Vec<String> {
    let env = process(container)["Env"].clone();
    serde_json::from_value(env).unwrap()
}

#[test]
fn arguments_are_those_of_pod_or_image() {
    for (container, args) in [
        (json!({}), json!(["/entry", "cmd"])),
        (json!({"args": ["a"]}), json!(["/entry", "a"])),
        (json!({"command": ["c"]}), json!(["c"])),
        (json!({"command": ["c"], "args": ["a"]}), json!(["c", "a"])),
        (json!({"command": [], "args": []}), json!(["/entry", "cmd"])),
    ] {
        assert_eq!(process(&container)["Args"], args, "{container}");
    }
}

#[test]
fn references_are_resolved_as_kubernetes_does() {
    let env = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(LATER)-$$(A)-$x-$(KUBERNETES_PORT)"},
                     {"name": "LATER", "value": "l"}, {"name": "NONE"}]);
    let process = process(&json!({"env": env, "args": ["$(B)", "$(LATER)", "$(NOTHING)", "$(", "$$$(A)", "50%$"]}));
    let expanded = "1-$(LATER)-$(A)-$x-tcp://10.0.0.1:443";
    assert_eq!(process["Args"], json!(["/entry", expanded, "l", "$(NOTHING)", "$(", "$1", "50%$"]));
    assert!(process["Env"].as_array().unwrap().contains(&json!(format!("B={expanded}"))));
    assert!(process["Env"].as_array().unwrap().contains(&json!("NONE=")));
}

#[test]
fn the_environment_has_all_its_sources() {
    let from = |from: Value| json!({"valueFrom": from});
    let field = |path: &str| from(json!({"fieldRef": {"fieldPath": path}}));
    let named = |name: &str, mut value: Value| {
        value["name"] = json!(name);
        value
    };
    let container = json!({
        "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}, {"secretRef": {"name": "no", "optional": true}}],
        "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
        "env": [
            named("POD", field("metadata.name")), named("IP", field("status.podIP")), named("NODE", field("spec.nodeName")),
            named("LABEL", field("metadata.labels['l']")), named("MISSING", field("metadata.annotations['x']")),
            named("MAP", from(json!({"configMapKeyRef": {"name": "m", "key": "b"}}))),
            named("SECRET", from(json!({"secretKeyRef": {"name": "s", "key": "k"}}))),
            named("OPTIONAL", from(json!({"configMapKeyRef": {"name": "m", "key": "z", "optional": true}}))),
            named("CPU", from(json!({"resourceFieldRef": {"resource": "limits.cpu"}}))),
            named("MEMORY", from(json!({"resourceFieldRef": {"resource": "limits.memory"}}))),
            {"name": "FROM_IMAGE", "value": "pod"}, {"name": "DUP", "value": "1"}, {"name": "DUP", "value": "2"},
        ],
    });
    let got = env(&container);
    let expected = [
        "PATH=/bin",
        "HOSTNAME=web-0",
        "FROM_IMAGE=pod",
        "P_a=1",
        "P_b=2",
        "POD=web-0",
        "IP=10.0.0.7",
        "NODE=node",
        "LABEL=label",
        "MISSING=",
        "MAP=2",
        "SECRET=pw",
        "CPU=2",
        "MEMORY=67108864",
        "DUP=2",
        "KUBERNETES_PORT=tcp://10.0.0.1:443",
        "DB_PORT=x",
    ];
    assert_eq!(got, expected);
}

#[test]
fn service_links_can_be_turned_off() {
    let request = request(&json!({"enableServiceLinks": false}), &json!({})).unwrap();
    let env = request["OCI"]["Process"]["Env"].as_array().unwrap();
    assert!(env.iter().any(|variable| variable.as_str().unwrap().starts_with("KUBERNETES_")));
    assert!(!env.iter().any(|variable| variable.as_str().unwrap().starts_with("DB_")));
}

#[test]
fn users_and_groups_are_numbers() {
    let user = |spec: Value, container: Value| request(&spec, &container).map(|r| r["OCI"]["Process"]["User"].clone());
    let numbers =
        |uid: u64, gid: u64, groups: &[u64]| json!({"UID": uid, "GID": gid, "AdditionalGids": groups, "Username": ""});
    assert_eq!(user(json!({}), json!({})).unwrap(), numbers(1000, 0, &[0]));
    let shared =
        json!({"securityContext": {"runAsUser": 5, "runAsGroup": 6, "fsGroup": 7, "supplementalGroups": [6, 8]}});
    assert_eq!(user(shared.clone(), json!({})).unwrap(), numbers(5, 6, &[6, 7, 8]));
    assert_eq!(user(shared, json!({"securityContext": {"runAsUser": 9}})).unwrap(), numbers(9, 6, &[6, 7, 8]));
    for bad in [json!("root"), json!(-1), json!(4_294_967_296_u64)] {
        assert!(user(json!({}), json!({"securityContext": {"runAsUser": bad}})).is_err());
    }
    let mut named = image();
    named.user = "nginx".into();
    let pod = json!({"spec": {}});
    let error = container_request(&pod, &json!({"name": "c", "image": "x"}), &named, &instance(), "c").unwrap_err();
    assert!(matches!(error, RequestError::UserName { .. }) && error.hint().is_some());
}

#[test]
fn capabilities_are_added_to_the_default_and_dropped_from_it() {
    let set = |capabilities: Value| {
        process(&json!({"securityContext": {"capabilities": capabilities}}))["Capabilities"]["Bounding"].clone()
    };
    assert_eq!(set(json!({})).as_array().unwrap().len(), 14);
    assert_eq!(set(json!({"drop": ["ALL"], "add": ["NET_ADMIN", "CHOWN"]})), json!(["CAP_NET_ADMIN", "CAP_CHOWN"]));
    assert_eq!(set(json!({"drop": ["KILL"], "add": ["CHOWN"]})).as_array().unwrap().len(), 13);
    assert!(request(&json!({}), &json!({"securityContext": {"capabilities": {"add": ["ALL"]}}})).is_err());
}

#[test]
fn volumes_become_mounts_and_storages() {
    let spec = json!({
        "securityContext": {"fsGroup": 7},
        "automountServiceAccountToken": true,
        "volumes": [{"name": "mem", "emptyDir": {"medium": "Memory"}}, {"name": "dir", "emptyDir": {}},
                    {"name": "map", "configMap": {"name": "m"}}, {"name": "pvc", "persistentVolumeClaim": {}}],
    });
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let container = json!({"volumeMounts": [mount("mem", "/deep/down/mem"), mount("mem", "/mem/"), mount("dir", "/dir"),
                                            mount("map", "/etc/map"), mount("pvc", "/pvc")]});
    let request = request(&spec, &container).unwrap();
    let drivers: Vec<_> =
        request["storages"].as_array().unwrap().iter().map(|s| s["driver"].as_str().unwrap()).collect();
    assert_eq!(drivers, ["image_guest_pull", "ephemeral", "local"]);
    assert_eq!(request["storages"][1]["options"], json!(["fsgid=7"]));
    let mounts = request["OCI"]["Mounts"].as_array().unwrap();
    let destinations: Vec<_> = mounts.iter().skip(6).map(|m| m["destination"].as_str().unwrap()).collect();
    let expected = [
        "/mem/",
        "/dir",
        "/pvc",
        "/etc/map",
        "/etc/hosts",
        "/dev/termination-log",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/dev/shm",
        "/deep/down/mem",
        "/var/run/secrets/kubernetes.io/serviceaccount",
    ];
    assert_eq!(destinations, expected);
    let at = |destination: &str| mounts.iter().find(|m| m["destination"] == json!(destination)).unwrap();
    assert_eq!(at("/etc/map")["options"][2], "ro");
    assert_eq!(at("/pvc")["options"][2], "rw");
    let source = at("/etc/map")["source"].as_str().unwrap();
    let rest = source.strip_prefix(COPIED_PREFIX).unwrap();
    assert_eq!((rest.len(), rest.ends_with("-map")), (64 + 1 + 16 + 4, true));
}

#[test]
fn what_the_policy_could_not_bind_is_refused() {
    let volumes = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "huge", "emptyDir": {"medium": "HugePages"}},
                                     {"name": "two", "emptyDir": {}, "secret": {}}]});
    let mounted = |mount: Value| json!({ "volumeMounts": [mount] });
    for container in [
        mounted(json!({"name": "v", "mountPath": "/a", "subPath": "x"})),
        mounted(json!({"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"})),
        mounted(json!({"name": "v", "mountPath": "a"})),
        mounted(json!({"name": "v", "mountPath": "/"})),
        mounted(json!({"name": "v", "mountPath": "/a/../b"})),
        mounted(json!({"name": "v", "mountPath": "/proc"})),
        mounted(json!({"name": "v", "mountPath": "/etc//resolv.conf"})),
        mounted(json!({"name": "huge", "mountPath": "/a"})),
        mounted(json!({"name": "two", "mountPath": "/a"})),
        mounted(json!({"name": "none", "mountPath": "/a"})),
        json!({"securityContext": {"privileged": true}}),
        json!({"securityContext": {"procMount": "Unmasked"}}),
        json!({"command": "text"}),
        json!({"args": [1]}),
        json!({"env": [{"value": "x"}]}),
        json!({"env": [{"name": "a=b"}]}),
        json!({"env": [{"name": "a", "value": 1}]}),
        json!({"env": [{"name": "a", "valueFrom": {"fileKeyRef": {}}}]}),
        json!({"env": [{"name": "a", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]}),
        json!({"env": [{"name": "a", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "no"}}}]}),
        json!({"env": [{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}),
        json!({"envFrom": [{"configMapRef": {"name": "no"}}]}),
        json!({"envFrom": [{"other": {}}]}),
    ] {
        assert!(request(&volumes, &container).is_err(), "{container}");
    }
}

#[test]
fn what_only_the_cluster_knows_stays_a_mark() {
    let pod = json!({"spec": {}});
    let symbolic = PodInstance::symbolic("default", None);
    let of = |env: Value, args: Value| {
        let container = json!({"name": "c", "image": "x", "env": env, "args": args});
        container_request(&pod, &container, &image(), &symbolic, &symbolic_container_id())
    };
    let ip = json!({"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}});
    assert!(of(json!([ip]), json!([])).is_ok());
    let made = of(json!([ip, {"name": "URL", "value": "http://$(IP)/"}]), json!(["--listen=$(IP)"])).unwrap();
    let process = &made["OCI"]["Process"];
    let has = |list: &Value, text: &str| list.as_array().unwrap().iter().any(|item| item == text);
    assert!(has(&process["Args"], "--listen=\u{1}ip\u{1}") && has(&process["Env"], "URL=http://\u{1}ip\u{1}/"));
    for field in ["status.podIPs", "status.hostIPs"] {
        let ips = json!([{"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": field}}}]);
        assert!(has(&of(ips, json!([])).unwrap()["OCI"]["Process"]["Env"], "IPS=\u{1}ips\u{1}"));
    }
}

#[test]
fn the_pause_container_runs_as_the_pods_user() {
    let user = |context: Value| {
        let pod = json!({"metadata": {}, "spec": {"securityContext": context}});
        let user = pause_request(&pod, &instance())["OCI"]["Process"]["User"].take();
        (user["UID"].clone(), user["GID"].clone(), user["AdditionalGids"].clone())
    };
    for (context, uid, gid, groups) in [
        (json!(null), 65535, 65535, json!([65535])),
        (json!({"runAsUser": 1000}), 1000, 0, json!([0])),
        (json!({"runAsUser": 1000, "runAsGroup": 7}), 1000, 7, json!([7])),
        (json!({"fsGroup": 2000}), 65535, 65535, json!([65535, 2000])),
        (
            json!({"runAsUser": 1, "runAsGroup": 5, "supplementalGroups": [3, 5, 3], "fsGroup": 4}),
            1,
            5,
            json!([5, 3, 4]),
        ),
    ] {
        assert_eq!(user(context.clone()), (json!(uid), json!(gid), groups), "{context}");
    }
}

#[test]
fn groups_of_a_pod_are_those_of_all_its_containers() {
    let groups = |context: Value| {
        let pod = json!({"metadata": {}, "spec": {"securityContext": context}});
        let container = json!({"name": "c", "image": "x", "command": ["x"]});
        container_request(&pod, &container, &ImageConfig::default(), &instance(), "c")
            .map(|request| request["OCI"]["Process"]["User"]["AdditionalGids"].clone())
    };
    for policy in [json!(null), json!("Merge"), json!("Strict")] {
        let found =
            groups(json!({"supplementalGroups": [7], "fsGroup": 9, "supplementalGroupsPolicy": policy})).unwrap();
        for group in [0, 7, 9] {
            assert!(found.as_array().unwrap().contains(&json!(group)), "{found}");
        }
    }
    for (context, word) in [
        (json!({"supplementalGroupsPolicy": "Loose"}), "`Loose` is neither"),
        (json!({"runAsGroup": 7}), "a group of the pod without a user"),
        (json!({"supplementalGroups": [-1]}), "not a group number"),
        (json!({"fsGroup": 4_294_967_296_u64}), "not a group number"),
    ] {
        let error = groups(context).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_group_of_a_volume_is_said_for_memory_and_directories() {
    let pod = |group: Value| {
        json!({"metadata": {}, "spec": {"securityContext": {"fsGroup": group},
            "volumes": [{"name": "m", "emptyDir": {"medium": "Memory"}}, {"name": "d", "emptyDir": {}}]}})
    };
    let container = json!({"name": "c", "image": "x", "command": ["x"],
        "volumeMounts": [{"name": "m", "mountPath": "/m"}, {"name": "d", "mountPath": "/d"}]});
    let options = |group: Value| {
        let made = container_request(&pod(group), &container, &ImageConfig::default(), &instance(), "c").unwrap();
        (made["storages"][1]["options"].clone(), made["storages"][2]["options"].clone())
    };
    assert_eq!(options(json!(2000)), (json!(["fsgid=2000"]), json!(["mode=0777", "fsgid=2000"])));
    assert_eq!(options(json!(null)), (json!([]), json!(["mode=0777"])));
    assert_eq!(options(json!(0)), (json!([]), json!(["mode=0777"])));
}

#[test]
fn a_volume_of_the_image_is_never_left_to_the_host() {
    let image = ImageConfig { volumes: vec!["/data".into()], ..image() };
    let made = |mounts: Value| {
        let pod = json!({"metadata": {}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let container = json!({"name": "c", "image": "x", "command": ["x"], "volumeMounts": mounts});
        container_request(&pod, &container, &image, &instance(), "c")
    };
    assert!(made(json!([{"name": "v", "mountPath": "/data/"}])).is_ok());
    for mounts in
        [json!(null), json!([{"name": "v", "mountPath": "/data/x"}]), json!([{"name": "v", "mountPath": "/dat"}])]
    {
        let error = made(mounts).unwrap_err().to_string();
        assert!(error.contains("the image has a VOLUME `/data`"), "{error}");
    }
}

#[test]
fn the_token_is_mounted_unless_the_container_mounts_something_there() {
    let destination = "/var/run/secrets/kubernetes.io/serviceaccount";
    let pod = json!({"metadata": {}, "spec": {"automountServiceAccountToken": true, "volumes": [
        {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]}});
    for mounts in [json!([]), json!([{"name": "own", "mountPath": format!("{destination}/")}])] {
        let container = json!({"name": "c", "image": "x", "command": ["x"], "volumeMounts": mounts});
        let made = container_request(&pod, &container, &ImageConfig::default(), &instance(), "c").unwrap();
        let all = made["OCI"]["Mounts"].as_array().unwrap();
        let there = all.iter().filter(|mount| clean(mount["destination"].as_str().unwrap()) == destination);
        assert_eq!(there.count(), 1);
    }
}

#[test]
fn control_characters_pass_for_nothing() {
    // A mark of ours in the image, in a ConfigMap, in a Secret.
    for text in ["\u{1}ip\u{1}", "\u{0}", "a\u{1b}[0m", "\u{7f}", "\u{85}"] {
        let changes: [fn(&mut ImageConfig, String); 5] = [
            |image, text| image.env.push(format!("A={text}")),
            |image, text| image.entrypoint.push(text),
            |image, text| image.cmd.push(text),
            |image, text| image.working_dir = text,
            |image, text| image.user = text,
        ];
        let container = json!({"name": "c", "image": "x"});
        for change in changes {
            let mut image = image();
            change(&mut image, text.to_owned());
            let error = container_request(&json!({}), &container, &image, &instance(), "c").unwrap_err();
            assert!(error.to_string().contains("control character") && error.hint().is_some(), "{error}");
        }
        let mut instance = instance();
        instance.config_maps.insert("m".into(), json!({"kind": "ConfigMap", "data": {"a": text}}));
        instance.secrets.insert("s".into(), json!({"kind": "Secret", "stringData": {"k": text}}));
        for source in [
            json!({"envFrom": [{"configMapRef": {"name": "m"}}]}),
            json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a"}}}]}),
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        ] {
            let mut container = container.clone();
            container.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            let error = container_request(&json!({}), &container, &image(), &instance, "c").unwrap_err();
            assert!(error.to_string().contains("control character"), "{error}");
        }
    }
    assert_eq!(control_character("two\r\n\tlines \u{e9}"), None);
}

#[test]
fn capabilities_are_those_that_containerd_would_give() {
    let of = |capabilities: Value| {
        request(&json!({}), &json!({"securityContext": {"capabilities": capabilities}}))
            .map(|request| request["OCI"]["Process"]["Capabilities"]["Bounding"].clone())
    };
    for all in ["ALL", "all", "All"] {
        assert_eq!(
            of(json!({"drop": [all], "add": ["net_admin", "Chown"]})).unwrap(),
            json!(["CAP_NET_ADMIN", "CAP_CHOWN"])
        );
        assert!(of(json!({"add": [all]})).unwrap_err().to_string().contains("`ALL` is not supported"));
    }
    let kept = of(json!({"drop": ["net_raw", "MKNOD"]})).unwrap();
    assert_eq!(kept.as_array().unwrap().len(), DEFAULT_CAPABILITIES.len() - 2);
    for (bad, hint) in [
        (json!({"add": ["CAP_NET_ADMIN"]}), "write `NET_ADMIN`"),
        (json!({"drop": ["cap_net_raw"]}), "write `NET_RAW`"),
        (json!({"add": ["NET_ADMINN"]}), "capabilities(7)"),
        (json!({"add": [7]}), "capabilities(7)"),
    ] {
        let error = of(bad.clone()).unwrap_err();
        assert!(error.hint().is_some_and(|found| found.contains(hint)), "{bad}: {error}");
    }
    assert!(of(json!({"drop": "ALL"})).is_err());
}

#[test]
fn what_the_kubelet_alone_expands_is_refused() {
    let symbolic = PodInstance::symbolic("default", None);
    let of = |links: bool, text: &str, instance: &PodInstance| {
        let pod = json!({"spec": {"enableServiceLinks": links}});
        let env = json!([{"name": "OWN_SERVICE_HOST", "value": "own"}, {"name": "B", "value": text}]);
        let container = json!({"name": "c", "image": "x", "env": env});
        let in_env = container_request(&pod, &container, &image(), instance, "c");
        let container = json!({"name": "c", "image": "x", "args": [text],
            "env": [{"name": "OWN_SERVICE_HOST", "value": "own"}]});
        let in_args = container_request(&pod, &container, &image(), instance, "c");
        assert_eq!(in_env.is_ok(), in_args.is_ok(), "{text}");
        in_env.and(in_args)
    };
    for text in [
        "$(KUBERNETES_SERVICE_HOST)",
        "x$(KUBERNETES_PORT)",
        "$(KUBERNETES_PORT_443_TCP_ADDR)",
        "$(KUBERNETES_SERVICE_PORT_HTTPS)",
    ] {
        for links in [false, true] {
            let error = of(links, text, &symbolic).unwrap_err();
            assert!(error.to_string().contains("of a Service") && error.hint().is_some(), "{error}");
        }
        assert!(of(true, text, &instance()).is_ok());
    }
    assert!(of(true, "$(DB_SERVICE_HOST)", &symbolic).is_err());
    for text in
        ["$(DB_SERVICE_HOST)", "$(OWN_SERVICE_HOST)", "$$(KUBERNETES_SERVICE_HOST)", "$(KUBERNETES_PORTAL)", "$(OTHER)"]
    {
        assert!(of(false, text, &symbolic).is_ok(), "{text}");
    }
}

#[test]
fn what_controllers_write_on_pods_is_refused() {
    let of = |field: &str| {
        let env = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": field}}}]);
        request(&json!({}), &json!({ "env": env }))
    };
    for key in [
        "labels['pod-template-hash']",
        "labels['apps.kubernetes.io/pod-index']",
        "labels['batch.kubernetes.io/job-name']",
        "annotations['batch.kubernetes.io/job-completion-index']",
        "labels['statefulset.kubernetes.io/pod-name']",
        "labels['controller-revision-hash']",
        "labels['topology.kubernetes.io/zone']",
    ] {
        let error = of(&format!("metadata.{key}")).unwrap_err();
        assert!(error.to_string().contains("written by the cluster") && error.hint().is_some(), "{error}");
    }
    assert!(of("metadata.labels['l']").is_ok());
}

#[test]
fn amounts_of_any_size_are_read_or_named() {
    let of = |resources: Value| request(&json!({}), &json!({ "resources": resources }));
    let limits = of(json!({"limits": {"cpu": "1e3", "memory": "1Pi"}})).unwrap()["OCI"]["Linux"]["Resources"].clone();
    assert_eq!(limits["Memory"]["Limit"], json!(1_u64 << 50));
    assert_eq!((&limits["CPU"]["Quota"], &limits["CPU"]["Shares"]), (&json!(100_000_000), &json!(262_144)));
    let none = of(json!({"requests": {"cpu": "1n"}})).unwrap()["OCI"]["Linux"]["Resources"].clone();
    assert_eq!((&none["CPU"]["Quota"], &none["CPU"]["Shares"]), (&json!(0), &json!(2)));
    for (amount, word) in [
        (json!("340282366920938463463374607431768211"), "larger than any resource"),
        (json!("1e99"), "larger than any resource"),
        (json!("-1"), "negative"),
        (json!("1MB"), "not a quantity"),
        (json!([]), "not a quantity"),
    ] {
        for list in ["limits", "requests"] {
            let error = of(json!({list: {"cpu": amount}})).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(&format!("{list}.cpu")), "{error}");
        }
    }
}

#[test]
fn files_of_containerd_follow_the_root_file_system() {
    let of = |read_only: bool, destination: &str| {
        let request = request(&json!({}), &json!({"securityContext": {"readOnlyRootFilesystem": read_only}})).unwrap();
        let mounts = request["OCI"]["Mounts"].as_array().unwrap().clone();
        mounts.into_iter().find(|mount| mount["destination"] == destination).unwrap()["options"][2].clone()
    };
    for (destination, with, without) in [
        ("/etc/hostname", "ro", "rw"),
        ("/etc/resolv.conf", "ro", "rw"),
        ("/etc/hosts", "rw", "rw"),
        ("/dev/termination-log", "rw", "rw"),
    ] {
        assert_eq!((of(true, destination), of(false, destination)), (json!(with), json!(without)), "{destination}");
    }
}

#[test]
fn paths_are_handed_on_as_they_are_written() {
    let volumes = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]});
    let container = json!({"volumeMounts": [{"name": "v", "mountPath": "/data//x/"}], "workingDir": "/srv/./app/"});
    let request = request(&volumes, &container).unwrap();
    assert_eq!(request["OCI"]["Process"]["Cwd"], "/srv/./app/");
    let mounts = request["OCI"]["Mounts"].as_array().unwrap();
    let own = mounts.iter().find(|mount| mount["destination"] == "/data//x/").unwrap();
    assert!(own["source"].as_str().unwrap().ends_with("-x"), "{own}");
    let pod = json!({ "spec": volumes });
    assert!(
        mount_volume(&pod, &container, "/data//x/").is_some() && mount_volume(&pod, &container, "/data/x").is_some()
    );
}

#[test]
fn annotations_for_kata_reach_every_container() {
    let pod = json!({"metadata": {"annotations": {"io.katacontainers.config.hypervisor.default_memory": "512", "other": "x"}}});
    let container = json!({"name": "c", "image": "x"});
    let request = container_request(&pod, &container, &image(), &instance(), "c").unwrap();
    for annotations in [&request["OCI"]["Annotations"], &pause_request(&pod, &instance())["OCI"]["Annotations"]] {
        assert_eq!(annotations["io.katacontainers.config.hypervisor.default_memory"], "512");
        assert!(annotations["other"].is_null());
    }
}

#[test]
fn an_image_may_set_what_containerd_sets_before_it() {
    let image = ImageConfig { env: vec!["HOSTNAME=i".into(), "TERM=dumb".into()], ..image() };
    let container = json!({"name": "c", "image": "x", "tty": true, "env": [{"name": "TERM", "value": "pod"}]});
    let request = container_request(&json!({}), &container, &image, &instance(), "c").unwrap();
    let env = &request["OCI"]["Process"]["Env"];
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(json!(env.as_array().unwrap()[..3]), json!([path, "TERM=pod", "HOSTNAME=i"]));
}
