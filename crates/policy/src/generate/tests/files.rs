//! Which files are read, written and left alone.

use super::*;

#[tokio::test]
async fn check_writes_nothing_and_says_what_would_change() {
    let rig = Rig::new();
    let before = rig.snapshot();
    let mut options = rig.options();
    options.check = true;
    let report = generate(&options).await.unwrap();
    assert!(!report.up_to_date && report.changed.len() == 4);
    assert_eq!(rig.snapshot(), before);
    rig.generate().await.unwrap();
    let edited = rig.read("resources/deployment.yaml").replace("--labels", "--label");
    rig.write("resources/deployment.yaml", &edited);
    let report = generate(&options).await.unwrap();
    assert!(!report.up_to_date);
    let names: Vec<_> = report.changed.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["manifest.json", "deployment.yaml"]);
}

#[tokio::test]
async fn output_leaves_the_originals_alone() {
    let rig = Rig::new();
    let mut options = rig.options();
    options.output = Some(rig.dir.path().join("out"));
    let report = generate(&options).await.unwrap();
    let out = rig.dir.path().join("out");
    assert!(report.workloads.iter().all(|workload| workload.file.starts_with(&out)), "{:?}", report.workloads);
    assert!(!rig.read("resources/deployment.yaml").contains("casemate-initializer"));
    assert!(rig.read("out/deployment.yaml").contains("casemate-initializer"));
    assert_eq!(rig.read("out/service.yaml"), SERVICE);
    assert!(rig.read("out/casemate-coordinator.yml").contains("StatefulSet"));
}

#[tokio::test]
async fn a_failure_to_write_leaves_everything_as_it_was() {
    let rig = Rig::new();
    // The last file to be moved to its place is this one: a directory that is not empty stands there.
    rig.write("resources/casemate-coordinator.yml/x", "x");
    let before = rig.snapshot();
    let error = rig.generate().await.unwrap_err();
    assert!(matches!(error, GenerateError::Write { .. }), "{}", words(&error));
    assert_eq!(rig.snapshot(), before);
}

#[tokio::test]
async fn standard_input_becomes_standard_output() {
    let rig = Rig::new();
    let given = [DEPLOYMENT, SERVICE, CONFIG_MAP].join("---\n").replace("localhost:5000", &rig.registry.host);
    let mut options = rig.options();
    options.paths = vec![STDIN.into()];
    options.stdin = Some(given.clone().into_bytes());
    let before = rig.snapshot();
    options.check = true;
    assert!(!generate(&options).await.unwrap().up_to_date);
    assert_eq!(rig.snapshot(), before);
    options.check = false;
    let report = generate(&options).await.unwrap();
    let text = report.stdout.unwrap();
    assert!(text.starts_with("# The digits classifier") && text.contains("casemate-initializer"), "{text}");
    let kinds: Vec<_> = yaml::parse(&text).unwrap().iter().map(|document| document.tree["kind"].clone()).collect();
    assert_eq!(kinds, ["Deployment", "Service", "ConfigMap", "StatefulSet", "Service", "PersistentVolumeClaim"]);
    assert_eq!(report.changed.len(), 2, "{:?}", report.changed);
    // What came out may go in again.
    options.stdin = Some(text.clone().into_bytes());
    let again = generate(&options).await.unwrap();
    assert!(again.up_to_date && again.stdout.as_ref() == Some(&text));
    options.stdin = Some(b"a: [".to_vec());
    assert!(words(&generate(&options).await.unwrap_err()).starts_with("<stdin>:"));
}

#[tokio::test]
async fn a_namespace_is_that_of_the_resource_or_the_one_that_was_given() {
    let rig = Rig::new();
    let mut options = rig.options();
    assert!(generate(&options).await.unwrap().notices.iter().any(|notice| notice.contains("--namespace")));
    options.namespace = Some("prod".into());
    let report = generate(&options).await.unwrap();
    assert!(!report.notices.iter().any(|notice| notice.contains("--namespace")));
    let policy = Initdata::from_annotation(annotation(&rig.deployment())).unwrap();
    assert!(policy.policy().unwrap().contains("\"namespace\":\"prod\""));
    for bad in ["", "A", "a/b", "-a"] {
        options.namespace = Some(bad.into());
        assert!(matches!(generate(&options).await, Err(GenerateError::Namespace { .. })), "{bad}");
    }
}

#[tokio::test]
async fn output_keeps_the_tree_and_refuses_to_write_over_anything() {
    let rig = Rig::new();
    rig.write("resources/deep/er/plain.yaml", "kind: Namespace\nmetadata: {name: x}\n");
    let mut options = rig.options();
    options.output = Some(rig.dir.path().join("resources/out"));
    generate(&options).await.unwrap();
    assert!(rig.read("resources/out/deployment.yaml").contains("casemate-initializer"));
    assert!(rig.read("resources/out/deep/er/plain.yaml").contains("Namespace"));
    // What was written is no input of the next run.
    assert!(generate(&options).await.unwrap().up_to_date);
    std::fs::remove_dir_all(rig.dir.path().join("resources/out")).unwrap();
    let before = rig.snapshot();
    options.output = Some(rig.dir.path().join("resources"));
    let error = generate(&options).await.unwrap_err();
    assert!(words(&error).contains("leaves the originals alone") && !error.could_not_tell(), "{}", words(&error));
    options.output = Some(rig.dir.path().join("other"));
    rig.write("more/deployment.yaml", "kind: Namespace\nmetadata: {name: y}\n");
    options.paths.push(rig.dir.path().join("more"));
    let error = generate(&options).await.unwrap_err();
    assert!(words(&error).contains("would both be written here") && error.hint().is_some(), "{}", words(&error));
    std::fs::remove_dir_all(rig.dir.path().join("more")).unwrap();
    assert_eq!(rig.snapshot(), before);
}

#[tokio::test]
async fn links_and_the_form_of_lines_survive() {
    let rig = Rig::new();
    let crlf = format!("\u{feff}{}", DEPLOYMENT.replace('\n', "\r\n"));
    rig.write("elsewhere/real.yaml", &crlf);
    let at = |path: &str| rig.dir.path().join(path);
    std::fs::remove_file(at("resources/deployment.yaml")).unwrap();
    std::os::unix::fs::symlink("../elsewhere/real.yaml", at("resources/deployment.yaml")).unwrap();
    rig.generate().await.unwrap();
    assert!(at("resources/deployment.yaml").symlink_metadata().unwrap().is_symlink());
    let text = rig.read("elsewhere/real.yaml");
    assert!(text.starts_with('\u{feff}') && text.contains("casemate-initializer"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[test]
fn a_thousand_documents_are_read_in_a_moment() {
    let one = |index: usize| {
        format!(
            "{}---\n{}",
            DEPLOYMENT.replace("inference", &format!("w{index}")),
            CONFIG_MAP.replace("name: digits", &format!("name: c{index}"))
        )
    };
    let text = (0..1000).map(one).collect::<Vec<_>>().join("---\n");
    let begun = std::time::Instant::now();
    let (_, text) = source::Form::of(text);
    let documents = yaml::parse(&text).unwrap();
    let mut trees: Vec<_> = documents.iter().map(|document| document.tree.clone()).collect();
    assert_eq!(trees.len(), 2000);
    for tree in &mut trees {
        tree["metadata"]["labels"] = json!({"x": "y"});
    }
    assert!(yaml::rewrite(&text, &documents, &trees).in_place);
    // Half of that on an idle machine; it was minutes when lines were counted from the top.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_directory_may_hold_the_work_folder_and_files_of_other_tools() {
    let rig = Rig::new();
    rig.write("kustomization.yaml", "resources: [resources]\n");
    let mut options = rig.options();
    options.paths = vec![rig.dir.path().to_owned()];
    let report = generate(&options).await.unwrap();
    assert_eq!(report.notices.iter().filter(|notice| notice.contains("is left alone")).count(), 1, "{report:#?}");
    assert!(report.notices.iter().any(|notice| notice.contains("kustomization.yaml` is left alone")));
    // manifest.json, settings.json and layers-cache.json lie there now.
    assert!(generate(&options).await.unwrap().up_to_date);
    // Named, or with one of the words of a resource, it was meant to be one.
    options.paths = vec![rig.dir.path().join("kustomization.yaml")];
    assert!(words(&generate(&options).await.unwrap_err()).contains("it has no `kind`"));
    rig.write("resources/typo.yaml", "apiVersion: v1\nknd: Pod\n");
    options.paths = vec![rig.dir.path().to_owned()];
    assert!(words(&generate(&options).await.unwrap_err()).contains("typo.yaml:1"));
}

#[tokio::test]
async fn a_probe_is_the_users_again_once_its_port_is_open() {
    let rig = Rig::new();
    let probe = DEPLOYMENT.replacen(
        "          ports:",
        "          startupProbe: {httpGet: {port: 9999}} # mine\n          ports:",
        1,
    );
    let probe = probe.replacen("ports:", "ports:\n            - containerPort: 9999", 1);
    rig.write("resources/deployment.yaml", &probe);
    let options = rig.options();
    generate(&options).await.unwrap();
    let line = |text: &str| text.lines().find(|line| line.trim().starts_with("startupProbe")).unwrap().to_owned();
    let text = rig.read("resources/deployment.yaml");
    assert!(line(&text).contains("HTTPS"), "{text}");
    assert!(generate(&options).await.unwrap().up_to_date);
    let key = "casemate.dev/probes-as-written:";
    let annotated = text.replacen(key, &format!("casemate.dev/open-ports: \"9999\"\n        {key}"), 1);
    assert_ne!(annotated, text);
    rig.write("resources/deployment.yaml", &annotated);
    generate(&options).await.unwrap();
    let text = rig.read("resources/deployment.yaml");
    let line = line(&text);
    assert!(line.contains("9999") && line.ends_with("# mine") && !line.contains("HTTPS"), "{text}");
}
