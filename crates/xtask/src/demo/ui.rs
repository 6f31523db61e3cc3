//! Showing a demonstration: a line that moves on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(100);
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Carriage return, erase the line.
const CLEAR: &str = "\r\x1b[2K";

/// The display.
pub(crate) struct Ui {
    shared: Arc<Shared>,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

struct Shared {
    terminal: bool,
    /// The running step's title and start.
    status: Mutex<Option<(String, Instant)>>,
}

impl Ui {
    /// A display on standard error.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let shared = Arc::new(Shared { terminal, status: Mutex::new(None) });
        let ticker = terminal.then(|| {
            let (stop, stopped) = mpsc::channel();
            let shared = Arc::clone(&shared);
            let thread = std::thread::spawn(move || {
                let mut frame = 0;
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    frame = (frame + 1) % FRAMES.len();
                    shared.draw(FRAMES[frame]);
                }
            });
            (stop, thread)
        });
        Self { shared, ticker }
    }

    /// A step begins.
    pub(crate) fn begin(&self, title: &str) {
        self.line("");
        self.line(&format!("== {title}"));
        *self.shared.status() = Some((title.to_owned(), Instant::now()));
    }

    /// A step ended.
    pub(crate) fn end(&self, ok: bool, seconds: f64) {
        *self.shared.status() = None;
        self.line(&format!("== {} after {seconds:.2} s", if ok { "ok" } else { "FAILED" }));
    }

    /// No moving line for the rest of the step, because another program writes to the terminal.
    pub(crate) fn hide(&self) {
        *self.shared.status() = None;
        self.line("");
    }

    /// A line of text, above the moving line.
    pub(crate) fn line(&self, text: &str) {
        // The lock keeps the moving line from being drawn in the middle of this.
        let _status = self.shared.status();
        let clear = if self.shared.terminal { CLEAR } else { "" };
        note!("{clear}{text}");
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            let _ = thread.join();
            note_part!("{CLEAR}");
        }
    }
}

impl Shared {
    fn status(&self) -> std::sync::MutexGuard<'_, Option<(String, Instant)>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, frame: &str) {
        let status = self.status();
        if let Some((title, since)) = &*status {
            let mut out = std::io::stderr().lock();
            // A terminal that went away is no reason to stop.
            let _ = write!(out, "{CLEAR}{frame} {title} ({:.0} s)", since.elapsed().as_secs_f64());
            let _ = out.flush();
        }
    }
}
