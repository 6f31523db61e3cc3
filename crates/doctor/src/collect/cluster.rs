//! What a cluster says of itself. Every part may be forbidden or fail by itself: it is then unknown, and why.

use std::path::PathBuf;
use std::time::Instant;

use futures_util::future::join_all;
use k8s_openapi::jiff::fmt::rfc2822;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use protocol::Role;
use serde_json::Value;

use super::certificates::{end, from_pem};
use super::list::{MAX_OBJECTS, Refusal, chain, escape, get, get_json, list};
use super::now;
use crate::bundle::{Answer, Certificate, Clock, Cluster};
use crate::facts::Initdata;
use crate::kind::Kind;
use crate::names;
use crate::view::{name, namespace, text};

/// LIMIT: Coordinators whose probes are asked. A deployment has one, or a few replicas.
const MAX_PROBES: usize = 16;
/// LIMIT: what a probe says is one word.
const MAX_WORD: usize = 200;

/// How to find a cluster, and what of it to look at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// The configuration file; the usual places where absent.
    pub kubeconfig: Option<PathBuf>,
    /// The context; the current one where absent.
    pub context: Option<String>,
    /// The one namespace to look at; all of them where absent.
    pub namespace: Option<String>,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Session {
    client: Client,
    config: Config,
    context: String,
    namespace: Option<String>,
}

/// Reads the configuration. Nothing is asked yet.
///
/// # Errors
/// When there is none, or it cannot be used: one line for people.
pub async fn connect(reach: &Reach) -> Result<Session, String> {
    let kubeconfig = match &reach.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = kubeconfig.map_err(|error| chain(&error))?;
    let context = reach.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let options = KubeConfigOptions { context: reach.context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| chain(&error))?;
    // Whoever waits wants an answer, and each question has a deadline of its own.
    config.default_retry = false;
    let client = Client::try_from(config.clone()).map_err(|error| chain(&error))?;
    Ok(Session { client, config, context, namespace: reach.namespace.clone() })
}

impl Session {
    /// Certificates of the configuration.
    pub fn certificates(&self) -> Vec<Certificate> {
        let mut found = Vec::new();
        let user = &self.config.auth_info;
        let what = "The client certificate of the kubeconfig";
        let renewal = "fetch the kubeconfig again; with kubeadm: kubeadm certs renew admin.conf, and copy it";
        let pem = match (&user.client_certificate_data, &user.client_certificate) {
            (Some(data), _) => Some(from_base64(data)),
            (None, Some(path)) => Some(std::fs::read(path).map_err(|error| error.to_string())),
            (None, None) => None,
        };
        found.extend(pem.map(|pem| match pem {
            Ok(pem) => from_pem(&pem, what, renewal),
            Err(why) => Certificate { what: what.to_owned(), renewal: renewal.to_owned(), ends: Answer::Unknown(why) },
        }));
        for authority in self.config.root_cert.iter().flatten() {
            let ends = end(authority).map_or_else(Answer::Unknown, Answer::Known);
            found.push(Certificate {
                what: "The cluster's authority in the kubeconfig".to_owned(),
                renewal: "rotate the cluster's CA as its distribution describes, then fetch the kubeconfig again"
                    .to_owned(),
                ends,
            });
        }
        found
    }
}

fn from_base64(data: &str) -> Result<Vec<u8>, String> {
    // PEM itself is base64 of DER; here the whole PEM is once more.
    let clean: String = data.split_whitespace().collect();
    let decoded = k8s_openapi::serde_json::from_value::<k8s_openapi::ByteString>(Value::from(clean));
    decoded.map(|bytes| bytes.0).map_err(|error| error.to_string())
}

/// Asks everything, in parallel. `progress` hears what is going on.
pub async fn cluster(session: &Session, progress: &(dyn Fn(&str) + Sync)) -> Cluster {
    let Session { client, config, .. } = session;
    let mut cluster = Cluster {
        context: session.context.clone(),
        server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
        namespace: session.namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
        ..Cluster::default()
    };
    progress("asking the API server");
    let (begun, before) = (Instant::now(), now());
    match get_json(client, "/version").await {
        Ok((response, version)) => {
            let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let date = response.headers().get("date").and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp().as_second());
            let local = before.midpoint(now());
            cluster.clock = date.map(|server| Clock { server, local, milliseconds });
            cluster.version = Some(Answer::Known(version));
        }
        Err(Refusal::Unreachable(why)) => {
            cluster.unreachable = Some(why);
            return cluster;
        }
        Err(refusal) if refusal.is(401) => {
            cluster.unreachable = Some(format!("401 Unauthorized: {}", refusal.words()));
            return cluster;
        }
        Err(refusal) => cluster.version = Some(Answer::Unknown(refusal.words())),
    }
    objects(session, &mut cluster, progress).await;
    progress("asking the Coordinators' probes");
    probes(client, &mut cluster).await;
    cluster
}

/// Lists every kind: everywhere, or, where the user may not, in the one namespace of the context.
async fn objects(session: &Session, cluster: &mut Cluster, progress: &(dyn Fn(&str) + Sync)) {
    let client = &session.client;
    let mut only = session.namespace.clone();
    if only.is_none() {
        progress("listing pods");
        match list(client, Kind::Pods, None).await {
            Err(refusal) if refusal.is(403) => only = Some(cluster.namespace.clone()),
            answer => {
                cluster.objects.insert(Kind::Pods, kept(answer));
            }
        }
    }
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !cluster.objects.contains_key(kind)).collect();
    progress("listing objects");
    let all = kinds.iter().map(|kind| {
        let place = only.as_deref().filter(|_| kind.is_namespaced());
        async move { (*kind, kept(list(client, *kind, place).await)) }
    });
    cluster.objects.extend(join_all(all).await);
    let Some(only) = only else { return };
    // The node agent and events about nodes are in namespaces of their own. Whoever may read them is helped by it.
    let mut seen = vec![only.clone()];
    for (place, is_agent) in [(names::AGENT_NAMESPACE, true), ("default", false)] {
        if place == only {
            continue;
        }
        let wanted = Kind::ALL.into_iter().filter(|kind| {
            if is_agent { [Kind::Pods, Kind::DaemonSets].contains(kind) } else { *kind == Kind::Events }
        });
        let lists = wanted.map(|kind| async move { (kind, list(client, kind, Some(place)).await) });
        let lists = join_all(lists).await;
        if lists.iter().any(|(_, answer)| answer.is_err()) {
            continue;
        }
        for (kind, answer) in lists {
            let Ok((mut objects, _)) = answer else { continue };
            if !is_agent {
                objects.retain(|event| text(event, "/involvedObject/kind") == "Node");
            }
            if let Some(Answer::Known(known)) = cluster.objects.get_mut(&kind) {
                known.extend(objects);
            }
        }
        seen.push(place.to_owned());
    }
    cluster.namespaces = Some(seen);
}

fn kept(answer: Result<(Vec<Value>, bool), Refusal>) -> Answer<Vec<Value>> {
    match answer {
        Ok((objects, false)) => Answer::Known(objects),
        // Half a list would make checks say that something does not exist.
        Ok((_, true)) => {
            Answer::Unknown(format!("there are more than {MAX_OBJECTS} of them: name a namespace (`--namespace`)"))
        }
        Err(refusal) => Answer::Unknown(refusal.words()),
    }
}

/// Asks the Coordinators' probes through the API server, which reaches pods where we do not.
async fn probes(client: &Client, cluster: &mut Cluster) {
    let Some(Answer::Known(pods)) = cluster.objects.get(&Kind::Pods) else { return };
    let is_one = |pod: &&Value| {
        Initdata::on(pod).is_some_and(|it| it.role == Some(Role::Coordinator))
            && text(pod, "/status/phase") == "Running"
    };
    let asked = pods.iter().filter(is_one).take(MAX_PROBES).map(|pod| async move {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}:{}/proxy/probe/readiness",
            escape(namespace(pod)),
            escape(name(pod)),
            names::PROBE_PORT
        );
        let said = match get(client, &path).await {
            Ok((response, body)) => {
                let word: String = String::from_utf8_lossy(&body).trim().chars().take(MAX_WORD).collect();
                let is_its_own = response.status().is_success() || word == "stopped";
                if is_its_own {
                    Answer::Known(word)
                } else {
                    Answer::Unknown(proxy_refusal(&body, response.status().as_u16()))
                }
            }
            Err(refusal) => Answer::Unknown(refusal.words()),
        };
        (format!("{}/{}", namespace(pod), name(pod)), said)
    });
    cluster.probes = join_all(asked).await.into_iter().collect();
}

/// The API server's words when it does not reach the pod, or may not for this user.
fn proxy_refusal(body: &[u8], code: u16) -> String {
    let message =
        serde_json::from_slice::<Value>(body).ok().and_then(|it| Some(it.get("message")?.as_str()?.to_owned()));
    message.unwrap_or_else(|| format!("status {code}"))
}
