//! What a pod may do and what its programs trust, for the user to know.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::error::GenerateError;
use super::super::inject;
use super::check::below_the_hosts;
use super::{Context, containers, list_annotation, string};
use crate::images::ImageConfig;
use crate::request::{
    PodInstance, VolumeKind, commands, container_request, no_new_privileges, symbolic_container_id, volume_kind,
};

/// Capabilities that a pod's containers may have though they endanger it: `NET_ADMIN,SYS_ADMIN`.
pub const CAPABILITIES_ANNOTATION: &str = "casemate.dev/allow-capabilities";

/// What root can do with a capability to the containers beside it.
pub(super) const POWERS: [(&str, &str); 3] = [
    ("CAP_SETUID", "become the mesh's user and ask for Evidence in its place"),
    ("CAP_NET_ADMIN", "change the pod's firewall"),
    ("CAP_SYS_ADMIN", "enter the namespaces of other containers"),
];

/// Says that nothing waits for init containers where there is no launcher to do so.
pub(super) fn order(pod: &Value, notices: &mut Vec<String>) {
    for container in pod["spec"]["initContainers"].as_array().into_iter().flatten() {
        let name = string(&container["name"]);
        if !inject::is_own(container) && container["restartPolicy"] != json!("Always") {
            notices.push(format!(
                "init container `{name}`: the host may leave it out or run it again, so the program must check what it \
                 left behind"
            ));
        }
    }
}

/// Probes and hooks that some hosts cannot run: Kata's Go shim does not ask for what such a container demands, and there
/// is no launcher that would see to it.
pub(super) fn unheard_commands(pod: &Value, notices: &mut Vec<String>) {
    for container in ["initContainers", "containers"].iter().filter_map(|list| pod["spec"][*list].as_array()).flatten()
    {
        if no_new_privileges(container) && !commands(container).is_empty() {
            notices.push(format!(
                "container `{}`: without the launcher, its probes and hooks that run commands are refused under Kata's Go \
                 shim, because of `allowPrivilegeEscalation: false`",
                string(&container["name"])
            ));
        }
    }
}

/// Capabilities that no container has by default, and that undo what protects the pod.
const UNDOING: [(&str, &str); 7] = [
    ("CAP_NET_ADMIN", "undo the pod's firewall"),
    ("CAP_SYS_ADMIN", "undo the pod's firewall"),
    ("CAP_SYS_MODULE", "load code into the guest's kernel"),
    ("CAP_SYS_RAWIO", "write to the guest's memory and devices"),
    ("CAP_BPF", "run programs in the guest's kernel"),
    ("CAP_PERFMON", "read the guest's kernel"),
    ("CAP_DAC_READ_SEARCH", "open files of other containers"),
];

/// Refuses containers that could undo what initializer and mesh do, and says which could try.
pub(super) fn powers(
    context: &Context<'_>,
    pod: &Value,
    configs: &BTreeMap<String, ImageConfig>,
    config: &PodInstance,
    notices: &mut Vec<String>,
) -> Result<(), GenerateError> {
    let allowed: Vec<String> = list_annotation(pod, CAPABILITIES_ANNOTATION)
        .iter()
        .map(|name| name.to_ascii_uppercase())
        .map(|name| format!("CAP_{}", name.strip_prefix("CAP_").unwrap_or(&name)))
        .collect();
    let none = ImageConfig::default();
    for container in containers(pod) {
        let name = string(&container["name"]);
        if inject::is_own(container) {
            continue;
        }
        let image = configs.get(&name).unwrap_or(&none);
        let request = container_request(pod, container, image, config, &symbolic_container_id());
        let mut request = request.map_err(|error| context.request(error))?;
        below_the_hosts(context, pod, container, &request)?;
        let process = request["OCI"]["Process"].take();
        let user = &process["User"];
        let of_mesh = json!(inject::MESH_USER);
        let groups = user["AdditionalGids"].as_array().is_some_and(|groups| groups.contains(&of_mesh));
        if groups || user["UID"] == of_mesh || user["GID"] == of_mesh {
            let reason = format!("{} is the mesh's user and group", inject::MESH_USER);
            let hint = "it could ask for Evidence in the mesh's place; let the container run as another".to_owned();
            return Err(context.refuse(&format!("spec.containers.{name}"), reason, Some(hint)));
        }
        let sets = process["Capabilities"]["Effective"].as_array();
        let has = |capability: &str| sets.is_some_and(|set| set.contains(&json!(capability)));
        for (capability, undoes) in UNDOING {
            if has(capability) && !allowed.iter().any(|allowed| allowed == capability) {
                let short = capability.trim_start_matches("CAP_");
                let path = format!("spec.containers.{name}.securityContext.capabilities.add");
                let hint = format!("if it must be, annotate the pod with `{CAPABILITIES_ANNOTATION}: \"{short}\"`");
                return Err(context.refuse(&path, format!("`{short}` lets it {undoes}"), Some(hint)));
            }
        }
        let can: Vec<_> = POWERS
            .iter()
            .filter(|(capability, _)| user["UID"] == json!(0) && has(capability))
            .map(|(capability, what)| format!("with {capability} it can {what}"))
            .collect();
        if !can.is_empty() {
            notices.push(format!("container `{name}` runs as root: {}", can.join(", ")));
        }
    }
    Ok(())
}

/// Kernel parameters that every kubelet sets; all others want its leave.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What stands in the pod and is done otherwise inside a guest, or by leave of the node alone.
pub(super) fn differences(pod: &Value, notices: &mut Vec<String>) {
    for sysctl in pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten() {
        let name = string(&sysctl["name"]);
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            notices.push(format!(
                "sysctl `{name}` is one that Kubernetes calls unsafe: the pod starts only on nodes whose kubelet allows it"
            ));
        }
    }
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = string(&volume["name"]);
        if !volume["emptyDir"]["sizeLimit"].is_null() {
            notices.push(format!(
                "volume `{name}`: nothing keeps `sizeLimit`, since the host does not see how full the guest's volume is"
            ));
        }
    }
}

/// Contents that no digest binds.
pub(super) fn host_words(pod: &Value, injected: bool, notices: &mut Vec<String>) {
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = string(&volume["name"]);
        match volume_kind(volume) {
            Ok(VolumeKind::Claim) => notices.push(format!("volume `{name}`: what is in the claim is the host's word")),
            Ok(VolumeKind::Files(kind)) if name != inject::PODINFO_VOLUME => {
                let bound = injected && kind.is_known();
                if !bound {
                    notices.push(format!("volume `{name}`: its files are the host's word"));
                }
            }
            _ => {}
        }
    }
    for container in containers(pod) {
        let commands = commands(container);
        if !commands.is_empty() {
            notices.push(format!(
                "container `{}`: the host may run the commands of its probes and hooks in it at any time: {}",
                string(&container["name"]),
                commands.iter().map(|command| format!("`{}`", command.join(" "))).collect::<Vec<_>>().join(", ")
            ));
        }
    }
    let default = |context: &Value| {
        ["seccompProfile", "appArmorProfile"].iter().any(|field| context[*field]["type"] == json!("RuntimeDefault"))
    };
    let own = containers(pod).into_iter().any(|container| default(&container["securityContext"]));
    if own || default(&pod["spec"]["securityContext"]) {
        notices.push("seccomp and AppArmor profiles are not enforced inside the guest".into());
    }
    for container in containers(pod) {
        let from = |source: &Value| !source["secretRef"].is_null() || !source["valueFrom"]["secretKeyRef"].is_null();
        let lists = [&container["env"], &container["envFrom"]];
        if lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten()).any(from) {
            notices.push(format!(
                "container `{}`: a Secret in a variable stands in the policy, where the operator can read it; \
                 `casemate secret put` keeps one from the operator",
                string(&container["name"])
            ));
        }
    }
}
