//! What the policy denied: the guest is told to do something that `generate` did not see.

use super::prelude::*;

const SAID: &str = "is blocked by policy";

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, events) in troubled(bundle, out)? {
        let events = events.iter().rev().map(|event| text(event, "/message"));
        let statuses = containers(pod).into_iter().flat_map(|container| {
            ["/state/waiting/message", "/state/terminated/message", "/lastState/terminated/message"]
                .map(|pointer| text(container.status, pointer))
        });
        let said: Option<&str> = events.into_iter().chain(statuses).find(|message| message.contains(SAID));
        let Some(said) = said else { continue };
        let request = said.split(SAID).next().unwrap_or_default().rsplit(['"', ' ', ':']).find(|word| !word.is_empty());
        let request = request.unwrap_or("a request");
        out.push(
            Finding::problem(workload_of(pod), "The pod's policy denies what the host asks of the guest.")
                .why(format!("`{}` {SAID}", quote(request)))
                .mend(
                    "if the YAML changed after `generate`, or something changes pods on their way in, generate again or take \
                     that out; if neither, the host asks for what you did not allow, and the policy did its work",
                )
                .run("casemate generate --reference-values PLATFORM --check resources/")
                .run("casemate policy show resources/"),
        );
    }
    Ok(())
}
