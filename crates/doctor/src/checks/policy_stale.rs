//! The YAML in the work folder and what is deployed: their identities must be the same.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let written = written(bundle)?;
    for file in &bundle.work()?.unreadable {
        out.unknown(Unknown::NoAnswer { what: "a file of the work folder".to_owned(), why: file.clone() });
    }
    bundle.cluster()?;
    let deployed = templates(bundle, out);
    for mine in written {
        let Some(theirs) = deployed.iter().find(|template| template.subject == mine.subject) else { continue };
        let file = mine.file.unwrap_or_default();
        let (Some(wanted), Some(found)) = (mine.initdata(), theirs.initdata()) else {
            if mine.initdata().is_some() != theirs.initdata().is_some() && is_guest(theirs.pod) {
                out.push(
                    Finding::problem(
                        mine.subject,
                        "The YAML and the cluster differ: one has initdata, the other has none.",
                    )
                    .why(format!("see {}", quote(file)))
                    .mend("generate, and apply what it wrote")
                    .run("casemate generate --reference-values PLATFORM resources/")
                    .run(format!("kubectl apply -f {}", shell(file))),
                );
            }
            continue;
        };
        let (Some(wanted), Some(found)) = (wanted.identity, found.identity) else { continue };
        if wanted == found {
            continue;
        }
        out.push(
            Finding::problem(mine.subject, "The policy in the cluster is another one than that of the YAML.")
                .why(format!("{} has identity {}, and the cluster runs {}", quote(file), short(&wanted), short(&found)))
                .mend("apply the YAML and hand over its manifest; or take the YAML that was applied")
                .run(format!("kubectl apply -f {}", shell(file)))
                .run("casemate set -c HOST:1313 resources/"),
        );
    }
    Ok(())
}

/// As all of our messages show a digest.
pub(super) fn short(identity: &str) -> String {
    quote(identity).chars().take(12).collect()
}
