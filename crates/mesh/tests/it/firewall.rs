//! What the kernel makes of our netlink messages, read back by `nft` and `ip`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use expect_test::expect;
use mesh::firewall::{FirewallConfig, IngressPort, Ipv6, Stage, apply};

use crate::netns::{Netns, is_root};

fn config() -> FirewallConfig {
    let ingress = vec![
        IngressPort { port: 8001, client_certificate: true },
        IngressPort { port: 8002, client_certificate: false },
    ];
    FirewallConfig::new(ingress, vec![9102], true).unwrap()
}

fn applied(netns: &Netns, config: FirewallConfig, stage: Stage) -> String {
    assert_eq!(netns.run(move || apply(&config, stage)).unwrap(), Ipv6::Available);
    netns.output("nft list ruleset")
}

#[test]
fn a_ready_pod_has_this_ruleset() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    expect![[r#"
        table inet casemate {
        	chain prerouting {
        		type filter hook prerouting priority mangle; policy accept;
        		iif "lo" accept
        		meta mark set 0x00000000
        		ip daddr 127.0.0.0/8 drop
        		ip6 daddr ::1 drop
        		tcp dport 8001 tproxy to :15006 meta mark set 0x0000434d accept
        		tcp dport 8001 drop
        		tcp dport 8002 tproxy to :15007 meta mark set 0x0000434d accept
        		tcp dport 8002 drop
        	}

        	chain input {
        		type filter hook input priority filter; policy drop;
        		iif "lo" accept
        		ct state established accept
        		ct state related meta l4proto icmp accept
        		ct state related meta l4proto ipv6-icmp accept
        		icmpv6 type nd-neighbor-solicit accept
        		icmpv6 type nd-neighbor-advert accept
        		tcp dport 8001 meta mark 0x0000434d accept
        		tcp dport 8002 meta mark 0x0000434d accept
        		tcp dport 9102 accept
        	}

        	chain forward {
        		type filter hook forward priority filter; policy drop;
        	}

        	chain output {
        		type filter hook output priority filter; policy accept;
        		oif "lo" tcp dport 8006 ct state established accept
        		oif "lo" tcp dport 8006 meta skuid 1313 accept
        		oif "lo" tcp dport 8006 drop
        	}
        }
    "#]]
    .assert_eq(&applied(&netns, config(), Stage::Ready));
}

#[test]
fn an_initializing_pod_has_this_ruleset() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    expect![[r#"
        table inet casemate {
        	chain prerouting {
        		type filter hook prerouting priority mangle; policy accept;
        		iif "lo" accept
        		meta mark set 0x00000000
        		ip daddr 127.0.0.0/8 drop
        		ip6 daddr ::1 drop
        	}

        	chain input {
        		type filter hook input priority filter; policy drop;
        		iif "lo" accept
        		ct state established accept
        		ct state related meta l4proto icmp accept
        		ct state related meta l4proto ipv6-icmp accept
        		icmpv6 type nd-neighbor-solicit accept
        		icmpv6 type nd-neighbor-advert accept
        	}

        	chain forward {
        		type filter hook forward priority filter; policy drop;
        	}

        	chain output {
        		type filter hook output priority filter; policy accept;
        		oif "lo" tcp dport 8006 ct state established accept
        		oif "lo" tcp dport 8006 meta skuid 0 accept
        		oif "lo" tcp dport 8006 drop
        	}
        }
    "#]]
    .assert_eq(&applied(&netns, config(), Stage::Initializing));
}

#[test]
fn a_pod_without_a_mesh_lets_nobody_ask_the_agent() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    let config = FirewallConfig::new(vec![], vec![1313], false).unwrap();
    let ruleset = applied(&netns, config, Stage::Ready);
    let output = ruleset.split("chain output").nth(1).unwrap();
    assert!(!output.contains("skuid"), "{output}");
    assert!(ruleset.contains("tcp dport 1313 accept"), "{ruleset}");
}

#[test]
fn applying_again_replaces_and_repeats_nothing() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    let ready = applied(&netns, config(), Stage::Ready);
    let initializing = applied(&netns, config(), Stage::Initializing);
    assert_ne!(ready, initializing);
    assert_eq!(applied(&netns, config(), Stage::Ready), ready);
    expect![[r"
        0:	from all lookup local
        1313:	from all fwmark 0x434d lookup 1313
        32766:	from all lookup main
        32767:	from all lookup default
    "]]
    .assert_eq(&netns.output("ip rule list"));
    expect![[r"
        0:	from all lookup local
        1313:	from all fwmark 0x434d lookup 1313
        32766:	from all lookup main
    "]]
    .assert_eq(&netns.output("ip -6 rule list"));
    expect![[r"
        local default dev lo proto static scope host 
    "]]
    .assert_eq(&netns.output("ip route list table 1313"));
    expect![[r"
        local default dev lo proto static metric 1024 pref medium
    "]]
    .assert_eq(&netns.output("ip -6 route list table 1313"));
}

#[test]
fn tables_of_others_are_left_alone() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    netns.output("nft add table inet other");
    let ruleset = applied(&netns, config(), Stage::Ready);
    assert!(ruleset.contains("table inet other"), "{ruleset}");
}

#[test]
fn without_net_admin_the_refused_step_and_a_hint_are_named() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    let error = netns
        .run(|| {
            // Capabilities are a thread's own, so the other tests keep theirs.
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective = rustix::thread::CapabilitySet::empty();
            rustix::thread::set_capabilities(None, sets).unwrap();
            apply(&config(), Stage::Ready)
        })
        .unwrap_err();
    assert!(error.hint().unwrap().contains("NET_ADMIN"), "{error:?}");
    assert!(!netns.output("nft list ruleset").contains("casemate"));
}

#[test]
fn without_ipv6_the_pod_says_so_and_stays_closed() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    netns.output("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1");
    let outcome = netns.run(|| apply(&config(), Stage::Ready)).unwrap();
    assert!(matches!(outcome, Ipv6::Unavailable { .. }), "{outcome:?}");
    assert!(netns.output("nft list ruleset").contains("policy drop"));
}

#[test]
fn only_the_user_of_the_stage_reaches_the_attestation_agent() {
    if !is_root() {
        return;
    }
    let netns = Netns::new();
    let agent = netns.run(|| TcpListener::bind("0.0.0.0:8006").unwrap());
    let reaches = |uid: u32, address: &'static str| {
        netns.run(move || {
            // Credentials are a thread's own in the kernel.
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            let address = SocketAddr::new(address.parse().unwrap(), 8006);
            TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
        })
    };
    for (stage, root, mesh) in [(Stage::Initializing, true, false), (Stage::Ready, false, true)] {
        applied(&netns, config(), stage);
        for address in ["127.0.0.1", "127.0.0.2"] {
            assert_eq!(reaches(0, address), root, "{stage:?}");
            assert_eq!(reaches(1313, address), mesh, "{stage:?}");
            assert!(!reaches(1000, address), "{stage:?}");
        }
    }
    drop(agent);
}
