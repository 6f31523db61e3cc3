//! The supervisor's connections to the TEE and to the agents.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::net::UnixStream;

use crate::agent_api::{Call, CallError, Reply};
use crate::frame::{self, FrameError};
use crate::tee_api;

/// A pod's agent. Each use of it that may wait long has a connection of its own.
#[derive(Clone, Debug)]
pub(super) struct Agent(pub(super) PathBuf);

impl Agent {
    pub(super) async fn connect(&self) -> Result<Connection, CallError> {
        let stream = UnixStream::connect(&self.0).await.map_err(FrameError::Io)?;
        Ok(Connection(stream))
    }

    /// One call on a connection of its own.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, CallError> {
        self.connect().await?.call(call).await
    }
}

/// A connection to an agent.
#[derive(Debug)]
pub(super) struct Connection(UnixStream);

impl Connection {
    pub(super) async fn call(&mut self, call: &Call) -> Result<Value, CallError> {
        frame::write_async(&mut self.0, call).await?;
        match frame::read_async(&mut self.0).await? {
            Reply::Ok(value) => Ok(value),
            Reply::Error(error) => Err(error.into()),
        }
    }
}

/// One request to the TEE on a connection of its own.
pub(super) async fn tee(socket: &Path, request: &tee_api::Request) -> Result<tee_api::Reply, tee_api::CallError> {
    let mut stream = UnixStream::connect(socket).await.map_err(FrameError::Io)?;
    frame::write_async(&mut stream, request).await?;
    match frame::read_async(&mut stream).await? {
        tee_api::Reply::Error(error) => Err(error.into()),
        reply => Ok(reply),
    }
}
