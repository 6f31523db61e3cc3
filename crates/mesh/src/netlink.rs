//! As much of netlink as [`crate::firewall`] needs: messages with attributes out, one answer in.
//!
//! Layouts are those of Linux' `include/uapi/linux/netlink.h` (RFC 3549 describes the idea). Everything that is written
//! here comes from this process and everything that is read comes from the kernel, yet lengths are checked all the same.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLMSG_ERROR`: an answer with an errno, 0 for success.
const NLMSG_ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
pub(crate) const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
pub(crate) const ACK: u16 = 4;
/// `NLM_F_REPLACE`.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`.
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub(crate) const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// LIMIT: the kernel answers a batch of this size in microseconds; it has up to a second when it must first load a module.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Attributes (`struct nlattr`), back to back, each padded to four bytes.
#[derive(Clone, Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// Raw bytes.
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("our attributes are far below 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A number in network order, as netfilter takes it.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A number in the machine's order, as rtnetlink takes it.
    pub(crate) fn ne32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Text with its terminating zero.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Attributes inside an attribute.
    pub(crate) fn nest(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// One message: a type, flags, the fixed header of its protocol and attributes.
pub(crate) struct Message {
    /// What it does, for errors.
    pub(crate) step: String,
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A request.
    pub(crate) fn new(step: impl Into<String>, kind: u16, flags: u16, fixed: &[u8], attributes: Attributes) -> Self {
        let mut body = fixed.to_vec();
        body.extend_from_slice(&attributes.0);
        Self { step: step.into(), kind, flags: flags | REQUEST, body }
    }

    /// The same with more flags.
    pub(crate) fn with_flags(self, flags: u16) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    fn encode(&self, sequence: u32, into: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.body.len()).expect("a message is far below 4 GiB");
        into.extend_from_slice(&length.to_ne_bytes());
        into.extend_from_slice(&self.kind.to_ne_bytes());
        into.extend_from_slice(&self.flags.to_ne_bytes());
        into.extend_from_slice(&sequence.to_ne_bytes());
        // The kernel fills in the sender's port.
        into.extend_from_slice(&0u32.to_ne_bytes());
        into.extend_from_slice(&self.body);
        into.resize(into.len().next_multiple_of(4), 0);
    }
}

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    /// The socket could not be had, written or read.
    #[error("netlink socket")]
    Socket(#[source] io::Error),
    /// The kernel refused a message.
    #[error("{step}")]
    Refused {
        /// The step of the refused message.
        step: String,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// An answer that is none.
    #[error("netlink answer of {got} bytes makes no sense")]
    Malformed {
        /// Its length.
        got: usize,
    },
}

/// A netlink socket in the network namespace of the calling thread.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Opens a socket.
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self, NetlinkError> {
        let open = || {
            let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            let timeout = TimeVal::milliseconds(i64::try_from(ANSWER_TIMEOUT.as_millis()).unwrap_or(i64::MAX));
            setsockopt(&fd, ReceiveTimeout, &timeout)?;
            Ok(fd)
        };
        open().map(Self).map_err(|errno: Errno| NetlinkError::Socket(errno.into()))
    }

    /// Sends messages as one datagram and takes the kernel's first answer as the outcome.
    ///
    /// Exactly one message, the last that matters, must ask for an [`ACK`]. The kernel answers refused messages whether
    /// they ask or not, and answers in the order of the messages, so the first answer is either the first refusal or the
    /// acknowledgement of all of them.
    pub(crate) fn transact(&self, messages: &[Message]) -> Result<(), NetlinkError> {
        let mut datagram = Vec::new();
        for (sequence, message) in (1u32..).zip(messages) {
            message.encode(sequence, &mut datagram);
        }
        let failed = |errno: Errno| NetlinkError::Socket(errno.into());
        send(self.0.as_raw_fd(), &datagram, MsgFlags::empty()).map_err(failed)?;
        let mut answer = [0; 512];
        // Longer answers are cut; the errno and the sequence number are at the front.
        let length = loop {
            let (length, sender) = recvfrom::<NetlinkAddr>(self.0.as_raw_fd(), &mut answer).map_err(failed)?;
            // Any process may send to our port; only the kernel is port 0.
            if sender.is_some_and(|sender| sender.pid() == 0) {
                break length;
            }
        };
        let (sequence, errno) = parse_answer(&answer[..length]).ok_or(NetlinkError::Malformed { got: length })?;
        if errno == 0 {
            return Ok(());
        }
        let index = usize::try_from(sequence).unwrap_or_default().saturating_sub(1);
        let step = messages.get(index).map_or_else(|| "netlink request".to_owned(), |message| message.step.clone());
        Err(NetlinkError::Refused { step, errno: Errno::from_raw(errno) })
    }
}

/// Sequence number and errno of an `NLMSG_ERROR`.
fn parse_answer(bytes: &[u8]) -> Option<(u32, i32)> {
    let field = |offset: usize| Some(<[u8; 4]>::try_from(bytes.get(offset..offset + 4)?).unwrap_or_default());
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    if kind != NLMSG_ERROR {
        return None;
    }
    let sequence = u32::from_ne_bytes(field(8)?);
    let negated = i32::from_ne_bytes(field(HEADER)?);
    Some((sequence, negated.checked_neg()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let attributes = Attributes::default().nest(1, Attributes::default().text(2, "ab").be32(3, 1));
        let mut expected = Vec::new();
        expected.extend_from_slice(&20u16.to_ne_bytes());
        expected.extend_from_slice(&(1u16 | NESTED).to_ne_bytes());
        expected.extend_from_slice(&7u16.to_ne_bytes());
        expected.extend_from_slice(&2u16.to_ne_bytes());
        expected.extend_from_slice(b"ab\0\0");
        expected.extend_from_slice(&8u16.to_ne_bytes());
        expected.extend_from_slice(&3u16.to_ne_bytes());
        expected.extend_from_slice(&[0, 0, 0, 1]);
        assert_eq!(attributes.0, expected);
    }

    #[test]
    fn an_answer_gives_sequence_and_errno() {
        let mut answer = Vec::new();
        Message::new("x", NLMSG_ERROR, 0, &(-17i32).to_ne_bytes(), Attributes::default()).encode(9, &mut answer);
        assert_eq!(parse_answer(&answer), Some((9, 17)));
    }

    #[test]
    fn answers_that_are_cut_or_of_another_kind_are_none() {
        let mut answer = Vec::new();
        Message::new("x", NLMSG_ERROR, 0, &0i32.to_ne_bytes(), Attributes::default()).encode(1, &mut answer);
        for length in 0..answer.len() {
            assert_eq!(parse_answer(&answer[..length]), None, "{length}");
        }
        let mut other = Vec::new();
        Message::new("x", 3, 0, &0i32.to_ne_bytes(), Attributes::default()).encode(1, &mut other);
        assert_eq!(parse_answer(&other), None);
    }

    #[test]
    fn a_request_that_the_kernel_does_not_know_is_refused_with_its_step() {
        let socket = Socket::open(SockProtocol::NetlinkRoute).unwrap();
        let message = Message::new("a made-up request", 0x3ff, ACK, &[0; 12], Attributes::default());
        let error = socket.transact(&[message]).unwrap_err();
        assert!(matches!(&error, NetlinkError::Refused { step, .. } if step == "a made-up request"), "{error:?}");
    }
}
