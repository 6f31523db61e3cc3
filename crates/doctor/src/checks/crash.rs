//! Containers that end again and again, the initializer excepted, which has a check of its own.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, _) in troubled(bundle, out)? {
        for container in containers(pod) {
            let is_initializer =
                container.is_init && container.is_ours() && text(container.spec, "/restartPolicy") != "Always";
            let waits =
                ["CrashLoopBackOff", "RunContainerError", "CreateContainerError"].contains(&container.waits_for());
            if is_initializer || !waits || !is_ours(pod) {
                continue;
            }
            let Some(end) = container.last_end() else { continue };
            let code = number(end, "/exitCode").unwrap_or_default();
            let reason = text(end, "/reason");
            let words = words(end, "/message");
            let restarts = number(container.status, "/restartCount").unwrap_or_default();
            let (meaning, mend) = meaning(code, reason, container.is_ours());
            let said = if words.is_empty() { String::new() } else { format!("; it says: {}", quote(words)) };
            let what = format!("Container `{}` crashes again and again.", quote(container.name()));
            out.push(
                Finding::problem(workload_of(pod), what)
                    .why(format!("{restarts} restarts, last with exit status {code}: {meaning}{said}"))
                    .mend(mend)
                    .run(format!(
                        "kubectl logs {} -n {} -c {} --previous",
                        shell(name(pod)),
                        shell(namespace(pod)),
                        shell(container.name())
                    )),
            );
        }
    }
    Ok(())
}

/// What an exit status means: of the kernel, of our launcher, of our services.
fn meaning(code: i64, reason: &str, ours: bool) -> (&'static str, &'static str) {
    match (code, reason) {
        (_, "OOMKilled") | (137, _) => (
            "killed, mostly for memory",
            "raise the container's limit and generate again: the guest's memory is what the limits add up to",
        ),
        (125, _) => (
            "the launcher refused to start the program",
            "it says why: a program that ran before, an init container that has not ended, a file that is not what \
             initdata says, or no initializer before it",
        ),
        (126 | 127, _) => (
            "the program cannot be executed, or is not there",
            "correct `command` in the YAML, and generate again: the policy holds the whole command line",
        ),
        (1, _) if ours => ("a negative answer", "see what it says, and compare with the manifest"),
        (2, _) if ours => ("it could not tell", "see what it says: something that it needs did not answer"),
        _ => ("the program's own", "see what it says; logs are readable only where `settings.json` has `logs: true`"),
    }
}
