//! YAML as people write it: read into JSON trees, with the place of every node, and rewritten so that only what changed
//! changes (decision 0004).
//!
//! `serde-saphyr` resolves the values, as kubectl would. Its parser also says where each node stands; the rewriter
//! splices text at those places and never formats what it was not asked to touch.

mod emit;
mod rewrite;

use serde_json::Value;
use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StructureStyle};

pub(crate) use emit::document as emit_document;
pub(crate) use rewrite::rewrite;

/// LIMIT: Kubernetes objects are at most 1.5 MiB in etcd; a file of generated manifests holds some dozens.
pub(crate) const MAX_FILE: usize = 32 * 1024 * 1024;

/// A file that is no YAML.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) reason: String,
}

/// One document of a file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Its value.
    pub(crate) tree: Value,
    /// Where its parts stand.
    pub(crate) node: Node,
}

/// The place of a value in the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Bytes, without the whitespace behind it.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// From 1.
    pub(crate) line: usize,
    /// From 0.
    pub(crate) column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Scalar,
    /// Replaced whole, with its key: a reference to another node, a node that others refer to, a tagged node, a block
    /// scalar.
    Opaque,
    Mapping {
        flow: bool,
        entries: Vec<Entry>,
    },
    Sequence {
        flow: bool,
        items: Vec<Node>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_start: usize,
    pub(crate) key_end: usize,
    pub(crate) key_line: usize,
    pub(crate) value: Node,
}

/// Parses a file of documents. Empty documents are left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Document>, YamlError> {
    if text.len() > MAX_FILE {
        let reason = format!("{} bytes, at most {MAX_FILE} are read", text.len());
        return Err(YamlError { line: 1, column: 1, reason });
    }
    let options = serde_saphyr::options! {
        // What kubectl does: `012` is ten, and `!!binary` stays the text it is.
        legacy_octal_numbers: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    };
    let trees: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location();
        let number = |of: fn(&serde_saphyr::Location) -> u64| {
            place.as_ref().map_or(1, |place| usize::try_from(of(place)).unwrap_or(usize::MAX))
        };
        YamlError {
            line: number(serde_saphyr::Location::line),
            column: number(serde_saphyr::Location::column),
            reason: reason(&error),
        }
    })?;
    let nodes = nodes(text)?;
    if nodes.len() != trees.len() {
        // PANIC-FREE: two readings of one text that disagree are an error, not a wrong place.
        return Err(YamlError { line: 1, column: 1, reason: "the documents of this file cannot be told apart".into() });
    }
    Ok(trees.into_iter().zip(nodes).map(|(tree, node)| Document { tree, node }).collect())
}

/// The parser's words without the position, which we print ourselves.
fn reason(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let cut = text.rfind(" at line ").or_else(|| text.rfind(" (line "));
    let text = text.get(..cut.unwrap_or(text.len())).unwrap_or(text);
    text.trim().trim_end_matches([',', ':']).to_owned()
}

fn scan_error(error: &ScanError) -> YamlError {
    let marker = error.marker();
    YamlError { line: marker.line(), column: marker.col() + 1, reason: error.info() }
}

/// The roots of all documents that hold something.
fn nodes(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        if !matches!(event, Event::Comment(..)) {
            events.push((event, span));
        }
    }
    let mut events = events.into_iter().peekable();
    let mut roots = Vec::new();
    while let Some((event, span)) = events.next() {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::Scalar(value, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if !(plain && ["", "~", "null", "Null", "NULL"].contains(&value.as_ref())) {
                    roots.push(leaf(text, span, Kind::Scalar));
                }
            }
            event => roots.extend(node(text, event, span, &mut events)),
        }
    }
    Ok(roots)
}

fn offset(text: &str, marker: &Marker) -> usize {
    marker.byte_offset().unwrap_or_default().min(text.len())
}

fn leaf(text: &str, span: Span, kind: Kind) -> Node {
    let (start, end) = (offset(text, &span.start), offset(text, &span.end));
    let held = text.get(start..end).unwrap_or_default();
    Node { kind, start, end: start + held.trim_end().len(), line: span.start.line(), column: span.start.col() }
}

type Events<'a> = std::iter::Peekable<std::vec::IntoIter<(Event<'a>, Span)>>;

/// Builds the node that begins with `event`. The parser has its own limit on depth, far below our stack.
fn node(text: &str, event: Event<'_>, span: Span, events: &mut Events<'_>) -> Option<Node> {
    match event {
        Event::Scalar(_, style, anchor, tag) => {
            let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
            let kind = if anchor == 0 && tag.is_none() && !block { Kind::Scalar } else { Kind::Opaque };
            Some(leaf(text, span, kind))
        }
        Event::Alias(_) => Some(leaf(text, span, Kind::Opaque)),
        Event::MappingStart(style, anchor, tag) => {
            let mut entries: Vec<Entry> = Vec::new();
            let mut odd = anchor != 0 || tag.is_some();
            let end = loop {
                let (event, place) = events.next()?;
                if matches!(event, Event::MappingEnd) {
                    break place;
                }
                let key = match &event {
                    Event::Scalar(key, ..) => Some(key.to_string()),
                    _ => None,
                };
                let key_node = node(text, event, place, events)?;
                let (event, place) = events.next()?;
                let value = node(text, event, place, events)?;
                // A key that is no text, or a merge: the mapping is not edited in place.
                odd |= key.as_deref().is_none_or(|key| key == "<<");
                entries.push(Entry {
                    key: key.unwrap_or_default(),
                    key_start: key_node.start,
                    key_end: key_node.end,
                    key_line: key_node.line,
                    value,
                });
            };
            let flow = style == StructureStyle::Flow;
            let last = entries.last().map(|entry| entry.value.end.max(entry.key_end));
            let first = entries.first().map(|entry| entry.key_start);
            Some(collection(text, span, end, flow, odd, first, last, Kind::Mapping { flow, entries }))
        }
        Event::SequenceStart(style, anchor, tag) => {
            let mut items = Vec::new();
            let end = loop {
                let (event, place) = events.next()?;
                if matches!(event, Event::SequenceEnd) {
                    break place;
                }
                items.push(node(text, event, place, events)?);
            };
            let flow = style == StructureStyle::Flow;
            let last = items.last().map(|item| item.end);
            let odd = anchor != 0 || tag.is_some();
            Some(collection(text, span, end, flow, odd, None, last, Kind::Sequence { flow, items }))
        }
        _ => None,
    }
}

#[expect(clippy::too_many_arguments, reason = "one caller for each kind, and a struct would repeat the list")]
fn collection(
    text: &str,
    span: Span,
    close: Span,
    flow: bool,
    odd: bool,
    first: Option<usize>,
    last: Option<usize>,
    kind: Kind,
) -> Node {
    let opened = offset(text, &span.start);
    let start = if flow { opened } else { first.unwrap_or(opened) };
    let end = if flow { offset(text, &close.end) } else { last.unwrap_or(opened) };
    let before = text.get(..start).unwrap_or_default();
    let column = start - before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = if odd { span.start.line() } else { before.matches('\n').count() + 1 };
    Node { kind: if odd { Kind::Opaque } else { kind }, start, end: end.max(start), line, column }
}

impl Node {
    /// The line of the part that `path` names, or of the last part of it that is there. Lists are entered by `[2]` or
    /// by the `name` of an element.
    pub(crate) fn line_of(&self, tree: &Value, path: &str) -> usize {
        let (mut node, mut tree, mut line) = (self, tree, self.line);
        let parts = path.split(['.', '[', ']']).filter(|part| !part.is_empty());
        for part in parts {
            match &node.kind {
                Kind::Mapping { entries, .. } => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == part) else { break };
                    (node, line) = (&entry.value, entry.key_line);
                    tree = &tree[part];
                }
                Kind::Sequence { items, .. } => {
                    let named = |item: &Value| item["name"].as_str() == Some(part);
                    let by_name = tree.as_array().and_then(|all| all.iter().position(named));
                    let Some(index) = by_name.or_else(|| part.parse().ok()) else { break };
                    let Some(item) = items.get(index) else { break };
                    (node, line) = (item, item.line);
                    tree = &tree[index];
                }
                Kind::Scalar | Kind::Opaque => break,
            }
        }
        line
    }
}

#[cfg(test)]
mod tests;
