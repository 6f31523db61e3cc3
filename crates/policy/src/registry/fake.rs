//! A registry on loopback for tests: a few paths, each with a fixed answer.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use protocol::Digest;
use serde_json::{Value, json};

type Answers = Arc<Mutex<BTreeMap<String, (u16, Vec<u8>)>>>;

/// A running registry; its thread ends with the test process.
pub(crate) struct FakeRegistry {
    /// `127.0.0.1:<port>`.
    pub(crate) host: String,
    answers: Answers,
}

impl FakeRegistry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let answers = Answers::default();
        let shared = answers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = shared.clone();
                std::thread::spawn(move || serve(stream, &answers));
            }
        });
        Self { host, answers }
    }

    /// Sets the answer for one path.
    pub(crate) fn answer(&self, path: &str, status: u16, body: &[u8]) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_vec()));
    }

    /// Puts an image there and gives its digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, config: &Value) -> String {
        let config = json!({"architecture": "amd64", "os": "linux", "config": config}).to_string();
        let digest = self.blob(repository, config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()},
            "layers": [],
        });
        self.manifest(repository, tag, manifest.to_string().as_bytes())
    }

    pub(crate) fn blob(&self, repository: &str, content: &[u8]) -> String {
        let digest = format!("sha256:{}", Digest::of(content));
        self.answer(&format!("/v2/{repository}/blobs/{digest}"), 200, content);
        digest
    }

    pub(crate) fn manifest(&self, repository: &str, tag: &str, content: &[u8]) -> String {
        let digest = format!("sha256:{}", Digest::of(content));
        self.answer(&format!("/v2/{repository}/manifests/{tag}"), 200, content);
        self.answer(&format!("/v2/{repository}/manifests/{digest}"), 200, content);
        digest
    }
}

fn serve(stream: TcpStream, answers: &Answers) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::from("x");
        while header.trim() != "" {
            header.clear();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let missing = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let answer =
            if path == "/v2/" { Some((200, b"{}".to_vec())) } else { answers.lock().unwrap().get(path).cloned() };
        let (status, body) = answer.unwrap_or_else(|| (404, missing.to_vec()));
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}
