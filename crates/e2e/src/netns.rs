//! Sockets in a pod's network namespace, which the host made and may enter.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns};

/// Listens inside a network namespace. The thread that enters it ends with the call; the socket stays there.
pub(crate) fn listen(namespace: &Path, address: SocketAddrV4) -> anyhow::Result<TcpListener> {
    let file = File::open(namespace).with_context(|| format!("open `{}`", namespace.display()))?;
    let thread = std::thread::spawn(move || -> anyhow::Result<TcpListener> {
        setns(file, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        TcpListener::bind(address).with_context(|| format!("listen on {address} in it"))
    });
    thread.join().map_err(|_| anyhow::anyhow!("the thread in the namespace panicked"))?
}

/// Forwards connections until it is dropped.
pub(crate) struct Forwarder(Arc<AtomicBool>);

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Forwards each connection of a listener to an address.
pub(crate) fn forward(listener: TcpListener, target: SocketAddr) -> anyhow::Result<Forwarder> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    listener.set_nonblocking(true)?;
    std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((inside, _)) => {
                    if let Ok(outside) = TcpStream::connect(target) {
                        join(inside, outside);
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    Ok(Forwarder(stop))
}

fn join(inside: TcpStream, outside: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                match from.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => {
                        if to.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                            break;
                        }
                    }
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    };
    let pair = || -> io::Result<_> { Ok((inside.try_clone()?, outside.try_clone()?)) };
    if inside.set_nonblocking(false).is_err() {
        return;
    }
    if let Ok((other_inside, other_outside)) = pair() {
        copy(inside, outside);
        copy(other_outside, other_inside);
    }
}
