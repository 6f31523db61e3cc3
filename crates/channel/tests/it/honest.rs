//! Honest ends.

use channel::{ChannelError, ServerTerms, Step};
use protocol::wire::{MAX_FRAME, ServerOpening, Verdict};
use protocol::{Purpose, Role};

use crate::rig::{
    MEASUREMENT, Raw, Recorder, attesting_client_terms, client_terms, coordinator, hello, open, server, server_terms,
    tcp, tee, workload,
};

#[tokio::test]
async fn a_client_without_evidence_knows_the_server_and_talks() {
    let (client, server) = open(client_terms(), server_terms()).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.peer().unwrap().identity(), coordinator());
    assert_eq!(client.peer_role(), Some(Role::Coordinator));
    assert_eq!((client.purpose(), server.purpose()), (Purpose::Verify, Purpose::Verify));
    assert!(server.peer().is_none() && server.peer_role().is_none());

    client.send("question").await.unwrap();
    assert_eq!(server.recv::<String>().await.unwrap(), "question");
    server.send(&("answer", 42)).await.unwrap();
    assert_eq!(client.recv::<(String, u32)>().await.unwrap(), ("answer".to_owned(), 42));
}

#[tokio::test]
async fn an_attesting_client_and_the_server_know_each_other() {
    let (client, server) = open(attesting_client_terms(), server_terms()).await;
    let (client, mut server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.peer().unwrap().identity(), coordinator());
    assert_eq!(server.peer_role(), Some(Role::Workload));
    let peer = server.take_peer().unwrap();
    assert_eq!(peer.identity(), workload());
    assert!(peer.is_insecure());
    assert!(server.peer().is_none());
}

#[tokio::test]
async fn each_verdict_rests_on_evidence_of_its_own() {
    let attester = Recorder::new(tee().attester(MEASUREMENT, coordinator()));
    let terms = ServerTerms { attester: attester.clone(), ..server_terms() };
    for _ in 0..2 {
        let (client, server) = open(client_terms(), terms.clone()).await;
        assert_eq!(client.unwrap().peer().unwrap().evidence_digest(), attester.made().last().unwrap().digest());
        server.unwrap();
    }
    let [first, second] = attester.made().try_into().unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_post_quantum() {
    let (near, far) = tcp().await;
    let (raw, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello(None)).await;
            let _: ServerOpening = raw.recv().await;
            raw.send(&Verdict::Accepted).await;
            raw.stream.get_ref().1.negotiated_key_exchange_group().unwrap().name()
        },
        server(far, server_terms())
    );
    server.unwrap();
    assert_eq!(raw, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn the_end_of_a_channel_is_told_from_a_cut() {
    let (client, server) = open(client_terms(), server_terms()).await;
    let mut server = server.unwrap();
    client.unwrap().close().await.unwrap();
    assert_eq!(server.recv_or_end::<u8>().await, Ok(None));

    let (client, server) = open(client_terms(), server_terms()).await;
    let mut server = server.unwrap();
    client.unwrap().close().await.unwrap();
    assert_eq!(server.recv::<u8>().await, Err(ChannelError::Closed { during: Step::Message }));

    let (client, server) = open(client_terms(), server_terms()).await;
    let mut server = server.unwrap();
    drop(client);
    let error = server.recv_or_end::<u8>().await.unwrap_err();
    assert!(matches!(error, ChannelError::Io { during: Step::Message, .. }), "{error}");
    assert!(!error.is_refusal() && error.code().is_none());
}

#[tokio::test]
async fn a_message_up_to_the_limit_passes_and_one_beyond_is_not_sent() {
    let (client, server) = open(client_terms(), server_terms()).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    // Two bytes are the quotes.
    let largest = "x".repeat(MAX_FRAME - 2);
    let (sent, received) = tokio::join!(client.send(&largest), server.recv::<String>());
    sent.unwrap();
    assert_eq!(received.unwrap().len(), largest.len());
    let error = client.send(&format!("{largest}x")).await.unwrap_err();
    assert_eq!(error, ChannelError::FrameTooLong { during: Step::Message, got: MAX_FRAME + 1, limit: MAX_FRAME });
}
