//! Every workload asks a Coordinator.

use protocol::Role;

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    bundle.cluster()?;
    let before = out.unknown.len();
    let all = templates(bundle, out);
    let role = |template: &Template<'_>| template.initdata().and_then(|initdata| initdata.role);
    let Some(user) = all.iter().find(|template| role(template) == Some(Role::Workload)) else { return Ok(()) };
    let coordinators: Vec<&Template<'_>> =
        all.iter().filter(|template| role(template) == Some(Role::Coordinator)).collect();
    if coordinators.is_empty() {
        if out.unknown.len() == before {
            out.push(
                Finding::problem(
                    user.subject.clone(),
                    "There is no Coordinator: pods wait for one in their initializer.",
                )
                .why("no workload of the cluster has initdata with the role of the Coordinator")
                .mend("apply the one that `generate` wrote beside the other resources")
                .run(format!("kubectl apply -f resources/{}", policy::generate::COORDINATOR_FILE)),
            );
        }
        return Ok(());
    }
    let pods = bundle.list(Kind::Pods)?;
    for coordinator in coordinators {
        let mut mine = pods.iter().filter(|pod| workload_of(pod) == coordinator.subject).peekable();
        if mine.peek().is_none() {
            out.push(
                Finding::problem(coordinator.subject.clone(), "The Coordinator has no pod.")
                    .why("its workload is there, and no pod of it")
                    .mend("see what its events say; it may be scaled to none")
                    .run(format!("kubectl describe {}", coordinator.subject.arguments())),
            );
        }
    }
    Ok(())
}

/// The Coordinator's pods.
pub(super) fn coordinators(pods: &[Value]) -> impl Iterator<Item = &Value> {
    let is_one = |pod: &&Value| crate::facts::Initdata::on(pod).is_some_and(|it| it.role == Some(Role::Coordinator));
    pods.iter().filter(is_one)
}
