//! Pods that the manifest does not know get neither certificate nor secret.

use std::collections::BTreeSet;

use super::policy_stale::short;
use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let manifest = bundle.manifest()?;
    bundle.cluster()?;
    // Beside templates, pods: an older ReplicaSet's run on with an older identity.
    let mut found: Vec<(Subject, Option<crate::facts::Initdata>)> =
        templates(bundle, out).into_iter().map(|template| (template.subject.clone(), template.initdata())).collect();
    let pods = out.known(bundle.list(Kind::Pods)).unwrap_or_default();
    let running = pods.iter().filter(|pod| is_made(pod) && text(pod, "/status/phase") == "Running");
    found.extend(running.map(|pod| (workload_of(pod), crate::facts::Initdata::on(pod))));
    let mut told = BTreeSet::new();
    for (subject, initdata) in found {
        let Some(initdata) = initdata else { continue };
        let Some(identity) = initdata.identity else { continue };
        if manifest.entries.contains_key(&identity) || !told.insert((subject.clone(), identity.clone())) {
            continue;
        }
        let elsewhere = initdata.deployment.as_ref().filter(|deployment| **deployment != manifest.deployment);
        let finding =
            Finding::problem(subject, "The manifest does not list this pod: it gets no certificate and no secret.");
        out.push(match elsewhere {
            Some(deployment) => finding
                .why(format!(
                    "identity {} is of deployment {}, and manifest.json is for {}",
                    short(&identity),
                    short(deployment),
                    short(&manifest.deployment)
                ))
                .mend("this is the work folder of another deployment: use its own, or generate here and apply")
                .run("casemate --workspace-dir DIR doctor DIR"),
            None => finding
                .why(format!("identity {} is not in manifest.json", short(&identity)))
                .mend("generate from the YAML that is deployed, apply it, and hand over the manifest")
                .run("casemate generate --reference-values PLATFORM resources/")
                .run("kubectl apply -f resources/")
                .run("casemate set -c HOST:1313 resources/"),
        });
    }
    Ok(())
}
