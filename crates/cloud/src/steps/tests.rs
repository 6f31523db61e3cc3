use expect_test::{Expect, expect};

use super::*;

fn wish(target: Target) -> Wish {
    Wish {
        target,
        resources: vec!["resources/".into()],
        namespace: "default".into(),
        reference_values: Vec::new(),
        registry: None,
        images: Vec::new(),
        secrets: Vec::new(),
        coordinator: None,
        runtime: true,
        question: Vec::new(),
        work: ".".into(),
        left: Left::default(),
    }
}

fn check(wish: &Wish, expected: Expect) {
    let mut text = String::new();
    for step in plan(wish) {
        text.push_str(&format!("{}: {}\n", step.name, step.about));
        if !step.needs.is_empty() {
            text.push_str(&format!("  needs {}\n", step.needs.join(", ")));
        }
        if let Some(beside) = &step.beside {
            text.push_str(&format!("  {beside} &\n"));
        }
        for command in &step.commands {
            text.push_str(&format!("  {command}\n"));
        }
        if let Some(why) = step.could_not_tell {
            text.push_str(&format!("  could not tell: {why}\n"));
        }
    }
    expected.assert_eq(&text);
}

#[test]
fn on_this_machine() {
    let mut wish = wish(Target::Local);
    wish.secrets = vec![("digits-model-key".into(), "model.key".into())];
    wish.question = ["infer", "--image", "7.png"].map(str::to_owned).to_vec();
    check(
        &wish,
        expect![[r#"
        check: nothing is needed beside casemate
        generate: policy, identities and manifest are made from your YAML
          casemate generate --reference-values local --output generated resources/
        apply: the local engine starts the pods, INSECURE
          casemate up generated
        set: the Coordinator is attested and gets the manifest, signed by its owners
          casemate set generated
        secrets: the Coordinator gets your secrets
          casemate secret put digits-model-key --file model.key
        ready: every pod is ready
          casemate wait --timeout 120
        verify: the Coordinator is genuine and serves this manifest and no other
          casemate verify
        ask: your question is answered, over TLS under the mesh root that `verify` wrote
          casemate infer --image 7.png
    "#]],
    );
}

#[test]
fn on_this_machine_again() {
    let mut wish = wish(Target::Local);
    for (left, expected) in [
        (Left { engine: true, seed: false }, "casemate down, casemate up generated"),
        (Left { engine: false, seed: true }, "casemate up generated, casemate recover"),
        (Left { engine: true, seed: true }, "casemate down, casemate up generated, casemate recover"),
    ] {
        wish.left = left;
        let plan = plan(&wish);
        let apply = plan.iter().find(|step| step.name == StepName::Apply).unwrap();
        let commands: Vec<String> = apply.commands.iter().map(ToString::to_string).collect();
        assert_eq!(commands.join(", "), expected);
    }
}

#[test]
fn on_machines_with_guests() {
    let mut wish = wish(Target::Guests {
        platform: "metal-qemu-snp-gpu",
        references: vec!["metal-qemu-snp".into(), "metal-qemu-snp-gpu".into()],
    });
    wish.registry = Some(Registry::new("registry.example.com/a").unwrap());
    wish.reference_values = vec!["./node 7.json".into()];
    wish.namespace = "trust".into();
    wish.images = vec![("registry.example.com/a/web:1".into(), "web".into())];
    wish.work = "work".into();
    check(
        &wish,
        expect![[r#"
            check: the programs that are needed are here, and the cluster answers
              needs kubectl, docker
              kubectl get --raw /readyz
            images: your images are built and pushed
              docker build --tag registry.example.com/a/web:1 web
              docker push registry.example.com/a/web:1
            runtime: workers are made ready; THEIR GPUS ARE SWITCHED TO CONFIDENTIAL MODE
              casemate --workspace-dir work infra files --platform metal-qemu-snp-gpu --replace --registry registry.example.com/a --output work/files
              kubectl apply -f work/files/runtime-metal-qemu-snp-gpu.yml
              kubectl wait --for=condition=Established --timeout=60s crd/nodeconfigurations.casemate.dev
              kubectl apply -f work/files/configuration-metal-qemu-snp-gpu.yml
              kubectl --namespace casemate-system rollout status daemonset/casemate-node-0-1-0 --timeout=300s
            generate: policy, identities and manifest are made from your YAML
              casemate --workspace-dir work generate --reference-values metal-qemu-snp --reference-values metal-qemu-snp-gpu --reference-values './node 7.json' --namespace trust --pod-image registry.example.com/a/casemate-pod:0.1.0 --output work/generated work/files/coordinator-metal-qemu-snp-gpu.yml resources/
            apply: the cluster gets the resources
              kubectl --namespace trust apply --recursive -f work/generated
            start: the Coordinator runs in its guest
              kubectl --namespace trust wait --for=create --timeout=60s pod/coordinator-0
              kubectl --namespace trust wait '--for=jsonpath={.status.phase}=Running' --timeout=300s pod/coordinator-0
            set: the Coordinator is attested and gets the manifest, signed by its owners
              kubectl --namespace trust port-forward service/coordinator 1313:1313 &
              casemate --workspace-dir work set --coordinator 127.0.0.1:1313 work/generated
            ready: every pod is ready
              kubectl --namespace trust wait pod --all --for=condition=Ready '--field-selector=status.phase!=Succeeded' --timeout=600s
            verify: the Coordinator is genuine and serves this manifest and no other
              kubectl --namespace trust port-forward service/coordinator 1313:1313 &
              casemate --workspace-dir work verify --coordinator 127.0.0.1:1313
        "#]],
    );
}

#[test]
fn on_google_kubernetes_engine() {
    let mut wish = wish(Target::Nodes { platform: "gke-snp", infra: Some("gke".into()) });
    wish.registry = Some(Registry::new("europe-west4-docker.pkg.dev/my-project/casemate").unwrap());
    check(
        &wish,
        expect![[r#"
            check: the programs that are needed are here
              needs kubectl, terraform, gcloud, sh
            infra: network, cluster and registry are made; THIS COSTS MONEY
              terraform -chdir=gke init -input=false
              terraform -chdir=gke plan -input=false -out=plan.tfplan
              terraform -chdir=gke apply -input=false plan.tfplan
            credentials: kubectl reaches the cluster, and docker the registry
              sh -c 'eval "$(terraform -chdir=gke output -raw get_credentials)"'
              sh -c 'eval "$(terraform -chdir=gke output -raw registry_login)"'
            runtime: workers are made ready
              casemate infra files --platform gke-snp --replace --registry europe-west4-docker.pkg.dev/my-project/casemate --output files
              kubectl apply -f files/runtime-gke-snp.yml
              kubectl --namespace casemate-system rollout status daemonset/casemate-node-0-1-0 --timeout=300s
            apply: the cluster gets the resources; no policy binds them
              kubectl --namespace default apply --recursive -f resources/
            ready: every pod is ready
              kubectl --namespace default wait pod --all --for=condition=Ready '--field-selector=status.phase!=Succeeded' --timeout=600s
            verify: what could be verified on such a cluster
              could not tell: the nodes are the TEE: no Coordinator has an identity there, and whoever administers the cluster decides what runs, so there is nothing that could be verified
        "#]],
    );
}

#[test]
fn a_coordinator_with_an_address_needs_no_forwarding() {
    let mut wish = wish(Target::Guests { platform: "aks-clh-snp", references: vec!["aks-clh-snp".into()] });
    wish.coordinator = Some("10.0.0.7:1313".into());
    let plan = plan(&wish);
    assert!(plan.iter().all(|step| step.beside.is_none()));
    let set = plan.iter().find(|step| step.name == StepName::Set).unwrap();
    assert_eq!(set.commands[0].to_string(), "casemate set --coordinator 10.0.0.7:1313 generated");
}

#[test]
fn words_are_quoted_as_a_shell_reads_them() {
    for (word, quoted) in [
        ("plain-1.0_x/y:z=@,+", "plain-1.0_x/y:z=@,+"),
        ("", "''"),
        ("a b", "'a b'"),
        ("it's", "'it'\\''s'"),
        ("$(reboot)", "'$(reboot)'"),
        ("a;b", "'a;b'"),
        ("`x`", "'`x`'"),
        ("é", "'é'"),
    ] {
        assert_eq!(shell(word), quoted);
    }
}

#[test]
fn steps_are_in_their_order() {
    assert!(StepName::ALL.is_sorted());
    for name in StepName::ALL {
        assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
    }
    for target in [
        Target::Local,
        Target::Guests { platform: "metal-qemu-tdx", references: vec!["metal-qemu-tdx".into()] },
        Target::Nodes { platform: "gke-tdx", infra: Some("gke".into()) },
    ] {
        let names: Vec<StepName> = plan(&wish(target)).iter().map(|step| step.name).collect();
        assert!(names.is_sorted() && names[0] == StepName::Check, "{names:?}");
    }
}

#[test]
fn a_run_goes_on_where_the_last_one_stopped() {
    let plan = plan(&wish(Target::Local));
    let begin = |journal: Option<&Journal>, from| start(&plan, ("p", "r"), journal, from);
    assert_eq!(begin(None, None), Ok(Start::Fresh));
    let mut journal = Journal::new("p".into(), "r".into());
    assert_eq!(begin(Some(&journal), None), Ok(Start::Fresh));
    journal.done(StepName::Check);
    journal.done(StepName::Generate);
    journal.done(StepName::Generate);
    assert_eq!(begin(Some(&journal), None), Ok(Start::Resume(StepName::Apply)));
    assert_eq!(start(&plan, ("p", "other"), Some(&journal), None), Ok(Start::Changed(StepName::Generate)));
    assert_eq!(start(&plan, ("other", "r"), Some(&journal), None), Ok(Start::OtherPlan));
    assert_eq!(begin(Some(&journal), Some(StepName::Verify)), Ok(Start::Asked(StepName::Verify)));
    assert_eq!(begin(Some(&journal), Some(StepName::Infra)), Err(StepName::Infra));
    for step in &plan {
        journal.done(step.name);
    }
    assert_eq!(begin(Some(&journal), None), Ok(Start::Complete));
    journal.rewind(StepName::Set);
    assert_eq!(begin(Some(&journal), None), Ok(Start::Resume(StepName::Set)));
    // Resources that were not read yet may change.
    journal.rewind(StepName::Generate);
    assert_eq!(start(&plan, ("p", "other"), Some(&journal), None), Ok(Start::Resume(StepName::Generate)));
}

#[test]
fn a_journal_is_read_as_it_was_written_and_nothing_else_is() {
    let mut journal = Journal::new("p".into(), "r".into());
    journal.done(StepName::Check);
    assert_eq!(Journal::parse(&journal.text()).unwrap(), journal);
    let long = format!("{}{}", journal.text(), " ".repeat(4096));
    for (text, says) in [
        ("", "no journal"),
        ("{}", "no journal"),
        (r#"{"version": 1, "plan": "p", "resources": "r", "done": ["dance"]}"#, "no journal"),
        (r#"{"version": 1, "plan": "p", "resources": "r", "done": [], "x": 1}"#, "no journal"),
        (r#"{"version": 2, "plan": "p", "resources": "r", "done": []}"#, "format 2"),
        (&long, "bytes"),
    ] {
        let error = Journal::parse(text).unwrap_err();
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}
