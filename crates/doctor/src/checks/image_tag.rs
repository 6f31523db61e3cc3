//! A tag may lead elsewhere tomorrow, and the policy of a confidential pod takes one digest.

use super::prelude::*;
use crate::image::{self, Image};

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    bundle.cluster()?;
    for template in templates(bundle, out).into_iter().filter(|template| is_guest(template.pod)) {
        let loose: Vec<String> = containers(template.pod)
            .into_iter()
            .filter(|container| {
                image::fault(container.image()).is_none() && !Image::split(container.image()).is_pinned()
            })
            .map(|container| format!("{} ({})", quote(container.image()), quote(container.name())))
            .collect();
        if loose.is_empty() {
            continue;
        }
        out.push(
            Finding::problem(
                template.subject,
                "A confidential pod names an image by tag, which its policy cannot bind.",
            )
            .why(loose.join(", "))
            .mend("the YAML was applied before `generate` pinned it, or changed since: generate again and apply")
            .run("casemate generate --reference-values PLATFORM resources/")
            .run("kubectl apply -f resources/"),
        );
    }
    Ok(())
}
