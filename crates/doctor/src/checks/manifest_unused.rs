//! Entries of the manifest that nothing in the cluster has: not yet applied, or left over.

use std::collections::BTreeSet;

use super::policy_stale::short;
use super::prelude::*;
use crate::facts::Initdata;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let manifest = bundle.manifest()?;
    bundle.cluster()?;
    let mut deployed: BTreeSet<String> = BTreeSet::new();
    let before = out.unknown.len();
    for template in templates(bundle, out) {
        deployed.extend(template.initdata().and_then(|initdata| initdata.identity));
    }
    let pods = out.known(bundle.list(Kind::Pods)).unwrap_or_default();
    deployed.extend(pods.iter().filter_map(Initdata::on).filter_map(|initdata| initdata.identity));
    if out.unknown.len() > before || bundle.cluster()?.namespaces.is_some() {
        // Somewhere that nobody looked it may be.
        if out.unknown.len() == before {
            let why = "not all namespaces were looked at".to_owned();
            out.unknown(Unknown::NoAnswer { what: "everything that is deployed".to_owned(), why });
        }
        return Ok(());
    }
    for (identity, name) in manifest.entries.iter().filter(|(identity, _)| !deployed.contains(*identity)) {
        out.push(
            Finding::warning(Subject::named("Manifest entry", None, name), "Nothing in the cluster has this identity.")
                .why(format!("manifest.json lists {}, and no workload carries it", short(identity)))
                .mend("apply its YAML; or generate without it and hand over the new manifest, so that nobody can start it")
                .run("kubectl apply -f resources/")
                .run("casemate set -c HOST:1313 resources/"),
        );
    }
    Ok(())
}
