//! Frames that are too long, cut short or no message.

use attester::Attester as _;
use channel::{Channel, ChannelError, Step};
use protocol::ReportData;
use protocol::api::ErrorCode;
use protocol::wire::{MAX_FRAME, MAX_HANDSHAKE_FRAME, ServerOpening, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{MEASUREMENT, Raw, frame, hello, server, server_terms, tcp, tee, workload};

/// The honest server against a client that sends `bytes` after the handshake and then closes in order.
async fn server_after(bytes: &[u8]) -> ChannelError {
    let (near, far) = tcp().await;
    let ((), server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send_bytes(bytes).await;
            raw.stream.shutdown().await.unwrap();
            let _ = raw.stream.read_u8().await;
        },
        server(far, server_terms())
    );
    server.unwrap_err()
}

#[tokio::test]
async fn an_oversized_frame_is_refused_by_its_length_alone() {
    let got = MAX_HANDSHAKE_FRAME + 1;
    let prefix = u32::try_from(got).unwrap().to_be_bytes();
    let error = server_after(&prefix).await;
    assert_eq!(error, ChannelError::FrameTooLong { during: Step::Hello, got, limit: MAX_HANDSHAKE_FRAME });
    let error = server_after(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(matches!(error, ChannelError::FrameTooLong { during: Step::Hello, .. }), "{error}");
}

#[tokio::test]
async fn a_frame_cut_short_is_could_not_tell() {
    let hello = frame(&hello(None));
    for end in [1, 3, 4, 5, hello.len() - 1] {
        let error = server_after(&hello[..end]).await;
        assert!(matches!(&error, ChannelError::Io { during: Step::Hello, .. }), "{end}: {error}");
        assert!(!error.is_refusal());
    }
    assert_eq!(server_after(b"").await, ChannelError::Closed { during: Step::Hello });
}

#[tokio::test]
async fn garbage_in_a_frame_is_malformed() {
    let mut unknown = serde_json::to_value(hello(None)).unwrap();
    unknown["admin"] = true.into();
    let messages = [frame(&"hello"), frame(&unknown), frame(&()), vec![0, 0, 0, 0], vec![0, 0, 0, 2, 0xff, 0xff]];
    for message in messages {
        let error = server_after(&message).await;
        assert!(matches!(error, ChannelError::Malformed { during: Step::Hello, .. }), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::Malformed));
    }
}

/// A client that sends what it likes, and the honest server's open channel to it.
async fn opened() -> (Raw, Channel<TcpStream>) {
    let (near, far) = tcp().await;
    let (raw, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello(None)).await;
            let _: ServerOpening = raw.recv().await;
            raw.send(&Verdict::Accepted).await;
            raw
        },
        server(far, server_terms())
    );
    (raw, server.unwrap())
}

#[tokio::test]
async fn a_server_that_limits_requests_reads_no_longer_one_and_still_answers_at_length() {
    let (mut raw, mut server) = opened().await;
    server.limit_recv(8);
    raw.send(&"123456").await;
    assert_eq!(server.recv::<String>().await.unwrap(), "123456");
    let answer = "x".repeat(100_000);
    let (sent, received) = tokio::join!(server.send(&answer), raw.recv::<String>());
    sent.unwrap();
    assert_eq!(received, answer);
    raw.send(&"1234567").await;
    let error = server.recv::<String>().await.unwrap_err();
    assert_eq!(error, ChannelError::FrameTooLong { during: Step::Message, got: 9, limit: 8 });
}

#[tokio::test]
async fn no_limit_goes_beyond_that_of_the_protocol() {
    let (mut raw, mut server) = opened().await;
    server.limit_recv(usize::MAX);
    raw.send_bytes(&u32::MAX.to_be_bytes()).await;
    let error = server.recv::<String>().await.unwrap_err();
    assert!(matches!(error, ChannelError::FrameTooLong { during: Step::Message, limit: MAX_FRAME, .. }), "{error}");
}

#[tokio::test]
async fn an_oversized_application_message_ends_the_channel() {
    let (mut raw, mut server) = opened().await;
    raw.send_bytes(&u32::MAX.to_be_bytes()).await;
    let error = server.recv::<String>().await.unwrap_err();
    assert!(matches!(error, ChannelError::FrameTooLong { during: Step::Message, limit: MAX_FRAME, .. }), "{error}");
}

#[tokio::test]
async fn the_rigs_attester_signs_what_it_is_asked() {
    // Guards the tests above: a rig that signed something else would make every "unbound" an accident.
    let report_data = ReportData([5; 64]);
    let evidence = tee().attester(MEASUREMENT, workload()).attest(&report_data).await.unwrap();
    assert_eq!(evidence, tee().evidence(MEASUREMENT, workload(), &report_data));
}
