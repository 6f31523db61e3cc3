//! An open channel and the messages on it.

use std::fmt;
use std::time::Duration;

use protocol::wire::MAX_FRAME;
use protocol::{Purpose, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsStream;
use verifier::AttestationResult;

use crate::{ChannelError, Step, Timeouts, frame};

/// An open channel: both verdicts were given, and application messages may flow.
///
/// A channel that returned an error is at an unknown place in its stream; drop it and open another.
pub struct Channel<S> {
    pub(crate) stream: TlsStream<S>,
    pub(crate) purpose: Purpose,
    pub(crate) peer: Option<AttestationResult>,
    pub(crate) peer_role: Option<Role>,
    pub(crate) timeouts: Timeouts,
    pub(crate) recv_limit: usize,
}

impl<S> fmt::Debug for Channel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("purpose", &self.purpose)
            .field("peer", &self.peer)
            .field("peer_role", &self.peer_role)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Why the channel was opened.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The peer's Attestation Result; `None` when the peer is a client that did not attest, or when it was taken.
    pub fn peer(&self) -> Option<&AttestationResult> {
        self.peer.as_ref()
    }

    /// Takes the peer's Attestation Result, for example to make a grant of it.
    pub fn take_peer(&mut self) -> Option<AttestationResult> {
        self.peer.take()
    }

    /// The role under which the peer attested. Its Evidence is bound to it, but whether an identity may have that role is
    /// for the manifest to say.
    pub fn peer_role(&self) -> Option<Role> {
        self.peer_role
    }

    /// From now on receives no message longer than `bytes`, which is [`MAX_FRAME`] at first and never more. Answers may be
    /// long, requests are short: a server that reads both with one limit lends every client the memory of an answer.
    pub fn limit_recv(&mut self, bytes: usize) {
        self.recv_limit = bytes.min(MAX_FRAME);
    }

    /// Sends one message of at most [`MAX_FRAME`] bytes of JSON, within a minute.
    pub async fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), ChannelError> {
        let bytes = frame::encode(message, MAX_FRAME, Step::Message)?;
        within(self.timeouts.message, Step::Message, frame::write(&mut self.stream, &bytes, Step::Message)).await
    }

    /// Receives one message, within a minute. A peer that closed the channel is [`ChannelError::Closed`].
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<T, ChannelError> {
        self.recv_or_end().await?.ok_or(ChannelError::Closed { during: Step::Message })
    }

    /// Receives one message within a minute, or `None` when the peer closed the channel in order.
    pub async fn recv_or_end<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ChannelError> {
        let read = frame::read(&mut self.stream, self.recv_limit, Step::Message);
        match within(self.timeouts.message, Step::Message, read).await? {
            Some(bytes) => frame::decode(&bytes, Step::Message).map(Some),
            None => Ok(None),
        }
    }

    /// Closes the channel in order, so that the peer can tell its end from a cut.
    pub async fn close(mut self) -> Result<(), ChannelError> {
        let shutdown = async { self.stream.shutdown().await.map_err(|error| ChannelError::io(Step::Close, &error)) };
        within(self.timeouts.close, Step::Close, shutdown).await
    }
}

/// Runs a step for no longer than `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    during: Step,
    step: impl Future<Output = Result<T, ChannelError>>,
) -> Result<T, ChannelError> {
    tokio::time::timeout(limit, step).await.unwrap_or(Err(ChannelError::Timeout { during, limit }))
}
