use std::sync::Arc;
use std::time::Duration;

use endorsements::{
    Client, ClientError, EndorsementKind, FetchError, Freshness, Intel, Need, Note, Origin, Sources, download,
};
use expect_test::expect;
use protocol::Tee;

use crate::examples;
use crate::rig::{ID, RIM_PATH, Reply, Rig, Server, counts, hurried, october, ok, rim_need, status, with};

#[tokio::test]
async fn every_kind_is_fetched_once_and_then_comes_from_the_cache() {
    let rig = Rig::start().await;
    let needs = rig.needs();
    let gathered = rig.client.gather(&needs, Freshness::Normal).await;
    for status in &gathered.report {
        assert_eq!((&status.origin, status.notes.len()), (&Origin::Fetched, 0), "{status:?}");
        assert!(status.next_update.is_some(), "{status:?}");
    }
    use EndorsementKind as K;
    // Certificates that are in several answers are there once; the revocation lists have a signature each.
    let expected =
        [(K::Certificate, 2), (K::Crl, 3), (K::TcbInfo, 1), (K::QeIdentity, 1), (K::Rim, 1), (K::OcspResponse, 1)];
    assert_eq!(counts(&gathered.endorsements), expected);
    assert_eq!(rig.server.count(), needs.len());

    let again = rig.restarted(rig.server.sources()).gather(&needs, Freshness::Normal).await;
    assert_eq!(counts(&again.endorsements), expected);
    assert!(again.report.iter().all(|status| matches!(status.origin, Origin::Cache { .. })), "{:?}", again.report);
    let offline = rig.offline().gather(&needs, Freshness::Normal).await;
    assert_eq!(counts(&offline.endorsements), expected);
    assert_eq!(rig.server.count(), needs.len(), "nobody asked again");
}

#[tokio::test]
async fn what_is_sent_is_what_the_services_document() {
    let rig = Rig::start().await;
    for need in rig.needs() {
        rig.client.gather(&[need], Freshness::Normal).await;
    }
    let seen = rig.server.seen();
    let lines: Vec<String> = seen.iter().map(|seen| seen.line.replace(&"07".repeat(64), "CHIP") + "\n").collect();
    expect![[r#"
        GET /vcek/v1/Milan/CHIP?blSPL=3&teeSPL=0&snpSPL=20&ucodeSPL=209 HTTP/1.1
        GET /vcek/v1/Milan/cert_chain HTTP/1.1
        GET /vcek/v1/Milan/crl HTTP/1.1
        GET /sgx/certification/v4/pckcrl?ca=platform&encoding=der HTTP/1.1
        GET /IntelSGXRootCA.der HTTP/1.1
        GET /tdx/certification/v4/tcb?fmspc=00806f050000&update=standard HTTP/1.1
        GET /tdx/certification/v4/qe/identity?update=standard HTTP/1.1
        GET /v1/rim/NV_GPU_DRIVER_GH100_550.144.03 HTTP/1.1
        POST /ocsp HTTP/1.1
    "#]]
    .assert_eq(&lines.concat());
    let ocsp = seen.last().unwrap();
    assert_eq!(ocsp.content_type.as_deref(), Some("application/ocsp-request"));
    assert_eq!(ocsp.accept.as_deref(), Some("application/ocsp-response"));
    assert_eq!(ocsp.body[0], 0x30);
    assert_eq!(seen[7].accept.as_deref(), Some("application/json"));
}

#[tokio::test]
async fn through_a_proxy_the_vendor_is_the_first_part_of_the_path() {
    let server = Server::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let sources = Sources { proxy: Some(format!("{}/vendors", server.base)), environment: false, ..Sources::vendors() };
    let client =
        Client::with(sources, endorsements::Cache::open(folder.path()).unwrap(), hurried(), october()).unwrap();
    server.on(
        &format!("/vendors/rim.attestation.nvidia.com{RIM_PATH}"),
        [ok(examples::rim_answer(ID, "<SoftwareIdentity/>"))],
    );
    let gathered = client.gather(&[rim_need()], Freshness::Normal).await;
    assert_eq!(gathered.report[0].origin, Origin::Fetched, "{:?}", server.seen());
}

#[tokio::test]
async fn a_pccs_answers_in_hex_and_has_the_root_list() {
    let rig = Rig::start().await;
    rig.server.on("/sgx/certification/v4/rootcacrl", [ok(hex::encode_upper(rig.authority.crl(10)))]);
    let intel = Intel::Pccs { base: rig.server.base.clone(), roots: Vec::new() };
    let client = rig.restarted(Sources { intel, ..rig.server.sources() });
    let gathered = client.gather(&[Need::IntelRootCrl], Freshness::Normal).await;
    assert_eq!((&gathered.report[0].origin, gathered.endorsements.crls().len()), (&Origin::Fetched, 1));
}

/// For every way a server can answer badly: one named error, and how often it was asked.
#[tokio::test]
async fn bad_answers_are_named_and_never_lose_the_others() {
    let rig = Rig::start().await;
    let good = examples::rim_answer(ID, &rig.rim());
    let digest = protocol::Digest::of(rig.rim().as_bytes()).to_string();
    let wrong_digest = good.replace(&digest, &"0".repeat(64));
    let host = rig.server.base.trim_start_matches("http://").to_owned();
    let cases: Vec<(Reply, &str, usize, &str)> = vec![
        (status(404, "no"), "not-found", 1, "`HOST` does not have `PATH` (status 404)"),
        (status(410, ""), "not-found", 1, "`HOST` does not have `PATH` (status 410)"),
        (status(400, ""), "unexpected-status", 1, "`HOST` answers `PATH` with status 400"),
        (status(401, ""), "unexpected-status", 1, "`HOST` answers `PATH` with status 401"),
        (
            with("location", "/elsewhere", status(301, "")),
            "unexpected-status",
            1,
            "`HOST` answers `PATH` with status 301",
        ),
        (
            with("location", "/elsewhere", status(307, "")),
            "unexpected-status",
            1,
            "`HOST` answers `PATH` with status 307",
        ),
        (status(204, ""), "unexpected-status", 1, "`HOST` answers `PATH` with status 204"),
        (status(500, ""), "service-failed", 3, "`HOST` failed on `PATH` (status 500)"),
        (status(503, ""), "put-off", 3, "`HOST` puts off `PATH` (status 503)"),
        (with("retry-after", "3600", status(429, "")), "put-off", 1, "`HOST` puts off `PATH` (status 429)"),
        (
            Reply::Late(Duration::from_secs(2), Box::new(ok(good.clone()))),
            "timed-out",
            3,
            "`HOST` did not answer `PATH` within 0.4 s",
        ),
        (Reply::Drip, "timed-out", 3, "`HOST` did not answer `PATH` within 0.4 s"),
        (Reply::Endless, "answer-too-long", 1, "`HOST` answers `PATH` with more than 1572864 bytes"),
        (ok(vec![b'A'; 1_572_865]), "answer-too-long", 1, "`HOST` answers `PATH` with more than 1572864 bytes"),
        (ok("<html>Please sign in</html>"), "malformed-answer", 1, "`HOST` answers `PATH` with no rim"),
        (ok(""), "malformed-answer", 1, "`HOST` answers `PATH` with no rim"),
        (ok(&good.as_bytes()[..good.len() / 2]), "malformed-answer", 1, "`HOST` answers `PATH` with no rim"),
        (ok(wrong_digest), "malformed-answer", 1, "`HOST` answers `PATH` with a document with digest "),
        (
            ok(good.replace(ID, "OTHER")),
            "malformed-answer",
            1,
            "`HOST` answers `PATH` with an answer for `OTHER` instead",
        ),
        (Reply::Truncated(good.clone().into()), "unreachable", 3, "`HOST` does not answer `PATH`: "),
        (Reply::HangUp, "unreachable", 3, "`HOST` does not answer `PATH`: "),
        (Reply::Noise, "unreachable", 3, "`HOST` does not answer `PATH`: "),
    ];
    let root = Need::IntelRootCrl;
    for (number, (reply, code, asked, message)) in cases.into_iter().enumerate() {
        rig.server.on(RIM_PATH, [reply]);
        rig.server.on("/elsewhere", [ok(good.clone())]);
        let before = rig.server.count();
        let client = rig.restarted(rig.server.sources());
        let gathered = client.gather(&[rim_need(), root.clone()], Freshness::AtMost(Duration::from_secs(60))).await;
        let [rim, root] = gathered.report.as_slice() else { panic!("two needs") };
        let Origin::Missing(error) = &rim.origin else { panic!("case {number}: {rim:?}") };
        assert_eq!(error.code(), code, "case {number}: {error}");
        let message = message.replace("HOST", &host).replace("PATH", RIM_PATH);
        assert!(error.to_string().starts_with(&message), "case {number}: {error}");
        assert!(error.could_not_tell() && error.hint().is_some(), "case {number}");
        assert!(!root.is_missing() && gathered.endorsements.crls().len() == 1, "case {number}");
        assert!(gathered.endorsements.rims().is_empty(), "case {number}");
        // The revocation list is fetched the first time, and comes from the cache ever after.
        assert_eq!(rig.server.count() - before - usize::from(number == 0), asked, "case {number}");
    }
    assert!(rig.cache.list().unwrap().entries.iter().all(|entry| entry.need == root), "nothing bad is kept");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let rig = Rig::start().await;
    let sources = Sources { nvidia_rim: "http://127.0.0.1:1/v1/rim".into(), ..rig.server.sources() };
    let gathered = rig.restarted(sources).gather(&[rim_need()], Freshness::Normal).await;
    let Origin::Missing(FetchError::Unreachable { host, path, reason }) = &gathered.report[0].origin else {
        panic!("{:?}", gathered.report)
    };
    assert_eq!((host.as_str(), path.as_str()), ("127.0.0.1:1", RIM_PATH));
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_server_that_recovers_is_asked_until_it_answers() {
    let rig = Rig::start().await;
    let good = ok(examples::rim_answer(ID, &rig.rim()));
    rig.server.on(RIM_PATH, [status(500, ""), Reply::HangUp, good.clone()]);
    let gathered = rig.client.gather(&[rim_need()], Freshness::Normal).await;
    assert_eq!((&gathered.report[0].origin, rig.server.count()), (&Origin::Fetched, 3));

    rig.server.on(RIM_PATH, [with("retry-after", "1", status(429, "")), good]);
    let begun = std::time::Instant::now();
    let gathered = rig.client.gather(&[rim_need()], Freshness::Refresh).await;
    assert_eq!(gathered.report[0].origin, Origin::Fetched);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it asked for a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_who_want_the_same_cost_one_request() {
    let rig = Rig::start().await;
    let good = ok(examples::rim_answer(ID, &rig.rim()));
    rig.server.on(RIM_PATH, [Reply::Late(Duration::from_millis(100), Box::new(good))]);
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let client = rig.client.clone();
            tokio::spawn(async move {
                // Some come while the first fetch is under way, some after it.
                tokio::time::sleep(Duration::from_millis(number * 5)).await;
                client.gather(&[rim_need(), rim_need()], Freshness::Normal).await
            })
        })
        .collect();
    for task in tasks {
        let gathered = task.await.unwrap();
        assert_eq!((gathered.report.len(), gathered.endorsements.rims().len()), (1, 1), "{:?}", gathered.report);
    }
    assert_eq!(rig.server.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_stops_waiting_does_not_stop_the_others() {
    let rig = Rig::start().await;
    let good = ok(examples::rim_answer(ID, &rig.rim()));
    rig.server.on(RIM_PATH, [Reply::Late(Duration::from_millis(200), Box::new(good))]);
    let client = rig.client.clone();
    let first = tokio::spawn(async move { client.gather(&[rim_need()], Freshness::Normal).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let client = rig.client.clone();
    let second = tokio::spawn(async move { client.gather(&[rim_need()], Freshness::Normal).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    assert_eq!(second.await.unwrap().report[0].origin, Origin::Fetched);
    assert_eq!(rig.server.count(), 1);
}

#[tokio::test]
async fn a_document_that_cannot_be_renewed_is_given_out_as_stale() {
    let rig = Rig::start().await;
    rig.client.gather(&[rim_need()], Freshness::Normal).await;
    rig.server.on(RIM_PATH, [status(500, "")]);
    let gathered = rig.client.gather(&[rim_need()], Freshness::Refresh).await;
    let status = &gathered.report[0];
    assert!(matches!(status.origin, Origin::Cache { .. }) && status.stale, "{status:?}");
    assert!(
        matches!(status.notes.as_slice(), [Note::NotRenewed(FetchError::Failed { status: 500, .. })]),
        "{status:?}"
    );
    assert_eq!(gathered.endorsements.rims()[0].bytes(), rig.rim().as_bytes());
    let shown = status.to_string();
    assert!(shown.contains(", good until 2026-12-31T00:00:00Z, stale; not renewed: `127.0.0.1:"), "{shown}");
    // Whoever does not insist gets the same document without that word.
    let gathered = rig.client.gather(&[rim_need()], Freshness::Normal).await;
    assert!(!gathered.report[0].stale && gathered.report[0].notes.is_empty());
}

#[tokio::test]
async fn a_document_past_its_next_update_is_asked_for_again_and_stale_until_there_is_a_newer() {
    let rig = Rig::start().await;
    let old =
        || with("TCB-Info-Issuer-Chain", rig.authority.header(), ok(examples::tcb_info("TDX", "00806F050000", 3)));
    let need = rig.needs().swap_remove(5);
    rig.server.on("/tdx/certification/v4/tcb", [old()]);
    for count in 1..3 {
        let gathered = rig.client.gather(std::slice::from_ref(&need), Freshness::Normal).await;
        let status = &gathered.report[0];
        assert_eq!((&status.origin, status.stale, rig.server.count()), (&Origin::Fetched, true, count));
        assert_eq!(status.next_update.unwrap().to_string(), "2026-04-01T00:00:00Z");
    }
    let offline = rig.offline().gather(std::slice::from_ref(&need), Freshness::Normal).await;
    assert!(offline.report[0].stale && offline.endorsements.tcb_infos().len() == 1, "{:?}", offline.report);
    let report = rig.client.refresh_stale().await.unwrap();
    assert_eq!((report.len(), rig.server.count()), (1, 3));
}

#[tokio::test]
async fn a_channel_has_an_answer_of_its_own() {
    let rig = Rig::start().await;
    let need = [rig.needs().swap_remove(5)];
    rig.client.gather(&need, Freshness::Normal).await;
    let early = rig.restarted(Sources { channel: endorsements::Channel::Early, ..rig.server.sources() });
    assert_eq!(early.gather(&need, Freshness::Normal).await.report[0].origin, Origin::Fetched);
    assert!(rig.server.seen()[1].line.contains("update=early"), "{:?}", rig.server.seen());
    assert_eq!(rig.cache.find(&need[0]).unwrap().len(), 2);
}

#[tokio::test]
async fn a_made_up_chip_costs_the_service_one_request() {
    let rig = Rig::start().await;
    let need = [Need::Rim { id: "NV_NO_SUCH".into() }];
    for _ in 0..5 {
        let gathered = rig.client.gather(&need, Freshness::Normal).await;
        assert_eq!(gathered.report[0].error().unwrap().code(), "not-found");
    }
    assert_eq!(rig.server.count(), 1);
    rig.client.gather(&need, Freshness::Refresh).await;
    assert_eq!(rig.server.count(), 2, "who insists is not put off");
}

#[tokio::test]
async fn offline_nobody_is_asked_and_what_is_missing_is_said() {
    let rig = Rig::start().await;
    let gathered = rig.offline().gather(&rig.needs(), Freshness::Refresh).await;
    assert!(gathered.report.iter().all(|status| status.origin == Origin::Missing(FetchError::Offline)));
    assert!(FetchError::Offline.hint().unwrap().contains("casemate endorsements import"));
    assert_eq!((rig.server.count(), gathered.endorsements.certificates().len()), (0, 0));
}

#[tokio::test]
async fn too_many_needs_are_refused_one_by_one() {
    let rig = Rig::start().await;
    let needs: Vec<Need> = (0..1_030).map(|number| Need::Rim { id: format!("A{number}") }).collect();
    let gathered = rig.offline().gather(&needs, Freshness::Normal).await;
    assert_eq!(gathered.report.len(), 1_030);
    let over = gathered.report.iter().filter(|status| status.error() == Some(&FetchError::TooMany { limit: 1_024 }));
    assert_eq!(over.count(), 6);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_at_once() {
    let rig = Rig::start().await;
    let new = |sources| Client::new(sources, rig.cache.clone()).map(drop);
    let bad = Sources { proxy: Some("proxy.example:80".into()), ..Sources::vendors() };
    assert_eq!(new(bad), Err(ClientError::Address { setting: "proxy", url: "proxy.example:80".into() }));
    let bad = Sources { amd: "https://user:secret@a.example".into(), ..Sources::vendors() };
    assert!(matches!(new(bad), Err(ClientError::Address { setting: "amd", .. })));
    assert_eq!(new(Sources { roots: vec![b"junk".to_vec()], ..Sources::vendors() }), Err(ClientError::Root));
}

#[tokio::test]
async fn a_file_is_downloaded_within_its_bound() {
    let rig = Rig::start().await;
    rig.server.on("/o/r/c/a.bin", [status(500, ""), ok("content")]);
    let url = format!("{}/o/r/c/a.bin", rig.server.base);
    assert_eq!(download(&url, 7, hurried()).await.unwrap(), b"content");
    assert_eq!(download(&url, 6, hurried()).await.unwrap_err().code(), "answer-too-long");
    assert_eq!(download("file:///etc/passwd", 6, hurried()).await.unwrap_err().code(), "unreachable");
}

/// A PCCS with a certificate of the site's own making: its roots count for it, and for nobody else.
#[tokio::test]
async fn the_roots_of_a_pccs_count_for_the_pccs_alone() {
    let rig = Rig::start().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let server = Server::start_tls(Arc::new(tls).into()).await;
    server.on("/sgx/certification/v4/rootcacrl", [ok(rig.authority.crl(10))]);
    server.on(RIM_PATH, [ok(examples::rim_answer(ID, &rig.rim()))]);

    let sources = |roots: Vec<Vec<u8>>| Sources {
        intel: Intel::Pccs { base: server.base.clone(), roots },
        nvidia_rim: format!("{}/v1/rim", server.base),
        ..rig.server.sources()
    };
    let needs = [Need::IntelRootCrl, rim_need()];
    let gathered = rig.restarted(sources(Vec::new())).gather(&needs, Freshness::Normal).await;
    assert!(
        gathered.report.iter().all(|status| status.error().unwrap().code() == "unreachable"),
        "{:?}",
        gathered.report
    );
    let gathered = rig.restarted(sources(vec![certificate.der().to_vec()])).gather(&needs, Freshness::Normal).await;
    assert_eq!(gathered.report[0].origin, Origin::Fetched);
    let error = gathered.report[1].error().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
}

/// What real Evidence needs has an address, and asking for it goes where it should.
#[tokio::test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
async fn corpus_evidence_is_asked_for_at_its_vendor() {
    let rig = Rig::start().await;
    let mut lines = Vec::new();
    for (tee, file) in [
        (Tee::Snp, "snp/test-report.bin"),
        (Tee::Snp, "snp/test-vlek-report.bin"),
        (Tee::Tdx, "tdx/tdx_quote_4.dat"),
        (Tee::Tdx, "tdx/tdx_quote_5.dat"),
        (Tee::Sgx, "sgx/occlum_quote.dat"),
    ] {
        let evidence = protocol::Evidence { tee, body: testkit::corpus::file(file), devices: Vec::new() };
        let needs = verifier::needs(&evidence);
        lines.push(format!("{file}:\n"));
        for status in rig.client.gather(&needs, Freshness::Normal).await.report {
            let url = status.url.map_or("nowhere".into(), |url| url.replace(&rig.server.base, ""));
            lines.push(format!("  {}: {url}\n", status.need));
        }
    }
    expect![[r#"
        snp/test-report.bin:
          the VCEK certificate of Milan chip c38427a30d4c: /vcek/v1/Milan/c38427a30d4c7af9d96f7a15b97269825a64cb76a2352ffd5d18115d89ad473f8e8c0bcd9a5d9286612bad4aadfb4426205a3b9e4fea82301135a170e477524e?blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115
          the VCEK certificate of Genoa chip c38427a30d4c: /vcek/v1/Genoa/c38427a30d4c7af9d96f7a15b97269825a64cb76a2352ffd5d18115d89ad473f8e8c0bcd9a5d9286612bad4aadfb4426205a3b9e4fea82301135a170e477524e?blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115
          AMD's revocation list for vcek of Milan: /vcek/v1/Milan/crl
          AMD's revocation list for vcek of Genoa: /vcek/v1/Genoa/crl
        snp/test-vlek-report.bin:
          the VLEK certificate of a Milan machine: nowhere
          AMD's revocation list for vlek of Milan: /vlek/v1/Milan/crl
        tdx/tdx_quote_4.dat:
          the revocation list of Intel's root: /IntelSGXRootCA.der
          Intel's identity of the quoting enclave for tdx: /tdx/certification/v4/qe/identity?update=standard
          Intel's revocation list of the PCK platform CA: /sgx/certification/v4/pckcrl?ca=platform&encoding=der
          Intel's TCB info for tdx of platform family 50806f000000: /tdx/certification/v4/tcb?fmspc=50806f000000&update=standard
        tdx/tdx_quote_5.dat:
          the revocation list of Intel's root: /IntelSGXRootCA.der
          Intel's identity of the quoting enclave for tdx: /tdx/certification/v4/qe/identity?update=standard
          Intel's revocation list of the PCK platform CA: /sgx/certification/v4/pckcrl?ca=platform&encoding=der
          Intel's TCB info for tdx of platform family 90c06f000000: /tdx/certification/v4/tcb?fmspc=90c06f000000&update=standard
        sgx/occlum_quote.dat:
          the revocation list of Intel's root: /IntelSGXRootCA.der
          Intel's identity of the quoting enclave for sgx: /sgx/certification/v4/qe/identity?update=standard
          Intel's revocation list of the PCK platform CA: /sgx/certification/v4/pckcrl?ca=platform&encoding=der
          Intel's TCB info for sgx of platform family 00606a000000: /sgx/certification/v4/tcb?fmspc=00606a000000&update=standard
    "#]].assert_eq(&lines.concat());
}
