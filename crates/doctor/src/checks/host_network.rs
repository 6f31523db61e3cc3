//! What takes a confidential pod out of its guest.

use super::prelude::*;

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
    for template in found.into_iter().filter(|template| is_guest(template.pod)) {
        let host: Vec<&str> = ["hostNetwork", "hostPID", "hostIPC"]
            .into_iter()
            .filter(|field| is_true(template.pod, &format!("/spec/{field}")))
            .collect();
        let mut fields: Vec<String> = host.iter().map(|field| format!("{field}: true")).collect();
        for container in containers(template.pod) {
            if is_true(container.spec, "/securityContext/privileged") {
                fields.push(format!("privileged: true in {}", quote(container.name())));
            }
        }
        let paths = items(template.pod, "/spec/volumes").iter().filter(|volume| volume.get("hostPath").is_some());
        fields.extend(paths.map(|volume| format!("hostPath in volume {}", quote(text(volume, "/name")))));
        if fields.is_empty() {
            continue;
        }
        out.push(
            Finding::problem(
                template.subject,
                "A confidential pod asks for the host's namespaces, files or privileges.",
            )
            .why(fields.join(", "))
            .mend("take it out and generate again: a guest has none of the host's, and `generate` refuses it")
            .run("casemate generate --reference-values PLATFORM --check resources/"),
        );
    }
    Ok(())
}
