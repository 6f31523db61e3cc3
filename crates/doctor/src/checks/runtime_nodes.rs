//! A class selects nodes by labels. Where none has them, its pods wait for ever.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let classes = bundle.list(Kind::RuntimeClasses)?;
    let nodes = bundle.list(Kind::Nodes)?;
    let mut wanted: Vec<Template<'_>> = templates(bundle, out);
    wanted.extend(written(bundle).unwrap_or_default());
    for class in classes {
        let users: Vec<&Template<'_>> =
            wanted.iter().filter(|template| text(template.pod, "/spec/runtimeClassName") == name(class)).collect();
        let Some(user) = users.first() else { continue };
        let selector = class.pointer("/scheduling/nodeSelector").unwrap_or(&Value::Null);
        if nodes.iter().any(|node| selects(selector, node)) {
            continue;
        }
        let missing: Vec<String> = texts(class, "/scheduling/nodeSelector")
            .filter(|(key, value)| !nodes.iter().any(|node| label(node, key) == Some(value)))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let missing = if missing.is_empty() {
            "no single node has all of its labels".to_owned()
        } else {
            format!("no node has {}", missing.join(", "))
        };
        out.push(
            Finding::problem(
                Subject::of(Kind::RuntimeClasses, class),
                "No node satisfies this RuntimeClass, so its pods wait for ever.",
            )
            .why(format!("{}; {} wants it", quote(&missing), user.subject))
            .mend("see what the nodes can do and what the agent is at; labels that it does not set, nothing backs")
            .run(format!("kubectl get nodes -L {},{},{},{}", names::KATA, names::SNP, names::TDX, names::CC_READY))
            .run("kubectl get nodeconfigurations"),
        );
    }
    Ok(())
}
