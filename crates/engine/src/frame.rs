//! Frames on the engine's sockets: a length, u32 big-endian, and that many bytes of JSON.

use std::io::{Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// LIMIT: the largest frame is a `CopyFile` with [`crate::agent_api::MAX_COPY_CHUNK`] bytes in base64 and its request.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;

/// A frame that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer went away between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer went away inside a frame, or the socket failed.
    #[error("the socket failed")]
    Io(#[source] std::io::Error),
    /// Longer than [`MAX_FRAME`].
    #[error("frame of {got} bytes, at most {MAX_FRAME} are read")]
    TooLong {
        /// The announced length.
        got: usize,
    },
    /// Not the expected JSON.
    #[error("frame is not the expected message")]
    Malformed(#[source] serde_json::Error),
}

fn length(header: [u8; 4]) -> Result<usize, FrameError> {
    let got = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if got > MAX_FRAME { Err(FrameError::TooLong { got }) } else { Ok(got) }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let body = serde_json::to_vec(message).map_err(FrameError::Malformed)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_FRAME);
    let length = length.ok_or(FrameError::TooLong { got: body.len() })?;
    // One buffer, so that one write carries the whole frame and no reader wakes up for half of it.
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads one message.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, FrameError> {
    let mut header = [0; 4];
    match from.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(FrameError::Closed),
        Err(error) => return Err(FrameError::Io(error)),
    }
    let mut body = vec![0; length(header)?];
    from.read_exact(&mut body).map_err(FrameError::Io)?;
    serde_json::from_slice(&body).map_err(FrameError::Malformed)
}

/// Writes one message.
pub fn write<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let bytes = encode(message)?;
    to.write_all(&bytes).map_err(FrameError::Io)
}

/// Reads one message. Not cancel-safe: a caller that drops the future must drop the connection too.
pub async fn read_async<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> Result<T, FrameError> {
    let mut header = [0; 4];
    match from.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(FrameError::Closed),
        Err(error) => return Err(FrameError::Io(error)),
    }
    let mut body = vec![0; length(header)?];
    from.read_exact(&mut body).await.map_err(FrameError::Io)?;
    serde_json::from_slice(&body).map_err(FrameError::Malformed)
}

/// Writes one message.
pub async fn write_async<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), message: &T) -> Result<(), FrameError> {
    let bytes = encode(message)?;
    to.write_all(&bytes).await.map_err(FrameError::Io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_frame() {
        let mut bytes = Vec::new();
        write(&mut bytes, &vec!["a", "b"]).unwrap();
        assert_eq!(read::<Vec<String>>(&mut bytes.as_slice()).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
        let header = u32::MAX.to_be_bytes();
        assert!(matches!(read::<String>(&mut header.as_slice()), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn the_end_between_frames_is_not_an_error_inside_one() {
        assert!(matches!(read::<String>(&mut [].as_slice()), Err(FrameError::Closed)));
        assert!(matches!(read::<String>(&mut [0, 0, 0, 9, b'"'].as_slice()), Err(FrameError::Io(_))));
        assert!(matches!(read::<String>(&mut [0, 0, 0, 1, b'{'].as_slice()), Err(FrameError::Malformed(_))));
    }
}
