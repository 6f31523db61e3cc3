//! A measured launch, held against a reported digest, as an explanation.

use protocol::digest::Measurement;

use crate::explain::{Problem, Section, Verdict};

use super::Launch;

/// Whether a reported launch digest is that of this launch, and with how many vCPUs.
pub fn explain(launch: &Launch, reported: &Measurement, limit: u32) -> Section {
    let mut section = Section::note("launch").claim("measurement", *reported);
    if let Some(vcpus) = launch.which_vcpu_count(reported, limit) {
        section.verdict = Verdict::Verified;
        return section.claim("vcpus", vcpus);
    }
    section.verdict = Verdict::Refused;
    section.problems.push(Problem {
        code: "launch-differs",
        message: format!("launch digest {} is that of no vCPU count up to {limit}", reported.short()),
        hint: Some(
            "something other than the number of vCPUs differs: firmware, kernel, initrd, command line (to the byte), vCPU \
             type, guest features, or the VMM"
                .to_owned(),
        ),
    });
    section.claim("computed with one vCPU", launch.digest(1).ok())
}
