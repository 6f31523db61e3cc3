//! The command on machines made of files, with stand-ins of agents on the loopback.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::{Identity, Tee};
use testkit::SoftwareTee;

use super::*;

/// Answers every request on the loopback by its path and data, until the process ends.
fn agent(answer: impl Fn(&str, &[u8]) -> Option<String> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let data = query.split('&').find_map(|pair| pair.strip_prefix("runtime_data=")).unwrap_or_default();
            let (status, body) = match answer(path, &URL_SAFE_NO_PAD.decode(data).unwrap()) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", "URL NOT FOUND".to_owned()),
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    address
}

/// The engine's agent: Evidence of a software TEE.
fn software() -> SocketAddr {
    let tee = SoftwareTee::from_seed([7; 32]);
    agent(move |path, data| {
        let data = ReportData(data.try_into().ok()?);
        let evidence = tee.evidence(crate::rig::MEASUREMENT, Identity(protocol::Digest::of(b"pod")), &data);
        (path == "/aa/evidence").then(|| serde_json::to_string(&evidence).unwrap())
    })
}

fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn machine(root: &Path, agent: SocketAddr) -> Machine {
    Machine { kernel: Arc::new(Linux::below(root)), agent: GuestAgent::new(agent) }
}

fn trace(root: &Path, path: &str) {
    fs::create_dir_all(root.join(path.trim_start_matches('/'))).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn evidence_is_written_for_explain() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("evidence.json");
    let args = AttestArgs { nonce: Some([9; 32]), output: Some(output.clone()), ..AttestArgs::default() };
    let (text, outcome) = answer(&machine(folder.path(), software()), &args).await;
    outcome.unwrap();
    let evidence: Evidence = serde_json::from_slice(&fs::read(output).unwrap()).unwrap();
    assert_eq!(evidence.tee, Tee::Software);
    let digest = evidence.digest();
    let nonce = "09".repeat(32);
    assert_eq!(
        text,
        format!(
            "tee          software\n             INSECURE: evidence of a software TEE proves nothing to anybody who does not \
             trust this machine\ninterface    guest-agent\nbody         {} bytes\nreport data  {nonce}{}\nnonce        \
             {nonce}\ndigest       {digest}",
            evidence.body.len(),
            "00".repeat(32)
        )
    );
}

#[tokio::test(flavor = "current_thread")]
async fn report_data_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let args = AttestArgs { report_data: Some([0xab; 64]), json: true, raw: true, ..AttestArgs::default() };
    let (text, outcome) = answer(&machine(folder.path(), software()), &args).await;
    outcome.unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["report_data"], &json["nonce"]), (&"ab".repeat(64).into(), &"ab".repeat(32).into()));
    assert_eq!((&json["tee"], &json["insecure"]), (&"software".into(), &true.into()));
    assert_eq!(json["looked"][0], json!({ "path": "/sys/kernel/config/tsm/report", "found": "is not there" }));
    assert_eq!(json["agent"], "answers, and does not say what it is");
    let evidence: Evidence = serde_json::from_value(json["evidence"].clone()).unwrap();
    assert_eq!(json["digest"], evidence.digest().to_string());
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_anywhere_is_a_no_that_lists_what_was_tried() {
    let folder = tempfile::tempdir().unwrap();
    let args = AttestArgs { raw: true, ..AttestArgs::default() };
    let (text, outcome) = answer(&machine(folder.path(), nobody()), &args).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.status(), 1);
    let reason = failure.to_string();
    assert!(text.starts_with("evidence     none\n"), "{text}");
    for place in ["/sys/kernel/config/tsm/report", "/dev/sev-guest", "/dev/tdx_guest", "/dev/attestation", "/dev/sgx"] {
        assert!(reason.contains(place), "{place}: {reason}");
        assert!(text.contains(&format!("\n{place}")), "{place}: {text}");
    }
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test(flavor = "current_thread")]
async fn software_evidence_is_refused_where_hardware_shows() {
    for (path, tee) in [
        ("/sys/devices/platform/sev-guest", "snp"),
        ("/sys/devices/virtual/misc/sev-guest", "snp"),
        ("/sys/devices/virtual/misc/tdx_guest", "tdx"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        trace(folder.path(), path);
        let output = folder.path().join("evidence.json");
        let args = AttestArgs { output: Some(output.clone()), ..AttestArgs::default() };
        let (text, outcome) = answer(&machine(folder.path(), software()), &args).await;
        let failure = outcome.unwrap_err();
        assert_eq!((failure.status(), text.as_str()), (1, "evidence     none"));
        let expected = format!("evidence is of kind `software`, and this machine shows {tee} (`{path}`)");
        assert_eq!(failure.to_string(), expected);
        assert!(!output.exists());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_agent_that_fails_is_could_not_tell() {
    let folder = tempfile::tempdir().unwrap();
    let address = agent(|_, _| Some("garbage".to_owned()));
    let (text, outcome) =
        answer(&machine(folder.path(), address), &AttestArgs { json: true, ..AttestArgs::default() }).await;
    assert_eq!(outcome.unwrap_err().status(), 2);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["evidence"], &json["refused"]), (&serde_json::Value::Null, &false.into()));
}

#[tokio::test(flavor = "current_thread")]
async fn the_event_log_is_written_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let args = AttestArgs { event_log: Some(log.clone()), ..AttestArgs::default() };
    let machine = machine(folder.path(), software());
    let (_, outcome) = answer(&machine, &args).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.status(), 1);
    assert!(failure.to_string().contains("no event log"), "{failure}");
    trace(folder.path(), "/sys/firmware/acpi/tables/data");
    let written = testkit::ccel::Log::boot().build();
    fs::write(folder.path().join("sys/firmware/acpi/tables/data/CCEL"), &written).unwrap();
    answer(&machine, &args).await.1.unwrap();
    assert_eq!(fs::read(log).unwrap(), written);
}

#[tokio::test(flavor = "current_thread")]
async fn what_an_agent_says_of_itself_moves_no_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let address = agent(|path, _| {
        let info = r#"{"version":"0.21\u001b[2J","tee":"snp","additional_tees":["nvidia"],"feature":"all"}"#;
        (path == "/info").then(|| info.to_owned())
    });
    let (text, _) = answer(&machine(folder.path(), address), &AttestArgs { raw: true, ..AttestArgs::default() }).await;
    assert!(text.contains("answers: TEE snp, devices nvidia, API `all`"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn bytes_are_taken_in_hex_and_in_full() {
    assert_eq!(bytes::<2>("ab01"), Ok([0xab, 1]));
    for text in ["", "ab", "ab0", "ab011", "abcdef", "0xab"] {
        assert!(bytes::<2>(text).unwrap_err().contains("4 digits"), "{text}");
    }
}
