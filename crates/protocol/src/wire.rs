//! Frames and the messages with which an attested channel opens (design, section 7).
//!
//! A frame is a length, u32 big-endian, and that many bytes of JSON. After the TLS handshake the client sends
//! [`Hello`]. The server answers with [`ServerEvidence`]; when the client is to attest too, it judges the server's
//! Evidence first and then sends [`ClientEvidence`]. The side that judged last answers [`Verdict`]. Only then may
//! application messages flow.

use serde::{Deserialize, Serialize};

use crate::binding::{Nonce, Purpose, Role};
use crate::digest::DeploymentId;
use crate::evidence::Evidence;

/// The TLS ALPN protocol of the attested channel. Mandatory on both sides.
pub const ALPN: &[u8] = b"casemate/1";

/// LIMIT: before both verdicts a frame holds at most one Evidence in base64 inside JSON: [`Evidence::MAX_BODY`], and 10 KiB
/// for each of [`Evidence::MAX_DEVICES`] devices, which is what they really take, make 300 KiB.
pub const MAX_HANDSHAKE_FRAME: usize = 5 * Evidence::MAX_BODY;
/// LIMIT: the largest application message is a `State` answer with a history of manifests.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// The client's first message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The protocol version, 1.
    pub version: u32,
    /// Why the channel is opened.
    pub purpose: Purpose,
    /// The deployment that the client means.
    pub deployment: DeploymentId,
    /// The client's nonce for the server's Evidence.
    pub nonce: Nonce,
    /// The role in which the client will attest, if it will.
    pub attests_as: Option<Role>,
}

/// The server's Evidence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerEvidence {
    /// The server's role.
    pub role: Role,
    /// Bound to this channel, to the client's nonce and to `role`.
    pub evidence: Evidence,
    /// The server's nonce for the client's Evidence; present when the client said that it attests.
    pub nonce: Option<Nonce>,
}

/// The client's Evidence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientEvidence {
    /// Bound to this channel and to the server's nonce.
    pub evidence: Evidence,
}

/// The outcome, told to the peer. A refusal carries a stable code and a short text that leaks no policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The peer is accepted for the channel's purpose.
    Accepted,
    /// The peer is refused.
    Refused(crate::api::ApiError),
}

/// The server's first message: Evidence, or why there is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerOpening {
    /// Evidence follows the client's wish.
    Evidence(ServerEvidence),
    /// The server will not go on.
    Refused(crate::api::ApiError),
}
