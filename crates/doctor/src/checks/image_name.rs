//! `InvalidImageName`: the kubelet does not even ask a registry.

use super::prelude::*;
use crate::image;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let mut found = Vec::new();
    if bundle.cluster.is_some() {
        found = templates(bundle, out);
    }
    match written(bundle) {
        Ok(more) => found.extend(more),
        Err(unknown) if bundle.cluster.is_none() => return Err(unknown),
        Err(_) => {}
    }
    for template in found {
        for container in containers(template.pod) {
            let Some((why, mend)) = image::fault(container.image()) else { continue };
            let place = template.file.map_or_else(String::new, |file| format!(" in {}", quote(file)));
            out.push(
                Finding::problem(
                    template.subject.clone(),
                    format!("`{}` is no name of an image.", quote(container.image())),
                )
                .why(format!("{why} (container {}{place}); Kubernetes says InvalidImageName", quote(container.name())))
                .mend(format!("{mend}, generate again and apply"))
                .run("casemate generate --reference-values PLATFORM resources/")
                .run("kubectl apply -f resources/"),
            );
        }
    }
    Ok(())
}
