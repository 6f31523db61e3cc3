//! The services of Endorsers: without what they say, Evidence cannot be judged.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let services =
        bundle.services.as_ref().ok_or(Unknown::NotAsked { what: "vendors' services (without `--offline`)" })?;
    // A manifest says whose are needed. Without one any of them may be.
    let needed = bundle.manifest().ok().map(|manifest| &manifest.vendors);
    for service in services {
        let Some(fault) = &service.fault else { continue };
        let certain = match needed {
            Some(vendors) if !vendors.contains(&service.vendor) => continue,
            Some(_) => true,
            None => false,
        };
        let subject = Subject::named("Service", None, &service.url);
        let what = format!("{} cannot be reached from here.", quote(&service.about));
        let finding = if certain { Finding::problem(subject, what) } else { Finding::warning(subject, what) };
        out.push(
            finding
                .why(quote(fault))
                .mend(
                    "let this machine out to it on port 443, name a mirror of yours, or carry its documents over from a \
                     machine that can reach it",
                )
                .run(format!(
                    "CASEMATE_ENDORSEMENT_SOURCES={}=https://MIRROR casemate verify -c HOST:1313",
                    option(&service.vendor, &service.url)
                ))
                .run("casemate endorsements fetch EVIDENCE && casemate endorsements export --output site.json   # there")
                .run("casemate endorsements import site.json                                                  # here"),
        );
    }
    Ok(())
}

/// The service's name in that variable.
fn option(vendor: &str, url: &str) -> &'static str {
    match vendor {
        "amd" => "amd",
        "intel" => "intel",
        _ if url.contains("ocsp") => "nvidia-ocsp",
        _ => "nvidia-rim",
    }
}
