//! The control socket.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::control::{Answer, Request};
use crate::error::EngineError;
use crate::tee_api;

use super::engine::Engine;
use super::link;

/// LIMIT: a request is one short line.
const MAX_LINE: u64 = 64 * 1024;

/// Serves the socket; the receiver gets a message when somebody wants the engine stopped. The stopped engine's answer
/// is the end of the connection: by then nothing is left to answer.
pub(super) fn start(engine: Arc<Engine>) -> Result<mpsc::Receiver<()>, EngineError> {
    let socket = engine.paths.control_socket();
    let listener = UnixListener::bind(&socket)
        .map_err(|error| EngineError::io(format!("serve `{}`", socket.display()), &error))?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (engine, sender) = (Arc::clone(&engine), sender.clone());
            tokio::spawn(async move {
                if let Err(error) = connection(engine, stream, sender).await {
                    tracing::debug!("control: {error}");
                }
            });
        }
    });
    Ok(receiver)
}

async fn connection(engine: Arc<Engine>, mut stream: UnixStream, stop: mpsc::Sender<()>) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        if (&mut read).take(MAX_LINE).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                let reason = format!("not a request: {error}");
                send(&mut write, &Answer::Error(EngineError::Bug { reason })).await?;
                continue;
            }
        };
        match request {
            Request::Events => return events(&engine, &mut write).await,
            Request::Stop => {
                let _ = stop.send(()).await;
                // Held open until the engine is gone, which the caller sees as the end.
                return std::future::pending().await;
            }
            other => {
                let answer = answer(&engine, other).await.unwrap_or_else(Answer::Error);
                send(&mut write, &answer).await?;
            }
        }
    }
}

async fn send<T: Serialize>(write: &mut (impl tokio::io::AsyncWrite + Unpin), message: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    write.write_all(&line).await
}

async fn events(engine: &Engine, write: &mut (impl tokio::io::AsyncWrite + Unpin)) -> std::io::Result<()> {
    let (past, mut feed) = engine.events();
    for event in past {
        send(write, &event).await?;
    }
    loop {
        match feed.recv().await {
            Ok(event) => send(write, &event).await?,
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

async fn answer(engine: &Arc<Engine>, request: Request) -> Result<Answer, EngineError> {
    match request {
        Request::Ps => Ok(Answer::Pods(engine.ps())),
        Request::Services => Ok(Answer::Services(engine.services())),
        Request::Scale { name, replicas } => engine.scale(&name, replicas).await.map(|()| Answer::Done),
        Request::Kill { pod } => {
            let pod = engine.pod(&pod)?;
            engine.event(&format!("pod/{}", pod.name), "Killing", "as a crash of its machine would");
            pod.expect_crash();
            let request = tee_api::Request::Stop { pod: pod.name.clone() };
            match link::tee(&engine.paths.tee_socket(), &request).await {
                Ok(_) => Ok(Answer::Done),
                Err(error) => Err(EngineError::io(format!("kill the pod `{}`", pod.name), &error)),
            }
        }
        Request::WaitReady { milliseconds } => {
            engine.wait_ready(Duration::from_millis(milliseconds)).await.map(|()| Answer::Done)
        }
        Request::Attach { name } => engine.attach(&name).await.map(Answer::Attached),
        Request::Detach { name } => {
            engine.detach(&name).await;
            Ok(Answer::Done)
        }
        Request::Stop | Request::Events => Err(EngineError::Bug { reason: "answered elsewhere".into() }),
    }
}
