//! The templates for pipelines.

use std::process::Command;

use serde_json::Value;
use testkit::cluster::find_program;

use crate::{read, repository, skipped};

fn template(name: &str) -> Value {
    let path = repository().join("deploy/ci").join(name);
    serde_saphyr::from_str(&read(&path)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn actions_are_pinned_by_commit_and_jobs_have_rights_of_their_own() {
    let workflow = template("github-actions.yaml");
    assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}));
    let jobs = workflow["jobs"].as_object().expect("jobs");
    let mut used = 0;
    for (name, job) in jobs {
        assert!(job["permissions"].is_object() && job["runs-on"].is_string(), "{name}");
        for step in list(&job["steps"]) {
            let uses = text(&step["uses"]);
            if uses.is_empty() {
                assert!(step["run"].is_string(), "{name}: {step}");
                // What others wrote, as the title of a pull request, is never part of a script.
                assert!(!text(&step["run"]).contains("${{"), "{name}: {step}");
                continue;
            }
            used += 1;
            let (_, commit) = uses.split_once('@').unwrap_or_else(|| panic!("{name}: {uses}"));
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}: {uses}");
        }
    }
    assert!(used >= 5);
    let names: Vec<&str> = jobs.keys().map(String::as_str).collect();
    assert_eq!(names, ["build", "check", "deploy"]);
    assert_eq!(jobs["deploy"]["environment"], "production");
    assert_eq!(workflow["env"]["CASEMATE_VERSION"], cloud::VERSION);
}

#[test]
fn steps_of_cloud_build_are_pinned_by_digest_and_in_order() {
    let build = template("cloudbuild.yaml");
    let steps = list(&build["steps"]);
    let ids: Vec<String> = steps.iter().map(|step| text(&step["id"])).collect();
    assert_eq!(ids, ["build", "scan", "push", "install", "generate", "deploy", "check"]);
    for step in &steps {
        let name = text(&step["name"]);
        let digest = name.split_once("@sha256:").map(|(_, digest)| digest.to_owned()).unwrap_or_default();
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        // What Cloud Build is to fill in is said above; everything else is the shell's, with two dollars.
        for argument in list(&step["args"]) {
            let argument = text(&argument);
            for (at, _) in argument.match_indices("${") {
                let escaped = argument[..at].ends_with('$');
                let variable: String = argument[at + 2..].chars().take_while(|c| *c != '}').collect();
                let known = !build["substitutions"][&variable].is_null()
                    || ["PROJECT_ID", "COMMIT_SHA"].contains(&variable.as_str());
                assert!(escaped || known, "{name}: {variable}");
            }
        }
    }
    assert_eq!(build["substitutions"]["_CASEMATE_VERSION"], cloud::VERSION);
}

/// Scripts are read by the shell that would run them.
#[test]
fn the_scripts_are_shell() {
    let Some(bash) = find_program("bash") else { return skipped("there is no `bash`") };
    let mut scripts = Vec::new();
    for job in template("github-actions.yaml")["jobs"].as_object().expect("jobs").values() {
        scripts.extend(list(&job["steps"]).iter().map(|step| text(&step["run"])).filter(|run| !run.is_empty()));
    }
    for step in list(&template("cloudbuild.yaml")["steps"]) {
        if step["entrypoint"] == "bash" {
            scripts.extend(list(&step["args"]).last().map(|script| text(script).replace("$$", "$")));
        }
    }
    assert!(scripts.len() > 10);
    for script in scripts {
        let output = Command::new(&bash).args(["-n", "-c", &script]).output().expect("bash runs");
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The commands of the templates are commands that there are.
#[test]
fn the_templates_call_casemate_by_its_verbs() {
    for name in ["github-actions.yaml", "cloudbuild.yaml"] {
        let all = read(&repository().join("deploy/ci").join(name));
        for verb in ["casemate generate --reference-values", "--check", "casemate set --coordinator", "casemate verify"]
        {
            assert!(all.contains(verb), "{name} lacks `{verb}`");
        }
    }
}
