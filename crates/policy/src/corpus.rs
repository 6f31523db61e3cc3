//! Workloads as people write them, in `tests/corpus`: each becomes confidential, keeps every line that is not about
//! that, changes no more in a second run, and has a policy that allows what the shim asks and none of its changes.
//!
//! `golden/NAME.rego` holds what `generate` says of a workload, the lines of its author that it replaced, and the
//! values of its policy without those of initializer and mesh, which are the same everywhere. `UPDATE_EXPECT=1` writes
//! them anew: the diff is what a reviewer reads.

mod images;
mod refused;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect_file;
use protocol::{Digest, Initdata};
use regorus::utils::limits::PolicyLengthConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::evaluate::mutate::{engine_after, some_changes_are_refused};
use crate::generate::{GenerateError, GenerateOptions, INITIALIZER, MESH, Report, generate};
use crate::images::{ImageConfig, Registry};
use crate::request::{PodInstance, as_made, container_request, pause_request, pod_name, sandbox_request};
use crate::yaml;

/// Of the fields of each workload's requests, one in so many is changed. `evaluate` changes every one of its own pods.
const SAMPLE: usize = 60;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// The YAML files of a folder of the corpus, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

/// A file of the corpus in a work folder of its own.
struct Work {
    dir: TempDir,
    name: String,
    original: Vec<u8>,
}

impl Work {
    fn of(path: &Path) -> Self {
        let work = Self {
            dir: tempfile::tempdir().unwrap(),
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            original: std::fs::read(path).unwrap(),
        };
        std::fs::create_dir(work.dir.path().join("resources")).unwrap();
        std::fs::write(work.path(), &work.original).unwrap();
        work
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("resources").join(&self.name)
    }

    fn generate(&self, registry: &Registry) -> Result<Report, GenerateError> {
        let options = GenerateOptions::of_tests(self.dir.path(), images::POD_IMAGE.to_owned());
        runtime().block_on(generate(&options, registry))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Does something with every file, as many at a time as there are processors, and gives what went wrong.
fn each(files: &[PathBuf], check: impl Fn(&Path) + Sync) -> Vec<String> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(path)));
                    if checked.is_err() {
                        failed.lock().unwrap().push(path.file_name().unwrap().to_string_lossy().into_owned());
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    failed
}

/// An error with its causes and its advice, as the command line prints it.
fn said(error: &GenerateError, folder: &Path) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        writeln!(text, "caused by: {error}").unwrap();
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        writeln!(text, "hint: {hint}").unwrap();
    }
    text.replace(&format!("{}/", folder.display()), "")
}

#[test]
fn ordinary_workloads_become_confidential_and_nothing_else_changes() {
    let files = files(&folder());
    assert!(files.len() >= 60, "only {} workloads", files.len());
    let failed = each(&files, |path| {
        let work = Work::of(path);
        let registry = Registry::with(images::options());
        let report = work.generate(&registry).unwrap_or_else(|error| panic!("{}", said(&error, work.dir.path())));
        check(path, &work, &report, &registry);
    });
    assert!(failed.is_empty(), "{}", failed.join(", "));
}

/// What is not supported yet, beside the hour of its arrival: when one of these is taken, it belongs into the corpus.
#[test]
fn what_is_not_supported_yet_is_refused_and_says_so() {
    let mut text = String::new();
    for path in files(&folder().join("pending")) {
        let work = Work::of(&path);
        let registry = Registry::with(images::options());
        match work.generate(&registry) {
            Ok(_) => writeln!(text, "{}: taken; move it to the corpus\n", work.name).unwrap(),
            Err(error) => {
                assert_eq!(std::fs::read(work.path()).unwrap(), work.original, "{}", work.name);
                writeln!(text, "{}", said(&error, work.dir.path())).unwrap();
            }
        }
    }
    expect_file!["../tests/corpus/pending/errors.txt"].assert_eq(&text);
}

fn check(path: &Path, work: &Work, report: &Report, registry: &Registry) {
    let first = std::fs::read(work.path()).unwrap();
    let written = String::from_utf8(first.clone()).unwrap();
    let original = String::from_utf8(work.original.clone()).unwrap();
    comments_survive(&original, &written);

    // A second run changes nothing, and says so.
    let snapshot = |name: &str| std::fs::read(work.dir.path().join(name)).unwrap();
    let manifest = snapshot("manifest.json");
    let again = work.generate(registry).unwrap_or_else(|error| panic!("again: {}", said(&error, work.dir.path())));
    assert_eq!(String::from_utf8(std::fs::read(work.path()).unwrap()).unwrap(), written, "a second run changes it");
    assert_eq!(snapshot("manifest.json"), manifest);
    assert!(again.up_to_date && again.changed.is_empty(), "{:?}", again.changed);

    let documents = yaml::parse(&written).unwrap();
    let mut resources = Vec::new();
    for document in &documents {
        resources.extend(match document.tree["items"].as_array() {
            Some(items) if document.tree["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => items.clone(),
            _ => vec![document.tree.clone()],
        });
    }
    let mut golden = header(report, &original, &written);
    let mut pods = 0;
    for resource in &resources {
        let Some(pod) = pod_of(resource) else { continue };
        pods += 1;
        let annotation = pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str();
        let initdata = Initdata::from_annotation(annotation.expect("it has initdata")).unwrap();
        let policy = initdata.policy().unwrap();
        let title = format!("{}/{}", resource["kind"].as_str().unwrap(), name_of(resource));
        writeln!(golden, "\n# {title}\npolicy_data := {}", compact(&data(policy))).unwrap();

        let life = life(resource, &pod, &resources, registry);
        engine_after(policy, &life, life.len());
        let mut count = Digest::of(title.as_bytes()).as_bytes().iter().map(|byte| usize::from(*byte)).sum::<usize>();
        some_changes_are_refused(policy, &life, &mut |_, pointer| {
            count += 1;
            // The host's word, which is bound by a pattern; `evaluate` tries those.
            count.is_multiple_of(SAMPLE) && !pointer.starts_with("/OCI/Process/Env")
        });
    }
    assert!(pods > 0, "no pod of it is confidential");
    let name = path.with_extension("rego");
    let name = Path::new("golden").join(name.file_name().unwrap());
    expect_file![folder().join(name)].assert_eq(&golden);
}

/// What was a comment still is one, in the same order, and so is every blank line between.
fn comments_survive(original: &str, written: &str) {
    let comment = |line: &str| {
        let line = line.trim_end();
        let trimmed = line.trim_start();
        if trimmed.starts_with('#') {
            return Some(trimmed.to_owned());
        }
        line.find(" # ").map(|at| line[at..].trim().to_owned())
    };
    let kept: Vec<String> = written.lines().filter_map(comment).collect();
    let mut rest = kept.iter();
    for wanted in original.lines().filter_map(comment) {
        assert!(rest.any(|line| *line == wanted), "the comment `{wanted}` is gone or elsewhere");
    }
}

/// Short digests and no widths: what a golden file holds is to be read.
fn shorten(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("sha256:") {
        let end = at + "sha256:".len();
        let (before, after) = rest.split_at(end);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(before);
        out.push_str(&after[..digits.min(8)]);
        rest = &after[digits..];
    }
    out + rest
}

/// What `generate` says, and the lines of the author that are no more.
fn header(report: &Report, original: &str, written: &str) -> String {
    let mut text = String::new();
    for workload in report.workloads.iter().filter(|workload| !workload.file.ends_with("casemate-coordinator.yml")) {
        writeln!(text, "# {} is `{}`", workload.resource, workload.name).unwrap();
        if !workload.secrets.is_empty() {
            writeln!(text, "#   reads the secrets {}", workload.secrets.join(", ")).unwrap();
        }
        workload.notices.iter().for_each(|notice| writeln!(text, "#   {notice}").unwrap());
    }
    report.notices.iter().for_each(|notice| writeln!(text, "# {notice}").unwrap());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    written.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    for line in original.lines() {
        match counts.get_mut(line) {
            Some(count) if *count > 0 => *count -= 1,
            _ => writeln!(text, "#-{line}").unwrap(),
        }
    }
    text
}

fn name_of(resource: &Value) -> &str {
    let metadata = &resource["metadata"];
    metadata["name"].as_str().or_else(|| metadata["generateName"].as_str()).unwrap_or_default()
}

/// The pod of a resource as its policy has it: with the volumes of claim templates.
fn pod_of(resource: &Value) -> Option<Value> {
    let places = ["/spec/template", "/spec/jobTemplate/spec/template", ""];
    let found = places.iter().filter_map(|place| resource.pointer(place)).find(|pod| {
        pod["spec"]["runtimeClassName"].as_str().is_some_and(|class| class != "runc" && class != "gvisor")
    })?;
    let mut pod = found.clone();
    for template in resource["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let name = &template["metadata"]["name"];
        let volume = json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        match pod["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(volume),
            None => pod["spec"]["volumes"] = json!([volume]),
        }
    }
    Some(pod)
}

/// The requests that the shim makes of a pod, in order.
fn life(resource: &Value, pod: &Value, resources: &[Value], registry: &Registry) -> Vec<(&'static str, Value)> {
    let namespace_of = |resource: &Value| resource["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
    let namespace = namespace_of(resource);
    let of_kind = |kind: &str| {
        let found = resources.iter().filter(|found| found["kind"] == kind && namespace_of(found) == namespace);
        found.map(|found| (name_of(found).to_owned(), found.clone())).collect()
    };
    let name = pod_name(resource, 1);
    let pod = &as_made(resource, pod, 1);
    let instance = PodInstance {
        hostname: pod["spec"]["hostname"].as_str().unwrap_or(&name).to_owned(),
        name,
        namespace: namespace.clone(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        node_name: "worker-3.example".into(),
        host_ip: "192.168.0.1".into(),
        pod_ip: "10.0.0.7".into(),
        service_env: vec![
            ("KUBERNETES_SERVICE_HOST".into(), "fd00::1".into()),
            ("KUBERNETES_PORT_443_TCP_PORT".into(), "443".into()),
        ],
        config_maps: of_kind("ConfigMap"),
        secrets: of_kind("Secret"),
    };
    let mut life = vec![
        ("CreateSandboxRequest", sandbox_request(pod, &instance)),
        ("CreateContainerRequest", pause_request(pod, &instance)),
    ];
    let lists = ["initContainers", "containers"];
    let containers = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    for (index, container) in containers.enumerate() {
        let image = image_of(container["image"].as_str().unwrap(), registry);
        let request = container_request(pod, container, &image, &instance, &format!("{index:064x}"));
        life.push(("CreateContainerRequest", request.unwrap()));
    }
    life
}

fn image_of(reference: &str, registry: &Registry) -> ImageConfig {
    // A layout is known by the name that the author wrote.
    let (name, _) = reference.split_once('@').expect("it is pinned");
    let short = name.strip_prefix("docker.io/").map(|name| name.strip_prefix("library/").unwrap_or(name));
    let layouts = images::options().layouts;
    let known = [Some(name), short].into_iter().flatten().find(|name| layouts.contains_key(*name));
    runtime().block_on(registry.resolve(known.unwrap_or(name))).unwrap().config
}

/// The values that a policy holds, without those of what we add to every pod.
fn data(policy: &str) -> Value {
    let mut engine = regorus::Engine::new();
    let lengths = PolicyLengthConfig {
        max_col: NonZeroU32::new(160 * 1024).unwrap(),
        max_file_bytes: NonZeroUsize::new(1 << 24).unwrap(),
        max_lines: NonZeroUsize::new(1 << 20).unwrap(),
    };
    engine.set_policy_length_config(lengths);
    engine.add_policy("policy.rego".into(), policy.into()).unwrap();
    let value = engine.eval_rule("data.agent_policy.policy_data".into()).unwrap();
    let mut value = serde_json::to_value(&value).unwrap();
    // What all containers have is of no interest here either.
    for same in ["mounts", "container_mounts"] {
        value.as_object_mut().unwrap().shift_remove(same);
    }
    for own in [INITIALIZER, MESH] {
        if let Some(containers) = value["containers"].as_object_mut() {
            containers.shift_remove(own);
        }
    }
    value
}

/// JSON with a line for each member of the outer objects and for whatever fits on one.
fn compact(value: &Value) -> String {
    fn write(out: &mut String, value: &Value, depth: usize) {
        const WIDTH: usize = 180;
        let flat = value.to_string();
        let pad = " ".repeat(depth + 1);
        match value {
            Value::Object(fields) if depth < 1 || flat.len() + depth > WIDTH => {
                out.push_str("{\n");
                for (index, (key, item)) in fields.iter().enumerate() {
                    let _ = write!(out, "{pad}{}: ", json!(key));
                    write(out, item, depth + 1);
                    out.push_str(if index + 1 < fields.len() { ",\n" } else { "\n" });
                }
                let _ = write!(out, "{}}}", " ".repeat(depth));
            }
            Value::Array(items) if flat.len() + depth > WIDTH => {
                out.push_str("[\n");
                for (index, item) in items.iter().enumerate() {
                    out.push_str(&pad);
                    write(out, item, depth + 1);
                    out.push_str(if index + 1 < items.len() { ",\n" } else { "\n" });
                }
                let _ = write!(out, "{}]", " ".repeat(depth));
            }
            _ => out.push_str(&flat),
        }
    }
    let mut out = String::new();
    write(&mut out, value, 0);
    shorten(&out)
}
