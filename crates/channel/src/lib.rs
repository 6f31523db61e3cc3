//! The attested channel (design, section 7).

#![warn(missing_docs)]

mod error;

pub use error::{ChannelError, Step};

use std::sync::Arc;

use attester::Attester;
use protocol::api::ApiError;
use protocol::{DeploymentId, Purpose, Role};
use rustls::crypto::CryptoProvider;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use verifier::{AppraiseError, AttestationResult, VerifiedEvidence};

/// The one crypto provider of Casemate.
pub fn provider() -> Arc<CryptoProvider> {
    todo!()
}

/// The TLS key and self-signed leaf of one process. The leaf proves nothing until Evidence is bound to it.
#[derive(Clone, Debug)]
pub struct TlsIdentity {}

impl TlsIdentity {
    /// A fresh P-256 key with a self-signed leaf.
    pub fn generate() -> Result<Self, ChannelError> {
        todo!()
    }
}

/// What a client wants of a channel.
#[derive(Clone)]
pub struct ClientTerms {
    /// Why it is opened.
    pub purpose: Purpose,
    /// The deployment that the client means.
    pub deployment: DeploymentId,
    /// The role in which the client attests and what makes its Evidence; `None`: the client does not attest.
    pub attest: Option<(Role, Arc<dyn Attester>)>,
}

/// What a server offers.
#[derive(Clone)]
pub struct ServerTerms {
    /// The purposes that it serves.
    pub purposes: Vec<Purpose>,
    /// Its deployment.
    pub deployment: DeploymentId,
    /// What it is.
    pub role: Role,
    /// What makes its Evidence.
    pub attester: Arc<dyn Attester>,
    /// Whether a client must attest. A client that attests unasked is judged as well.
    pub client_evidence: bool,
}

/// Opens an attested channel as client. The server must be a Coordinator.
pub async fn connect<S>(
    _stream: S,
    _identity: &TlsIdentity,
    _terms: ClientTerms,
    _appraise: impl FnOnce(VerifiedEvidence) -> Result<AttestationResult, AppraiseError>,
) -> Result<Channel<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    todo!()
}

/// Opens an attested channel as server.
pub async fn accept<S>(
    _stream: S,
    _identity: &TlsIdentity,
    _terms: &ServerTerms,
    _appraise: impl FnOnce(VerifiedEvidence) -> Result<AttestationResult, ApiError>,
) -> Result<Channel<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    todo!()
}

/// An open channel: both verdicts were given.
pub struct Channel<S> {
    stream: tokio_rustls::TlsStream<S>,
    purpose: Purpose,
    peer: Option<AttestationResult>,
    peer_role: Option<Role>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Why the channel was opened.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The peer's Attestation Result; `None` when the peer is a client that did not attest.
    pub fn peer(&self) -> Option<&AttestationResult> {
        self.peer.as_ref()
    }

    /// Takes the peer's Attestation Result, for example to make a grant of it.
    pub fn take_peer(&mut self) -> Option<AttestationResult> {
        self.peer.take()
    }

    /// The role under which the peer attested.
    pub fn peer_role(&self) -> Option<Role> {
        self.peer_role
    }

    /// Sends one message.
    pub async fn send<T: Serialize + ?Sized>(&mut self, _message: &T) -> Result<(), ChannelError> {
        let _ = &mut self.stream;
        todo!()
    }

    /// Receives one message. A peer that closed the channel is [`ChannelError::Closed`].
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<T, ChannelError> {
        todo!()
    }

    /// Receives one message, or `None` when the peer closed the channel in order.
    pub async fn recv_or_end<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ChannelError> {
        todo!()
    }

    /// Closes the channel in order, so that the peer can tell the end from a cut.
    pub async fn close(self) -> Result<(), ChannelError> {
        todo!()
    }
}
