//! What of a pod is refused by name: what the policy could not bind, it must not pretend to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::error::GenerateError;
use super::super::inject;
use super::super::schema;
use super::{Context, string};
use crate::request::{
    GENERATED_JOB, INDEX_KEY, MAX_CRON_JOB, MAX_HOSTNAME, MINUTE_DIGITS, VolumeKind, clean, completions, mode_of,
    mount_volume, volume_kind,
};

/// Where initializer and launcher have their files: the host's word must not reach there.
pub(super) const RESERVED_PATHS: [&str; 4] = ["/casemate", "/casemate-in", "/casemate-files", "/casemate-done"];

/// The agent enforces neither seccomp nor AppArmor profiles: one of the user's own must not be dropped in silence.
pub(super) fn profile(context: &Context<'_>, profile: &Value, path: &str) -> Result<(), GenerateError> {
    match profile["type"].as_str() {
        None if profile.is_null() => Ok(()),
        Some("RuntimeDefault" | "Unconfined") => Ok(()),
        _ => {
            let hint =
                "only `RuntimeDefault` and `Unconfined` may stand there, and neither is enforced inside the guest";
            Err(context.refuse(path, "a profile that the guest would not enforce", Some(hint.into())))
        }
    }
}

/// Kernel parameters that a pod has for itself, by their beginnings.
const NAMESPACED: [&str; 5] = ["fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm", "net."];

/// Refuses by name what the policy could not bind.
pub(super) fn check_fields(context: &Context<'_>, pod: &Value) -> Result<(), GenerateError> {
    let spec = &pod["spec"];
    schema::check(pod).map_err(|error| context.refuse(&error.path, error.reason, error.hint))?;
    for (field, reason) in [
        ("hostNetwork", "the guest has a network of its own, and what reaches the host's is not the mesh's to see"),
        ("hostPID", "the guest has processes of its own"),
        ("hostIPC", "the guest has shared memory of its own"),
    ] {
        if spec[field] == json!(true) {
            let hint = "a confidential pod has its own; leave it out".to_owned();
            return Err(context.refuse(&format!("spec.{field}"), format!("not supported: {reason}"), Some(hint)));
        }
    }
    for (index, container) in spec["initContainers"].as_array().into_iter().flatten().enumerate() {
        let asked = ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];
        let asked = asked.into_iter().find(|field| !container[*field].is_null());
        if let Some(field) = asked.filter(|_| container["restartPolicy"] != json!("Always")) {
            let path = format!("spec.initContainers[{index}].{field}");
            let reason = "Kubernetes takes none in an init container that ends";
            let hint = "leave it out, or make the container a sidecar with `restartPolicy: Always`".to_owned();
            return Err(context.refuse(&path, reason, Some(hint)));
        }
    }
    for (index, sysctl) in spec["securityContext"]["sysctls"].as_array().into_iter().flatten().enumerate() {
        let name = string(&sysctl["name"]);
        let path = format!("spec.securityContext.sysctls[{index}]");
        if !sysctl["value"].is_string() {
            return Err(context.refuse(&path, "`value` is missing", Some("write `value: \"…\"`".into())));
        }
        if !NAMESPACED.iter().any(|prefix| name.starts_with(prefix)) {
            let hint = "those of a pod begin with `net.`, `fs.mqueue.`, `kernel.shm`, `kernel.msg` or `kernel.sem`";
            return Err(context.refuse(
                &path,
                format!("`{name}` is none of a pod's, and Kubernetes refuses it"),
                Some(hint.into()),
            ));
        }
    }
    for path in ["seccompProfile", "appArmorProfile"] {
        profile(context, &spec["securityContext"][path], &format!("spec.securityContext.{path}"))?;
    }
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        let hint = Some("write `containers: [{name: …, image: …}]`".to_owned());
        return Err(context.refuse("spec.containers", "a pod needs a container", hint));
    }
    let label = "letters a to z, digits and `-`, at most 63, with a letter or digit at both ends";
    for list in ["initContainers", "containers", "volumes"] {
        let mut names = BTreeSet::new();
        for (index, item) in spec[list].as_array().into_iter().flatten().enumerate() {
            let name = string(&item["name"]);
            if !is_label(&name) {
                let reason =
                    if name.is_empty() { "`name` is missing".into() } else { format!("`{name}` is no valid name") };
                return Err(context.refuse(&format!("spec.{list}[{index}]"), reason, Some(label.into())));
            }
            if !names.insert(name.clone()) {
                return Err(context.refuse(
                    &format!("spec.{list}[{index}]"),
                    format!("the name `{name}` is there twice"),
                    Some("give one of them another name".into()),
                ));
            }
        }
    }
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let path = format!("spec.{list}.{}", string(&container["name"]));
            let security = &container["securityContext"];
            for field in ["seccompProfile", "appArmorProfile"] {
                profile(context, &security[field], &format!("{path}.securityContext.{field}"))?;
            }
            actions(context, container, &path)?;
        }
    }
    Ok(())
}

/// What the kubelet does to a container by probes and hooks: one thing each.
fn actions(context: &Context<'_>, container: &Value, path: &str) -> Result<(), GenerateError> {
    let refuse = |path: String, reason: &str, hint: &str| Err(context.refuse(&path, reason, Some(hint.to_owned())));
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| (probe, &container[probe]));
    let hooks = ["postStart", "preStop"].map(|hook| (hook, &container["lifecycle"][hook]));
    let probes =
        probes.into_iter().map(|(name, probe)| (name.to_owned(), probe, &["exec", "grpc", "httpGet", "tcpSocket"][..]));
    let hooks =
        hooks.into_iter().map(|(name, hook)| (format!("lifecycle.{name}"), hook, &["exec", "httpGet", "sleep"][..]));
    for (name, action, known) in probes.chain(hooks).filter(|(_, action, _)| !action.is_null()) {
        let path = format!("{path}.{name}");
        if !known.contains(&"tcpSocket") && !action["tcpSocket"].is_null() {
            let hint = "write `exec`, `httpGet` or `sleep`";
            return refuse(format!("{path}.tcpSocket"), "Kubernetes does not connect for a hook", hint);
        }
        if known.iter().filter(|kind| !action[**kind].is_null()).count() != 1 {
            return refuse(path, "it does not say one thing to do", &format!("write one of `{}`", known.join("`, `")));
        }
        let exec = &action["exec"];
        if !exec.is_null() && exec["command"].as_array().is_none_or(Vec::is_empty) {
            return refuse(format!("{path}.exec.command"), "no command", "write a list: `[\"/bin/check\"]`");
        }
    }
    Ok(())
}

pub(super) fn is_label(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    edge(name.chars().next())
        && edge(name.chars().last())
        && name.len() <= MAX_HOSTNAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Refuses resources whose pods would have other names or host names than the policy can say.
pub(super) fn check_naming(context: &Context<'_>, pod: &Value) -> Result<(), GenerateError> {
    let object = context.object;
    let value = context.inputs.value(object);
    let refuse = |path: &str, reason: String, hint: &str| {
        Err(GenerateError::Resource {
            place: context.inputs.place(object, &path.replace('.', "/")),
            resource: object.title(),
            reason: format!("`{path}`: {reason}"),
            hint: Some(hint.to_owned()),
        })
    };
    for of in ["annotations", "labels"] {
        if !pod["metadata"][of][INDEX_KEY].is_null() {
            let hint = "take it out: it is the Job's controller that writes it".to_owned();
            let path = format!("metadata.{of}.{INDEX_KEY}");
            return Err(context.refuse(&path, "the index of a pod, in the template of all", Some(hint)));
        }
    }
    if object.kind == "CronJob" && object.name.len() > MAX_CRON_JOB {
        let reason = format!("longer than {MAX_CRON_JOB} characters, which Kubernetes refuses for a CronJob");
        return refuse("metadata.name", reason, "the minute is added to the name");
    }
    if let Some((path, job)) = mode_of(value)
        && !job["completionMode"].is_null()
        && job["completionMode"] != json!("NonIndexed")
    {
        if job["completionMode"] != json!("Indexed") {
            let reason = "neither `Indexed` nor `NonIndexed`".to_owned();
            return refuse(&format!("{path}.completionMode"), reason, "leave it out if the pods need no index");
        }
        let Some(count) = completions(value) else {
            let (reason, hint) = ("no number of pods from 1 on", "an Indexed Job has an index for each completion");
            return refuse(&format!("{path}.completions"), reason.into(), hint);
        };
        if pod["spec"]["hostname"].is_string() {
            let hint = "leave it out".to_owned();
            let reason =
                "the controller of an Indexed Job gives each pod the name of the Job and the index for a host name";
            return Err(context.refuse("spec.hostname", reason, Some(hint)));
        }
        let job = match object.naming.0.as_str() {
            "CronJob" => object.name.len() + 1 + MINUTE_DIGITS,
            GENERATED_JOB => object.naming.1.len() + 5,
            _ => object.name.len(),
        };
        let longest = job + 1 + (count - 1).to_string().len();
        if longest > MAX_HOSTNAME || object.naming.1.contains('.') {
            let reason = format!(
                "with the index behind it, it is the host name of a pod, which has at most {MAX_HOSTNAME} characters, \
                 letters a to z, digits and `-`"
            );
            return refuse("metadata.name", reason, "shorten it, and write `-` in the place of each `.`");
        }
        return Ok(());
    }
    match &pod["spec"]["hostname"] {
        Value::String(name) if !is_label(name) => {
            let hint = "letters a to z, digits and `-`, at most 63".to_owned();
            return Err(context.refuse("spec.hostname", format!("`{name}` is no host name"), Some(hint)));
        }
        Value::String(_) => {}
        _ => {
            // The kubelet cuts a host name at 63 characters and then at the last letter or digit.
            let last = value["spec"]["replicas"].as_u64().unwrap_or(1).saturating_sub(1);
            let ordinal = if object.kind == "StatefulSet" { format!("-{last}").len() } else { 0 };
            let whole = ["Pod", "StatefulSet"].contains(&object.naming.0.as_str());
            if whole && object.name.len() + ordinal > MAX_HOSTNAME {
                let reason =
                    format!("the pod's name, which is its host name, is longer than {MAX_HOSTNAME} characters");
                return refuse("metadata.name", reason, "shorten it, or set `spec.hostname`");
            }
        }
    }
    Ok(())
}

/// The claims that a StatefulSet makes for each of its pods, as the volumes that the pods will have.
pub(super) fn claim_templates(context: &Context<'_>, pod: &Value) -> Result<Vec<Value>, GenerateError> {
    if context.object.kind != "StatefulSet" {
        return Ok(Vec::new());
    }
    let refuse = |index: Option<usize>, reason: String, hint: Option<&str>| {
        let path = index.map_or(String::new(), |index| format!("/{index}"));
        Err(GenerateError::Resource {
            place: context.inputs.place(context.object, &format!("spec/volumeClaimTemplates{path}")),
            resource: context.object.title(),
            reason: format!(
                "`spec.volumeClaimTemplates{}`: {reason}",
                index.map_or(String::new(), |i| format!("[{i}]"))
            ),
            hint: hint.map(str::to_owned),
        })
    };
    let templates = match &context.inputs.value(context.object)["spec"]["volumeClaimTemplates"] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(templates) => templates,
        _ => return refuse(None, "not a list".into(), Some("begin each element with `- `")),
    };
    let mut volumes: Vec<Value> = Vec::new();
    for (index, template) in templates.iter().enumerate() {
        let name = string(&template["metadata"]["name"]);
        if !is_label(&name) {
            let hint = "letters a to z, digits and `-`, at most 63";
            return refuse(Some(index), format!("`{name}` is no valid `metadata.name`"), Some(hint));
        }
        if inject::is_ours(&json!(name)) {
            return refuse(Some(index), format!("the name `{name}` is reserved"), Some("choose another"));
        }
        if template["spec"]["volumeMode"] == json!("Block") {
            return refuse(Some(index), "a block device is not supported".into(), Some("leave out `volumeMode`"));
        }
        let own = pod["spec"]["volumes"].as_array().into_iter().flatten().chain(&volumes);
        if own.into_iter().any(|volume| volume["name"] == json!(name)) {
            let hint = "the claim would take the place of the other volume";
            return refuse(Some(index), format!("another volume has the name `{name}`"), Some(hint));
        }
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    }
    Ok(volumes)
}

/// Refuses volumes of the user where initializer and launcher have their files. A claim at `/casemate/bin` would
/// otherwise put the host's program in the launcher's place.
/// `own` is the volume of a hand-written initializer, which was looked at.
pub(super) fn reserved_paths(context: &Context<'_>, pod: &Value, own: Option<&str>) -> Result<(), GenerateError> {
    let covers = |path: &str| {
        let path = clean(path);
        let at_or_below = |inner: &str, outer: &str| {
            inner == outer || outer == "/" || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
        };
        RESERVED_PATHS.iter().find(|own| at_or_below(&path, own) || at_or_below(own, &path))
    };
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let path = format!("spec.{list}.{}", string(&container["name"]));
            let mounts = container["volumeMounts"].as_array().into_iter().flatten().enumerate();
            let mounts = mounts.filter(|(_, mount)| own.is_none_or(|own| mount["name"] != json!(own)));
            let mounts = mounts.map(|(index, mount)| (format!("volumeMounts[{index}].mountPath"), &mount["mountPath"]));
            let log = ("terminationMessagePath".to_owned(), &container["terminationMessagePath"]);
            for (field, value) in mounts.chain([log]) {
                let Some(text) = value.as_str() else { continue };
                // The kubelet takes a relative path for one from the root.
                let absolute = format!("/{}", text.trim_start_matches('/'));
                if let Some(own) = covers(&absolute) {
                    let reason = format!("`{text}` reaches `{own}`, which belongs to the initializer and the launcher");
                    let hint = "choose another path; secrets are in `/casemate/secrets` without a volume".to_owned();
                    return Err(context.refuse(&format!("{path}.{field}"), reason, Some(hint)));
                }
            }
        }
    }
    Ok(())
}

/// Refuses mounts below a volume whose content is the host's: a symbolic link in it, where the mount is to be, would
/// lead the mount anywhere, the launcher's directory included.
pub(super) fn below_the_hosts(
    context: &Context<'_>,
    pod: &Value,
    container: &Value,
    request: &Value,
) -> Result<(), GenerateError> {
    let of_host = |mount: &&Value| {
        let volume = mount["mountPath"].as_str().and_then(|path| mount_volume(pod, container, path));
        volume.is_some_and(|volume| matches!(volume_kind(volume), Ok(VolumeKind::Claim | VolumeKind::Files(_))))
    };
    for mount in container["volumeMounts"].as_array().into_iter().flatten().filter(of_host) {
        let outer = clean(mount["mountPath"].as_str().unwrap_or_default());
        let all = request["OCI"]["Mounts"].as_array().into_iter().flatten();
        let below = |inner: &&str| clean(inner).strip_prefix(&outer).is_some_and(|rest| rest.starts_with('/'));
        if let Some(inner) = all.filter_map(|mount| mount["destination"].as_str()).find(below) {
            let path = format!("spec.containers.{}.volumeMounts", string(&container["name"]));
            let reason = format!(
                "`{inner}` is mounted inside `{outer}`, whose content is the host's: a link there would lead the mount elsewhere"
            );
            let hint = "mount it beside and not inside the claim".to_owned();
            return Err(context.refuse(&path, reason, Some(hint)));
        }
    }
    Ok(())
}

/// Writes the paths of mounts as they are meant: the rules compare text, and `/data/` hides `/data/x` from them.
pub(super) fn clean_paths(pod: &mut Value, notices: &mut Vec<String>) {
    for list in ["initContainers", "containers"] {
        let items = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in items.into_iter().flatten() {
            let name = string(&container["name"]);
            let mounts = container.get_mut("volumeMounts").and_then(Value::as_array_mut);
            for mount in mounts.into_iter().flatten() {
                let Some(path) = mount["mountPath"].as_str().filter(|path| path.starts_with('/')) else { continue };
                let cleaned = clean(path);
                if cleaned != path {
                    notices
                        .push(format!("container `{name}`: `mountPath: {path}` became `{cleaned}`, which is the same"));
                    mount["mountPath"] = json!(cleaned);
                }
            }
        }
    }
}
