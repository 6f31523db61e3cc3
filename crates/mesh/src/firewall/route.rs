//! Policy routing: a packet that the firewall has marked for the proxy is delivered here, whatever its destination.
//!
//! Traffic to the pod's own addresses needs no such route. It is there for destinations that only the network knows as
//! this pod's: virtual addresses of services that are not translated.
//!
//! Layouts are those of Linux' `include/uapi/linux/{fib_rules,rtnetlink}.h`.

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::nft::LOOPBACK;
use super::{FirewallError, Ipv6};
use crate::netlink::{ACK, Attributes, CREATE, EXCL, Message, NetlinkError, REPLACE, Socket};

/// The routing table and the priority of the rule that leads to it. Any number that the main tables (253 to 255) do not
/// have will do; the port of the user API is one that a reader recognises.
const TABLE: u32 = 1313;
const PRIORITY: u32 = 1313;

/// `RTM_NEWROUTE`.
const NEW_ROUTE: u16 = 24;
/// `RTM_NEWRULE`.
const NEW_RULE: u16 = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// `AF_INET`
    V4 = 2,
    /// `AF_INET6`
    V6 = 10,
}

impl Family {
    const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// `ip rule add fwmark MARK lookup TABLE`
fn rule(family: Family, mark: u32) -> Message {
    // struct fib_rule_hdr: family, dst_len, src_len, tos, table (RT_TABLE_UNSPEC: see FRA_TABLE), two reserved,
    // action (FR_ACT_TO_TBL), flags.
    let fixed = [family as u8, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    // FRA_PRIORITY, FRA_FWMARK, FRA_TABLE, FRA_FWMASK
    let attributes = Attributes::default().ne32(6, PRIORITY).ne32(10, mark).ne32(15, TABLE).ne32(16, u32::MAX);
    Message::new(format!("add {} routing rule", family.name()), NEW_RULE, CREATE | EXCL | ACK, &fixed, attributes)
}

/// `ip route replace local default dev lo table TABLE`
fn route(family: Family) -> Message {
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol (RTPROT_STATIC), scope (RT_SCOPE_HOST), type
    // (RTN_LOCAL), flags.
    let fixed = [family as u8, 0, 0, 0, 0, 4, 254, 2, 0, 0, 0, 0];
    // RTA_OIF, RTA_TABLE
    let attributes = Attributes::default().ne32(4, LOOPBACK).ne32(15, TABLE);
    Message::new(format!("add {} local route", family.name()), NEW_ROUTE, CREATE | REPLACE | ACK, &fixed, attributes)
}

fn install(socket: &Socket, family: Family, mark: u32) -> Result<(), NetlinkError> {
    match socket.transact(&[rule(family, mark)]) {
        Err(NetlinkError::Refused { errno: Errno::EEXIST, .. }) => {}
        other => other?,
    }
    socket.transact(&[route(family)])
}

/// Puts the routes in place, or finds them there.
pub(super) fn apply(mark: u32) -> Result<Ipv6, FirewallError> {
    let socket = Socket::open(SockProtocol::NetlinkRoute)?;
    install(&socket, Family::V4, mark)?;
    match install(&socket, Family::V6, mark) {
        Ok(()) => Ok(Ipv6::Available),
        // Compiled out: no such family. Switched off on the loopback interface: the route is refused with EACCES (older
        // kernels) or EINVAL. Without the route nothing is opened, so this errs on the closed side.
        Err(NetlinkError::Refused {
            errno:
                errno @ (Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP | Errno::EPFNOSUPPORT | Errno::EACCES | Errno::EINVAL),
            ..
        }) => Ok(Ipv6::Unavailable { errno: errno as i32 }),
        Err(error) => Err(error.into()),
    }
}
