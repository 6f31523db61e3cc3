//! The embedded default: one file (redb), which is a copy-on-write B-tree, so that a crash at any moment leaves the
//! last committed step.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};

use super::{Founding, Step, Store, StoreError, Stored, StoredManifest};

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<'_, u64, &str> = TableDefinition::new("entries");
const MANIFESTS: TableDefinition<'_, u64, &str> = TableDefinition::new("manifests");
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");
const HEAD: &str = "head";
const FOUNDING: &str = "founding";

/// LIMIT: the file is read once at the start and then appended to; the default cache of 1 GiB would be wasted.
const CACHE: usize = 4 * 1024 * 1024;

/// A store in one file.
#[derive(Debug)]
pub(crate) struct FileStore {
    database: Database,
}

fn failed<E: std::fmt::Display>(operation: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Failed { operation, reason: error.to_string() }
}

impl FileStore {
    /// Opens the file, or creates it for this user alone.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed("open the file"))?;
        let database = Database::builder().set_cache_size(CACHE).create_file(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
            error => failed("open the database")(error),
        })?;
        Ok(Self { database })
    }
}

/// A table that no transaction has made yet is an empty one.
fn absent<T>(result: Result<T, TableError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(failed("open a table")(error)),
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::damaged(format!("{what}: {error}")))
}

fn encode<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(failed("encode a value"))
}

impl Store for FileStore {
    fn load(&self) -> Result<Option<Stored>, StoreError> {
        let read = self.database.begin_read().map_err(failed("begin to read"))?;
        let Some(meta) = absent(read.open_table(META))? else { return Ok(None) };
        let text = |key| -> Result<Option<String>, StoreError> {
            let value = meta.get(key).map_err(failed("read"))?;
            Ok(value.map(|value| value.value().to_owned()))
        };
        let (head, founding) = match (text(HEAD)?, text(FOUNDING)?) {
            (None, None) => return Ok(None),
            (Some(head), Some(founding)) => (head, parse::<Founding>("founding record", &founding)?),
            _ => return Err(StoreError::damaged("only one of head and founding record is there")),
        };
        if founding.version != 1 {
            return Err(StoreError::damaged(format!("format {}, this release reads 1", founding.version)));
        }
        let mut manifests = Vec::new();
        if let Some(table) = absent(read.open_table(MANIFESTS))? {
            for (row, expected) in table.iter().map_err(failed("read"))?.zip(1_u64..) {
                let (generation, text) = row.map_err(failed("read"))?;
                if generation.value() != expected {
                    return Err(StoreError::damaged(format!("manifest of generation {expected} is missing")));
                }
                manifests.push(parse::<StoredManifest>("manifest", text.value())?);
            }
        }
        Ok(Some(Stored { head, founding, manifests }))
    }

    fn entries(&self, each: &mut dyn FnMut(u64, &str) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let read = self.database.begin_read().map_err(failed("begin to read"))?;
        let Some(table) = absent(read.open_table(ENTRIES))? else { return Ok(()) };
        for (row, expected) in table.iter().map_err(failed("read"))?.zip(0_u64..) {
            let (index, entry) = row.map_err(failed("read"))?;
            if index.value() != expected {
                return Err(StoreError::damaged(format!("log entry {expected} is missing")));
            }
            each(expected, entry.value())?;
        }
        Ok(())
    }

    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database.begin_read().map_err(failed("begin to read"))?;
        let Some(table) = absent(read.open_table(SECRETS))? else { return Ok(None) };
        let value = table.get(name).map_err(failed("read"))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn commit(&mut self, expected: Option<&str>, step: Step<'_>) -> Result<(), StoreError> {
        // A write transaction that is dropped on the way is undone.
        let write = self.database.begin_write().map_err(failed("begin to write"))?;
        {
            let mut meta = write.open_table(META).map_err(failed("open a table"))?;
            let head = meta.get(HEAD).map_err(failed("read"))?.map(|value| value.value().to_owned());
            if head.as_deref() != expected {
                return Err(StoreError::Moved);
            }
            meta.insert(HEAD, step.head).map_err(failed("write"))?;
            if let Some(founding) = step.founding {
                meta.insert(FOUNDING, encode(founding)?.as_str()).map_err(failed("write"))?;
            }
            let mut entries = write.open_table(ENTRIES).map_err(failed("open a table"))?;
            if entries.insert(step.index, step.entry).map_err(failed("write"))?.is_some() {
                return Err(StoreError::Moved);
            }
            if let Some((generation, manifest)) = step.manifest {
                let mut manifests = write.open_table(MANIFESTS).map_err(failed("open a table"))?;
                manifests.insert(generation, encode(manifest)?.as_str()).map_err(failed("write"))?;
            }
            if let Some((name, sealed)) = step.secret {
                let mut secrets = write.open_table(SECRETS).map_err(failed("open a table"))?;
                secrets.insert(name, sealed).map_err(failed("write"))?;
            }
        }
        write.commit().map_err(failed("commit"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::api::{SeedShares, SignedManifest};
    use protocol::{DeploymentId, Digest};

    use super::*;

    fn founding() -> Founding {
        let deployment = DeploymentId::from_bytes([1; 16]);
        Founding {
            version: 1,
            deployment,
            root_ca: "root".into(),
            seed_shares: SeedShares { version: 1, deployment_id: deployment, threshold: 1, shares: vec![] },
            fingerprints: BTreeMap::from([(Digest::of(b"holder"), Digest::of(b"share"))]),
        }
    }

    fn manifest(text: &str) -> StoredManifest {
        let signed = SignedManifest { manifest: text.into(), previous: Digest::ZERO, signatures: vec![] };
        StoredManifest { signed, mesh_ca: "mesh".into() }
    }

    fn step<'a>(index: u64, entry: &'a str, head: &'a str) -> Step<'a> {
        Step { index, entry, head, founding: None, manifest: None, secret: None }
    }

    fn entries(store: &FileStore) -> Vec<String> {
        let mut found = Vec::new();
        store
            .entries(&mut |_, entry| {
                found.push(entry.to_owned());
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn a_step_survives_reopening_with_all_that_belongs_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let (founding, first, second) = (founding(), manifest("one"), manifest("two"));
        {
            let mut store = FileStore::open(&path).unwrap();
            assert_eq!(store.load(), Ok(None));
            assert_eq!(entries(&store), Vec::<String>::new());
            assert_eq!(store.secret("model"), Ok(None));
            let base = Step { founding: Some(&founding), manifest: Some((1, &first)), ..step(0, "a", "head 1") };
            store.commit(None, base).unwrap();
            store.commit(Some("head 1"), Step { secret: Some(("model", b"v1")), ..step(1, "b", "head 2") }).unwrap();
            store.commit(Some("head 2"), Step { secret: Some(("model", b"v2")), ..step(2, "c", "head 3") }).unwrap();
            store.commit(Some("head 3"), Step { manifest: Some((2, &second)), ..step(3, "d", "head 4") }).unwrap();
        }
        let store = FileStore::open(&path).unwrap();
        let stored = store.load().unwrap().unwrap();
        assert_eq!(stored, Stored { head: "head 4".into(), founding, manifests: vec![first, second] });
        assert_eq!(entries(&store), ["a", "b", "c", "d"]);
        assert_eq!(store.secret("model"), Ok(Some(b"v2".to_vec())));
        assert_eq!(store.secret("other"), Ok(None));
    }

    #[test]
    fn a_step_on_a_head_that_moved_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(&dir.path().join("store")).unwrap();
        let founding = founding();
        assert_eq!(store.commit(Some("ghost"), step(0, "a", "head")), Err(StoreError::Moved));
        store.commit(None, Step { founding: Some(&founding), ..step(0, "a", "head 1") }).unwrap();
        assert_eq!(store.commit(None, step(1, "b", "head 2")), Err(StoreError::Moved));
        assert_eq!(store.commit(Some("head 0"), step(1, "b", "head 2")), Err(StoreError::Moved));
        let with_secret = Step { secret: Some(("model", b"v1")), ..step(0, "other", "head 2") };
        assert_eq!(store.commit(Some("head 1"), with_secret), Err(StoreError::Moved), "an entry is never overwritten");
        assert_eq!(store.load().unwrap().unwrap().head, "head 1");
        assert_eq!(entries(&store), ["a"]);
        assert_eq!(store.secret("model"), Ok(None));
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let first = FileStore::open(&path).unwrap();
        assert_eq!(FileStore::open(&path).unwrap_err(), StoreError::InUse);
        drop(first);
        assert!(FileStore::open(&path).is_ok());
    }

    #[test]
    fn the_file_is_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        drop(FileStore::open(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        assert!(matches!(FileStore::open(&path), Err(StoreError::Failed { operation: "open the database", .. })));
        assert!(matches!(FileStore::open(dir.path()), Err(StoreError::Failed { operation: "open the file", .. })));
    }

    #[test]
    fn rows_that_no_coordinator_wrote_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(&dir.path().join("store")).unwrap();
        let (founding, manifest) = (Founding { version: 2, ..founding() }, manifest("one"));
        store.commit(None, step(5, "a", "head 1")).unwrap();
        let damaged = |result: Result<_, StoreError>| match result {
            Err(StoreError::Damaged { what }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(damaged(store.load()), "only one of head and founding record is there");
        assert_eq!(damaged(store.entries(&mut |_, _| Ok(())).map(|()| None)), "log entry 0 is missing");
        store.commit(Some("head 1"), Step { founding: Some(&founding), ..step(6, "b", "head 2") }).unwrap();
        assert_eq!(damaged(store.load()), "format 2, this release reads 1");
        let founding = self::founding();
        let last = Step { founding: Some(&founding), manifest: Some((2, &manifest)), ..step(7, "c", "head 3") };
        store.commit(Some("head 2"), last).unwrap();
        assert_eq!(damaged(store.load()), "manifest of generation 1 is missing");
    }
}
