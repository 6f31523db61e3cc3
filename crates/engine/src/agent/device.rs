//! The agent's side of the TEE device.

use std::os::unix::net::UnixStream as StdStream;

use protocol::software::{ParseReportError, SoftwareReport};
use protocol::{Digest, Evidence, ReportData, Tee};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, oneshot};

use crate::frame::{self, FrameError};
use crate::tee_api::device::{FromAgent, ToAgent};

/// A report that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("the TEE device failed: {0}")]
    Frame(#[from] FrameError),
    #[error("the TEE gave no report: {0}")]
    Refused(String),
    #[error("the TEE gave no report: {0}")]
    Report(#[from] ParseReportError),
}

/// The HOSTDATA of this pod, from a report of its own. Blocking; for the start-up check.
pub(crate) fn own_host_data(device: &mut StdStream) -> Result<Digest, DeviceError> {
    frame::write(device, &FromAgent::Report { report_data: vec![0; 64] })?;
    match frame::read(device)? {
        ToAgent::Report(body) => Ok(SoftwareReport::parse(&body)?.host_data),
        ToAgent::Error { message } => Err(DeviceError::Refused(message)),
    }
}

/// The device, once the pod runs. One report at a time, as on hardware.
pub(crate) struct Device(Mutex<UnixStream>);

impl Device {
    /// Takes the device over; the receiver says when the TEE has gone.
    pub(crate) fn start(device: StdStream) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        device.set_nonblocking(true)?;
        let watched = device.try_clone()?;
        let (sender, gone) = oneshot::channel();
        // A thread that sleeps until the TEE closes its end. Readable data does not wake it: that is an answer for
        // whoever asked.
        std::thread::Builder::new().name("device".into()).spawn(move || {
            let mut fds = [PollFd::new(&watched, PollFlags::RDHUP)];
            while matches!(poll(&mut fds, None), Err(rustix::io::Errno::INTR)) {}
            let _ = sender.send(());
        })?;
        Ok((Self(Mutex::new(UnixStream::from_std(device)?)), gone))
    }

    /// Evidence over `report_data`.
    pub(crate) async fn evidence(&self, report_data: &ReportData) -> Result<Evidence, DeviceError> {
        let mut device = self.0.lock().await;
        frame::write_async(&mut *device, &FromAgent::Report { report_data: report_data.0.to_vec() }).await?;
        match frame::read_async(&mut *device).await? {
            ToAgent::Report(body) => Ok(Evidence::new(Tee::Software, body)),
            ToAgent::Error { message } => Err(DeviceError::Refused(message)),
        }
    }

    /// Tells the TEE that the socket is served.
    pub(crate) async fn ready(&self) -> std::io::Result<()> {
        let mut device = self.0.lock().await;
        frame::write_async(&mut *device, &FromAgent::Ready).await.map_err(std::io::Error::other)
    }
}
