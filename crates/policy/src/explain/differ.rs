//! Comparing values and putting the difference into words.

use serde_json::{Value, json};

/// Collects differences.
#[derive(Default)]
pub(super) struct Differ {
    pub(super) reasons: Vec<String>,
}

/// LIMIT: a value in a reason is cut to this many characters, so that a host cannot fill the log.
const MAX_SHOWN: usize = 160;

pub(super) fn show(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= MAX_SHOWN {
        return text;
    }
    let cut: String = text.chars().take(MAX_SHOWN).collect();
    format!("{cut}…")
}

/// Whether a pattern of ours fits; the patterns are constants or come from the policy, which was parsed.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut engine = regorus::Engine::new();
    engine.set_input(regorus::Value::from(vec![pattern.into(), text.into()]));
    engine.eval_bool_query("regex.match(input[0], input[1])".into(), false).unwrap_or(false)
}

/// What protobuf calls a default: absent and empty are one.
pub(super) fn is_empty(value: &Value) -> bool {
    [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})].contains(value)
}

impl Differ {
    pub(super) fn say(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    pub(super) fn unexpected(&mut self, path: &str, got: &Value) {
        self.say(format!("{path}: got {}, policy has none", show(got)));
    }

    /// Two values, member by member where both are lists or objects.
    pub(super) fn equal(&mut self, path: &str, got: &Value, wanted: &Value) {
        if got == wanted {
            return;
        }
        match (got, wanted) {
            (Value::Object(given), Value::Object(policy)) => {
                for (key, wanted) in policy {
                    self.equal(&format!("{path}.{key}"), given.get(key).unwrap_or(&Value::Null), wanted);
                }
                for (key, got) in given.iter().filter(|(key, _)| !policy.contains_key(*key)) {
                    self.unexpected(&format!("{path}.{key}"), got);
                }
            }
            (Value::Array(given), Value::Array(policy)) => {
                for (index, wanted) in policy.iter().enumerate() {
                    self.equal(&format!("{path}[{index}]"), given.get(index).unwrap_or(&Value::Null), wanted);
                }
                for (index, got) in given.iter().enumerate().skip(policy.len()) {
                    self.unexpected(&format!("{path}[{index}]"), got);
                }
            }
            (Value::Null, _) => self.say(format!("{path}: missing, policy has {}", show(wanted))),
            _ => self.say(format!("{path}: got {}, policy has {}", show(got), show(wanted))),
        }
    }

    /// Two lists whose order does not matter.
    pub(super) fn same(&mut self, path: &str, got: &Value, wanted: &Value) {
        let (Some(given), Some(policy)) = (got.as_array(), wanted.as_array()) else {
            return self.equal(path, got, wanted);
        };
        for item in policy.iter().filter(|item| !given.contains(item)) {
            self.say(format!("{path}: {} missing", show(item)));
        }
        for (index, item) in given.iter().enumerate() {
            if !policy.contains(item) {
                self.unexpected(&format!("{path}[{index}]"), item);
            } else if given.iter().take(index).any(|earlier| earlier == item) {
                self.say(format!("{path}[{index}]: {} is there twice", show(item)));
            }
        }
    }

    pub(super) fn pattern(&mut self, path: &str, got: &Value, pattern: &Value) {
        let Some(pattern) = pattern.as_str() else { return };
        match got {
            Value::Null => self.say(format!("{path}: missing")),
            Value::String(text) if matches(pattern, text) => {}
            _ => self.say(format!("{path}: got {}, policy has the pattern `{pattern}`", show(got))),
        }
    }

    /// One of several values.
    pub(super) fn one_of(&mut self, path: &str, got: &Value, wanted: &[Value]) {
        if wanted.contains(got) {
            return;
        }
        let wanted: Vec<_> = wanted.iter().map(show).collect();
        let wanted = if wanted.is_empty() { "none".to_owned() } else { wanted.join(" or ") };
        if got.is_null() {
            self.say(format!("{path}: missing, policy has {wanted}"));
        } else {
            self.say(format!("{path}: got {}, policy has {wanted}", show(got)));
        }
    }

    /// A whole number that is not negative, or nothing.
    pub(super) fn count(&mut self, path: &str, got: &Value) {
        let whole = |number: f64| number >= 0.0 && number.fract() == 0.0;
        if !got.is_null() && !got.as_f64().is_some_and(whole) {
            self.say(format!("{path}: got {}, policy has a whole number", show(got)));
        }
    }

    pub(super) fn id(&mut self, path: &str, got: &Value) {
        let is_id = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !got.as_str().is_some_and(is_id) {
            self.say(format!("{path}: got {}, policy has 64 hex digits", show(got)));
        }
    }

    pub(super) fn empty_besides(&mut self, path: &str, got: &Value, known: &[&str]) {
        let Some(fields) = got.as_object() else {
            return self.say(format!("{path}: missing"));
        };
        for (key, value) in fields.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            if !is_empty(value) {
                let dot = if path.is_empty() { "" } else { "." };
                self.unexpected(&format!("{path}{dot}{key}"), value);
            }
        }
    }
}
