//! What a server refuses of a client's Evidence. The hostile client signs with the true root key.

use std::sync::Arc;

use channel::{ChannelError, Step, TlsIdentity, accept};
use protocol::api::{ApiError, ErrorCode};
use protocol::wire::{ClientEvidence, ServerOpening, Verdict};
use protocol::{Nonce, Purpose, ReportData, Role};
use testkit::SoftwareTee;

use crate::rig::{
    MEASUREMENT, MISBINDINGS, Raw, Recorder, Replay, attesting_client_terms, client, frame, hello, open, server,
    server_terms, tcp, tee, workload,
};
use crate::{is_unbound, refusal};

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
