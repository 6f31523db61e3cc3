//! What a deployment lives through when nothing goes wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pki::log::{open_checkpoint, verify_consistency, verify_logged};
use protocol::api::{CoordinatorState, Roots, UserReply, UserRequest};
use protocol::log::{LogEntry, SecretVersion};
use protocol::{Digest, Purpose};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{Running, World, holders, identity};

/// webpki as an independent referee: the chain leads to `anchor`, is good for both sides of TLS now, and for `name`.
fn referee(chain: &str, anchor: &str, name: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let anchor = CertificateDer::from_pem_slice(anchor.as_bytes()).unwrap();
    let anchor = webpki::anchor_from_trusted_cert(&anchor).unwrap();
    let leaf = webpki::EndEntityCert::try_from(&certificates[0]).unwrap();
    for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            std::slice::from_ref(&anchor),
            &certificates[1..],
            UnixTime::since_unix_epoch(now),
            usage,
            None,
            None,
        )
        .unwrap();
    }
    let name = ServerName::try_from(name.to_owned()).unwrap();
    leaf.verify_is_valid_for_subject_name(&name).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_manifest_to_a_renewed_certificate() {
    let world = World::new(2, 3);
    let running = world.start().await;
    let empty = running.state(Some(0)).await;
    assert_eq!((empty.state, empty.generation), (CoordinatorState::Uninitialised, 0));
    assert_eq!((empty.roots, empty.checkpoint, empty.consistency), (None, None, None));

    // The first manifest.
    let first = world.first();
    let set = running.set(&first).await.unwrap();
    let key = set.roots.log_key.clone();
    assert_eq!(set.generation, 1);
    let (entry, founding) = verify_logged(&set.logged, &key).unwrap();
    let manifest = Digest::of(first.manifest.as_bytes());
    let signers = vec![world.owner.public().id()];
    assert_eq!(entry, LogEntry::Manifest { generation: 1, manifest, transition: world.transition(&first), signers });
    let shares = set.seed_shares.unwrap();
    assert_eq!((shares.threshold, shares.shares.len(), shares.deployment_id), (2, 3, world.deployment));
    for (holder, share) in holders(3).iter().zip(&shares.shares) {
        holder.decrypt(share).unwrap();
    }

    // A workload without secrets can start; one whose secret is missing waits.
    let web = running.enroll("web").await.unwrap();
    referee(&web.certificate_chain, &set.roots.root_ca, "web");
    referee(&web.certificate_chain, &set.roots.mesh_ca, "web.default");
    assert_eq!((web.secrets.len(), web.lease_seconds, web.callers), (0, 60, None));
    assert_eq!(web.manifest, first);
    assert_eq!(running.enroll("inference").await.unwrap_err(), protocol::api::ErrorCode::SecretMissing);

    // The owner stores the secret, and it goes to the one identity that may have it.
    let stored = running.put(&world.secret("model", 1, b"key one", &world.owner)).await.unwrap();
    assert!(
        matches!(verify_logged(&stored, &key).unwrap().0, LogEntry::SecretStored { secret, .. } if secret.version == 1)
    );
    running.put(&world.secret("model", 2, b"key two", &world.owner)).await.unwrap();
    let listed = running.ask(Purpose::Secret, &UserRequest::ListSecrets).await.unwrap();
    let model = SecretVersion { name: "model".into(), version: 2 };
    assert!(matches!(listed, UserReply::Secrets(list) if list == [model.clone()]));
    let inference = running.enroll("inference").await.unwrap();
    referee(&inference.certificate_chain, &set.roots.mesh_ca, "inference");
    assert_eq!(inference.callers, Some(vec!["web".to_owned()]));
    let [secret] = inference.secrets.as_slice() else { panic!("{:?}", inference.secrets) };
    assert_eq!((secret.name.as_str(), secret.version, secret.value.expose()), ("model", 2, b"key two".as_slice()));

    // Every grant is in the log with its identity, its secrets and its certificate.
    let (entry, grant) = verify_logged(&inference.logged, &key).unwrap();
    let LogEntry::Grant { identity: who, generation: 1, certificate, secrets, .. } = entry else { panic!("{entry:?}") };
    assert_eq!((who, secrets), (identity("inference"), vec![model]));
    let leaf = CertificateDer::from_pem_slice(inference.certificate_chain.as_bytes()).unwrap();
    let serial = hex_of(&leaf, &certificate);
    assert!(serial, "the log names another certificate");

    // A renewal carries no secret and is logged too.
    let renewed = running.renew_after("inference", grant.size).await.unwrap();
    assert!(renewed.secrets.is_empty());
    assert_eq!(inference.consistency, None, "who enrols has seen nothing");
    let (_, extended) = verify_logged(&renewed.logged, &key).unwrap();
    verify_consistency(renewed.consistency.as_ref().unwrap(), &grant, &extended).unwrap();
    assert_ne!(renewed.certificate_chain, inference.certificate_chain);
    assert!(
        matches!(verify_logged(&renewed.logged, &key).unwrap().0, LogEntry::Grant { secrets, .. } if secrets.is_empty())
    );

    // Verify sees all of it, and that it extends what was seen before.
    let state = running.state(Some(founding.size)).await;
    assert_eq!((state.state, state.generation, state.history.len()), (CoordinatorState::Active, 1, 1));
    assert_eq!(state.roots, Some(set.roots.clone()));
    let head = open_checkpoint(&state.checkpoint.clone().unwrap(), &key).unwrap();
    assert_eq!(head.size, 6);
    verify_consistency(&state.consistency.unwrap(), &founding, &head).unwrap();
    let later = running.state(Some(grant.size)).await;
    verify_consistency(&later.consistency.unwrap(), &grant, &head).unwrap();
    assert_eq!(running.state(Some(head.size + 1)).await.consistency, None, "nobody has seen more than there is");
    pki::history::verify(world.deployment, &world.manifest.owners, &state.history).unwrap();
    for logged in &state.logged {
        let (_, checkpoint) = verify_logged(logged, &key).unwrap();
        assert_eq!(checkpoint, head);
    }
    running.stop().await;
}

/// Whether a certificate's DER holds the serial number: an INTEGER of 16 bytes.
fn hex_of(leaf: &CertificateDer<'_>, serial: &str) -> bool {
    let wanted: Vec<u8> =
        (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).unwrap()).collect();
    let integer = [&[0x02, 0x10], wanted.as_slice()].concat();
    leaf.windows(integer.len()).any(|window| window == integer)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_keeps_the_root_and_starts_a_new_mesh_ca() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let first = world.first();
    let set = running.set(&first).await.unwrap();
    let mut manifest = world.manifest.clone();
    manifest.lease_seconds = 30;
    manifest.policies.remove(&identity("web"));
    let second = world.sign(&manifest, world.transition(&first), &[&world.owner]);
    let update = running.set(&second).await.unwrap();
    assert_eq!((update.generation, update.seed_shares), (2, None));
    let Roots { root_ca, mesh_ca, log_key } = update.roots;
    assert_eq!((&root_ca, &log_key), (&set.roots.root_ca, &set.roots.log_key));
    assert_ne!(mesh_ca, set.roots.mesh_ca);
    referee(&mesh_chain(&running).await, &root_ca, "inference");
    assert_eq!(running.renew("web").await.unwrap_err(), protocol::api::ErrorCode::NotInManifest);
    let state = running.state(None).await;
    assert_eq!(state.history, [first, second]);
    let (_, checkpoint) = verify_logged(&state.logged[1], &log_key).unwrap();
    assert_eq!(Some(checkpoint.size), state.logged[1].proof.size.into());
    running.stop().await;
}

async fn mesh_chain(running: &Running<'_>) -> String {
    let granted = running.renew("inference").await.unwrap();
    assert_eq!(granted.lease_seconds, 30);
    granted.certificate_chain
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_answer_was_lost_can_be_repeated() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let first = world.first();
    let before = running.set(&first).await.unwrap();
    let again = running.set(&first).await.unwrap();
    assert_eq!((again.generation, &again.roots, &again.seed_shares), (1, &before.roots, &before.seed_shares));
    assert_eq!(again.logged.entry, before.logged.entry);
    assert_eq!(open_checkpoint(&running.state(None).await.checkpoint.unwrap(), &before.roots.log_key).unwrap().size, 1);
    // Another manifest in its place is no repetition.
    let mut other = world.manifest.clone();
    other.lease_seconds = 20;
    let other = world.sign(&other, Digest::ZERO, &[&world.owner]);
    assert_eq!(running.set(&other).await.unwrap_err().code, protocol::api::ErrorCode::Conflict);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workloads_at_once_get_one_log_entry_each() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let set = running.set(&world.first()).await.unwrap();
    let grants = futures(&running, 16).await;
    let mut indices: Vec<_> = grants
        .iter()
        .map(|granted| {
            verify_logged(&granted.logged, &set.roots.log_key).unwrap();
            granted.logged.proof.index
        })
        .collect();
    indices.sort_unstable();
    assert_eq!(indices, (1..=16).collect::<Vec<_>>());
    running.stop().await;
}

async fn futures(running: &Running<'_>, n: usize) -> Vec<protocol::api::Granted> {
    let mut pending: Vec<_> = (0..n).map(|_| Box::pin(running.enroll("web"))).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        pending.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(granted) => {
                done.push(granted.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

async fn get(running: &Running<'_>, path: &str) -> String {
    let mut stream = TcpStream::connect(running.addresses.probes).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_say_the_state_and_metrics_count() {
    let world = World::new(1, 1);
    let running = world.start().await;
    for path in ["/probe/startup", "/probe/readiness"] {
        let answer = get(&running, path).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("uninitialised\n"), "{answer}");
    }
    running.set(&world.first()).await.unwrap();
    running.enroll("web").await.unwrap();
    running.enroll("stranger").await.unwrap_err();
    assert!(get(&running, "/probe/readiness").await.ends_with("active\n"));
    let metrics = get(&running, "/metrics").await;
    for line in [
        "casemate_coordinator_state{state=\"active\"} 1",
        "casemate_coordinator_manifest_generation 1",
        "casemate_coordinator_log_entries 2",
        "casemate_coordinator_requests_total{request=\"enroll\",outcome=\"ok\"} 1",
        "casemate_coordinator_requests_total{request=\"enroll\",outcome=\"not-in-manifest\"} 1",
        "casemate_coordinator_requests_total{request=\"set-manifest\",outcome=\"ok\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in {metrics}");
    }
    assert!(get(&running, "/other").await.starts_with("HTTP/1.1 404"));
    running.stop().await;
    let running = world.start().await;
    assert!(get(&running, "/probe/readiness").await.ends_with("recovering\n"));
    running.stop().await;
}
