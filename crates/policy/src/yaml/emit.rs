//! Values as YAML text. Whatever another reader could take for something else than text is quoted.

use serde_json::Value;

/// A whole document.
pub(crate) fn document(value: &Value) -> String {
    let mut text = block(value, 0);
    text.push('\n');
    text
}

/// A value as the lines of a block; the first line carries no indentation, all others `indent` spaces.
pub(super) fn block(value: &Value, indent: usize) -> String {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let entries: Vec<_> = fields.iter().map(|(key, value)| entry(key, value, indent)).collect();
            entries.join(&format!("\n{margin}"))
        }
        Value::Array(items) if !is_inline(value) => {
            let items: Vec<_> = items.iter().map(|value| item(value, indent)).collect();
            items.join(&format!("\n{margin}"))
        }
        value => inline(value),
    }
}

/// `key: value` in a mapping whose keys stand at column `indent`.
pub(super) fn entry(key: &str, value: &Value, indent: usize) -> String {
    let key = scalar(key);
    if is_inline(value) {
        return format!("{key}: {}", inline(value));
    }
    let margin = " ".repeat(indent + 2);
    format!("{key}:\n{margin}{}", block(value, indent + 2))
}

/// `- value` in a sequence whose dashes stand at column `indent`.
pub(super) fn item(value: &Value, indent: usize) -> String {
    format!("- {}", block(value, indent + 2))
}

/// LIMIT: lists longer than this read better with a line for each element.
const MAX_INLINE: usize = 100;

fn is_inline(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => {
            items.iter().all(|item| !item.is_object() && !item.is_array()) && inline(value).len() <= MAX_INLINE
        }
        _ => true,
    }
}

/// A value on one line, in flow style.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(Value::to_string).collect();
            format!("[{}]", items.join(", "))
        }
        // JSON is YAML.
        other => other.to_string(),
    }
}

/// Text without quotes where no reader of YAML 1.1 or 1.2 could take it for anything else, and in JSON quotes otherwise.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 12] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "undefined"];
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@+=:".contains(c);
    let is_word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_quantity(text) {
        return text.to_owned();
    }
    if starts_well && text.chars().all(is_plain) && !text.ends_with(':') && !is_word {
        return text.to_owned();
    }
    Value::String(text.to_owned()).to_string()
}

/// `100m`, `64Mi`: digits and a unit, which no reader takes for a number.
fn is_quantity(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && ["m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&unit)
}
