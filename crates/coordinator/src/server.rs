//! The two attested APIs. Every connection is bounded in number, age, messages and the work it can cause.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use attester::Attester;
use channel::{Channel, ChannelError, Judge, ServerTerms, TlsIdentity};
use protocol::api::{ApiError, ErrorCode, MeshReply, MeshRequest, UserReply, UserRequest};
use protocol::manifest::MAX_MANIFEST;
use protocol::{DeploymentId, Purpose, Role};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::core::{Core, View};
use crate::grant::{Asked, Attested};
use crate::metrics::Metrics;
use crate::refusal::{Refusal, answer, chain};

/// LIMIT: connections of the user API at a time. Anybody may send a frame of [`MAX_SET`] there, and its text is copied once
/// when it is parsed, so all together hold at most 264 MiB. Beyond it new connections are closed, and clients try again.
const MAX_USERS: usize = 32;
/// LIMIT: connections of the mesh API at a time: a few hundred pods that start at once. Before its Evidence is accepted
/// one holds at most [`protocol::wire::MAX_HANDSHAKE_FRAME`], after it [`MAX_MESH_REQUEST`].
const MAX_WORKLOADS: usize = 256;
/// LIMIT: a manifest as a JSON string, in which each quote and line end takes two bytes, and a signature of about 250 bytes
/// by each of 255 owners with their names around.
const MAX_SET: usize = 2 * MAX_MANIFEST + 128 * 1024;
/// LIMIT: every other request of the user API: the largest is a secret in base64 with signatures like the above.
const MAX_USER_REQUEST: usize = 256 * 1024;
/// LIMIT: a certificate request of 4096 bytes in base64 is 5.5 KiB.
const MAX_MESH_REQUEST: usize = 16 * 1024;
/// LIMIT: requests that wait for the one lock. One takes milliseconds, so the last in line waits a second or so.
const MAX_WAITING: usize = 128;
/// LIMIT: a person at a terminal, who may read a question between two requests.
const USER_AGE: Duration = Duration::from_mins(5);
/// LIMIT: a workload attests, asks once and leaves; a quote on a busy host takes some hundred milliseconds.
const MESH_AGE: Duration = Duration::from_mins(1);
/// LIMIT: a share for each of 255 holders, twice.
const MAX_REQUESTS: usize = 512;
/// LIMIT: a `State` answer holds the whole history, up to 16 MiB, and is made under the one lock. `verify` asks once, other
/// commands ask before and after what they do; a share for each of 255 holders needs no question between.
const MAX_STATES: usize = 64;
/// How long open connections may finish when the process is asked to end.
const DRAIN: Duration = Duration::from_secs(2);

/// What all connections share.
pub(crate) struct Shared {
    /// `None` once the process ends.
    core: Mutex<Option<Core>>,
    view: RwLock<View>,
    stopped: watch::Sender<Option<String>>,
    waiting: Semaphore,
    metrics: Metrics,
    tls: TlsIdentity,
    deployment: DeploymentId,
    attester: Arc<dyn Attester>,
    judge: Arc<dyn Judge>,
}

impl Shared {
    pub(crate) fn new(
        core: Core,
        tls: TlsIdentity,
        deployment: DeploymentId,
        attester: Arc<dyn Attester>,
        judge: Arc<dyn Judge>,
    ) -> Self {
        let view = RwLock::new(core.view());
        Self {
            core: Mutex::new(Some(core)),
            view,
            stopped: watch::Sender::new(None),
            waiting: Semaphore::new(MAX_WAITING),
            metrics: Metrics::default(),
            tls,
            deployment,
            attester,
            judge,
        }
    }

    /// The state as of the last request that was carried out.
    pub(crate) fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Resolves when the process must end, with the reason.
    pub(crate) async fn stopped(&self) -> String {
        let mut stopped = self.stopped.subscribe();
        // The sender lives as long as `self`.
        let reason = stopped.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_default()
    }

    /// Runs an operation under the lock, away from the threads that serve sockets, since it may wait for a disk.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = self.waiting.try_acquire().map_err(|_| Refusal::Busy)?;
        let shared = Arc::clone(self);
        let work = move || {
            let mut place = shared.core.lock().unwrap_or_else(|poisoned| {
                let mut place = poisoned.into_inner();
                if let Some(core) = place.as_mut() {
                    core.stop("a request ended in a panic");
                }
                place
            });
            let core = place.as_mut().ok_or_else(|| Refusal::Stopped { reason: "the process ends".to_owned() })?;
            let result = operation(core);
            shared.publish(core.view());
            result
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            let reason = format!("a request did not end: {error}");
            self.stopped.send_replace(Some(reason.clone()));
            Err(Refusal::Stopped { reason })
        })
    }

    /// Waits for the request at hand and closes the store, so that the next process can open it at once.
    pub(crate) async fn close(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let close = move || drop(shared.core.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = tokio::task::spawn_blocking(close).await;
    }

    fn publish(&self, view: View) {
        if let Some(reason) = &view.stopped {
            self.stopped.send_replace(Some(reason.clone()));
        }
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn terms(&self, api: Api) -> ServerTerms {
        ServerTerms {
            purposes: match api {
                Api::User => vec![Purpose::Set, Purpose::Verify, Purpose::Recover, Purpose::Secret],
                Api::Mesh => vec![Purpose::Mesh],
            },
            deployment: self.deployment,
            role: Role::Coordinator,
            attester: Arc::clone(&self.attester),
            client_evidence: api == Api::Mesh,
            judge: Arc::clone(&self.judge),
        }
    }
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Api {
    /// Clients do not attest.
    User,
    /// Workloads attest.
    Mesh,
}

impl Api {
    const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mesh => "mesh",
        }
    }
}

/// Serves one API until `shutdown` is true.
pub(crate) async fn serve(api: Api, listener: TcpListener, shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(match api {
        Api::User => MAX_USERS,
        Api::Mesh => MAX_WORKLOADS,
    }));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = shutdown.wait_for(|end| *end) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others must close first.
                warn!(%error, api = api.name(), "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.metrics.connection(api.name(), "dropped");
            continue;
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let (age, work): (_, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) = match api {
                Api::User => (USER_AGE, Box::pin(user(&shared, stream))),
                Api::Mesh => (MESH_AGE, Box::pin(mesh(&shared, stream))),
            };
            if tokio::time::timeout(age, work).await.is_err() {
                shared.metrics.connection(api.name(), "expired");
            }
            drop(place);
        });
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    // What is still open after this is cut; what it was told is stored, and what it was not told it asks again.
    let _ = tokio::time::timeout(DRAIN, drained).await;
}

/// Counts why a channel was not opened. Evidence that fails is a number in the metrics: whoever can connect could
/// otherwise fill our log.
fn not_opened(shared: &Shared, api: Api, error: &ChannelError) {
    shared.metrics.connection(api.name(), "failed");
    let evidence = match error {
        ChannelError::EvidenceMissing { .. } | ChannelError::Verify(_) => true,
        ChannelError::Unauthorized(error) => error.code == ErrorCode::Contraindicated,
        _ => false,
    };
    if let (true, Some(code)) = (evidence, error.code()) {
        shared.metrics.evidence_refused(api.name(), code);
    }
    debug!(api = api.name(), error = chain(error), "channel not opened");
}

async fn user(shared: &Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let terms = shared.terms(Api::User);
    let unasked = |_| Err(ApiError::new(ErrorCode::Unsupported, "the user API takes no evidence from clients"));
    let mut channel = match channel::accept(stream, &shared.tls, &terms, unasked).await {
        Ok(channel) => channel,
        Err(error) => return not_opened(shared, Api::User, &error),
    };
    shared.metrics.connection(Api::User.name(), "opened");
    channel.limit_recv(max_user_request(channel.purpose()));
    let mut states = 0;
    for _ in 0..MAX_REQUESTS {
        let reply = match channel.recv_or_end::<UserRequest>().await {
            Ok(Some(UserRequest::State { .. })) if states >= MAX_STATES => {
                let refusal = Refusal::Asked { limit: MAX_STATES };
                report(shared, "state", Some(&refusal));
                UserReply::Error(answer(&refusal))
            }
            Ok(Some(request)) => {
                states += usize::from(matches!(request, UserRequest::State { .. }));
                user_reply(shared, channel.purpose(), request).await
            }
            Ok(None) => break,
            Err(error) => {
                tell_malformed(&mut channel, &error, UserReply::Error).await;
                return;
            }
        };
        if channel.send(&reply).await.is_err() {
            return;
        }
    }
    let _ = channel.close().await;
}

/// Tells a peer that its message could not be read, if that was the reason.
async fn tell_malformed<T: serde::Serialize>(
    channel: &mut Channel<TcpStream>,
    error: &ChannelError,
    reply: impl FnOnce(ApiError) -> T,
) {
    if matches!(error, ChannelError::Malformed { .. } | ChannelError::FrameTooLong { .. }) {
        let refusal = Refusal::Malformed { reason: error.to_string() };
        let _ = channel.send(&reply(answer(&refusal))).await;
    }
}

/// How long a request of the user API may be. A manifest is only taken in a channel for it.
const fn max_user_request(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Set => MAX_SET,
        _ => MAX_USER_REQUEST,
    }
}

/// The name of a user request, in metrics and messages.
fn user_request_name(request: &UserRequest) -> &'static str {
    match request {
        UserRequest::SetManifest(_) => "set-manifest",
        UserRequest::State { .. } => "state",
        UserRequest::PutSecret(_) => "put-secret",
        UserRequest::ListSecrets => "list-secrets",
        UserRequest::Recover(_) => "recover",
    }
}

/// Whether a request belongs into a channel that was opened for `purpose`. Evidence for one purpose must not carry
/// another's request.
fn belongs(request: &UserRequest, purpose: Purpose) -> bool {
    match request {
        UserRequest::SetManifest(_) => purpose == Purpose::Set,
        UserRequest::State { .. } => {
            matches!(purpose, Purpose::Verify | Purpose::Set | Purpose::Secret | Purpose::Recover)
        }
        UserRequest::PutSecret(_) | UserRequest::ListSecrets => purpose == Purpose::Secret,
        UserRequest::Recover(_) => purpose == Purpose::Recover,
    }
}

async fn user_reply(shared: &Arc<Shared>, purpose: Purpose, request: UserRequest) -> UserReply {
    let name = user_request_name(&request);
    let result = if belongs(&request, purpose) {
        let work = move |core: &mut Core| match request {
            UserRequest::SetManifest(signed) => core.set(&signed).map(UserReply::Set),
            UserRequest::State { known } => core.state(known).map(UserReply::State),
            UserRequest::PutSecret(put) => core.put_secret(&put).map(UserReply::SecretStored),
            UserRequest::ListSecrets => core.list_secrets().map(UserReply::Secrets),
            UserRequest::Recover(share) => core.recover(&share).map(UserReply::Recover),
        };
        shared.run(work).await
    } else {
        Err(Refusal::WrongPurpose { request: name, purpose })
    };
    report(shared, name, result.as_ref().err());
    result.unwrap_or_else(|refusal| UserReply::Error(answer(&refusal)))
}

/// Counts an answer, and writes what an operator should see into the log.
fn report(shared: &Shared, request: &'static str, refusal: Option<&Refusal>) {
    let code = refusal.map(|refusal| answer(refusal).code);
    shared.metrics.request(request, code);
    match refusal {
        None if request == "state" || request == "list-secrets" => {}
        None => {
            let view = shared.view();
            info!(request, generation = view.generation, log_entries = view.log_size, "granted");
        }
        Some(refusal) if code == Some(ErrorCode::Internal) => warn!(request, error = chain(refusal), "failed"),
        // Genuine Evidence stands behind this one; all others cost their sender nothing, and are numbers in the metrics.
        Some(Refusal::Denied(denied)) if code == Some(ErrorCode::NotInManifest) => {
            info!(request, reason = %denied, "refused");
        }
        Some(refusal) => debug!(request, reason = chain(refusal), "refused"),
    }
}

async fn mesh(shared: &Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let terms = shared.terms(Api::Mesh);
    // The manifest may change between this appraisal and the request; `authorize` then asks for fresh Evidence.
    let view = shared.view();
    let generation = view.generation;
    let appraise = |evidence| {
        let values = view.reference_values().map_err(|refusal| answer(&refusal))?;
        verifier::appraise(evidence, values).map_err(|error| {
            debug!(error = chain(&error), "evidence not acceptable");
            ApiError::new(ErrorCode::Contraindicated, "the evidence does not meet the reference values")
        })
    };
    let mut channel = match channel::accept(stream, &shared.tls, &terms, appraise).await {
        Ok(channel) => channel,
        Err(error) => return not_opened(shared, Api::Mesh, &error),
    };
    shared.metrics.connection(Api::Mesh.name(), "opened");
    channel.limit_recv(MAX_MESH_REQUEST);
    let request = match channel.recv_or_end::<MeshRequest>().await {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(error) => return tell_malformed(&mut channel, &error, MeshReply::Error).await,
    };
    let (asked, csr) = match request {
        MeshRequest::Enroll { csr } => (Asked::Enroll, csr),
        MeshRequest::Renew { csr, known } => (Asked::Renew { known }, csr),
    };
    let role = channel.peer_role();
    let attested = Attested { result: channel.take_peer(), role, generation };
    let result = shared.run(move |core| core.enroll(attested, asked, &csr, now())).await;
    report(shared, asked.name(), result.as_ref().err());
    let reply = match result {
        Ok(granted) => MeshReply::Granted(Box::new(granted)),
        Err(refusal) => MeshReply::Error(answer(&refusal)),
    };
    // One Evidence, one answer: whoever wants another attests again.
    if channel.send(&reply).await.is_ok() {
        let _ = channel.close().await;
    }
}

/// Seconds since 1970 by the host's clock, on which nothing rests.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use protocol::api::{OwnerSignature, PutSecret, RecoverShare, SignedManifest};
    use protocol::{Digest, Secret};

    use super::*;

    /// The JSON of a request.
    fn size(request: &impl serde::Serialize) -> usize {
        serde_json::to_vec(request).unwrap().len()
    }

    #[test]
    fn the_largest_request_of_each_kind_is_still_read() {
        let signature = OwnerSignature { key: Digest::ZERO, signature: vec![0xff; 104] };
        let signatures = vec![signature; 255];
        // The worst a manifest can be: JSON outside of which nothing but line ends is found.
        let manifest = "\n".repeat(MAX_MANIFEST);
        let set = SignedManifest { manifest, previous: Digest::ZERO, signatures: signatures.clone() };
        assert!(size(&UserRequest::SetManifest(set)) <= max_user_request(Purpose::Set));
        let value = Secret::new(vec![0xff; crate::core::MAX_SECRET]);
        let name = "x".repeat(crate::core::MAX_SECRET_NAME);
        let put = PutSecret { name, version: u64::MAX, value, signatures };
        assert!(size(&UserRequest::PutSecret(put)) <= max_user_request(Purpose::Secret));
        let checkpoint = Some("\n".repeat(4096));
        let share = RecoverShare { holder: Digest::ZERO, share: Secret::new(vec![0xff; 64]), checkpoint };
        assert!(size(&UserRequest::Recover(share)) <= max_user_request(Purpose::Recover));
        let renew = MeshRequest::Renew { csr: vec![0xff; 4096], known: u64::MAX };
        assert!(size(&renew) <= MAX_MESH_REQUEST);
    }

    #[test]
    fn each_request_belongs_to_its_purposes_and_to_no_other() {
        let set = SignedManifest { manifest: String::new(), previous: Digest::ZERO, signatures: vec![] };
        let secret = Secret::new(vec![]);
        let put = PutSecret { name: String::new(), version: 1, value: secret.clone(), signatures: vec![] };
        let share = RecoverShare { holder: Digest::ZERO, share: secret, checkpoint: None };
        let all = [Purpose::Set, Purpose::Verify, Purpose::Recover, Purpose::Secret, Purpose::Mesh];
        let cases: [(UserRequest, &[Purpose]); 5] = [
            (UserRequest::SetManifest(set), &[Purpose::Set]),
            (UserRequest::State { known: None }, &[Purpose::Set, Purpose::Verify, Purpose::Recover, Purpose::Secret]),
            (UserRequest::PutSecret(put), &[Purpose::Secret]),
            (UserRequest::ListSecrets, &[Purpose::Secret]),
            (UserRequest::Recover(share), &[Purpose::Recover]),
        ];
        for (request, purposes) in cases {
            for purpose in all {
                let name = user_request_name(&request);
                assert_eq!(belongs(&request, purpose), purposes.contains(&purpose), "{name} in {}", purpose.name());
            }
        }
    }
}
