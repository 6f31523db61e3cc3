//! The role `tee`: the processor of the local engine. It measures the agent, starts pods, and signs reports.
//!
//! It holds the root key, so it is the one trusted process of the local mode, and it is small: blocking sockets, one
//! thread for each connection and for each pod. It ends when its standard input does, and every pod with it.

mod pods;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::error::EngineError;
use crate::frame::{self, FrameError};
use crate::identity;
use crate::launcher::ContainerLauncher;
use crate::paths::Paths;
use crate::tee_api::{Reply, Request};

use pods::Pods;

/// Runs the role: `tee WORKSPACE`. One byte on standard output says that the socket is served.
pub(crate) fn run(workspace: PathBuf) -> ExitCode {
    match serve(&workspace) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("tee: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(workspace: &Path) -> Result<(), EngineError> {
    let paths = Paths::of(workspace)?;
    let key = identity::root_key(&paths)?;
    let socket = paths.tee_socket();
    let failed = |error: &dyn std::fmt::Display| EngineError::io(format!("serve `{}`", socket.display()), error);
    std::fs::create_dir_all(paths.run().join("pods")).map_err(|error| failed(&error))?;
    std::fs::set_permissions(paths.run(), std::fs::Permissions::from_mode(0o700)).map_err(|error| failed(&error))?;
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).map_err(|error| failed(&error))?;
    let pods = Arc::new(Pods::new(paths, key, Box::new(ContainerLauncher)));
    let accepting = Arc::clone(&pods);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pods = Arc::clone(&accepting);
            std::thread::spawn(move || {
                if let Err(error) = serve_connection(&pods, stream)
                    && !matches!(error, FrameError::Closed | FrameError::Io(_))
                {
                    tracing::warn!("tee: connection ended: {error}");
                }
            });
        }
    });
    std::io::Write::write_all(&mut std::io::stdout(), b"+").map_err(|error| failed(&error))?;
    std::io::Write::flush(&mut std::io::stdout()).map_err(|error| failed(&error))?;
    // The measurement is taken while the network is being made, and not when the first pod waits for it.
    pods.measurement()?;
    // Whoever started the engine holds the other end. When it is gone, nobody would restart, probe or stop the pods.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    pods.stop_all();
    Ok(())
}

fn serve_connection(pods: &Arc<Pods>, mut stream: UnixStream) -> Result<(), FrameError> {
    loop {
        let reply = match frame::read(&mut stream)? {
            Request::Launch(launch) => pods.launch(launch),
            Request::Stop { pod } => pods.stop(&pod),
            Request::Wait { pod } => pods.wait(&pod),
            Request::List => Ok(Reply::Pods(pods.names())),
        };
        frame::write(&mut stream, &reply.unwrap_or_else(Reply::Error))?;
    }
}
