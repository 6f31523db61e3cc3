//! A real API server for tests: kube-apiserver and etcd on loopback, and nothing else of a cluster.
//!
//! There is no scheduler, no controller and no kubelet, so what a test writes stays as it wrote it: a pod is never
//! started, a Deployment never makes a pod. What is real is what an agent depends on: admission and validation of
//! objects and of custom resources, RBAC, server-side apply with its conflicts, watches with their resource versions
//! and their expiry, throttling headers, outages.
//!
//! kube-apiserver is built once from its Go module ([`crate::go`]); etcd is the distribution's. Where Go, etcd or the
//! modules are missing, [`Cluster::start`] says so as [`Missing`], and tests are to say it aloud.

mod process;
mod wire;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use tempfile::TempDir;

pub use process::find_program;
pub use wire::Answer;

use process::Running;
use wire::Server;

use crate::go::API_SERVER;

/// The bearer token of a member of `system:masters`, who may do everything.
pub const ADMIN: &str = "administrator";

/// How long etcd and the API server may take to answer. Measured: 2.5 s for both on two idle cores; tests run beside
/// compilers, so this is generous and only bounds a hang.
const START: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
const KEY: &str = "service-accounts.pem";
const PUBLIC_KEY: &str = "service-accounts-public.pem";

/// Why there can be no API server here. Tests are then ignored, aloud.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// A program is not installed.
    #[error("there is no `{program}`; {hint}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What has it.
        hint: &'static str,
    },
    /// The Go toolchain is older than what the program asks for.
    #[error("Go is too old for {what}: {said}")]
    OldGo {
        /// What was to be built.
        what: String,
        /// Go's own words.
        said: String,
    },
    /// The module proxy did not give the modules.
    #[error("the Go modules of {what} cannot be had: {said}")]
    Modules {
        /// What was to be built.
        what: String,
        /// The last of Go's words.
        said: String,
    },
}

/// A user of the API server besides the administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// What the user sends as a bearer token.
    pub token: String,
    /// As RBAC knows the user; a service account is `system:serviceaccount:NAMESPACE:NAME`.
    pub name: String,
    /// Groups; a service account is in `system:serviceaccounts`.
    pub groups: Vec<String>,
}

/// How a cluster is to start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Who may log in besides the administrator.
    pub users: Vec<User>,
    /// Further flags of kube-apiserver, such as `--watch-cache=false`.
    pub flags: Vec<String>,
}

/// A running API server. Dropping it ends both processes and removes everything they wrote.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: the server goes before its store, the folder last.
    api: Option<Running>,
    _etcd: Running,
    etcd_port: u16,
    api_port: u16,
    binary: PathBuf,
    flags: Vec<String>,
    folder: TempDir,
}

impl Cluster {
    /// Starts etcd and the API server, and waits until it is ready.
    ///
    /// # Errors
    /// [`Missing`] where the machine lacks what it takes.
    ///
    /// # Panics
    /// When what is there does not work: a build that fails, a server that ends or does not get ready. The panic shows
    /// the end of its log.
    pub fn start(options: &Options) -> Result<Self, Missing> {
        let etcd = find_program("etcd").ok_or(Missing::Program {
            program: "etcd",
            hint: "Debian's package etcd-server has it; `cargo xtask packages` installs it",
        })?;
        let binary = API_SERVER.binary()?;
        let folder = tempfile::Builder::new().prefix("casemate-cluster-").tempdir().expect("a temporary folder");
        write_keys(folder.path());
        write_users(&folder.path().join("tokens.csv"), &options.users);
        // A port that was free a moment ago can be taken by now: another try then has other ports.
        let (etcd, etcd_port) = (0..3)
            .find_map(|_| start_etcd(&etcd, folder.path()))
            .unwrap_or_else(|| panic!("etcd does not start:\n{}", process::tail(&folder.path().join("etcd.log"))));
        let flags = options.flags.clone();
        let mut cluster = Self { api: None, _etcd: etcd, etcd_port, api_port: free_port(), binary, flags, folder };
        cluster.start_api();
        Ok(cluster)
    }

    /// Where the API server listens.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// What its certificate is to be checked with: certificates, PEM.
    pub fn authority(&self) -> String {
        let path = self.folder.path().join("certificates/apiserver.crt");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    }

    /// A configuration file for clients, for one user.
    pub fn kubeconfig(&self, token: &str) -> String {
        let authority = self.folder.path().join("certificates/apiserver.crt");
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n    \
             server: {}\n    certificate-authority: {}\nusers:\n- name: test\n  user:\n    token: {token}\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: test}}\n",
            self.url(),
            authority.display(),
        )
    }

    /// Asks the API server something as the administrator, without any client library. `body` is its content type and
    /// its bytes.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<(&str, &str)>) -> Answer {
        self.server().ask(method, path, Some(ADMIN), body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Ends the API server, as an outage does; etcd goes on.
    pub fn stop_api(&mut self) {
        self.api = None;
    }

    /// Starts the API server again, on the same port, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_api(&mut self) {
        let deadline = Instant::now() + START;
        loop {
            self.api = Some(Running::start(&self.binary, &self.api_flags(), &self.folder.path().join("apiserver.log")));
            if self.wait_for_api(deadline) {
                return;
            }
            self.api = None;
            let log = process::tail(&self.folder.path().join("apiserver.log"));
            // The port may have been taken between being found free and being used.
            assert!(log.contains("address already in use") && Instant::now() < deadline, "kube-apiserver:\n{log}");
            std::thread::sleep(POLL);
        }
    }

    /// Ends the API server and starts it with other flags.
    pub fn restart_api(&mut self, flags: &[&str]) {
        self.stop_api();
        self.flags = flags.iter().map(ToString::to_string).collect();
        self.start_api();
    }

    /// Forgets all history up to now, as etcd is told every five minutes: whoever resumes a watch from before this, and
    /// is not served by a cache, gets `410 Gone`.
    ///
    /// # Panics
    /// When etcd does not answer.
    pub fn compact(&self) {
        let etcd = SocketAddr::from((Ipv4Addr::LOCALHOST, self.etcd_port));
        let ask = |path: &str, body: &str| {
            let answer = wire::plain(etcd, "POST", path, body).unwrap_or_else(|error| panic!("etcd: {path}: {error}"));
            assert_eq!(answer.status, 200, "etcd: {path}: {}", answer.text());
            answer.text()
        };
        let range = ask("/v3/kv/range", r#"{"key": "AA=="}"#);
        let revision = range.split_once("\"revision\":\"").and_then(|(_, rest)| rest.split('"').next());
        let revision = revision.unwrap_or_else(|| panic!("etcd: no revision in {range}"));
        ask("/v3/kv/compaction", &format!("{{\"revision\": \"{revision}\", \"physical\": true}}"));
    }

    fn server(&self) -> Server {
        Server { port: self.api_port, authority: self.authority() }
    }

    fn wait_for_api(&mut self, deadline: Instant) -> bool {
        let certificate = self.folder.path().join("certificates/apiserver.crt");
        while Instant::now() < deadline {
            if self.api.as_mut().is_none_or(Running::ended) {
                return false;
            }
            // It makes its certificate when it starts for the first time.
            let ready = certificate.exists()
                && self.server().ask("GET", "/readyz", Some(ADMIN), None).is_ok_and(|answer| answer.status == 200);
            if ready {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }

    fn api_flags(&self) -> Vec<String> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut flags = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={}", self.api_port),
            format!("--cert-dir={}", at("certificates")),
            format!("--token-auth-file={}", at("tokens.csv")),
            "--authorization-mode=RBAC".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", at(PUBLIC_KEY)),
            format!("--service-account-signing-key-file={}", at(KEY)),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            "--allow-privileged=true".into(),
            // It wants an object that a controller makes, and there is no controller.
            "--disable-admission-plugins=ServiceAccount".into(),
            // Tests say when history is forgotten.
            "--etcd-compaction-interval=0".into(),
            "--profiling=false".into(),
        ];
        flags.extend(self.flags.iter().cloned());
        flags
    }
}

fn start_etcd(program: &Path, folder: &Path) -> Option<(Running, u16)> {
    let (port, peers) = (free_port(), free_port());
    let log = folder.join("etcd.log");
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peers}");
    let flags = [
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    let mut running = Running::start(program, &flags, &log);
    let deadline = Instant::now() + START;
    while Instant::now() < deadline && !running.ended() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if wire::plain(address, "GET", "/health", "").is_ok_and(|answer| answer.text().contains("true")) {
            return Some((running, port));
        }
        std::thread::sleep(POLL);
    }
    None
}

/// A port on loopback that nobody listens on now.
fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    socket.local_addr().expect("a bound socket has an address").port()
}

/// The key that signs the tokens of service accounts, and the one that checks them.
fn write_keys(folder: &Path) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
    let private = pair.to_pkcs8v1().expect("an encoded key");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("an encoded key");
    for (name, label, key) in [(KEY, "PRIVATE KEY", private.as_ref()), (PUBLIC_KEY, "PUBLIC KEY", public.as_ref())] {
        fs::write(folder.join(name), wire::pem(label, key)).expect("write a key of service accounts");
    }
}

fn write_users(path: &Path, users: &[User]) {
    let mut text = format!("{ADMIN},admin,admin,\"system:masters\"\n");
    for User { token, name, groups } in users {
        text.push_str(&format!("{token},{name},{name},\"{}\"\n", groups.join(",")));
    }
    fs::write(path, text).expect("write the users");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test for all of it: a server costs seconds to start.
    #[test]
    fn the_api_server_keeps_objects_through_an_outage_and_forgets_history_when_told() {
        let mut cluster = match Cluster::start(&Options::default()) {
            Ok(cluster) => cluster,
            Err(missing) => {
                #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
                {
                    println!("SKIPPED: {missing}");
                }
                return;
            }
        };
        let namespace = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}}"#;
        let answer = cluster.ask("POST", "/api/v1/namespaces", Some(("application/json", namespace)));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let version = cluster.ask("GET", "/version", None).text();
        assert!(version.contains(&format!("\"gitVersion\": \"v{}\"", API_SERVER.version)), "{version}");

        let stranger = cluster.server().ask("GET", "/api/v1/nodes", Some("unknown"), None).expect("an answer");
        assert_eq!(stranger.status, 401, "{}", stranger.text());

        cluster.stop_api();
        assert!(cluster.server().ask("GET", "/readyz", Some(ADMIN), None).is_err(), "it answers while it is down");
        cluster.restart_api(&["--watch-cache=false"]);
        assert_eq!(cluster.ask("GET", "/api/v1/namespaces/kept", None).status, 200);

        cluster.compact();
        let expired = cluster.ask("GET", "/api/v1/namespaces?watch=1&resourceVersion=2&timeoutSeconds=5", None);
        assert!(expired.text().contains("\"code\":410"), "{}", expired.text());
        assert!(cluster.kubeconfig(ADMIN).contains(&cluster.url()));
    }
}
