//! What a Coordinator says no to, and with which code.

use std::sync::Arc;

use channel::{ChannelError, ClientTerms, TlsIdentity};
use coordinator::{Coordinator, MAX_SECRET, RunError};
use pki::owner::OwnerKey;
use protocol::api::{CoordinatorState, ErrorCode, MeshReply, MeshRequest, SignedManifest, UserRequest};
use protocol::digest::Measurement;
use protocol::manifest::{Manifest, PublicKey};
use protocol::{DeploymentId, Digest, Identity, Initdata, Purpose, Role};
use testkit::SoftwareTee;
use tokio::net::TcpStream;

use crate::rig::{MEASUREMENT, World, csr, holders, identity, quorum, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_manifest_that_must_not_be_set() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let stranger = OwnerKey::generate().unwrap();
    let own = world.initdata.identity();
    type Change = fn(&mut Manifest, &World);
    let changed = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = world.manifest.clone();
        change(&mut manifest);
        world.sign(&manifest, Digest::ZERO, &[&world.owner])
    };
    let no_coordinator: Change = |manifest, world| {
        let entry = manifest.policies.remove(&world.initdata.identity()).unwrap();
        manifest.policies.insert(identity("another coordinator"), entry);
    };
    let unsigned = SignedManifest { signatures: vec![], ..world.first() };
    let mut altered = world.first();
    altered.manifest = altered.manifest.replace("\"lease_seconds\": 60", "\"lease_seconds\": 61");
    assert_ne!(altered, world.first());
    let garbage = SignedManifest { manifest: "{}".into(), ..world.first() };
    let other_tee = SoftwareTee::generate().reference_values(&[MEASUREMENT]);
    let cases = [
        ("signed by a stranger", world.sign(&world.manifest, Digest::ZERO, &[&stranger]), ErrorCode::NotSigned),
        ("not signed", unsigned, ErrorCode::NotSigned),
        ("changed after signing", altered, ErrorCode::NotSigned),
        ("a successor of nothing", world.sign(&world.manifest, Digest::of(b"x"), &[&world.owner]), ErrorCode::Conflict),
        ("no manifest at all", garbage, ErrorCode::Malformed),
        ("a lease too long", changed(&|m| m.lease_seconds = 100_000), ErrorCode::Malformed),
        (
            "another deployment",
            changed(&|m| m.deployment_id = DeploymentId::from_bytes([9; 16])),
            ErrorCode::WrongDeployment,
        ),
        ("without this Coordinator", changed(&|m| no_coordinator(m, &world)), ErrorCode::NotInManifest),
        (
            "this Coordinator as a workload",
            changed(&|m| {
                no_coordinator(m, &world);
                let entry = m.policies[&identity("web")].clone();
                m.policies.insert(own, entry);
            }),
            ErrorCode::NotInManifest,
        ),
        ("another engine's root", changed(&|m| m.reference_values = other_tee.clone()), ErrorCode::Contraindicated),
        (
            "another measurement",
            changed(&|m| {
                m.reference_values.software.as_mut().unwrap().measurements = vec![Measurement::from_bytes([2; 48])];
            }),
            ErrorCode::Contraindicated,
        ),
        (
            "another owner than our initdata names",
            changed(&|m| m.owners = quorum(1, [&stranger])),
            ErrorCode::Unsupported,
        ),
        ("one more owner", changed(&|m| m.owners = quorum(1, [&world.owner, &stranger])), ErrorCode::Unsupported),
        ("an owner key that is none", changed(&|m| m.owners.keys.push(PublicKey(vec![1]))), ErrorCode::Malformed),
        (
            "a holder key that is none",
            changed(&|m| m.seed_share_holders.keys.push(world.owner.public())),
            ErrorCode::Malformed,
        ),
    ];
    for (what, signed, code) in cases {
        assert_eq!(running.set(&signed).await.unwrap_err().code, code, "{what}");
        let state = running.state(None).await;
        assert_eq!((state.state, state.checkpoint), (CoordinatorState::Uninitialised, None), "{what}");
    }
    running.set(&world.first()).await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_must_not_be_made() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let first = world.first();
    running.set(&first).await.unwrap();
    let tip = world.transition(&first);
    let stranger = OwnerKey::generate().unwrap();
    let mut manifest = world.manifest.clone();
    manifest.lease_seconds = 30;
    let second = world.sign(&manifest, tip, &[&world.owner]);
    running.set(&second).await.unwrap();
    let tip = world.transition(&second);
    let with = |change: &dyn Fn(&mut Manifest), previous, key: &OwnerKey| {
        let mut changed = manifest.clone();
        changed.lease_seconds = 40;
        change(&mut changed);
        world.sign(&changed, previous, &[key])
    };
    let cases = [
        ("a stranger", with(&|_| (), tip, &stranger), ErrorCode::NotSigned),
        ("the predecessor of before", with(&|_| (), second.previous, &world.owner), ErrorCode::Conflict),
        ("another owner", with(&|m| m.owners = quorum(1, [&stranger]), tip, &world.owner), ErrorCode::Unsupported),
        (
            "one more owner",
            with(&|m| m.owners = quorum(1, [&world.owner, &stranger]), tip, &world.owner),
            ErrorCode::Unsupported,
        ),
        (
            "a higher threshold",
            with(&|m| m.owners = quorum(2, [&world.owner, &stranger]), tip, &world.owner),
            ErrorCode::Unsupported,
        ),
        ("the first manifest once more", first.clone(), ErrorCode::Conflict),
        ("a later predecessor", with(&|_| (), Digest::of(b"later"), &world.owner), ErrorCode::Conflict),
        (
            "another share holder",
            with(&|m| m.seed_share_holders.keys = vec![holders(2)[1].public()], tip, &world.owner),
            ErrorCode::Unsupported,
        ),
        (
            "one more share holder",
            with(&|m| m.seed_share_holders.keys.push(holders(2)[1].public()), tip, &world.owner),
            ErrorCode::Unsupported,
        ),
    ];
    for (what, signed, code) in cases {
        assert_eq!(running.set(&signed).await.unwrap_err().code, code, "{what}");
        assert_eq!(running.state(None).await.generation, 2, "{what}");
    }
    running.set(&with(&|_| (), tip, &world.owner)).await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_must_not_be_stored() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let good = world.secret("model", 1, b"value", &world.owner);
    assert_eq!(running.put(&good).await.unwrap_err().code, ErrorCode::NoManifest);
    assert_eq!(running.refused(Purpose::Secret, &UserRequest::ListSecrets).await, ErrorCode::NoManifest);
    running.set(&world.first()).await.unwrap();
    running.put(&good).await.unwrap();
    let stranger = OwnerKey::generate().unwrap();
    let swap = |change: &dyn Fn(&mut protocol::api::PutSecret)| {
        let UserRequest::PutSecret(mut put) = world.secret("model", 2, b"value", &world.owner) else { panic!() };
        change(&mut put);
        UserRequest::PutSecret(put)
    };
    let under = |active| world.secret_under(active, "model", 2, b"value", &world.owner);
    let long = vec![7; MAX_SECRET + 1];
    let cases = [
        ("replayed", good, ErrorCode::Conflict),
        ("skipping a version", world.secret("model", 3, b"value", &world.owner), ErrorCode::Conflict),
        ("version 0", world.secret("fresh", 0, b"value", &world.owner), ErrorCode::Conflict),
        ("signed by a stranger", world.secret("model", 2, b"value", &stranger), ErrorCode::NotSigned),
        ("not signed", swap(&|put| put.signatures.clear()), ErrorCode::NotSigned),
        ("another value", swap(&|put| put.value = protocol::Secret::new(b"other".to_vec())), ErrorCode::NotSigned),
        ("another name", swap(&|put| put.name = "other".into()), ErrorCode::NotSigned),
        ("another version", swap(&|put| put.version = 1), ErrorCode::NotSigned),
        ("for another manifest", under(Digest::of(b"another")), ErrorCode::NotSigned),
        ("for no manifest", under(Digest::ZERO), ErrorCode::NotSigned),
        ("a path for a name", world.secret("../etc/passwd", 1, b"value", &world.owner), ErrorCode::Malformed),
        ("no name", world.secret("", 1, b"value", &world.owner), ErrorCode::Malformed),
        ("no value", world.secret("empty", 1, b"", &world.owner), ErrorCode::Malformed),
        ("too long", world.secret("long", 1, &long, &world.owner), ErrorCode::Malformed),
    ];
    for (what, request, code) in cases {
        assert_eq!(running.put(&request).await.unwrap_err().code, code, "{what}");
    }
    running.put(&world.secret("long", 1, &long[1..], &world.owner)).await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_meant_for_a_former_manifest_is_not_stored() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let first = world.first();
    running.set(&first).await.unwrap();
    let mut manifest = world.manifest.clone();
    manifest.policies.get_mut(&identity("web")).unwrap().secrets.insert("model".into());
    let second = world.sign(&manifest, world.transition(&first), &[&world.owner]);
    running.set(&second).await.unwrap();
    // Its owner signed it when `web` could not read it.
    let stale = world.secret_under(world.transition(&first), "model", 1, b"value", &world.owner);
    assert_eq!(running.put(&stale).await.unwrap_err().code, ErrorCode::NotSigned);
    running.put(&world.secret_under(world.transition(&second), "model", 1, b"value", &world.owner)).await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_was_shown_a_longer_log_is_told_of_the_rollback() {
    let world = World::new(1, 1);
    let running = world.start().await;
    running.set(&world.first()).await.unwrap();
    let before = running.state(None).await.checkpoint;
    for known in [2, 3, u64::MAX] {
        assert_eq!(running.renew_after("web", known).await.unwrap_err(), ErrorCode::Rollback, "{known}");
    }
    assert_eq!(running.renew_after("stranger", 9).await.unwrap_err(), ErrorCode::NotInManifest);
    assert_eq!(running.state(None).await.checkpoint, before, "nothing was granted, so nothing is in the log");
    running.renew_after("web", 1).await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_must_not_get_anything() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let request = MeshRequest::Enroll { csr: csr() };
    assert_eq!(running.enroll("web").await.unwrap_err(), ErrorCode::NoManifest);
    running.set(&world.first()).await.unwrap();
    let size = running.state(None).await.checkpoint;

    let web = running.mesh_terms(identity("web"));
    let attester = |tee: &Arc<SoftwareTee>, measurement, identity| tee.attester(measurement, identity);
    let other_tee = Arc::new(SoftwareTee::generate());
    let as_role = |role, identity: Identity| ClientTerms {
        attest: Some((role, attester(&world.tee, MEASUREMENT, identity))),
        ..web.clone()
    };
    let own = world.initdata.identity();
    let cases = [
        ("an identity that is not listed", as_role(Role::Workload, identity("stranger")), ErrorCode::NotInManifest),
        ("the Coordinator's identity", as_role(Role::Workload, own), ErrorCode::NotInManifest),
        ("in the role of a Coordinator", as_role(Role::Coordinator, identity("web")), ErrorCode::NotVerified),
        ("a Coordinator as such", as_role(Role::Coordinator, own), ErrorCode::NotVerified),
        (
            "another measurement",
            ClientTerms {
                attest: Some((Role::Workload, attester(&world.tee, Measurement::from_bytes([2; 48]), identity("web")))),
                ..web.clone()
            },
            ErrorCode::Contraindicated,
        ),
        (
            "another engine",
            ClientTerms {
                attest: Some((Role::Workload, attester(&other_tee, MEASUREMENT, identity("web")))),
                ..web.clone()
            },
            ErrorCode::Contraindicated,
        ),
        ("no evidence", ClientTerms { attest: None, ..web.clone() }, ErrorCode::NotVerified),
        ("another purpose", ClientTerms { purpose: Purpose::Verify, ..web.clone() }, ErrorCode::Unsupported),
        (
            "another deployment",
            ClientTerms { deployment: DeploymentId::from_bytes([9; 16]), ..web.clone() },
            ErrorCode::WrongDeployment,
        ),
    ];
    for (what, terms, code) in cases {
        assert_eq!(running.mesh(terms, &request).await.unwrap_err(), code, "{what}");
    }
    let bad = MeshRequest::Enroll { csr: b"hello".to_vec() };
    assert_eq!(running.mesh(web.clone(), &bad).await.unwrap_err(), ErrorCode::Malformed);
    assert_eq!(running.state(None).await.checkpoint, size, "nothing was granted, so nothing is in the log");
    running.mesh(web, &request).await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_evidence_gives_one_certificate() {
    let world = World::new(1, 1);
    let running = world.start().await;
    running.set(&world.first()).await.unwrap();
    let terms = running.mesh_terms(identity("web"));
    let mut channel = running.connect(running.addresses.mesh, terms).await.unwrap();
    channel.send(&MeshRequest::Enroll { csr: csr() }).await.unwrap();
    assert!(matches!(channel.recv().await.unwrap(), MeshReply::Granted(_)));
    let _ = channel.send(&MeshRequest::Enroll { csr: csr() }).await;
    assert!(channel.recv::<MeshReply>().await.is_err());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_was_appraised_under_a_former_manifest_gets_nothing() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let first = world.first();
    running.set(&first).await.unwrap();
    let terms = running.mesh_terms(identity("web"));
    let mut channel = running.connect(running.addresses.mesh, terms).await.unwrap();
    let mut manifest = world.manifest.clone();
    manifest.policies.remove(&identity("web"));
    running.set(&world.sign(&manifest, world.transition(&first), &[&world.owner])).await.unwrap();
    channel.send(&MeshRequest::Renew { csr: csr(), known: 0 }).await.unwrap();
    let MeshReply::Error(error) = channel.recv().await.unwrap() else { panic!("granted") };
    assert_eq!(error.code, ErrorCode::Busy, "it may attest again");
    assert_eq!(running.renew("web").await.unwrap_err(), ErrorCode::NotInManifest);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_channel_of_another_purpose_are_refused() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let set = UserRequest::SetManifest(world.first());
    let put = world.secret("model", 1, b"value", &world.owner);
    for (purpose, request) in [
        (Purpose::Verify, &set),
        (Purpose::Secret, &set),
        (Purpose::Recover, &set),
        (Purpose::Set, &put),
        (Purpose::Verify, &put),
        (Purpose::Verify, &UserRequest::ListSecrets),
    ] {
        assert_eq!(running.refused(purpose, request).await, ErrorCode::Unsupported, "{}", purpose.name());
    }
    let terms = ClientTerms {
        purpose: Purpose::Mesh,
        deployment: world.deployment,
        attest: None,
        judge: channel::Given::nothing(),
    };
    let error = running.connect(running.addresses.user, terms).await.err().unwrap();
    assert_eq!(error.code(), Some(ErrorCode::Unsupported));
    let unasked = ClientTerms { purpose: Purpose::Verify, ..running.mesh_terms(identity("web")) };
    assert!(running.connect(running.addresses.user, unasked).await.is_err());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_none_is_answered_and_ends_the_channel() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let mut channel = running.open(Purpose::Verify).await;
    channel.send("hello").await.unwrap();
    let protocol::api::UserReply::Error(error) = channel.recv().await.unwrap() else { panic!("answered") };
    assert_eq!(error.code, ErrorCode::Malformed);
    assert!(matches!(running.state(None).await.state, CoordinatorState::Uninitialised), "others are still served");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_longer_than_any_that_is_due_is_refused_by_its_length() {
    let world = World::new(1, 1);
    let running = world.start().await;
    // The length comes before the purpose's business: only a channel for manifests reads one.
    let cases = [(Purpose::Set, 5 * 1024 * 1024), (Purpose::Verify, 300 * 1024), (Purpose::Secret, 300 * 1024)];
    for (purpose, bytes) in cases {
        let mut channel = running.open(purpose).await;
        // The Coordinator stops reading, so that this may break before it is sent.
        let _ = channel.send(&"x".repeat(bytes)).await;
        if let Ok(reply) = channel.recv().await {
            let protocol::api::UserReply::Error(error) = reply else { panic!("answered") };
            assert_eq!(error.code, ErrorCode::Malformed);
            assert!(error.message.contains("bytes"), "{}", error.message);
        }
    }
    running.set(&world.first()).await.unwrap();
    let mut channel = running.connect(running.addresses.mesh, running.mesh_terms(identity("web"))).await.unwrap();
    channel.send(&MeshRequest::Enroll { csr: vec![0; 20 * 1024] }).await.unwrap();
    if let Ok(reply) = channel.recv().await {
        let MeshReply::Error(error) = reply else { panic!("granted") };
        assert!(error.message.contains("at most 16384 are read"), "{}", error.message);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_shown_so_often_in_a_channel_and_not_more() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let mut channel = running.open(Purpose::Verify).await;
    for _ in 0..64 {
        channel.send(&UserRequest::State { known: None }).await.unwrap();
        assert!(matches!(channel.recv().await.unwrap(), protocol::api::UserReply::State(_)));
    }
    channel.send(&UserRequest::State { known: None }).await.unwrap();
    let protocol::api::UserReply::Error(error) = channel.recv().await.unwrap() else { panic!("shown") };
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(running.is(CoordinatorState::Uninitialised).await, "another channel has its own budget");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_other_values_refuses_the_coordinator() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let stream = TcpStream::connect(running.addresses.user).await.unwrap();
    let terms = ClientTerms {
        purpose: Purpose::Verify,
        deployment: world.deployment,
        attest: None,
        judge: channel::Given::nothing(),
    };
    let values = SoftwareTee::generate().reference_values(&[MEASUREMENT]);
    let tls = TlsIdentity::generate().unwrap();
    let error = channel::connect(stream, &tls, terms, |evidence| verifier::appraise(evidence, &values)).await.err();
    assert!(matches!(error, Some(ChannelError::Appraise(_))), "{error:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_was_started_wrongly_does_not_start() {
    let mut world = World::new(1, 1);
    // The host launched the TEE with one initdata and hands over another.
    let honest = world.initdata.clone();
    let other = OwnerKey::generate().unwrap();
    world.initdata = Initdata::build("package other\n", &settings(world.deployment, &other, &world.tee)).unwrap();
    let mut config = world.config(&world.store());
    config.initdata = honest.clone();
    let error = Coordinator::start(config).await.unwrap_err();
    assert!(matches!(error, RunError::OtherInitdata { given, .. } if given == honest.identity()), "{error}");

    let mut workload = settings(world.deployment, &world.owner, &world.tee);
    workload.role = Role::Workload;
    world.initdata = Initdata::build("", &workload).unwrap();
    assert!(matches!(world.fails_to_start().await, RunError::OtherRole { got: Role::Workload }));

    let mut nobody = settings(world.deployment, &world.owner, &world.tee);
    nobody.owners.threshold = 0;
    world.initdata = Initdata::build("", &nobody).unwrap();
    assert!(matches!(world.fails_to_start().await, RunError::Owners { .. }));
    nobody.owners = protocol::manifest::Quorum { threshold: 1, keys: vec![PublicKey(vec![1])] };
    world.initdata = Initdata::build("", &nobody).unwrap();
    assert!(matches!(world.fails_to_start().await, RunError::Owners { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_or_a_store_in_use_is_named() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let error = world.fails_to_start().await;
    assert!(error.hint().unwrap().contains("another Coordinator uses this store"), "{error}");
    let mut config = world.config(&world.dir.path().join("another store"));
    config.ports.user = running.addresses.user.port();
    let error = Coordinator::start(config).await.unwrap_err();
    assert_eq!(error.to_string(), format!("listen on {}", running.addresses.user));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_the_manifest_does_not_list_does_not_serve_it() {
    let mut world = World::new(1, 1);
    let running = world.start().await;
    running.set(&world.first()).await.unwrap();
    running.stop().await;
    world.initdata = Initdata::build("package newer\n", &settings(world.deployment, &world.owner, &world.tee)).unwrap();
    let error = world.fails_to_start().await;
    assert!(matches!(error, RunError::NotInManifest { identity } if identity == world.initdata.identity()), "{error}");
}
