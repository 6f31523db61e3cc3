//! The user's objects: what the files hold, and where each thing stands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::error::{GenerateError, Place};
use super::source::{Form, STDIN_NAME, Source};
use super::{kinds, parallel};
use crate::request::{GENERATED_JOB, GENERATED_POD, control_character};
use crate::yaml::{self, Document};

/// One file of the user, or one that is to be added.
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    /// Where it is below the directory that was given, or its name.
    pub(super) relative: PathBuf,
    /// The text on disk; `None` for a file that does not exist yet.
    pub(super) text: Option<String>,
    pub(super) form: Form,
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
    /// The name, or what stays of a `generateName`.
    pub(super) name: String,
    pub(super) namespace: String,
    /// Whether the namespace is said in the object.
    pub(super) namespace_given: bool,
    /// Where the pod template is in the object; `None` for kinds without.
    pub(super) template: Option<&'static str>,
    /// How its pods are named: the kind and name for [`crate::request::pod_pattern`].
    pub(super) naming: (String, String),
}

impl Object {
    /// `Deployment/inference`.
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// JSON pointer of the pod template in the document; `None` for kinds without.
    pub(super) fn template(&self) -> Option<String> {
        self.template.map(|place| format!("{}{place}", self.pointer))
    }
}

/// Kinds of the core whose objects pods refer to.
const CATALOGUED: [&str; 3] = ["ConfigMap", "Secret", "Service"];

/// All files and what is in them.
#[derive(Default)]
pub(super) struct Inputs {
    pub(super) files: Vec<SourceFile>,
    pub(super) objects: Vec<Object>,
    /// Files in directories that hold no resource: settings of other tools, and what `generate` itself wrote.
    pub(super) passed_over: Vec<PathBuf>,
    /// Where resources without a namespace go.
    namespace: String,
    /// Indices of the objects that something depends on, by kind, namespace and name.
    known: BTreeMap<(String, String, String), usize>,
}

impl Inputs {
    /// Takes the files apart. Objects without a namespace belong to `namespace`.
    pub(super) fn of(sources: Vec<Source>, namespace: &str) -> Result<Self, GenerateError> {
        let mut inputs = Self { namespace: namespace.to_owned(), ..Self::default() };
        let parsed = parallel::map(&sources, |source| {
            yaml::parse(&source.text).map_err(|error| GenerateError::Yaml {
                place: Place { file: source.path.clone(), line: error.line },
                column: error.column,
                reason: error.reason,
            })
        })?;
        for (source, documents) in sources.into_iter().zip(parsed) {
            if source.found && !documents.is_empty() && documents.iter().all(|document| is_other(&document.tree)) {
                inputs.passed_over.push(source.path);
                continue;
            }
            inputs.add(source, documents)?;
        }
        Ok(inputs)
    }

    fn add(&mut self, source: Source, documents: Vec<Document>) -> Result<(), GenerateError> {
        let Source { path, relative, text, form, .. } = source;
        let trees = documents.iter().map(|document| document.tree.clone()).collect();
        let file = self.files.len();
        self.files.push(SourceFile { path, relative, text: Some(text), form, documents, trees });
        self.index(file, 0)
    }

    /// Adds a file that does not exist yet, with its documents. `-` stands for the documents of standard input.
    pub(super) fn add_new(&mut self, path: PathBuf, trees: Vec<Value>) -> Result<(), GenerateError> {
        let stdin = self.files.iter().position(|file| file.path == path && path.as_os_str() == STDIN_NAME);
        if let Some(file) = stdin {
            let first = self.files.get(file).map_or(0, |file| file.trees.len());
            if let Some(file) = self.files.get_mut(file) {
                file.trees.extend(trees);
            }
            return self.index(file, first);
        }
        let file = self.files.len();
        let relative = path.file_name().map(PathBuf::from).unwrap_or_default();
        self.files.push(SourceFile { path, relative, text: None, form: Form::default(), documents: Vec::new(), trees });
        self.index(file, 0)
    }

    /// Notes the objects of a file, from its document number `first` on.
    fn index(&mut self, file: usize, first: usize) -> Result<(), GenerateError> {
        let Some(source) = self.files.get(file) else { return Ok(()) };
        let mut found = Vec::new();
        for (document, tree) in source.trees.iter().enumerate().skip(first) {
            collect(tree, String::new(), 0, &mut |value, pointer| {
                found.push(object(source, file, document, value, pointer, &self.namespace)?);
                Ok(())
            })?;
        }
        for object in found {
            let key = (object.kind.clone(), object.namespace.clone(), object.name.clone());
            // What is not bound, and what has no name yet, may be there as often as its user likes.
            let counts =
                is_bound(self, &object) && object.naming.0 != GENERATED_JOB && object.naming.0 != GENERATED_POD;
            if let Some(twin) = self.known.get(&key).filter(|_| counts).and_then(|twin| self.objects.get(*twin)) {
                let reason = format!("{} is already in {}", object.title(), self.place(twin, ""));
                let hint = Some("keep one of them; `casemate generate` takes each resource once".to_owned());
                return Err(GenerateError::Object { place: self.place(&object, ""), reason, hint });
            }
            if counts {
                self.known.insert(key, self.objects.len());
            }
            self.objects.push(object);
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

    /// The object of a kind of the core, by namespace and name.
    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.known.get(&key).and_then(|index| self.objects.get(*index)).map(|object| self.value(object))
    }

    /// The objects of one kind of the core in one namespace, by name.
    pub(super) fn of_kind(&self, kind: &str, namespace: &str) -> BTreeMap<&str, &Value> {
        let first = (kind.to_owned(), namespace.to_owned(), String::new());
        let own = self.known.range(first..).take_while(|((of, place, _), _)| of == kind && place == namespace);
        own.filter_map(|((.., name), index)| Some((name.as_str(), self.value(self.objects.get(*index)?)))).collect()
    }
}

/// Whether a document does not look like a resource at all. One that says either `kind` or `apiVersion` is meant to be one.
fn is_other(tree: &Value) -> bool {
    tree.is_object() && tree["kind"].is_null() && tree["apiVersion"].is_null()
}

/// Whether something depends on what the object says.
fn is_bound(inputs: &Inputs, object: &Object) -> bool {
    object.template.is_some()
        || (CATALOGUED.contains(&object.kind.as_str()) && kinds::is_a(inputs.value(object), "", &object.kind))
}

/// One object of a file, after a look at whether it is what it seems to be.
fn object(
    source: &SourceFile,
    file: usize,
    document: usize,
    value: &Value,
    pointer: String,
    namespace: &str,
) -> Result<Object, GenerateError> {
    let refuse = |at: &str, reason: String, hint: Option<String>| {
        Err(GenerateError::Object { place: source.place(document, &format!("{pointer}{at}")), reason, hint })
    };
    let Some(kind) = value["kind"].as_str().filter(|kind| !kind.is_empty()) else {
        let hint = "keep files that are no Kubernetes resources in another directory".to_owned();
        return refuse("", "no Kubernetes object: it has no `kind`".into(), Some(hint));
    };
    let template = kinds::template(value);
    if let Some((at, class)) = kinds::asks_elsewhere(value, template) {
        let path = at.trim_start_matches('/').replace('/', ".");
        let reason = match template {
            Some(place) => format!(
                "`{path}.runtimeClassName: {class}` of the {kind} has no effect there: its pod is at `{}spec`",
                place.trim_start_matches('/').replace('/', ".") + if place.is_empty() { "" } else { "." }
            ),
            None => {
                let version = value["apiVersion"].as_str().unwrap_or("no `apiVersion`");
                let path = if path.is_empty() { String::new() } else { format!("{path}.") };
                format!(
                    "kind `{kind}` ({version}) is not known to `generate`, and `{path}runtimeClassName: {class}` in it asks for a confidential pod"
                )
            }
        };
        let hint = if template.is_some() {
            format!("set it at `{}/spec`", template.unwrap_or_default())
        } else {
            kinds::hint(value)
        };
        return refuse(if template.is_some() { &at } else { "" }, reason, Some(hint));
    }
    let metadata = &value["metadata"];
    let text = |field: &str| match &metadata[field] {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.as_str())),
        _ => None,
    };
    let (name, given) = (text("name"), text("namespace"));
    let generate_name = text("generateName").flatten().filter(|_| name == Some(None));
    let generated = match (template, kind) {
        (Some(_), "Pod") => Some(GENERATED_POD),
        (Some(_), "Job") => Some(GENERATED_JOB),
        _ => None,
    };
    let generated = generated.zip(generate_name);
    let naming = match generated {
        Some((kind, prefix)) => (kind.to_owned(), prefix.to_owned()),
        None => (kind.to_owned(), name.flatten().unwrap_or_default().to_owned()),
    };
    let bound = template.is_some() || (CATALOGUED.contains(&kind) && kinds::is_a(value, "", kind));
    let name = match generated {
        Some((_, prefix)) => prefix.trim_end_matches(['-', '.']),
        None => name.flatten().unwrap_or_default(),
    };
    if bound {
        if !is_object_name(name) {
            let hint =
                "letters a to z, digits, `-` and `.`, at most 253; a Pod or Job may have a `generateName`".to_owned();
            return refuse("/metadata", format!("{kind} has no valid `metadata.name`"), Some(hint));
        }
        if given.is_none_or(|given| given.is_some_and(|given| !is_object_name(given))) {
            return refuse("/metadata", format!("{kind}/{name} has no valid `metadata.namespace`"), None);
        }
    }
    if template.is_some()
        && let Some((at, c)) = first_control_character(value)
    {
        let path = readable(value, &at);
        let reason = format!("{kind}/{name}: `{path}` holds the control character U+{:04X}", u32::from(c));
        let hint = "no name, argument or variable needs it; a file of a ConfigMap may hold any text".to_owned();
        return refuse(&at, reason, Some(hint));
    }
    let given = given.flatten();
    Ok(Object {
        file,
        document,
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: given.unwrap_or(namespace).to_owned(),
        namespace_given: given.is_some(),
        template,
        naming,
        pointer,
    })
}

/// The first key or text, in a resource, that holds a character which terminals obey and programs do not need.
fn first_control_character(value: &Value) -> Option<(String, char)> {
    let mut rest = vec![(String::new(), value)];
    while let Some((at, value)) = rest.pop() {
        match value {
            Value::String(text) => {
                if let Some(c) = control_character(text) {
                    return Some((at, c));
                }
            }
            Value::Object(fields) => {
                if let Some(c) = fields.keys().find_map(|key| control_character(key)) {
                    return Some((at, c));
                }
                rest.extend(fields.iter().rev().map(|(key, value)| (format!("{at}/{key}"), value)));
            }
            Value::Array(items) => {
                rest.extend(items.iter().enumerate().rev().map(|(index, item)| (format!("{at}/{index}"), item)));
            }
            _ => {}
        }
    }
    None
}

/// A path of keys and numbers as people read it, the names of elements behind their numbers.
fn readable(resource: &Value, pointer: &str) -> String {
    let (mut text, mut at) = (String::new(), resource);
    for part in pointer.split('/').skip(1) {
        if let Value::Array(items) = at {
            at = part.parse::<usize>().ok().and_then(|index| items.get(index)).unwrap_or(&Value::Null);
            text.push_str(&format!("[{part}]"));
            // A name that holds such a character itself is not shown.
            let name = at["name"].as_str().filter(|name| control_character(name).is_none());
            text.push_str(&name.map(|name| format!("({name})")).unwrap_or_default());
        } else {
            at = at.get(part).unwrap_or(&Value::Null);
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
    }
    text
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
pub(super) fn is_object_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.' || c == ':';
    name.len() <= 253 && edge(name.chars().next()) && edge(name.chars().last()) && name.chars().all(inner)
}
