//! Reading a configuration with the places of what is in it, and changing its one line `imports`.

use std::ops::Range;

use toml::de::DeTable;
use toml::{Spanned, Table, Value};

use super::block::{line_end, line_of};
use super::error::{ConfigError, Place};
use super::text::Schema;

/// Plugins that hold runtimes, in all versions.
const RUNTIME_PLUGINS: [&str; 3] = ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];
/// Behind the line that we add where there is no `imports`.
const IMPORT_MARK: &str = " # casemate-node";

/// Texts of a list, each with its place.
type Items = Vec<(Range<usize>, String)>;

/// A parsed configuration.
pub(super) struct Document<'a> {
    path: &'a str,
    text: &'a str,
    root: DeTable<'a>,
}

/// The list of files to read as well.
pub(super) struct Imports {
    /// Of the list, brackets included.
    span: Range<usize>,
    /// Absolute.
    pub(super) paths: Vec<String>,
}

impl<'a> Document<'a> {
    pub(super) fn parse(path: &'a str, text: &'a str) -> Result<Self, ConfigError> {
        // A byte order mark is no part of the document for containerd's parser, nor for this one.
        let root = DeTable::parse(text).map_err(|error| {
            let line = line_of(text, error.span().map_or(0, |span| span.start));
            let message = error.message().to_owned();
            ConfigError::NotToml { place: Place { path: path.to_owned(), line }, message }
        })?;
        Ok(Self { path, text, root: root.into_inner() })
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place { path: self.path.to_owned(), line: line_of(self.text, span.start) }
    }

    fn wrong(&self, span: Range<usize>, key: &'static str, expected: &'static str) -> ConfigError {
        ConfigError::Type { place: self.place(span), key, expected }
    }

    pub(super) fn schema(&self) -> Result<Schema, ConfigError> {
        let found = self.root.get("version");
        let span = found.map_or(0..0, Spanned::span);
        let written = found.map_or("1", |value| self.text.get(value.span()).unwrap_or_default());
        match written {
            "2" => Ok(Schema::V2),
            "3" | "4" => Ok(Schema::V3),
            other => Err(ConfigError::Version { place: self.place(span), found: other.to_owned() }),
        }
    }

    /// The texts of a list at the root, with their places.
    fn list(&self, key: &'static str) -> Result<Option<(Range<usize>, Items)>, ConfigError> {
        let Some(value) = self.root.get(key) else { return Ok(None) };
        let wrong = |span| self.wrong(span, key, "list of texts");
        let array = value.get_ref().as_array().ok_or_else(|| wrong(value.span()))?;
        let mut items = Vec::new();
        for item in array {
            let text = item.get_ref().as_str().ok_or_else(|| wrong(item.span()))?;
            items.push((item.span(), text.to_owned()));
        }
        Ok(Some((value.span(), items)))
    }

    /// A node whose containerd serves no Kubernetes is none that we should change.
    pub(super) fn must_run_cri(&self) -> Result<(), ConfigError> {
        let items = self.list("disabled_plugins")?.map(|(_, items)| items).unwrap_or_default();
        match items.into_iter().find(|(_, plugin)| RUNTIME_PLUGINS.contains(&plugin.as_str())) {
            Some((span, plugin)) => Err(ConfigError::CriDisabled { place: self.place(span), plugin }),
            None => Ok(()),
        }
    }

    pub(super) fn imports(&self) -> Result<Option<Imports>, ConfigError> {
        let Some((span, items)) = self.list("imports")? else { return Ok(None) };
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let absolute = |path: String| if path.starts_with('/') { path } else { format!("{folder}/{path}") };
        Ok(Some(Imports { span, paths: items.into_iter().map(|(_, path)| absolute(path)).collect() }))
    }

    /// The line of a key in tables in tables.
    fn line_of(&self, keys: &[String]) -> Option<usize> {
        let (last, outer) = keys.split_last()?;
        let mut table = &self.root;
        for key in outer {
            table = table.get(key.as_str())?.get_ref().as_table()?;
        }
        let (key, _) = table.get_key_value(last.as_str())?;
        Some(line_of(self.text, key.span().start))
    }

    /// The line at which a plugin's section begins.
    pub(super) fn line_of_plugin(&self, plugin: &str) -> Option<usize> {
        self.line_of(&["plugins".to_owned(), plugin.to_owned()])
    }

    /// The line at which a runtime of this name begins.
    pub(super) fn line_of_runtime(&self, handler: &str) -> Option<usize> {
        let plugins = self.root.get("plugins")?.get_ref().as_table()?;
        RUNTIME_PLUGINS.iter().find_map(|plugin| {
            let mut table = plugins.get(*plugin)?.get_ref().as_table()?;
            for key in ["containerd", "runtimes"] {
                table = table.get(key)?.get_ref().as_table()?;
            }
            let (key, _) = table.get_key_value(handler)?;
            Some(line_of(self.text, key.span().start))
        })
    }
}

fn value(path: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        ConfigError::CannotAdd { place: Place { path: path.to_owned(), line }, message: error.message().to_owned() }
    })
}

/// Checks that a new text says what the old one and our lines say, each as if it stood alone.
pub(super) fn must_be_sum(path: &str, old: &str, body: &str, new: &str) -> Result<(), ConfigError> {
    let mut sum = value(path, old)?;
    merge(&mut sum, value(path, body)?).map_err(|mut keys| {
        keys.reverse();
        let line = Document::parse(path, old).ok().and_then(|document| document.line_of(&keys)).unwrap_or(1);
        let message = format!("`{}` is no table", keys.join("."));
        ConfigError::CannotAdd { place: Place { path: path.to_owned(), line }, message }
    })?;
    if value(path, new)? != sum {
        return Err(ConfigError::Unfaithful { path: path.to_owned() });
    }
    Ok(())
}

/// Adds tables to tables. Where both have something else under one key: the keys that lead there, the last one first.
fn merge(into: &mut Table, from: Table) -> Result<(), Vec<String>> {
    for (key, new) in from {
        match (into.get_mut(&key), new) {
            (None, new) => {
                into.insert(key, new);
            }
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new).map_err(|mut keys| {
                keys.push(key);
                keys
            })?,
            (Some(_), _) => return Err(vec![key]),
        }
    }
    Ok(())
}

/// The text with one more file to import.
pub(super) fn with_import(path: &str, text: &str, import: &str) -> Result<String, ConfigError> {
    let document = Document::parse(path, text)?;
    let new = if let Some(imports) = document.imports()? {
        // The span begins with the bracket; a comma may stand before the closing one.
        let at = imports.span.start + 1;
        format!("{}{}{}", &text[..at], element(import), &text[at..])
    } else {
        let version = document.root.get("version").map_or(0..0, Spanned::span);
        let line = import_line(import);
        let end = line_end(text);
        match text[version.end..].find('\n') {
            Some(length) => {
                let at = version.end + length + 1;
                format!("{}{line}{end}{}", &text[..at], &text[at..])
            }
            None => format!("{text}{end}{line}"),
        }
    };
    let unfaithful = || ConfigError::Unfaithful { path: path.to_owned() };
    let (mut before, mut after) = (value(path, text)?, value(path, &new)?);
    let old = before.remove("imports").and_then(|list| list.as_array().cloned()).unwrap_or_default();
    let list = after.remove("imports").and_then(|list| list.as_array().cloned()).unwrap_or_default();
    let expected: Vec<Value> = std::iter::once(Value::String(import.to_owned())).chain(old).collect();
    if before != after || list != expected {
        return Err(unfaithful());
    }
    Ok(new)
}

fn import_line(import: &str) -> String {
    format!("imports = [\"{import}\"]{IMPORT_MARK}")
}

fn element(import: &str) -> String {
    format!("\"{import}\", ")
}

/// The text without what [`with_import`] added, whatever folder that named.
pub(super) fn without_import(path: &str, text: &str, file_name: &str) -> Result<String, ConfigError> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let bare = line.trim_end_matches(['\n', '\r']);
        if bare.starts_with("imports = [\"") && bare.ends_with(&format!("/{file_name}\"]{IMPORT_MARK}")) {
            let before = &text[..start];
            // At the end of a file that had no line end we had to add one.
            let before = if bare.len() == line.len() {
                before.strip_suffix('\n').map_or(before, |rest| rest.strip_suffix('\r').unwrap_or(rest))
            } else {
                before
            };
            return Ok(format!("{before}{}", &text[offset..]));
        }
    }
    let document = Document::parse(path, text)?;
    let Some((span, items)) = document.list("imports")? else { return Ok(text.to_owned()) };
    // Ours is the first, with a comma and one blank behind it; written in any other way it is somebody else's.
    let first = items.first().filter(|(_, item)| item.rsplit('/').next() == Some(file_name));
    if let Some((_, item)) = first
        && text[span.start + 1..].starts_with(&element(item))
    {
        let at = span.start + 1;
        return Ok(format!("{}{}", &text[..at], &text[at + element(item).len()..]));
    }
    Ok(text.to_owned())
}

impl Imports {
    /// Whether there is nothing to read.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Document<'_> {
        Document::parse("/etc/containerd/config.toml", text).unwrap()
    }

    #[test]
    fn imports_are_resolved_beside_the_file() {
        let imports = |text| parse(text).imports().unwrap().map(|imports| imports.paths);
        assert_eq!(imports("version = 3\n"), None);
        assert!(parse("imports = []").imports().unwrap().unwrap().is_empty());
        assert_eq!(
            imports("imports = ['/a/*.toml', \"b.toml\"]"),
            Some(vec!["/a/*.toml".to_owned(), "/etc/containerd/b.toml".to_owned()])
        );
    }

    #[test]
    fn an_import_is_put_in_and_taken_out_to_the_byte() {
        let texts = [
            "version = 3\n",
            "version = 3",
            "version = 3 # three\r\nroot = '/x'\r\n",
            "# head\nversion = 3\n\n[plugins]\n",
            "version = 3\nimports = []\n",
            "version = 3\nimports = [ ]\n",
            "version = 3\nimports = ['/a.toml']\n",
            "version = 3\nimports = [\n  # why\n  '/a.toml',\n]\n[plugins]\n",
        ];
        for text in texts {
            let new = with_import("/c", text, "/etc/x/casemate.toml").unwrap();
            assert_ne!(new, text);
            assert_eq!(without_import("/c", &new, "casemate.toml").unwrap(), text, "{new}");
        }
    }

    #[test]
    fn an_import_that_somebody_else_wrote_stays() {
        let cases = [
            "imports = [\"/etc/x/casemate.toml\"]\n",
            "imports = ['/etc/x/casemate.toml', '/a.toml']\n",
            "imports = [\"/a.toml\", \"/etc/x/casemate.toml\"]\n",
            "imports = [\"/etc/x/casemate.toml.old\", ]\n",
        ];
        for text in cases {
            assert_eq!(without_import("/c", text, "casemate.toml").unwrap(), text);
        }
    }

    #[test]
    fn wrong_types_and_versions_are_named_with_their_lines() {
        let place = |line| Place { path: "/etc/containerd/config.toml".to_owned(), line };
        for (text, found) in [("", "1"), ("version = 1", "1"), ("version = 5", "5"), ("version = '3'", "'3'")] {
            let error = ConfigError::Version { place: place(1), found: found.to_owned() };
            assert_eq!(parse(text).schema(), Err(error), "{text}");
        }
        for text in ["\nimports = 'x'", "\nimports = [1]"] {
            let error = parse(text).imports().err();
            assert_eq!(error, Some(ConfigError::Type { place: place(2), key: "imports", expected: "list of texts" }));
        }
        let disabled = parse("disabled_plugins = [\n 'io.containerd.grpc.v1.aufs',\n 'cri']").must_run_cri();
        assert_eq!(disabled, Err(ConfigError::CriDisabled { place: place(3), plugin: "cri".to_owned() }));
    }

    #[test]
    fn a_runtime_is_found_however_it_is_written() {
        let texts = [
            "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]\n",
            "[plugins.'io.containerd.cri.v1.runtime'.containerd]\nruntimes.kata.runtime_type = 'x'\n",
            "[plugins.cri]\ncontainerd = { runtimes = { kata = {} } }\n",
        ];
        assert_eq!(texts.map(|text| parse(text).line_of_runtime("kata")), [Some(1), Some(2), Some(2)]);
        for text in
            ["", "[plugins]", "[plugins.other.containerd.runtimes.kata]", "[plugins.cri.containerd.runtimes.kata-qemu]"]
        {
            assert_eq!(parse(text).line_of_runtime("kata"), None, "{text}");
        }
    }
}
