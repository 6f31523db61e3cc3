//! Which crate may depend on which: the table of `ARCHITECTURE.md`, checked against what cargo resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::workspace::{Metadata, Package};

/// A crate and what its dependencies, and theirs, must not contain.
struct Boundary {
    crates: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

/// Executors, sockets and HTTP: whoever depends on one can do input and output.
const IO: &[&str] = &[
    "async-io",
    "async-std",
    "axum",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "nix",
    "reqwest",
    "rtnetlink",
    "rustix",
    "smol",
    "socket2",
    "tokio",
    "tokio-rustls",
    "tonic",
    "tower-http",
    "ureq",
];
const KUBERNETES: &[&str] = &["k8s-openapi", "kube", "kube-client", "kube-core"];
const TEST_RIGS: &[&str] = &["e2e", "testkit", "xtask"];

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        crates: &["protocol", "verifier", "pki"],
        never: IO,
        why: "this crate takes bytes, time and trust anchors as arguments and does no input or output",
    },
    Boundary {
        crates: &["protocol", "verifier", "pki", "channel", "engine"],
        never: KUBERNETES,
        why: "this crate knows nothing of a cluster",
    },
    Boundary { crates: &["protocol"], never: &["verifier", "pki", "channel", "policy"], why: "this crate is a leaf" },
    Boundary {
        crates: &["verifier"],
        never: &["pki", "attester", "channel", "policy"],
        why: "a Verifier does not know who asks, and does not produce what it verifies",
    },
    Boundary { crates: &["pki"], never: &["attester", "channel", "policy"], why: "keys and certificates, no more" },
    Boundary { crates: &["attester"], never: &["verifier", "pki", "channel"], why: "an Attester judges nothing" },
    Boundary { crates: &["channel"], never: &["policy", "pki"], why: "the channel carries what others decide" },
    Boundary {
        crates: &["policy"],
        never: &["attester", "channel", "engine", "axum", "tokio-rustls"],
        why: "the only network that this crate knows is the registry client's",
    },
    Boundary { crates: &["coordinator"], never: &["mesh", "inference", "node", "engine", "policy"], why: SERVICES },
    Boundary { crates: &["mesh"], never: &["coordinator", "inference", "node", "engine", "policy"], why: SERVICES },
    Boundary { crates: &["inference"], never: &["coordinator", "mesh", "node", "engine", "policy"], why: SERVICES },
    Boundary { crates: &["node"], never: &["coordinator", "mesh", "inference", "engine"], why: SERVICES },
    Boundary {
        crates: &["engine"],
        never: &["coordinator", "mesh", "inference", "node", "cli"],
        why: "the engine runs pods and does not know what is in them",
    },
    Boundary {
        crates: &["cli"],
        never: &["coordinator", "mesh", "node", "pod"],
        why: "the command line speaks to services through their protocol and knows none of their insides",
    },
    Boundary {
        crates: &["pod"],
        never: &["inference", "node", "engine", "policy", "cli"],
        why: "what runs inside the TEE links nothing that it does not need",
    },
];
const SERVICES: &str = "services share protocol, channel and verifier, and nothing of each other";

/// Packages that may not be in the graph at all, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "one TLS stack: rustls"),
    ("openssl-sys", "one TLS stack: rustls"),
    ("native-tls", "one TLS stack: rustls"),
    ("ring", "one crypto provider: aws-lc-rs"),
    ("serde_yaml", "unmaintained"),
    ("serde_yml", "unmaintained, and unsound advice is published for it"),
    ("yaml-rust", "unmaintained"),
    ("sharks", "Shamir sharing with a biased polynomial"),
    ("ear", "brings a second TLS stack into every build"),
];

/// Packages of which there must be exactly one version, since two could not exchange their types or double what an
/// auditor reads.
const SINGLE: &[&str] = &["aws-lc-rs", "aws-lc-sys", "rustls", "rustls-webpki", "tokio", "hyper", "protocol"];

/// All rules about the graph.
pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let graph = Graph::new(metadata);
    let mut findings = boundaries(&graph);
    findings.extend(release_only(&graph));
    findings.extend(banned(metadata));
    findings.extend(single(metadata));
    findings.extend(features(metadata));
    findings
}

struct Graph<'a> {
    metadata: &'a Metadata,
    names: BTreeMap<&'a str, &'a str>,
    /// Normal dependencies only: tests and build scripts may use what the crate may not.
    normal: BTreeMap<&'a str, Vec<&'a str>>,
    /// Normal and build dependencies.
    shipped: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let edges = |wanted: fn(Option<&str>) -> bool| {
            let node = |node: &'a crate::workspace::Node| {
                let deps = node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| wanted(kind.kind.as_deref())));
                (node.id.as_str(), deps.map(|dep| dep.pkg.as_str()).collect())
            };
            metadata.resolve.nodes.iter().map(node).collect()
        };
        Self {
            metadata,
            names: metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect(),
            normal: edges(|kind| kind.is_none()),
            shipped: edges(|kind| kind != Some("dev")),
        }
    }

    fn member(&self, name: &str) -> Option<&'a Package> {
        self.metadata.members().find(|package| package.name == name)
    }

    /// For everything reachable from a package: its name, and through which names it is reached.
    fn reachable(&self, edges: &BTreeMap<&'a str, Vec<&'a str>>, from: &'a str) -> BTreeMap<&'a str, String> {
        let mut reached = BTreeMap::new();
        let mut seen = BTreeSet::from([from]);
        let mut queue = std::collections::VecDeque::from([(from, String::new())]);
        while let Some((id, path)) = queue.pop_front() {
            for next in edges.get(id).into_iter().flatten() {
                if !seen.insert(next) {
                    continue;
                }
                let name = self.names.get(next).copied().unwrap_or(next);
                let path = if path.is_empty() { name.to_owned() } else { format!("{path} → {name}") };
                reached.entry(name).or_insert_with(|| path.clone());
                queue.push_back((next, path));
            }
        }
        reached
    }
}

fn boundaries(graph: &Graph<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for boundary in BOUNDARIES {
        for name in boundary.crates {
            let Some(package) = graph.member(name) else {
                findings.push(Finding::error(*name, "the table of crates names it, and the workspace lacks it"));
                continue;
            };
            let reached = graph.reachable(&graph.normal, &package.id);
            for (never, path) in boundary.never.iter().filter_map(|never| Some((never, reached.get(never)?))) {
                let problem = format!("must not depend on `{never}` (through {path}): {}", boundary.why);
                findings.push(Finding::error(*name, problem));
            }
        }
    }
    findings
}

fn release_only(graph: &Graph<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in graph.metadata.members().filter(|package| !TEST_RIGS.contains(&package.name.as_str())) {
        let reached = graph.reachable(&graph.shipped, &package.id);
        for rig in TEST_RIGS.iter().filter(|rig| reached.contains_key(*rig)) {
            findings.push(Finding::error(&package.name, format!("ships, and so must not depend on test rig `{rig}`")));
        }
    }
    findings
}

fn banned(metadata: &Metadata) -> Vec<Finding> {
    let reason = |name: &str| BANNED.iter().find(|(banned, _)| *banned == name).map(|(_, reason)| *reason);
    let resolved: BTreeSet<&str> = metadata.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
    let used = metadata.packages.iter().filter(|package| resolved.contains(package.id.as_str()));
    used.filter_map(|package| {
        let reason = reason(&package.name)?;
        Some(Finding::error(
            &package.name,
            format!("is banned ({reason}); `cargo tree -i {}` says who brings it", package.name),
        ))
    })
    .collect()
}

fn single(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in SINGLE {
        let found = metadata.packages.iter().filter(|package| package.name == *name);
        let versions: BTreeSet<&str> = found.map(|package| package.version.as_str()).collect();
        if versions.len() > 1 {
            let list = versions.into_iter().collect::<Vec<_>>().join(", ");
            findings.push(Finding::error(*name, format!("is in the graph in several versions: {list}")));
        }
    }
    findings
}

/// No cargo feature changes behaviour, so that tests test what ships; a feature may only add a backend that is not Rust,
/// and there is none yet.
fn features(metadata: &Metadata) -> Vec<Finding> {
    let with = metadata.members().filter(|package| !package.features.is_empty());
    with.map(|package| {
        let list = package.features.keys().cloned().collect::<Vec<_>>().join(", ");
        Finding::error(&package.name, format!("declares cargo features ({list}); behaviour must not depend on any"))
    })
    .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::{Dependency, DependencyKind, Node, Resolve};

    /// A dependency and its kind.
    type Dep = (&'static str, Option<&'static str>);

    /// A graph from names and their dependencies; names that start with `~` are not ours.
    fn graph(packages: &[(&str, &[Dep])]) -> Metadata {
        let id = |name: &str| format!("{}#1.0.0", name.trim_start_matches('~'));
        let package = |name: &str| Package {
            id: id(name),
            name: name.trim_start_matches('~').to_owned(),
            version: "1.0.0".to_owned(),
            features: BTreeMap::new(),
            targets: Vec::new(),
        };
        let node = |(name, deps): &(&str, &[Dep])| Node {
            id: id(name),
            deps: deps
                .iter()
                .map(|(dep, kind)| Dependency {
                    pkg: id(dep),
                    dep_kinds: vec![DependencyKind { kind: kind.map(str::to_owned) }],
                })
                .collect(),
        };
        Metadata {
            packages: packages.iter().map(|(name, _)| package(name)).collect(),
            workspace_members: packages.iter().filter(|(name, _)| !name.starts_with('~')).map(|(n, _)| id(n)).collect(),
            resolve: Resolve { nodes: packages.iter().map(node).collect() },
            target_directory: PathBuf::from("/r/target"),
            workspace_root: PathBuf::from("/r"),
        }
    }

    /// The findings about one crate.
    fn about(metadata: &Metadata, place: &str) -> Vec<String> {
        let findings = check(metadata).into_iter().filter(|finding| finding.place == place);
        findings.map(|finding| finding.problem).filter(|problem| !problem.contains("lacks it")).collect()
    }

    #[test]
    fn a_pure_crate_may_not_reach_an_executor_through_others() {
        let metadata = graph(&[("verifier", &[("~a", None)]), ("~a", &[("~tokio", None)]), ("~tokio", &[])]);
        let findings = about(&metadata, "verifier");
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("must not depend on `tokio` (through a → tokio)"), "{findings:?}");
    }

    #[test]
    fn tests_of_a_pure_crate_may_use_an_executor() {
        let metadata = graph(&[("verifier", &[("~tokio", Some("dev"))]), ("~tokio", &[])]);
        assert_eq!(about(&metadata, "verifier"), [""; 0]);
    }

    #[test]
    fn services_may_not_depend_on_each_other() {
        let metadata = graph(&[("mesh", &[("coordinator", None)]), ("coordinator", &[])]);
        assert_eq!(about(&metadata, "mesh").len(), 1);
    }

    #[test]
    fn what_ships_may_use_test_rigs_in_tests_only() {
        let with = |kind| graph(&[("pod", &[("testkit", kind)]), ("testkit", &[])]);
        assert_eq!(about(&with(None), "pod"), ["ships, and so must not depend on test rig `testkit`"]);
        assert_eq!(about(&with(Some("build")), "pod").len(), 1);
        assert_eq!(about(&with(Some("dev")), "pod"), [""; 0]);
    }

    #[test]
    fn a_test_rig_may_use_another() {
        let metadata = graph(&[("e2e", &[("testkit", None)]), ("testkit", &[])]);
        assert_eq!(about(&metadata, "e2e"), [""; 0]);
    }

    #[test]
    fn a_second_crypto_provider_is_banned_wherever_it_comes_from() {
        let metadata = graph(&[("policy", &[("~ring", None)]), ("~ring", &[])]);
        assert_eq!(
            about(&metadata, "ring"),
            ["is banned (one crypto provider: aws-lc-rs); `cargo tree -i ring` says who brings it"]
        );
    }

    #[test]
    fn a_banned_package_that_is_locked_but_not_built_is_none() {
        let mut metadata = graph(&[("policy", &[]), ("~ring", &[])]);
        metadata.resolve.nodes.retain(|node| !node.id.starts_with("ring"));
        assert_eq!(about(&metadata, "ring"), [""; 0]);
    }

    #[test]
    fn two_versions_of_the_tls_stack_are_refused() {
        let mut metadata = graph(&[("~rustls", &[])]);
        let second = Package { id: "rustls#2".to_owned(), version: "2.0.0".to_owned(), ..metadata.packages[0].clone() };
        metadata.packages.push(second);
        assert_eq!(about(&metadata, "rustls"), ["is in the graph in several versions: 1.0.0, 2.0.0"]);
    }

    #[test]
    fn features_of_our_crates_are_refused_and_those_of_others_are_not() {
        let mut metadata = graph(&[("mesh", &[]), ("~serde", &[])]);
        for package in &mut metadata.packages {
            package.features.insert("fast".to_owned(), Vec::new());
        }
        assert_eq!(about(&metadata, "mesh"), ["declares cargo features (fast); behaviour must not depend on any"]);
        assert_eq!(about(&metadata, "serde"), [""; 0]);
    }

    #[test]
    fn a_crate_of_the_table_that_does_not_exist_is_reported() {
        let findings = check(&graph(&[("protocol", &[])]));
        assert!(findings.iter().any(|finding| finding.place == "pki" && finding.problem.contains("lacks it")));
    }
}
