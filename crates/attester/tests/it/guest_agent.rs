//! The guest agent's client against real servers on the loopback, most of them broken.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use attester::{AttestError, Attester as _, GuestAgent, MAX_ANSWER};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use protocol::{Evidence, ReportData, Tee};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const REPORT_DATA: ReportData = ReportData([0xfb; 64]);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a request up to its empty line.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap() == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// An agent that takes one request and writes `answer`, then closes. Gives its address and what it was asked.
async fn agent(answer: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        // A client that has seen enough hangs up.
        let _ = stream.write_all(&answer).await;
        head
    });
    (address, task)
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn evidence() -> Evidence {
    Evidence::new(Tee::Software, vec![5; 288])
}

async fn ask(address: SocketAddr) -> Result<Evidence, AttestError> {
    GuestAgent::new(address).with_timeout(TIMEOUT).attest(&REPORT_DATA).await
}

async fn answered(answer: Vec<u8>) -> Result<Evidence, AttestError> {
    let (address, _agent) = agent(answer).await;
    ask(address).await
}

#[tokio::test]
async fn evidence_is_asked_for_with_the_report_data_and_returned() {
    let (address, task) = agent(response("200 OK", &serde_json::to_vec(&evidence()).unwrap())).await;
    assert_eq!(ask(address).await, Ok(evidence()));
    let head = task.await.unwrap();
    let runtime_data = URL_SAFE_NO_PAD.encode(REPORT_DATA.0);
    assert!(head.starts_with(&format!("GET /aa/evidence?encoding=base64&runtime_data={runtime_data} HTTP/1.1\r\n")));
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
}

#[tokio::test]
async fn a_chunked_answer_is_read_too() {
    let json = serde_json::to_vec(&evidence()).unwrap();
    let (first, second) = json.split_at(100);
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in [first, second, &[]] {
        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    assert_eq!(answered(answer).await, Ok(evidence()));
}

#[tokio::test]
async fn no_agent_is_unreachable() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = ask(address).await.unwrap_err();
    assert!(matches!(&error, AttestError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn an_address_beyond_the_loopback_is_never_asked() {
    let address = SocketAddr::from(([192, 0, 2, 1], 8006));
    assert_eq!(ask(address).await, Err(AttestError::NotLoopback { address }));
}

#[tokio::test]
async fn an_error_status_is_reported_with_the_beginning_of_the_body() {
    let (address, _agent) = agent(response("500 Internal Server Error", b"no TEE\r\nerror: forged line")).await;
    let error = ask(address).await.unwrap_err();
    let excerpt = "no TEE  error: forged line".to_owned();
    assert_eq!(error, AttestError::Status { address, status: 500, excerpt });
}

#[tokio::test]
async fn only_status_200_is_an_answer() {
    let body = serde_json::to_vec(&evidence()).unwrap();
    for (line, expected) in [("201 Created", 201), ("302 Found", 302), ("404 Not Found", 404)] {
        let error = answered(response(line, &body)).await.unwrap_err();
        assert!(matches!(error, AttestError::Status { status, .. } if status == expected), "{error}");
    }
}

#[tokio::test]
async fn a_long_error_body_is_cut() {
    let error = answered(response("503 Busy", &[b'x'; 10_000])).await.unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read_to_its_end() {
    let error = answered(response("200 OK", &vec![b' '; MAX_ANSWER + 1])).await.unwrap_err();
    assert!(matches!(error, AttestError::TooLong { limit: MAX_ANSWER, .. }), "{error}");
}

#[tokio::test]
async fn evidence_beyond_its_limit_is_malformed() {
    let json = format!(r#"{{"tee":"snp","body":"{}"}}"#, STANDARD.encode(vec![0; Evidence::MAX_BODY + 1]));
    let error = answered(response("200 OK", json.as_bytes())).await.unwrap_err();
    assert!(matches!(&error, AttestError::Malformed { reason, .. } if reason.contains("65537 bytes")), "{error}");
}

#[tokio::test]
async fn a_body_that_is_no_evidence_is_malformed() {
    let bodies: [&[u8]; 6] = [
        b"",
        b"garbage",
        b"{\"tee\":\"software\"}",
        b"{\"tee\":\"toaster\",\"body\":\"\"}",
        b"{\"tee\":\"software\",\"body\":\"!\"}",
        b"{\"tee\":\"software\",\"body\":\"\",\"trusted\":true}",
    ];
    for body in bodies {
        let error = answered(response("200 OK", body)).await.unwrap_err();
        assert!(matches!(error, AttestError::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_are_unreachable() {
    for answer in [&b"SSH-2.0-OpenSSH_9.9\r\n\r\n"[..], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n", b""] {
        let error = answered(answer.to_vec()).await.unwrap_err();
        assert!(matches!(error, AttestError::Unreachable { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_is_unreachable() {
    let mut answer = response("200 OK", &serde_json::to_vec(&evidence()).unwrap());
    answer.truncate(answer.len() - 10);
    let error = answered(answer).await.unwrap_err();
    assert!(matches!(error, AttestError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn endless_headers_are_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    for index in 0..10_000 {
        answer.extend_from_slice(format!("x-{index}: y\r\n").as_bytes());
    }
    let error = answered(answer).await.unwrap_err();
    assert!(matches!(error, AttestError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_agent_times_out() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_millis(50);
    let error = GuestAgent::new(address).with_timeout(limit).attest(&REPORT_DATA).await.unwrap_err();
    assert_eq!(error, AttestError::Timeout { address, limit });
}

#[tokio::test]
async fn an_agent_that_drips_its_answer_times_out() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let drip = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let limit = Duration::from_millis(100);
    let error = GuestAgent::new(address).with_timeout(limit).attest(&REPORT_DATA).await.unwrap_err();
    assert_eq!(error, AttestError::Timeout { address, limit });
    drip.abort();
}
