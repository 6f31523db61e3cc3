//! Changes a text so that its documents have new values, and leaves the rest of it alone.

use serde_json::Value;

use super::{Document, Entry, Kind, Node, emit, parse};

/// A text with new values.
pub(crate) struct Rewritten {
    pub(crate) text: String,
    /// Whether comments and layout are kept. When they could not be, the documents are written anew.
    pub(crate) in_place: bool,
}

/// The text of `documents` with the values `trees`, one for each.
pub(crate) fn rewrite(text: &str, documents: &[Document], trees: &[Value]) -> Rewritten {
    let mut text = text.to_owned();
    if documents.iter().zip(trees).all(|(document, tree)| document.tree == *tree) && documents.len() == trees.len() {
        return Rewritten { text, in_place: true };
    }
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    if !text.ends_with('\n') {
        text.push_str(line_end);
    }
    let mut edits = Edits { text: &text, line_end, list: Vec::new() };
    let possible =
        documents.iter().zip(trees).all(|(document, tree)| edits.change(&document.node, &document.tree, tree));
    if possible && let Some(spliced) = edits.apply() {
        // The proof is in the reading: a splice that went wrong is never written.
        let read = parse(&spliced).map(|documents| documents.into_iter().map(|document| document.tree).collect());
        if read == Ok(trees.to_vec()) {
            return Rewritten { text: spliced, in_place: true };
        }
    }
    let documents: Vec<_> = trees.iter().map(emit::document).collect();
    Rewritten { text: documents.join("---\n"), in_place: false }
}

struct Edit {
    start: usize,
    end: usize,
    text: String,
}

struct Edits<'a> {
    text: &'a str,
    line_end: &'static str,
    list: Vec<Edit>,
}

impl Edits<'_> {
    /// Plans the change of one value. `false` when the surrounding value must be written anew.
    fn change(&mut self, node: &Node, old: &Value, new: &Value) -> bool {
        if old == new {
            return true;
        }
        let planned = self.list.len();
        let done = match (&node.kind, old, new) {
            (Kind::Mapping { flow: false, entries }, Value::Object(old), Value::Object(new)) if !new.is_empty() => {
                self.change_mapping(entries, node, old, new)
            }
            (Kind::Sequence { flow: false, items }, Value::Array(old), Value::Array(new)) if !new.is_empty() => {
                self.change_sequence(items, old, new)
            }
            (Kind::Scalar, old, new) if !is_collection(old) && !is_collection(new) && node.end > node.start => {
                self.replace(node.start, node.end, emit::inline(new));
                true
            }
            (Kind::Mapping { flow: true, .. } | Kind::Sequence { flow: true, .. }, old, new) => {
                let in_place = match (&node.kind, old, new) {
                    (Kind::Mapping { entries, .. }, Value::Object(old), Value::Object(new)) => {
                        self.change_flow_mapping(entries, old, new)
                    }
                    (Kind::Sequence { items, .. }, Value::Array(old), Value::Array(new)) => {
                        self.change_flow_sequence(items, old, new)
                    }
                    _ => false,
                };
                if !in_place {
                    self.list.truncate(planned);
                    self.replace(node.start, node.end, new.to_string());
                }
                true
            }
            _ => false,
        };
        if !done {
            self.list.truncate(planned);
        }
        done
    }

    fn change_mapping(
        &mut self,
        entries: &[Entry],
        node: &Node,
        old: &serde_json::Map<String, Value>,
        new: &serde_json::Map<String, Value>,
    ) -> bool {
        let Some(last) = entries.last() else { return false };
        for entry in entries {
            let Some(before) = old.get(&entry.key) else { return false };
            match new.get(&entry.key) {
                None => {
                    // The first key of a list element shares its line with the dash.
                    let Some(start) = self.line_start_if_blank(entry.key_start) else { return false };
                    let end = self.next_line(entry.value.end.max(entry.key_end));
                    self.replace(start, end, String::new());
                }
                Some(after) if self.change(&entry.value, before, after) => {}
                Some(after) => {
                    let end = entry.value.end.max(entry.key_end);
                    // An empty value ends before the colon that follows its key.
                    let end =
                        if entry.value.end <= entry.key_end { self.after_colon(entry.key_end) } else { Some(end) };
                    let Some(end) = end else { return false };
                    self.replace(entry.key_start, end, emit::entry(&entry.key, after, node.column));
                }
            }
        }
        let at = self.next_line(last.value.end.max(last.key_end));
        for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            let text = format!("{}{}\n", " ".repeat(node.column), emit::entry(key, value, node.column));
            self.replace(at, at, text);
        }
        true
    }

    fn change_sequence(&mut self, items: &[Node], old: &[Value], new: &[Value]) -> bool {
        let dashes: Option<Vec<usize>> = items.iter().map(|item| self.dash(item)).collect();
        let Some(dashes) = dashes.filter(|dashes| dashes.len() == old.len()) else { return false };
        let Some(first) = dashes.first() else { return false };
        let Some(first_line) = self.line_start_if_blank(*first) else { return false };
        let column = first - first_line;
        let pairs = align(old, new);
        let mut at = first_line;
        let insert = |edits: &mut Self, at: usize, value: &Value| {
            edits.replace(at, at, format!("{}{}\n", " ".repeat(column), emit::item(value, column)));
        };
        let (mut next_old, mut next_new) = (0, 0);
        for (old_index, new_index) in pairs.into_iter().chain([(old.len(), new.len())]) {
            for (item, dash) in items.iter().zip(&dashes).take(old_index).skip(next_old) {
                let Some(start) = self.line_start_if_blank(*dash) else { return false };
                let end = self.next_line(item.end.max(*dash));
                self.replace(start, end, String::new());
                at = end;
            }
            for value in new.iter().take(new_index).skip(next_new) {
                insert(self, at, value);
            }
            let same = (items.get(old_index), dashes.get(old_index), old.get(old_index), new.get(new_index));
            if let (Some(item), Some(dash), Some(before), Some(after)) = same {
                if !self.change(item, before, after) {
                    self.replace(*dash, item.end.max(dash + 1), emit::item(after, column));
                }
                at = self.next_line(item.end.max(*dash));
            }
            (next_old, next_new) = (old_index + 1, new_index + 1);
        }
        true
    }

    /// `{a: 1, b: 2}` with other values and more members; fewer are for the caller.
    fn change_flow_mapping(
        &mut self,
        entries: &[Entry],
        old: &serde_json::Map<String, Value>,
        new: &serde_json::Map<String, Value>,
    ) -> bool {
        let Some(last) = entries.last().filter(|last| last.value.end > last.key_end) else { return false };
        for entry in entries {
            let Some((before, after)) = old.get(&entry.key).zip(new.get(&entry.key)) else { return false };
            if !self.change(&entry.value, before, after) {
                return false;
            }
        }
        for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
            let text = format!(", {}: {value}", emit::inline(&Value::String(key.clone())));
            self.replace(last.value.end, last.value.end, text);
        }
        true
    }

    /// `[a, b]` with other elements and more of them; fewer are for the caller.
    fn change_flow_sequence(&mut self, items: &[Node], old: &[Value], new: &[Value]) -> bool {
        let pairs = align(old, new);
        if items.is_empty() || items.len() != old.len() || pairs.len() != old.len() {
            return false;
        }
        let mut next_new = 0;
        for (item, (old_index, new_index)) in items.iter().zip(pairs) {
            for value in new.iter().take(new_index).skip(next_new) {
                self.replace(item.start, item.start, format!("{value}, "));
            }
            let Some((before, after)) = old.get(old_index).zip(new.get(new_index)) else { return false };
            if item.end <= item.start || !self.change(item, before, after) {
                return false;
            }
            next_new = new_index + 1;
        }
        let end = items.last().map_or(0, |item| item.end);
        for value in new.iter().skip(next_new) {
            self.replace(end, end, format!(", {value}"));
        }
        true
    }

    fn replace(&mut self, start: usize, end: usize, text: String) {
        let text = if self.line_end == "\n" { text } else { text.replace('\n', self.line_end) };
        self.list.push(Edit { start, end, text });
    }

    /// The start of the line of `at`, when only spaces stand between.
    fn line_start_if_blank(&self, at: usize) -> Option<usize> {
        let before = self.text.get(..at)?;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        before.get(start..)?.chars().all(|c| c == ' ').then_some(start)
    }

    fn next_line(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    fn after_colon(&self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        let blank = rest.len() - rest.trim_start_matches(' ').len();
        rest.get(blank..)?.starts_with(':').then_some(at + blank + 1)
    }

    /// The dash before an element.
    fn dash(&self, item: &Node) -> Option<usize> {
        let before = self.text.get(..item.start)?.trim_end_matches([' ', '\n', '\r']);
        before.ends_with('-').then(|| before.len() - 1)
    }

    /// The text with all edits. `None` when two of them touch the same bytes.
    fn apply(mut self) -> Option<String> {
        // Stable: what was planned first stands first where several insertions meet.
        self.list.sort_by_key(|edit| edit.start);
        let mut out = String::with_capacity(self.text.len() + 4096);
        let mut at = 0;
        for edit in &self.list {
            out.push_str(self.text.get(at..edit.start)?);
            out.push_str(&edit.text);
            at = edit.end;
        }
        out.push_str(self.text.get(at..)?);
        Some(out)
    }
}

fn is_collection(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// Pairs the elements of two lists that are the same thing, in order: equal, or of one name. What is left between two
/// pairs is paired in order where both lists have as many elements there, none of them with a name.
fn align(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    let same = |a: &Value, b: &Value| {
        a == b
            || (a["name"].is_string() && a["name"] == b["name"] && a["mountPath"] == b["mountPath"])
            || (a["mountPath"].is_string() && a["mountPath"] == b["mountPath"])
            || (a["metadata"]["name"].is_string()
                && a["metadata"]["name"] == b["metadata"]["name"]
                && a["kind"] == b["kind"])
    };
    // Longest common subsequence; lists of a pod have some dozens of elements.
    let width = new.len() + 1;
    let mut longest = vec![0_usize; (old.len() + 1) * width];
    let get = |longest: &[usize], i: usize, j: usize| longest.get(i * width + j).copied().unwrap_or_default();
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best = if same(a, b) {
                get(&longest, i + 1, j + 1) + 1
            } else {
                get(&longest, i + 1, j).max(get(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while let (Some(a), Some(b)) = (old.get(i), new.get(j)) {
        if same(a, b) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if get(&longest, i + 1, j) >= get(&longest, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    let mut all = Vec::with_capacity(pairs.len());
    let (mut i, mut j) = (0, 0);
    for (next_i, next_j) in pairs.into_iter().chain([(old.len(), new.len())]) {
        let nameless = |items: Option<&[Value]>| {
            items.is_some_and(|items| items.iter().all(|item| item["name"].is_null() && item["mountPath"].is_null()))
        };
        if next_i - i == next_j - j && nameless(old.get(i..next_i)) && nameless(new.get(j..next_j)) {
            all.extend((i..next_i).zip(j..next_j));
        }
        if next_i < old.len() || next_j < new.len() {
            all.push((next_i, next_j));
        }
        (i, j) = (next_i + 1, next_j + 1);
    }
    all
}
