//! Names that are well formed and lead to the wrong registry.

use super::prelude::*;
use crate::image::{self, Image};

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
            let name = container.image();
            // What is no name at all is another check's.
            if image::fault(name).is_some() {
                continue;
            }
            let image = Image::split(name);
            let finding = |what: &str| Finding::problem(template.subject.clone(), what);
            let shown = quote(name);
            if image.host == "gcr.io" || image.host.ends_with(".gcr.io") {
                if is_public(image.path) {
                    continue;
                }
                out.push(
                    finding("The image is in Container Registry (gcr.io), which Google has shut down.")
                        .why(format!("`{shown}`; projects that were moved answer there, new ones do not"))
                        .mend("push it to Artifact Registry, whose names are REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE")
                        .run("gcloud artifacts repositories create REPOSITORY --repository-format docker --location REGION")
                        .run("gcloud auth configure-docker REGION-docker.pkg.dev"),
                );
            } else if image.host == "docker.pkg.dev" {
                out.push(
                    finding("The name of the registry lacks its region.")
                        .why(format!(
                            "`{shown}`; Artifact Registry is REGION-docker.pkg.dev, such as us-central1-docker.pkg.dev"
                        ))
                        .mend("put the repository's location in front")
                        .run("gcloud artifacts repositories list"),
                );
            } else if image.host.ends_with("-docker.pkg.dev") && image.path.split('/').count() < 3 {
                out.push(
                    finding("The name lacks a part: project, repository and image are wanted.")
                        .why(format!(
                            "`{shown}`; Artifact Registry's names are REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE"
                        ))
                        .mend("put the missing part in")
                        .run("gcloud artifacts repositories list"),
                );
            } else if is_loopback(image.host)
                && bundle.cluster().is_ok_and(|cluster| !cluster.server.contains("127.0.0.1"))
            {
                out.push(
                    finding("The image is in a registry of this machine, which nodes cannot reach.")
                        .why(format!("`{shown}`; on a node, {} is the node itself", quote(image.host)))
                        .mend(
                            "push it to a registry that the nodes can reach, name that in the YAML, and generate again",
                        )
                        .run("cargo xtask images --push REGISTRY/REPOSITORY:TAG"),
                );
            }
        }
    }
    Ok(())
}

/// Google's own images stay there.
fn is_public(path: &str) -> bool {
    let public =
        ["google-containers", "gke-release", "gke-managed", "distroless", "kubebuilder", "k8s-", "google_containers"];
    path.split('/').next().is_some_and(|first| public.iter().any(|name| first.starts_with(name)))
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}
