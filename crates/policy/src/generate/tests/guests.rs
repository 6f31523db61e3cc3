//! The size of guests, their devices, and resources that were written for Contrast.

use super::*;

const POD_METADATA: &str = "    metadata:\n      labels:\n        app: inference\n    spec:";

fn annotated(text: &str, annotations: &str) -> String {
    assert!(text.contains(POD_METADATA));
    let metadata = format!(
        "    metadata:\n      annotations: {{{annotations}}}\n      labels:\n        app: inference\n    spec:"
    );
    text.replace(POD_METADATA, &metadata)
}

#[tokio::test]
async fn every_guest_is_sized_and_the_arithmetic_is_shown() {
    let rig = Rig::new();
    let report = rig.generate().await.unwrap();
    let resources = &report.workloads[1].resources;
    assert_eq!(resources.overhead, 256 << 20);
    // The injected containers count.
    let names: Vec<&str> = resources.containers.iter().map(|share| share.name.as_str()).collect();
    assert_eq!(names, [INITIALIZER, MESH, "server"]);
    assert!(resources.arithmetic.contains("64 casemate-mesh"), "{}", resources.arithmetic);
    assert!(report.workloads.iter().all(|workload| workload.resources.images.is_none()));
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["workloads"][1]["resources"]["containers"][2]["memory"].is_u64(), "{json}");
    // A RuntimeClass among the inputs says its overhead.
    let rig = Rig::new();
    let class = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: casemate}\nhandler: x\noverhead: {podFixed: {memory: 1Gi}}\n";
    rig.write("resources/class.yaml", class);
    let report = rig.generate().await.unwrap();
    assert_eq!(report.workloads[1].resources.overhead, 1 << 30);
    assert_eq!(report.workloads[1].resources.overhead_from, "RuntimeClass");
    assert_eq!(rig.read("resources/class.yaml"), class);
}

#[tokio::test]
async fn memory_for_images_is_written_once_and_taken_off_again() {
    let rig = Rig::new();
    let mut options = rig.options();
    options.image_memory = true;
    let report = generate(&options).await.unwrap();
    assert!(report.workloads.iter().all(|workload| workload.resources.images.is_some()));
    let deployment = rig.deployment();
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations[MEMORY_ANNOTATION].as_str().unwrap().parse::<u64>().unwrap() >= 256, "{annotations}");
    assert_eq!(annotations[IMAGE_MEMORY_ANNOTATION], "true");
    // It is bound like every annotation that reaches the agent.
    let initdata = Initdata::from_annotation(annotation(&deployment)).unwrap();
    assert!(initdata.policy().unwrap().contains(MEMORY_ANNOTATION));
    assert!(generate(&options).await.unwrap().up_to_date);
    options.image_memory = false;
    generate(&options).await.unwrap();
    assert!(!rig.read("resources/deployment.yaml").contains("memory: \"true\""));
    assert!(!rig.read("resources/deployment.yaml").contains(MEMORY_ANNOTATION));
}

#[tokio::test]
async fn a_guest_that_is_too_small_is_refused_with_the_arithmetic() {
    let small = annotated(DEPLOYMENT, &format!("{MEMORY_ANNOTATION}: \"128\""));
    let error = error_of("resources/deployment.yaml", &small).await;
    let got = words(&error);
    assert!(got.contains("128 MiB are too few") && got.contains("256 overhead +") && error.hint().is_some(), "{got}");
    let rig = Rig::new();
    let enough = annotated(DEPLOYMENT, &format!("{MEMORY_ANNOTATION}: \"4096\""));
    rig.write("resources/deployment.yaml", &enough);
    rig.generate().await.unwrap();
    let deployment = rig.deployment();
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"][MEMORY_ANNOTATION], "4096");
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn devices_are_refused_with_the_reason() {
    let device = |line: &str| {
        assert!(DEPLOYMENT.contains("cpu: \"1\""));
        DEPLOYMENT.replace("cpu: \"1\"", line)
    };
    for (text, word) in [
        (device("nvidia.com/pgpu: 1"), "the local engine has no GPUs"),
        (device("nvidia.com/GH100_H100_PCIE: 1"), "the local engine has no GPUs"),
        (device("nvidia.com/gpu: 1"), "cannot be attested"),
        (device("nvidia.com/pgpu: 0.5"), "a part of a device"),
        (device("sgx.intel.com/epc: 1Mi"), "the local engine has no enclaves"),
        (device("example.com/fpga: 1"), "devices of this kind are not supported"),
        (annotated(DEPLOYMENT, "cdi.k8s.io/gpu: nvidia.com/pgpu=0"), "no container has one in its limits"),
    ] {
        let error = error_of("resources/deployment.yaml", &text).await;
        let got = words(&error);
        assert!(got.contains(word) && got.contains("deployment.yaml:"), "{got}");
    }
}

#[tokio::test]
async fn resources_that_were_written_for_contrast_are_taken_as_they_are() {
    let rig = Rig::new();
    let text = annotated(DEPLOYMENT, "contrast.edgeless.systems/servicemesh-ingress: \"http#8080#true\"")
        .replace("runtimeClassName: casemate", "runtimeClassName: contrast-cc-metal-qemu-snp-0123abcd");
    rig.write("resources/deployment.yaml", &text);
    let report = rig.generate().await.unwrap();
    let notices = report.workloads[1].notices.join("\n");
    assert!(notices.contains("servicemesh-ingress` was taken for `casemate.dev/servicemesh-ingress`"), "{notices}");
    assert!(rig.read("resources/deployment.yaml").contains("runtimeClassName: contrast-cc-metal-qemu-snp-0123abcd"));
    assert!(rig.generate().await.unwrap().up_to_date);

    let rig = Rig::new();
    rig.write(
        "resources/deployment.yaml",
        &annotated(DEPLOYMENT, "contrast.edgeless.systems/skip-initializer: \"true\""),
    );
    let report = rig.generate().await.unwrap();
    assert!(report.workloads[1].notices.iter().any(|notice| notice.contains("nothing is injected")));

    let rig = Rig::new();
    rig.write("resources/deployment.yaml", &annotated(DEPLOYMENT, "contrast.edgeless.systems/image-store-size: 1Gi"));
    let report = rig.generate().await.unwrap();
    assert!(report.workloads[1].resources.images.is_some() && report.workloads[0].resources.images.is_none());

    for (annotation, word) in [
        ("contrast.edgeless.systems/servicemesh-egress: \"a#127.0.0.1:1#b\"", "`b` has no port"),
        (
            "contrast.edgeless.systems/secure-pv: \"a:b\"",
            "`spec.template.metadata.annotations.contrast.edgeless.systems/secure-pv`",
        ),
        ("contrast.edgeless.systems/workload-secret-id: a", "secrets have names"),
        ("contrast.edgeless.systems/pod-role: coordinator", "the Coordinator of Contrast"),
        ("contrast.edgeless.systems/new: x", "`spec.template.metadata.annotations.contrast.edgeless.systems/new`"),
    ] {
        let error = error_of("resources/deployment.yaml", &annotated(DEPLOYMENT, annotation)).await;
        assert!(words(&error).contains(word), "{annotation}: {}", words(&error));
    }
}

#[tokio::test]
async fn egress_is_bound_by_the_identity_of_the_pod() {
    let written_as = |key: &str| format!("{key}: \"db#127.0.0.2:543#db.default.svc:5432##api#[::1]:9000#api:1\"");
    let mut settings = Vec::new();
    for key in ["casemate.dev/servicemesh-egress", "contrast.edgeless.systems/servicemesh-egress"] {
        let rig = Rig::new();
        rig.write("resources/deployment.yaml", &annotated(DEPLOYMENT, &written_as(key)));
        let report = rig.generate().await.unwrap();
        let notices = report.workloads[1].notices.join("\n");
        assert!(
            notices.contains("egress `db`: what programs send to 127.0.0.2:543 goes to `db.default.svc:5432`"),
            "{notices}"
        );
        assert!(rig.generate().await.unwrap().up_to_date);
        let written = rig.read("resources/deployment.yaml");
        assert!(written.contains("NET_BIND_SERVICE"), "{written}");
        let initdata = Initdata::from_annotation(super::annotation(&rig.deployment())).unwrap();
        let document = initdata.document().split_once("[[egress]]").and_then(|(_, after)| after.split_once("\"\"\""));
        let (words, _) = document.unwrap_or_else(|| panic!("{}", initdata.document()));
        settings.push((words.to_owned(), initdata.settings().unwrap().egress));
    }
    assert_eq!(settings[0], settings[1]);
    expect_test::expect![[r#"

        name = "db"
        listen = "127.0.0.2:543"
        host = "db.default.svc"
        port = 5432
        certificate_name = "db"

        [[egress]]
        name = "api"
        listen = "[::1]:9000"
        host = "api"
        port = 1
        certificate_name = "api"
    "#]]
    .assert_eq(&settings[0].0);
    let error =
        error_of("resources/deployment.yaml", &annotated(DEPLOYMENT, "casemate.dev/servicemesh-egres: x")).await;
    assert!(format!("{:?}", error.hint()).contains("did you mean `casemate.dev/servicemesh-egress`"), "{error:?}");
}
