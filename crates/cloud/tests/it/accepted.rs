//! The real API server takes every object: those of the examples, of the bases, of the chart and of the single files.
//!
//! One test for all of it, since a server costs seconds to start. Objects are applied as `kubectl apply --server-side
//! --dry-run=server --validate=strict` does, so that none is in the way of another; what others need to be there, as
//! namespaces and definitions, is made in earnest.

use std::collections::BTreeMap;

use cloud::files::{Registry, render};
use policy::generate::{PLATFORMS, Tee};
use serde_json::Value;
use testkit::cluster::{Cluster, Options};

use crate::chart::VARIANTS;
use crate::objects::{files, helm, name, objects, printed};
use crate::{read, repository, skipped};

const APPLY: &str = "application/apply-patch+yaml";

struct Server {
    cluster: Cluster,
    /// What a group and version have: kind to plural and whether it is in namespaces.
    kinds: BTreeMap<String, BTreeMap<String, (String, bool)>>,
    taken: usize,
}

impl Server {
    /// Where objects like this one are.
    fn collection(&mut self, object: &Value) -> String {
        let version = object["apiVersion"].as_str().expect("an apiVersion").to_owned();
        let kind = object["kind"].as_str().expect("a kind");
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        if !self.kinds.get(&version).is_some_and(|kinds| kinds.contains_key(kind)) {
            let list: Value = serde_json::from_str(&self.cluster.ask("GET", &root, None).text()).expect("JSON");
            let resources = list["resources"].as_array().cloned().unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let kinds = resources
                .iter()
                .filter(|resource| !text(&resource["name"]).contains('/'))
                .map(|one| (text(&one["kind"]), (text(&one["name"]), one["namespaced"] == true)))
                .collect();
            self.kinds.insert(version.clone(), kinds);
        }
        let known = &self.kinds[&version];
        let (plural, namespaced) = known.get(kind).unwrap_or_else(|| panic!("no {kind} in {version}: {known:?}"));
        match (namespaced, object["metadata"]["namespace"].as_str().unwrap_or("default")) {
            (true, namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            (false, _) => format!("{root}/{plural}"),
        }
    }

    fn apply(&mut self, from: &str, text: &str, in_earnest: bool) {
        for (object, document) in objects(text) {
            let place = self.collection(&object);
            let own = object["metadata"]["name"].as_str().expect("a name");
            let mut place = format!("{place}/{own}?fieldManager=test&fieldValidation=Strict&force=true");
            if !in_earnest {
                place.push_str("&dryRun=All");
            }
            let answer = self.cluster.ask("PATCH", &place, Some((APPLY, &document)));
            let taken = matches!(answer.status, 200 | 201);
            assert!(taken, "{from}: {}: {}", name(&object), answer.text());
            self.taken += 1;
        }
    }
}

#[test]
fn the_api_server_takes_every_object() {
    let cluster = match Cluster::start(&Options::default()) {
        Ok(cluster) => cluster,
        Err(missing) => return skipped(missing),
    };
    let mut server = Server { cluster, kinds: BTreeMap::new(), taken: 0 };
    let deploy = repository().join("deploy");
    server.apply("crds", &read(&deploy.join("kustomize/crds/nodeconfigurations.yaml")), true);
    wait_for_definition(&server.cluster);
    server.apply("namespace", "apiVersion: v1\nkind: Namespace\nmetadata: {name: casemate-system}\n", true);
    // A pod's class must be there, and is asked for its overhead.
    server.apply("classes", &read(&deploy.join("kustomize/runtime-classes/runtime-classes.yaml")), true);

    for folder in ["deploy/kustomize", "examples"] {
        for path in files(&repository().join(folder), &["yaml", "yml"]) {
            if !path.ends_with("kustomization.yaml") {
                server.apply(&path.display().to_string(), &read(&path), false);
            }
        }
    }
    for platform in PLATFORMS.iter().filter(|platform| platform.tee != Tee::Software) {
        for file in render(platform, &Registry::default()).expect("files").files {
            server.apply(&file.name, &file.text, false);
        }
    }
    for (variant, args) in VARIANTS {
        let Some(output) = helm(args) else { break };
        server.apply(&format!("chart, {variant}"), &printed(&output), false);
    }
    assert!(server.taken > 150, "{} objects", server.taken);

    // That the test would notice: a field that is not there, and a value that may not be.
    for wrong in [
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1, targetport: 2}]}\n",
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {maxUnavailable: -1}\n",
        "apiVersion: casemate.dev/v1alpha1\nkind: NodeConfiguration\nmetadata: {name: cluster}\nspec: {ccMode: sometimes}\n",
    ] {
        let (object, document) = objects(wrong).remove(0);
        let place = server.collection(&object);
        let own = object["metadata"]["name"].as_str().expect("a name");
        let place = format!("{place}/{own}?fieldManager=test&fieldValidation=Strict&dryRun=All");
        let answer = server.cluster.ask("PATCH", &place, Some((APPLY, &document)));
        // A field that is not declared is told of with 500 where a whole object is applied.
        assert!(matches!(answer.status, 400 | 422 | 500), "{}: {}", answer.status, answer.text());
    }
}

fn wait_for_definition(cluster: &Cluster) {
    let begin = std::time::Instant::now();
    while cluster.ask("GET", "/apis/casemate.dev/v1alpha1/nodeconfigurations", None).status != 200 {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "the definition is not served");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
