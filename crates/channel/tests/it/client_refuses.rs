//! What a client refuses. The hostile server signs with the true root key, so that binding is all that stands.

use std::sync::Arc;

use channel::{ChannelError, ServerTerms, Step, TlsIdentity, connect};
use protocol::api::{ApiError, ErrorCode};
use protocol::digest::Measurement;
use protocol::manifest::ReferenceValues;
use protocol::wire::{ClientEvidence, Hello, ServerEvidence, ServerOpening, Verdict};
use protocol::{Evidence, Nonce, Role, Tee};
use testkit::SoftwareTee;
use verifier::AppraiseError;

use crate::rig::{
    MEASUREMENT, MISBINDINGS, Raw, Recorder, Replay, appraise_server, attesting_client_terms, client, client_terms,
    coordinator, open, server, server_terms, tcp, tee, workload,
};
use crate::{is_unbound, refusal};

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
async fn evidence_that_is_not_of_the_tee_it_names_is_refused_as_malformed() {
    let (_, error) = hostile_server(false, |raw, hello| {
        let body = evidence(raw, hello, |_| {}).body;
        opening(Evidence::new(Tee::Snp, body), hello)
    })
    .await;
    let ChannelError::Verify(error) = error else { panic!("{error}") };
    assert_eq!((error.code(), error.is_refusal()), ("snp-length", true), "{error:?}");
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
    let ChannelError::RefusedBeforeEvidence(told) = &error else { panic!("{error}") };
    assert!(told.message.starts_with("no [2J") && told.message.len() <= 200, "{told}");
    assert!(!error.is_refusal() && error.is_temporary() && error.hint().is_some());
}

#[tokio::test]
async fn a_no_without_evidence_is_anybodys_word() {
    for attests in [false, true] {
        for code in [ErrorCode::WrongDeployment, ErrorCode::NotInManifest, ErrorCode::NotSigned, ErrorCode::Rollback] {
            let told = ApiError::new(code, "no");
            let refused = told.clone();
            let (_, error) = hostile_server(attests, |_, _| ServerOpening::Refused(refused)).await;
            assert_eq!(error, ChannelError::RefusedBeforeEvidence(told));
            assert!(!error.is_refusal(), "{code:?}");
            assert_eq!(error.code(), Some(code));
        }
    }
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
