//! The kernel that this process runs on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, VsockAddr, connect, setsockopt, socket, sockopt::ReceiveTimeout,
    sockopt::SendTimeout,
};
use nix::sys::time::TimeVal;

use crate::kernel::{Kernel, Node, SevReply};
use crate::sys;

/// The host, as vsock knows it.
const HOST: u32 = 2;
/// LIMIT: a quote takes tens of milliseconds, and a busy host makes one at a time; the channel waits little longer.
const QUOTE_PATIENCE: i64 = 25;

/// The kernel's files and devices, below a root that only tests change.
#[derive(Clone, Debug)]
pub struct Linux {
    root: PathBuf,
}

impl Default for Linux {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Linux {
    /// The files below another root.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn device(&self, path: &str) -> Result<File, Errno> {
        OpenOptions::new().read(true).write(true).open(self.at(path)).map_err(errno)
    }
}

impl Kernel for Linux {
    fn look(&self, path: &str) -> Result<Node, Errno> {
        let kind = match fs::metadata(self.at(path)) {
            Ok(metadata) => metadata.file_type(),
            Err(error) => {
                return match errno(error) {
                    Errno::ENOENT | Errno::ENOTDIR => Ok(Node::Nothing),
                    errno => Err(errno),
                };
            }
        };
        Ok(if kind.is_dir() {
            Node::Folder
        } else if kind.is_file() {
            Node::File
        } else if kind.is_char_device() {
            Node::Device
        } else {
            Node::Other
        })
    }

    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, Errno> {
        let mut content = Vec::new();
        let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        File::open(self.at(path)).and_then(|file| file.take(cap).read_to_end(&mut content)).map_err(errno)?;
        if content.len() > limit { Err(Errno::EFBIG) } else { Ok(content) }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let mut file = OpenOptions::new().write(true).open(self.at(path)).map_err(errno)?;
        // An attribute takes what one call writes; a second call would be another write of it.
        match file.write(bytes).map_err(errno)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(Errno::EIO),
        }
    }

    fn make_folder(&self, path: &str) -> Result<(), Errno> {
        fs::create_dir(self.at(path)).map_err(errno)
    }

    fn remove_folder(&self, path: &str) -> Result<(), Errno> {
        fs::remove_dir(self.at(path)).map_err(errno)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.at(path)).map_err(errno)? {
            names.push(entry.map_err(errno)?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn sev_report(&self, report_data: &[u8; 64], vmpl: u32, extended: bool) -> Result<SevReply, Errno> {
        Ok(sys::sev_report(&self.device("/dev/sev-guest")?, report_data, vmpl, extended))
    }

    fn tdx_report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, Errno> {
        sys::tdx_report(&self.device("/dev/tdx_guest")?, report_data)
    }

    fn quoting_service(&self, port: u32, message: &[u8], limit: usize) -> Result<Vec<u8>, Errno> {
        let socket = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let patience = TimeVal::new(QUOTE_PATIENCE, 0);
        setsockopt(&socket, SendTimeout, &patience)?;
        setsockopt(&socket, ReceiveTimeout, &patience)?;
        connect(socket.as_raw_fd(), &VsockAddr::new(HOST, port))?;
        exchange(socket, message, limit).map_err(errno)
    }

    fn occlum_quote(&self, report_data: &[u8; 64], limit: usize) -> Result<Vec<u8>, Errno> {
        let device = File::open(self.at("/dev/sgx")).map_err(errno)?;
        sys::occlum_quote(&device, report_data, limit)
    }
}

/// One message each way, each behind its length.
fn exchange(socket: OwnedFd, message: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut stream = File::from(socket);
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[length.to_be_bytes().as_slice(), message].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > limit {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The system's number of an error. The standard library makes some errors by itself; a file that ends too early is one.
fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn files_are_found_below_the_root_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let linux = Linux::below(folder.path());
        assert_eq!(linux.look("/sys/x"), Ok(Node::Nothing));
        linux.make_folder("/sys").unwrap();
        fs::write(folder.path().join("sys/x"), "text").unwrap();
        assert_eq!((linux.look("/sys"), linux.look("/sys/x")), (Ok(Node::Folder), Ok(Node::File)));
        assert_eq!(linux.look("/sys/x/y"), Ok(Node::Nothing));
        assert_eq!(linux.list("/sys"), Ok(vec!["x".to_owned()]));
        assert_eq!(linux.read("/sys/x", 4), Ok(b"text".to_vec()));
        assert_eq!(linux.read("/sys/x", 3), Err(Errno::EFBIG));
        assert_eq!(linux.write("/sys/y", b"new"), Err(Errno::ENOENT));
        assert_eq!(linux.remove_folder("/nothing"), Err(Errno::ENOENT));
        assert_eq!(linux.look("/dev/null"), Ok(Node::Nothing));
        assert_eq!(Linux::default().look("/dev/null"), Ok(Node::Device));
    }

    #[test]
    fn a_device_that_is_another_one_answers_no_report() {
        let (linux, data) = (Linux::default(), [1; 64]);
        // Whatever this machine has: a path that does not exist, below a root without devices.
        let empty = tempfile::tempdir().unwrap();
        let nothing = Linux::below(empty.path());
        assert_eq!(nothing.sev_report(&data, 0, true), Err(Errno::ENOENT));
        assert_eq!(nothing.tdx_report(&data), Err(Errno::ENOENT));
        assert_eq!(nothing.occlum_quote(&data, 10), Err(Errno::ENOENT));
        // And a device that knows none of these calls.
        let null = linux.device("/dev/null").unwrap();
        assert_eq!(sys::sev_report(&null, &data, 0, true).outcome, Err(Errno::ENOTTY));
        assert_eq!(sys::tdx_report(&null, &data), Err(Errno::ENOTTY));
        assert_eq!(sys::occlum_quote(&null, &data, 10), Err(Errno::ENOTTY));
    }

    #[test]
    fn a_quoting_service_is_spoken_to_behind_lengths() {
        let answered = |answer: &'static [u8], limit| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let service = std::thread::spawn(move || {
                let mut request = [0; 9];
                theirs.read_exact(&mut request).unwrap();
                theirs.write_all(answer).unwrap();
                request
            });
            let outcome = exchange(ours.into(), b"quote", limit).map_err(errno);
            assert_eq!(&service.join().unwrap(), b"\0\0\0\x05quote");
            outcome
        };
        assert_eq!(answered(b"\0\0\0\x03yes", 3), Ok(b"yes".to_vec()));
        assert_eq!(answered(b"\0\0\0\x03yes", 2), Err(Errno::EMSGSIZE));
        assert_eq!(answered(b"\xff\xff\xff\xffyes", 100), Err(Errno::EMSGSIZE));
        assert_eq!(answered(b"\0\0\0\x04yes", 4), Err(Errno::EIO));
        assert_eq!(answered(b"", 4), Err(Errno::EIO));
    }
}
