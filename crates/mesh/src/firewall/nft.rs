//! The few nf_tables objects and expressions that our ruleset is made of, as netlink attributes.
//!
//! Numbers and layouts are those of Linux' `include/uapi/linux/netfilter/nf_tables.h`; each constant carries the
//! kernel's name for it. `tests/it/firewall.rs` lets the kernel and `nft list` read back what is written here.

use crate::netlink::{ACK, APPEND, Attributes, CREATE, Message};

/// The table, in family `inet`, so that one ruleset covers IPv4 and IPv6.
pub(super) const TABLE: &str = "casemate";

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 0x11;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `NFT_MSG_NEWTABLE`.
const NEW_TABLE: u16 = 0;
/// `NFT_MSG_DELTABLE`.
const DELETE_TABLE: u16 = 2;
/// `NFT_MSG_NEWCHAIN`.
const NEW_CHAIN: u16 = 3;
/// `NFT_MSG_NEWRULE`.
const NEW_RULE: u16 = 6;
/// `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;
/// `NFT_REG_1`, the one register that our rules need.
const REGISTER: u32 = 1;

/// `struct nfgenmsg`: family, version 0, resource id in network order.
fn generic(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn message(step: impl Into<String>, kind: u16, flags: u16, attributes: Attributes) -> Message {
    Message::new(step, SUBSYSTEM << 8 | kind, flags, &generic(INET, 0), attributes)
}

/// What begins a transaction.
pub(super) fn batch_begin() -> Message {
    Message::new("begin", BATCH_BEGIN, 0, &generic(0, SUBSYSTEM), Attributes::default())
}

/// What commits it.
pub(super) fn batch_end() -> Message {
    Message::new("commit", BATCH_END, 0, &generic(0, SUBSYSTEM), Attributes::default())
}

/// Creates the table if it is not there.
pub(super) fn create_table() -> Message {
    // NFTA_TABLE_NAME
    message("create table", NEW_TABLE, CREATE, Attributes::default().text(1, TABLE))
}

/// Deletes the table, which must be there.
pub(super) fn delete_table() -> Message {
    message("delete table", DELETE_TABLE, 0, Attributes::default().text(1, TABLE))
}

/// Where a chain hooks in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hook {
    /// `NF_INET_PRE_ROUTING`
    Prerouting = 0,
    /// `NF_INET_LOCAL_IN`
    Input = 1,
    /// `NF_INET_FORWARD`
    Forward = 2,
    /// `NF_INET_LOCAL_OUT`
    Output = 3,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// `NF_DROP`
    Drop = 0,
    /// `NF_ACCEPT`
    Accept = 1,
}

/// A base chain of type `filter`.
pub(super) struct Chain {
    /// Its name.
    pub(super) name: &'static str,
    /// Its hook.
    pub(super) hook: Hook,
    /// Its priority: -150 is `mangle`, after connection tracking (-200); 0 is `filter`.
    pub(super) priority: i32,
    /// For packets that no rule decides.
    pub(super) policy: Verdict,
    /// Its rules.
    pub(super) rules: Vec<Rule>,
}

impl Chain {
    /// The messages that make it.
    pub(super) fn messages(&self) -> Vec<Message> {
        // NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY
        let hook = Attributes::default().be32(1, self.hook as u32).bytes(2, &self.priority.to_be_bytes());
        // NFTA_CHAIN_TABLE, _NAME, _HOOK, _POLICY, _TYPE
        let attributes = Attributes::default()
            .text(1, TABLE)
            .text(3, self.name)
            .nest(4, hook)
            .be32(5, self.policy as u32)
            .text(7, "filter");
        let mut messages = vec![message(format!("create chain `{}`", self.name), NEW_CHAIN, CREATE, attributes)];
        messages.extend(self.rules.iter().map(|rule| {
            // NFTA_RULE_TABLE, _CHAIN, _EXPRESSIONS
            let attributes = Attributes::default().text(1, TABLE).text(2, self.name).nest(4, rule.list());
            message(format!("add rule `{}` to chain `{}`", rule.text, self.name), NEW_RULE, CREATE | APPEND, attributes)
        }));
        messages
    }
}

/// Asks the kernel to acknowledge this message.
pub(super) fn acknowledged(message: Message) -> Message {
    message.with_flags(ACK)
}

/// A rule under construction: expressions, each of which either lets the next one run or ends the rule.
#[derive(Default)]
pub(super) struct Rule {
    /// The rule as `nft` would print it, for errors.
    text: String,
    expressions: Vec<(&'static str, Attributes)>,
}

/// A field of `meta` that our rules match on.
#[derive(Clone, Copy)]
enum Meta {
    /// `NFT_META_MARK`
    Mark = 3,
    /// `NFT_META_IIF`
    InputInterface = 4,
    /// `NFT_META_OIF`
    OutputInterface = 5,
    /// `NFT_META_SKUID`
    SocketUser = 10,
    /// `NFT_META_NFPROTO`
    Family = 15,
    /// `NFT_META_L4PROTO`
    Protocol = 16,
}

/// `NFT_CMP_EQ` and `NFT_CMP_NEQ`.
#[derive(Clone, Copy)]
enum Compare {
    Equal = 0,
    NotEqual = 1,
}

/// A bit of `ct state` (`NF_CT_STATE_BIT`).
#[derive(Clone, Copy)]
pub(super) enum State {
    /// `IP_CT_ESTABLISHED`
    Established = 2,
    /// `IP_CT_RELATED`
    Related = 4,
}

/// The loopback interface is the first of every network namespace (`LOOPBACK_IFINDEX`); unlike its name, its index
/// cannot be given to another interface.
pub(super) const LOOPBACK: u32 = 1;

/// `IPPROTO_ICMP`, `IPPROTO_TCP`, `IPPROTO_ICMPV6`.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    Icmp = 1,
    Tcp = 6,
    Icmpv6 = 58,
}

impl Rule {
    fn expression(mut self, name: &'static str, attributes: Attributes) -> Self {
        self.expressions.push((name, attributes));
        self
    }

    fn note(mut self, text: impl AsRef<str>) -> Self {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text.as_ref());
        self
    }

    fn load_meta(self, key: Meta) -> Self {
        // NFTA_META_DREG, NFTA_META_KEY
        self.expression("meta", Attributes::default().be32(1, REGISTER).be32(2, key as u32))
    }

    /// Loads `length` bytes at `offset` of the network (1) or transport (2) header.
    fn load_payload(self, base: u32, offset: u32, length: u32) -> Self {
        // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN
        let attributes = Attributes::default().be32(1, REGISTER).be32(2, base).be32(3, offset).be32(4, length);
        self.expression("payload", attributes)
    }

    fn compare(self, operator: Compare, value: &[u8]) -> Self {
        // NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA with NFTA_DATA_VALUE
        let data = Attributes::default().bytes(1, value);
        self.expression("cmp", Attributes::default().be32(1, REGISTER).be32(2, operator as u32).nest(3, data))
    }

    fn load_immediate(self, value: &[u8]) -> Self {
        // NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA with NFTA_DATA_VALUE
        let data = Attributes::default().bytes(1, value);
        self.expression("immediate", Attributes::default().be32(1, REGISTER).nest(2, data))
    }

    fn protocol(self, protocol: Protocol) -> Self {
        self.load_meta(Meta::Protocol).compare(Compare::Equal, &[protocol as u8])
    }

    /// Packets that came in over the loopback interface.
    pub(super) fn in_on_loopback(self) -> Self {
        self.note("iif lo").load_meta(Meta::InputInterface).compare(Compare::Equal, &LOOPBACK.to_ne_bytes())
    }

    /// Packets that go out over the loopback interface.
    pub(super) fn out_on_loopback(self) -> Self {
        self.note("oif lo").load_meta(Meta::OutputInterface).compare(Compare::Equal, &LOOPBACK.to_ne_bytes())
    }

    /// IPv4 packets to 127.0.0.0/8.
    pub(super) fn for_loopback_v4(self) -> Self {
        // `NFPROTO_IPV4`; the destination is at offset 16 of an IPv4 header, and a /8 is its first byte.
        self.note("ip daddr 127.0.0.0/8")
            .load_meta(Meta::Family)
            .compare(Compare::Equal, &[2])
            .load_payload(1, 16, 1)
            .compare(Compare::Equal, &[127])
    }

    /// IPv6 packets to ::1.
    pub(super) fn for_loopback_v6(self) -> Self {
        // `NFPROTO_IPV6`; the destination is at offset 24 of an IPv6 header.
        self.note("ip6 daddr ::1")
            .load_meta(Meta::Family)
            .compare(Compare::Equal, &[10])
            .load_payload(1, 24, 16)
            .compare(Compare::Equal, &std::net::Ipv6Addr::LOCALHOST.octets())
    }

    /// TCP to a port.
    pub(super) fn tcp_to(self, port: u16) -> Self {
        // The destination port is at offset 2 of a TCP header.
        self.note(format!("tcp dport {port}"))
            .protocol(Protocol::Tcp)
            .load_payload(2, 2, 2)
            .compare(Compare::Equal, &port.to_be_bytes())
    }

    /// One ICMPv6 type.
    pub(super) fn icmpv6_type(self, kind: u8) -> Self {
        self.note(format!("icmpv6 type {kind}"))
            .protocol(Protocol::Icmpv6)
            .load_payload(2, 0, 1)
            .compare(Compare::Equal, &[kind])
    }

    /// Packets of one transport protocol.
    pub(super) fn of(self, protocol: Protocol) -> Self {
        self.note(format!("meta l4proto {}", protocol as u8)).protocol(protocol)
    }

    /// Packets in a state of connection tracking.
    pub(super) fn state(self, state: State) -> Self {
        let mask = (state as u32).to_ne_bytes();
        // NFTA_CT_DREG, NFTA_CT_KEY = NFT_CT_STATE
        let load = Attributes::default().be32(1, REGISTER).be32(2, 0);
        // NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR
        let value = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let and = Attributes::default()
            .be32(1, REGISTER)
            .be32(2, REGISTER)
            .be32(3, 4)
            .nest(4, value(&mask))
            .nest(5, value(&[0; 4]));
        self.note(match state {
            State::Established => "ct state established",
            State::Related => "ct state related",
        })
        .expression("ct", load)
        .expression("bitwise", and)
        .compare(Compare::NotEqual, &[0; 4])
    }

    /// Packets that carry a mark.
    pub(super) fn marked(self, mark: u32) -> Self {
        self.note(format!("meta mark {mark:#x}")).load_meta(Meta::Mark).compare(Compare::Equal, &mark.to_ne_bytes())
    }

    /// Packets from a socket that this user opened. A packet without a socket does not match.
    pub(super) fn sent_by_user(self, uid: u32) -> Self {
        self.note(format!("meta skuid {uid}")).load_meta(Meta::SocketUser).compare(Compare::Equal, &uid.to_ne_bytes())
    }

    /// Marks the packet.
    pub(super) fn set_mark(self, mark: u32) -> Self {
        // NFTA_META_KEY, NFTA_META_SREG
        let store = Attributes::default().be32(2, Meta::Mark as u32).be32(3, REGISTER);
        self.note(format!("meta mark set {mark:#x}")).load_immediate(&mark.to_ne_bytes()).expression("meta", store)
    }

    /// Hands the packet to the transparent socket that listens on `port`. Without such a socket the rule ends here.
    pub(super) fn tproxy_to(self, port: u16) -> Self {
        // NFTA_TPROXY_FAMILY = NFPROTO_UNSPEC, which in an inet table means both; NFTA_TPROXY_REG_PORT
        let attributes = Attributes::default().be32(1, 0).be32(3, REGISTER);
        self.note(format!("tproxy to :{port}")).load_immediate(&port.to_be_bytes()).expression("tproxy", attributes)
    }

    /// Ends the rule and the chain.
    pub(super) fn verdict(self, verdict: Verdict) -> Self {
        // NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA with NFTA_DATA_VERDICT with NFTA_VERDICT_CODE
        let code = Attributes::default().be32(1, verdict as u32);
        let data = Attributes::default().nest(2, code);
        self.note(match verdict {
            Verdict::Drop => "drop",
            Verdict::Accept => "accept",
        })
        .expression("immediate", Attributes::default().be32(1, VERDICT).nest(2, data))
    }

    fn list(&self) -> Attributes {
        self.expressions.iter().fold(Attributes::default(), |list, (name, attributes)| {
            // NFTA_LIST_ELEM with NFTA_EXPR_NAME and NFTA_EXPR_DATA
            list.nest(1, Attributes::default().text(1, name).nest(2, attributes.clone()))
        })
    }
}
