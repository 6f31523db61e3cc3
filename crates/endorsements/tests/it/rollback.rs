//! A service, or whoever stands in front of it, that repeats old answers: it erases no revocation and no later evaluation.

use endorsements::{Cache, Endorsements, Freshness, Gathered, Need, Note, Origin, UnixTime};

use crate::examples::{self, Authority};
use crate::rig::{Rig, ok, with};

const ROOT_LIST: &str = "/IntelSGXRootCA.der";
const TCB: &str = "/tdx/certification/v4/tcb";

async fn ask(rig: &Rig, need: &Need) -> Gathered {
    rig.client.gather(std::slice::from_ref(need), Freshness::Refresh).await
}

async fn list(rig: &Rig, der: &[u8]) -> Gathered {
    rig.server.on(ROOT_LIST, [ok(der)]);
    ask(rig, &Need::IntelRootCrl).await
}

fn lists(endorsements: &Endorsements) -> Vec<&[u8]> {
    endorsements.crls().iter().map(verifier::endorsements::Document::bytes).collect()
}

fn kept_newer(gathered: &Gathered) -> Option<String> {
    let [status] = gathered.report.as_slice() else { panic!("one need") };
    assert_eq!(status.origin, Origin::Fetched, "{status}");
    status.notes.iter().find_map(|note| match note {
        Note::KeptNewer { issued_at } => Some(issued_at.to_string()),
        _ => None,
    })
}

#[tokio::test]
async fn an_older_list_is_given_out_beside_the_newer_one_until_there_is_a_newer_still() {
    let rig = Rig::start().await;
    let (old, new, newest) = (rig.authority.crl(9), rig.authority.crl_of(2026, 10, &[7]), rig.authority.crl(11));
    assert_eq!(kept_newer(&list(&rig, &new).await), None);
    for _ in 0..2 {
        let gathered = list(&rig, &old).await;
        assert_eq!(lists(&gathered.endorsements), [old.as_slice(), &new]);
        assert_eq!(kept_newer(&gathered).unwrap(), "2026-10-01T00:00:00Z");
        let shown = gathered.report[0].to_string();
        assert!(shown.contains("kept newer: an earlier answer was issued later, at 2026-10-01T00:00:00Z"), "{shown}");
    }
    // Also from the cache, after a restart and offline, and in a bundle.
    let gathered = rig.offline().gather(&[Need::IntelRootCrl], Freshness::Normal).await;
    assert_eq!(lists(&gathered.endorsements), [old.as_slice(), &new]);
    assert!(gathered.report[0].to_string().contains("kept newer"), "{}", gathered.report[0]);
    let bundle = rig.cache.export(None).unwrap().bytes;
    let folder = tempfile::TempDir::new().unwrap();
    let other = Cache::open(folder.path()).unwrap();
    let now: UnixTime = "2026-10-15T00:00:00Z".parse().unwrap();
    assert_eq!(other.import(&bundle, now).unwrap().added, [Need::IntelRootCrl]);
    assert_eq!(other.export(None).unwrap().bytes, bundle);
    assert_eq!(rig.cache.verify(), Ok(Vec::new()));
    // One issued between the two changes nothing; the same again, or one that was issued later, ends it.
    let gathered = list(&rig, &new).await;
    assert_eq!((kept_newer(&gathered), lists(&gathered.endorsements)), (None, vec![new.as_slice()]));
    list(&rig, &old).await;
    // The clock says October 15: a list of November is from the future, and pushes nothing out.
    assert_eq!(lists(&list(&rig, &newest).await.endorsements), [newest.as_slice(), &new]);
}

#[tokio::test]
async fn a_list_from_the_future_is_replaced() {
    let rig = Rig::start().await;
    let (future, old) = (rig.authority.crl_of(2040, 1, &[7]), rig.authority.crl(10));
    list(&rig, &future).await;
    let gathered = list(&rig, &old).await;
    assert_eq!((kept_newer(&gathered), lists(&gathered.endorsements)), (None, vec![old.as_slice()]));
    assert!(gathered.report[0].notes.is_empty(), "{}", gathered.report[0]);
    // In a bundle neither.
    let other = Rig::start().await;
    list(&other, &future).await;
    let bundle = other.cache.export(None).unwrap().bytes;
    let imported = rig.cache.import(&bundle, "2026-10-15T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!((imported.kept_newer.len(), imported.added.len()), (1, 0));
    let gathered = rig.offline().gather(&[Need::IntelRootCrl], Freshness::Normal).await;
    assert_eq!(lists(&gathered.endorsements), [old.as_slice()]);
}

#[tokio::test]
async fn a_list_that_revokes_stays_until_its_own_issuer_replaces_it() {
    let rig = Rig::start().await;
    let other = Authority::new("Other");
    let (revoking, foreign, newer) = (rig.authority.crl_of(2026, 8, &[7]), other.crl(9), rig.authority.crl(10));
    list(&rig, &revoking).await;
    let gathered = list(&rig, &foreign).await;
    assert_eq!(lists(&gathered.endorsements), [foreign.as_slice(), &revoking]);
    assert_eq!(gathered.report[0].notes, [Note::KeptRevoking]);
    assert_eq!(lists(&list(&rig, &newer).await.endorsements), [newer.as_slice()]);
}

/// Intel's evaluation goes before the date, as it does in judging; and a young certificate in the chain makes nothing newer.
#[tokio::test]
async fn tcb_info_of_an_earlier_evaluation_pushes_out_none_of_a_later_one() {
    let rig = Rig::start().await;
    let need = rig.needs().swap_remove(5);
    let info = |month, number: u32| {
        let number = format!("\"tcbEvaluationDataNumber\":{number}");
        examples::tcb_info("TDX", "00806F050000", month).replace("\"tcbEvaluationDataNumber\":17", &number)
    };
    let serve = |info: &str| {
        let header = rig.authority.header();
        rig.server.on(TCB, [with("TCB-Info-Issuer-Chain", header, ok(info))]);
    };
    let late = info(9, 18);
    for early in [info(8, 17), info(10, 17), info(8, 18)] {
        serve(&late);
        assert_eq!(kept_newer(&ask(&rig, &need).await), None);
        serve(&early);
        let gathered = ask(&rig, &need).await;
        assert_eq!(kept_newer(&gathered).unwrap(), "2026-09-01T00:00:00Z", "{early}");
        let infos: Vec<&[u8]> =
            gathered.endorsements.tcb_infos().iter().map(verifier::endorsements::Document::bytes).collect();
        assert_eq!(infos, [early.as_bytes(), late.as_bytes()]);
        assert_eq!(gathered.endorsements.certificates().len(), 2, "with the signers of both");
    }
    serve(&info(10, 18));
    let gathered = ask(&rig, &need).await;
    assert_eq!((kept_newer(&gathered), gathered.endorsements.tcb_infos().len()), (None, 1));
}

#[tokio::test]
async fn a_good_word_takes_no_revocation_back() {
    let rig = Rig::start().await;
    let need = rig.needs().swap_remove(8);
    let revoked = |day: &str| examples::ocsp_revoked(day, Some("20261231000000Z"));
    let good = |day: &str| examples::ocsp(day, Some("20261231000000Z"));
    let serve = async |response: &[u8]| {
        rig.server.on("/ocsp", [ok(response)]);
        let gathered = ask(&rig, &need).await;
        let all: Vec<Vec<u8>> = gathered.endorsements.ocsp_responses().iter().map(|one| one.bytes().to_vec()).collect();
        (all, gathered.report[0].notes.clone())
    };
    let word = revoked("20261002000000Z");
    serve(&word).await;
    let older = good("20261001000000Z");
    let issued_at = "2026-10-02T00:00:00Z".parse().unwrap();
    assert_eq!(serve(&older).await, (vec![older, word.clone()], vec![Note::KeptNewer { issued_at }]));
    // Newer, and yet "revoked" is said of a certificate once and for all.
    let newer = good("20261003000000Z");
    assert_eq!(serve(&newer).await, (vec![newer, word], vec![Note::KeptRevoking]));
    let again = revoked("20261004000000Z");
    assert_eq!(serve(&again).await, (vec![again], Vec::new()));
    // A "good" that is older than a "good" is kept away likewise.
    let rig = Rig::start().await;
    let (old, new) = (good("20261001000000Z"), good("20261003000000Z"));
    for response in [&new, &old] {
        rig.server.on("/ocsp", [ok(response.clone())]);
        ask(&rig, &need).await;
    }
    let gathered = rig.offline().gather(std::slice::from_ref(&need), Freshness::Normal).await;
    assert_eq!(gathered.endorsements.ocsp_responses().len(), 2);
}
