//! Images that cross regions: each node pays for it in time and in traffic, and an outage elsewhere stops pods here.

use super::prelude::*;
use crate::image::Image;

/// Artifact Registry's locations that are several regions.
const WIDE: [(&str, &[&str]); 3] = [("us", &["us-"]), ("europe", &["europe-"]), ("asia", &["asia-"])];

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let nodes = bundle.list(Kind::Nodes)?;
    let mut regions: Vec<&str> = nodes.iter().filter_map(|node| label(node, names::REGION)).collect();
    regions.sort_unstable();
    regions.dedup();
    if regions.is_empty() {
        // Machines of one's own have no regions.
        return Ok(());
    }
    for template in templates(bundle, out).into_iter().filter(|template| is_ours(template.pod)) {
        for container in containers(template.pod) {
            let image = Image::split(container.image());
            let Some((location, project, repository)) = image.artifact_registry() else { continue };
            let near = |region: &&str| {
                let wide = WIDE.iter().find(|(name, _)| *name == location);
                wide.map_or(location == *region, |(_, begins)| begins.iter().any(|begin| region.starts_with(begin)))
            };
            if regions.iter().any(near) {
                continue;
            }
            let here = regions.first().copied().unwrap_or_default();
            out.push(
                Finding::warning(template.subject.clone(), "The image is in another region than the nodes.")
                    .why(format!("it is in {}, and the nodes are in {}", quote(location), quote(&regions.join(", "))))
                    .mend("copy the repository to the nodes' region, name it in the YAML, and generate again")
                    .run(format!(
                        "gcloud artifacts repositories create {} --project {} --repository-format docker --location {}",
                        shell(repository),
                        shell(project),
                        shell(here)
                    )),
            );
        }
    }
    Ok(())
}
