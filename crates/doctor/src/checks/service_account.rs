//! The account that a pod names must exist in its namespace.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let accounts = bundle.list(Kind::ServiceAccounts)?;
    for template in templates(bundle, out) {
        let account = text(template.pod, "/spec/serviceAccountName");
        let place = template.subject.namespace.clone().unwrap_or_default();
        let exists = accounts.iter().any(|it| name(it) == account && namespace(it) == place);
        if account.is_empty() || exists {
            continue;
        }
        out.push(
            Finding::problem(template.subject, format!("There is no service account `{}`.", quote(account)))
                .why(format!("the pods name it, and namespace {} lacks it; no pod is made without it", quote(&place)))
                .mend("make it, or correct the name")
                .run(format!("kubectl create serviceaccount {} -n {}", shell(account), shell(&place))),
        );
    }
    Ok(())
}
