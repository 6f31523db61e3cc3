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
/// LIMIT: twenty times the largest chart in use; a document costs a kilobyte at least.
const MAX_DOCUMENTS: usize = 20_000;
/// LIMIT: mappings, lists and scalars of a file. A pod has some hundreds; each costs about 200 bytes here.
const MAX_NODES: usize = 2_000_000;
/// LIMIT: the deepest field of a pod is at a depth of twelve, the deepest schema of a CRD at forty.
const MAX_DEPTH: usize = 64;
/// LIMIT: people refer to a node some dozens of times.
const MAX_ALIASES: usize = 10_000;
/// LIMIT: text, that of aliases counted each time, so that a short file cannot become a long one.
const MAX_SCALARS: usize = 2 * MAX_FILE;

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
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_depth: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_total_scalar_bytes: MAX_SCALARS,
        },
    };
    let trees: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location();
        let number = |of: fn(&serde_saphyr::Location) -> u64| {
            place.as_ref().map_or(1, |place| usize::try_from(of(place)).unwrap_or(usize::MAX))
        };
        let line = number(serde_saphyr::Location::line);
        let mut reason = reason(&error);
        if text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.contains("{{")) {
            reason.push_str("; it looks like a template, which must be rendered first: `helm template`");
        }
        YamlError { line, column: number(serde_saphyr::Location::column), reason }
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
    // Advice for programmers, and counters of the parser, are of no use to who wrote the file.
    if let Some(key) = text.strip_prefix("duplicate mapping key: ").and_then(|rest| rest.split(", set ").next()) {
        return format!("the key `{key}` is there twice");
    }
    if text.starts_with("budget breached") {
        return "more text, nodes, levels or repetitions than a file of resources has".into();
    }
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
    let lines = Lines::new(text);
    let mut events = events.into_iter().peekable();
    let mut roots = Vec::new();
    while let Some((event, span)) = events.next() {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::Scalar(value, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if !(plain && ["", "~", "null", "Null", "NULL"].contains(&value.as_ref())) {
                    roots.push(leaf(&lines, span, Kind::Scalar));
                }
            }
            event => roots.extend(node(&lines, event, span, &mut events)),
        }
    }
    Ok(roots)
}

/// A text with the starts of its lines, so that a place costs a look-up and not a count from the top.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line, from 1, and start of the line that holds a byte.
    fn line(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at);
        (line, line.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or_default())
    }
}

fn offset(text: &str, marker: &Marker) -> usize {
    marker.byte_offset().unwrap_or_default().min(text.len())
}

fn leaf(lines: &Lines<'_>, span: Span, kind: Kind) -> Node {
    let text = lines.text;
    let (start, end) = (offset(text, &span.start), offset(text, &span.end));
    let held = text.get(start..end).unwrap_or_default();
    Node { kind, start, end: start + held.trim_end().len(), line: span.start.line(), column: span.start.col() }
}

/// A block scalar. The parser says where its content stands; it begins with the indicator, `|` or `>`, of the last line
/// above that is not blank.
fn block_scalar(lines: &Lines<'_>, span: Span) -> Node {
    let mut node = leaf(lines, span, Kind::Opaque);
    let above = lines.text.get(..node.start).unwrap_or_default().trim_end();
    let line_start = above.rfind('\n').map_or(0, |newline| newline + 1);
    let header = above.get(line_start..).unwrap_or_default();
    // An indicator has nothing behind it but signs, a digit and a comment, which may hold another.
    let is_indicator = |at: &usize| {
        let rest = header.get(at + 1..).unwrap_or_default();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || ['+', '-'].contains(&c));
        rest.trim_start().is_empty() || (rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#'))
    };
    let Some(at) = header.match_indices(['|', '>']).map(|(at, _)| at).find(is_indicator) else { return node };
    let signs = header.get(at + 1..).unwrap_or_default();
    let keeps = signs.chars().take_while(|c| c.is_ascii_digit() || ['+', '-'].contains(c)).any(|c| c == '+');
    if keeps {
        // The blank lines at its end belong to it, but for the newline of the last one, as everywhere. The parser's end
        // is behind the margin of the next line.
        let held = lines.text.get(..offset(lines.text, &span.end)).unwrap_or_default().trim_end_matches(' ');
        node.end = node.end.max(held.strip_suffix('\n').unwrap_or(held).len());
    }
    node.start = line_start + at;
    node.end = node.end.max(line_start + header.len());
    (node.line, node.column) = (lines.line(node.start).0, at);
    node
}

type Events<'a> = std::iter::Peekable<std::vec::IntoIter<(Event<'a>, Span)>>;

/// Builds the node that begins with `event`. The parser has its own limit on depth, far below our stack.
fn node(lines: &Lines<'_>, event: Event<'_>, span: Span, events: &mut Events<'_>) -> Option<Node> {
    match event {
        Event::Scalar(_, style, anchor, tag) => {
            if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                return Some(block_scalar(lines, span));
            }
            let kind = if anchor == 0 && tag.is_none() { Kind::Scalar } else { Kind::Opaque };
            Some(leaf(lines, span, kind))
        }
        Event::Alias(_) => Some(leaf(lines, span, Kind::Opaque)),
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
                let key_node = node(lines, event, place, events)?;
                let (event, place) = events.next()?;
                let value = node(lines, event, place, events)?;
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
            Some(collection(lines, span, end, flow, odd, first, last, Kind::Mapping { flow, entries }))
        }
        Event::SequenceStart(style, anchor, tag) => {
            let mut items = Vec::new();
            let end = loop {
                let (event, place) = events.next()?;
                if matches!(event, Event::SequenceEnd) {
                    break place;
                }
                items.push(node(lines, event, place, events)?);
            };
            let flow = style == StructureStyle::Flow;
            let last = items.last().map(|item| item.end);
            let odd = anchor != 0 || tag.is_some();
            Some(collection(lines, span, end, flow, odd, None, last, Kind::Sequence { flow, items }))
        }
        _ => None,
    }
}

#[expect(clippy::too_many_arguments, reason = "one caller for each kind, and a struct would repeat the list")]
fn collection(
    lines: &Lines<'_>,
    span: Span,
    close: Span,
    flow: bool,
    odd: bool,
    first: Option<usize>,
    last: Option<usize>,
    kind: Kind,
) -> Node {
    let opened = offset(lines.text, &span.start);
    let start = if flow { opened } else { first.unwrap_or(opened) };
    let end = if flow { offset(lines.text, &close.end) } else { last.unwrap_or(opened) };
    let (counted, line_start) = lines.line(start);
    let column = start - line_start;
    let line = if odd { span.start.line() } else { counted };
    Node { kind: if odd { Kind::Opaque } else { kind }, start, end: end.max(start), line, column }
}

impl Node {
    /// The line of the part that `path` names, or of the last part of it that is there. Lists are entered by `[2]` or
    /// by the `name` of an element.
    pub(crate) fn line_of(&self, tree: &Value, path: &str) -> usize {
        let (mut node, mut tree, mut line) = (self, tree, self.line);
        let parts: Vec<&str> = path.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect();
        let mut at = 0;
        while let Some(part) = parts.get(at).copied() {
            at += 1;
            match &node.kind {
                Kind::Mapping { entries, .. } => {
                    let plain = entries.iter().find(|entry| entry.key == part);
                    // A key such as `example.org/x` has several parts.
                    let length = |key: &str| -> Option<usize> {
                        let of_key: Vec<&str> = key.split(['.', '/']).filter(|part| !part.is_empty()).collect();
                        let fits = parts.get(at - 1..)?.starts_with(&of_key) && !of_key.is_empty();
                        fits.then_some(of_key.len())
                    };
                    let found = plain.map(|entry| (entry, 1));
                    let all = || entries.iter().filter_map(|entry| Some((entry, length(&entry.key)?)));
                    let long = || all().max_by_key(|(_, length)| *length);
                    let Some((entry, parts)) = found.or_else(long) else { break };
                    at += parts - 1;
                    (node, line) = (&entry.value, entry.key_line);
                    tree = &tree[entry.key.as_str()];
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
