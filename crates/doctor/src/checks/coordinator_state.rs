//! What the Coordinator says on its probes: `uninitialised`, `active`, `recovering`, or 503 after it has stopped.

use super::coordinator_missing::coordinators;
use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let cluster = bundle.cluster()?;
    for pod in coordinators(bundle.list(Kind::Pods)?) {
        let subject = workload_of(pod);
        if text(pod, "/status/phase") != "Running" {
            // Why it does not run is for the checks of pods.
            continue;
        }
        let unknown = |why: &str| Unknown::NoAnswer {
            what: format!("the probe of {}", Subject::of(Kind::Pods, pod)),
            why: why.to_owned(),
        };
        let said = match cluster.probes.get(&format!("{}/{}", namespace(pod), name(pod))) {
            Some(Answer::Known(said)) => said.trim(),
            Some(Answer::Unknown(why)) => {
                out.unknown(unknown(why));
                continue;
            }
            None => {
                out.unknown(unknown("the bundle has no answer of it"));
                continue;
            }
        };
        let set = "casemate set -c HOST:1313 resources/";
        match said {
            "active" => {}
            "uninitialised" => out.push(
                Finding::problem(subject, "The Coordinator has no manifest: no pod gets a certificate.")
                    .why("its probe says `uninitialised`")
                    .mend("hand it the manifest")
                    .run(set),
            ),
            "recovering" => out.push(
                Finding::problem(subject, "The Coordinator was restarted and waits for the holders of seed shares.")
                    .why("its probe says `recovering`; pods that run keep their certificates for one lease")
                    .mend("let as many holders as the manifest's threshold send their shares")
                    .run("casemate recover -c HOST:1313 --seedshare-owner-key FILE"),
            ),
            "stopped" => out.push(
                Finding::problem(subject, "The Coordinator has stopped, and must be replaced.")
                    .why("its probe says `stopped`: its store could not be written, or contradicts what it knows")
                    .mend("see what it says, mend the store, and delete the pod; it recovers from its peers or its holders")
                    .run(format!("kubectl logs {} -n {}", shell(name(pod)), shell(namespace(pod))))
                    .run(format!("kubectl delete pod {} -n {}", shell(name(pod)), shell(namespace(pod)))),
            ),
            other => out.unknown(unknown(&format!("it says {}", quote(other)))),
        }
    }
    Ok(())
}
