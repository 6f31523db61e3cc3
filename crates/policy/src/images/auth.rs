//! Credentials for registries, from where Docker and its friends keep them.
//!
//! `config.json` names a helper program for a registry, a helper for all, or holds the credentials itself; the first
//! that applies is used. Helpers are started directly, never by a shell, and answer within a time limit.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::RegistryError;

/// LIMIT: a file with thousands of logins.
const MAX_CONFIG: u64 = 1024 * 1024;
/// LIMIT: a helper's answer is a user name and a token of a few kilobytes.
const MAX_ANSWER: u64 = 64 * 1024;
/// LIMIT: helpers of clouds ask their cloud; a minute is enough for a slow one that retries.
const HELPER_PATIENCE: Duration = Duration::from_mins(1);
/// The name under which Docker keeps the credentials of its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// What a helper says for "log in with this token" in the place of a user name.
const TOKEN_USER: &str = "<token>";

/// Credentials for one registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    Password {
        user: String,
        password: String,
    },
    /// To be exchanged for an access token.
    Identity(String),
    /// An access token as it is.
    Access(String),
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Where credentials come from.
#[derive(Clone, Debug, Default)]
pub struct CredentialSource {
    /// Docker's `config.json`. One that does not exist means no credentials.
    pub docker_config: Option<PathBuf>,
    /// Where helpers are looked for, in place of this program's own `PATH`.
    pub path: Option<OsString>,
}

impl CredentialSource {
    /// `$DOCKER_CONFIG/config.json`, or the one in the user's home.
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
        Self { docker_config: folder.map(|folder| folder.join("config.json")), path: None }
    }

    /// The credentials for a registry, if there are any.
    pub(super) async fn find(&self, registry: &str) -> Result<Option<Credential>, RegistryError> {
        let Some(file) = &self.docker_config else { return Ok(None) };
        let Some(config) = load(file)? else { return Ok(None) };
        let refuse = |reason: String| RegistryError::Credentials { registry: registry.to_owned(), reason };
        let own = |key: &&String| is_key_of(key, registry);
        if let Some((_, helper)) = config.helpers.iter().find(|(key, _)| own(key)) {
            return self.ask(helper, registry).await.map_err(refuse);
        }
        if !config.store.is_empty()
            && let Some(found) = self.ask(&config.store, registry).await.map_err(refuse)?
        {
            return Ok(Some(found));
        }
        let Some((_, auth)) = config.auths.iter().find(|(key, _)| own(key)) else { return Ok(None) };
        credential(auth).map_err(|reason| refuse(format!("in `{}`: {reason}", file.display())))
    }

    async fn ask(&self, helper: &str, registry: &str) -> Result<Option<Credential>, String> {
        // The name becomes that of a program, so it must not lead anywhere else.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if helper.is_empty() || !helper.bytes().all(plain) {
            return Err("the name of the credential helper is no name of a program".into());
        }
        let program = format!("docker-credential-{helper}");
        let mut command = tokio::process::Command::new(&program);
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let answer = async {
            let mut child = command.spawn().map_err(|error| format!("`{program}` could not be started: {error}"))?;
            let key = if is_docker_hub(registry) { DOCKER_HUB } else { registry };
            if let Some(mut input) = child.stdin.take() {
                // A helper that does not read has its reasons; what counts is its answer.
                let _ = input.write_all(key.as_bytes()).await;
            }
            let mut answer = Vec::new();
            if let Some(output) = child.stdout.take() {
                let read = output.take(MAX_ANSWER.saturating_add(1)).read_to_end(&mut answer).await;
                read.map_err(|error| format!("`{program}`: {error}"))?;
            }
            if answer.len() as u64 > MAX_ANSWER {
                return Err(format!("`{program}` answered more than {MAX_ANSWER} bytes"));
            }
            let status = child.wait().await.map_err(|error| format!("`{program}`: {error}"))?;
            Ok((status, answer))
        };
        let late = |_| format!("`{program}` did not answer within {} seconds", HELPER_PATIENCE.as_secs());
        let (status, answer) = tokio::time::timeout(HELPER_PATIENCE, answer).await.map_err(late)??;
        if !status.success() {
            // The protocol has this one sentence for "not logged in"; all else is trouble.
            let text = String::from_utf8_lossy(&answer);
            if text.contains("credentials not found") {
                return Ok(None);
            }
            return Err(format!("`{program}` failed with {status}"));
        }
        // Neither the answer nor a parser's words about it go into a message: there is a secret in it.
        let answer: HelperAnswer =
            serde_json::from_slice(&answer).map_err(|_| format!("`{program}` answered no JSON of credentials"))?;
        Ok(match answer.username.as_str() {
            _ if answer.secret.is_empty() => None,
            TOKEN_USER => Some(Credential::Identity(answer.secret)),
            _ => Some(Credential::Password { user: answer.username, password: answer.secret }),
        })
    }
}

fn load(file: &Path) -> Result<Option<Config>, RegistryError> {
    use std::io::Read as _;
    let refuse = |reason: String| RegistryError::Configuration { path: file.to_owned(), reason };
    let mut content = Vec::new();
    match std::fs::File::open(file) {
        Ok(open) => {
            let read = open.take(MAX_CONFIG.saturating_add(1)).read_to_end(&mut content);
            read.map_err(|error| refuse(error.to_string()))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(error.to_string())),
    }
    if content.len() as u64 > MAX_CONFIG {
        return Err(refuse(format!("longer than {MAX_CONFIG} bytes")));
    }
    let place = |error: serde_json::Error| refuse(format!("line {}: not Docker's configuration", error.line()));
    serde_json::from_slice(&content).map(Some).map_err(place)
}

fn credential(auth: &Auth) -> Result<Option<Credential>, String> {
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credential::Identity(auth.identitytoken.clone())));
    }
    if !auth.registrytoken.is_empty() {
        return Ok(Some(Credential::Access(auth.registrytoken.clone())));
    }
    if auth.auth.is_empty() {
        let given = !auth.username.is_empty() || !auth.password.is_empty();
        let (user, password) = (auth.username.clone(), auth.password.clone());
        return Ok(given.then_some(Credential::Password { user, password }));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(auth.auth.trim()).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or("`auth` is not base64 of text")?;
    let (user, password) = text.split_once(':').ok_or("`auth` has no colon between user and password")?;
    // Docker pads the password with NULs on some systems.
    let password = password.trim_end_matches('\0');
    Ok(Some(Credential::Password { user: user.to_owned(), password: password.to_owned() }))
}

fn is_docker_hub(registry: &str) -> bool {
    ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&registry)
}

/// Keys are hosts, or the URLs that older versions wrote.
fn is_key_of(key: &str, registry: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    if !["", "v1", "v2"].contains(&path.trim_end_matches('/')) {
        return false;
    }
    host == registry || (is_docker_hub(host) && is_docker_hub(registry))
}

#[cfg(test)]
mod tests;
