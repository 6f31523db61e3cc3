//! What a server refuses before it makes Evidence, and Attesters that fail.

use std::sync::Arc;

use channel::{ChannelError, ServerTerms};
use protocol::api::{ApiError, ErrorCode};
use protocol::wire::{Hello, ServerOpening};
use protocol::{Purpose, Role};

use crate::refusal;
use crate::rig::{
    Broken, DEPLOYMENT, OTHER_DEPLOYMENT, Raw, Recorder, attesting_client_terms, client_terms, hello, open, server,
    server_terms, tcp,
};

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
