//! The address that the user knows the Coordinator by.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let address = bundle.coordinator.as_ref().ok_or(Unknown::NotAsked { what: "`--coordinator`" })?;
    let Some(fault) = &address.fault else { return Ok(()) };
    out.push(
        Finding::problem(
            Subject::named("Coordinator", None, &address.address),
            "The Coordinator's address cannot be reached from here.",
        )
        .why(quote(fault))
        .mend("name the address of its load balancer, or forward the port; 1313 is the port for users")
        .run("kubectl get services -A")
        .run("kubectl port-forward -n NAMESPACE service/coordinator 1313:1313"),
    );
    Ok(())
}
