//! Initdata: what makes a pod's identity. A pod of a confidential class without it has none.

use protocol::initdata::MAX_ANNOTATION;

use super::prelude::*;
use crate::facts::Initdata;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    bundle.cluster()?;
    for template in templates(bundle, out).into_iter().filter(|template| is_guest(template.pod)) {
        let generate = |finding: Finding| {
            finding
                .mend("generate from the YAML, and apply what it wrote")
                .run("casemate generate --reference-values PLATFORM resources/")
                .run("kubectl apply -f resources/")
        };
        match template.initdata() {
            None => out.push(generate(
                Finding::problem(
                    template.subject,
                    "A confidential pod has no initdata, so it has no identity and no policy.",
                )
                .why(
                    "its template lacks the annotation; the guest stops before its first request, or allows everything",
                ),
            )),
            Some(Initdata { bytes, .. }) if bytes > MAX_ANNOTATION => out.push(
                Finding::problem(template.subject, "The initdata is longer than Kubernetes takes annotations.")
                    .why(format!("it has {bytes} bytes, and all annotations together may have {MAX_ANNOTATION}"))
                    .mend(
                        "split the pod, or shorten what its policy holds: environment, arguments, files of ConfigMaps",
                    )
                    .run("casemate policy show resources/"),
            ),
            Some(Initdata { fault: Some(fault), .. }) => out.push(generate(
                Finding::problem(template.subject, "The initdata cannot be read, so the guest will not start.")
                    .why(quote(&fault)),
            )),
            Some(_) => {}
        }
    }
    Ok(())
}
