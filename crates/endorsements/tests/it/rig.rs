//! The server, and what tests ask of it.
//!
//! It writes its answers byte by byte itself, because a proper HTTP library would not lie about a length or hang up in the
//! middle of a sentence.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use endorsements::{Cache, Client, Clock, EndorsementKind, Intel, Limits, Need, Sources, UnixTime};
use protocol::Tee;
use protocol::digest::Hex;
use protocol::reference::{AmdProduct, TcbVersion};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use verifier::endorsements::{AmdKey, PckAuthority};

use crate::examples::{self, Authority};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Waits, then answers.
    Late(Duration, Box<Reply>),
    /// Announces the whole body and sends half of it.
    Truncated(Vec<u8>),
    /// Sends a body of unknown length, for ever.
    Endless,
    /// Sends a byte now and then.
    Drip,
    /// Hangs up without a word.
    HangUp,
    /// Speaks no HTTP.
    Noise,
}

pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Reply {
    status(200, body)
}

pub(crate) fn status(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Answer { status, headers: Vec::new(), body: body.into() }
}

pub(crate) fn with(header: &'static str, value: impl Into<String>, reply: Reply) -> Reply {
    let Reply::Answer { status, mut headers, body } = reply else { panic!("only answers have headers") };
    headers.push((header, value.into()));
    Reply::Answer { status, headers, body }
}

/// A request as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, VecDeque<Reply>>,
    seen: Vec<Seen>,
}

/// A server on loopback. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) base: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// A server that speaks TLS, with this certificate.
    pub(crate) async fn start_tls(tls: TlsAcceptor) -> Self {
        Self::listen(Some(tls)).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let state: Arc<Mutex<State>> = Arc::default();
        let server = Self { base, state: Arc::clone(&state) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&state), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, state).await,
                        Some(tls) => serve(tls.accept(socket).await.ok()?, state).await,
                    }
                });
            }
        });
        server
    }

    /// What to do with requests for a path (without query), in this order; the last one stays.
    pub(crate) fn on(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().expect("lock").replies.insert(path.to_owned(), replies.into_iter().collect());
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().expect("lock").seen.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen().len()
    }

    /// All services are this server.
    pub(crate) fn sources(&self) -> Sources {
        Sources {
            amd: self.base.clone(),
            intel: Intel::Pcs { api: self.base.clone(), certificates: self.base.clone() },
            nvidia_rim: format!("{}/v1/rim", self.base),
            nvidia_ocsp: format!("{}/ocsp", self.base),
            environment: false,
            ..Sources::vendors()
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(socket: S, state: Arc<Mutex<State>>) -> Option<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let seen = request(&mut socket).await?;
        let path = seen.line.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        let reply = {
            let mut state = state.lock().expect("lock");
            state.seen.push(seen);
            match state.replies.get_mut(&path) {
                None => status(404, "no such thing"),
                Some(replies) if replies.len() > 1 => replies.pop_front()?,
                Some(replies) => replies.front().cloned()?,
            }
        };
        answer(&mut socket, reply).await?;
    }
}

async fn request<S: AsyncRead + Unpin>(socket: &mut BufReader<S>) -> Option<Seen> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut seen = Seen { line: line.trim_end().to_owned(), content_type: None, accept: None, body: Vec::new() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-type" => seen.content_type = Some(value.to_owned()),
            "accept" => seen.accept = Some(value.to_owned()),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    seen.body = vec![0; length];
    socket.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut BufReader<S>, mut reply: Reply) -> Option<()> {
    while let Reply::Late(pause, then) = reply {
        tokio::time::sleep(pause).await;
        reply = *then;
    }
    match reply {
        Reply::Answer { status, headers, body } => {
            let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{}\r\n", body.len(), headers.concat());
            socket.write_all(&[head.as_bytes(), &body].concat()).await.ok()
        }
        Reply::Truncated(body) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            socket.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat()).await.ok()?;
            socket.shutdown().await.ok()?;
            None
        }
        Reply::Endless => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.ok()?;
            loop {
                socket.write_all(&[b'A'; 8_192]).await.ok()?;
            }
        }
        Reply::Drip => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.ok()?;
            loop {
                socket.write_all(b"A").await.ok()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Reply::HangUp => None,
        Reply::Noise => {
            socket.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await.ok()?;
            None
        }
        Reply::Late(..) => unreachable!("waited for above"),
    }
}

/// Patience for tests: everything a hundred times faster.
pub(crate) fn hurried() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        request: Duration::from_millis(400),
        total: Duration::from_secs(5),
        attempts: 3,
        first_pause: Duration::from_millis(4),
        longest_pause: Duration::from_millis(20),
        longest_retry_after: Duration::from_secs(2),
        failures: 1_000,
        cool_down: Duration::from_secs(60),
    }
}

/// 2026-10-15, when the documents of the examples are good.
pub(crate) fn october() -> Clock {
    let now: UnixTime = "2026-10-15T00:00:00Z".parse().expect("a time");
    Arc::new(move || now)
}

/// A server, a cache in a folder of its own, and a client of both.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) folder: TempDir,
    pub(crate) cache: Cache,
    pub(crate) client: Client,
    pub(crate) authority: Authority,
}

pub(crate) const ID: &str = "NV_GPU_DRIVER_GH100_550.144.03";
pub(crate) const RIM_PATH: &str = "/v1/rim/NV_GPU_DRIVER_GH100_550.144.03";

impl Rig {
    pub(crate) async fn start() -> Self {
        let server = Server::start().await;
        let folder = TempDir::new().expect("a folder");
        let cache = Cache::open(folder.path()).expect("a cache");
        let client = Client::with(server.sources(), cache.clone(), hurried(), october()).expect("a client");
        let rig = Self { server, folder, cache, client, authority: Authority::new("Root") };
        rig.serve_all();
        rig
    }

    /// Another client of the same, as after a restart.
    pub(crate) fn restarted(&self, sources: Sources) -> Client {
        Client::with(sources, self.cache.clone(), hurried(), october()).expect("a client")
    }

    pub(crate) fn offline(&self) -> Client {
        self.restarted(Sources { offline: true, ..self.server.sources() })
    }

    /// Good answers to all of [`needs`](Self::needs).
    fn serve_all(&self) {
        let (authority, header) = (&self.authority, self.authority.header());
        let crl = || ok(authority.crl(10));
        let on = |path: &str, reply: Reply| self.server.on(path, [reply]);
        on(&format!("/vcek/v1/Milan/{}", "07".repeat(64)), ok(authority.leaf.der().to_vec()));
        on("/vcek/v1/Milan/cert_chain", ok(authority.chain()));
        on("/vcek/v1/Milan/crl", crl());
        on("/sgx/certification/v4/pckcrl", with("SGX-PCK-CRL-Issuer-Chain", &header, crl()));
        on("/IntelSGXRootCA.der", crl());
        let tcb_info = ok(examples::tcb_info("TDX", "00806F050000", 10));
        on("/tdx/certification/v4/tcb", with("TCB-Info-Issuer-Chain", &header, tcb_info));
        let identity = ok(examples::qe_identity("TD_QE"));
        on("/tdx/certification/v4/qe/identity", with("SGX-Enclave-Identity-Issuer-Chain", &header, identity));
        on(RIM_PATH, ok(examples::rim_answer(ID, &self.rim())));
        on("/ocsp", ok(examples::ocsp("20261001000000Z", Some("20261231000000Z"))));
    }

    pub(crate) fn rim(&self) -> String {
        examples::rim(&self.authority.leaf)
    }

    pub(crate) fn needs(&self) -> Vec<Need> {
        let product = AmdProduct::Milan;
        let tcb = TcbVersion { fmc: None, bootloader: 3, tee: 0, snp: 20, microcode: 209 };
        vec![
            Need::Vcek { product, chip_id: Hex([7; 64]), tcb },
            Need::AmdChain { product, key: AmdKey::Vcek },
            Need::AmdCrl { product, key: AmdKey::Vcek },
            Need::PckCrl { authority: PckAuthority::Platform },
            Need::IntelRootCrl,
            Need::TcbInfo { tee: Tee::Tdx, fmspc: Hex([0, 0x80, 0x6f, 5, 0, 0]) },
            Need::QeIdentity { tee: Tee::Tdx },
            rim_need(),
            Need::Ocsp { certificate: self.authority.leaf.der().to_vec(), issuer: self.authority.root.der().to_vec() },
        ]
    }
}

pub(crate) fn rim_need() -> Need {
    Need::Rim { id: ID.into() }
}

/// How many documents of each kind there are.
pub(crate) fn counts(endorsements: &endorsements::Endorsements) -> Vec<(EndorsementKind, usize)> {
    endorsements.by_kind().map(|(kind, documents)| (kind, documents.len())).to_vec()
}
