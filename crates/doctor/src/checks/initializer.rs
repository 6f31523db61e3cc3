//! The initializer: 1 is a negative answer, 2 is "could not tell" (design: exit statuses). Its last words say the rest.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, _) in troubled(bundle, out)? {
        for container in containers(pod).into_iter().filter(|container| container.is_init && container.is_ours()) {
            let Some(end) = container.last_end() else { continue };
            let code = number(end, "/exitCode").unwrap_or_default();
            if code == 0 || text(container.spec, "/restartPolicy") == "Always" {
                continue;
            }
            let words = words(end, "/message");
            let logs = format!(
                "kubectl logs {} -n {} -c {} --previous",
                shell(name(pod)),
                shell(namespace(pod)),
                shell(container.name())
            );
            let (what, meaning) = match code {
                1 => {
                    ("The initializer says no: it, or the Coordinator, does not accept this pod.", "a negative answer")
                }
                2 => ("The initializer could not tell: something that it needs did not answer.", "it could not tell"),
                _ => ("The initializer ended unexpectedly.", "not a status of ours"),
            };
            let said =
                if words.is_empty() { "it left no words".to_owned() } else { format!("it says: {}", quote(words)) };
            let finding =
                Finding::problem(workload_of(pod), what).why(format!("exit status {code} ({meaning}); {said}"));
            out.push(advise(finding, code, &words.to_lowercase()).run(logs));
        }
    }
    Ok(())
}

fn advise(finding: Finding, code: i64, words: &str) -> Finding {
    let has = |some: &[&str]| some.iter().any(|word| words.contains(word));
    if has(&["not-in-manifest", "not in the manifest", "does not list"]) {
        finding.mend("hand over the manifest that lists this pod").run("casemate set -c HOST:1313 resources/")
    } else if has(&["no-manifest", "no manifest"]) {
        finding.mend("the Coordinator has no manifest yet").run("casemate set -c HOST:1313 resources/")
    } else if has(&["recovering"]) {
        finding
            .mend("the Coordinator waits for its share holders")
            .run("casemate recover -c HOST:1313 --seedshare-owner-key FILE")
    } else if has(&["attestation agent", "8006", "no evidence"]) {
        finding
            .mend("the guest image has no attestation agent on its loopback: use the repacked one")
            .run("casemate guest-image repack KATA-RELEASE.tar")
    } else if has(&["resolve", "connect", "timed out", "unreachable", "refused"]) && code == 2 {
        finding
            .mend("it does not reach the Coordinator: see its service, and network policies")
            .run("casemate doctor --only coordinator-service,network-policy,coordinator-state")
    } else if code == 1 {
        finding
            .mend("compare what was measured with the manifest's reference values")
            .run("casemate verify -c HOST:1313")
    } else {
        finding.mend("see what it says")
    }
}
