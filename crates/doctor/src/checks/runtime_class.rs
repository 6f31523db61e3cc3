//! The class that a pod names must exist; the API server refuses the pod otherwise.

use std::collections::BTreeSet;

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let classes: BTreeSet<&str> = bundle.list(Kind::RuntimeClasses)?.iter().map(name).collect();
    let mut found = templates(bundle, out);
    found.extend(written(bundle).unwrap_or_default());
    for template in found {
        let class = text(template.pod, "/spec/runtimeClassName");
        if class.is_empty() || classes.contains(class) {
            continue;
        }
        let finding = Finding::problem(template.subject, format!("There is no RuntimeClass `{}`.", quote(class)));
        let place = template.file.map_or_else(String::new, |file| format!(" in {}", quote(file)));
        let there: Vec<&str> = classes.iter().copied().take(8).collect();
        let there = if there.is_empty() { "no class at all".to_owned() } else { there.join(", ") };
        let finding = finding.why(format!("the pod names it{place}, and the cluster has {}", quote(&there)));
        out.push(if class == policy::generate::RUNTIME_CLASS {
            finding
                .mend("that is the class of the local engine: generate for the cluster's platform")
                .run("casemate reference-values platforms")
                .run("casemate generate --reference-values PLATFORM resources/")
        } else {
            finding
                .mend("make the classes, and let the node agent install their handlers")
                .run("casemate-node runtime classes | kubectl apply -f -")
        });
    }
    Ok(())
}
