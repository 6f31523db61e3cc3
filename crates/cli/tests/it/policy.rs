//! `casemate policy` on generated documents, recordings, and everything that is none. Here are the documents.

mod bad;
mod diff;
mod page;
mod recordings;
mod show;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use policy::describe::policy_with;
use policy::request::{PodInstance, pause_request, sandbox_request};
use protocol::initdata::{ANNOTATION, Ingress, Settings};
use protocol::manifest::{PublicKey, Quorum, ReferenceValues, SoftwareReferenceValues};
use protocol::{DeploymentId, Digest, Identity, Initdata, Role};
use serde_json::{Value, json};

use super::casemate;
use super::explain::folder;
use page::on_page;

/// The values of the example's policy, as the tests of `generate` compare them.
const VALUES: &str = include_str!("../../../policy/tests/golden/policy_data.rego");

fn values() -> Value {
    let (_, data) = VALUES.split_once("policy_data := ").expect("values");
    serde_json::from_str(data).expect("JSON")
}

fn set_image(container: &mut Value, image: &str) {
    container["image"] = json!(image);
}

fn settings() -> Settings {
    Settings {
        version: 1,
        deployment_id: DeploymentId::from_bytes([0x11; 16]),
        role: Role::Workload,
        mesh: true,
        coordinator: Some(Identity(Digest::of(b"coordinator"))),
        open_ports: vec![],
        fs_group: None,
        owners: Quorum { threshold: 1, keys: vec![PublicKey(vec![1])] },
        reference_values: ReferenceValues::software(SoftwareReferenceValues {
            root: Digest::of(b"root"),
            measurements: vec![protocol::digest::Measurement::from_bytes([4; 48])],
        }),
        files: BTreeMap::from([(
            "digits".into(),
            BTreeMap::from([("labels.txt".into(), Digest::of(b"0\n1\n").into())]),
        )]),
        ingress: vec![Ingress { name: "http".into(), port: 8080, client_certificate: false }],
        egress: vec![],
    }
}

fn initdata(values: &Value, settings: &Settings) -> Initdata {
    Initdata::build(&policy_with(values), settings).expect("initdata")
}

fn yaml(name: &str, initdata: &Initdata) -> String {
    format!(
        "kind: Deployment\nmetadata:\n  name: {name}\nspec:\n  template:\n    metadata:\n      annotations:\n        {ANNOTATION}: {}\n",
        initdata.to_annotation()
    )
}

/// A manifest with the Coordinator, of which there is no file, and one workload.
fn manifest(initdata: &Initdata, edit: impl Fn(&mut Value)) -> String {
    let mut manifest: Value = serde_json::from_str(super::MANIFEST).expect("JSON");
    let workload = json!({"names": ["inference"], "role": "workload", "secrets": ["digits-model-key"]});
    manifest["policies"] = json!({
        Digest::of(b"coordinator").to_string(): {"names": ["coordinator"], "role": "coordinator"},
        initdata.identity().to_string(): workload,
    });
    edit(&mut manifest["policies"][initdata.identity().to_string()]);
    manifest.to_string()
}

fn check(files: &[(&str, &str)], arguments: &[&str], expected: Expect) {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    expected.assert_eq(&casemate(folder(&files).path(), arguments));
}
