//! The opening of a channel, from both ends. The order of the steps is in the crate's documentation.

use std::fmt;
use std::sync::Arc;

use attester::Attester;
use protocol::api::ApiError;
use protocol::wire::{ClientEvidence, Hello, MAX_FRAME, MAX_HANDSHAKE_FRAME, ServerEvidence, ServerOpening, Verdict};
use protocol::{Binding, DeploymentId, Digest, Evidence, Nonce, Purpose, Role, TlsSide};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsStream;
use verifier::{AppraiseError, AttestationResult, UnverifiedEvidence, VerifiedEvidence};

use crate::conversation::within;
use crate::error::{refused, refused_before_evidence};
use crate::judge::Judge;
use crate::{Channel, ChannelError, Step, TIMEOUTS, Timeouts, TlsIdentity, frame, tls};

/// The version of the opening.
const VERSION: u32 = 1;

/// What a client wants of a channel.
#[derive(Clone)]
pub struct ClientTerms {
    /// Why it is opened.
    pub purpose: Purpose,
    /// The deployment that the client means.
    pub deployment: DeploymentId,
    /// The role in which the client attests and what makes its Evidence; `None`: the client does not attest.
    pub attest: Option<(Role, Arc<dyn Attester>)>,
    /// Who verifies the server's Evidence.
    pub judge: Arc<dyn Judge>,
}

impl fmt::Debug for ClientTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTerms")
            .field("purpose", &self.purpose)
            .field("deployment", &self.deployment)
            .field("attests_as", &self.attest.as_ref().map(|(role, _)| role))
            .finish_non_exhaustive()
    }
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
    /// Who verifies a client's Evidence.
    pub judge: Arc<dyn Judge>,
}

impl fmt::Debug for ServerTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTerms")
            .field("purposes", &self.purposes)
            .field("deployment", &self.deployment)
            .field("role", &self.role)
            .field("client_evidence", &self.client_evidence)
            .finish_non_exhaustive()
    }
}

/// What may come after the server's Evidence.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ClientAnswer {
    /// From a client that attests and has accepted the server.
    Evidence(ClientEvidence),
    /// From a client that does not attest, or that refuses the server.
    Verdict(Verdict),
}

/// Opens an attested channel as client, over a connected stream. The server must be a Coordinator.
///
/// `appraise` gets the server's Evidence after it was verified and found bound to this channel; it is called at most
/// once. `Ok` says that the server met it, and, when the client attests, that the server accepted the client too.
pub async fn connect<S>(
    stream: S,
    identity: &TlsIdentity,
    terms: ClientTerms,
    appraise: impl FnOnce(VerifiedEvidence) -> Result<AttestationResult, AppraiseError>,
) -> Result<Channel<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connect_within(stream, identity, terms, appraise, TIMEOUTS).await
}

/// Opens an attested channel as server, over an accepted stream.
///
/// `appraise` gets the client's Evidence after it was verified and found bound to this channel, and decides what the
/// client is told when it is refused. It is not called for a client that does not attest: then `Ok` says no more than
/// that *somebody* accepted this server's Evidence, and [`Channel::peer`] is `None`.
pub async fn accept<S>(
    stream: S,
    identity: &TlsIdentity,
    terms: &ServerTerms,
    appraise: impl FnOnce(VerifiedEvidence) -> Result<AttestationResult, ApiError>,
) -> Result<Channel<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_within(stream, identity, terms, appraise, TIMEOUTS).await
}

pub(crate) async fn connect_within<S>(
    stream: S,
    identity: &TlsIdentity,
    terms: ClientTerms,
    appraise: impl FnOnce(VerifiedEvidence) -> Result<AttestationResult, AppraiseError>,
    timeouts: Timeouts,
) -> Result<Channel<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = within(timeouts.short, Step::Handshake, identity.connect(stream)).await?;
    let mut wire = Wire::new(stream, identity, TlsSide::Client, terms.deployment, timeouts)?;

    let nonce = Nonce(tls::nonce()?);
    let hello = Hello {
        version: VERSION,
        purpose: terms.purpose,
        deployment: terms.deployment,
        nonce,
        attests_as: terms.attest.as_ref().map(|(role, _)| *role),
    };
    wire.write(&hello, Step::Hello).await?;

    let opening = match wire.read(Step::ServerEvidence).await? {
        ServerOpening::Evidence(opening) => opening,
        ServerOpening::Refused(error) => return Err(refused_before_evidence(error)),
    };
    let judged = wire.judge_server(&*terms.judge, opening, terms.purpose, nonce, terms.attest.is_some(), appraise);
    let (peer, server_nonce) = match judged.await {
        Ok(judged) => judged,
        Err(error) => {
            wire.tell(&ClientAnswer::Verdict(Verdict::Refused(error.to_peer())), Step::ClientAnswer).await;
            return Err(error);
        }
    };

    match (terms.attest, server_nonce) {
        (Some((role, attester)), Some(nonce)) => {
            let evidence = wire.attest(&*attester, terms.purpose, role, nonce).await?;
            wire.write(&ClientEvidence { evidence }, Step::ClientAnswer).await?;
            match wire.read(Step::Verdict).await? {
                Verdict::Accepted => {}
                Verdict::Refused(error) => return Err(refused(error)),
            }
        }
        _ => wire.write(&Verdict::Accepted, Step::ClientAnswer).await?,
    }
    Ok(wire.into_channel(terms.purpose, Some((peer, Role::Coordinator))))
}

pub(crate) async fn accept_within<S>(
    stream: S,
    identity: &TlsIdentity,
    terms: &ServerTerms,
    appraise: impl FnOnce(VerifiedEvidence) -> Result<AttestationResult, ApiError>,
    timeouts: Timeouts,
) -> Result<Channel<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = within(timeouts.short, Step::Handshake, identity.accept(stream)).await?;
    let mut wire = Wire::new(stream, identity, TlsSide::Server, terms.deployment, timeouts)?;

    let hello = match wire.read::<Hello>(Step::Hello).await.and_then(|hello| terms.serve(hello)) {
        Ok(hello) => hello,
        Err(error) => {
            wire.tell(&ServerOpening::Refused(error.to_peer()), Step::ServerEvidence).await;
            return Err(error);
        }
    };
    let purpose = hello.purpose;
    let nonce = hello.attests_as.map(|_| tls::nonce().map(Nonce)).transpose()?;
    let evidence = match wire.attest(&*terms.attester, purpose, terms.role, hello.nonce).await {
        Ok(evidence) => evidence,
        Err(error) => {
            wire.tell(&ServerOpening::Refused(error.to_peer()), Step::ServerEvidence).await;
            return Err(error);
        }
    };
    let opening = ServerOpening::Evidence(ServerEvidence { role: terms.role, evidence, nonce });
    wire.write(&opening, Step::ServerEvidence).await?;

    let answer = wire.read(Step::ClientAnswer).await;
    let peer = match (answer, hello.attests_as, nonce) {
        (Ok(ClientAnswer::Verdict(Verdict::Refused(error))), _, _) => return Err(refused_before_evidence(error)),
        (Ok(ClientAnswer::Verdict(Verdict::Accepted)), None, _) => None,
        (Ok(ClientAnswer::Evidence(answer)), Some(role), Some(nonce)) => {
            let judged = wire
                .judge(&*terms.judge, answer.evidence, purpose, role, nonce)
                .await
                .and_then(|verified| appraise(verified).map_err(ChannelError::Unauthorized));
            match judged {
                Ok(result) => {
                    wire.write(&Verdict::Accepted, Step::Verdict).await?;
                    Some((result, role))
                }
                Err(error) => return Err(wire.refuse(error).await),
            }
        }
        (Ok(_), _, _) => {
            let reason = "verdict and evidence do not fit the client's hello".to_owned();
            let error = ChannelError::Malformed { during: Step::ClientAnswer, reason };
            return Err(wire.refuse(error).await);
        }
        (Err(error), _, _) => return Err(wire.refuse(error).await),
    };
    Ok(wire.into_channel(purpose, peer))
}

impl ServerTerms {
    /// Whether a client's wish is served here.
    fn serve(&self, hello: Hello) -> Result<Hello, ChannelError> {
        if hello.version != VERSION {
            return Err(ChannelError::Version { got: hello.version, expected: VERSION });
        }
        if !self.purposes.contains(&hello.purpose) {
            return Err(ChannelError::PurposeNotServed { got: hello.purpose });
        }
        if hello.deployment != self.deployment {
            return Err(ChannelError::WrongDeployment { got: hello.deployment, expected: self.deployment });
        }
        if self.client_evidence && hello.attests_as.is_none() {
            return Err(ChannelError::EvidenceMissing { purpose: hello.purpose });
        }
        Ok(hello)
    }
}

/// A TLS connection on its way to become a channel.
struct Wire<S> {
    stream: TlsStream<S>,
    side: TlsSide,
    own_leaf: Digest,
    peer_leaf: Digest,
    deployment: DeploymentId,
    timeouts: Timeouts,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn new(
        stream: TlsStream<S>,
        identity: &TlsIdentity,
        side: TlsSide,
        deployment: DeploymentId,
        timeouts: Timeouts,
    ) -> Result<Self, ChannelError> {
        let peer_leaf = tls::peer_leaf(&stream)?;
        Ok(Self { stream, side, own_leaf: identity.leaf(), peer_leaf, deployment, timeouts })
    }

    /// What Evidence on this channel is bound to.
    fn binding(&self, attester: TlsSide, purpose: Purpose, role: Role, nonce: Nonce) -> Result<Binding, ChannelError> {
        let (own_leaf, peer_leaf) =
            if attester == self.side { (self.own_leaf, self.peer_leaf) } else { (self.peer_leaf, self.own_leaf) };
        Ok(Binding {
            purpose,
            side: attester,
            role,
            deployment: self.deployment,
            nonce,
            exporter: tls::exporter(&self.stream, &nonce.0)?,
            own_leaf,
            peer_leaf: Some(peer_leaf),
            devices: None,
        })
    }

    /// Makes Evidence of our own.
    async fn attest(
        &self,
        attester: &dyn Attester,
        purpose: Purpose,
        role: Role,
        nonce: Nonce,
    ) -> Result<Evidence, ChannelError> {
        let binding = self.binding(self.side, purpose, role, nonce)?;
        let attest = async { attester.attest_bound(&binding).await.map_err(ChannelError::Attest) };
        within(self.timeouts.attest, Step::Attest, attest).await
    }

    /// Verifies Evidence of the peer.
    async fn judge(
        &self,
        judge: &dyn Judge,
        evidence: Evidence,
        purpose: Purpose,
        role: Role,
        nonce: Nonce,
    ) -> Result<VerifiedEvidence, ChannelError> {
        let peer = match self.side {
            TlsSide::Client => TlsSide::Server,
            TlsSide::Server => TlsSide::Client,
        };
        let expected = self.binding(peer, purpose, role, nonce)?.expected(&evidence);
        let evidence = UnverifiedEvidence::new(evidence).map_err(ChannelError::Verify)?;
        let verify = async { judge.verify(evidence, &expected).await.map_err(ChannelError::Verify) };
        within(self.timeouts.judge, Step::Judge, verify).await
    }

    /// Judges the server's opening. Gives its result, and its nonce when there is to be an answer.
    async fn judge_server(
        &self,
        judge: &dyn Judge,
        opening: ServerEvidence,
        purpose: Purpose,
        nonce: Nonce,
        attests: bool,
        appraise: impl FnOnce(VerifiedEvidence) -> Result<AttestationResult, AppraiseError>,
    ) -> Result<(AttestationResult, Option<Nonce>), ChannelError> {
        if opening.role != Role::Coordinator {
            return Err(ChannelError::WrongRole { got: opening.role, expected: Role::Coordinator });
        }
        if opening.nonce.is_some() != attests {
            let reason = "the server's nonce does not fit the client's hello".to_owned();
            return Err(ChannelError::Malformed { during: Step::ServerEvidence, reason });
        }
        let verified = self.judge(judge, opening.evidence, purpose, opening.role, nonce).await?;
        let result = appraise(verified).map_err(ChannelError::Appraise)?;
        Ok((result, opening.nonce))
    }

    async fn read<T: DeserializeOwned>(&mut self, during: Step) -> Result<T, ChannelError> {
        // Only these two wait for the peer's TEE.
        let limit = match during {
            Step::ServerEvidence | Step::ClientAnswer => self.timeouts.evidence,
            _ => self.timeouts.short,
        };
        let read = frame::read(&mut self.stream, MAX_HANDSHAKE_FRAME, during);
        let bytes = within(limit, during, read).await?.ok_or(ChannelError::Closed { during })?;
        frame::decode(&bytes, during)
    }

    async fn write<T: Serialize>(&mut self, message: &T, during: Step) -> Result<(), ChannelError> {
        let bytes = frame::encode(message, MAX_HANDSHAKE_FRAME, during)?;
        within(self.timeouts.short, during, frame::write(&mut self.stream, &bytes, during)).await
    }

    /// Tells the peer why the channel ends here. What becomes of the message changes nothing.
    async fn tell<T: Serialize>(&mut self, message: &T, during: Step) {
        if self.write(message, during).await.is_ok() {
            let _ = tokio::time::timeout(self.timeouts.close, self.stream.shutdown()).await;
        }
    }

    /// Refuses the client after the server's Evidence was sent.
    async fn refuse(&mut self, error: ChannelError) -> ChannelError {
        self.tell(&Verdict::Refused(error.to_peer()), Step::Verdict).await;
        error
    }

    fn into_channel(self, purpose: Purpose, peer: Option<(AttestationResult, Role)>) -> Channel<S> {
        let (peer, peer_role) = peer.unzip();
        Channel { stream: self.stream, purpose, peer, peer_role, timeouts: self.timeouts, recv_limit: MAX_FRAME }
    }
}

#[cfg(test)]
mod tests;
