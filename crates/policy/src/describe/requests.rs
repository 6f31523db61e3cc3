//! Recorded requests of an agent, in the forms in which people have them.
//!
//! - `{"ep": NAME, "request": {…}}`, also with `kind` or `endpoint` for the name, as in the log of Kata's agent;
//! - lists of those, and any number of both behind each other, on lines or not;
//! - `["ep":NAME,{…}],`, which is no JSON and was the log of earlier agents.

use serde_json::Value;

/// LIMIT: the log of a pod that lives for months has some ten thousand requests.
pub const MAX_REQUESTS: usize = 100_000;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// `CreateContainerRequest`.
    pub endpoint: String,
    /// The request.
    pub request: Value,
    /// The line on which it begins, from 1; for a member of a list, that of the list.
    pub line: usize,
    /// What the recording says of it: `description`.
    pub note: Option<String>,
    /// What the recording says that the answer was: `allowed`.
    pub allowed: Option<bool>,
}

/// A text that is no recording.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestsError {
    /// Not JSON where JSON must be.
    #[error("line {line}: {reason}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// JSON that is no request.
    #[error("line {line}: {what}")]
    Form {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Too many.
    #[error("more than {MAX_REQUESTS} requests")]
    TooMany,
    /// None.
    #[error("no request in it")]
    Empty,
}

/// Reads all requests of a text.
pub fn requests(text: &str) -> Result<Vec<Recorded>, RequestsError> {
    let mut all = Vec::new();
    let mut at = 0;
    // Counted as the reader moves on: counting from the start each time would be quadratic.
    let (mut line, mut counted) = (1, 0);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let skipped = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', ',', '\u{feff}']).len();
        at += skipped;
        let rest = text.get(at..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        line += text.get(counted..at).unwrap_or_default().matches('\n').count();
        counted = at;
        let used = match earlier(rest) {
            Some(body) => {
                let start = rest.len() - body.len();
                start + of_earlier_agents(body, line, &mut all)?
            }
            None => {
                let (value, used) = one(rest, line)?;
                take(&value, line, &mut all)?;
                used
            }
        };
        at += used;
        if all.len() > MAX_REQUESTS {
            return Err(RequestsError::TooMany);
        }
    }
    if all.is_empty() { Err(RequestsError::Empty) } else { Ok(all) }
}

/// One JSON value at the start of a text, and how long it is.
fn one(text: &str, line: usize) -> Result<(Value, usize), RequestsError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok((value, values.byte_offset())),
        Some(Err(error)) => {
            let reason = error.to_string();
            // serde_json repeats the position at the end of its message.
            let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
            Err(RequestsError::Json { line: line + error.line().saturating_sub(1), reason })
        }
        None => Err(RequestsError::Empty),
    }
}

/// What follows `["ep":`.
fn earlier(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('[')?.trim_start().strip_prefix("\"ep\"")?;
    rest.trim_start().strip_prefix(':')
}

/// `"NAME",{…}]`; gives its length.
fn of_earlier_agents(text: &str, line: usize, all: &mut Vec<Recorded>) -> Result<usize, RequestsError> {
    let form = |what: &str| RequestsError::Form { line, what: what.to_owned() };
    let (name, mut at) = one(text, line)?;
    let endpoint = name.as_str().ok_or_else(|| form("`ep` is not text"))?.to_owned();
    let skip = |at: &mut usize, expected: char| -> Result<(), RequestsError> {
        let rest = text.get(*at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        if !trimmed.starts_with(expected) {
            return Err(form(&format!("`{expected}` is missing after `ep`")));
        }
        *at += rest.len() - trimmed.len() + expected.len_utf8();
        Ok(())
    };
    skip(&mut at, ',')?;
    let (request, used) = one(text.get(at..).unwrap_or_default(), line)?;
    at += used;
    skip(&mut at, ']')?;
    if !request.is_object() {
        return Err(form("the request is no object"));
    }
    all.push(Recorded { endpoint, request, line, note: None, allowed: None });
    Ok(at)
}

fn take(value: &Value, line: usize, all: &mut Vec<Recorded>) -> Result<(), RequestsError> {
    let form = |what: String| RequestsError::Form { line, what };
    let fields = match value {
        Value::Array(items) => {
            // A list of lists is nobody's recording, and would be read to any depth.
            if let Some(item) = items.iter().find(|item| !item.is_object()) {
                let shown: String = item.to_string().chars().take(60).collect();
                return Err(form(format!("a list with something in it that is no request: {shown}")));
            }
            return items.iter().try_for_each(|item| take(item, line, all));
        }
        Value::Object(fields) => fields,
        _ => return Err(form("neither a request nor a list of them".into())),
    };
    let names: Vec<_> = ["ep", "kind", "endpoint"].into_iter().filter_map(|key| fields.get(key)).collect();
    let endpoint = match names.as_slice() {
        [Value::String(name)] => name.clone(),
        [] => return Err(form("no `ep` or `kind` says which request it is".into())),
        [_] => return Err(form("the name of the request is not text".into())),
        _ => return Err(form("`ep`, `kind`, `endpoint`: one of them names the request".into())),
    };
    let request = match fields.get("request").or_else(|| fields.get("input")) {
        Some(request @ Value::Object(_)) => request.clone(),
        Some(_) => return Err(form(format!("`request` of {endpoint} is no object"))),
        None => return Err(form(format!("{endpoint} has no `request`"))),
    };
    if let Some((key, _)) = fields.iter().find(|(key, _)| {
        !["ep", "kind", "endpoint", "request", "input", "allowed", "description"].contains(&key.as_str())
    }) {
        return Err(form(format!("{endpoint} has `{key}` beside `request`, which means nothing here")));
    }
    let note = fields.get("description").and_then(Value::as_str).map(str::to_owned);
    all.push(Recorded { endpoint, request, line, note, allowed: fields.get("allowed").and_then(Value::as_bool) });
    Ok(())
}
