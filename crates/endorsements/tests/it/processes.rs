//! Several processes and one cache, some of which are killed. The others are this test program, started again.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use endorsements::{Cache, UnixTime};
use tempfile::TempDir;

use crate::bundle::bundle;
use crate::rig::{Server, ok, status};

const FOLDER: &str = "CASEMATE_TEST_CACHE";

/// Writes to the cache without end: each round newer answers for the same needs, under changing documents.
#[test]
#[ignore = "part of the tests below, which start it"]
fn a_writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let cache = Cache::open(Path::new(&folder)).unwrap();
    for round in 1.. {
        let body = format!("{} {round} {}", std::process::id(), "x".repeat(20_000));
        let rims = [("A", body.as_str(), round), ("B", body.as_str(), round)];
        cache.import(&serde_json::to_vec(&bundle(&rims)).unwrap(), UnixTime(round)).unwrap();
    }
}

struct Writer(Child);

impl Writer {
    fn start(folder: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args(["processes::a_writer", "--exact", "--ignored"]).env(FOLDER, folder);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Writer {
    /// SIGKILL: no chance to clean up.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until there are entries.
fn wait(cache: &Cache) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while cache.list().unwrap().entries.len() < 2 {
        assert!(Instant::now() < deadline, "the writers write nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_processes_that_write_at_once_leave_a_whole_cache() {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut writers = [Writer::start(folder.path()), Writer::start(folder.path())];
    wait(&cache);
    std::thread::sleep(Duration::from_millis(300));
    for writer in &mut writers {
        assert_eq!(writer.0.try_wait().unwrap(), None, "a writer failed");
    }
    drop(writers);
    assert_eq!(cache.verify(), Ok(Vec::new()));
    assert_eq!(cache.list().unwrap().entries.len(), 2);
}

#[test]
fn a_writer_that_is_killed_leaves_a_whole_cache_and_no_lock() {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for round in 0..12 {
        let writer = Writer::start(folder.path());
        wait(&cache);
        std::thread::sleep(Duration::from_millis(20 + 3 * round));
        drop(writer);
        assert_eq!(cache.verify(), Ok(Vec::new()), "round {round}");
    }
    let last = bundle(&[("C", "c", 1)]);
    cache.import(&serde_json::to_vec(&last).unwrap(), UnixTime(1)).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0, "and what it left is gone");
    assert_eq!(cache.verify(), Ok(Vec::new()));
}

/// The example that fetches for `cargo xtask evidence`, which `cargo test` builds with the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the test runner collects these lines")]
async fn the_downloader_of_the_corpus_answers_each_line_and_needs_root_certificates_for_https_alone() {
    let program = std::env::current_exe().unwrap();
    let program = program.ancestors().nth(2).unwrap().join("examples/get");
    if !program.is_file() {
        return println!("SKIPPED: the example `get` is not built");
    }
    let server = Server::start().await;
    server.on("/o/r/c/a", [ok("a")]);
    server.on("/o/r/c/b", [status(500, ""), ok("b")]);
    let folder = TempDir::new().unwrap();
    let line = |name: &str, limit| format!("{}/o/r/c/{name} {}/{name} {limit}\n", server.base, folder.path().display());
    let lines = [
        line("a", 1),
        line("gone", 1),
        line("b", 1),
        line("a", 0),
        "https://127.0.0.1:1/x y 1\n".to_owned(),
        "nonsense\n".to_owned(),
    ]
    .concat();
    let answers = tokio::task::spawn_blocking(move || {
        // No root certificates, as in an image that is built FROM scratch.
        let mut command = Command::new(program);
        command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nowhere");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    });
    let answers = answers.await.unwrap().replace(server.base.trim_start_matches("http://"), "HOST");
    let expected = [
        "ok",
        "error: `HOST` does not have `/o/r/c/gone` (status 404)",
        "ok",
        "error: `HOST` answers `/o/r/c/a` with more than 0 bytes",
        "error: `127.0.0.1:1` is not asked, because this system has no root certificates: ",
        "error: no line of the form URL PATH LIMIT",
    ];
    assert_eq!(answers.lines().count(), expected.len(), "{answers}");
    for (answer, expected) in answers.lines().zip(expected) {
        assert!(answer.starts_with(expected), "{answer}");
    }
    assert_eq!(std::fs::read(folder.path().join("b")).unwrap(), b"b");
}
