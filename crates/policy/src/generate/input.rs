//! The user's files: which there are, which objects they hold, and where each stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{GenerateError, Place};
use crate::yaml::{self, Document};

/// The runtime class of a confidential pod. Those of Contrast and of Kata Containers count, too.
pub const RUNTIME_CLASS: &str = "casemate";

/// Kinds that hold a pod, with the place of its template.
const POD_KINDS: [(&str, &str); 6] = [
    ("Pod", ""),
    ("Deployment", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("Job", "/spec/template"),
];

/// Kinds that pass through untouched.
const OTHER_KINDS: [&str; 27] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "Endpoints",
    "EndpointSlice",
    "Gateway",
    "HTTPRoute",
    "HorizontalPodAutoscaler",
    "Ingress",
    "IngressClass",
    "LimitRange",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PodMonitor",
    "PriorityClass",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "RuntimeClass",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
    "StorageClass",
];

/// One file of the user, or one that is to be added.
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    /// The text on disk; `None` for a file that does not exist yet.
    pub(super) text: Option<String>,
    pub(super) documents: Vec<Document>,
    /// The values that the documents are to have.
    pub(super) trees: Vec<Value>,
}

/// An object in a document, or in a `List` there.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) file: usize,
    pub(super) document: usize,
    /// JSON pointer in the document.
    pub(super) pointer: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
}

impl Object {
    /// `Deployment/inference`.
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// JSON pointer of the pod template; `None` for kinds without.
    pub(super) fn template(&self) -> Option<String> {
        let (_, place) = POD_KINDS.iter().find(|(kind, _)| *kind == self.kind)?;
        Some(format!("{}{place}", self.pointer))
    }
}

/// All files and what is in them.
#[derive(Default)]
pub(super) struct Inputs {
    pub(super) files: Vec<SourceFile>,
    pub(super) objects: Vec<Object>,
}

impl Inputs {
    /// Reads all files under `paths`.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, GenerateError> {
        let mut inputs = Self::default();
        for path in files_under(paths)? {
            let text =
                std::fs::read_to_string(&path).map_err(|source| GenerateError::Read { path: path.clone(), source })?;
            inputs.add(path, Some(text))?;
        }
        Ok(inputs)
    }

    /// Adds one file; without `text` it is empty and does not exist yet.
    pub(super) fn add(&mut self, path: PathBuf, text: Option<String>) -> Result<(), GenerateError> {
        let documents = yaml::parse(text.as_deref().unwrap_or_default()).map_err(|error| GenerateError::Yaml {
            place: Place { file: path.clone(), line: error.line },
            column: error.column,
            reason: error.reason,
        })?;
        let trees = documents.iter().map(|document| document.tree.clone()).collect();
        let file = self.files.len();
        self.files.push(SourceFile { path, text, documents, trees });
        self.index(file)
    }

    /// Adds a file that does not exist yet, with its documents.
    pub(super) fn add_new(&mut self, path: PathBuf, trees: Vec<Value>) -> Result<(), GenerateError> {
        let file = self.files.len();
        self.files.push(SourceFile { path, text: None, documents: Vec::new(), trees });
        self.index(file)
    }

    fn index(&mut self, file: usize) -> Result<(), GenerateError> {
        let Some(source) = self.files.get(file) else { return Ok(()) };
        let mut found = Vec::new();
        for (document, tree) in source.trees.iter().enumerate() {
            collect(tree, String::new(), 0, &mut |value, pointer| {
                let place = || source.place(document, &pointer);
                let object = Object {
                    file,
                    document,
                    kind: value["kind"].as_str().unwrap_or_default().to_owned(),
                    name: value["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                    namespace: value["metadata"]["namespace"].as_str().unwrap_or("default").to_owned(),
                    pointer: pointer.clone(),
                };
                let refuse = |reason: String, hint: Option<&str>| {
                    Err(GenerateError::Object { place: place(), reason, hint: hint.map(str::to_owned) })
                };
                if object.kind.is_empty() {
                    return refuse("no Kubernetes object: it has no `kind`".into(), None);
                }
                let known = OTHER_KINDS.contains(&object.kind.as_str());
                if !known && object.template().is_none() {
                    let hint = "keep files of other kinds in another directory; supported are Pod, Deployment, \
                        ReplicaSet, StatefulSet, DaemonSet, Job and the usual kinds around them";
                    return refuse(format!("kind `{}` is not known", object.kind), Some(hint));
                }
                if !is_object_name(&object.name) {
                    return refuse(format!("{} has no valid `metadata.name`", object.kind), None);
                }
                if !is_object_name(&object.namespace) {
                    return refuse(format!("{} has no valid `metadata.namespace`", object.title()), None);
                }
                found.push(object);
                Ok(())
            })?;
        }
        for object in &found {
            let twin = self.objects.iter().find(|known| {
                (&known.kind, &known.name, &known.namespace) == (&object.kind, &object.name, &object.namespace)
            });
            if let Some(twin) = twin {
                let reason = format!("{} is already in {}", object.title(), self.place(twin, ""));
                return Err(GenerateError::Object { place: self.place(object, ""), reason, hint: None });
            }
            self.objects.push(object.clone());
        }
        Ok(())
    }

    /// The object's value as it is to be.
    pub(super) fn value(&self, object: &Object) -> &Value {
        let tree = self.files.get(object.file).and_then(|file| file.trees.get(object.document));
        tree.and_then(|tree| tree.pointer(&object.pointer)).unwrap_or(&Value::Null)
    }

    /// The place of a part of an object, `path` being relative to it.
    pub(super) fn place(&self, object: &Object, path: &str) -> Place {
        match self.files.get(object.file) {
            Some(file) => file.place(object.document, &format!("{}/{path}", object.pointer)),
            None => Place { file: PathBuf::new(), line: 1 },
        }
    }

    /// Replaces a part of an object.
    pub(super) fn set(&mut self, object: &Object, pointer: &str, value: Value) {
        let tree = self.files.get_mut(object.file).and_then(|file| file.trees.get_mut(object.document));
        if let Some(part) = tree.and_then(|tree| tree.pointer_mut(pointer)) {
            *part = value;
        }
    }

    /// The objects of one kind in one namespace, by name.
    pub(super) fn of_kind(&self, kind: &str, namespace: &str) -> BTreeMap<String, Value> {
        let fits = |object: &&Object| object.kind == kind && object.namespace == namespace;
        self.objects.iter().filter(fits).map(|object| (object.name.clone(), self.value(object).clone())).collect()
    }
}

impl SourceFile {
    fn place(&self, document: usize, path: &str) -> Place {
        let found = self.documents.get(document);
        let line = found.map_or(1, |document| document.node.line_of(&document.tree, &path.replace('/', ".")));
        Place { file: self.path.clone(), line }
    }
}

/// LIMIT: a `List` in a `List` in a `List` is nobody's manifest.
const MAX_LISTS: usize = 3;

fn collect(
    value: &Value,
    pointer: String,
    depth: usize,
    found: &mut dyn FnMut(&Value, String) -> Result<(), GenerateError>,
) -> Result<(), GenerateError> {
    let items = value["items"].as_array();
    match items {
        Some(items) if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && depth < MAX_LISTS => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{pointer}/items/{index}"), depth + 1, found)?;
            }
            Ok(())
        }
        _ => found(value, pointer),
    }
}

/// RFC 1123 subdomains, as Kubernetes wants them; patterns and pod names are built from them.
fn is_object_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.' || c == ':';
    name.len() <= 253 && edge(name.chars().next()) && edge(name.chars().last()) && name.chars().all(inner)
}

/// YAML files among `paths` and directly in the directories among them, in order of name.
fn files_under(paths: &[PathBuf]) -> Result<Vec<PathBuf>, GenerateError> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        let read = |source| GenerateError::Read { path: path.clone(), source };
        let mut found = Vec::new();
        if std::fs::metadata(path).map_err(read)?.is_dir() {
            for entry in std::fs::read_dir(path).map_err(read)? {
                let entry = entry.map_err(read)?.path();
                if is_yaml(&entry) && entry.is_file() {
                    found.push(entry);
                }
            }
            if found.is_empty() {
                return Err(GenerateError::NoFiles { path: path.clone() });
            }
        } else {
            found.push(path.clone());
        }
        found.sort();
        files.extend(found);
    }
    let mut seen = Vec::new();
    files.retain(|file| {
        let real = file.canonicalize().unwrap_or_else(|_| file.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    if files.is_empty() {
        return Err(GenerateError::NoFiles { path: PathBuf::from(".") });
    }
    Ok(files)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Whether a pod is to be confidential.
pub(super) fn is_confidential(pod: &Value) -> bool {
    let class = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
    class == RUNTIME_CLASS
        || class.starts_with("casemate-")
        || class.starts_with("contrast-cc")
        || class.starts_with("kata")
}
