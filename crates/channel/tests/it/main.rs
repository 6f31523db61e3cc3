//! The attested channel over real TCP: honest ends, and every hostile end we could think of.

mod client_refuses;
mod frames;
mod hello;
mod honest;
mod rig;
mod server_refuses;
mod tls;

use channel::ChannelError;
use protocol::api::ErrorCode;
use verifier::VerifyError;

fn is_unbound(error: &ChannelError) -> bool {
    matches!(error, ChannelError::Verify(VerifyError::Unbound { .. }))
}

/// The code with which the peer refused.
fn refusal(error: &ChannelError) -> Option<ErrorCode> {
    match error {
        ChannelError::Refused(error) | ChannelError::RefusedBeforeEvidence(error) => Some(error.code),
        _ => None,
    }
}
