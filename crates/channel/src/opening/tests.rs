//! Slow and silent peers: every step ends in a timeout, which is "could not tell".

use std::time::Duration;

use attester::{AttestError, BoxFuture};
use protocol::ReportData;
use protocol::digest::Measurement;
use testkit::SoftwareTee;
use tokio::io::DuplexStream;

use super::*;

/// Short enough for a test, long enough for a handshake on a busy machine.
const QUICK: Timeouts = Timeouts {
    short: Duration::from_millis(1500),
    judge: Duration::from_millis(200),
    attest: Duration::from_millis(500),
    evidence: Duration::from_millis(1500),
    message: Duration::from_millis(500),
    close: Duration::from_millis(500),
};
const MEASUREMENT: Measurement = Measurement::from_bytes([1; 48]);
const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([2; 16]);
const IDENTITY: protocol::Identity = protocol::Identity(Digest::ZERO);

/// An Attester that never answers.
struct Stuck;

impl Attester for Stuck {
    fn attest<'a>(&'a self, _: &'a ReportData) -> BoxFuture<'a, Result<Evidence, AttestError>> {
        Box::pin(std::future::pending())
    }
}

fn tee() -> Arc<SoftwareTee> {
    Arc::new(SoftwareTee::from_seed([7; 32]))
}

fn identity() -> TlsIdentity {
    TlsIdentity::generate().unwrap()
}

fn server_terms() -> ServerTerms {
    ServerTerms {
        purposes: vec![Purpose::Mesh],
        deployment: DEPLOYMENT,
        role: Role::Coordinator,
        attester: tee().attester(MEASUREMENT, IDENTITY),
        client_evidence: false,
        judge: crate::Given::nothing(),
    }
}

fn client_terms(attester: Option<Arc<dyn Attester>>) -> ClientTerms {
    let attest = attester.map(|attester| (Role::Workload, attester));
    ClientTerms { purpose: Purpose::Mesh, deployment: DEPLOYMENT, attest, judge: crate::Given::nothing() }
}

fn appraise(evidence: VerifiedEvidence) -> Result<AttestationResult, AppraiseError> {
    verifier::appraise(evidence, &tee().reference_values(&[MEASUREMENT]))
}

async fn client(stream: DuplexStream, attester: Option<Arc<dyn Attester>>) -> Option<ChannelError> {
    connect_within(stream, &identity(), client_terms(attester), appraise, QUICK).await.err()
}

async fn server(stream: DuplexStream, terms: ServerTerms) -> Option<ChannelError> {
    let appraise = |evidence| appraise(evidence).map_err(|error| panic!("{error}"));
    accept_within(stream, &identity(), &terms, appraise, QUICK).await.err()
}

/// An end that does the handshake and then reads `reads` frames and writes `frames`, and then nothing.
async fn silent(stream: TlsStream<DuplexStream>, frames: Vec<Vec<u8>>, reads: usize) {
    let mut stream = stream;
    for bytes in frames {
        frame::write(&mut stream, &bytes, Step::Message).await.unwrap();
    }
    for _ in 0..reads {
        frame::read(&mut stream, MAX_HANDSHAKE_FRAME, Step::Message).await.unwrap();
    }
    std::future::pending::<()>().await;
}

fn hello(attests_as: Option<Role>) -> Vec<u8> {
    let nonce = Nonce([1; 32]);
    let hello = Hello { version: VERSION, purpose: Purpose::Mesh, deployment: DEPLOYMENT, nonce, attests_as };
    frame::encode(&hello, MAX_HANDSHAKE_FRAME, Step::Hello).unwrap().to_vec()
}

async fn against(
    opening: impl Future<Output = Option<ChannelError>>,
    peer: impl Future<Output = ()>,
) -> Option<ChannelError> {
    tokio::select! {
        error = opening => error,
        () = peer => panic!("the peer left"),
    }
}

fn is_timeout(error: Option<ChannelError>, step: Step) -> bool {
    let error = error.expect("a channel was opened");
    assert!(!error.is_refusal() && error.is_temporary());
    matches!(error, ChannelError::Timeout { during, .. } if during == step)
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_times_out() {
    let (near, _far) = tokio::io::duplex(4096);
    assert!(is_timeout(client(near, None).await, Step::Handshake));
    let (_near, far) = tokio::io::duplex(4096);
    assert!(is_timeout(server(far, server_terms()).await, Step::Handshake));
}

#[tokio::test]
async fn a_client_that_falls_silent_times_out_at_every_step() {
    let cases: [(Vec<Vec<u8>>, Step); 4] = [
        (vec![], Step::Hello),
        (vec![hello(None)[..10].to_vec()], Step::Hello),
        (vec![hello(None)], Step::ClientAnswer),
        (vec![hello(Some(Role::Workload))], Step::ClientAnswer),
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for (frames, step) in cases {
        tasks.spawn(async move {
            let (near, far) = tokio::io::duplex(4096);
            let peer = async { silent(identity().connect(near).await.unwrap(), frames, 0).await };
            assert!(is_timeout(against(server(far, server_terms()), peer).await, step), "{step}");
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn a_server_that_falls_silent_times_out() {
    let (near, far) = tokio::io::duplex(4096);
    let peer = async { silent(identity().accept(far).await.unwrap(), vec![], 1).await };
    assert!(is_timeout(against(client(near, None), peer).await, Step::ServerEvidence));
}

#[tokio::test]
async fn a_server_that_gives_no_verdict_times_out() {
    let (near, far) = tokio::io::duplex(4096);
    let peer = async {
        let identity = identity();
        let stream = identity.accept(far).await.unwrap();
        let mut wire = Wire::new(stream, &identity, TlsSide::Server, DEPLOYMENT, QUICK).unwrap();
        let hello: Hello = wire.read(Step::Hello).await.unwrap();
        let attester = tee().attester(MEASUREMENT, IDENTITY);
        let evidence = wire.attest(&*attester, hello.purpose, Role::Coordinator, hello.nonce).await.unwrap();
        let nonce = Some(Nonce([2; 32]));
        let opening = ServerOpening::Evidence(ServerEvidence { role: Role::Coordinator, evidence, nonce });
        wire.write(&opening, Step::ServerEvidence).await.unwrap();
        std::future::pending::<()>().await;
    };
    let attester = tee().attester(MEASUREMENT, IDENTITY);
    assert!(is_timeout(against(client(near, Some(attester)), peer).await, Step::Verdict));
}

#[tokio::test]
async fn bytes_that_drip_do_not_extend_the_deadline() {
    let (near, far) = tokio::io::duplex(4096);
    let peer = async {
        let mut stream = identity().connect(near).await.unwrap();
        loop {
            // The first four bytes are a length of 65536, all others its content.
            frame::write(&mut stream, &[0, 1, 0, 0], Step::Message).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(is_timeout(against(server(far, server_terms()), peer).await, Step::Hello));
}

#[tokio::test]
async fn an_own_attester_that_hangs_times_out_on_both_sides() {
    let (near, far) = tokio::io::duplex(4096);
    let terms = ServerTerms { attester: Arc::new(Stuck), ..server_terms() };
    let (_, error) = tokio::join!(client(near, None), server(far, terms));
    assert!(is_timeout(error, Step::Attest));
    let (near, far) = tokio::io::duplex(4096);
    let (error, _) = tokio::join!(client(near, Some(Arc::new(Stuck))), server(far, server_terms()));
    assert!(is_timeout(error, Step::Attest));
}

#[tokio::test]
async fn an_idle_peer_and_one_that_does_not_read_time_out() {
    let (near, far) = tokio::io::duplex(4096);
    let (client_identity, server_identity, terms) = (identity(), identity(), server_terms());
    let (client, server) = tokio::join!(
        connect_within(near, &client_identity, client_terms(None), appraise, QUICK),
        accept_within(far, &server_identity, &terms, |_| panic!("no Evidence was shown"), QUICK),
    );
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    assert!(is_timeout(server.recv::<String>().await.err(), Step::Message));
    assert!(is_timeout(client.send(&"x".repeat(1024 * 1024)).await.err(), Step::Message));
}
