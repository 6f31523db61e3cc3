//! The whole of `generate` against a registry on loopback: what it writes, what it leaves alone, and what it refuses.

mod example;
mod files;
mod guests;
mod kinds;
mod manifest;
mod platforms;
mod refusals;
mod settings;
mod workload;

use std::path::Path;

use expect_test::expect_file;
use protocol::digest::Measurement;
use protocol::{Digest, Initdata, Manifest};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::evaluate::PolicyEngine;
use crate::evaluate::mutate::{engine_after, every_change_is_refused};
use crate::images::fake::FakeRegistry;
use crate::images::{self, CACHE_FILE, ImageConfig};
use crate::request::{PodInstance, container_request, pause_request, pod_name, sandbox_request};
use crate::yaml;

const DEPLOYMENT: &str = include_str!("../../../../../examples/inference/resources/deployment.yaml");
const SERVICE: &str = include_str!("../../../../../examples/inference/resources/service.yaml");
const CONFIG_MAP: &str = include_str!("../../../../../examples/inference/resources/configmap.yaml");

/// As the command line runs it: with a cache in the work folder.
async fn generate(options: &GenerateOptions) -> Result<Report, GenerateError> {
    let cache = Some(options.workspace.join(CACHE_FILE));
    super::generate(options, &Registry::with(images::Options { cache, ..images::Options::default() })).await
}

impl GenerateOptions {
    /// For the local engine, from the resources of a work folder.
    pub(crate) fn of_tests(workspace: &Path, pod_image: String) -> Self {
        Self {
            paths: vec![workspace.join("resources")],
            workspace: workspace.to_owned(),
            platforms: vec!["local".into()],
            software: Some(SoftwareReferenceValues {
                root: Digest::of(b"root"),
                measurements: vec![Measurement::from_bytes([1; 48])],
            }),
            owner_keys: vec![PublicKey(vec![1])],
            owner_threshold: 1,
            holder_keys: vec![PublicKey(vec![2])],
            holder_threshold: 1,
            pod_image: Some(pod_image),
            ..Self::default()
        }
    }
}

/// A work folder with the example in it, and a registry with its images.
struct Rig {
    dir: TempDir,
    registry: FakeRegistry,
}

impl Rig {
    fn new() -> Self {
        let rig = Self { dir: tempfile::tempdir().unwrap(), registry: FakeRegistry::start() };
        rig.registry.push(
            "casemate/digits",
            "1",
            &json!({"Entrypoint": ["/casemate-serve"], "Env": ["PATH=/"], "WorkingDir": "/"}),
        );
        rig.registry.push("casemate-pod", "0", &json!({"Entrypoint": ["/casemate-pod"]}));
        rig.write("resources/deployment.yaml", DEPLOYMENT);
        rig.write("resources/service.yaml", SERVICE);
        rig.write("resources/configmap.yaml", CONFIG_MAP);
        rig
    }

    /// Writes a file, with the example's registry replaced by ours.
    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("localhost:5000", &self.registry.host)).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    fn options(&self) -> GenerateOptions {
        GenerateOptions::of_tests(self.dir.path(), format!("{}/casemate-pod:0", self.registry.host))
    }

    async fn generate(&self) -> Result<Report, GenerateError> {
        generate(&self.options()).await
    }

    /// Every file of the work folder with its content.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        fn walk(dir: &Path, all: &mut BTreeMap<PathBuf, String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, all);
                } else {
                    all.insert(path.clone(), std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let mut all = BTreeMap::new();
        walk(self.dir.path(), &mut all);
        all
    }

    fn deployment(&self) -> Value {
        yaml::parse(&self.read("resources/deployment.yaml")).unwrap().remove(0).tree
    }

    /// Hides what differs from run to run.
    fn stable(&self, text: &str) -> String {
        let annotation = format!("{}: ", protocol::initdata::ANNOTATION);
        let lines = text.replace(&self.registry.host, "localhost:5000");
        let hide = |line: &str| match line.split_once(&annotation) {
            Some((indent, _)) => format!("{indent}{annotation}<initdata>"),
            None => line.to_owned(),
        };
        // The port of the registry is part of what the digests of the manifest are over.
        let mut stable: Vec<_> = lines.lines().map(hide).collect();
        stable.push(String::new());
        stable.join("\n")
    }
}

fn annotation(resource: &Value) -> &str {
    resource["spec"]["template"]["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap()
}

/// Runs the example with one file replaced and gives the error.
async fn error_of(file: &str, text: &str) -> GenerateError {
    let rig = Rig::new();
    rig.write(file, text);
    let before = rig.snapshot();
    let error = rig.generate().await.expect_err(text);
    assert_eq!(rig.snapshot(), before, "something was written");
    error
}

/// The error, its cause, and its place.
fn words(error: &GenerateError) -> String {
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        text.push_str(&format!(": {next}"));
        cause = next;
    }
    text
}

const POD: &str = "{runtimeClassName: casemate, containers: [{name: c, image: localhost:5000/casemate/digits:1}]}";
