//! The attested channel over real TCP: honest ends, and every hostile end we could think of.

#[path = "rig.rs"]
mod rig;

use std::sync::Arc;

use attester::Attester as _;
use channel::{Channel, ChannelError, ServerTerms, Step, TlsIdentity, accept, connect};
use protocol::api::{ApiError, ErrorCode};
use protocol::digest::Measurement;
use protocol::manifest::ReferenceValues;
use protocol::wire::{
    ALPN, ClientEvidence, Hello, MAX_FRAME, MAX_HANDSHAKE_FRAME, ServerEvidence, ServerOpening, Verdict,
};
use protocol::{Evidence, Nonce, Purpose, ReportData, Role, Tee};
use rig::{
    Broken, DEPLOYMENT, MEASUREMENT, MISBINDINGS, OTHER_DEPLOYMENT, Raw, Recorder, Replay, appraise_client,
    appraise_server, attesting_client_terms, client, client_config, client_terms, coordinator, frame, hello, key, open,
    server, server_config, server_terms, tcp, tee, workload,
};
use testkit::SoftwareTee;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verifier::{AppraiseError, VerifyError};

fn is_unbound(error: &ChannelError) -> bool {
    matches!(error, ChannelError::Verify(VerifyError::Unbound { .. }))
}

/// What the honest end got that refused.
fn refusal(error: &ChannelError) -> Option<ErrorCode> {
    match error {
        ChannelError::Refused(error) => Some(error.code),
        _ => None,
    }
}

// Honest ends.

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

// What a server refuses before it makes Evidence.

async fn refused_hello(hello: Hello, terms: ServerTerms) -> (ApiError, ChannelError) {
    let attester = Recorder::new(terms.attester.clone());
    let terms = ServerTerms { attester: attester.clone(), ..terms };
    let (near, far) = tcp().await;
    let (told, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello).await;
            let ServerOpening::Refused(error) = raw.recv().await else { panic!("a wrong hello was served") };
            assert!(raw.is_at_end().await);
            error
        },
        server(far, terms)
    );
    assert!(attester.made().is_empty(), "Evidence was made for a wrong hello");
    (told, server.unwrap_err())
}

#[tokio::test]
async fn a_purpose_that_is_not_served_is_refused() {
    for purpose in [Purpose::Set, Purpose::Recover, Purpose::Secret] {
        let (told, error) = refused_hello(Hello { purpose, ..hello(None) }, server_terms()).await;
        assert_eq!(error, ChannelError::PurposeNotServed { got: purpose });
        assert_eq!(told.code, ErrorCode::Unsupported);
        assert!(!error.is_refusal());
    }
}

#[tokio::test]
async fn another_deployment_is_refused_and_ours_is_not_told() {
    let (told, error) = refused_hello(Hello { deployment: OTHER_DEPLOYMENT, ..hello(None) }, server_terms()).await;
    assert_eq!(error, ChannelError::WrongDeployment { got: OTHER_DEPLOYMENT, expected: DEPLOYMENT });
    assert_eq!(told.code, ErrorCode::WrongDeployment);
    assert!(!told.message.contains(&DEPLOYMENT.to_string()));
    assert!(error.is_refusal());
}

#[tokio::test]
async fn another_version_is_refused() {
    let (told, error) = refused_hello(Hello { version: 2, ..hello(None) }, server_terms()).await;
    assert_eq!(error, ChannelError::Version { got: 2, expected: 1 });
    assert_eq!(told.code, ErrorCode::Unsupported);
}

#[tokio::test]
async fn a_client_that_does_not_attest_where_it_must_is_refused() {
    let terms = ServerTerms { client_evidence: true, ..server_terms() };
    let (told, error) = refused_hello(hello(None), terms).await;
    assert_eq!(error, ChannelError::EvidenceMissing { purpose: Purpose::Verify });
    assert_eq!(told.code, ErrorCode::NotVerified);
    assert!(error.is_refusal());
}

#[tokio::test]
async fn an_honest_client_hears_why_it_is_refused() {
    let mut terms = client_terms();
    terms.deployment = OTHER_DEPLOYMENT;
    let (client, server) = open(terms, server_terms()).await;
    assert_eq!(refusal(&client.unwrap_err()), Some(ErrorCode::WrongDeployment));
    assert!(matches!(server.unwrap_err(), ChannelError::WrongDeployment { .. }));
}

// What a client refuses. The hostile server signs with the true root key, so that binding is all that stands.

/// A hostile server that answers with `opening`. Gives what the client said to it, and how the client's attempt ended.
async fn hostile_server(
    attests: bool,
    opening: impl FnOnce(&Raw, &Hello) -> ServerOpening,
) -> (Option<Verdict>, ChannelError) {
    let terms = if attests { attesting_client_terms() } else { client_terms() };
    let (near, far) = tcp().await;
    let (client, told) = tokio::join!(client(near, terms), async {
        let mut raw = Raw::accept(far).await;
        let hello: Hello = raw.recv().await;
        let opening = opening(&raw, &hello);
        let refused = matches!(opening, ServerOpening::Refused(_));
        raw.send(&opening).await;
        if refused { None } else { Some(raw.recv().await) }
    });
    (told, client.unwrap_err())
}

fn evidence(raw: &Raw, hello: &Hello, mutate: impl FnOnce(&mut protocol::Binding)) -> Evidence {
    let mut binding = raw.binding(hello.purpose, Role::Coordinator, hello.nonce);
    mutate(&mut binding);
    tee().evidence(MEASUREMENT, coordinator(), &binding.report_data())
}

fn opening(evidence: Evidence, hello: &Hello) -> ServerOpening {
    let nonce = hello.attests_as.map(|_| Nonce([4; 32]));
    ServerOpening::Evidence(ServerEvidence { role: Role::Coordinator, evidence, nonce })
}

#[tokio::test]
async fn the_hostile_servers_rig_is_accepted_when_it_is_honest() {
    let (near, far) = tcp().await;
    let (client, ()) = tokio::join!(client(near, client_terms()), async {
        let mut raw = Raw::accept(far).await;
        let hello: Hello = raw.recv().await;
        let evidence = evidence(&raw, &hello, |_| {});
        raw.send(&opening(evidence, &hello)).await;
        assert_eq!(raw.recv::<Verdict>().await, Verdict::Accepted);
    });
    client.unwrap();
}

#[tokio::test]
async fn server_evidence_bound_to_anything_else_is_unbound() {
    for attests in [false, true] {
        for (field, mutate) in MISBINDINGS {
            let (told, error) =
                hostile_server(attests, |raw, hello| opening(evidence(raw, hello, mutate), hello)).await;
            assert!(is_unbound(&error), "{field}: {error}");
            assert!(error.is_refusal());
            // Not even a client that attests shows its Evidence to such a server.
            let Some(Verdict::Refused(told)) = told else { panic!("{field}: {told:?}") };
            assert_eq!(told.code, ErrorCode::NotVerified);
        }
    }
}

#[tokio::test]
async fn a_server_in_another_role_is_refused_however_good_its_evidence() {
    let (_, error) = hostile_server(false, |raw, hello| {
        let evidence = evidence(raw, hello, |binding| binding.role = Role::Workload);
        ServerOpening::Evidence(ServerEvidence { role: Role::Workload, evidence, nonce: None })
    })
    .await;
    assert_eq!(error, ChannelError::WrongRole { got: Role::Workload, expected: Role::Coordinator });
    assert!(error.is_refusal());
}

#[tokio::test]
async fn a_server_under_another_root_is_refused() {
    let other = SoftwareTee::from_seed([8; 32]);
    let root = other.root_digest();
    let (_, error) = hostile_server(false, |raw, hello| {
        let report_data = raw.binding(hello.purpose, Role::Coordinator, hello.nonce).report_data();
        opening(other.evidence(MEASUREMENT, coordinator(), &report_data), hello)
    })
    .await;
    let expected = AppraiseError::OtherRoot { reported: root, accepted: tee().root_digest() };
    assert_eq!(error, ChannelError::Appraise(expected));
}

#[tokio::test]
async fn a_server_with_another_measurement_is_refused() {
    let (_, error) = hostile_server(true, |raw, hello| {
        let report_data = raw.binding(hello.purpose, Role::Coordinator, hello.nonce).report_data();
        opening(tee().evidence(Measurement::from_bytes([9; 48]), coordinator(), &report_data), hello)
    })
    .await;
    assert!(matches!(error, ChannelError::Appraise(AppraiseError::OtherMeasurement { .. })), "{error}");
    assert_eq!(error.code(), Some(ErrorCode::Contraindicated));
}

#[tokio::test]
async fn evidence_of_an_unknown_tee_is_could_not_tell_and_no_channel() {
    let (_, error) = hostile_server(false, |raw, hello| {
        let body = evidence(raw, hello, |_| {}).body;
        opening(Evidence { tee: Tee::Snp, body }, hello)
    })
    .await;
    assert_eq!(error, ChannelError::Verify(VerifyError::Unsupported { tee: Tee::Snp }));
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn a_client_that_means_another_coordinator_gives_no_evidence() {
    let attester = Recorder::new(tee().attester(MEASUREMENT, workload()));
    let mut terms = attesting_client_terms();
    terms.attest = Some((Role::Workload, attester.clone()));
    let (near, far) = tcp().await;
    let identity = TlsIdentity::generate().unwrap();
    let (client, server) = tokio::join!(
        connect(near, &identity, terms, |evidence| appraise_server(evidence)?.require_identity(workload())),
        server(far, server_terms())
    );
    let expected = AppraiseError::OtherIdentity { reported: coordinator(), expected: workload() };
    assert_eq!(client.unwrap_err(), ChannelError::Appraise(expected));
    assert_eq!(refusal(&server.unwrap_err()), Some(ErrorCode::Contraindicated));
    assert!(attester.made().is_empty());
}

#[tokio::test]
async fn reference_values_without_software_refuse_a_software_server() {
    let (near, far) = tcp().await;
    let identity = TlsIdentity::generate().unwrap();
    let (client, server) = tokio::join!(
        connect(near, &identity, client_terms(), |evidence| {
            verifier::appraise(evidence, &ReferenceValues::default())
        }),
        server(far, server_terms())
    );
    assert_eq!(client.unwrap_err(), ChannelError::Appraise(AppraiseError::SoftwareNotAccepted));
    assert_eq!(refusal(&server.unwrap_err()), Some(ErrorCode::Contraindicated));
}

#[tokio::test]
async fn a_nonce_that_does_not_fit_the_hello_is_refused() {
    for attests in [false, true] {
        let (_, error) = hostile_server(attests, |raw, hello| {
            let nonce = if attests { None } else { Some(Nonce([4; 32])) };
            let evidence = evidence(raw, hello, |_| {});
            ServerOpening::Evidence(ServerEvidence { role: Role::Coordinator, evidence, nonce })
        })
        .await;
        assert!(matches!(error, ChannelError::Malformed { during: Step::ServerEvidence, .. }), "{error}");
    }
}

#[tokio::test]
async fn evidence_relayed_from_the_true_server_is_unbound() {
    // Somebody ends TLS in between and passes every frame on, in both directions, unchanged.
    for terms in [client_terms(), attesting_client_terms()] {
        let (near, middle_near) = tcp().await;
        let (middle_far, far) = tcp().await;
        let (client, server, ()) = tokio::join!(client(near, terms), server(far, server_terms()), async {
            let (mut towards_client, mut towards_server) =
                tokio::join!(Raw::accept(middle_near), Raw::connect(middle_far));
            let _ = tokio::io::copy_bidirectional(&mut towards_client.stream, &mut towards_server.stream).await;
        });
        assert!(is_unbound(&client.unwrap_err()));
        assert_eq!(refusal(&server.unwrap_err()), Some(ErrorCode::NotVerified));
    }
}

#[tokio::test]
async fn server_evidence_recorded_on_one_channel_is_unbound_on_another() {
    let recorder = Recorder::new(tee().attester(MEASUREMENT, coordinator()));
    let (client, server) = open(client_terms(), ServerTerms { attester: recorder.clone(), ..server_terms() }).await;
    client.unwrap();
    server.unwrap();
    let replay = Arc::new(Replay(recorder.made().remove(0)));
    let (client, server) = open(client_terms(), ServerTerms { attester: replay, ..server_terms() }).await;
    assert!(is_unbound(&client.unwrap_err()));
    assert_eq!(refusal(&server.unwrap_err()), Some(ErrorCode::NotVerified));
}

#[tokio::test]
async fn a_refusal_by_the_server_ends_the_clients_attempt_with_a_bounded_text() {
    let text = format!("no\u{1b}[2J{}", "x".repeat(10_000));
    let (_, error) =
        hostile_server(false, |_, _| ServerOpening::Refused(ApiError::new(ErrorCode::Recovering, text))).await;
    let ChannelError::Refused(told) = &error else { panic!("{error}") };
    assert!(told.message.starts_with("no [2J") && told.message.len() <= 200, "{told}");
    assert!(!error.is_refusal() && error.is_temporary() && error.hint().is_some());
}

#[tokio::test]
async fn a_server_that_answers_application_messages_too_early_is_malformed() {
    // Instead of its Evidence.
    let (near, far) = tcp().await;
    let (opened, ()) = tokio::join!(client(near, client_terms()), async {
        let mut raw = Raw::accept(far).await;
        raw.send(&"here is a certificate").await;
    });
    let error = opened.unwrap_err();
    assert!(matches!(error, ChannelError::Malformed { during: Step::ServerEvidence, .. }), "{error}");

    // Instead of its verdict.
    let (near, far) = tcp().await;
    let (opened, ()) = tokio::join!(client(near, attesting_client_terms()), async {
        let mut raw = Raw::accept(far).await;
        let hello: Hello = raw.recv().await;
        let evidence = evidence(&raw, &hello, |_| {});
        raw.send(&opening(evidence, &hello)).await;
        let _: ClientEvidence = raw.recv().await;
        raw.send(&"here is a certificate").await;
    });
    let error = opened.unwrap_err();
    assert!(matches!(error, ChannelError::Malformed { during: Step::Verdict, .. }), "{error}");
}

// What a server refuses of a client's Evidence.

/// A hostile client that attests with what `answer` makes. Gives the verdict it got, and how the server's attempt ended.
async fn hostile_client(attests_as: Role, answer: impl FnOnce(&Raw, Nonce) -> Vec<u8>) -> (Verdict, ChannelError) {
    let (near, far) = tcp().await;
    let (verdict, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello(Some(attests_as))).await;
            let ServerOpening::Evidence(opening) = raw.recv().await else { panic!("the server refused") };
            let answer = answer(&raw, opening.nonce.unwrap());
            raw.send_bytes(&answer).await;
            let verdict = raw.recv().await;
            assert!(raw.is_at_end().await, "something came after a refusal");
            verdict
        },
        server(far, server_terms())
    );
    (verdict, server.unwrap_err())
}

fn client_evidence(report_data: &ReportData) -> Vec<u8> {
    frame(&ClientEvidence { evidence: tee().evidence(MEASUREMENT, workload(), report_data) })
}

#[tokio::test]
async fn the_hostile_clients_rig_is_accepted_when_it_is_honest() {
    let (near, far) = tcp().await;
    let (verdict, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello(Some(Role::Workload))).await;
            let ServerOpening::Evidence(opening) = raw.recv().await else { panic!("the server refused") };
            let binding = raw.binding(Purpose::Mesh, Role::Workload, opening.nonce.unwrap());
            raw.send_bytes(&client_evidence(&binding.report_data())).await;
            raw.recv::<Verdict>().await
        },
        server(far, server_terms())
    );
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(server.unwrap().peer().unwrap().identity(), workload());
}

#[tokio::test]
async fn client_evidence_bound_to_anything_else_is_unbound() {
    for (field, mutate) in MISBINDINGS {
        let (verdict, error) = hostile_client(Role::Workload, |raw, nonce| {
            let mut binding = raw.binding(Purpose::Mesh, Role::Workload, nonce);
            mutate(&mut binding);
            client_evidence(&binding.report_data())
        })
        .await;
        assert!(is_unbound(&error), "{field}: {error}");
        let Verdict::Refused(told) = verdict else { panic!("{field}: accepted") };
        assert_eq!(told, ApiError::new(ErrorCode::NotVerified, "evidence is not bound to this channel (report data)"));
    }
}

#[tokio::test]
async fn a_client_that_attests_as_what_its_evidence_is_not_bound_to_is_refused() {
    let (_, error) = hostile_client(Role::Coordinator, |raw, nonce| {
        client_evidence(&raw.binding(Purpose::Mesh, Role::Workload, nonce).report_data())
    })
    .await;
    assert!(is_unbound(&error), "{error}");
}

#[tokio::test]
async fn client_evidence_recorded_on_one_channel_is_unbound_on_another() {
    let recorder = Recorder::new(tee().attester(MEASUREMENT, workload()));
    let mut terms = attesting_client_terms();
    terms.attest = Some((Role::Workload, recorder.clone()));
    let (client, server) = open(terms.clone(), server_terms()).await;
    client.unwrap();
    server.unwrap();
    terms.attest = Some((Role::Workload, Arc::new(Replay(recorder.made().remove(0)))));
    let (client, server) = open(terms, server_terms()).await;
    assert!(is_unbound(&server.unwrap_err()));
    assert_eq!(refusal(&client.unwrap_err()), Some(ErrorCode::NotVerified));
}

#[tokio::test]
async fn the_servers_own_evidence_reflected_by_the_client_is_unbound() {
    let (near, far) = tcp().await;
    let (_, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello(Some(Role::Coordinator))).await;
            let ServerOpening::Evidence(opening) = raw.recv().await else { panic!("the server refused") };
            raw.send(&ClientEvidence { evidence: opening.evidence }).await;
            raw.recv::<Verdict>().await
        },
        server(far, server_terms())
    );
    assert!(is_unbound(&server.unwrap_err()));
}

#[tokio::test]
async fn the_authorisations_refusal_reaches_the_client_word_for_word() {
    let (near, far) = tcp().await;
    let identity = TlsIdentity::generate().unwrap();
    let terms = server_terms();
    let refusal = ApiError::new(ErrorCode::NotInManifest, "identity is not in the manifest");
    let (client, server) =
        tokio::join!(client(near, attesting_client_terms()), accept(far, &identity, &terms, |_| Err(refusal.clone())));
    assert_eq!(client.unwrap_err(), ChannelError::Refused(refusal.clone()));
    let error = server.unwrap_err();
    assert_eq!(error, ChannelError::Unauthorized(refusal));
    assert!(error.is_refusal());
}

#[tokio::test]
async fn a_client_under_another_root_is_refused() {
    let other = Arc::new(SoftwareTee::from_seed([8; 32]));
    let mut terms = attesting_client_terms();
    terms.attest = Some((Role::Workload, other.attester(MEASUREMENT, workload())));
    let (client, server) = open(terms, server_terms()).await;
    assert_eq!(refusal(&client.unwrap_err()), Some(ErrorCode::Contraindicated));
    assert!(matches!(server.unwrap_err(), ChannelError::Unauthorized(_)));
}

#[tokio::test]
async fn a_verdict_where_evidence_was_promised_is_refused() {
    let (verdict, error) = hostile_client(Role::Workload, |_, _| frame(&Verdict::Accepted)).await;
    assert!(matches!(error, ChannelError::Malformed { during: Step::ClientAnswer, .. }), "{error}");
    assert!(matches!(verdict, Verdict::Refused(_)));
}

#[tokio::test]
async fn application_messages_before_the_verdict_are_refused() {
    let request = protocol::api::UserRequest::State { known: None };
    let (verdict, error) = hostile_client(Role::Workload, |_, _| frame(&request)).await;
    assert!(matches!(error, ChannelError::Malformed { during: Step::ClientAnswer, .. }), "{error}");
    assert!(matches!(verdict, Verdict::Refused(told) if told.code == ErrorCode::Malformed));
}

#[tokio::test]
async fn a_client_that_did_not_promise_evidence_cannot_slip_it_in() {
    let (near, far) = tcp().await;
    let (_, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello(None)).await;
            let ServerOpening::Evidence(opening) = raw.recv().await else { panic!("the server refused") };
            assert_eq!(opening.nonce, None);
            raw.send_bytes(&client_evidence(&ReportData([0; 64]))).await;
            raw.recv::<Verdict>().await
        },
        server(far, server_terms())
    );
    let error = server.unwrap_err();
    assert!(matches!(error, ChannelError::Malformed { during: Step::ClientAnswer, .. }), "{error}");
}

#[tokio::test]
async fn requests_sent_ahead_of_the_verdict_wait_for_it() {
    // A client may send ahead, but a refused one gets nothing but its refusal.
    let (verdict, _) = hostile_client(Role::Workload, |_, _| {
        let mut bytes = client_evidence(&ReportData([0; 64]));
        bytes.extend(frame(&"give me a certificate"));
        bytes
    })
    .await;
    assert!(matches!(verdict, Verdict::Refused(_)));
}

// Own Attester.

#[tokio::test]
async fn a_server_that_cannot_attest_says_so_and_is_not_refused_for_it() {
    let (client, server) = open(client_terms(), ServerTerms { attester: Arc::new(Broken), ..server_terms() }).await;
    let error = client.unwrap_err();
    assert_eq!(refusal(&error), Some(ErrorCode::Internal));
    assert!(!error.is_refusal());
    assert!(matches!(server.unwrap_err(), ChannelError::Attest(_)));
}

#[tokio::test]
async fn a_client_that_cannot_attest_gets_no_channel() {
    let mut terms = attesting_client_terms();
    terms.attest = Some((Role::Workload, Arc::new(Broken)));
    let (client, server) = open(terms, server_terms()).await;
    assert!(matches!(client.unwrap_err(), ChannelError::Attest(_)));
    assert!(!server.unwrap_err().is_refusal());
}

// TLS.

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

// Frames.

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

#[tokio::test]
async fn an_oversized_application_message_ends_the_channel() {
    let (near, far) = tcp().await;
    let (mut raw, server) = tokio::join!(
        async {
            let mut raw = Raw::connect(near).await;
            raw.send(&hello(None)).await;
            let _: ServerOpening = raw.recv().await;
            raw.send(&Verdict::Accepted).await;
            raw
        },
        server(far, server_terms())
    );
    let mut server: Channel<TcpStream> = server.unwrap();
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
