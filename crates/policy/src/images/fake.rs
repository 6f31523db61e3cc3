//! A registry on loopback for tests: a few paths, each with a fixed answer or a fixed misbehaviour.

pub(crate) mod archive;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::Digest;
use serde_json::{Value, json};

/// What a path does.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    Answer(u16, Vec<u8>),
    /// With this Content-Type instead of the one that fits.
    Typed(Vec<u8>, &'static str),
    /// Fewer bytes than announced, then the connection ends.
    Truncated(Vec<u8>),
    /// The first half, and then nothing.
    Stalled(Vec<u8>),
    /// An answer without an announced length.
    Unannounced(Vec<u8>),
    Redirect(String),
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Behaviour>,
    requests: Vec<String>,
    /// The challenge, and the header that answers it.
    lock: Option<(String, String)>,
    /// What the token service wants, and the token that it gives.
    tokens: Option<(String, String)>,
}

/// A running registry; its thread ends with the test process.
pub(crate) struct FakeRegistry {
    /// `127.0.0.1:<port>`.
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

/// A layer as a registry has it.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) content: Vec<u8>,
    pub(crate) diff_id: String,
    pub(crate) media_type: &'static str,
}

pub(crate) const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Packs an archive as a media type says.
pub(crate) fn pack(archive: &[u8], media_type: &'static str) -> Packed {
    let content = match media_type {
        GZIP => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(archive).unwrap();
            encoder.finish().unwrap()
        }
        ZSTD => ruzstd::encoding::compress_to_vec(archive, ruzstd::encoding::CompressionLevel::Fastest),
        _ => archive.to_vec(),
    };
    Packed { content, diff_id: digest_of(archive), media_type }
}

pub(crate) fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", Digest::of(content))
}

impl FakeRegistry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { host, state }
    }

    /// Sets the answer for one path.
    pub(crate) fn answer(&self, path: &str, status: u16, body: &[u8]) {
        self.behave(path, Behaviour::Answer(status, body.to_vec()));
    }

    /// Sets what one path does.
    pub(crate) fn behave(&self, path: &str, behaviour: Behaviour) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), behaviour);
    }

    /// Nothing is given out without this header; the challenge says how to get it.
    pub(crate) fn lock(&self, challenge: &str, header: &str) {
        self.state.lock().unwrap().lock = Some((challenge.to_owned(), header.to_owned()));
    }

    /// The token service at `/token` gives this token to requests that have the text in their first line, their
    /// Authorization or their body.
    pub(crate) fn token(&self, wants: &str, token: &str) {
        self.state.lock().unwrap().tokens = Some((wants.to_owned(), token.to_owned()));
    }

    /// `METHOD path` of what was asked so far; forgets it.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Puts an image without layers there and gives its digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, config: &Value) -> String {
        self.image(repository, tag, config, &[])
    }

    /// Puts an image there and gives its digest.
    pub(crate) fn image(&self, repository: &str, tag: &str, config: &Value, layers: &[Packed]) -> String {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let mut config = json!({"architecture": "amd64", "os": "linux", "config": config});
        if !layers.is_empty() {
            config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        }
        let config = config.to_string();
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                json!({"mediaType": layer.media_type,
            "digest": self.blob(repository, &layer.content), "size": layer.content.len()})
            })
            .collect();
        let digest = self.blob(repository, config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()},
            "layers": layers,
        });
        self.manifest(repository, tag, manifest.to_string().as_bytes())
    }

    /// An entry of an index for a manifest that is there.
    pub(crate) fn entry(&self, repository: &str, digest: &str, architecture: &str) -> Value {
        let answer = self.state.lock().unwrap().answers[&format!("/v2/{repository}/manifests/{digest}")].clone();
        let Behaviour::Answer(_, content) = answer else { panic!("no manifest") };
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": content.len(),
            "platform": {"os": "linux", "architecture": architecture}})
    }

    pub(crate) fn blob(&self, repository: &str, content: &[u8]) -> String {
        let digest = digest_of(content);
        self.answer(&format!("/v2/{repository}/blobs/{digest}"), 200, content);
        digest
    }

    pub(crate) fn manifest(&self, repository: &str, tag: &str, content: &[u8]) -> String {
        let digest = digest_of(content);
        self.answer(&format!("/v2/{repository}/manifests/{tag}"), 200, content);
        self.answer(&format!("/v2/{repository}/manifests/{digest}"), 200, content);
        digest
    }
}

/// The type of a document by its own word or, without one, by its fields.
fn type_of(body: &[u8]) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    match (document["mediaType"].as_str(), document.get("manifests")) {
        (Some(own), _) => own.to_owned(),
        (None, Some(_)) => "application/vnd.oci.image.index.v1+json".to_owned(),
        (None, None) => "application/vnd.oci.image.manifest.v1+json".to_owned(),
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let (mut authorization, mut length) = (String::new(), 0_usize);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            let (name, value) = header.trim().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "authorization" => value.clone_into(&mut authorization),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (method, rest) = request.split_once(' ').unwrap_or_default();
        let path = rest.split(' ').next().unwrap_or_default();
        let bare = path.split('?').next().unwrap_or_default();
        let mut extra = String::new();
        let behaviour = {
            let mut state = state.lock().unwrap();
            state.requests.push(format!("{method} {path}"));
            if bare == "/token" {
                let all = format!("{request} {authorization} {}", String::from_utf8_lossy(&body));
                match &state.tokens {
                    Some((wants, token)) if all.contains(wants) => {
                        Behaviour::Answer(200, json!({"token": token}).to_string().into_bytes())
                    }
                    _ => Behaviour::Answer(401, b"{}".to_vec()),
                }
            } else if let Some((challenge, _)) = state.lock.as_ref().filter(|(_, header)| *header != authorization) {
                extra = format!("WWW-Authenticate: {challenge}\r\n");
                Behaviour::Answer(401, b"{}".to_vec())
            } else {
                let missing = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
                let missing = Behaviour::Answer(404, missing.to_vec());
                state.answers.get(bare).cloned().unwrap_or(missing)
            }
        };
        let (status, body, content_type, announced) = match behaviour {
            Behaviour::Answer(status, body) => {
                let (content_type, length) = (type_of(&body), body.len());
                (status, body, content_type, length)
            }
            Behaviour::Typed(body, content_type) => {
                let length = body.len();
                (200, body, content_type.to_owned(), length)
            }
            Behaviour::Truncated(mut body) | Behaviour::Stalled(mut body) if method == "HEAD" => {
                body.clear();
                (200, body, String::new(), 0)
            }
            Behaviour::Truncated(mut body) => {
                let length = body.len();
                body.truncate(length / 2);
                let head = format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
                return;
            }
            Behaviour::Stalled(mut body) => {
                let length = body.len();
                body.truncate(length / 2);
                let head = format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
                std::thread::sleep(Duration::from_secs(30));
                return;
            }
            Behaviour::Unannounced(body) => {
                let head = "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
                return;
            }
            Behaviour::Redirect(to) => {
                extra = format!("Location: {to}\r\n");
                (307, Vec::new(), String::new(), 0)
            }
        };
        let digest = if status == 200 { digest_of(&body) } else { String::new() };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {announced}\r\nContent-Type: {content_type}\r\n\
             Docker-Content-Digest: {digest}\r\n{extra}\r\n"
        );
        let body = if method == "HEAD" { Vec::new() } else { body };
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}
