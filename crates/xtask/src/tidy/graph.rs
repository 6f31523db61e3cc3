//! Which crate may depend on which: the table of `ARCHITECTURE.md`, checked against what cargo resolved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result};

use super::Finding;
use crate::proc;
use crate::workspace::{self, Metadata, TARGET};

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
        never: &["attester", "channel", "engine", "axum"],
        why: "the only network that this crate knows is the registry client's",
    },
    Boundary {
        crates: &["endorsements"],
        never: &["attester", "channel", "pki", "policy", "coordinator", "mesh", "engine", "cli"],
        why: "whoever fetches documents does not know who asks, nor what for",
    },
    Boundary {
        crates: &["guest-image"],
        never: &["attester", "channel", "pki", "policy", "coordinator", "mesh", "engine", "node", "tokio", "cli"],
        why: "whoever repacks an image runs nothing of it and asks nobody",
    },
    Boundary {
        crates: &["guest-check"],
        never: &["verifier", "pki", "channel", "policy", "engine", "tokio", "guest-image"],
        why: "what starts the agent in a guest is small enough to be read whole",
    },
    Boundary { crates: &["gpu"], never: IO, why: "devices are handled from threads, without executor or network" },
    Boundary { crates: &["gpu"], never: KUBERNETES, why: "this crate knows nothing of a cluster" },
    Boundary { crates: &["coordinator"], never: &["mesh", "inference", "node", "engine", "policy"], why: SERVICES },
    Boundary { crates: &["mesh"], never: &["coordinator", "inference", "node", "engine", "policy"], why: SERVICES },
    Boundary { crates: &["inference"], never: &["coordinator", "mesh", "node", "engine", "policy"], why: SERVICES },
    Boundary { crates: &["node"], never: &["coordinator", "mesh", "inference", "engine"], why: SERVICES },
    Boundary {
        crates: &["doctor"],
        never: &["attester", "channel", "pki", "coordinator", "mesh", "inference", "node", "engine", "cli"],
        why: "whoever looks for faults holds no key and knows no service's insides",
    },
    Boundary {
        crates: &["engine"],
        never: &["coordinator", "mesh", "inference", "node", "cli"],
        why: "the engine runs pods and does not know what is in them",
    },
    Boundary {
        crates: &["cloud"],
        never: &["attester", "channel", "coordinator", "mesh", "inference", "node", "engine", "endorsements", "cli"],
        why: "what is deployed is written here, and run, asked and verified elsewhere",
    },
    Boundary {
        crates: &["cloud"],
        never: KUBERNETES,
        why: "kubectl speaks to clusters, and this crate says what it is told",
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

/// Cargo features that may be declared, and why: each adds a module and changes no line of the others.
const FEATURES: &[(&str, &str)] = &[
    // A simulator of hardware implements what only its crate knows of registers; see decision 0012.
    ("gpu", "simulated"),
];

/// Packages of which there must be exactly one version, since two could not exchange their types or double what an
/// auditor reads.
const SINGLE: &[&str] = &["aws-lc-rs", "aws-lc-sys", "rustls", "rustls-webpki", "tokio", "hyper", "protocol"];

/// All rules about the graph.
pub(super) fn check(metadata: &Metadata) -> Result<Vec<Finding>> {
    // Not `cargo metadata`: it lists optional dependencies that no build has.
    let tree = |edges: &str| {
        let args = ["tree", "--workspace", "--prefix", "depth", "--target", TARGET, "--edges", edges];
        let text = proc::output(workspace::cargo().args(args)).context("ask cargo for the dependency graph")?;
        Ok::<_, anyhow::Error>(Tree::parse(&text))
    };
    let members: Vec<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    let mut findings = boundaries(&tree("normal")?, &members);
    findings.extend(release_only(&tree("normal,build")?, &members));
    let all = tree("normal,build,dev")?;
    findings.extend(banned(&all));
    findings.extend(single(&all));
    findings.extend(features(metadata));
    Ok(findings)
}

/// A dependency graph as `cargo tree --prefix depth` prints it: what each package, named by name and version, depends on.
#[derive(Default)]
struct Tree(BTreeMap<String, BTreeSet<String>>);

impl Tree {
    /// Each line is a depth, a name, ` v` and a version, and perhaps more. A package whose dependencies were printed
    /// before is printed without them, so the union over all lines is the graph.
    fn parse(text: &str) -> Self {
        let mut tree = Self::default();
        let mut above: Vec<String> = Vec::new();
        for line in text.lines() {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            let Ok(depth) = line[..digits].parse::<usize>() else { continue };
            let mut words = line[digits..].split(' ');
            let package = format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
            above.truncate(depth);
            if let Some(parent) = above.last() {
                tree.0.entry(parent.clone()).or_default().insert(package.clone());
            }
            tree.0.entry(package.clone()).or_default();
            above.push(package);
        }
        tree
    }

    /// Packages of this name.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |package| name_of(package) == name)
    }

    /// For everything reachable from a package: its name, and through which names it is reached.
    fn reachable(&self, from: &str) -> BTreeMap<&str, String> {
        let mut reached = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut queue: VecDeque<(&str, String)> = self.named(from).map(|package| (package, String::new())).collect();
        while let Some((package, path)) = queue.pop_front() {
            for next in self.0.get(package).into_iter().flatten() {
                if !seen.insert(next) {
                    continue;
                }
                let name = name_of(next);
                let path = if path.is_empty() { name.to_owned() } else { format!("{path} → {name}") };
                reached.entry(name).or_insert_with(|| path.clone());
                queue.push_back((next, path));
            }
        }
        reached
    }
}

fn name_of(package: &str) -> &str {
    package.split(' ').next().unwrap_or(package)
}

fn boundaries(tree: &Tree, members: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for boundary in BOUNDARIES {
        for name in boundary.crates {
            if !members.contains(name) {
                findings.push(Finding::error(*name, "the table of crates names it, and the workspace lacks it"));
            }
            let reached = tree.reachable(name);
            for (never, path) in boundary.never.iter().filter_map(|never| Some((never, reached.get(never)?))) {
                let problem = format!("must not depend on `{never}` (through {path}): {}", boundary.why);
                findings.push(Finding::error(*name, problem));
            }
        }
    }
    findings
}

fn release_only(tree: &Tree, members: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in members.iter().filter(|name| !TEST_RIGS.contains(name)) {
        let reached = tree.reachable(name);
        for rig in TEST_RIGS.iter().filter(|rig| reached.contains_key(*rig)) {
            findings.push(Finding::error(*name, format!("ships, and so must not depend on test rig `{rig}`")));
        }
    }
    findings
}

fn banned(tree: &Tree) -> Vec<Finding> {
    let found = BANNED.iter().filter(|(name, _)| tree.named(name).next().is_some());
    let problem = |name: &str, why: &str| format!("is banned ({why}); `cargo tree -i {name}` says who brings it");
    found.map(|(name, why)| Finding::error(*name, problem(name, why))).collect()
}

fn single(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in SINGLE {
        let found: Vec<&str> = tree.named(name).collect();
        if found.len() > 1 {
            findings.push(Finding::error(*name, format!("is in the graph in several versions: {}", found.join(", "))));
        }
    }
    findings
}

/// No cargo feature changes behaviour, so that tests test what ships; a feature may only add a backend that is not Rust,
/// and there is none yet.
fn features(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata.members() {
        let unlisted = |feature: &&String| !FEATURES.contains(&(package.name.as_str(), feature.as_str()));
        let list: Vec<&str> = package.features.keys().filter(unlisted).map(String::as_str).collect();
        if !list.is_empty() {
            let list = list.join(", ");
            let problem = format!("declares cargo features ({list}); behaviour must not depend on any");
            findings.push(Finding::error(&package.name, problem));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings as text, without those about crates that the small graphs here lack.
    fn lines(findings: &[Finding]) -> Vec<String> {
        let lines = findings.iter().map(|finding| format!("{}: {}", finding.place, finding.problem));
        lines.filter(|line| !line.ends_with("the workspace lacks it")).collect()
    }

    #[test]
    fn dependencies_that_were_printed_before_are_known() {
        let tree = Tree::parse("0mesh v1 (/r)\n1a v1\n2b v2\n0pki v1 (/r)\n1a v1 (*)\n");
        assert_eq!(tree.reachable("pki"), BTreeMap::from([("a", "a".to_owned()), ("b", "a → b".to_owned())]));
    }

    #[test]
    fn lines_that_are_no_packages_are_passed_over() {
        assert!(Tree::parse("\n[dev-dependencies]\n0\n").0.len() <= 1);
    }

    #[test]
    fn a_pure_crate_may_not_reach_an_executor_through_others() {
        let tree = Tree::parse("0verifier v1 (/r)\n1a v1\n2tokio v1\n");
        let why = "this crate takes bytes, time and trust anchors as arguments and does no input or output";
        assert_eq!(
            lines(&boundaries(&tree, &["verifier"])),
            [format!("verifier: must not depend on `tokio` (through a → tokio): {why}")]
        );
    }

    #[test]
    fn services_may_not_depend_on_each_other() {
        let tree = Tree::parse("0mesh v1 (/r)\n1coordinator v1 (/r)\n");
        assert_eq!(lines(&boundaries(&tree, &["mesh", "coordinator"])).len(), 1);
    }

    #[test]
    fn a_service_may_use_what_all_may_use() {
        let tree = Tree::parse("0mesh v1 (/r)\n1channel v1 (/r)\n2verifier v1 (/r)\n3protocol v1 (/r)\n1tokio v1\n");
        assert_eq!(lines(&boundaries(&tree, &["mesh"])), [""; 0]);
    }

    #[test]
    fn what_ships_may_not_use_a_test_rig_and_a_test_rig_may_use_another() {
        let tree = Tree::parse("0pod v1 (/r)\n1testkit v1 (/r)\n0e2e v1 (/r)\n1testkit v1 (/r)\n");
        let findings = release_only(&tree, &["pod", "e2e", "testkit"]);
        assert_eq!(lines(&findings), ["pod: ships, and so must not depend on test rig `testkit`"]);
    }

    #[test]
    fn a_second_crypto_provider_is_banned_wherever_it_comes_from() {
        let tree = Tree::parse("0policy v1 (/r)\n1a v1\n2ring v0.17\n");
        assert_eq!(
            lines(&banned(&tree)),
            ["ring: is banned (one crypto provider: aws-lc-rs); `cargo tree -i ring` says who brings it"]
        );
    }

    #[test]
    fn a_package_whose_name_begins_with_a_banned_one_is_not_banned() {
        assert_eq!(lines(&banned(&Tree::parse("0policy v1 (/r)\n1ring-buffer v1\n"))), [""; 0]);
    }

    #[test]
    fn two_versions_of_the_tls_stack_are_refused() {
        let tree = Tree::parse("0mesh v1 (/r)\n1rustls v0.23.0\n1a v1\n2rustls v0.24.0\n2rustls v0.23.0 (*)\n");
        let expected = "rustls: is in the graph in several versions: rustls v0.23.0, rustls v0.24.0";
        assert_eq!(lines(&single(&tree)), [expected]);
    }

    #[test]
    fn a_crate_of_the_table_that_does_not_exist_is_reported() {
        let findings = boundaries(&Tree::default(), &["protocol"]);
        assert!(findings.iter().any(|finding| finding.place == "pki" && finding.problem.contains("lacks it")));
        assert!(!findings.iter().any(|finding| finding.place == "protocol"));
    }

    #[test]
    fn features_of_our_crates_are_refused_and_those_of_others_are_not() {
        let package = |id: &str, feature: &str| crate::workspace::Package {
            id: id.to_owned(),
            name: id.to_owned(),
            version: "1.0.0".to_owned(),
            features: BTreeMap::from([(feature.to_owned(), Vec::new())]),
            targets: Vec::new(),
        };
        let metadata = Metadata {
            packages: vec![package("mesh", "fast"), package("gpu", "simulated"), package("serde", "std")],
            workspace_members: vec!["mesh".to_owned(), "gpu".to_owned()],
            target_directory: "/r/target".into(),
            workspace_root: "/r".into(),
        };
        assert_eq!(
            lines(&features(&metadata)),
            ["mesh: declares cargo features (fast); behaviour must not depend on any"]
        );
    }
}
