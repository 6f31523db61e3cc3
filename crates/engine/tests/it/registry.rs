//! A registry inside the test: one image, FROM scratch around this executable.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;

use protocol::Digest;
use serde_json::{Value, json};

/// A registry that serves until the tests end.
pub(crate) struct Registry {
    port: u16,
    digest: Digest,
}

impl Registry {
    /// The one of this run.
    pub(crate) fn get() -> &'static Self {
        static REGISTRY: OnceLock<Registry> = OnceLock::new();
        REGISTRY.get_or_init(Self::start)
    }

    /// The test's image, pinned.
    pub(crate) fn image(&self) -> String {
        format!("127.0.0.1:{}/guest:latest@sha256:{}", self.port, self.digest)
    }

    /// An image that is not there.
    pub(crate) fn missing_image(&self) -> String {
        format!("127.0.0.1:{}/guest@sha256:{}", self.port, "0".repeat(64))
    }

    fn start() -> Self {
        let mut store = BTreeMap::new();
        let mut put = |bytes: Vec<u8>| -> Value {
            let digest = format!("sha256:{}", Digest::of(&bytes));
            let descriptor = json!({"digest": digest, "size": bytes.len()});
            store.insert(digest, bytes);
            descriptor
        };
        let layer = layer();
        let diff_id = format!("sha256:{}", Digest::of(&layer));
        let mut layer = put(layer);
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/", "FROM_IMAGE=yes"], "Entrypoint": ["/it"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        });
        let mut config = put(config.to_string().into_bytes());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        store.insert("latest".into(), manifest.clone());
        store.insert(format!("sha256:{digest}"), manifest);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let store: &'static _ = Box::leak(Box::new(store));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream, store));
            }
        });
        Self { port, digest }
    }
}

/// One layer: this executable and a file.
fn layer() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let executable = std::fs::read("/proc/self/exe").unwrap();
    for (name, mode, content) in [("it", 0o755, executable.as_slice()), ("etc/hello", 0o644, b"hello from the image")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, name, content).unwrap();
    }
    // Our own programs, for which this one stands in.
    for name in ["casemate-pod", "casemate-launch"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_link(&mut header, name, "it").unwrap();
    }
    archive.into_inner().unwrap()
}

fn serve(mut stream: TcpStream, store: &BTreeMap<String, Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let head = request.starts_with("HEAD");
        let name = path.rsplit('/').next().unwrap_or_default();
        let (status, kind, body): (_, _, &[u8]) = match store.get(name) {
            _ if path == "/v2/" => ("200 OK", "application/json", b"{}"),
            Some(bytes) if path.contains("/manifests/") => {
                ("200 OK", "application/vnd.oci.image.manifest.v1+json", bytes)
            }
            Some(bytes) => ("200 OK", "application/octet-stream", bytes),
            None => (
                "404 Not Found",
                "application/json",
                br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            ),
        };
        let digest = format!("sha256:{}", Digest::of(body));
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ndocker-content-digest: {digest}\r\n\r\n",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() || (!head && stream.write_all(body).is_err()) {
            return;
        }
    }
}

/// Reads a whole stream as text.
pub(crate) fn read_all(mut stream: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
