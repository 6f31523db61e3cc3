//! What an Attester asks of the kernel, as a trait: the real one is [`Linux`](crate::Linux), and tests put a kernel of
//! their own in its place, because plain files cannot imitate attributes that count, refuse and race.

use std::fmt::Debug;
use std::time::Duration;

use nix::errno::Errno;

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// Nothing.
    Nothing,
    /// A folder.
    Folder,
    /// A regular file, or an attribute of a pseudo file system.
    File,
    /// A character device.
    Device,
    /// Something else.
    Other,
}

/// What `/dev/sev-guest` gave back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SevReply {
    /// How the call ended.
    pub outcome: Result<(), Errno>,
    /// Firmware's error in the low half, the hypervisor's in the high one (`exitinfo2`).
    pub error: u64,
    /// The message of the firmware: status, size, 24 reserved bytes, report.
    pub response: Vec<u8>,
    /// The certificate table as the host gave it, with whatever stands behind it; empty when none was asked for.
    pub certificates: Vec<u8>,
}

/// LIMIT: `SEV_FW_BLOB_MAX_SIZE` of Linux: no larger certificate table is handed to a guest.
pub const MAX_CERTIFICATES: usize = 16 * 1024;

/// The kernel's interfaces to a TEE. Paths are absolute. Every call may block for as long as a quote takes, so none is to
/// be made from an executor's thread. Nothing that a call returns is trustworthy by itself: it only ever goes to a peer,
/// who verifies it.
pub trait Kernel: Send + Sync + Debug {
    /// What is at `path`. A path that does not exist is no error.
    fn look(&self, path: &str) -> Result<Node, Errno>;
    /// The whole content, at most `limit` bytes; more is [`Errno::EFBIG`].
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, Errno>;
    /// Opens what exists, writes once, closes. Binary attributes of configfs are taken when the file is closed, and whether
    /// they were is not reported.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Errno>;
    /// Makes a folder.
    fn make_folder(&self, path: &str) -> Result<(), Errno>;
    /// Removes a folder as configfs has them: with attributes in it, which are no files of ours.
    fn remove_folder(&self, path: &str) -> Result<(), Errno>;
    /// The names in a folder.
    fn list(&self, path: &str) -> Result<Vec<String>, Errno>;
    /// A variable of this process's environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Waits before a second attempt.
    fn pause(&self, time: Duration);
    /// `SNP_GET_EXT_REPORT` of `/dev/sev-guest` with room for [`MAX_CERTIFICATES`], or `SNP_GET_REPORT` when `extended` is
    /// false. The outer error is that the device could not be opened.
    fn sev_report(&self, report_data: &[u8; 64], vmpl: u32, extended: bool) -> Result<SevReply, Errno>;
    /// `TDX_CMD_GET_REPORT0` of `/dev/tdx_guest`: a TDREPORT, which only this machine can check.
    fn tdx_report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, Errno>;
    /// Sends a message to the host's quoting service at this vsock port, and gives its answer of at most `limit` bytes. Both
    /// are preceded by their length in four bytes, big-endian.
    fn quoting_service(&self, port: u32, message: &[u8], limit: usize) -> Result<Vec<u8>, Errno>;
    /// `SGXIOC_GET_DCAP_QUOTE_SIZE` and `SGXIOC_GEN_DCAP_QUOTE` of Occlum's `/dev/sgx`: a quote of at most `limit` bytes.
    fn occlum_quote(&self, report_data: &[u8; 64], limit: usize) -> Result<Vec<u8>, Errno>;
}
