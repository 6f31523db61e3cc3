//! One question to the API server: bounded in time and in size, and listed page by page.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

use crate::kind::Kind;
use crate::reduce::reduce;

/// LIMIT: pages of this many objects, as kubectl asks for.
const PAGE: usize = 500;
/// LIMIT: objects of one kind. A cluster of the largest supported size has 150 000 pods, and what is wrong with one
/// deployment shows in far fewer.
pub(super) const MAX_OBJECTS: usize = 20_000;
/// LIMIT: one answer. Five hundred objects of etcd's 1.5 MiB would be more, and no cluster has them.
const MAX_ANSWER: usize = 128 * 1024 * 1024;
/// LIMIT: a list changes while it is read, and its token ends; then it is begun again this often.
const BEGINNINGS: usize = 3;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a question has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// No answer at all: the connection's fault.
    Unreachable(String),
    /// The API server's answer.
    Status { code: u16, message: String },
}

impl Refusal {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Unreachable(why) => why.clone(),
            Self::Status { code, message } if message.is_empty() => format!("status {code}"),
            Self::Status { message, .. } => message.clone(),
        }
    }

    pub(super) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Status { code, .. } if *code == wanted)
    }
}

/// The answer to `GET PATH`, with its body, whatever its status.
pub(super) async fn get(client: &Client, path: &str) -> Result<(Response<()>, Vec<u8>), Refusal> {
    let unreachable = |why: String| Refusal::Unreachable(why);
    let request = Request::get(path).header("Accept", "application/json").body(Body::empty());
    let request = request.map_err(|error| unreachable(error.to_string()))?;
    let ask = async {
        let response = client.send(request).await.map_err(|error| unreachable(chain(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| unreachable(error.to_string()))?;
        Ok((Response::from_parts(head, ()), body.to_bytes().to_vec()))
    };
    timeout(PATIENCE, ask).await.map_err(|_| unreachable(format!("no answer within {} s", PATIENCE.as_secs())))?
}

/// The same as JSON; any status but 2xx is a refusal.
pub(super) async fn get_json(client: &Client, path: &str) -> Result<(Response<()>, Value), Refusal> {
    let (response, body) = get(client, path).await?;
    let code = response.status().as_u16();
    let value: Result<Value, _> = serde_json::from_slice(&body);
    if !response.status().is_success() {
        let message = value.ok().and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
        return Err(Refusal::Status { code, message: message.unwrap_or_default() });
    }
    let value = value.map_err(|error| Refusal::Status { code, message: format!("it is no JSON: {error}") })?;
    Ok((response, value))
}

/// All objects of a kind, in a namespace or in all of them, reduced. `true`: there were more than [`MAX_OBJECTS`].
pub(super) async fn list(client: &Client, kind: Kind, namespace: Option<&str>) -> Result<(Vec<Value>, bool), Refusal> {
    let folder = namespace.map(|namespace| format!("namespaces/{}/", escape(namespace))).unwrap_or_default();
    let path = format!("/{}/{folder}{}", kind.api(), kind.plural());
    let mut beginnings = 0;
    'begin: loop {
        beginnings += 1;
        let mut objects = Vec::new();
        let mut token = String::new();
        loop {
            let next = if token.is_empty() { String::new() } else { format!("&continue={}", escape(&token)) };
            let mut page = match get_json(client, &format!("{path}?limit={PAGE}{next}")).await {
                Ok((_, page)) => page,
                // A kind that this cluster does not know has no objects.
                Err(refusal) if refusal.is(404) && kind.is_extension() => return Ok((Vec::new(), false)),
                Err(refusal) if refusal.is(410) && beginnings < BEGINNINGS => continue 'begin,
                Err(refusal) => return Err(refusal),
            };
            let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                return Err(Refusal::Status { code: 200, message: "the answer is no list".to_owned() });
            };
            let room = MAX_OBJECTS.saturating_sub(objects.len());
            let full = items.len() > room;
            objects.extend(items.into_iter().take(room).map(reduce));
            let next = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default();
            next.clone_into(&mut token);
            if full || token.is_empty() {
                return Ok((objects, full));
            }
            if objects.len() >= MAX_OBJECTS {
                return Ok((objects, true));
            }
        }
    }
}

/// A part of a path or of a query: everything but letters, digits and `-._~` in hexadecimal (RFC 3986, section 2.1).
pub(super) fn escape(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// An error with its causes, which have the words that help.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_part_of_a_path() {
        assert_eq!(escape("web-0.x_~"), "web-0.x_~");
        assert_eq!(escape("../secrets?a=b&c#%"), "..%2Fsecrets%3Fa%3Db%26c%23%25");
    }
}
