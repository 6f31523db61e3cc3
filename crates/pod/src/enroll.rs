//! Asking the Coordinator: one attested channel, one question, one checked answer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use attester::{AttestError, Attester, BoxFuture};
use channel::{ChannelError, ClientTerms, Given, Judge, TlsIdentity};
use mesh::lease::BootInstant;
use protocol::api::{ApiError, ErrorCode, MESH_PORT, MeshReply, MeshRequest};
use protocol::{Binding, DeviceEvidence, Digest, Evidence, Identity, Nonce, Purpose, ReportData, Role};
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;

use crate::answer::{self, AnswerError, Asked, Membership};
use crate::hosts;
use crate::key::Key;
use crate::own::Own;
use crate::paths::Paths;
use crate::pins::Pins;

/// LIMIT: the network of one cluster; three round trips of a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// LIMIT: a name of one service has one address per family; more are not tried.
const MAX_ADDRESSES: usize = 4;

/// Why there is no answer, or none that counts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("initdata names no Coordinator")]
    NoCoordinator,
    #[error("no address for `{host}`")]
    Resolve {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("connect to the Coordinator at {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Before the other side showed Evidence of our Coordinator. What it said is the word of anybody on the path.
    #[error("attested channel to the Coordinator")]
    Unvouched(#[source] ChannelError),
    /// After it did.
    #[error("attested channel to the Coordinator")]
    Channel(#[source] ChannelError),
    #[error("the Coordinator refused")]
    Refused(#[source] ApiError),
    #[error("the Coordinator's answer cannot be accepted")]
    Answer(#[from] AnswerError),
    #[error("our own side failed")]
    Own(#[source] anyhow::Error),
}

/// What to do after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Ask again soon: nobody said no.
    Retry,
    /// Whoever answers is not our Coordinator. The host may have led us there and may lead us right later, so ask again,
    /// and say it loudly.
    NotOurs,
    /// Our Coordinator said no.
    GiveUp,
}

impl AskError {
    /// What to do next.
    pub(crate) fn next(&self) -> Next {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } => Next::Retry,
            Self::Unvouched(ChannelError::Internal { .. }) | Self::Channel(ChannelError::Internal { .. }) => {
                Next::GiveUp
            }
            Self::Unvouched(error) | Self::Channel(error) if error.is_temporary() => Next::Retry,
            Self::Unvouched(error) if error.code().is_some_and(is_its_trouble) => Next::Retry,
            // Another deployment, another program, or somebody on the path who would like the pod to give up: nothing that
            // is said before Evidence may do that.
            Self::Unvouched(_) => Next::NotOurs,
            Self::Channel(ChannelError::Refused(refusal)) | Self::Refused(refusal) => after_refusal(refusal.code),
            Self::Channel(_) => Next::NotOurs,
            Self::NoCoordinator | Self::Answer(_) | Self::Own(_) => Next::GiveUp,
        }
    }

    /// Whether this is a "no", as opposed to "could not tell".
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            // Our own judgement counts, what the other side says does not.
            Self::Unvouched(error) => {
                matches!(error, ChannelError::Verify(_) | ChannelError::Appraise(_)) && error.is_refusal()
            }
            Self::Channel(error) => error.is_refusal(),
            Self::Refused(refusal) => refusal.code.is_refusal(),
            Self::Answer(_) | Self::NoCoordinator => true,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Own(_) => false,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unvouched(error) | Self::Channel(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether the Coordinator waits for people: once they have acted the pod should be ready right after.
    pub(crate) fn waits_for_people(&self) -> bool {
        let code = match self {
            Self::Unvouched(error) | Self::Channel(error) => error.code(),
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
        matches!(code, Some(ErrorCode::NoManifest | ErrorCode::SecretMissing | ErrorCode::Recovering))
    }
}

/// Its fault, or a state in which it cannot answer now.
fn is_its_trouble(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Internal | ErrorCode::Conflict | ErrorCode::Rollback)
}

fn after_refusal(code: ErrorCode) -> Next {
    match code {
        code if code.is_temporary() => Next::Retry,
        // The answer of another deployment's Coordinator, before or after it attested.
        ErrorCode::WrongDeployment => Next::NotOurs,
        code if is_its_trouble(code) => Next::Retry,
        _ => Next::GiveUp,
    }
}

/// What to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    /// A certificate and the secrets of the identity.
    Enroll,
    /// A fresh certificate.
    Renew,
}

/// An Attester that remembers what it made, so that the grant can be compared with the Evidence that it must rest on.
struct Remembering {
    inner: Arc<dyn Attester>,
    last: Mutex<Digest>,
}

impl Remembering {
    fn new(inner: Arc<dyn Attester>) -> Self {
        Self { inner, last: Mutex::new(Digest::ZERO) }
    }

    /// The digest of the last Evidence; all zero, which no Evidence has, when there was none.
    fn sent(&self) -> Digest {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, evidence: Evidence) -> Evidence {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = evidence.digest();
        evidence
    }
}

impl Attester for Remembering {
    fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move { Ok(self.remember(self.inner.attest(report_data).await?)) })
    }

    fn devices<'a>(&'a self, nonce: &'a Nonce) -> BoxFuture<'a, Result<Vec<DeviceEvidence>, AttestError>> {
        self.inner.devices(nonce)
    }

    /// With its devices, as it is sent: that is the Evidence that the log names.
    fn attest_bound<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(async move { Ok(self.remember(self.inner.attest_bound(binding).await?)) })
    }
}

/// Who asks, whom, and with what.
pub(crate) struct Asker {
    /// This pod.
    pub(crate) own: Own,
    /// What makes our Evidence.
    pub(crate) attester: Arc<dyn Attester>,
    judge: Arc<dyn Judge>,
    /// The Coordinator's host name.
    pub(crate) host: String,
    /// Its port; only tests change it.
    pub(crate) port: u16,
    /// Where the hosts file lies.
    pub(crate) paths: Paths,
    tls: TlsIdentity,
}

impl Asker {
    pub(crate) fn new(own: Own, attester: Arc<dyn Attester>, host: String, paths: Paths) -> Result<Self, AskError> {
        let tls = TlsIdentity::generate().map_err(|error| AskError::Own(error.into()))?;
        Ok(Self { own, attester, judge: Given::nothing(), host, port: MESH_PORT, paths, tls })
    }

    fn coordinator(&self) -> Result<Identity, AskError> {
        self.own.settings.coordinator.ok_or(AskError::NoCoordinator)
    }

    /// Asks once. `pins` are what earlier grants of this pod's life committed the deployment to.
    pub(crate) async fn ask(&self, key: &Key, what: Ask, pins: Option<&Pins>) -> Result<Membership, AskError> {
        let coordinator = self.coordinator()?;
        // The lease counts from before the question, so that an answer that is held back is worth less, never more.
        let since = BootInstant::now();
        let stream = self.connect().await?;
        let settings = &self.own.settings;
        let attester = Arc::new(Remembering::new(Arc::clone(&self.attester)));
        let terms = ClientTerms {
            purpose: Purpose::Mesh,
            deployment: settings.deployment_id,
            attest: Some((Role::Workload, Arc::clone(&attester) as Arc<dyn Attester>)),
            judge: Arc::clone(&self.judge),
        };
        let mut vouched = false;
        let opened = channel::connect(stream, &self.tls, terms, |evidence| {
            let result = verifier::appraise(evidence, &settings.reference_values)?.require_identity(coordinator)?;
            vouched = true;
            Ok(result)
        })
        .await;
        let mut channel =
            opened.map_err(|error| if vouched { AskError::Channel(error) } else { AskError::Unvouched(error) })?;
        let csr = key.request().map_err(AskError::Own)?;
        let request = match what {
            Ask::Enroll => MeshRequest::Enroll { csr },
            Ask::Renew => MeshRequest::Renew { csr, known: pins.map_or(0, |pins| pins.log.size) },
        };
        channel.send(&request).await.map_err(AskError::Channel)?;
        let granted = match channel.recv().await.map_err(AskError::Channel)? {
            MeshReply::Granted(granted) => granted,
            MeshReply::Error(refusal) => return Err(AskError::Refused(refusal)),
        };
        // Software Evidence never passes for more (promise P8). No result at all would be a mistake of ours.
        let insecure = channel.peer().is_none_or(verifier::AttestationResult::is_insecure);
        // The answer is complete; how the other side takes the end changes nothing.
        let _ = channel.close().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let asked = Asked {
            own: &self.own,
            public_key: &key.public(),
            enrolling: what == Ask::Enroll,
            since,
            evidence: attester.sent(),
            pins,
            now: UnixTime::since_unix_epoch(now),
            insecure,
        };
        Ok(answer::check(*granted, asked)?)
    }

    async fn connect(&self) -> Result<TcpStream, AskError> {
        let resolved = hosts::resolve(&self.host, self.port, &self.paths.hosts()).await;
        let addresses = resolved.map_err(|source| AskError::Resolve { host: self.host.clone(), source })?;
        let mut last = None;
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let attempt = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    // Messages are short and each waits for the other.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(source) => last = Some(AskError::Connect { address, source }),
            }
        }
        Err(last
            .unwrap_or_else(|| AskError::Resolve { host: self.host.clone(), source: io::ErrorKind::NotFound.into() }))
    }
}

#[cfg(test)]
mod tests {
    use channel::Step;
    use verifier::AppraiseError;

    use super::*;

    const EVERY_CODE: [ErrorCode; 14] = [
        ErrorCode::Malformed,
        ErrorCode::Unsupported,
        ErrorCode::WrongDeployment,
        ErrorCode::NotVerified,
        ErrorCode::Contraindicated,
        ErrorCode::NotInManifest,
        ErrorCode::NotSigned,
        ErrorCode::Conflict,
        ErrorCode::NoManifest,
        ErrorCode::Recovering,
        ErrorCode::Rollback,
        ErrorCode::SecretMissing,
        ErrorCode::Busy,
        ErrorCode::Internal,
    ];

    fn refused(code: ErrorCode) -> ChannelError {
        ChannelError::Refused(ApiError::new(code, "no"))
    }

    #[test]
    fn nothing_that_is_said_before_evidence_ends_the_pod() {
        for code in EVERY_CODE {
            let error = AskError::Unvouched(refused(code));
            assert_ne!(error.next(), Next::GiveUp, "{code:?}");
            assert!(!error.is_refusal(), "{code:?}");
        }
        for error in [
            ChannelError::NoProtocol,
            ChannelError::Malformed { during: Step::ServerEvidence, reason: String::new() },
            ChannelError::Version { got: 2, expected: 1 },
            ChannelError::Closed { during: Step::Hello },
        ] {
            assert_ne!(AskError::Unvouched(error).next(), Next::GiveUp);
        }
    }

    #[test]
    fn another_coordinator_is_told_loudly() {
        for error in [refused(ErrorCode::WrongDeployment), ChannelError::Appraise(AppraiseError::SoftwareNotAccepted)] {
            assert_eq!(AskError::Unvouched(error).next(), Next::NotOurs);
        }
    }

    #[test]
    fn our_own_coordinator_s_no_is_final() {
        for code in [ErrorCode::NotInManifest, ErrorCode::Contraindicated, ErrorCode::NotVerified] {
            for error in [AskError::Channel(refused(code)), AskError::Refused(ApiError::new(code, "no"))] {
                assert_eq!((error.next(), error.is_refusal()), (Next::GiveUp, true), "{code:?}");
            }
        }
    }

    #[test]
    fn a_coordinator_that_waits_for_people_is_asked_often_and_a_busy_one_is_not() {
        let often: Vec<_> =
            EVERY_CODE.into_iter().filter(|code| AskError::Unvouched(refused(*code)).waits_for_people()).collect();
        assert_eq!(often, [ErrorCode::NoManifest, ErrorCode::Recovering, ErrorCode::SecretMissing]);
        assert!(often.into_iter().all(|code| AskError::Refused(ApiError::new(code, "later")).next() == Next::Retry));
        assert!(!AskError::NoCoordinator.waits_for_people());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_evidence_that_was_sent_is_remembered() {
        let initdata = crate::rig::initdata(|_| {});
        let tee = Arc::new(testkit::SoftwareTee::generate());
        let attester = Remembering::new(tee.attester(crate::rig::MEASUREMENT, initdata.identity()));
        assert_eq!(attester.sent(), Digest::ZERO);
        for data in [ReportData([1; 64]), ReportData([2; 64])] {
            let evidence = attester.attest(&data).await.unwrap();
            assert_eq!(attester.sent(), evidence.digest());
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_evidence_that_is_remembered_has_its_devices() {
        /// A TEE with one device.
        struct WithDevice;

        impl Attester for WithDevice {
            fn attest<'a>(&'a self, report_data: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
                Box::pin(async { Ok(Evidence::new(protocol::Tee::Snp, report_data.0.to_vec())) })
            }

            fn devices<'a>(&'a self, nonce: &'a Nonce) -> BoxFuture<'a, Result<Vec<DeviceEvidence>, AttestError>> {
                let report = nonce.0.to_vec();
                let device = DeviceEvidence { kind: protocol::DeviceKind::Gpu, report, chain: Vec::new() };
                Box::pin(async { Ok(vec![device]) })
            }
        }

        let binding = Binding {
            purpose: Purpose::Mesh,
            side: protocol::TlsSide::Client,
            role: Role::Workload,
            deployment: protocol::DeploymentId::from_bytes([1; 16]),
            nonce: Nonce([2; 32]),
            exporter: [3; 64],
            own_leaf: Digest::ZERO,
            peer_leaf: None,
            devices: None,
        };
        let attester = Remembering::new(Arc::new(WithDevice));
        let evidence = attester.attest_bound(&binding).await.unwrap();
        assert_eq!(attester.sent(), evidence.digest());
        // The device signs the channel's nonce, and the TEE over what the device said.
        assert_eq!(evidence.devices[0].report, binding.device_nonce().0);
        assert_eq!(evidence.body, binding.expected(&evidence).report_data.0);
    }
}
