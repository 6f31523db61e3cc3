//! One request over HTTP: bounded in bytes and time, redirected nowhere.

use std::error::Error as _;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::client::ClientError;
use crate::error::{FetchError, quote};
use crate::fetch::Limits;
use crate::sources::{Intel, Request, Sources};

/// LIMIT: the header with a chain: two certificates of about 1 KiB, percent-encoded; ten times that.
const MAX_CHAIN_HEADER: usize = 32 * 1024;

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// The header that the request names, still encoded.
    pub(crate) chain: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// The future of one request.
pub(crate) type Sent<'a> = Pin<Box<dyn Future<Output = Result<Answer, FetchError>> + Send + 'a>>;

/// Sends one request, once.
pub(crate) trait Transport: Send + Sync {
    /// The answer, whatever its status, or why there is none.
    fn send<'a>(&'a self, request: &'a Request) -> Sent<'a>;
}

/// Transport over HTTP/1.1 with rustls.
pub(crate) struct Http {
    public: reqwest::Client,
    pccs: Option<reqwest::Client>,
    /// Why no service's certificate can be checked, if that is so. Plain HTTP, to a proxy, goes all the same: an image
    /// that is built FROM scratch has no root certificates.
    no_roots: Option<String>,
    limits: Limits,
}

impl Http {
    /// Connects nowhere yet.
    pub(crate) fn new(sources: &Sources, limits: Limits) -> Result<Self, ClientError> {
        let extra = certificates(&sources.roots)?;
        let base = || {
            let builder = reqwest::Client::builder()
                .user_agent(concat!("casemate/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(limits.connect)
                .timeout(limits.request)
                .pool_max_idle_per_host(2);
            if sources.environment { builder } else { builder.no_proxy() }
        };
        let tls = |error: reqwest::Error| ClientError::Tls { reason: innermost(&error) };
        let public = if extra.is_empty() { base() } else { base().tls_certs_merge(extra) };
        let (public, no_roots) = match public.build() {
            Ok(public) => (public, None),
            Err(error) => (base().tls_certs_only([]).build().map_err(tls)?, Some(innermost(&error))),
        };
        let pccs = match &sources.intel {
            Intel::Pccs { roots, .. } if !roots.is_empty() => {
                Some(base().tls_certs_only(certificates(roots)?).build().map_err(tls)?)
            }
            _ => None,
        };
        Ok(Self { public, pccs, no_roots, limits })
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, FetchError> {
        let pccs = self.pccs.as_ref().filter(|_| request.pccs);
        if let (None, Some(reason), true) = (pccs, &self.no_roots, request.url.starts_with("https:")) {
            return Err(FetchError::NoRoots { host: request.host(), reason: reason.clone() });
        }
        let client = pccs.unwrap_or(&self.public);
        let mut builder = match &request.body {
            None => client.get(&request.url),
            Some(body) => client.post(&request.url).header(CONTENT_TYPE, "application/ocsp-request").body(body.clone()),
        };
        if let Some(accept) = request.accept {
            builder = builder.header(ACCEPT, accept);
        }
        let mut response = builder.send().await.map_err(|error| self.failure(request, &error))?;
        let too_long = || FetchError::TooLong { host: request.host(), path: request.path(), limit: request.limit };
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            chain: request.chain_header.and_then(|name| header(response.headers(), name)),
            body: Vec::new(),
        };
        if answer.status != 200 {
            // What a service says about a failure is not read: it has no form, and no promise of an end.
            return Ok(answer);
        }
        if response
            .content_length()
            .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > request.limit))
        {
            return Err(too_long());
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(request, &error))? {
            if answer.body.len() + chunk.len() > request.limit {
                return Err(too_long());
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    fn failure(&self, request: &Request, error: &reqwest::Error) -> FetchError {
        let (host, path) = (request.host(), request.path());
        if error.is_timeout() {
            let limit = if error.is_connect() { self.limits.connect } else { self.limits.request };
            return FetchError::TimedOut { host, path, limit };
        }
        FetchError::Unreachable { host, path, reason: innermost(error) }
    }
}

impl Transport for Http {
    fn send<'a>(&'a self, request: &'a Request) -> Sent<'a> {
        Box::pin(self.exchange(request))
    }
}

fn certificates(roots: &[Vec<u8>]) -> Result<Vec<reqwest::Certificate>, ClientError> {
    let read = |der: &Vec<u8>| {
        // reqwest looks at it only later, and then says something of a peer.
        X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).ok_or(ClientError::Root)?;
        reqwest::Certificate::from_der(der).map_err(|_| ClientError::Root)
    };
    roots.iter().map(read).collect()
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // Without a source, reqwest's own text names the address, which the message around this has already.
    if error.source().is_none() { "the request failed".to_owned() } else { quote(&cause.to_string()) }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    (value.len() <= MAX_CHAIN_HEADER).then(|| value.to_str().ok().map(str::to_owned))?
}

/// Seconds; a service that gives a date instead is taken to have said nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
