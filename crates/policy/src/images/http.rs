//! The distribution protocol: manifests and blobs over HTTP, tokens, mirrors.
//!
//! Nothing here looks at digests; whoever asks checks what comes. What is decided here is whom to speak to: plain HTTP
//! goes to this machine alone, credentials go to the registry they are for and to the token service it names, and a
//! mirror is asked for what a digest names and never for a tag.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;

use super::auth::Credential;
use super::document::{is_sha256, quote};
use super::reference::Reference;
use super::{Options, RegistryError};

/// LIMIT: a registry that accepts no connection, or sends nothing, for this long is down for the person who waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// LIMIT: registries send to their storage, which sends to a nearer one; nobody needs more.
const MAX_REDIRECTS: usize = 5;
/// LIMIT: tokens are a few kilobytes.
const MAX_TOKEN: usize = 256 * 1024;
/// LIMIT: what is read of an error's text, to find its code.
const MAX_ERROR: usize = 16 * 1024;
/// LIMIT: bundles of certificates; that of all public authorities has 230 KB.
const MAX_CA_FILE: u64 = 4 * 1024 * 1024;

/// Why a request had no answer of use.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    NotFound,
    Unauthorized,
    Unreachable(String),
    Refused(RegistryError),
}

/// Whether a registry's host is this machine, where TLS protects nothing.
fn is_loopback(registry: &str) -> bool {
    let host = registry.strip_prefix('[').map_or_else(
        || registry.split(':').next().unwrap_or_default(),
        |rest| rest.split(']').next().unwrap_or_default(),
    );
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A registry or a mirror of one.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// `https://host:port`.
    base: String,
    /// `host:port`: what messages and credentials go by.
    pub(super) host: String,
    /// Of a mirror: the registry that it stands for.
    mirrored: Option<String>,
}

impl Endpoint {
    pub(super) fn registry(host: &str) -> Self {
        let scheme = if is_loopback(host) { "http" } else { "https" };
        Self { base: format!("{scheme}://{host}"), host: host.to_owned(), mirrored: None }
    }

    /// From `https://host`, or `http://` and a loopback address.
    fn mirror(url: &str, registry: &str) -> Option<Self> {
        let base = url.trim_end_matches('/');
        let host = match base.split_once("://")? {
            ("https", host) => host,
            ("http", host) if is_loopback(host) => host,
            _ => return None,
        };
        let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#']);
        plain.then(|| Self { base: base.to_owned(), host: host.to_owned(), mirrored: Some(registry.to_owned()) })
    }
}

/// One client for all registries: connections, tokens and credentials are shared by all images.
pub(super) struct Client {
    options: Arc<Options>,
    plain: OnceLock<Result<reqwest::Client, String>>,
    /// Made when it is first needed: reading the system's certificates takes longer than a warm run may.
    tls: OnceLock<Result<reqwest::Client, RegistryError>>,
    /// The header for a repository of a host.
    tokens: Mutex<BTreeMap<(String, String), HeaderValue>>,
    credentials: tokio::sync::Mutex<BTreeMap<String, Option<Credential>>>,
}

impl Client {
    pub(super) fn new(options: Arc<Options>) -> Self {
        Self {
            options,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
            tokens: Mutex::default(),
            credentials: tokio::sync::Mutex::default(),
        }
    }

    /// Who to ask for what a digest names: mirrors first.
    pub(super) fn endpoints(&self, image: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let registry = image.registry();
        let mut endpoints = Vec::new();
        for url in self.options.mirrors.get(registry).into_iter().flatten() {
            let refuse = || RegistryError::Credentials {
                registry: registry.to_owned(),
                reason: format!("its mirror `{url}` is no `https://host` (or `http://` and a loopback address)"),
            };
            endpoints.push(Endpoint::mirror(url, registry).ok_or_else(refuse)?);
        }
        endpoints.push(Endpoint::registry(image.host()));
        Ok(endpoints)
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .user_agent(concat!("casemate/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(|attempt| {
                if attempt.previous().len() > MAX_REDIRECTS {
                    return attempt.error(format!("more than {MAX_REDIRECTS} redirects"));
                }
                let secure = attempt.url().scheme() == "https";
                let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
                let local = attempt.url().host_str().is_some_and(is_loopback);
                if secure || (local && !was_secure) {
                    attempt.follow()
                } else {
                    let to = attempt.url().host_str().unwrap_or_default().to_owned();
                    attempt.error(format!("a redirect to plain HTTP at `{to}`"))
                }
            }))
            .connect_timeout(self.options.patience.unwrap_or(PATIENCE))
            .read_timeout(self.options.patience.unwrap_or(PATIENCE))
            .pool_max_idle_per_host(4)
    }

    fn client(&self, url: &str) -> Result<&reqwest::Client, Failure> {
        if url.starts_with("http://") {
            // A proxy has no way to this machine.
            let made = self.plain.get_or_init(|| self.builder().no_proxy().build().map_err(|error| innermost(&error)));
            return made.as_ref().map_err(|reason| Failure::Unreachable(reason.clone()));
        }
        let made = self.tls.get_or_init(|| {
            let mut builder = self.builder();
            for path in &self.options.ca_files {
                builder = builder.tls_certs_merge(certificates(path)?);
            }
            let configuration = |error: reqwest::Error| RegistryError::Unreachable {
                registry: "any over TLS".into(),
                reason: innermost(&error),
            };
            builder.build().map_err(configuration)
        });
        made.as_ref().map_err(|error| Failure::Refused(error.clone()))
    }

    /// Asks for `manifests/…` or `blobs/…` of a repository.
    pub(super) async fn get(
        &self,
        at: &Endpoint,
        repository: &str,
        path: &str,
        method: Method,
        accept: &[&str],
    ) -> Result<Response, Failure> {
        let mut url = format!("{}/v2/{repository}/{path}", at.base);
        if let Some(registry) = &at.mirrored {
            url = format!("{url}?ns={registry}");
        }
        let key = (at.host.clone(), repository.to_owned());
        let client = self.client(&url)?;
        let mut token = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let mut asked = false;
        loop {
            let mut request = client.request(method.clone(), &url);
            if !accept.is_empty() {
                request = request.header(ACCEPT, accept.join(", "));
            }
            if let Some(token) = &token {
                request = request.header(AUTHORIZATION, token.clone());
            }
            let response = request.send().await.map_err(|error| Failure::Unreachable(innermost(&error)))?;
            if response.status() == StatusCode::UNAUTHORIZED && !asked {
                // The storage behind a registry has its own ways; its challenges are not for us.
                let own = Url::parse(&at.base).is_ok_and(|base| {
                    (base.host_str(), base.port_or_known_default())
                        == (response.url().host_str(), response.url().port_or_known_default())
                });
                if own {
                    asked = true;
                    let made = self.authorize(at, repository, &response).await?;
                    self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), made.clone());
                    token = Some(made);
                    continue;
                }
            }
            return check(response).await;
        }
    }

    async fn credential(&self, at: &Endpoint) -> Result<Option<Credential>, Failure> {
        let mut known = self.credentials.lock().await;
        if let Some(known) = known.get(&at.host) {
            return Ok(known.clone());
        }
        let found = self.options.credentials.find(&at.host).await.map_err(Failure::Refused)?;
        known.insert(at.host.clone(), found.clone());
        Ok(found)
    }

    /// Answers a challenge with the header to repeat the request with.
    async fn authorize(&self, at: &Endpoint, repository: &str, response: &Response) -> Result<HeaderValue, Failure> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> = headers.filter_map(|header| header.to_str().ok()).filter_map(challenge).collect();
        let credential = self.credential(at).await?;
        let find = |scheme: &str| challenges.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme));
        if let Some((_, parameters)) = find("Bearer") {
            if let Some(Credential::Access(token)) = &credential {
                return header(&format!("Bearer {token}"));
            }
            return self.token(at, repository, parameters, credential.as_ref()).await;
        }
        match (find("Basic"), &credential) {
            (Some(_), Some(Credential::Password { user, password })) => header(&basic(user, password)),
            (Some(_), Some(_)) => Err(Failure::Refused(RegistryError::Credentials {
                registry: at.host.clone(),
                reason: "there is a token, and it wants a user and a password".into(),
            })),
            _ => Err(Failure::Unauthorized),
        }
    }

    async fn token(
        &self,
        at: &Endpoint,
        repository: &str,
        parameters: &BTreeMap<String, String>,
        credential: Option<&Credential>,
    ) -> Result<HeaderValue, Failure> {
        let refuse =
            |reason: String| Failure::Refused(RegistryError::Credentials { registry: at.host.clone(), reason });
        let realm = parameters.get("realm").map(String::as_str).unwrap_or_default();
        let mut url = Url::parse(realm).map_err(|_| refuse("it names no token service".into()))?;
        let local = is_loopback(&at.host) && url.host_str().is_some_and(is_loopback);
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            return Err(refuse(format!("its token service `{}` is not asked without TLS", quote(realm))));
        }
        let scope = parameters.get("scope").cloned().unwrap_or_else(|| format!("repository:{repository}:pull"));
        let service = parameters.get("service").map(String::as_str).unwrap_or_default();
        let client = self.client(url.as_str())?;
        let request = if let Some(Credential::Identity(token)) = credential {
            // The query of an address and the body of a form are written alike.
            let mut form = url.clone();
            form.query_pairs_mut().clear().extend_pairs([
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", "casemate"),
                ("scope", &scope),
                ("refresh_token", token),
            ]);
            let body = form.query().unwrap_or_default().to_owned();
            client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
        } else {
            if !service.is_empty() {
                url.query_pairs_mut().append_pair("service", service);
            }
            url.query_pairs_mut().append_pair("scope", &scope);
            match credential {
                Some(Credential::Password { user, password }) => {
                    client.get(url).header(AUTHORIZATION, header(&basic(user, password))?)
                }
                _ => client.get(url),
            }
        };
        let response = request.send().await.map_err(|error| Failure::Unreachable(innermost(&error)))?;
        let response = match check(response).await {
            // A token service without an account by that name says so in several ways.
            Err(Failure::NotFound) => return Err(refuse("its token service does not exist".into())),
            response => response?,
        };
        let answer = body(response, MAX_TOKEN).await?;
        let answer: Option<Value> = serde_json::from_slice(&answer).ok();
        let answer = answer.as_ref();
        let token = ["token", "access_token"].into_iter().find_map(|name| answer?.get(name)?.as_str());
        let token = token.filter(|token| !token.is_empty());
        header(&format!("Bearer {}", token.ok_or_else(|| refuse("its token service answered no token".into()))?))
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn header(value: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(value).map_err(|_| Failure::Unauthorized)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Bearer realm="…",service="…"`.
fn challenge(header: &str) -> Option<(String, BTreeMap<String, String>)> {
    let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    let mut parameters = BTreeMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(name, value.trim().to_owned());
        rest = after;
    }
    (!scheme.is_empty()).then(|| (scheme.to_owned(), parameters))
}

async fn check(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    match status {
        StatusCode::OK => Ok(response),
        StatusCode::NOT_FOUND => Err(Failure::NotFound),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failure::Unauthorized),
        StatusCode::BAD_REQUEST => {
            let text = body(response, MAX_ERROR).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            if text.contains("NAME_INVALID") || text.contains("NAME_UNKNOWN") {
                return Err(Failure::NotFound);
            }
            Err(Failure::Unreachable("HTTP status 400".into()))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Unreachable("HTTP status 429: it was asked too often; log in, or wait".into()))
        }
        status => Err(Failure::Unreachable(format!("HTTP status {}", status.as_u16()))),
    }
}

/// Reads a body of up to `limit` bytes, and one more where there is more.
pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    while let Some(bytes) = chunk(&mut response).await? {
        content.extend_from_slice(&bytes);
        if content.len() > limit {
            content.truncate(limit.saturating_add(1));
            break;
        }
    }
    Ok(content)
}

/// The next bytes of a body.
pub(super) async fn chunk(response: &mut Response) -> Result<Option<Bytes>, Failure> {
    response.chunk().await.map_err(|error| Failure::Unreachable(innermost(&error)))
}

/// A header that a registry sends with what it answers.
pub(super) fn content_type(response: &Response) -> Option<String> {
    response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The digest that a registry says a tag has.
pub(super) fn said_digest(response: &Response) -> Option<String> {
    let digest = response.headers().get("Docker-Content-Digest")?.to_str().ok()?;
    is_sha256(digest).then(|| digest.to_owned())
}

fn certificates(path: &PathBuf) -> Result<Vec<reqwest::Certificate>, RegistryError> {
    use std::io::Read as _;
    let refuse = |reason: String| RegistryError::Configuration { path: path.clone(), reason };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    file.take(MAX_CA_FILE).read_to_end(&mut content).map_err(|error| refuse(error.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&content).ok().filter(|found| !found.is_empty());
    certificates.ok_or_else(|| refuse("no certificates in PEM".into()))
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    if text.contains("timed out") { "no answer in time".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_goes_by_the_name_that_users_write() {
        let mirrors = BTreeMap::from([("docker.io".to_owned(), vec!["https://mirror.example".to_owned()])]);
        let client = Client::new(Arc::new(Options { mirrors, ..Options::default() }));
        let hosts = |image: &str| -> Vec<String> {
            let endpoints = client.endpoints(&Reference::parse(image).unwrap()).unwrap();
            endpoints.into_iter().map(|endpoint| endpoint.host).collect()
        };
        assert_eq!(hosts("debian:12"), ["mirror.example", "index.docker.io"]);
        assert_eq!(hosts("index.docker.io/library/debian"), ["mirror.example", "index.docker.io"]);
        assert_eq!(hosts("ghcr.io/me/app"), ["ghcr.io"]);
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["docker.io", "localhost.evil.org:5000", "10.0.0.1:5000", "[::2]:5000", "127.0.0.1.evil.org", "", "0.0.0.0"]
        {
            assert!(!is_loopback(host), "{host}");
        }
        for url in ["https://mirror.example", "https://mirror.example:5000/", "http://127.0.0.1:5000"] {
            assert!(Endpoint::mirror(url, "docker.io").is_some(), "{url}");
        }
        for url in [
            "http://mirror.example",
            "mirror.example",
            "https://",
            "https://u:p@h",
            "https://h/path",
            "ftp://h",
            "https://h?x",
        ] {
            assert!(Endpoint::mirror(url, "docker.io").is_none(), "{url}");
        }
    }

    #[test]
    fn challenges_are_read_as_they_are_written() {
        let (scheme, parameters) =
            challenge(r#"Bearer realm="https://auth.x/token?a=b,c", service=x ,scope="repository:a/b:pull,push""#)
                .unwrap();
        assert_eq!(scheme, "Bearer");
        assert_eq!(parameters["realm"], "https://auth.x/token?a=b,c");
        assert_eq!((parameters["service"].as_str(), parameters["scope"].as_str()), ("x", "repository:a/b:pull,push"));
        assert_eq!(challenge("Basic").unwrap().0, "Basic");
        assert!(challenge("").is_none() && challenge(r#"Bearer realm="open"#).is_none());
    }
}
