//! A pod's policy names its namespace. The same initdata in another one cannot start, and hides what is meant.

use std::collections::{BTreeMap, BTreeSet};

use super::policy_stale::short;
use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    bundle.cluster()?;
    let mut places: BTreeMap<String, BTreeSet<Subject>> = BTreeMap::new();
    for template in templates(bundle, out) {
        if let Some(identity) = template.initdata().and_then(|initdata| initdata.identity) {
            places.entry(identity).or_default().insert(template.subject);
        }
    }
    for (identity, subjects) in places {
        let namespaces: BTreeSet<&str> = subjects.iter().filter_map(|subject| subject.namespace.as_deref()).collect();
        let Some(first) = subjects.first() else { continue };
        if namespaces.len() < 2 {
            continue;
        }
        let all: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        out.push(
            Finding::problem(first.clone(), "One identity is deployed in several namespaces.")
                .why(format!(
                    "{} all have identity {}; its policy names one namespace",
                    quote(&all.join(", ")),
                    short(&identity)
                ))
                .mend("generate for each namespace by itself, and apply each result where it was made for")
                .run("casemate generate --reference-values PLATFORM --namespace NAMESPACE --output DIR resources/"),
        );
    }
    Ok(())
}
