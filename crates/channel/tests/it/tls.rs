//! What ends in the TLS handshake.

use std::sync::Arc;

use channel::{ChannelError, Step, TlsIdentity, accept};
use protocol::wire::{ALPN, ServerOpening, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{
    Raw, appraise_client, client, client_config, client_terms, hello, key, server, server_config, server_terms, tcp,
};

/// A hostile TLS client against the honest server.
async fn tls_client(config: rustls::ClientConfig) -> ChannelError {
    let (near, far) = tcp().await;
    let ((), server) = tokio::join!(
        async {
            if let Ok(mut stream) = Raw::connect_with(near, config).await {
                let _ = stream.read_u8().await;
            }
        },
        server(far, server_terms())
    );
    server.unwrap_err()
}

/// A hostile TLS server against the honest client.
async fn tls_server(config: rustls::ServerConfig) -> ChannelError {
    let (near, far) = tcp().await;
    let (client, ()) = tokio::join!(client(near, client_terms()), async {
        if let Ok(mut stream) = Raw::accept_with(far, config).await {
            let _ = stream.read_u8().await;
        }
    });
    client.unwrap_err()
}

#[tokio::test]
async fn without_the_protocol_there_is_no_channel() {
    let key = key();
    let chain = || vec![key.leaf.clone()];
    for alpn in [&[][..], &[b"h2".as_slice()], &[b"casemate/2".as_slice(), b"http/1.1"]] {
        assert_eq!(tls_client(client_config(chain(), &key, alpn)).await, ChannelError::NoProtocol, "{alpn:?}");
        assert_eq!(tls_server(server_config(chain(), &key, alpn)).await, ChannelError::NoProtocol, "{alpn:?}");
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let error = tls_client(client_config(vec![], &key(), &[ALPN])).await;
    assert!(matches!(error, ChannelError::Tls { during: Step::Handshake, .. }), "{error}");
}

#[tokio::test]
async fn a_leaf_whose_key_the_peer_does_not_hold_is_refused() {
    // The leaf of another, the signature of one's own key.
    let (own, other) = (key(), key());
    let error = tls_client(client_config(vec![other.leaf.clone()], &own, &[ALPN])).await;
    assert!(matches!(&error, ChannelError::Tls { reason, .. } if reason.contains("BadSignature")), "{error}");
    let error = tls_server(server_config(vec![other.leaf.clone()], &own, &[ALPN])).await;
    assert!(matches!(&error, ChannelError::Tls { reason, .. } if reason.contains("BadSignature")), "{error}");
}

#[tokio::test]
async fn a_chain_instead_of_a_leaf_is_refused() {
    let (own, other) = (key(), key());
    let chain = || vec![own.leaf.clone(), other.leaf.clone()];
    let error = tls_client(client_config(chain(), &own, &[ALPN])).await;
    assert!(matches!(error, ChannelError::Tls { .. }), "{error}");
    let error = tls_server(server_config(chain(), &own, &[ALPN])).await;
    assert!(matches!(error, ChannelError::Tls { .. }), "{error}");
}

/// The start of a ClientHello of TLS 1.2 without the extension that could raise it: record header, then handshake.
fn tls_1_2_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session id; one suite, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    // Extensions: supported_groups secp256r1, signature_algorithms ecdsa_secp256r1_sha256, extended_master_secret.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3, 0, 23, 0, 0];
    body.extend([0, 20]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let (mut near, far) = tcp().await;
    let (alert, server) = tokio::join!(
        async {
            near.write_all(&tls_1_2_hello()).await.unwrap();
            let mut alert = [0; 7];
            near.read_exact(&mut alert).await.unwrap();
            alert
        },
        server(far, server_terms())
    );
    // A fatal alert, protocol_version.
    assert_eq!((alert[0], alert[5], alert[6]), (21, 2, 70));
    let error = server.unwrap_err();
    assert!(matches!(&error, ChannelError::Tls { reason, .. } if reason.contains("incompatible")), "{error}");
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn another_service_at_the_address_is_could_not_tell() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.9\r\n", b""] {
        let (near, mut far) = tcp().await;
        let (opened, ()) = tokio::join!(client(near, client_terms()), async move {
            far.write_all(answer).await.unwrap();
            // Read what came, so that closing does not reset the connection before the answer is read.
            let mut hello = [0; 16 * 1024];
            let _ = far.read(&mut hello).await;
        });
        let error = opened.unwrap_err();
        assert!(matches!(error, ChannelError::Tls { .. } | ChannelError::Io { .. }), "{error}");
        assert!(!error.is_refusal() && error.code().is_none());
    }
}

#[tokio::test]
async fn no_state_is_kept_that_a_second_handshake_could_resume() {
    // A client that would resume gets no ticket, and its second handshake is as full as its first.
    let key = key();
    let config = Arc::new(client_config(vec![key.leaf.clone()], &key, &[ALPN]));
    let identity = TlsIdentity::generate().unwrap();
    for _ in 0..2 {
        let (near, far) = tcp().await;
        let terms = server_terms();
        let (kind, opened) = tokio::join!(
            async {
                let stream = Raw::connect_with(near, config.as_ref().clone()).await.unwrap();
                let mut raw = Raw::from_stream(stream, &key);
                raw.send(&hello(None)).await;
                let _: ServerOpening = raw.recv().await;
                raw.send(&Verdict::Accepted).await;
                raw.stream.get_ref().1.handshake_kind()
            },
            accept(far, &identity, &terms, appraise_client)
        );
        opened.unwrap();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}
