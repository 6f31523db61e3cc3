//! A Coordinator that lost its seed, and stores that are not what they were.

use pki::log::{open_checkpoint, verify_consistency, verify_logged};
use protocol::api::{CoordinatorState, ErrorCode, RecoverReply, SetReply, UserRequest};
use protocol::log::LogEntry;
use protocol::{Digest, Purpose, Secret};

use crate::rig::{Running, World, holders, share};

async fn set(running: &Running<'_>) -> SetReply {
    running.set(&running.world.first()).await.unwrap()
}

async fn checkpoint(running: &Running<'_>) -> String {
    running.state(None).await.checkpoint.unwrap()
}

const ACTIVE: RecoverReply = RecoverReply { have: 1, need: 1, state: CoordinatorState::Active };

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_share_holders_bring_everything_back() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let reply = set(&running).await;
    let shares = reply.seed_shares.clone().unwrap();
    running.put(&world.secret("model", 1, b"key", &world.owner)).await.unwrap();
    let before = checkpoint(&running).await;
    running.stop().await;

    let running = world.start().await;
    let state = running.state(Some(1)).await;
    assert_eq!((state.state, state.generation, state.roots), (CoordinatorState::Recovering, 1, None));
    assert_eq!(state.checkpoint.as_ref(), Some(&before));
    assert_eq!(state.history[0].manifest, world.manifest.to_text());
    let head = open_checkpoint(&before, &reply.roots.log_key).unwrap();
    let (_, founding) = verify_logged(&reply.logged, &reply.roots.log_key).unwrap();
    verify_consistency(&state.consistency.unwrap(), &founding, &head).unwrap();
    assert_eq!(running.enroll("web").await.unwrap_err(), ErrorCode::Recovering);
    assert_eq!(running.set(&world.first()).await.unwrap_err().code, ErrorCode::Recovering);
    let put = world.secret("model", 2, b"key", &world.owner);
    assert_eq!(running.put(&put).await.unwrap_err().code, ErrorCode::Recovering);
    assert_eq!(running.refused(Purpose::Secret, &UserRequest::ListSecrets).await, ErrorCode::Recovering);

    let given = share(&shares, 0, Some(&before));
    assert_eq!(running.recover(given.clone()).await, Ok(ACTIVE));
    assert_eq!(running.recover(given).await.unwrap_err().code, ErrorCode::Conflict, "there is nothing to recover");
    let state = running.state(Some(head.size)).await;
    assert_eq!(state.state, CoordinatorState::Active);
    assert_eq!(state.roots, Some(reply.roots.clone()), "certificates and log key are the same, to the byte");
    let after = open_checkpoint(&state.checkpoint.unwrap(), &reply.roots.log_key).unwrap();
    assert_eq!(after.size, head.size + 1);
    verify_consistency(&state.consistency.unwrap(), &head, &after).unwrap();
    let granted = running.enroll("inference").await.unwrap();
    assert_eq!(granted.secrets[0].value.expose(), b"key");
    running.put(&put).await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_moment_loses_nothing_that_was_answered() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let reply = set(&running).await;
    let shares = reply.seed_shares.unwrap();
    for round in 1..=3 {
        let granted = running.renew("web").await.unwrap();
        let (_, seen) = verify_logged(&granted.logged, &reply.roots.log_key).unwrap();
        // The file as it lies on the disk while the process runs is what a SIGKILL leaves behind.
        let image = world.dir.path().join(format!("image {round}"));
        std::fs::copy(world.store(), &image).unwrap();
        let revived = world.start_on(&image).await;
        let state = revived.state(Some(seen.size)).await;
        assert_eq!(state.checkpoint, Some(granted.logged.checkpoint.clone()));
        let given = share(&shares, 0, Some(&granted.logged.checkpoint));
        assert_eq!(revived.recover(given).await, Ok(ACTIVE));
        revived.renew("web").await.unwrap();
        revived.stop().await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_holders_are_needed_and_nobody_else_counts() {
    let world = World::new(2, 3);
    let running = world.start().await;
    let reply = set(&running).await;
    let shares = reply.seed_shares.unwrap();
    let seen = checkpoint(&running).await;
    running.stop().await;
    let running = world.start().await;
    let good = |index| share(&shares, index, Some(&seen));

    let mut unknown = good(0);
    unknown.holder = Digest::of(b"somebody");
    assert_eq!(running.recover(unknown).await.unwrap_err().code, ErrorCode::NotSigned);
    let mut junk = good(0);
    junk.share = Secret::new(vec![1; 33]);
    assert_eq!(running.recover(junk).await.unwrap_err().code, ErrorCode::Malformed);
    let mut empty = good(0);
    empty.share = Secret::new(vec![]);
    assert_eq!(running.recover(empty).await.unwrap_err().code, ErrorCode::Malformed);
    let mut borrowed = good(0);
    borrowed.share = good(1).share;
    assert_eq!(running.recover(borrowed).await.unwrap_err().code, ErrorCode::Malformed);
    let mut garbled = good(0);
    garbled.checkpoint = Some("hello".into());
    assert_eq!(running.recover(garbled).await.unwrap_err().code, ErrorCode::Malformed);
    let mut foreign = good(0);
    foreign.checkpoint = Some(seen.replace("casemate.dev/log/07", "casemate.dev/log/08"));
    assert_eq!(running.recover(foreign).await.unwrap_err().code, ErrorCode::WrongDeployment);

    let one = RecoverReply { have: 1, need: 2, state: CoordinatorState::Recovering };
    assert_eq!(running.recover(good(2)).await, Ok(one.clone()));
    assert_eq!(running.recover(good(2)).await, Ok(one), "one holder counts once");
    assert!(running.is(CoordinatorState::Recovering).await);
    let two = RecoverReply { have: 2, need: 2, state: CoordinatorState::Active };
    assert_eq!(running.recover(good(0)).await, Ok(two));
    let state = running.state(None).await;
    assert_eq!(state.roots, Some(reply.roots));
    running.stop().await;
    assert_eq!(holders(3).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_is_in_the_log_with_its_holders() {
    let world = World::new(2, 3);
    let running = world.start().await;
    let reply = set(&running).await;
    let shares = reply.seed_shares.unwrap();
    running.stop().await;
    let running = world.start().await;
    // One shows a checkpoint and then repeats without it; the other has none.
    running.recover(share(&shares, 1, Some(&reply.logged.checkpoint))).await.unwrap();
    running.recover(share(&shares, 1, None)).await.unwrap();
    running.recover(share(&shares, 2, None)).await.unwrap();
    running.stop().await;
    let database = redb::Database::open(world.store()).unwrap();
    let entry = crate::tampering::entry(&database, 1);
    let LogEntry::RecoveredUncompared { holders: named, without_checkpoint } = serde_json::from_str(&entry).unwrap()
    else {
        panic!("{entry}")
    };
    let mut expected: Vec<_> = holders(3)[1..].iter().map(|key| key.public().id()).collect();
    expected.sort();
    assert_eq!(named, expected);
    assert_eq!(without_checkpoint, [holders(3)[2].public().id()]);
    drop(database);

    // Where everybody had something to compare, nobody is named.
    let running = world.start().await;
    for index in [1, 2] {
        running.recover(share(&shares, index, Some(&reply.logged.checkpoint))).await.unwrap();
    }
    running.stop().await;
    let entry = crate::tampering::entry(&redb::Database::open(world.store()).unwrap(), 2);
    assert_eq!(serde_json::from_str::<LogEntry>(&entry).unwrap(), LogEntry::Recovered { holders: expected });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_is_refused_by_whoever_saw_a_later_checkpoint() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let reply = set(&running).await;
    let shares = reply.seed_shares.unwrap();
    let key = &reply.roots.log_key;
    let older = world.dir.path().join("older");
    std::fs::copy(world.store(), &older).unwrap();
    running.renew("web").await.unwrap();
    let seen = checkpoint(&running).await;
    let known = open_checkpoint(&seen, key).unwrap();
    running.stop().await;
    std::fs::copy(&older, world.store()).unwrap();

    let running = world.start().await;
    // `verify` sees it without anybody's share.
    let state = running.state(Some(known.size)).await;
    assert_eq!((state.state, &state.consistency), (CoordinatorState::Recovering, &None));
    assert!(open_checkpoint(&state.checkpoint.unwrap(), key).unwrap().size < known.size);
    // The holder who saw more does not give the share away.
    let error = running.recover(share(&shares, 0, Some(&seen))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Rollback);
    assert_eq!(error.message, "rollback: the stored log has 1 entries, a holder saw 2");
    assert!(running.is(CoordinatorState::Recovering).await);

    // A holder with nothing to compare is deceived, and the log forks; everybody who saw the other branch notices.
    assert_eq!(running.recover(share(&shares, 0, None)).await, Ok(ACTIVE));
    running.renew("web").await.unwrap();
    let state = running.state(Some(known.size)).await;
    let head = open_checkpoint(&state.checkpoint.unwrap(), key).unwrap();
    assert!(verify_consistency(&state.consistency.unwrap(), &known, &head).is_err());
    running.stop().await;
    let running = world.start().await;
    let error = running.recover(share(&shares, 0, Some(&seen))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Rollback);
    assert!(error.message.starts_with("fork: "), "{}", error.message);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_begins_another_log_under_another_key() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let before = set(&running).await;
    running.stop().await;
    std::fs::remove_file(world.store()).unwrap();
    let running = world.start().await;
    let state = running.state(Some(1)).await;
    assert_eq!((state.state, state.checkpoint, state.consistency), (CoordinatorState::Uninitialised, None, None));
    // The owners' old signature still makes a first manifest; nobody who knows the former log takes it for that.
    let after = set(&running).await;
    assert_ne!(after.roots.log_key, before.roots.log_key);
    assert_ne!(after.roots.root_ca, before.roots.root_ca);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninitialised_coordinator_takes_no_shares() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let given = protocol::api::RecoverShare {
        holder: holders(1)[0].public().id(),
        share: Secret::new(vec![1; 33]),
        checkpoint: None,
    };
    assert_eq!(running.recover(given).await.unwrap_err().code, ErrorCode::Conflict);
    running.stop().await;
}
