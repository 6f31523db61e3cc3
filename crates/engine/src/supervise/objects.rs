//! Kubernetes objects, read from the files that `generate` wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::initdata;
use serde_json::{Value, json};

use crate::error::EngineError;

use super::network::MAX_PODS;

/// What is to run, and what it refers to.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    pub(super) workloads: Vec<Workload>,
    pub(super) services: Vec<Service>,
    /// By namespace and name.
    pub(super) config_maps: BTreeMap<(String, String), Value>,
    pub(super) secrets: BTreeMap<(String, String), Value>,
}

/// Something that makes pods.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    /// The wanted number of pods.
    pub(super) replicas: u32,
    /// The whole object; [`policy::request::pod_name`] names its pods.
    pub(super) object: Value,
    /// The pod: `metadata` and `spec`.
    pub(super) template: Value,
}

impl Workload {
    /// `kind/name` as kubectl writes it.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }

    /// Whether its number of pods may change.
    pub(super) fn scales(&self) -> bool {
        matches!(self.kind.as_str(), "Deployment" | "ReplicaSet" | "StatefulSet")
    }

    /// The initdata annotation.
    pub(super) fn initdata(&self) -> Option<&str> {
        self.template["metadata"]["annotations"][initdata::ANNOTATION].as_str()
    }
}

/// A service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) kind: String,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) ports: Vec<Port>,
    /// `publishNotReadyAddresses`: pods count from their first moment.
    pub(super) unready_too: bool,
}

/// A port of a service.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) protocol: String,
    /// A number, or the name of a container's port.
    pub(super) target: Value,
}

impl Service {
    /// Whether a pod with these labels is behind it. A service without a selector selects nothing.
    pub(super) fn selects(&self, namespace: &str, template: &Value) -> bool {
        let labels = &template["metadata"]["labels"];
        self.namespace == namespace
            && !self.selector.is_empty()
            && self.selector.iter().all(|(key, value)| labels[key].as_str() == Some(value))
    }
}

/// Objects that have no meaning on one machine without an API server, and do no harm.
const WITHOUT_EFFECT: [&str; 19] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "Endpoints",
    "HorizontalPodAutoscaler",
    "Ingress",
    "IngressClass",
    "Kustomization",
    "LimitRange",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PriorityClass",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "RuntimeClass",
    "ServiceAccount",
];
/// Also without effect.
const STORAGE_CLASS: &str = "StorageClass";

/// Reads files and folders, each folder with all folders in it.
pub(super) fn load(paths: &[PathBuf]) -> Result<Objects, EngineError> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, true, &mut files)?;
    }
    let mut objects = Objects::default();
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|error| wrong(file, None, error.to_string()))?;
        for (line, document) in documents(&text) {
            let value = parse(file, line, document)?;
            objects.add(file, line + key_line(document, "kind:"), value)?;
        }
    }
    let wanted = objects.workloads.iter().map(|workload| u64::from(workload.replicas)).sum();
    if wanted > MAX_PODS {
        return Err(EngineError::TooManyPods { wanted, most: MAX_PODS });
    }
    if objects.workloads.is_empty() {
        return Err(EngineError::NothingToRun { path: paths.first().cloned().unwrap_or_default() });
    }
    Ok(objects)
}

fn wrong(path: &Path, line: Option<usize>, reason: impl Into<String>) -> EngineError {
    EngineError::Resources { path: path.to_owned(), line, reason: reason.into() }
}

fn collect(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<(), EngineError> {
    let failed = |error: std::io::Error| wrong(path, None, error.to_string());
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        let mut entries: Vec<_> =
            std::fs::read_dir(path).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for entry in entries {
            let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden {
                collect(&entry, false, files)?;
            }
        }
        return Ok(());
    }
    let known = path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known));
    if named || known {
        files.push(path.to_owned());
    }
    Ok(())
}

/// The documents of a file, each with the number of lines before it.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            documents.push((start_line, text.get(start..at).unwrap_or_default()));
            start = at + line.len();
            start_line = number + 1;
        }
        at += line.len();
    }
    documents.push((start_line, text.get(start..).unwrap_or_default()));
    // Comments and blank lines between two marks are no document.
    documents.retain(|(_, document)| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    });
    documents
}

fn parse(file: &Path, before: usize, document: &str) -> Result<Value, EngineError> {
    serde_saphyr::from_str(document).map_err(|error| {
        let line = error.location().and_then(|location| usize::try_from(location.line()).ok());
        // The parser adds an excerpt of the file; the first line is the reason.
        let reason = error.without_snippet().to_string();
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        wrong(file, line.map(|line| before + line), reason)
    })
}

/// The line, from 1, on which a key of the top level stands.
fn key_line(document: &str, key: &str) -> usize {
    document.lines().position(|line| line.starts_with(key)).map_or(1, |line| line + 1)
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

impl Objects {
    fn add(&mut self, file: &Path, line: usize, object: Value) -> Result<(), EngineError> {
        let bad = |reason: String| wrong(file, Some(line), reason);
        let kind = object["kind"].as_str().ok_or_else(|| bad("no `kind`".into()))?.to_owned();
        if kind.ends_with("List") {
            for item in object["items"].as_array().into_iter().flatten() {
                self.add(file, line, item.clone())?;
            }
            return Ok(());
        }
        if WITHOUT_EFFECT.contains(&kind.as_str()) || kind == STORAGE_CLASS {
            return Ok(());
        }
        let name = object["metadata"]["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| bad(format!("{kind} without `metadata.name`")))?.to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        match kind.as_str() {
            "ConfigMap" => drop(self.config_maps.insert((namespace, name), object)),
            "Secret" => drop(self.secrets.insert((namespace, name), object)),
            "Service" => self.services.push(service(&object, name, namespace).map_err(bad)?),
            "Pod" | "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => {
                let workload = workload(object, kind, name, namespace).map_err(bad)?;
                if self.workloads.iter().any(|other| other.path() == workload.path()) {
                    return Err(bad(format!("{} is there twice", workload.path())));
                }
                if workload.initdata().is_none() {
                    return Err(EngineError::NotGenerated { owner: workload.path() });
                }
                self.workloads.push(workload);
            }
            "CronJob" | "ReplicationController" => {
                return Err(bad(format!("kind `{kind}` is not run by the local engine")));
            }
            _ => return Err(bad(format!("unknown kind `{kind}`"))),
        }
        Ok(())
    }
}

fn workload(object: Value, kind: String, name: String, namespace: String) -> Result<Workload, String> {
    let mut template = match kind.as_str() {
        "Pod" => json!({"metadata": object["metadata"], "spec": object["spec"]}),
        _ => object["spec"]["template"].clone(),
    };
    if template["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
        return Err(format!("{kind} `{name}` has no containers"));
    }
    if !template["metadata"].is_object() {
        template["metadata"] = json!({});
    }
    template["metadata"]["namespace"] = json!(namespace);
    let count = |field: &str| match &object["spec"][field] {
        Value::Null => Ok(1),
        value => value
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| format!("{kind} `{name}`: `spec.{field}` is not a number")),
    };
    let replicas = match kind.as_str() {
        "Deployment" | "ReplicaSet" | "StatefulSet" => count("replicas")?,
        "Job" => count("completions")?,
        // One node, one pod.
        _ => 1,
    };
    Ok(Workload { kind, name, namespace, replicas, object, template })
}

fn service(object: &Value, name: String, namespace: String) -> Result<Service, String> {
    let mut ports = Vec::new();
    for port in object["spec"]["ports"].as_array().into_iter().flatten() {
        let number = port["port"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let number = number.ok_or_else(|| format!("Service `{name}`: `port` is not a port"))?;
        let target = if port["targetPort"].is_null() { json!(number) } else { port["targetPort"].clone() };
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        if !["TCP", "UDP"].contains(&protocol.as_str()) {
            return Err(format!("Service `{name}`: protocol `{protocol}` is not run by the local engine"));
        }
        ports.push(Port { name: port["name"].as_str().unwrap_or_default().to_owned(), port: number, protocol, target });
    }
    let kind = object["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    let unready_too = object["spec"]["publishNotReadyAddresses"] == json!(true);
    Ok(Service { name, namespace, kind, selector: strings(&object["spec"]["selector"]), ports, unready_too })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    \
                       io.katacontainers.config.hypervisor.cc_init_data: aGk=\n  labels:\n    app: a\n\
                       spec:\n  containers:\n  - name: c\n    image: x\n";

    fn loaded(text: &str) -> Result<Objects, EngineError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), text).unwrap();
        load(&[folder.path().to_owned()])
    }

    #[test]
    fn objects_of_one_file_are_read() {
        let text = format!(
            "# first\n---\n{POD}---\napiVersion: v1\nkind: Service\nmetadata:\n  name: s\nspec:\n  selector:\n    app: a\n  \
             ports:\n  - port: 80\n    targetPort: http\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: n\n"
        );
        let objects = loaded(&text).unwrap();
        assert_eq!(objects.workloads[0].path(), "pod/a");
        assert_eq!(objects.services[0].ports[0].target, json!("http"));
        assert!(objects.services[0].selects("default", &objects.workloads[0].template));
        assert!(!objects.services[0].selects("other", &objects.workloads[0].template));
    }

    #[test]
    fn a_syntax_error_names_file_and_line() {
        let error = loaded(&format!("{POD}---\nkind: Pod\nmetadata: [\n")).unwrap_err();
        let EngineError::Resources { path, line: Some(line), .. } = &error else { panic!("{error}") };
        assert!(path.ends_with("a.yaml"));
        assert!((15..=18).contains(line), "{line}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn an_unknown_kind_names_its_line() {
        let error = loaded(&format!("{POD}---\napiVersion: v1\nkind: Pud\nmetadata:\n  name: x\n")).unwrap_err();
        assert!(error.to_string().ends_with("a.yaml line 15: unknown kind `Pud`"), "{error}");
    }

    #[test]
    fn wrong_inputs_have_their_own_errors() {
        assert!(matches!(loaded("# nothing\n").unwrap_err(), EngineError::NothingToRun { .. }));
        let bare = POD.replace("    io.katacontainers.config.hypervisor.cc_init_data: aGk=\n", "    x: y\n");
        assert!(matches!(loaded(&bare).unwrap_err(), EngineError::NotGenerated { owner } if owner == "pod/a"));
        let cases = [
            (format!("{POD}---\n{POD}"), "is there twice"),
            (POD.replace("name: a", "nome: a"), "without `metadata.name`"),
            (POD.replace("containers", "kontainers"), "has no containers"),
            (POD.replace("kind: Pod", "kind: CronJob"), "is not run by the local engine"),
            ("metadata: {}\n".into(), "no `kind`"),
        ];
        for (text, reason) in cases {
            let error = loaded(&text).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.is_refusal());
        }
        let missing = load(&["/nonexistent/x.yaml".into()]).unwrap_err();
        assert!(missing.to_string().starts_with("/nonexistent/x.yaml: "), "{missing}");
    }

    #[test]
    fn more_pods_than_addresses_are_refused() {
        let text = "kind: Deployment\nmetadata:\n  name: w\nspec:\n  replicas: 126\n  template:\n    metadata:\n      annotations:\n        \
                    io.katacontainers.config.hypervisor.cc_init_data: aGk=\n    spec:\n      containers:\n      - name: c\n";
        assert_eq!(loaded(text).unwrap_err(), EngineError::TooManyPods { wanted: 126, most: 125 });
        assert!(loaded(&text.replace("126", "125")).is_ok());
    }

    #[test]
    fn numbers_of_pods_follow_the_kind() {
        let template = "spec:\n  replicas: 3\n  template:\n    metadata:\n      annotations:\n        \
                        io.katacontainers.config.hypervisor.cc_init_data: aGk=\n    spec:\n      containers:\n      - name: c\n";
        for (kind, replicas, scales) in [("Deployment", 3, true), ("StatefulSet", 3, true), ("DaemonSet", 1, false)] {
            let objects = loaded(&format!("kind: {kind}\nmetadata:\n  name: w\n{template}")).unwrap();
            assert_eq!((objects.workloads[0].replicas, objects.workloads[0].scales()), (replicas, scales));
        }
    }
}
