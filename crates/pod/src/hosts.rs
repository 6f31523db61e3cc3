//! Names to addresses: `/etc/hosts` first, then numbers, then the system's resolver.
//!
//! The image is FROM scratch and the binary static, so the C library's lookup has no `nsswitch.conf` to go by; what the
//! kubelet writes to `/etc/hosts` is therefore read here. All of it is the host's word: whoever answers at an address must
//! attest.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// LIMIT: the kubelet writes some hundred bytes; a thousand host aliases make 64 KiB.
const MAX_HOSTS: u64 = 1024 * 1024;

/// The addresses of a name in the text of a hosts file, in its order.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut fields = line.split('#').next()?.split_whitespace();
        let address = fields.next()?.parse().ok()?;
        fields.any(|field| field.eq_ignore_ascii_case(name)).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

/// The addresses of a name, with a port.
pub(crate) async fn resolve(name: &str, port: u16, hosts: &Path) -> io::Result<Vec<SocketAddr>> {
    let with_port = |address| SocketAddr::new(address, port);
    let listed = match read_limited(hosts) {
        Ok(text) => in_hosts(&text, name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(error),
    };
    if !listed.is_empty() {
        return Ok(listed.into_iter().map(with_port).collect());
    }
    if let Ok(address) = name.parse() {
        return Ok(vec![with_port(address)]);
    }
    let addresses: Vec<_> = tokio::net::lookup_host((name, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

fn read_limited(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_HOSTS).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "\
# written by the kubelet
127.0.0.1\tlocalhost
::1 localhost ip6-localhost
10.0.0.7  coordinator.default.svc.cluster.local coordinator # the service
fd00::7   Coordinator
not-an-address coordinator
10.0.0.9
";

    #[test]
    fn every_line_of_a_name_counts_in_order() {
        let found = |name: &str| in_hosts(HOSTS, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("coordinator"), ["10.0.0.7", "fd00::7"]);
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found("service"), Vec::<String>::new());
        assert_eq!(found("10.0.0.9"), Vec::<String>::new());
        assert_eq!(found(""), Vec::<String>::new());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_hosts_file_comes_before_numbers_and_a_missing_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        let resolved = async |name: &str| resolve(name, 7777, &hosts).await.map(|addresses| addresses[0].to_string());
        assert_eq!(resolved("192.0.2.1").await.unwrap(), "192.0.2.1:7777");
        assert_eq!(resolved("fd00::1").await.unwrap(), "[fd00::1]:7777");
        std::fs::write(&hosts, HOSTS).unwrap();
        assert_eq!(resolved("coordinator").await.unwrap(), "10.0.0.7:7777");
    }
}
