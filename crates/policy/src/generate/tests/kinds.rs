//! Every kind that holds a pod, and those that hold none.

use super::*;

#[tokio::test]
async fn all_kinds_and_lists_are_bound() {
    let rig = Rig::new();
    let pod = "{metadata: {labels: {app: x}}, spec: {runtimeClassName: kata-qemu-snp, containers: \
               [{name: c, image: localhost:5000/casemate/digits:1}]}}";
    let mut text = String::from("kind: List\nitems:\n");
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"] {
        text.push_str(&format!(
            "- {{kind: {kind}, metadata: {{name: a-{}}}, spec: {{template: {pod}}}}}\n",
            kind.to_lowercase()
        ));
    }
    text.push_str(&format!("---\nkind: Pod\n{}", "metadata: {name: a-pod}\nspec: {runtimeClassName: contrast-cc, containers: [{name: c, image: localhost:5000/casemate/digits:1, args: [-v]}]}\n"));
    text.push_str("---\nkind: Pod\nmetadata: {name: plain}\nspec: {containers: [{name: c, image: x}]}\n");
    rig.write("resources/more.yaml", &text);
    let report = rig.generate().await.unwrap();
    assert_eq!(report.workloads.len(), 8);
    assert!(
        report.notices.iter().any(|notice| notice.contains("Pod/plain is not confidential")),
        "{:?}",
        report.notices
    );
    let documents = yaml::parse(&rig.read("resources/more.yaml")).unwrap();
    let items = documents[0].tree["items"].as_array().unwrap().iter();
    for resource in items.chain([&documents[1].tree]) {
        let pod = if resource["kind"] == "Pod" { resource } else { &resource["spec"]["template"] };
        let text = pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap();
        let initdata = Initdata::from_annotation(text).unwrap();
        let mut engine = PolicyEngine::new(initdata.policy().unwrap()).unwrap();
        for index in [0, 1, 12] {
            let name = pod_name(resource, index);
            let instance =
                PodInstance { hostname: name.clone(), name, sandbox_id: "a".repeat(64), ..PodInstance::default() };
            let decision = engine.decide("CreateSandboxRequest", &sandbox_request(pod, &instance)).unwrap();
            assert!(decision.allowed, "{resource}: {:?}", decision.reasons);
            engine = PolicyEngine::new(initdata.policy().unwrap()).unwrap();
        }
        let command = &pod["spec"]["containers"][0]["command"];
        assert_eq!(*command, json!([LAUNCHER, "c", "--", "/casemate-serve"]));
    }
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn kinds_of_others_pass_untouched_unless_they_ask_for_a_confidential_pod() {
    let knative = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\nspec:\n  template:\n    spec:\n      runtimeClassName: CLASS\n";
    let volcano = "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: inference}\nspec: {tasks: [{template: {spec: {runtimeClassName: CLASS}}}]}\n";
    let template =
        "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: t}\ntemplate: {spec: {runtimeClassName: CLASS}}\n";
    let misplaced = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m}\nspec: {runtimeClassName: CLASS, template: {spec: {containers: []}}}\n";
    let strange = "# of others\nkind: Kustomization\nresources: [ a, b ]\n---\napiVersion: x.io/v1\nkind: Strange\nmetadata: {generateName: s-}\nspec: {anything: [1, {x: \"\\e\"}]}\n---\napiVersion: x.io/v1\nkind: Strange\nmetadata: {generateName: s-}\n";
    for (name, text) in [("Service", knative), ("Job", volcano), ("PodTemplate", template), ("Deployment", misplaced)] {
        let error = error_of("resources/more.yaml", &text.replace("CLASS", "casemate")).await;
        let got = words(&error);
        assert!(got.contains(name) && got.contains("runtimeClassName: casemate`") && error.hint().is_some(), "{got}");
        assert!(got.contains("more.yaml:"), "{got}");
        let rig = Rig::new();
        rig.write("resources/more.yaml", &text.replace("CLASS", "kata-fc"));
        rig.generate().await.unwrap();
        assert_eq!(rig.read("resources/more.yaml"), text.replace("CLASS", "kata-fc"));
    }
    let rig = Rig::new();
    rig.write("resources/more.yaml", strange);
    rig.generate().await.unwrap();
    assert_eq!(rig.read("resources/more.yaml"), strange);
}

/// Whether every request of the pod number `index` of a generated resource passes its policy.
fn pod_is_allowed(resource: &Value, template: &str, index: u64, claims: &[&str]) {
    let mut pod = resource.pointer(template).unwrap().clone();
    let text = pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap();
    let initdata = Initdata::from_annotation(text).unwrap();
    for claim in claims {
        let volume = json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }
    let name = pod_name(resource, index);
    let instance = PodInstance {
        hostname: name.clone(),
        name,
        namespace: "default".into(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        ..PodInstance::default()
    };
    let mut engine = PolicyEngine::new(initdata.policy().unwrap()).unwrap();
    let mut life = vec![
        ("CreateSandboxRequest", sandbox_request(&pod, &instance)),
        ("CreateContainerRequest", pause_request(&pod, &instance)),
    ];
    for list in ["initContainers", "containers"] {
        for (number, container) in pod["spec"][list].as_array().unwrap().iter().enumerate() {
            let entrypoint = if list == "containers" { "/casemate-serve" } else { "/casemate-pod" };
            let image = ImageConfig {
                entrypoint: vec![entrypoint.into()],
                env: vec!["PATH=/".into()],
                ..ImageConfig::default()
            };
            let image = if list == "containers" { image } else { ImageConfig { env: Vec::new(), ..image } };
            let id = format!("{:064x}", number + list.len() * 16);
            life.push(("CreateContainerRequest", container_request(&pod, container, &image, &instance, &id).unwrap()));
        }
    }
    for (endpoint, request) in life {
        let decision = engine.decide(endpoint, &request).unwrap();
        assert!(decision.allowed, "{}: {:?}", resource["kind"], decision.reasons);
    }
}

#[tokio::test]
async fn pods_of_cron_jobs_controllers_and_generated_names_are_allowed() {
    let rig = Rig::new();
    let text = format!(
        "apiVersion: v1\nkind: ReplicationController\nmetadata: {{name: rc}}\nspec: {{template: {{spec: {POD}}}}}\n---\n\
         apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: cron}}\nspec: {{schedule: '* * * * *', jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{generateName: gen-}}\nspec: {POD}\n---\n\
         apiVersion: batch/v1\nkind: Job\nmetadata: {{generateName: job-}}\nspec: {{completionMode: NonIndexed, template: {{spec: {POD}}}}}\n"
    );
    rig.write("resources/more.yaml", &text);
    let report = rig.generate().await.unwrap();
    let names: Vec<_> = report.workloads.iter().map(|workload| workload.name.as_str()).collect();
    assert_eq!(names, ["coordinator", "inference", "rc", "cron", "gen", "job"]);
    let documents = yaml::parse(&rig.read("resources/more.yaml")).unwrap();
    let templates = ["/spec/template", "/spec/jobTemplate/spec/template", "", "/spec/template"];
    for (document, template) in documents.iter().zip(templates) {
        pod_is_allowed(&document.tree, template, 3, &[]);
    }
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn claims_of_stateful_sets_are_bound() {
    let set = |claims: &str, volumes: &str| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: set}}\nspec:\n  volumeClaimTemplates: {claims}\n  template:\n    spec:\n\
             \x20     runtimeClassName: casemate\n      containers:\n      - name: c\n        image: localhost:5000/casemate/digits:1\n\
             \x20       volumeMounts: [{{name: data, mountPath: /data}}]\n{volumes}"
        )
    };
    let rig = Rig::new();
    rig.write("resources/set.yaml", &set("[{metadata: {name: data}, spec: {}}]", ""));
    let report = rig.generate().await.unwrap();
    assert!(report.workloads[2].notices.iter().any(|notice| notice.contains("volume `data`: what is in the claim")));
    let written = yaml::parse(&rig.read("resources/set.yaml")).unwrap().remove(0).tree;
    let volumes = &written["spec"]["template"]["spec"]["volumes"];
    assert!(volumes.as_array().unwrap().iter().all(|volume| volume["name"] != "data"), "{volumes}");
    pod_is_allowed(&written, "/spec/template", 0, &["data"]);
    for (claims, volumes, word) in [
        ("[]", "", "no volume has the name `data`"),
        ("{}", "", "volumeClaimTemplates`: not a list"),
        ("[{metadata: {}}]", "", "no valid `metadata.name`"),
        ("[{metadata: {name: casemate}}]", "", "the name `casemate` is reserved"),
        ("[{metadata: {name: casemate-files-x}}]", "", "is reserved"),
        ("[{metadata: {name: data}}, {metadata: {name: data}}]", "", "another volume has the name `data`"),
        (
            "[{metadata: {name: data}}]",
            "      volumes: [{name: data, emptyDir: {}}]\n",
            "another volume has the name `data`",
        ),
        ("[{metadata: {name: data}, spec: {volumeMode: Block}}]", "", "a block device is not supported"),
    ] {
        let got = words(&error_of("resources/set.yaml", &set(claims, volumes)).await);
        assert!(got.contains(word) && got.contains("set.yaml:"), "{claims}: {got}");
    }
}
