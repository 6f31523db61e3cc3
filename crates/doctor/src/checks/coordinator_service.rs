//! Owners reach the Coordinator on 1313, pods on 7777, both through a service.

use super::coordinator_missing::coordinators;
use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let pods = bundle.list(Kind::Pods)?;
    let services = bundle.list(Kind::Services)?;
    let slices = bundle.list(Kind::EndpointSlices)?;
    for pod in coordinators(pods) {
        let subject = workload_of(pod);
        let mine: Vec<&Value> = services.iter().filter(|service| leads_to(service, pod)).collect();
        for (port, who) in [(names::USER_PORT, "owners and clients"), (names::MESH_PORT, "initializers and meshes")] {
            let serves = |service: &&&Value| {
                items(service, "/spec/ports").iter().any(|it| number(it, "/port") == Some(i64::from(port)))
            };
            let Some(service) = mine.iter().find(serves) else {
                out.push(
                    Finding::problem(subject.clone(), format!("No service leads to the Coordinator's port {port}."))
                        .why(format!("{who} connect there; {} services select its pods", mine.len()))
                        .mend("apply the service that stands beside the Coordinator")
                        .run(format!("kubectl apply -f resources/{}", policy::generate::COORDINATOR_FILE)),
                );
                continue;
            };
            let ready = slices
                .iter()
                .filter(|slice| {
                    namespace(slice) == namespace(service)
                        && label(slice, "kubernetes.io/service-name") == Some(name(service))
                })
                .flat_map(|slice| items(slice, "/endpoints"))
                .any(|endpoint| is_true(endpoint, "/conditions/ready"));
            if !ready && is_fine(pod) {
                out.push(
                    Finding::problem(Subject::of(Kind::Services, service), "The Coordinator's service has no ready endpoint.")
                        .why("its pod is ready, and no EndpointSlice of the service has it")
                        .mend("compare the service's selector with the pod's labels, and see whether the cluster's controllers run")
                        .run(format!(
                            "kubectl get endpointslices -n {} -l kubernetes.io/service-name={}",
                            shell(namespace(service)),
                            shell(name(service))
                        )),
                );
            }
        }
    }
    Ok(())
}

fn leads_to(service: &Value, pod: &Value) -> bool {
    let selector = service.pointer("/spec/selector").filter(|it| it.as_object().is_some_and(|map| !map.is_empty()));
    namespace(service) == namespace(pod) && selector.is_some_and(|selector| selects(selector, pod))
}
