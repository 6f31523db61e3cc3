//! Moving bytes between a TLS peer and the workload.
//!
//! Buffers are small until a connection shows that it moves bulk, and small again once it has been quiet: buffer size is
//! a factor of 2 in bulk throughput and a factor of 5 in the memory of an idle connection.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use super::metrics::{Bytes, Cut};

/// The buffer of a connection that is idle or exchanges short messages.
const SMALL: usize = 1024;
/// LIMIT: the plaintext of one TLS record (RFC 8446, section 5.1). A read from TLS never gives more.
const LARGE_FROM_TLS: usize = 16 * 1024;
/// LIMIT: four full TLS records for one read of the workload's socket; more gained nothing.
const LARGE_FROM_PLAIN: usize = 64 * 1024;
/// How much a full buffer grows.
const GROWTH: usize = 4;
/// How long a connection must be quiet before its large buffer is given back.
const QUIET: Duration = Duration::from_secs(1);
/// Keep-alive probes start after this much silence, so that a peer that vanished does not hold a connection for ever.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Sets the options of a connection's socket. None is needed for correctness, so failures are passed over.
pub(super) fn tune(stream: &TcpStream) {
    let fd = stream.as_fd();
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(fd, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(fd, KEEPALIVE);
}

/// Makes closing the socket a reset, which no peer can mistake for the regular end of what was sent.
pub(super) fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides have ended.
    Done,
    /// It had to end.
    Cut(Cut),
    /// The TLS side failed.
    Tls {
        /// How.
        error: io::Error,
        /// Whether anything had come from it before.
        answered: bool,
    },
    /// The side in clear failed.
    Plain(io::Error),
}

/// Which end of a copy failed.
enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Forwards both ways until both sides have ended, one has failed, or `cut` completes.
///
/// An end (TLS `close_notify`, TCP FIN) is passed on by itself, so half-closed connections work. A TLS peer that vanishes
/// without `close_notify` may have been truncated by the network, so the other side sees a reset and not an end.
pub(super) async fn run(
    tls: TlsStream<TcpStream>,
    mut plain: TcpStream,
    cut: impl Future<Output = Cut>,
    bytes: &Bytes,
) -> End {
    let (mut from_tls, mut to_tls) = tokio::io::split(tls);
    let (mut from_plain, mut to_plain) = plain.split();
    let answered = AtomicBool::new(false);
    let inbound = async {
        let count = |length| {
            answered.store(true, Ordering::Relaxed);
            bytes.inbound.fetch_add(length, Ordering::Relaxed);
        };
        pump(&mut from_tls, &mut to_plain, LARGE_FROM_TLS, count).await.map_err(|fault| match fault {
            Fault::Reading(error) => End::Tls { error, answered: answered.load(Ordering::Relaxed) },
            Fault::Writing(error) => End::Plain(error),
        })
    };
    let outbound = async {
        let count = |length| {
            bytes.outbound.fetch_add(length, Ordering::Relaxed);
        };
        pump(&mut from_plain, &mut to_tls, LARGE_FROM_PLAIN, count).await.map_err(|fault| match fault {
            Fault::Reading(error) => End::Plain(error),
            Fault::Writing(error) => End::Tls { error, answered: answered.load(Ordering::Relaxed) },
        })
    };
    let end = tokio::select! {
        biased;
        cut = cut => End::Cut(cut),
        done = async { tokio::try_join!(inbound, outbound) } => match done {
            Ok(((), ())) => End::Done,
            Err(end) => end,
        },
    };
    let tls = from_tls.unsplit(to_tls);
    if let End::Tls { error, .. } | End::Plain(error) = &end {
        tracing::debug!(%error, "connection ended early");
    }
    if !matches!(end, End::Done) {
        reset(tls.get_ref().0);
        reset(&plain);
    }
    end
}

/// Copies from `reader` to `writer` until the end, and ends `writer` then. `count` gets the length of each piece.
async fn pump<R, W>(reader: &mut R, writer: &mut W, large: usize, count: impl Fn(u64)) -> Result<(), Fault>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = Vec::with_capacity(SMALL);
    loop {
        let length = if buffer.capacity() == SMALL {
            reader.read_buf(&mut buffer).await.map_err(Fault::Reading)?
        } else {
            // A timer only here, so that small messages never pay for one.
            let Ok(length) = timeout(QUIET, reader.read_buf(&mut buffer)).await else {
                buffer = Vec::with_capacity(SMALL);
                continue;
            };
            length.map_err(Fault::Reading)?
        };
        if length == 0 {
            return writer.shutdown().await.map_err(Fault::Writing);
        }
        writer.write_all(&buffer).await.map_err(Fault::Writing)?;
        writer.flush().await.map_err(Fault::Writing)?;
        count(u64::try_from(length).unwrap_or(u64::MAX));
        let full = buffer.len() == buffer.capacity();
        buffer.clear();
        if full && buffer.capacity() < large {
            buffer = Vec::with_capacity((buffer.capacity() * GROWTH).min(large));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn everything_arrives_whatever_the_buffers_do() {
        for size in [0, 1, SMALL - 1, SMALL, SMALL + 1, 3 * LARGE_FROM_PLAIN + 7] {
            let sent: Vec<u8> = (0..size).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let mut received = Vec::new();
            let bytes = AtomicU64::new(0);
            let count = |length| {
                bytes.fetch_add(length, Ordering::Relaxed);
            };
            pump(&mut sent.as_slice(), &mut received, LARGE_FROM_PLAIN, count).await.ok().unwrap();
            assert_eq!(received, sent);
            assert_eq!(bytes.into_inner(), size as u64);
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_quiet_connection_goes_on_after_its_buffer_shrank() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let sender = tokio::spawn(async move {
            near.write_all(&vec![1; 100_000]).await.unwrap();
            tokio::time::sleep(QUIET * 3).await;
            near.write_all(&[2; 100]).await.unwrap();
        });
        let mut received = Vec::new();
        pump(&mut far, &mut received, LARGE_FROM_PLAIN, |_| ()).await.ok().unwrap();
        sender.await.unwrap();
        assert_eq!(received.len(), 100_100);
    }
}
