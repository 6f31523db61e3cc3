//! A host that edits the store.

use coordinator::{LoadError, RunError, StoreError};
use pki::log::{Checkpoint, Tree, leaf_hash};
use pki::owner::OwnerKey;
use pki::seed::{KeySchedule, Seed};
use protocol::api::{CoordinatorState, ErrorCode};
use protocol::{Digest, Initdata};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::rig::{World, settings, share};

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<'_, u64, &str> = TableDefinition::new("entries");
const MANIFESTS: TableDefinition<'_, u64, &str> = TableDefinition::new("manifests");
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");

pub(crate) fn entry(database: &Database, index: u64) -> String {
    let read = database.begin_read().unwrap();
    let table = read.open_table(ENTRIES).unwrap();
    table.get(index).unwrap().unwrap().value().to_owned()
}

fn entries(database: &Database) -> Vec<String> {
    let read = database.begin_read().unwrap();
    let table = read.open_table(ENTRIES).unwrap();
    table.iter().unwrap().map(|row| row.unwrap().1.value().to_owned()).collect()
}

fn put_meta(database: &Database, key: &str, value: &str) {
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert(key, value).unwrap();
    write.commit().unwrap();
}

fn put_entry(database: &Database, index: u64, text: &str) {
    let write = database.begin_write().unwrap();
    write.open_table(ENTRIES).unwrap().insert(index, text).unwrap();
    write.commit().unwrap();
}

/// A store with two manifests, a secret in two versions and a grant; and its shares.
async fn lived(world: &World) -> protocol::api::SetReply {
    let running = world.start().await;
    let first = world.first();
    let reply = running.set(&first).await.unwrap();
    running.put(&world.secret("model", 1, b"one", &world.owner)).await.unwrap();
    let mut manifest = world.manifest.clone();
    manifest.lease_seconds = 30;
    let second = world.sign(&manifest, world.transition(&first), &[&world.owner]);
    running.set(&second).await.unwrap();
    let secret = world.secret_under(world.transition(&second), "model", 2, b"two", &world.owner);
    running.put(&secret).await.unwrap();
    running.enroll("inference").await.unwrap();
    running.stop().await;
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn each_edit_of_the_store_is_named_and_nothing_starts() {
    type Edit = fn(&Database);
    let cases: [(&str, Edit, &str); 10] = [
        (
            "an entry is changed",
            |db| put_entry(db, 4, &entry(db, 4).replace("\"time\":1", "\"time\":2")),
            "the store is damaged: the log entries do not hash to the stored head",
        ),
        (
            "an entry is appended",
            |db| put_entry(db, 5, &entry(db, 4)),
            "the store is damaged: the log entries do not hash to the stored head",
        ),
        (
            "the last entry is cut off",
            |db| {
                let write = db.begin_write().unwrap();
                write.open_table(ENTRIES).unwrap().remove(4).unwrap();
                write.commit().unwrap();
            },
            "the store is damaged: the log entries do not hash to the stored head",
        ),
        (
            "an entry in the middle is cut out",
            |db| {
                let write = db.begin_write().unwrap();
                write.open_table(ENTRIES).unwrap().remove(1).unwrap();
                write.commit().unwrap();
            },
            "the store is damaged: log entry 1 is missing",
        ),
        (
            "an entry is no entry",
            |db| put_entry(db, 4, "{}"),
            "the store is damaged: log entry 4: missing field `type` at line 1 column 2",
        ),
        (
            "the head is no checkpoint",
            |db| put_meta(db, "head", "hello"),
            "the store is damaged: stored head: the checkpoint has no valid signature block",
        ),
        (
            "the head is gone",
            |db| {
                let write = db.begin_write().unwrap();
                write.open_table(META).unwrap().remove("head").unwrap();
                write.commit().unwrap();
            },
            "the store is damaged: only one of head and founding record is there",
        ),
        (
            "the last manifest is gone",
            |db| {
                let write = db.begin_write().unwrap();
                write.open_table(MANIFESTS).unwrap().remove(2).unwrap();
                write.commit().unwrap();
            },
            "the store is damaged: 1 manifests are stored, 2 are in the log",
        ),
        (
            "a manifest is changed",
            |db| {
                let write = db.begin_write().unwrap();
                {
                    let mut table = write.open_table(MANIFESTS).unwrap();
                    let text = table
                        .get(2)
                        .unwrap()
                        .unwrap()
                        .value()
                        .replace("lease_seconds\\\": 30", "lease_seconds\\\": 90");
                    table.insert(2, text.as_str()).unwrap();
                }
                write.commit().unwrap();
            },
            "the stored manifests are no history that the owners made",
        ),
        (
            "the first manifest is also the second",
            |db| {
                let write = db.begin_write().unwrap();
                {
                    let mut table = write.open_table(MANIFESTS).unwrap();
                    let text = table.get(1).unwrap().unwrap().value().to_owned();
                    table.insert(2, text.as_str()).unwrap();
                }
                write.commit().unwrap();
            },
            "the stored manifests are no history that the owners made",
        ),
    ];
    let world = World::new(1, 1);
    lived(&world).await;
    let honest = std::fs::read(world.store()).unwrap();
    for (what, edit, expected) in cases {
        std::fs::write(world.store(), &honest).unwrap();
        edit(&Database::open(world.store()).unwrap());
        let error = world.fails_to_start().await;
        let RunError::Store { source, .. } = &error else { panic!("{what}: {error}") };
        assert_eq!(source.to_string(), expected, "{what}");
    }
    std::fs::write(world.store(), &honest).unwrap();
    world.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rewritten_and_signed_by_another_key_gets_no_seed() {
    let world = World::new(1, 1);
    let reply = lived(&world).await;
    let shares = reply.seed_shares.unwrap();
    let honest = std::fs::read(world.store()).unwrap();
    {
        // The host hides a grant, and signs the shorter log with a key of its own.
        let database = Database::open(world.store()).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(ENTRIES).unwrap().remove(4).unwrap();
        write.commit().unwrap();
        let leaves: Vec<_> = entries(&database).iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
        let tree = Tree::from_leaves(&leaves);
        let forger = KeySchedule::new(&Seed::generate().unwrap(), world.deployment).log_signer().unwrap();
        let head = Checkpoint { origin: forger.origin().to_owned(), size: tree.size(), root: tree.root() };
        put_meta(&database, "head", &forger.sign(&head));
    }
    let running = world.start().await;
    let error = running.recover(share(&shares, 0, None)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Malformed);
    assert!(error.message.contains("do not rebuild the seed that signed the stored history"), "{}", error.message);
    assert!(running.is(CoordinatorState::Recovering).await);
    assert!(running.enroll("web").await.is_err());
    running.stop().await;
    // With the honest store back, the same share recovers.
    std::fs::write(world.store(), &honest).unwrap();
    let running = world.start().await;
    assert_eq!(running.recover(share(&shares, 0, None)).await.unwrap().state, CoordinatorState::Active);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_value_of_a_secret_is_not_released() {
    let world = World::new(1, 1);
    let running = world.start().await;
    let shares = running.set(&world.first()).await.unwrap().seed_shares.unwrap();
    running.put(&world.secret("model", 1, b"one", &world.owner)).await.unwrap();
    running.stop().await;
    let sealed = |database: &Database| {
        let read = database.begin_read().unwrap();
        let table = read.open_table(SECRETS).unwrap();
        table.get("model").unwrap().unwrap().value().to_vec()
    };
    let old = sealed(&Database::open(world.store()).unwrap());
    let running = world.start().await;
    running.recover(share(&shares, 0, None)).await.unwrap();
    running.put(&world.secret("model", 2, b"two", &world.owner)).await.unwrap();
    assert_eq!(running.enroll("inference").await.unwrap().secrets[0].value.expose(), b"two");
    running.stop().await;
    {
        let database = Database::open(world.store()).unwrap();
        assert_ne!(sealed(&database), old);
        assert!(!sealed(&database).windows(3).any(|window| window == b"two"), "in the clear");
        let write = database.begin_write().unwrap();
        write.open_table(SECRETS).unwrap().insert("model", old.as_slice()).unwrap();
        write.commit().unwrap();
    }
    let running = world.start().await;
    running.recover(share(&shares, 0, None)).await.unwrap();
    assert_eq!(running.enroll("inference").await.unwrap_err(), ErrorCode::Internal);
    assert!(running.enroll("web").await.is_ok(), "others are served");
    // The owner stores the secret anew, and all is well.
    running.put(&world.secret("model", 3, b"three", &world.owner)).await.unwrap();
    assert_eq!(running.enroll("inference").await.unwrap().secrets[0].value.expose(), b"three");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_another_deployment_or_of_other_owners_is_refused() {
    let mut world = World::new(1, 1);
    lived(&world).await;
    // Our initdata names other owners than those who signed the stored manifests.
    let stranger = OwnerKey::generate().unwrap();
    world.initdata = Initdata::build("", &settings(world.deployment, &stranger, &world.tee)).unwrap();
    let RunError::Store { source: LoadError::History(_), .. } = world.fails_to_start().await else { panic!() };
    let other = protocol::DeploymentId::from_bytes([9; 16]);
    world.initdata = Initdata::build("", &settings(other, &world.owner, &world.tee)).unwrap();
    let error = world.fails_to_start().await;
    let RunError::Store { source: LoadError::OtherDeployment { got, expected }, .. } = error else { panic!("{error}") };
    assert_eq!((got, expected), (world.deployment, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_an_error_and_not_a_panic() {
    let world = World::new(1, 1);
    lived(&world).await;
    let honest = std::fs::read(world.store()).unwrap();
    let mut started = 0;
    for seed in 0_usize..60 {
        let mut damaged = honest.clone();
        // A few bytes here and there, never the same ones.
        for step in 0..8 {
            let digest = Digest::of(&[seed.to_be_bytes(), step_bytes(step)].concat());
            let at = usize::from(digest.as_bytes()[0]) * 256 + usize::from(digest.as_bytes()[1]);
            let at = at * honest.len() / 65536;
            damaged[at] ^= digest.as_bytes()[2] | 1;
        }
        if seed % 7 == 0 {
            damaged.truncate(honest.len() / 2);
        }
        std::fs::write(world.store(), &damaged).unwrap();
        match coordinator::Coordinator::start(world.config(&world.store())).await {
            // The bytes were in a page that nothing uses.
            Ok(_) => started += 1,
            Err(RunError::Store {
                source: LoadError::Store(StoreError::Damaged { .. } | StoreError::Failed { .. }),
                ..
            }) => {}
            Err(RunError::Store { source: LoadError::History(_), .. }) => {}
            Err(error) => panic!("{seed}: {error:?}"),
        }
    }
    assert!(started < 60, "the test damages nothing");
}

fn step_bytes(step: usize) -> [u8; 8] {
    step.to_be_bytes()
}
