//! As much of HTTP as asking a server one thing takes, so that this crate needs no client library.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// LIMIT: what is read of one answer. The longest that a test asks for is a list of some hundred objects of at most
/// 1.5 MiB each; in fact they have a few KiB.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// What a server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An API server on loopback.
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) authority: String,
}

impl Server {
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<(&str, &str)>,
    ) -> io::Result<Answer> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(self.authority.as_bytes());
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let socket = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))?;
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let (content_type, body) = body.unwrap_or_default();
        exchange(StreamOwned::new(tls, socket), method, path, &token, content_type, body)
    }
}

/// Asks a server that does not speak TLS.
pub(super) fn plain(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    exchange(connect(address)?, method, path, "", "application/json", body)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// HTTP/1.0: the answer ends with the connection and is in one piece.
fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &str,
    content_type: &str,
    body: &str,
) -> io::Result<Answer> {
    let content = if body.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n{headers}{content}\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
        // Some servers end a connection without TLS's goodbye; a body that is cut short does not parse.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        read => {
            read?;
        }
    }
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end);
    let status = std::str::from_utf8(head.get(..12)?).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()?;
    Some(Answer { status, body: body.get(4..)?.to_vec() })
}

/// PEM (RFC 7468) of some bytes.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nno\r\n\r\nthing").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (404, "no\r\n\r\nthing"));
        for wrong in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 abc\r\n\r\n", "SSH-2.0-x 12345\r\n\r\n"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn pem_breaks_lines_after_64_characters() {
        assert_eq!(pem("X", b"abc"), "-----BEGIN X-----\nYWJj\n-----END X-----\n");
        assert!(pem("X", &[7; 100]).lines().all(|line| line.len() <= 64));
    }
}
