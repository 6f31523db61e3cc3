//! A container's output: kept until it is read, in bounded memory.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::Notify;

use crate::agent_api::MAX_READ;

/// LIMIT: output that nobody reads. The oldest goes first, as when a log is rotated; the container is never held up.
const MAX_KEPT: usize = 1024 * 1024;

/// What a container has written and nobody has read yet.
#[derive(Default)]
pub(super) struct Output {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Output {
    /// Reads a pipe to its end in the background.
    pub(super) fn collect(self: &Arc<Self>, pipe: OwnedFd) -> std::io::Result<()> {
        let mut pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let output = Arc::clone(self);
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                match pipe.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => output.push(buffer.get(..read).unwrap_or_default()),
                }
            }
            output.end();
        });
        Ok(())
    }

    fn push(&self, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes.extend(bytes);
        let surplus = state.bytes.len().saturating_sub(MAX_KEPT);
        state.bytes.drain(..surplus);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Says that no more will come.
    pub(super) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_waiters();
    }

    /// Waits for output and takes up to `limit` bytes; `None` at the end.
    pub(super) async fn read(&self, limit: usize) -> Option<Vec<u8>> {
        let limit = if limit == 0 { MAX_READ } else { limit.min(MAX_READ) };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that what comes in between is not missed.
            changed.as_mut().enable();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if !state.bytes.is_empty() {
                    let end = state.bytes.len().min(limit);
                    return Some(state.bytes.drain(..end).collect());
                }
                if state.ended {
                    return None;
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_read_in_order_and_ends() {
        let output = Output::default();
        output.push(b"abc");
        assert_eq!(output.read(2).await.unwrap(), b"ab");
        output.push(b"d");
        output.end();
        assert_eq!(output.read(0).await.unwrap(), b"cd");
        assert_eq!(output.read(0).await, None);
    }

    #[tokio::test]
    async fn unread_output_is_bounded_and_the_newest_stays() {
        let output = Output::default();
        output.push(&vec![b'a'; MAX_KEPT]);
        output.push(b"end");
        output.end();
        let mut all = Vec::new();
        while let Some(bytes) = output.read(0).await {
            all.extend(bytes);
        }
        assert_eq!(all.len(), MAX_KEPT);
        assert!(all.ends_with(b"end"));
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let output = Arc::new(Output::default());
        let reader = Arc::clone(&output);
        let read = tokio::spawn(async move { reader.read(0).await });
        tokio::task::yield_now().await;
        output.push(b"x");
        assert_eq!(read.await.unwrap().unwrap(), b"x");
    }
}
