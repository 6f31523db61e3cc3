//! What is refused, with its place, and that nothing is written then.

use super::*;

#[tokio::test]
async fn bad_resources_are_refused_with_their_place_and_nothing_is_written() {
    let deployment = |from: &str, to: &str| {
        assert!(DEPLOYMENT.contains(from), "{from}");
        DEPLOYMENT.replace(from, to)
    };
    let spec = |line: &str| {
        deployment("      runtimeClassName: casemate\n", &format!("      runtimeClassName: casemate\n      {line}\n"))
    };
    let container = |line: &str| deployment("          env:\n", &format!("          {line}\n          env:\n"));
    let volume =
        |line: &str| deployment("          configMap:\n            name: digits\n", &format!("          {line}\n"));
    let annotated = |line: &str| {
        let template = "  template:\n    metadata:\n";
        deployment(template, &format!("{template}      annotations: {{{line}}}\n"))
    };
    let cases = [
        (annotated("casemate.dev/ingress: \"\""), "casemate.dev/ingress`: no annotation that anything is done with"),
        (annotated("casemate.dev/secret: x"), "no annotation that anything is done with"),
        (annotated("casemate.dev/skip-initializer: \"yes\""), "\"yes\" is neither \"true\" nor \"false\""),
        (
            annotated("io.katacontainers.config.agent.policy: cGFja2FnZSBh"),
            "agent.policy`: a policy of its own beside the one that is generated",
        ),
        (
            annotated("io.katacontainers.config.hypervisor.kernel_params: agent.log=debug"),
            "kernel_params`: the guest would boot otherwise",
        ),
        (
            deployment("metadata:\n  name", "metadata:\n  annotations: {casemate.dev/open-ports: \"1\"}\n  name"),
            "an annotation of the Deployment, not of its pods",
        ),
        (deployment("replicas: 2", "replicas: [2"), "deployment.yaml:"),
        (deployment("  name: inference", "   name: inference"), "deployment.yaml:6:"),
        (
            deployment("kind: Deployment", "kind: Deploymnt"),
            "deployment.yaml:2: kind `Deploymnt` (apps/v1) is not known",
        ),
        (deployment("kind: Deployment", "kind: CronJob"), "kind `CronJob` (apps/v1) is not known"),
        (deployment("kind: Deployment\n", ""), "no Kubernetes object: it has no `kind`"),
        (deployment("  name: inference\n", "  name: Not_A_Name\n"), "no valid `metadata.name`"),
        (deployment("casemate/digits:1", "casemate/digits:2"), "image `"),
        (deployment("casemate/digits:1", "casemate/DIGITS/:1"), "is not an image reference"),
        (
            deployment("            name: digits\n", "            name: nothing\n"),
            "ConfigMap `nothing` is not among the inputs",
        ),
        (
            deployment("name: digits\n              mountPath", "name: nothing\n              mountPath"),
            "no volume has the name `nothing`",
        ),
        (deployment("mountPath: /etc/digits", "mountPath: /etc/digits/../x"), "must not hold `..`"),
        (
            deployment("mountPath: /etc/digits", "mountPath: /etc/hosts"),
            "\"/etc/hosts\" is mounted twice, or is the guest's own",
        ),
        (deployment("readOnly: true", "subPath: x"), "volume `digits` has no file `x`"),
        (deployment("port: 8080", "port: nothing"), "\"nothing\" is not a port"),
        (
            deployment(
                "httpGet:\n              path: /v2/health/live\n              port: 8080",
                "exec: {command: []}",
            ),
            "livenessProbe.exec.command`: no command",
        ),
        (deployment("runAsUser: 65532", "runAsUser: root"), "runAsUser`: not a whole number"),
        (deployment("runAsUser: 65532", "runAsUser: 0"), "the container would run as root"),
        (deployment("runAsUser: 65532", "privileged: true"), "a privileged container is not supported"),
        (deployment("drop: [\"ALL\"]", "add: [\"ALL\"]"), "`ALL` is not supported"),
        (
            deployment("cpu: \"1\"", "nvidia.com/gpu: 1"),
            "limits.nvidia.com/gpu`: a GPU that the node's container runtime lends",
        ),
        (
            deployment("value: info", "valueFrom: {secretKeyRef: {name: s, key: k}}"),
            "Secret `s` is not among the inputs",
        ),
        (
            deployment("value: info", "valueFrom: {fieldRef: {fieldPath: status.x}}"),
            "field `status.x` is not supported",
        ),
        (deployment("value: info", "value: 7"), "env[0].value`: not a string"),
        (spec("hostNetwork: true"), "`spec.template.spec.hostNetwork`: not supported"),
        (spec("hostPID: true"), "`spec.template.spec.hostPID`: not supported"),
        (spec("ephemeralContainers: [{name: x}]"), "`spec.template.spec.ephemeralContainers`: not supported"),
        (spec("resourceClaims: [{name: x}]"), "`spec.template.spec.resourceClaims`: not supported"),
        (container("volumeDevices: [{name: x, devicePath: /dev/x}]"), "volumeDevices`: not supported"),
        (container("lifecycle: {preStop: {tcpSocket: {port: 1}}}"), "Kubernetes does not connect for a hook"),
        (container("lifecycle: {preStop: {}}"), "lifecycle.preStop`: it does not say one thing"),
        (container("lifecycle: {postStart: {sleep: {seconds: 1}, exec: {command: [x]}}}"), "does not say one thing"),
        (container("lifecycle: {preStop: {exec: {command: sh}}}"), "exec.command`: not a list of strings"),
        (container("lifecycle: {preStart: {exec: {command: [x]}}}"), "lifecycle.preStart`: not supported"),
        (spec("shareProcessNamespace: true"), "not supported beside the mesh"),
        (deployment("runAsUser: 65532", "runAsUser: 1313"), "1313 is the mesh's"),
        (deployment("runAsGroup: 65532", "runAsGroup: 1313"), "1313 is the mesh's"),
        (spec("securityContext: {fsGroup: 1313}"), "1313 is the mesh's"),
        (deployment("drop: [\"ALL\"]", "add: [\"NET_ADMIN\"]"), "`NET_ADMIN` lets it undo"),
        (deployment("drop: [\"ALL\"]", "add: [\"sys_admin\"]"), "`SYS_ADMIN` lets it undo"),
        (deployment("drop: [\"ALL\"]", "add: [\"CAP_SYS_ADMIN\"]"), "\"CAP_SYS_ADMIN\" is not a capability"),
        (deployment("drop: [\"ALL\"]", "ad: [\"X\"]"), "capabilities.ad`: not supported"),
        (deployment("runAsUser: 65532", "runAsUsr: 65532"), "securityContext.runAsUsr`: not supported"),
        (deployment("runAsUser: 65532", "seccompProfile: {type: Localhost}"), "would not enforce"),
        (deployment("runAsUser: 65532", "appArmorProfile: {}"), "would not enforce"),
        (spec("securityContext: {seccompProfile: {type: Localhost}}"), "would not enforce"),
        (
            format!("{DEPLOYMENT}---\n{}", DEPLOYMENT.replace("kind: Deployment", "kind: StatefulSet")),
            "has the same name",
        ),
        (volume("hostPath: {path: /etc}"), "`hostPath` is not supported: a path of the host"),
        (volume("csi: {driver: x}"), "`csi` is not supported: the driver on the host"),
        (volume("projected: {sources: [{}]}"), "projected.sources[0]`: a source has one kind"),
        (deployment("- name: server", "- name: casemate-mesh"), "the name `casemate-mesh` is reserved"),
        (DEPLOYMENT.replace("name: digits", "name: casemate-done"), "the name `casemate-done` is reserved"),
        (
            deployment("mountPath: /etc/digits", "mountPath: /casemate-done/x"),
            "`/casemate-done/x` reaches `/casemate-done`",
        ),
        (format!("{DEPLOYMENT}---\n{DEPLOYMENT}"), "Deployment/inference is already in"),
    ];
    for (text, expected) in cases {
        let error = error_of("resources/deployment.yaml", &text).await;
        let got = words(&error);
        assert!(got.contains(expected), "expected `{expected}`, got `{got}`");
        assert!(got.contains("deployment.yaml:"), "{got}");
        assert!(!error.could_not_tell(), "{got}");
    }
}

#[tokio::test]
async fn errors_name_the_line() {
    for (from, to, line) in [
        ("          image: localhost", "          image: x/localhost", None),
        ("casemate/digits:1", "casemate/digits:2", Some("image: ")),
        ("value: info", "value: 7", Some("value: 7")),
        ("runAsUser: 65532", "runAsUser: x", Some("runAsUser: x")),
        ("mountPath: /etc/digits", "mountPath: etc", Some("- name: digits")),
    ] {
        let Some(line) = line else { continue };
        let text = DEPLOYMENT.replace(from, to);
        let number = text.lines().position(|found| found.contains(line)).unwrap() + 1;
        let got = words(&error_of("resources/deployment.yaml", &text).await);
        assert!(got.contains(&format!("deployment.yaml:{number}:")), "line {number}: {got}");
    }
}

#[tokio::test]
async fn errors_name_the_whole_path_with_number_and_name_of_the_container() {
    let sidecar = "        - name: first\n          image: localhost:5000/casemate/digits:1\n        - name: server\n";
    let two = DEPLOYMENT.replace("        - name: server\n", sidecar);
    let wrong = two.replace("mountPath: /etc/digits", "mountPath: /etc/digits/../x");
    assert_ne!(wrong, DEPLOYMENT);
    let got = words(&error_of("resources/deployment.yaml", &wrong).await);
    assert!(got.contains("`spec.template.spec.containers[1](server).volumeMounts"), "{got}");
    let line = wrong.lines().position(|line| line.contains("/etc/digits/../x")).unwrap();
    assert!([line, line + 1].iter().any(|line| got.contains(&format!("deployment.yaml:{line}:"))), "{line}: {got}");
    let pod = "kind: Pod\nmetadata: {name: p}\nspec: {runtimeClassName: casemate, initContainers: [{name: i, image: \
               localhost:5000/casemate/digits:1, securityContext: {privileged: true}}], containers: [{name: c, image: \
               localhost:5000/casemate/digits:1}]}\n";
    let got = words(&error_of("resources/pod.yaml", pod).await);
    assert!(got.contains("pod.yaml:3: Pod/p: `spec.initContainers[0](i)"), "{got}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_an_image_that_is_missing() {
    let rig = Rig::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.write("resources/deployment.yaml", &DEPLOYMENT.replace("localhost:5000", &free.to_string()));
    let before = rig.snapshot();
    let error = rig.generate().await.unwrap_err();
    assert!(error.could_not_tell() && error.hint().is_some(), "{}", words(&error));
    assert_eq!(rig.snapshot(), before);
    let mut options = rig.options();
    options.pod_image = Some(format!("{free}/casemate-pod:0"));
    let error = generate(&options).await.unwrap_err();
    assert!(error.could_not_tell() && words(&error).contains("pod_image"), "{}", words(&error));
}

#[tokio::test]
async fn missing_inputs_are_told_apart() {
    let rig = Rig::new();
    let with = |change: fn(&mut GenerateOptions)| {
        let mut options = rig.options();
        change(&mut options);
        options
    };
    let error = generate(&with(|o| o.paths = vec!["/nowhere".into()])).await.unwrap_err();
    assert!(matches!(error, GenerateError::Read { .. }) && !error.could_not_tell());
    let empty = tempfile::tempdir().unwrap();
    let mut options = rig.options();
    options.paths = vec![empty.path().to_owned()];
    assert!(matches!(generate(&options).await.unwrap_err(), GenerateError::NoFiles { .. }));
    let error = generate(&with(|o| o.platforms = vec!["metal".into()])).await.unwrap_err();
    assert!(matches!(error, GenerateError::Platform { .. }) && error.hint().is_some());
    let error = generate(&with(|o| o.software = None)).await.unwrap_err();
    assert!(matches!(error, GenerateError::NoReferenceValues { .. }));
    let error = generate(&with(|o| o.owner_keys.clear())).await.unwrap_err();
    assert!(matches!(error, GenerateError::NoKeys { field: "owners" }), "{}", words(&error));
    std::fs::write(rig.dir.path().join("resources/deployment.yaml"), "kind: Namespace\nmetadata: {name: x}\n").unwrap();
    let error = rig.generate().await.unwrap_err();
    assert!(matches!(error, GenerateError::NoWorkload) && error.hint().is_some());
}

/// The example with a line after the container's `args`.
fn with_container(line: &str) -> String {
    DEPLOYMENT.replace("          env:\n", &format!("          {line}\n          env:\n"))
}

#[tokio::test]
async fn nothing_of_the_hosts_reaches_the_launcher() {
    let mounted = |path: &str| DEPLOYMENT.replace("mountPath: /etc/digits", &format!("mountPath: {path}"));
    for path in [
        "/casemate",
        "/casemate/",
        "//casemate",
        "/casemate/bin",
        "/casemate/bin/launch",
        "/./casemate/secrets",
        "/casemate-in",
        "/casemate-in/podinfo",
        "/casemate-files/x",
        "casemate/bin",
    ] {
        let got = words(&error_of("resources/deployment.yaml", &mounted(path)).await);
        assert!(
            got.contains("volumeMounts[0].mountPath`") && got.contains("belongs to the initializer"),
            "{path}: {got}"
        );
    }
    for path in ["/", "//", "/."] {
        let error = error_of("resources/deployment.yaml", &mounted(path)).await;
        assert!(words(&error).contains("mountPath"), "{path}: {}", words(&error));
    }
    for path in ["/casemate/bin/launch", "/casemate-in/../casemate/x", "/x/../casemate/bin/launch", "log", "/"] {
        let got = words(
            &error_of("resources/deployment.yaml", &with_container(&format!("terminationMessagePath: {path}"))).await,
        );
        assert!(got.contains("terminationMessagePath"), "{path}: {got}");
    }
    let rig = Rig::new();
    rig.write("resources/deployment.yaml", &mounted("/casemates/bin/"));
    let report = rig.generate().await.unwrap();
    assert!(rig.read("resources/deployment.yaml").contains("mountPath: /casemates/bin\n"));
    assert!(report.workloads[1].notices.iter().any(|notice| notice.contains("`/casemates/bin`")), "{report:?}");
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn nothing_is_mounted_inside_what_the_host_fills() {
    let claims = |outer: &str, inner: &str| {
        let mounts = format!(
            "volumeMounts:\n            - {{name: c, mountPath: {outer}}}\n            - {{name: m, mountPath: {inner}}}\n"
        );
        DEPLOYMENT
            .replace("volumeMounts:\n", &mounts)
            .replace("      volumes:\n", "      volumes:\n        - {name: c, persistentVolumeClaim: {claimName: c}}\n        - {name: m, emptyDir: {}}\n")
    };
    for (outer, inner) in [("/data", "/data/x"), ("/data/", "/data/x/y"), ("/etc", "/x"), ("/var", "/var/x")] {
        let got = words(&error_of("resources/deployment.yaml", &claims(outer, inner)).await);
        assert!(got.contains("whose content is the host's"), "{outer} {inner}: {got}");
    }
    let rig = Rig::new();
    rig.write("resources/deployment.yaml", &claims("/data", "/data-x"));
    rig.generate().await.unwrap();
}

#[tokio::test]
async fn no_text_passes_for_a_value_of_the_cluster() {
    for (from, to, path) in [
        ("value: info", "value: \"\\x01ip\\x01\"", "env[0](LOG_LEVEL).value"),
        ("value: info", "value: \"a\\u001b[0m\"", "env[0](LOG_LEVEL).value"),
        ("- --labels", "- \"\\0\"", "containers[0](server).args[4]"),
        ("        app: inference\n    spec:", "        app: \"\\x7f\"\n    spec:", "metadata.labels.app"),
        ("- name: LOG_LEVEL", "- name: \"\\x01\"", "env[0].name"),
    ] {
        let text = DEPLOYMENT.replace(from, to);
        assert_ne!(text, DEPLOYMENT);
        let error = error_of("resources/deployment.yaml", &text).await;
        let got = words(&error);
        assert!(got.contains("control character") && got.contains(path) && error.hint().is_some(), "{got}");
    }
    // In a file of a ConfigMap any text may stand; in a variable it may not.
    let rig = Rig::new();
    rig.write("resources/configmap.yaml", &format!("{CONFIG_MAP}  esc: \"\\e[0m\"\n"));
    rig.generate().await.unwrap();
    let got = words(
        &error_of(
            "resources/deployment.yaml",
            &format!(
                "{}---\nkind: ConfigMap\nmetadata: {{name: esc}}\ndata: {{a: \"\\x01ip\\x01\"}}\n",
                DEPLOYMENT.replace("value: info", "valueFrom: {configMapKeyRef: {name: esc, key: a}}")
            ),
        )
        .await,
    );
    assert!(got.contains("`a` holds the control character U+0001"), "{got}");
}

#[tokio::test]
async fn names_that_the_policy_could_not_foresee_are_refused() {
    let resource = |kind: &str, name: &str, spec: &str| format!("kind: {kind}\nmetadata: {{{name}}}\nspec: {spec}\n");
    let template = format!("{{template: {{spec: {POD}}}}}");
    let long = "x".repeat(64);
    for (text, word) in [
        (
            resource("Job", "name: a", &format!("{{completionMode: Indexed, template: {{spec: {POD}}}}}")),
            "`spec.completions`: no number of pods",
        ),
        (
            resource("Job", "name: a", &format!("{{completionMode: Sorted, template: {{spec: {POD}}}}}")),
            "`spec.completionMode`: neither",
        ),
        (
            resource(
                "Job",
                &format!("name: {}", "x".repeat(61)),
                &format!("{{completionMode: Indexed, completions: 11, template: {{spec: {POD}}}}}"),
            ),
            "it is the host name of a pod",
        ),
        (
            resource(
                "Job",
                "name: a.b",
                &format!("{{completionMode: Indexed, completions: 1, template: {{spec: {POD}}}}}"),
            ),
            "it is the host name of a pod",
        ),
        (
            resource(
                "Job",
                "name: a",
                &format!(
                    "{{template: {{metadata: {{labels: {{batch.kubernetes.io/job-completion-index: '1'}}}}, spec: {POD}}}}}"
                ),
            ),
            "the index of a pod, in the template of all",
        ),
        (
            resource(
                "CronJob",
                "name: a",
                &format!(
                    "{{jobTemplate: {{spec: {{completionMode: Indexed, completions: 0, template: {{spec: {POD}}}}}}}}}"
                ),
            ),
            "`spec.jobTemplate.spec.completions`: no number of pods",
        ),
        (
            resource(
                "CronJob",
                &format!("name: {}", "x".repeat(52)),
                &format!(
                    "{{jobTemplate: {{spec: {{completionMode: Indexed, completions: 11, template: {{spec: {POD}}}}}}}}}"
                ),
            ),
            "it is the host name of a pod",
        ),
        (
            resource(
                "CronJob",
                &format!("name: {}", "x".repeat(53)),
                &format!("{{jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}"),
            ),
            "longer than 52",
        ),
        (resource("Pod", &format!("name: {long}"), POD), "longer than 63"),
        (resource("StatefulSet", &format!("name: {}", "x".repeat(62)), &template), "longer than 63"),
        (resource("Deployment", "generateName: a-", &template), "no valid `metadata.name`"),
        (resource("Pod", "generateName: 7", POD), "no valid `metadata.name`"),
        (resource("Pod", "name: a", &POD.replace("{runtime", "{hostname: a.b, runtime")), "`a.b` is no host name"),
        (resource("Pod", "name: a", &POD.replace("name: c,", "name: C/x,")), "`C/x` is no valid name"),
        (resource("Pod", "name: a", &POD.replace("}]", "}, {name: c, image: z}]")), "the name `c` is there twice"),
        (
            resource("Pod", "name: a", &POD.replace("{runtime", "{volumes: [{name: a/b}], runtime")),
            "`a/b` is no valid name",
        ),
        (resource("Pod", "name: a, namespace: A", POD), "no valid `metadata.namespace`"),
        (resource("Pod", "name: a, namespace: 7", POD), "no valid `metadata.namespace`"),
    ] {
        let got = words(&error_of("resources/more.yaml", &text).await);
        assert!(got.contains(word) && got.contains("more.yaml:"), "{word}: {got}");
    }
    let rig = Rig::new();
    let hostname = POD.replace("{runtime", "{hostname: short, runtime");
    rig.write("resources/more.yaml", &resource("Pod", &format!("name: {long}"), &hostname));
    let error = rig.generate().await;
    // A certificate's name has labels of 63 at most.
    assert!(error.is_err_and(|error| words(&error).contains("is no DNS name")));
}

#[tokio::test]
async fn no_value_anywhere_in_a_pod_makes_generate_panic() {
    let rig = Rig::new();
    let mut options = rig.options();
    options.check = true;
    options.paths = vec![STDIN.into()];
    let tree = yaml::parse(&DEPLOYMENT.replace("localhost:5000", &rig.registry.host)).unwrap().remove(0).tree;
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
    let mut pointers = Vec::new();
    walk(&tree, "", &mut pointers);
    let odd = [
        json!(null),
        json!(""),
        json!("340282366920938463463374607431768211"),
        json!(-1),
        json!(1e300),
        json!([null]),
        json!({"": {}}),
    ];
    let mut refused = 0;
    for (index, pointer) in pointers.iter().enumerate().skip(1) {
        // Another image would be asked for at another registry.
        for offset in (0..3).filter(|_| !pointer.ends_with("/image")) {
            let mut tree = tree.clone();
            *tree.pointer_mut(pointer).unwrap() = odd[(index * 3 + offset) % odd.len()].clone();
            let text = format!("{}---\n{CONFIG_MAP}", yaml::emit_document(&tree));
            options.stdin = Some(text.into_bytes());
            match generate(&options).await {
                Ok(_) => {}
                Err(error) => {
                    refused += 1;
                    assert!(!error.could_not_tell(), "{pointer}: {}", words(&error));
                }
            }
        }
    }
    assert!(refused > 50, "{refused} of {}", pointers.len() * 3);
}

#[tokio::test]
async fn initdata_of_another_is_not_replaced() {
    let with = |annotation: &str| {
        let template = "  template:\n    metadata:\n";
        let key = protocol::initdata::ANNOTATION;
        DEPLOYMENT.replace(template, &format!("{template}      annotations: {{{key}: \"{annotation}\"}}\n"))
    };
    let document = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"aa.toml\" = \"x\"\n";
    let own = Initdata::parse(document).unwrap().to_annotation();
    let error = error_of("resources/deployment.yaml", &with(&own)).await;
    let text = words(&error);
    assert!(text.contains("cc_init_data`: initdata of your own") && error.hint().is_some(), "{text}");
    // What cannot be read is ours, damaged by a merge, and is written anew.
    let rig = Rig::new();
    rig.write("resources/deployment.yaml", &with("<<<<<<<"));
    rig.generate().await.unwrap();
    assert!(Initdata::from_annotation(annotation(&rig.deployment())).is_ok());
}
