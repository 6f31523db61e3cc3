//! What `generate` makes of the example, and that it does so again.

use super::*;

#[tokio::test]
async fn the_example_becomes_confidential() {
    let rig = Rig::new();
    let report = rig.generate().await.unwrap();
    expect_file!["../../../tests/golden/deployment.yaml"]
        .assert_eq(&rig.stable(&rig.read("resources/deployment.yaml")));
    expect_file!["../../../tests/golden/casemate-coordinator.yml"]
        .assert_eq(&rig.stable(&rig.read("resources/casemate-coordinator.yml")));
    let initdata = Initdata::from_annotation(annotation(&rig.deployment())).unwrap();
    let policy = initdata.policy().unwrap();
    let data = &policy[policy.find(crate::policy_data::VALUES).unwrap()..];
    expect_file!["../../../tests/golden/policy_data.rego"].assert_eq(&rig.stable(data));
    // The others are as they were.
    let host = &rig.registry.host;
    assert_eq!(rig.read("resources/service.yaml"), SERVICE);
    assert_eq!(rig.read("resources/configmap.yaml"), CONFIG_MAP);
    assert!(rig.read("settings.json").contains(&format!("\"pod_image\": \"{host}/casemate-pod:0\"")));

    let manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    assert_eq!(manifest.policies.len(), 2);
    let workload = &manifest.policies[&initdata.identity()];
    assert_eq!((workload.names.as_slice(), workload.role), (["inference".to_owned()].as_slice(), Role::Workload));
    assert_eq!(workload.secrets.iter().collect::<Vec<_>>(), ["digits-model-key"]);
    assert_eq!(report.workloads[0].resource, "StatefulSet/coordinator");
    assert_eq!(report.workloads[1].identity, initdata.identity());
    assert_eq!(report.workloads[1].secrets, ["digits-model-key"]);
    assert!(report.workloads[1].images.iter().all(|(_, image)| image.starts_with(host) && image.contains("@sha256:")));
    assert!(!report.up_to_date && report.changed.len() == 4, "{:?}", report.changed);

    let settings = initdata.settings().unwrap();
    assert_eq!(settings.coordinator, Some(report.workloads[0].identity));
    assert_eq!(settings.deployment_id, manifest.deployment_id);
    assert_eq!(settings.files["digits"].len(), 2);
    let ports: Vec<_> = settings.ingress.iter().map(|i| (i.name.as_str(), i.port, i.client_certificate)).collect();
    assert_eq!(ports, [("http", 8080, false)]);
    assert!(settings.mesh && settings.open_ports.is_empty());
    // The aims are 20,000 and 8,000; these are what is reached.
    let (document, annotation) = (initdata.document().len(), initdata.to_annotation().len());
    assert!(document < 21_500 && annotation < 9_600, "{document} bytes, {annotation} characters");
}

#[tokio::test]
async fn the_requests_of_every_generated_pod_are_allowed_and_no_others() {
    let rig = Rig::new();
    let mut tried = 0;
    rig.generate().await.unwrap();
    let pod_image = ImageConfig { entrypoint: vec!["/casemate-pod".into()], ..ImageConfig::default() };
    let digits = ImageConfig {
        entrypoint: vec!["/casemate-serve".into()],
        env: vec!["PATH=/".into()],
        working_dir: "/".into(),
        ..ImageConfig::default()
    };
    for file in ["resources/deployment.yaml", "resources/casemate-coordinator.yml"] {
        let resource = yaml::parse(&rig.read(file)).unwrap().remove(0).tree;
        let pod = &resource["spec"]["template"];
        let initdata = Initdata::from_annotation(annotation(&resource)).unwrap();
        let instance = PodInstance {
            name: pod_name(&resource, 1),
            hostname: pod_name(&resource, 1),
            namespace: "default".into(),
            uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
            sandbox_id: "a".repeat(64),
            pod_ip: "10.0.0.7".into(),
            service_env: vec![("KUBERNETES_SERVICE_HOST".into(), "fd00::1".into())],
            ..PodInstance::default()
        };
        let mut life = vec![
            ("CreateSandboxRequest", sandbox_request(pod, &instance)),
            ("CreateContainerRequest", pause_request(pod, &instance)),
        ];
        let lists = ["initContainers", "containers"];
        let containers = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
        for (index, container) in containers.enumerate() {
            let image = if container["name"] == "server" { &digits } else { &pod_image };
            let request = container_request(pod, container, image, &instance, &format!("{index:064x}")).unwrap();
            life.push(("CreateContainerRequest", request));
        }
        // Every request passes, and none does with one field changed.
        let policy = initdata.policy().unwrap();
        engine_after(policy, &life, life.len());
        tried += every_change_is_refused(policy, &life);
    }
    assert!(tried > 5000, "only {tried} changes were tried");
}

#[tokio::test]
async fn running_twice_changes_nothing() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    let once = rig.snapshot();
    let report = rig.generate().await.unwrap();
    assert!(report.up_to_date && report.changed.is_empty(), "{:?}", report.changed);
    assert_eq!(rig.snapshot(), once);
    let mut check = rig.options();
    check.check = true;
    assert!(generate(&check).await.unwrap().up_to_date);
}

#[tokio::test]
async fn what_endangers_the_pod_is_said() {
    let rig = Rig::new();
    let root = DEPLOYMENT
        .replace("runAsUser: 65532", "runAsUser: 0")
        .replace("            runAsNonRoot: true\n", "            seccompProfile: {type: RuntimeDefault}\n")
        .replace("drop: [\"ALL\"]", "add: [\"NET_ADMIN\"]")
        .replace(
            "    metadata:\n      labels:\n        app: inference\n    spec:",
            "    metadata:\n      annotations: {casemate.dev/allow-capabilities: NET_ADMIN}\n      labels:\n        app: inference\n    spec:",
        );
    rig.write("resources/deployment.yaml", &root);
    let notices = rig.generate().await.unwrap().workloads.remove(1).notices.join("\n");
    for expected in
        ["container `server` runs as root", "with CAP_SETUID it can", "with CAP_NET_ADMIN it can", "AppArmor"]
    {
        assert!(notices.contains(expected), "{expected}: {notices}");
    }
}

#[tokio::test]
async fn two_deployments_of_the_same_files_differ_in_identity() {
    let (one, two) = (Rig::new(), Rig::new());
    let first = one.generate().await.unwrap();
    std::fs::remove_file(one.dir.path().join("manifest.json")).unwrap();
    let second = one.generate().await.unwrap();
    drop(two);
    assert_ne!(first.deployment_id, second.deployment_id);
    assert_ne!(first.workloads[1].identity, second.workloads[1].identity);
}

#[tokio::test]
async fn an_image_that_changes_its_command_is_followed() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    rig.registry.push("casemate/digits", "2", &json!({"Entrypoint": ["/other"], "Cmd": ["unused"]}));
    let text = rig.read("resources/deployment.yaml");
    let pinned = text.lines().find(|line| line.contains("casemate/digits")).unwrap().trim().to_owned();
    rig.write("resources/deployment.yaml", &text.replace(&pinned, "image: localhost:5000/casemate/digits:2"));
    rig.generate().await.unwrap();
    let container = rig.deployment()["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(container["command"], json!([LAUNCHER, "server", "--", "/other"]));
    assert_eq!(container["args"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_pod_may_go_without_injection() {
    let rig = Rig::new();
    let text = DEPLOYMENT.replace("    metadata:\n      labels:\n        app: inference\n    spec:", "    metadata:\n      annotations: {casemate.dev/skip-initializer: \"true\"}\n      labels:\n        app: inference\n    spec:");
    assert_ne!(text, DEPLOYMENT);
    rig.write("resources/deployment.yaml", &text);
    let report = rig.generate().await.unwrap();
    let spec = rig.deployment()["spec"]["template"]["spec"].clone();
    assert!(spec["initContainers"].is_null() && spec["containers"][0]["command"].is_null());
    assert!(report.workloads[1].notices.iter().any(|notice| notice.contains("nothing is injected")));
    let settings = Initdata::from_annotation(annotation(&rig.deployment())).unwrap().settings().unwrap();
    assert!(!settings.mesh && settings.files.is_empty());
    // Changing one's mind adds everything.
    let injected = rig
        .read("resources/deployment.yaml")
        .replace("casemate.dev/skip-initializer: \"true\"", "a: b")
        .replace("{\"casemate.dev/skip-initializer\":\"true\"", "{\"a\":\"b\"");
    rig.write("resources/deployment.yaml", &injected);
    rig.generate().await.unwrap();
    assert!(rig.read("resources/deployment.yaml").contains("casemate-initializer"));
}

#[tokio::test]
async fn annotations_add_secrets_and_names() {
    let rig = Rig::new();
    let text = DEPLOYMENT.replace("    metadata:\n      labels:\n        app: inference\n    spec:", "    metadata:\n      annotations:\n        casemate.dev/secrets: a, b\n        casemate.dev/names: digits.example.org\n      labels:\n        app: inference\n    spec:");
    rig.write("resources/deployment.yaml", &text);
    rig.generate().await.unwrap();
    let manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    let entry = manifest.policies.values().find(|entry| entry.role == Role::Workload).unwrap();
    assert_eq!(entry.secrets.iter().collect::<Vec<_>>(), ["a", "b", "digits-model-key"]);
    assert_eq!(entry.names, ["inference", "digits.example.org"]);
    for (key, value) in [("secrets", "a/b"), ("names", "Bad_Name")] {
        let text = text
            .replace("casemate.dev/secrets: a, b", &format!("casemate.dev/{key}: {value}"))
            .replace("        casemate.dev/names: digits.example.org\n", "");
        let got = words(&error_of("resources/deployment.yaml", &text).await);
        assert!(got.contains(&format!("`spec.template.metadata.annotations.casemate.dev/{key}`")), "{got}");
    }
}

#[tokio::test]
async fn a_coordinator_of_the_user_is_used() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    let own = rig.read("resources/casemate-coordinator.yml").replace("storage: 1Gi", "storage: 9Gi");
    assert!(own.contains("9Gi"));
    std::fs::remove_file(rig.dir.path().join("resources/casemate-coordinator.yml")).unwrap();
    rig.write("resources/my-coordinator.yaml", &own);
    let report = rig.generate().await.unwrap();
    assert!(report.up_to_date, "{:?}", report.changed);
    rig.write(
        "resources/second.yaml",
        &own.replace("name: coordinator\n", "name: second\n").replace("coordinator-store", "second-store"),
    );
    let got = words(&rig.generate().await.unwrap_err());
    assert!(got.contains("there is another Coordinator"), "{got}");
}

#[tokio::test]
async fn the_initdata_of_one_container_stays_small() {
    let rig = Rig::new();
    std::fs::remove_dir_all(rig.dir.path().join("resources")).unwrap();
    rig.write("resources/app.yaml", &format!("{{apiVersion: v1, kind: Pod, metadata: {{name: app}}, spec: {POD}}}\n"));
    rig.generate().await.unwrap();
    let pod = yaml::parse(&rig.read("resources/app.yaml")).unwrap().remove(0).tree;
    let annotation = pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap();
    let initdata = Initdata::from_annotation(annotation).unwrap();
    let (document, annotation) = (initdata.document().len(), annotation.len());
    assert!(document < 20 * 1024 && annotation < 9 * 1024, "{document} and {annotation} bytes");
}
