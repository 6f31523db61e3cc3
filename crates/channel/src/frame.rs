//! Frames: a length, u32 big-endian, and that many bytes of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::{ChannelError, Step};

/// LIMIT: a length is only a claim, so memory beyond this is taken as bytes arrive. Larger than any message that holds a
/// secret, so that those are not copied while the buffer grows.
const FIRST_BUFFER: usize = 256 * 1024;

/// Counts bytes, to know a frame's length before memory is taken for it.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A message as a frame. Wiped when dropped, since it may hold a secret.
pub(crate) fn encode<T: Serialize + ?Sized>(
    message: &T,
    limit: usize,
    during: Step,
) -> Result<Zeroizing<Vec<u8>>, ChannelError> {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, message).map_err(crate::tls::internal)?;
    let length = counter.0;
    let too_long = || ChannelError::FrameTooLong { during, got: length, limit };
    if length > limit {
        return Err(too_long());
    }
    let prefix = u32::try_from(length).map_err(|_| too_long())?.to_be_bytes();
    let mut frame = Zeroizing::new(Vec::with_capacity(length.saturating_add(prefix.len())));
    frame.extend_from_slice(&prefix);
    serde_json::to_writer(&mut *frame, message).map_err(crate::tls::internal)?;
    Ok(frame)
}

/// Writes one frame.
pub(crate) async fn write<W>(stream: &mut W, frame: &[u8], during: Step) -> Result<(), ChannelError>
where
    W: AsyncWrite + Unpin,
{
    let io = |error: std::io::Error| ChannelError::io(during, &error);
    stream.write_all(frame).await.map_err(io)?;
    stream.flush().await.map_err(io)
}

/// Reads one frame's bytes; `None` when the peer closed the channel, in order, before it.
pub(crate) async fn read<R>(
    stream: &mut R,
    limit: usize,
    during: Step,
) -> Result<Option<Zeroizing<Vec<u8>>>, ChannelError>
where
    R: AsyncRead + Unpin,
{
    let io = |error: std::io::Error| ChannelError::io(during, &error);
    let mut prefix = Vec::with_capacity(4);
    stream.take(4).read_to_end(&mut prefix).await.map_err(io)?;
    let prefix: [u8; 4] = match prefix.as_slice() {
        [] => return Ok(None),
        &[a, b, c, d] => [a, b, c, d],
        part => return Err(cut_short(during, part.len(), 4)),
    };
    let claimed = u32::from_be_bytes(prefix);
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    if length > limit {
        return Err(ChannelError::FrameTooLong { during, got: length, limit });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(FIRST_BUFFER)));
    stream.take(u64::from(claimed)).read_to_end(&mut bytes).await.map_err(io)?;
    if bytes.len() < length {
        return Err(cut_short(during, bytes.len(), length));
    }
    Ok(Some(bytes))
}

fn cut_short(during: Step, got: usize, expected: usize) -> ChannelError {
    ChannelError::Io {
        during,
        kind: std::io::ErrorKind::UnexpectedEof,
        reason: format!("frame cut short after {got} of {expected} bytes"),
    }
}

/// The message in a frame's bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], during: Step) -> Result<T, ChannelError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let reason = match during {
            // The parser quotes what it stumbles over, and application messages hold secrets.
            Step::Message => format!("{} at byte {}", kind(&error), error.column()),
            _ => crate::error::printable(&error.to_string()),
        };
        ChannelError::Malformed { during, reason }
    })
}

fn kind(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "unreadable",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "JSON that ends too early",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::wire::{Hello, MAX_HANDSHAKE_FRAME, ServerOpening, Verdict};

    use super::*;
    use crate::opening::ClientAnswer;

    fn read_all(mut bytes: &[u8], limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, ChannelError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut bytes, limit, Step::Message))
    }

    #[test]
    fn a_message_survives_its_frame() {
        let frame = encode(&["a", "b"], 100, Step::Message).unwrap();
        assert_eq!(frame.as_slice(), b"\0\0\0\x09[\"a\",\"b\"]");
        let bytes = read_all(&frame, 100).unwrap().unwrap();
        assert_eq!(decode::<Vec<String>>(&bytes, Step::Message).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_frame_beyond_its_limit_is_neither_sent_nor_read() {
        let error = ChannelError::FrameTooLong { during: Step::Message, got: 9, limit: 8 };
        assert_eq!(encode(&["a", "b"], 8, Step::Message).unwrap_err(), error);
        assert_eq!(read_all(b"\0\0\0\x09[\"a\",\"b\"]", 8).unwrap_err(), error);
        let huge = ChannelError::FrameTooLong { during: Step::Message, got: 0xffff_ffff, limit: 8 };
        assert_eq!(read_all(b"\xff\xff\xff\xff", 8).unwrap_err(), huge);
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error_and_only_nothing_is_the_end() {
        let frame = b"\0\0\0\x09[\"a\",\"b\"]";
        assert_eq!(read_all(&[], 100), Ok(None));
        for end in 1..frame.len() {
            let error = read_all(&frame[..end], 100).unwrap_err();
            assert!(
                matches!(&error, ChannelError::Io { kind: std::io::ErrorKind::UnexpectedEof, .. }),
                "{end}: {error}"
            );
        }
    }

    #[test]
    fn a_malformed_application_message_is_reported_without_its_content() {
        let error = decode::<u64>(b"\"hunter2\"", Step::Message).unwrap_err();
        assert_eq!(error.to_string(), "malformed message between messages: JSON of another shape at byte 9");
    }

    proptest! {
        #[test]
        fn reading_arbitrary_bytes_never_panics_nor_exceeds_the_limit(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            limit in 0_usize..500,
        ) {
            if let Ok(Some(frame)) = read_all(&bytes, limit) {
                prop_assert!(frame.len() <= limit);
            }
        }

        #[test]
        fn reading_frames_of_arbitrary_bytes_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let prefix = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            let frame = read_all(&[&prefix, bytes.as_slice()].concat(), MAX_HANDSHAKE_FRAME).unwrap().unwrap();
            prop_assert_eq!(frame.as_slice(), bytes.as_slice());
            let _ = decode::<Hello>(&frame, Step::Hello);
            let _ = decode::<ServerOpening>(&frame, Step::ServerEvidence);
            let _ = decode::<ClientAnswer>(&frame, Step::ClientAnswer);
            let _ = decode::<Verdict>(&frame, Step::Verdict);
        }

        #[test]
        fn decoding_almost_messages_never_panics(text in r#"[\{\}\[\]":,0-9a-z\\\- ]{0,200}"#) {
            let _ = decode::<Hello>(text.as_bytes(), Step::Hello);
            let _ = decode::<ServerOpening>(text.as_bytes(), Step::ServerEvidence);
            let _ = decode::<ClientAnswer>(text.as_bytes(), Step::ClientAnswer);
        }
    }
}
