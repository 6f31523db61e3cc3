//! The Terraform: what every machine can check of it, and what Terraform itself says where it and the provider can be had.
//!
//! Terraform is not built here: its licence and size are its own. Where `terraform` or `tofu` is installed, `fmt` runs. For
//! `validate` and `test` the Google provider is needed, too: `CASEMATE_TERRAFORM_MIRROR` names a folder in the layout of
//! `terraform providers mirror`, or such a folder lies in the cache as `casemate/terraform-mirror`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use hcl::structure::{Block, Body};
use testkit::cluster::find_program;

use crate::objects::files;
use crate::{read, repository, skipped};

const MODULE: &str = "deploy/terraform/gke";

fn module() -> PathBuf {
    repository().join(MODULE)
}

/// All blocks of the module's files.
fn blocks() -> Vec<Block> {
    let entries = std::fs::read_dir(module()).expect("the module");
    let mut blocks = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "tf") {
            let body = hcl::parse(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            blocks.extend(body.into_blocks());
        }
    }
    blocks
}

fn labels(block: &Block) -> Vec<&str> {
    block.labels().iter().map(hcl::structure::BlockLabel::as_str).collect()
}

fn has(body: &Body, attribute: &str) -> bool {
    body.attributes().any(|found| found.key() == attribute)
}

/// An attribute as it is written.
fn written(body: &Body, attribute: &str) -> String {
    let found = body.attributes().find(|found| found.key() == attribute);
    found.map_or_else(String::new, |found| hcl::format::to_string(&found.expr).expect("an expression"))
}

fn inner<'a>(body: &'a Body, name: &'a str) -> impl Iterator<Item = &'a Block> {
    body.blocks().filter(move |block| block.identifier() == name)
}

#[test]
fn every_variable_says_what_it_is_and_is_checked() {
    let mut variables = BTreeSet::new();
    for block in blocks().iter().filter(|block| block.identifier() == "variable") {
        let name = labels(block)[0].to_owned();
        assert!(has(block.body(), "description") && has(block.body(), "type"), "{name}");
        // A truth value is checked by its type.
        if written(block.body(), "type") != "bool" {
            assert!(inner(block.body(), "validation").next().is_some(), "`{name}` is taken as it comes");
        }
        for validation in inner(block.body(), "validation") {
            let message = written(validation.body(), "error_message");
            assert!(message.ends_with(".\"") && message.len() > 20, "{name}: {message}");
            assert!(written(validation.body(), "condition").contains(&format!("var.{name}")), "{name}");
        }
        variables.insert(name);
    }
    assert!(variables.len() > 15, "{variables:?}");
    // Each is read somewhere besides its own checks, and each refusal is in a test.
    let texts: String = files(&module(), &["tf"])
        .iter()
        .filter(|path| !path.ends_with("variables.tf"))
        .map(|path| read(path))
        .collect();
    let refused = read(&module().join("tests/refused.tftest.hcl"));
    let truth = ["gpu", "deletion_protection"];
    for name in &variables {
        assert!(texts.contains(&format!("var.{name}")), "nothing reads `{name}`");
        let tested = refused.contains(&format!("expect_failures = [var.{name}]"));
        assert!(tested || truth.contains(&name.as_str()), "no test refuses a `{name}`");
    }
}

#[test]
fn every_output_says_what_it_is_and_is_named_in_a_text() {
    let mut outputs = 0;
    for block in blocks().iter().filter(|block| block.identifier() == "output") {
        outputs += 1;
        assert!(has(block.body(), "description") && has(block.body(), "value"), "{:?}", labels(block));
    }
    assert!(outputs >= 8);
    let cluster =
        cloud::gke::Cluster::new("my-project", "europe-west4", "casemate", cloud::gke::NodeTee::Snp, &[], &[]);
    let next = cluster.expect("a cluster").next("gke").join("\n");
    for needed in ["get_credentials", "registry_login"] {
        assert!(next.contains(&format!("terraform output -raw {needed}")), "{next}");
        assert!(blocks().iter().any(|block| block.identifier() == "output" && labels(block) == [needed]));
    }
}

#[test]
fn every_pool_is_confidential_shielded_and_without_the_default_account() {
    let mut pools = 0;
    for block in blocks().iter().filter(|block| block.identifier() == "resource") {
        let name = labels(block).join(".");
        let of_nodes = ["google_container_cluster", "google_container_node_pool"].contains(&labels(block)[0]);
        if !of_nodes {
            continue;
        }
        pools += 1;
        let config = inner(block.body(), "node_config").next().unwrap_or_else(|| panic!("{name}: no node_config"));
        let confidential = inner(config.body(), "confidential_nodes").next().expect("confidential_nodes");
        assert_eq!(written(confidential.body(), "enabled"), "true", "{name}");
        let kind = written(confidential.body(), "confidential_instance_type");
        assert!(["var.tee", "\"TDX\""].contains(&kind.as_str()), "{name}: {kind}");
        let shielded = inner(config.body(), "shielded_instance_config").next().expect("shielded_instance_config");
        assert_eq!(written(shielded.body(), "enable_secure_boot"), "true", "{name}");
        assert_eq!(written(config.body(), "service_account"), "google_service_account.nodes.email", "{name}");
        // The cluster's own would hold for every pool, and the pool with GPUs has another TEE.
        assert!(inner(block.body(), "confidential_nodes").next().is_none(), "{name}");
    }
    assert_eq!(pools, 3);
}

#[test]
fn there_is_one_region_for_all() {
    let mut placed = 0;
    for block in blocks().iter().filter(|block| block.identifier() == "resource") {
        let name = labels(block).join(".");
        for place in ["region", "location"] {
            if has(block.body(), place) {
                placed += 1;
                assert_eq!(written(block.body(), place), "var.region", "{name}");
            }
        }
    }
    assert!(placed >= 7, "{placed} resources have a place");
    for path in files(&module(), &["tf"]) {
        if !path.ends_with("variables.tf") {
            let text = read(&path);
            let literal = text.lines().find(|line| line.contains("europe-") || line.contains("us-central"));
            assert_eq!(literal, None, "{}", path.display());
        }
    }
}

/// Terraform, or OpenTofu.
fn terraform() -> Option<PathBuf> {
    let found = ["terraform", "tofu"].into_iter().find_map(find_program);
    if found.is_none() {
        skipped("there is neither `terraform` nor `tofu`");
    }
    found
}

#[test]
fn the_module_is_formatted() {
    let Some(terraform) = terraform() else { return };
    let output = Command::new(terraform)
        .args(["fmt", "-check", "-recursive", "-diff", "-no-color"])
        .arg(module())
        .output()
        .expect("Terraform runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A folder with the provider.
fn mirror() -> Option<PathBuf> {
    let named = std::env::var_os("CASEMATE_TERRAFORM_MIRROR").map(PathBuf::from);
    let is_named = named.is_some();
    let folder = named.unwrap_or_else(|| testkit::go::cache().join("terraform-mirror"));
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(!is_named, "`CASEMATE_TERRAFORM_MIRROR` names `{}`, which is no folder", folder.display());
    skipped(
        "there is no Google provider: `CASEMATE_TERRAFORM_MIRROR` names a folder that `terraform providers mirror` wrote",
    );
    None
}

#[test]
fn terraform_takes_the_module_and_its_tests_pass() {
    let Some(terraform) = terraform() else { return };
    let Some(mirror) = mirror() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let module = dir.path().join("gke");
    let cluster =
        cloud::gke::Cluster::new("my-project", "europe-west4", "casemate", cloud::gke::NodeTee::Snp, &[], &[]);
    // What a user gets, values and all.
    cloud::place::new_folder(&module, &cluster.expect("a cluster").files()).expect("the folder is written");
    let config = dir.path().join("terraformrc");
    let text = format!("provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n");
    std::fs::write(&config, text).expect("a file");
    let run = |args: &[&str]| {
        let output = Command::new(&terraform)
            .args(args)
            .arg("-no-color")
            .current_dir(&module)
            .env("TF_CLI_CONFIG_FILE", &config)
            .env("CHECKPOINT_DISABLE", "1")
            .output()
            .expect("Terraform runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}: {said}");
        said
    };
    run(&["init", "-input=false", "-backend=false"]);
    run(&["validate"]);
    let said = run(&["test"]);
    assert!(said.contains("0 failed"), "{said}");
}
