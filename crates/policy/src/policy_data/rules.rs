//! The rules in fragments, and the text of a policy.
//!
//! Each fragment is a file that is meant to be read. A pod takes along those that its values use, without comments,
//! blank lines and margins; a request for which no fragment has a rule is refused.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// A part of the rules.
struct Fragment {
    text: &'static str,
    /// Whether a pod with these values needs it.
    is_used: fn(&Value) -> bool,
}

/// In the order of the text. Each is a file of its own, so that a person reads what a pod can be asked for.
const FRAGMENTS: [Fragment; 14] = [
    Fragment { text: include_str!("../rules/base.rego"), is_used: |_| true },
    Fragment { text: include_str!("../rules/containers.rego"), is_used: |_| true },
    Fragment { text: include_str!("../rules/process.rego"), is_used: |_| true },
    Fragment { text: include_str!("../rules/mounts.rego"), is_used: |_| true },
    Fragment { text: include_str!("../rules/linux.rego"), is_used: |_| true },
    Fragment { text: include_str!("../rules/files.rego"), is_used: |_| true },
    Fragment { text: include_str!("../rules/network.rego"), is_used: |_| true },
    Fragment {
        text: include_str!("../rules/values.rego"),
        is_used: |data| {
            containers(data)
                .any(|container| takes_from_cluster(&container["env_from"]) || !container["args_from"].is_null())
        },
    },
    Fragment { text: include_str!("../rules/indexed.rego"), is_used: |data| !data["completions"].is_null() },
    Fragment {
        text: include_str!("../rules/trees.rego"),
        is_used: |data| data["copies"]["trees"].as_array().is_none_or(|trees| !trees.is_empty()),
    },
    Fragment { text: include_str!("../rules/logs.rego"), is_used: |data| data["logs"] != json!(false) },
    Fragment {
        text: include_str!("../rules/exec.rego"),
        is_used: |data| containers(data).any(|container| !container["exec"].is_null()),
    },
    Fragment {
        text: include_str!("../rules/devices.rego"),
        is_used: |data| containers(data).any(|container| !container["gpus"].is_null()),
    },
    Fragment { text: DEFAULTS, is_used: |_| false },
];

/// The fragment for readers alone: it names what is refused without a rule.
const DEFAULTS: &str = include_str!("../rules/defaults.rego");

/// Whether our rules know a request that they refuse without a rule.
pub(crate) fn is_refused_without_rule(endpoint: &str) -> bool {
    let line = format!("default {endpoint} := false");
    DEFAULTS.lines().any(|known| known == line)
}

fn containers(data: &Value) -> impl Iterator<Item = &Value> {
    data["containers"].as_object().into_iter().flatten().map(|(_, container)| container)
}

/// Whether something besides the host name, which nearly every container has, is the cluster's to say.
fn takes_from_cluster(env_from: &Value) -> bool {
    env_from.as_object().is_none_or(|variables| variables.values().any(|kind| kind != "hostname"))
}

/// All rules, as they are meant to be read.
pub(crate) fn all_rules() -> String {
    join(FRAGMENTS.iter().map(|fragment| fragment.text))
}

/// The rules of a pod with these values, as they are meant to be read.
pub(crate) fn readable_rules(data: &Value) -> String {
    join(used(data).chain([DEFAULTS]))
}

/// The rules as they travel with a pod: the readable ones without comments, blank lines, margins, and spaces that stand
/// beside punctuation. A decision is the same by either, and the hardware measures these.
pub(crate) fn embedded_rules(data: &Value) -> String {
    // The same for every pod, and there may be thousands.
    static SQUEEZED: LazyLock<Vec<String>> =
        LazyLock::new(|| FRAGMENTS.iter().map(|fragment| squeezed(fragment.text)).collect());
    let used = FRAGMENTS.iter().zip(SQUEEZED.iter()).filter(|(fragment, _)| (fragment.is_used)(data));
    used.map(|(_, text)| text.as_str()).collect()
}

fn squeezed(rules: &str) -> String {
    // No line of a text in quotes or backquotes ends in the rules, so that a line is code or comment as a whole.
    let lines = rules.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut out = String::with_capacity(rules.len());
    let mut column = 0;
    for line in lines.map(squeeze) {
        // Within brackets a new line separates nothing.
        let closes = line.starts_with(['}', ']', ')']);
        if (closes || out.ends_with(['{', '[', '(', ',', '|'])) && column + line.len() < MAX_COLUMNS {
            if closes && out.ends_with(',') {
                out.pop();
            }
        } else if !out.is_empty() {
            out.push('\n');
            column = 0;
        }
        out.push_str(&line);
        column += line.len();
    }
    out.push('\n');
    out
}

/// Leaves out spaces outside of text that separate no words.
fn squeeze(line: &str) -> String {
    let separates = |letter: char| ",:=|<>".contains(letter);
    let (mut out, mut quote, mut escaped) = (String::with_capacity(line.len()), None, false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if ['"', '`'].contains(&letter) => quote = Some(letter),
            None if letter == ' ' => {
                let beside = [out.chars().next_back(), letters.peek().copied()].into_iter().flatten().any(separates);
                if beside {
                    continue;
                }
            }
            None => {}
        }
        out.push(letter);
    }
    out
}

fn used(data: &Value) -> impl Iterator<Item = &'static str> {
    FRAGMENTS.iter().filter(|fragment| (fragment.is_used)(data)).map(|fragment| fragment.text)
}

fn join(texts: impl Iterator<Item = &'static str>) -> String {
    texts.collect::<Vec<_>>().join("\n")
}

/// What stands between the rules and the values.
pub(crate) const VALUES: &str = "policy_data := ";

/// The text of a policy. Objects have a line for each member, and lists of text stand on one line while they are short:
/// that is how people read them.
pub(crate) fn render(data: &Value) -> String {
    let mut out = embedded_rules(data) + VALUES;
    write_value(&mut out, data);
    out.push('\n');
    out
}

/// The values of a policy, in the order in which [`render`] wrote them.
pub(crate) fn read_values(text: &str) -> Option<Value> {
    let mut json = String::with_capacity(text.len());
    let mut rest = text;
    // Outside of text, `render` writes this for one that is too long for a line.
    while let Some((before, inside)) = split_outside_text(rest, JOIN) {
        json.push_str(before);
        let mut values = serde_json::Deserializer::from_str(inside).into_iter::<Vec<String>>();
        let parts = values.next()?.ok()?;
        json.push_str(&Value::from(parts.concat()).to_string());
        rest = inside.get(values.byte_offset()..)?.strip_prefix(')')?;
    }
    json.push_str(rest);
    serde_json::from_str(&json).ok()
}

/// Splits at the first place of a word that is not within quotes.
fn split_outside_text<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && text.get(at..).is_some_and(|rest| rest.starts_with(word)) => {
                return Some((text.get(..at)?, text.get(at + word.len()..)?));
            }
            _ => {}
        }
    }
    None
}

/// Joins the parts of a long text.
const JOIN: &str = "concat(\"\", ";

/// Short lines are good to read.
pub(super) const MAX_COLUMNS: usize = 180;
/// LIMIT: agents of Kata before 3.30 refuse lines of more than 1024 columns; a part is escaped and has a margin.
const MAX_TEXT: usize = 900;

fn write_value(out: &mut String, value: &Value) {
    let (open, close, items): (_, _, Vec<(String, &Value)>) = match value {
        Value::Object(fields) => {
            ('{', '}', fields.iter().map(|(key, value)| (format!("{}:", json!(key)), value)).collect())
        }
        Value::Array(items) => ('[', ']', items.iter().map(|item| (String::new(), item)).collect()),
        Value::String(text) => return write_text(out, text),
        value => return out.push_str(&value.to_string()),
    };
    if is_flat(value) && value.to_string().len() <= MAX_COLUMNS {
        return out.push_str(&value.to_string());
    }
    out.push(open);
    for (index, (key, item)) in items.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(key);
        write_value(out, item);
    }
    out.push('\n');
    out.push(close);
}

fn write_text(out: &mut String, text: &str) {
    let whole = Value::from(text).to_string();
    if whole.len() <= MAX_TEXT {
        return out.push_str(&whole);
    }
    let (mut parts, mut part, mut length) = (Vec::new(), String::new(), 0);
    for letter in text.chars() {
        let escaped = Value::from(String::from(letter)).to_string().len();
        if length + escaped > MAX_TEXT {
            parts.push(Value::from(std::mem::take(&mut part)).to_string());
            length = 0;
        }
        part.push(letter);
        length += escaped.saturating_sub(2);
    }
    parts.push(Value::from(part).to_string());
    out.push_str(&format!("{JOIN}[\n{}\n])", parts.join(",\n")));
}

/// Whether a value is good to read on one line: it holds nothing but plain values and lists of them.
fn is_flat(value: &Value) -> bool {
    let plain = |value: &Value| !value.is_object() && !value.is_array();
    let flat = |value: &Value| plain(value) || value.as_array().is_some_and(|items| items.iter().all(plain));
    match value {
        Value::Object(fields) => fields.values().all(flat),
        Value::Array(items) => items.iter().all(flat),
        _ => true,
    }
}
