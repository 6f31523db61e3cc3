//! `casemate deploy` with programs that only write down what they were asked: kubectl, terraform, docker, and casemate's
//! own steps. What those do is tested where they are; here it is what is run, in which order, and what a failure leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use expect_test::expect;

/// Stand-ins, and a folder of resources.
struct Rig {
    dir: tempfile::TempDir,
}

const CLUSTER: [&str; 8] = [
    "deploy",
    "--platform",
    "metal-qemu-snp",
    "--registry",
    "registry.test/a",
    "--coordinator",
    "127.0.0.1:1",
    "resources",
];

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rig = Self { dir };
        fs::create_dir_all(rig.path("bin")).unwrap();
        fs::create_dir_all(rig.path("resources")).unwrap();
        fs::write(rig.path("resources/web.yaml"), "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n").unwrap();
        for name in ["casemate-steps", "kubectl", "terraform", "docker", "gcloud"] {
            // What terraform prints is evaluated. `fail` holds words of the command that is to fail, and its status.
            let script = "#!/bin/sh\necho \"${0##*/} $*\" >> \"$RIG/log\"\ncase \"${0##*/}\" in terraform) echo :;; *) echo \"out of ${0##*/}\";; esac\n\
                          if [ -f \"$RIG/fail\" ]; then read -r status words < \"$RIG/fail\"\n\
                          case \"${0##*/} $*\" in *\"$words\"*) exit \"$status\";; esac; fi\nexit 0\n";
            let path = rig.path("bin").join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        rig
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn fail(&self, status: u8, words: &str) {
        fs::write(self.path("fail"), format!("{status} {words}\n")).unwrap();
    }

    fn mend(&self) {
        let _ = fs::remove_file(self.path("fail"));
    }

    /// Runs `casemate`; exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let _ = fs::remove_file(self.path("log"));
        let (before, question) = match arguments.iter().position(|argument| *argument == "--") {
            Some(at) => arguments.split_at(at),
            None => (arguments, &[][..]),
        };
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let output = Command::new(env!("CARGO_BIN_EXE_casemate"))
            .args(before)
            .arg("--casemate")
            .arg(self.path("bin/casemate-steps"))
            .args(question)
            .current_dir(self.dir.path())
            .env("PATH", path)
            .env("RIG", self.dir.path())
            .env_remove("CASEMATE_LOG")
            .env_remove("CASEMATE_WORKSPACE_DIR")
            .output()
            .expect("casemate runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// What the stand-ins were asked.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.path("deploy.json")).unwrap_or_default()
    }
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

#[test]
fn a_dry_run_shows_every_command_and_runs_none() {
    let rig = Rig::new();
    let (code, out, err) = rig.run(&["deploy", "--local", "--secret", "k=model.key", "--dry-run", "resources"]);
    expect![[r#"
        # check: nothing is needed beside casemate
        # generate: policy, identities and manifest are made from your YAML
        casemate generate --reference-values local --output generated resources
        # apply: the local engine starts the pods, INSECURE
        casemate up generated
        # set: the Coordinator is attested and gets the manifest, signed by its owners
        casemate set generated
        # secrets: the Coordinator gets your secrets
        casemate secret put k --file model.key
        # ready: every pod is ready
        casemate wait --timeout 120
        # verify: the Coordinator is genuine and serves this manifest and no other
        casemate verify
    "#]]
    .assert_eq(&out);
    assert_eq!((code, err.as_str()), (0, "nothing was run\n"));
    assert_eq!(rig.log(), "");
    assert!(!rig.path("deploy.json").exists() && !rig.path("generated").exists());
    let (code, out, _) = rig.run(&["--json", "deploy", "--local", "--dry-run", "resources"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["steps"][0]["step"]), (0, &serde_json::json!("check")));
}

#[test]
fn a_cluster_gets_every_step_in_its_order() {
    let rig = Rig::new();
    let (code, out, err) = rig.run(&with(&CLUSTER, &["--yes", "--", "infer", "--image", "7.png"]));
    assert_eq!(code, 0, "{err}");
    assert!(out.ends_with("deployed, and verified\n"), "{out}");
    expect![[r#"
        kubectl get --raw /readyz
        casemate-steps infra files --platform metal-qemu-snp --replace --registry registry.test/a --output files
        kubectl apply -f files/runtime-metal-qemu-snp.yml
        kubectl wait --for=condition=Established --timeout=60s crd/nodeconfigurations.casemate.dev
        kubectl apply -f files/configuration-metal-qemu-snp.yml
        kubectl --namespace casemate-system rollout status daemonset/casemate-node-0-1-0 --timeout=300s
        casemate-steps generate --reference-values metal-qemu-snp --pod-image registry.test/a/casemate-pod:0.1.0 --output generated files/coordinator-metal-qemu-snp.yml resources
        kubectl --namespace default apply --recursive -f generated
        kubectl --namespace default wait --for=create --timeout=60s pod/coordinator-0
        kubectl --namespace default wait --for=jsonpath={.status.phase}=Running --timeout=300s pod/coordinator-0
        casemate-steps set --coordinator 127.0.0.1:1 generated
        kubectl --namespace default wait pod --all --for=condition=Ready --field-selector=status.phase!=Succeeded --timeout=600s
        casemate-steps verify --coordinator 127.0.0.1:1
        casemate-steps infer --image 7.png
    "#]].assert_eq(&rig.log());
    // Each was shown before it ran.
    for line in rig.log().lines() {
        let shown = line.replace("casemate-steps ", "casemate ");
        let first = shown.split(' ').take(3).collect::<Vec<_>>().join(" ");
        assert!(err.contains(&first), "{shown}: {err}");
    }
}

#[test]
fn a_step_that_fails_is_named_and_taken_up_again() {
    let steps = [
        ("kubectl get", "check"),
        ("infra files", "runtime"),
        ("rollout status", "runtime"),
        ("steps generate", "generate"),
        ("apply --recursive", "apply"),
        ("--for=create", "start"),
        ("steps set", "set"),
        ("secret put", "secrets"),
        ("wait pod --all", "ready"),
        ("steps verify", "verify"),
        ("infer", "ask"),
    ];
    let arguments = with(&CLUSTER, &["--secret", "k=model.key", "--yes", "--", "infer"]);
    for (words, step) in steps {
        let rig = Rig::new();
        rig.fail(7, words);
        let (code, _, err) = rig.run(&arguments);
        assert_eq!(code, 2, "{words}: {err}");
        assert!(err.contains(&format!("error: step `{step}` failed")), "{words}: {err}");
        assert!(err.contains("ended with status 7") && err.contains("casemate doctor"), "{words}: {err}");
        assert!(!rig.journal().contains(&format!("\"{step}\"")), "{words}: {}", rig.journal());
        let failed_with = rig.log();
        rig.mend();
        let (code, out, err) = rig.run(&arguments);
        assert_eq!(code, 0, "{words}: {err}");
        assert!(out.contains("deployed, and verified"));
        if step != "check" {
            assert!(err.contains(&format!("the last run stopped at `{step}`")), "{words}: {err}");
            assert!(!rig.log().contains("kubectl get --raw"), "what was done is done again: {}", rig.log());
        }
        assert!(failed_with.lines().count() + rig.log().lines().count() >= 12, "{words}");
    }
}

#[test]
fn a_no_of_ours_is_a_no_and_everybody_elses_is_not() {
    for (status, words, code) in
        [(1, "steps verify", 1), (2, "steps verify", 2), (1, "steps set", 1), (1, "apply --recursive", 2)]
    {
        let rig = Rig::new();
        rig.fail(status, words);
        let (got, _, err) = rig.run(&with(&CLUSTER, &["--yes"]));
        assert_eq!(got, code, "{words}: {err}");
    }
}

#[test]
fn changed_files_are_generated_again() {
    let rig = Rig::new();
    rig.fail(1, "steps set");
    let arguments = with(&CLUSTER, &["--yes"]);
    assert_eq!(rig.run(&arguments).0, 1);
    rig.mend();
    fs::write(rig.path("resources/web.yaml"), "apiVersion: v1\nkind: Service\nmetadata: {name: other}\n").unwrap();
    let (code, _, err) = rig.run(&arguments);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("your files changed since the last run: it goes on at `generate`"), "{err}");
    assert!(rig.log().contains("steps generate") && !rig.log().contains("rollout"), "{}", rig.log());
}

#[test]
fn another_deployment_and_a_finished_one_begin_at_the_beginning() {
    let rig = Rig::new();
    let arguments = with(&CLUSTER, &["--yes"]);
    assert_eq!(rig.run(&arguments).0, 0);
    let (code, _, err) = rig.run(&arguments);
    assert!(code == 0 && err.contains("the last run did everything"), "{err}");
    let (code, _, err) = rig.run(&with(&arguments, &["--namespace", "trust"]));
    assert!(code == 0 && err.contains("was for another deployment"), "{err}");
    assert!(rig.log().contains("kubectl get --raw"), "{}", rig.log());
}

#[test]
fn a_run_can_begin_where_the_user_says() {
    let rig = Rig::new();
    let (code, _, err) = rig.run(&with(&CLUSTER, &["--yes", "--from", "verify"]));
    assert_eq!(code, 0, "{err}");
    assert_eq!(rig.log(), "casemate-steps verify --coordinator 127.0.0.1:1\n");
    let (code, _, err) = rig.run(&with(&CLUSTER, &["--yes", "--from", "infra"]));
    assert!(code == 1 && err.contains("this deployment has no such step"), "{err}");
    let (code, _, err) = rig.run(&with(&CLUSTER, &["--yes", "--from", "dance"]));
    assert!(code == 1 && err.contains("steps are check, infra"), "{err}");
}

#[test]
fn nothing_runs_that_nobody_agreed_to() {
    let rig = Rig::new();
    let (code, _, err) = rig.run(&CLUSTER);
    assert!(code == 1 && err.contains("there is nobody to ask") && err.contains("--dry-run"), "{err}");
    assert_eq!(rig.log(), "");
}

#[test]
fn on_gke_the_answer_is_that_nothing_could_be_checked() {
    let rig = Rig::new();
    fs::create_dir(rig.path("gke")).unwrap();
    fs::write(rig.path("gke/versions.tf"), "").unwrap();
    let arguments =
        ["deploy", "--platform", "gke-snp", "--registry", "registry.test/a", "--infra", "gke", "--yes", "resources"];
    let (code, _, err) = rig.run(&arguments);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("the deployment could not be verified") && err.contains("the nodes are the TEE"), "{err}");
    expect![[r#"
        terraform -chdir=gke init -input=false
        terraform -chdir=gke plan -input=false -out=plan.tfplan
        terraform -chdir=gke apply -input=false plan.tfplan
        terraform -chdir=gke output -raw get_credentials
        terraform -chdir=gke output -raw registry_login
        casemate-steps infra files --platform gke-snp --replace --registry registry.test/a --output files
        kubectl apply -f files/runtime-gke-snp.yml
        kubectl --namespace casemate-system rollout status daemonset/casemate-node-0-1-0 --timeout=300s
        kubectl --namespace default apply --recursive -f resources
        kubectl --namespace default wait pod --all --for=condition=Ready --field-selector=status.phase!=Succeeded --timeout=600s
    "#]].assert_eq(&rig.log());
    // A machine without the tools is told of all of them at once.
    for name in ["terraform", "gcloud"] {
        fs::remove_file(rig.path("bin").join(name)).unwrap();
    }
    let (code, _, err) = rig.run(&with(&arguments, &["--from", "check"]));
    assert!(code == 1 && err.contains("not installed: "), "{err}");
    assert_eq!(rig.log(), "");
}

#[test]
fn wrong_inputs_run_nothing() {
    let rig = Rig::new();
    let cluster = ["--registry", "registry.test/a", "--yes"];
    for (arguments, says) in [
        (vec!["--platform", "metal-qemu-snpp", "resources"], "is no platform"),
        (vec!["--platform", "metal-sgx", "resources"], "has no guests"),
        (vec!["--platform", "local", "resources"], "`--local`"),
        (vec!["--platform", "metal-qemu-snp", "nothing"], "read `nothing`"),
        (vec!["--platform", "metal-qemu-snp", "."], "holds the work folder"),
        (vec!["--platform", "metal-qemu-snp", "--infra", "gke", "resources"], "holds no Terraform"),
        (vec!["--platform", "metal-qemu-snp", "--namespace", "A b", "resources"], "is no namespace"),
        (vec!["--platform", "metal-qemu-snp", "--secret", "k", "resources"], "has not the form NAME=PATH"),
        (vec!["--platform", "metal-qemu-snp", "--image", "=web", "resources"], "has not the form NAME=PATH"),
        (vec!["--platform", "metal-qemu-snp", "--local", "resources"], "cannot be used with"),
    ] {
        let (code, _, err) = rig.run(&[&["deploy"], &cluster[..], &arguments].concat());
        assert!(code == 1 && err.contains(says), "{arguments:?}: {err}");
    }
    let (code, _, err) = rig.run(&["deploy", "--platform", "metal-qemu-snp", "--yes", "resources"]);
    assert!(code == 1 && err.contains("--registry"), "{err}");
    fs::write(rig.path("deploy.json"), "{}").unwrap();
    let (code, _, err) = rig.run(&with(&CLUSTER, &["--yes"]));
    assert!(code == 1 && err.contains("it is no journal") && err.contains("remove it"), "{err}");
    assert_eq!(rig.log(), "");
}

#[test]
fn under_json_standard_output_is_one_document() {
    let rig = Rig::new();
    let (code, out, err) = rig.run(&with(&["--json"], &with(&CLUSTER, &["--yes"])));
    assert_eq!(code, 0, "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["verified"], true);
    assert!(err.contains("out of kubectl"), "{err}");
    rig.fail(1, "steps verify");
    let (code, out, _) = rig.run(&with(&["--json"], &with(&CLUSTER, &["--yes"])));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["answer"]), (1, &serde_json::json!("no")));
}
