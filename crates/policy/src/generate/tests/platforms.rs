//! Platforms of hardware: reference values, their gaps, and where each pod may run.

use super::*;

const SNP: &str = "metal-qemu-snp";
const GPU: &str = "metal-qemu-snp-gpu";

/// Reference values of a machine, as `casemate reference-values from` writes them.
fn values(platform: &str, chip: u8) -> Value {
    let tcb = json!({"bootloader": 3, "tee": 0, "snp": 20, "microcode": 209});
    json!({"snp": [{"platform": platform, "product": "milan", "measurements": ["11".repeat(48)],
                    "chip_ids": [format!("{chip:02x}").repeat(64)],
                    "tcb": {"reported": tcb, "committed": tcb, "launch": tcb, "current": tcb}}]})
}

fn options(rig: &Rig, platforms: &[&str]) -> GenerateOptions {
    let path = |name: &&str| match name.strip_prefix('/') {
        Some(file) => rig.dir.path().join(file).display().to_string(),
        None => (*name).to_owned(),
    };
    GenerateOptions { platforms: platforms.iter().map(path).collect(), software: None, ..rig.options() }
}

#[tokio::test]
async fn a_platform_without_values_is_written_with_gaps_that_no_coordinator_takes() {
    let rig = Rig::new();
    let report = generate(&options(&rig, &[SNP])).await.unwrap();
    assert!(!report.insecure);
    let missing: Vec<&str> = report.missing.iter().map(|missing| missing.path.as_str()).collect();
    assert_eq!(
        missing,
        [
            "reference_values.snp[0].product",
            "reference_values.snp[0].measurements",
            "reference_values.snp[0].chip_ids",
            "reference_values.snp[0].tcb"
        ]
    );
    assert!(report.missing[1].how.contains("reference-values snp") && report.missing[1].how.contains("vCPUs"));
    let text = rig.read("manifest.json");
    let error = Manifest::parse(&text).unwrap_err().to_string();
    assert!(error.contains("4 reference values are still missing"), "{error}");
    // What pods are given has no gaps, and accepts nothing yet.
    let deployment = rig.deployment();
    let settings = Initdata::from_annotation(annotation(&deployment)).unwrap().settings().unwrap();
    assert_eq!(settings.reference_values, ReferenceValues::default());
    let pod = &deployment["spec"]["template"];
    assert_eq!(pod["spec"]["runtimeClassName"], "kata-qemu-snp");
    assert_eq!(pod["metadata"]["annotations"][CLASS_ANNOTATION], "casemate=kata-qemu-snp");
    assert!(rig.read("resources/casemate-coordinator.yml").contains("runtimeClassName: kata-qemu-snp"));
    assert!(rig.read("settings.json").contains("\"logs\": false"));
    assert!(report.workloads.iter().all(|workload| workload.platforms == [SNP]));
    // Again, and nothing changes.
    let before = rig.snapshot();
    assert!(generate(&options(&rig, &[SNP])).await.unwrap().up_to_date);
    assert_eq!(rig.snapshot(), before);
    // The values come, and the manifest is one.
    rig.write("node.json", &values(SNP, 1).to_string());
    let report = generate(&options(&rig, &[SNP, "/node.json"])).await.unwrap();
    assert_eq!(report.missing, []);
    let manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    assert_eq!(manifest.reference_values.snp.len(), 1);
    assert!(manifest.policies.values().all(|entry| entry.platforms.is_none()));
    let settings = Initdata::from_annotation(annotation(&rig.deployment())).unwrap().settings().unwrap();
    assert_eq!(settings.reference_values, manifest.reference_values);
    // The file is not needed twice.
    assert!(generate(&options(&rig, &[SNP])).await.unwrap().up_to_date);
    assert!(generate(&options(&rig, &["/node.json"])).await.unwrap().up_to_date);
}

#[tokio::test]
async fn the_order_of_flags_and_files_means_nothing() {
    let rig = Rig::new();
    for (index, platform) in [SNP, SNP, "k3s-qemu-snp"].into_iter().enumerate() {
        rig.write(&format!("{index}.json"), &values(platform, u8::try_from(index + 1).unwrap()).to_string());
    }
    rig.write("resources/z.yaml", &DEPLOYMENT.replace("inference", "zebra"));
    rig.write("resources/a.yaml", &DEPLOYMENT.replace("inference", "ant"));
    let before = rig.snapshot();
    let mut texts = BTreeSet::new();
    let orders = [
        vec![SNP, GPU, "metal-qemu-tdx", "/0.json", "/1.json", "/2.json"],
        vec!["/2.json", "metal-qemu-tdx", "/1.json", GPU, "/0.json", SNP, SNP],
    ];
    for (turn, order) in orders.iter().enumerate() {
        let mut options = options(&rig, order);
        if turn == 1 {
            // The same files, one by one and in another order.
            let names =
                ["z.yaml", "service.yaml", "deployment.yaml", "casemate-coordinator.yml", "configmap.yaml", "a.yaml"];
            options.paths = names.iter().map(|name| rig.dir.path().join("resources").join(name)).collect();
        }
        let class = |text: &str| text.replace("runtimeClassName: casemate", "runtimeClassName: kata-qemu-snp");
        for name in ["z.yaml", "a.yaml", "deployment.yaml"] {
            rig.write(&format!("resources/{name}"), &class(&rig.read(&format!("resources/{name}"))));
        }
        if turn == 0 {
            // That of the first platform, of several.
            generate(&GenerateOptions { check: true, ..options.clone() }).await.unwrap();
        }
        rig.write("resources/casemate-coordinator.yml", &coordinator_of(&rig, "kata-qemu-snp"));
        let report = generate(&options).await.unwrap();
        // The deployment's id is drawn anew for a new manifest, and the identities follow from it.
        let mut json: Value = serde_json::from_str(&rig.read("manifest.json")).unwrap();
        assert_eq!(json["reference_values"]["snp"].as_array().unwrap().len(), 3, "{json}");
        json["deployment_id"] = json!(null);
        let policies: BTreeMap<String, Value> = json["policies"]
            .as_object()
            .unwrap()
            .values()
            .map(|entry| (entry["names"][0].to_string(), entry.clone()))
            .collect();
        json["policies"] = json!(policies);
        texts.insert(json.to_string());
        assert!(!report.missing.is_empty());
        for path in rig.snapshot().keys() {
            std::fs::remove_file(path).unwrap();
        }
        for (path, text) in &before {
            std::fs::write(path, text).unwrap();
        }
    }
    assert_eq!(texts.len(), 1);
}

/// A Coordinator of the user's with a runtime class.
fn coordinator_of(rig: &Rig, class: &str) -> String {
    let image = format!("{}/casemate-pod:0", rig.registry.host);
    let mut resources = coordinator::resources("default", &image);
    resources[0]["spec"]["template"]["spec"]["runtimeClassName"] = json!(class);
    resources.iter().map(yaml::emit_document).collect::<Vec<_>>().join("---\n")
}

#[tokio::test]
async fn pods_are_for_the_platforms_that_can_run_them() {
    let rig = Rig::new();
    rig.write("snp.json", &values(SNP, 1).to_string());
    let gpu = DEPLOYMENT.replace("inference", "train").replace("cpu: \"1\"", "nvidia.com/pgpu: 1");
    assert!(gpu.contains("nvidia.com/pgpu"));
    rig.write("resources/gpu.yaml", &gpu);
    let report = generate(&options(&rig, &[SNP, GPU, "/snp.json"])).await.unwrap();
    let of = |name: &str| report.workloads.iter().find(|workload| workload.name == name).unwrap();
    assert_eq!((of("inference").platforms.as_slice(), of("inference").gpus), ([SNP.to_owned()].as_slice(), 0));
    assert_eq!((of("train").platforms.as_slice(), of("train").gpus), ([GPU.to_owned()].as_slice(), 1));
    assert_eq!(of("coordinator").platforms, [SNP]);
    assert!(rig.read("resources/gpu.yaml").contains("runtimeClassName: kata-qemu-nvidia-gpu-snp"));
    let json: Value = serde_json::from_str(&rig.read("manifest.json")).unwrap();
    assert_eq!(json["reference_values"]["devices"][0]["gpus"], 1);
    let train = json["policies"].as_object().unwrap().values().find(|entry| entry["names"][0] == "train").unwrap();
    assert_eq!(train["platforms"], json!([GPU]));
    assert!(report.missing.iter().all(|missing| missing.platform == GPU), "{:?}", report.missing);
    assert!(generate(&options(&rig, &[SNP, GPU])).await.unwrap().up_to_date);

    for (platforms, text, word) in [
        (vec![SNP], gpu.clone(), "no guest of `metal-qemu-snp` has a GPU"),
        (vec![GPU], DEPLOYMENT.to_owned(), "`metal-qemu-snp-gpu`: the Coordinator needs a guest of its own"),
        (vec!["metal-sgx"], DEPLOYMENT.to_owned(), "`metal-sgx`: the Coordinator needs a guest of its own"),
        (vec![SNP, "metal-qemu-tdx"], DEPLOYMENT.to_owned(), "`casemate` could be any of"),
        (
            vec!["metal-qemu-tdx"],
            DEPLOYMENT.replace("Name: casemate", "Name: kata-qemu-snp"),
            "is not the runtime class",
        ),
        (vec![SNP], DEPLOYMENT.replace("cpu: \"1\"", "sgx.intel.com/epc: 1Mi"), "has no enclaves"),
    ] {
        let rig = Rig::new();
        rig.write("resources/deployment.yaml", &text);
        let before = rig.snapshot();
        let error = generate(&options(&rig, &platforms)).await.unwrap_err();
        assert!(words(&error).contains(word) && error.hint().is_some(), "{word}: {}", words(&error));
        assert_eq!(rig.snapshot(), before);
    }
}

#[tokio::test]
async fn enclaves_have_nothing_injected_and_that_is_said() {
    let rig = Rig::new();
    rig.write("resources/deployment.yaml", &DEPLOYMENT.replace("cpu: \"1\"", "sgx.intel.com/epc: 64Mi"));
    let report = generate(&options(&rig, &[SNP, "metal-sgx"])).await.unwrap();
    assert_eq!(report.workloads[1].platforms, ["metal-sgx"]);
    assert!(report.workloads[1].notices.iter().any(|notice| notice.contains("CONFIGID")));
    assert!(!rig.read("resources/deployment.yaml").contains("casemate-initializer"));
}

#[tokio::test]
async fn software_and_hardware_do_not_share_a_manifest() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    let before = rig.snapshot();
    let error = generate(&options(&rig, &[SNP])).await.unwrap_err();
    assert!(words(&error).contains("accepts the software TEE"), "{}", words(&error));
    let error = generate(&options(&rig, &["local", SNP])).await.unwrap_err();
    assert!(words(&error).contains("P8"), "{}", words(&error));
    assert_eq!(rig.snapshot(), before);
    let rig = Rig::new();
    generate(&options(&rig, &[SNP])).await.unwrap();
    let error = rig.generate().await.unwrap_err();
    assert!(words(&error).contains("is for hardware") && error.hint().is_some(), "{}", words(&error));
    let error = generate(&options(&rig, &[])).await.unwrap_err();
    assert!(matches!(error, GenerateError::Platform { .. }));
}

#[tokio::test]
async fn a_second_platform_leaves_pods_where_they_were() {
    let rig = Rig::new();
    rig.write("snp.json", &values(SNP, 1).to_string());
    rig.write("k3s.json", &values("k3s-qemu-snp", 1).to_string());
    rig.write("resources/more.yaml", &DEPLOYMENT.replace("inference", "gone"));
    generate(&options(&rig, &["/snp.json"])).await.unwrap();
    std::fs::remove_file(rig.dir.path().join("resources/more.yaml")).unwrap();
    let report = generate(&options(&rig, &["/k3s.json"])).await.unwrap();
    assert!(report.notices.iter().any(|notice| notice.contains("`gone` stays")), "{:?}", report.notices);
    let manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    let of = |name: &str| {
        let entry = manifest.policies.values().find(|entry| entry.names[0] == name).unwrap();
        entry.platforms.clone().unwrap().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(of("gone"), [SNP]);
    assert_eq!(of("inference"), ["k3s-qemu-snp", SNP]);
}
