//! Asking the Coordinator: one attested channel, one question, one checked answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use attester::Attester;
use channel::{ChannelError, ClientTerms, TlsIdentity};
use mesh::lease::BootInstant;
use protocol::api::{ApiError, ErrorCode, MESH_PORT, MeshReply, MeshRequest};
use protocol::{Identity, Purpose, Role};
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;

use crate::answer::{self, AnswerError, Asked, LogHead, Membership};
use crate::hosts;
use crate::key::Key;
use crate::own::Own;
use crate::paths::Paths;

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
            Self::Channel(ChannelError::Verify(_) | ChannelError::Appraise(_) | ChannelError::WrongRole { .. }) => {
                Next::NotOurs
            }
            Self::Channel(ChannelError::Refused(refusal)) | Self::Refused(refusal) => after_refusal(refusal.code),
            Self::Channel(error) if error.is_temporary() => Next::Retry,
            Self::Channel(ChannelError::Internal { .. }) => Next::GiveUp,
            // Something listens there that speaks another protocol.
            Self::Channel(_) => Next::NotOurs,
            Self::NoCoordinator | Self::Answer(_) | Self::Own(_) => Next::GiveUp,
        }
    }

    /// Whether this is a "no", as opposed to "could not tell".
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Channel(error) => error.is_refusal(),
            Self::Refused(refusal) => refusal.code.is_refusal(),
            Self::Answer(_) | Self::NoCoordinator => true,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Own(_) => false,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Channel(error) => error.hint(),
            _ => None,
        }
    }
}

fn after_refusal(code: ErrorCode) -> Next {
    match code {
        code if code.is_temporary() => Next::Retry,
        // The answer of another deployment's Coordinator, before or after it attested.
        ErrorCode::WrongDeployment => Next::NotOurs,
        // Its fault, or a state in which it cannot answer now.
        ErrorCode::Internal | ErrorCode::Conflict | ErrorCode::Rollback => Next::Retry,
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

/// Who asks, whom, and with what.
pub(crate) struct Asker {
    /// This pod.
    pub(crate) own: Own,
    /// What makes our Evidence.
    pub(crate) attester: Arc<dyn Attester>,
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
        let tls = TlsIdentity::generate().map_err(AskError::Channel)?;
        Ok(Self { own, attester, host, port: MESH_PORT, paths, tls })
    }

    fn coordinator(&self) -> Result<Identity, AskError> {
        self.own.settings.coordinator.ok_or(AskError::NoCoordinator)
    }

    /// Asks once.
    pub(crate) async fn ask(&self, key: &Key, what: Ask, log: LogHead) -> Result<Membership, AskError> {
        let coordinator = self.coordinator()?;
        // The lease counts from before the question, so that an answer that is held back is worth less, never more.
        let since = BootInstant::now();
        let stream = self.connect().await?;
        let settings = &self.own.settings;
        let terms = ClientTerms {
            purpose: Purpose::Mesh,
            deployment: settings.deployment_id,
            attest: Some((Role::Workload, Arc::clone(&self.attester))),
        };
        let mut channel = channel::connect(stream, &self.tls, terms, |evidence| {
            verifier::appraise(evidence, &settings.reference_values)?.require_identity(coordinator)
        })
        .await
        .map_err(AskError::Channel)?;
        let csr = key.request().map_err(AskError::Own)?;
        let request = match what {
            Ask::Enroll => MeshRequest::Enroll { csr },
            Ask::Renew => MeshRequest::Renew { csr },
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
            log,
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
