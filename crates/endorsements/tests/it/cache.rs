use std::fs;

use endorsements::{CacheError, Damage, Freshness, Note, Origin};

use crate::rig::{Rig, rim_need};

#[tokio::test]
async fn a_damaged_document_is_named_and_fetched_again() {
    let rig = Rig::start().await;
    rig.client.gather(&[rim_need()], Freshness::Normal).await;
    let entry = rig.cache.list().unwrap().entries.remove(0);
    let blob = rig.folder.path().join("blobs").join(entry.documents[0].sha256.to_string());
    fs::write(&blob, "<SoftwareIdentity>forged</SoftwareIdentity>").unwrap();
    let damage = CacheError::Damaged { path: blob.clone(), damage: Damage::Changed };

    let offline = rig.offline().gather(&[rim_need()], Freshness::Normal).await;
    assert!(offline.report[0].is_missing(), "what is damaged is not given out: {:?}", offline.report);
    assert_eq!(offline.report[0].notes, [Note::Damaged(damage.clone())]);

    let gathered = rig.client.gather(&[rim_need()], Freshness::Normal).await;
    assert_eq!(
        (&gathered.report[0].origin, &gathered.report[0].notes[..]),
        (&Origin::Fetched, &[Note::Damaged(damage)][..])
    );
    assert_eq!(gathered.endorsements.rims()[0].bytes(), rig.rim().as_bytes());
    assert_eq!(rig.cache.verify(), Ok(Vec::new()));
}

#[tokio::test]
async fn what_cannot_be_kept_is_given_out_all_the_same() {
    let rig = Rig::start().await;
    fs::remove_dir_all(rig.folder.path().join("tmp")).unwrap();
    fs::write(rig.folder.path().join("tmp"), "").unwrap();
    let gathered = rig.client.gather(&[rim_need()], Freshness::Normal).await;
    let status = &gathered.report[0];
    assert_eq!(status.origin, Origin::Fetched);
    assert!(matches!(&status.notes[..], [Note::NotKept(CacheError::Io { .. })]), "{status:?}");
    assert_eq!(gathered.endorsements.rims().len(), 1);
}

#[tokio::test]
async fn the_listing_says_what_from_where_and_until_when() {
    let rig = Rig::start().await;
    rig.client.gather(&rig.needs(), Freshness::Normal).await;
    let listing = rig.cache.list().unwrap();
    assert_eq!((listing.entries.len(), listing.damaged.len()), (9, 0));
    let names: Vec<String> = listing.entries.iter().map(|entry| entry.need.to_string()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for entry in &listing.entries {
        assert!(
            entry.url.starts_with(&rig.server.base) && entry.size() > 0 && entry.next_update.is_some(),
            "{entry:?}"
        );
    }
}
