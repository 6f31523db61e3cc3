//! What an image is made of: an SPDX 2.3 document beside it, in JSON.
//!
//! The packages are those that cargo resolved for the binaries' crates on this target, with the digests of the lock file;
//! development and build dependencies leave nothing in a binary and are left out. The same sources give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::proc;
use crate::workspace::{self, TARGET};

/// The time in every document: a real one would make two builds differ.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// All packages of the workspace and what they need.
#[derive(Deserialize)]
pub(crate) struct Graph {
    packages: Vec<Package>,
    resolve: Resolve,
    /// `sha256` of each package's archive, by name and version.
    #[serde(skip)]
    checksums: BTreeMap<(String, String), String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Graph {
    /// As cargo resolves it here, and as the lock file has it.
    pub(crate) fn load(lock: &Path) -> Result<Self> {
        let args = ["metadata", "--format-version=1", "--locked", "--filter-platform", TARGET];
        let text = proc::output(workspace::cargo().args(args))?;
        let graph: Self = serde_json::from_str(&text).context("read the answer of `cargo metadata`")?;
        let lock = std::fs::read_to_string(lock).with_context(|| format!("read `{}`", lock.display()))?;
        Ok(Self { checksums: checksums(&lock), ..graph })
    }

    /// The packages of a binary of these crates, themselves included.
    fn closure(&self, crates: &[&str]) -> BTreeSet<&str> {
        let roots = self.packages.iter().filter(|package| package.source.is_none());
        let mut left: Vec<&str> = roots
            .filter(|package| crates.contains(&package.name.as_str()))
            .map(|package| package.id.as_str())
            .collect();
        let mut found = BTreeSet::new();
        while let Some(id) = left.pop() {
            if !found.insert(id) {
                continue;
            }
            let node = self.resolve.nodes.iter().find(|node| node.id == id);
            let normal = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            left.extend(node.into_iter().flat_map(|node| &node.deps).filter(normal).map(|one| one.pkg.as_str()));
        }
        found
    }

    /// The document of an image with this manifest digest, made of these crates.
    pub(crate) fn document(&self, image: &str, tag: &str, digest: &str, crates: &[&str]) -> Value {
        let inside = self.closure(crates);
        let mut packages: Vec<&Package> =
            self.packages.iter().filter(|package| inside.contains(package.id.as_str())).collect();
        packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        let listed: Vec<Value> = packages.iter().map(|package| self.package(package)).collect();
        let of = |package: &Package| id(&package.name, &package.version);
        let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
        relations.extend(packages.iter().map(|package| relation("SPDXRef-image", "CONTAINS", &of(package))));
        for package in &packages {
            let node = self.resolve.nodes.iter().find(|node| node.id == package.id);
            let normal = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            let mut needs: Vec<String> = node
                .into_iter()
                .flat_map(|node| &node.deps)
                .filter(normal)
                .filter_map(|one| packages.iter().find(|other| other.id == one.pkg))
                .map(|other| of(other))
                .collect();
            needs.sort();
            needs.dedup();
            relations.extend(needs.iter().map(|other| relation(&of(package), "DEPENDS_ON", other)));
        }
        let hex = digest.trim_start_matches("sha256:");
        let image_package = json!({
            "SPDXID": "SPDXRef-image",
            "name": image,
            "versionInfo": tag,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "Apache-2.0",
            "copyrightText": "NOASSERTION",
            "primaryPackagePurpose": "CONTAINER",
            "checksums": [{"algorithm": "SHA256", "checksumValue": hex}],
        });
        json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": format!("{image}:{tag}"),
            // Has to be unique for each document, and no more: the image's digest is.
            "documentNamespace": format!("https://casemate.dev/spdx/{image}/{hex}"),
            "creationInfo": {"created": CREATED, "creators": ["Tool: cargo xtask images"]},
            "packages": std::iter::once(image_package).chain(listed).collect::<Vec<_>>(),
            "relationships": relations,
        })
    }

    fn package(&self, package: &Package) -> Value {
        let Package { name, version, license, source, .. } = package;
        let mut value = json!({
            "SPDXID": id(name, version),
            "name": name,
            "versionInfo": version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            // SPDX wants `OR`; an old way of writing it is a slash.
            "licenseDeclared": license.as_ref().map_or("NOASSERTION".to_owned(), |license| license.replace('/', " OR ")),
            "copyrightText": "NOASSERTION",
        });
        if source.is_some() {
            value["downloadLocation"] = format!("https://crates.io/crates/{name}/{version}").into();
            let purl = format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"));
            value["externalRefs"] = json!([
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl},
            ]);
        }
        if let Some(sum) = self.checksums.get(&(name.clone(), version.clone())) {
            value["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sum}]);
        }
        value
    }
}

fn relation(one: &str, kind: &str, other: &str) -> Value {
    json!({"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other})
}

/// An identifier may have letters, digits, dots and hyphens (SPDX 2.3, clause 7.2). What has others is told apart by a
/// digest.
fn id(name: &str, version: &str) -> String {
    let plain = format!("{name}-{version}");
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if plain.chars().all(fits) {
        return format!("SPDXRef-{plain}");
    }
    let digest = hex::encode(Sha256::digest(plain.as_bytes()));
    let plain: String = plain.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    format!("SPDXRef-{plain}-{}", digest.get(..8).unwrap_or_default())
}

/// Names, versions and digests of a lock file: each field is a line of its own, written by cargo itself.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for block in lock.split("[[package]]") {
        let field = |name: &str| {
            let rest = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
            rest.map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(sum)) = (field("name"), field("version"), field("checksum")) {
            sums.insert((name, version), sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let graph = json!({
            "packages": [
                {"id": "a", "name": "ours", "version": "0.1.0", "license": "Apache-2.0", "source": null},
                {"id": "b", "name": "used", "version": "1.0.0", "license": "MIT/Apache-2.0", "source": "registry"},
                {"id": "c", "name": "deep_er", "version": "2.0.0+x", "license": null, "source": "registry"},
                {"id": "d", "name": "tests", "version": "1.0.0", "license": "MIT", "source": "registry"},
                {"id": "e", "name": "other", "version": "0.1.0", "license": "Apache-2.0", "source": null},
            ],
            "resolve": {"nodes": [
                {"id": "a", "deps": [
                    {"pkg": "b", "dep_kinds": [{"kind": null}]},
                    {"pkg": "d", "dep_kinds": [{"kind": "dev"}, {"kind": "build"}]},
                ]},
                {"id": "b", "deps": [{"pkg": "c", "dep_kinds": [{"kind": "dev"}, {"kind": null}]}]},
                {"id": "c", "deps": []}, {"id": "d", "deps": []},
                {"id": "e", "deps": [{"pkg": "d", "dep_kinds": [{"kind": null}]}]},
            ]},
        });
        let lock = "version = 4\n\n[[package]]\nname = \"used\"\nversion = \"1.0.0\"\nchecksum = \"ab12\"\n";
        Graph { checksums: checksums(lock), ..serde_json::from_value(graph).expect("a graph") }
    }

    #[test]
    fn a_document_lists_what_is_inside_and_nothing_else() {
        let document = graph().document("casemate-pod", "1", "sha256:00ff", &["ours"]);
        let names: Vec<&str> = document["packages"]
            .as_array()
            .expect("packages")
            .iter()
            .filter_map(|package| package["name"].as_str())
            .collect();
        assert_eq!(names, ["casemate-pod", "deep_er", "ours", "used"]);
        let used = &document["packages"][3];
        assert_eq!(used["checksums"][0]["checksumValue"], "ab12");
        assert_eq!(used["licenseDeclared"], "MIT OR Apache-2.0");
        assert_eq!(used["externalRefs"][0]["referenceLocator"], "pkg:cargo/used@1.0.0");
        assert_eq!(document["packages"][1]["licenseDeclared"], "NOASSERTION");
        let relations = document["relationships"].as_array().expect("relations");
        let depends = relations.iter().filter(|one| one["relationshipType"] == "DEPENDS_ON").count();
        assert_eq!((relations.len(), depends), (6, 2));
    }

    #[test]
    fn every_name_that_is_used_is_declared_once_and_has_no_strange_characters() {
        let document = graph().document("casemate-pod", "1", "sha256:00ff", &["ours", "other"]);
        let declared: Vec<&str> = document["packages"]
            .as_array()
            .expect("packages")
            .iter()
            .filter_map(|package| package["SPDXID"].as_str())
            .collect();
        assert_eq!(declared.iter().collect::<BTreeSet<_>>().len(), declared.len(), "{declared:?}");
        for id in &declared {
            let rest = id.strip_prefix("SPDXRef-").expect(id);
            assert!(rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'), "{id}");
        }
        for relation in document["relationships"].as_array().expect("relations") {
            for end in ["spdxElementId", "relatedSpdxElement"] {
                let id = relation[end].as_str().expect("an id");
                assert!(id == "SPDXRef-DOCUMENT" || declared.contains(&id), "{id}");
            }
        }
    }
}
