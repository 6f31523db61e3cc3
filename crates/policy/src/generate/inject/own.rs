//! An initializer that the user wrote: an init container that runs `casemate-pod initializer`, with an image, variables,
//! resources and a volume of its own. It is kept and given what it lacks; what contradicts its work is refused, so that
//! the pod is bound as with one that was added.

use serde_json::{Map, Value, json};

use super::{
    CHECKED, INITIALIZER, Injection, MESH, SHARED_VOLUME, array, is_ours, own_container, push, remove_if_empty,
};
use crate::generate::error::Fault;
use crate::request::{VolumeKind, clean, volume_kind};

/// What an initializer runs, and nothing behind it.
const COMMAND: [&str; 2] = ["/casemate-pod", "initializer"];
/// Where initializer, mesh and launcher have their volume.
const HOME: &str = "/casemate";
/// Where the initializer reads what the host gives it.
const GIVEN: &str = "/casemate-in";
/// Where the initializer finds the name of the Coordinator.
const COORDINATOR_HOST: &str = "COORDINATOR_HOST";
/// Actions of the kubelet that no initializer has.
const ACTIONS: [&str; 4] = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];

/// What was found of a hand-written initializer.
pub(in crate::generate) struct Own {
    /// The name of its volume, which all containers share.
    pub(in crate::generate) volume: String,
    /// What the user should know.
    pub(in crate::generate) notices: Vec<String>,
}

/// Whether a container is a hand-written initializer: its volume is not ours.
pub(super) fn is_hand_written(container: &Value) -> bool {
    is_meant(container) && home(container).is_some_and(|name| name != SHARED_VOLUME)
}

/// Whether a container of a pod that [`take`] has seen is the initializer or the mesh.
pub(in crate::generate) fn is_own(container: &Value) -> bool {
    [INITIALIZER, MESH].iter().any(|name| container["name"] == json!(name)) || container["command"] == json!(COMMAND)
}

/// The volume that a container mounts where the initializer has its files.
fn home(container: &Value) -> Option<&str> {
    let mut mounts = container["volumeMounts"].as_array()?.iter();
    let is_home = |mount: &&Value| mount["mountPath"].as_str().is_some_and(|path| clean(path) == HOME);
    mounts.find(is_home)?["name"].as_str()
}

/// Command and arguments as they stand in the pod.
fn argv(container: &Value) -> Vec<&str> {
    let lists = ["command", "args"].map(|field| container[field].as_array());
    lists.into_iter().flatten().flatten().filter_map(Value::as_str).collect()
}

fn is_meant(container: &Value) -> bool {
    container["name"] == json!(INITIALIZER) || argv(container).starts_with(&COMMAND)
}

fn refuse<T>(path: impl Into<String>, reason: impl Into<String>, hint: &str) -> Result<T, Fault> {
    Err(Fault { path: path.into(), reason: reason.into(), hint: Some(hint.to_owned()) })
}

/// Finds a hand-written initializer in a pod from which all that was added is taken off, and gives it what it lacks, which
/// stays in the user's file: a second run finds it there.
pub(in crate::generate) fn take(pod: &mut Value) -> Result<Option<Own>, Fault> {
    let mut found = None;
    for list in ["initContainers", "containers"] {
        for (index, container) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            if !is_meant(container) {
                continue;
            }
            let path = format!("spec.{list}.{}", container["name"].as_str().unwrap_or_default());
            if list == "containers" {
                return refuse(path, "an initializer among the containers", "make it the first of `initContainers`");
            }
            if index > 0 {
                let hint = "make it the first: nothing else starts before it has closed the network";
                return refuse(path, "an initializer behind other init containers", hint);
            }
            found = Some((path, container.clone()));
        }
    }
    let Some((path, mut container)) = found else { return Ok(None) };
    let mut notices = Vec::new();
    check(&container, &path)?;
    let volume = own_volume(&container, &path)?;
    settle_volume(pod, &volume, &path, &mut notices)?;
    complete(&mut container);
    let name = container["name"].as_str().unwrap_or_default();
    notices.push(format!("init container `{name}` is the pod's initializer, with the volume `{volume}`"));
    if let Some(first) = array(&mut pod["spec"], "initContainers").and_then(|list| list.first_mut()) {
        *first = container;
    }
    share(pod, &volume)?;
    Ok(Some(Own { volume, notices }))
}

/// Refuses what no initializer does.
fn check(container: &Value, path: &str) -> Result<(), Fault> {
    let argv = argv(container);
    if !argv.is_empty() && argv != COMMAND && argv != COMMAND.get(1..).unwrap_or_default() {
        let hint = "write `command: [/casemate-pod, initializer]`; `COORDINATOR_HOST` says where the Coordinator is";
        return refuse(format!("{path}.command"), "an initializer runs `/casemate-pod initializer` alone", hint);
    }
    if !container["restartPolicy"].is_null() {
        let hint = "leave it out: containers start once the initializer has ended";
        return refuse(format!("{path}.restartPolicy"), "an initializer is no sidecar", hint);
    }
    if let Some(action) = ACTIONS.into_iter().find(|action| !container[*action].is_null()) {
        return refuse(format!("{path}.{action}"), "the host runs nothing in an initializer", "leave it out");
    }
    let security = &container["securityContext"];
    let at = |field: &str| format!("{path}.securityContext.{field}");
    for (field, id) in [("runAsUser", "user"), ("runAsGroup", "group")] {
        if !security[field].is_null() && security[field] != json!(0) {
            let reason = format!("an initializer sets the firewall up as root, {id} 0");
            return refuse(at(field), reason, "leave it out: `generate` adds it");
        }
    }
    if security["runAsNonRoot"] == json!(true) {
        return refuse(at("runAsNonRoot"), "an initializer sets the firewall up as root", "leave it out");
    }
    let capabilities = &security["capabilities"];
    if !capabilities.is_null() {
        let has = |list: &str, name: &str| {
            capabilities[list].as_array().is_some_and(|all| all.iter().any(|known| known == name))
        };
        let dropped = |name: &str| has("drop", name) || has("drop", "ALL");
        let lacks = |name: &&str| !has("add", name) && (*name == "NET_ADMIN" || dropped(name));
        let lacking: Vec<_> = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_ADMIN"].into_iter().filter(lacks).collect();
        if !lacking.is_empty() {
            let reason = format!("an initializer needs {}, too", lacking.join(", "));
            return refuse(at("capabilities"), reason, "leave `capabilities` out: `generate` adds them");
        }
    }
    Ok(())
}

/// The volume of the initializer, which it mounts at its place and may write.
fn own_volume(container: &Value, path: &str) -> Result<String, Fault> {
    let mut volume = None;
    for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let at = format!("{path}.volumeMounts[{index}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if mount["mountPath"].as_str().map(clean).as_deref() != Some(HOME) {
            let hint = "leave it out: `generate` adds what the initializer reads";
            return refuse(at, format!("an initializer mounts its volume at `{HOME}` and no other"), hint);
        }
        for field in ["subPath", "subPathExpr", "mountPropagation"] {
            if !mount[field].is_null() {
                return refuse(format!("{at}.{field}"), "an initializer has its volume whole", "leave it out");
            }
        }
        if mount["readOnly"] == json!(true) {
            let hint = "leave it out: certificate, secrets and launcher are written there";
            return refuse(format!("{at}.readOnly"), "an initializer writes to its volume", hint);
        }
        if volume.replace(name.to_owned()).is_some() {
            return refuse(at, format!("a second mount at `{HOME}`"), "keep one of them");
        }
    }
    match volume {
        Some(volume) => Ok(volume),
        None => refuse(
            path,
            format!("an initializer without a volume of its own at `{HOME}`"),
            "mount an `emptyDir` with `medium: Memory` there, or leave the container out: `generate` adds one",
        ),
    }
}

/// The volume must be guest memory, where the host neither reads the key nor writes the launcher.
fn settle_volume(pod: &mut Value, name: &str, path: &str, notices: &mut Vec<String>) -> Result<(), Fault> {
    let at = format!("spec.volumes.{name}");
    if is_ours(&json!(name)) {
        let hint = "names that begin with `casemate` are for what `generate` adds; choose another";
        return refuse(at, format!("the name `{name}` is reserved"), hint);
    }
    let volumes = array(&mut pod["spec"], "volumes").into_iter().flatten();
    let Some(volume) = volumes.into_iter().find(|volume| volume["name"] == json!(name)) else {
        let hint = format!("add `{{name: {name}, emptyDir: {{medium: Memory}}}}` to `spec.volumes`");
        return refuse(format!("{path}.volumeMounts"), format!("no volume has the name `{name}`"), &hint);
    };
    match volume_kind(volume) {
        Ok(VolumeKind::Memory) => {}
        Ok(VolumeKind::Directory) => {
            if !volume["emptyDir"].is_object() {
                volume["emptyDir"] = json!({});
            }
            volume["emptyDir"]["medium"] = json!("Memory");
            notices.push(format!("volume `{name}` of the initializer got `medium: Memory`: it holds the pod's key"));
        }
        _ => {
            let hint = "write `emptyDir: {medium: Memory}`";
            return refuse(at, "the volume of an initializer is guest memory: it holds the pod's key", hint);
        }
    }
    Ok(())
}

/// Writes down what an initializer has, where nothing is said.
fn complete(container: &mut Value) {
    let none = Injection { pod_image: "", coordinator_host: None };
    let usual = own_container(INITIALIZER, "initializer", &none);
    if argv(container) != COMMAND || container["command"].as_array().map(Vec::len) != Some(COMMAND.len()) {
        if let Some(fields) = container.as_object_mut() {
            fields.shift_remove("args");
        }
        container["command"] = json!(COMMAND);
    }
    if container["resources"].as_object().is_none_or(Map::is_empty) {
        container["resources"] = usual["resources"].clone();
    }
    if !container["securityContext"].is_object() {
        container["securityContext"] = json!({});
    }
    for (field, value) in usual["securityContext"].as_object().into_iter().flatten() {
        if container["securityContext"][field].is_null() {
            container["securityContext"][field] = value.clone();
        }
    }
}

/// Mounts the volume for every other container, which must not write to it.
fn share(pod: &mut Value, volume: &str) -> Result<(), Fault> {
    for list in ["initContainers", "containers"] {
        for container in array(&mut pod["spec"], list).into_iter().flatten() {
            if is_own(container) {
                continue;
            }
            let path = format!("spec.{list}.{}", container["name"].as_str().unwrap_or_default());
            let mut is_there = false;
            for (index, mount) in array(container, "volumeMounts").into_iter().flatten().enumerate() {
                if mount["name"] != json!(volume) {
                    continue;
                }
                let at = format!("{path}.volumeMounts[{index}]");
                if mount["mountPath"].as_str().map(clean).as_deref() != Some(HOME) || !mount["subPath"].is_null() {
                    let reason = format!("`{volume}` is the initializer's, and is mounted whole at `{HOME}`");
                    return refuse(at, reason, "mount it there, or leave it out: `generate` adds it");
                }
                if mount["readOnly"] == json!(false) {
                    let reason = "a container that writes to the initializer's volume could replace the launcher";
                    return refuse(format!("{at}.readOnly"), reason, "write `readOnly: true`");
                }
                mount["readOnly"] = json!(true);
                is_there = true;
            }
            if !is_there {
                push(container, "volumeMounts", json!({"name": volume, "mountPath": HOME, "readOnly": true}));
            }
        }
    }
    Ok(())
}

/// The initializer and the volume of a pod that [`take`] has seen, the initializer no longer among the init containers.
pub(super) fn take_out(pod: &mut Value, injection: &Injection<'_>) -> Option<(Value, String)> {
    let list = array(&mut pod["spec"], "initContainers")?;
    let index = list.iter().position(is_hand_written)?;
    let mut container = list.remove(index);
    let volume = home(&container)?.to_owned();
    let said = variable(&container).is_some();
    if let Some(host) = injection.coordinator_host.as_ref().filter(|_| !said) {
        push(&mut container, "env", json!({"name": COORDINATOR_HOST, "value": host}));
    }
    push(&mut container, "volumeMounts", super::podinfo_mount());
    Some((container, volume))
}

fn variable(container: &Value) -> Option<&Value> {
    let mut env = container["env"].as_array().into_iter().flatten();
    env.find(|variable| variable["name"] == json!(COORDINATOR_HOST))
}

/// The mesh beside a hand-written initializer: the same volume, and the same Coordinator.
pub(super) fn fit_mesh(mesh: &mut Value, initializer: &Value, volume: &str) {
    for mount in array(mesh, "volumeMounts").into_iter().flatten().filter(|mount| mount["name"] == json!(SHARED_VOLUME))
    {
        mount["name"] = json!(volume);
    }
    if let Some(variable) = variable(initializer) {
        mesh["env"] = json!([variable]);
    }
}

/// Takes off a hand-written initializer what [`super::inject`] mounts for it.
pub(super) fn strip(container: &mut Value) {
    if !is_hand_written(container) {
        return;
    }
    if let Some(mounts) = array(container, "volumeMounts") {
        let below = |path: &str, outer: &str| path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        mounts.retain(|mount| {
            mount["mountPath"].as_str().is_none_or(|path| !below(path, GIVEN) && !below(path, CHECKED))
        });
    }
    remove_if_empty(container, "volumeMounts");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::inject::{inject, strip};
    use crate::images::ImageConfig;

    fn pod() -> Value {
        json!({"metadata": {}, "spec": {
            "initContainers": [
                {"name": "attest", "image": "mirror.example/pod:1", "command": ["/casemate-pod", "initializer"],
                 "env": [{"name": "COORDINATOR_HOST", "value": "coordinator.trust"}],
                 "volumeMounts": [{"name": "trust", "mountPath": "/casemate/"}]},
                {"name": "migrate", "command": ["/migrate"]},
            ],
            "containers": [
                {"name": "app", "command": ["/app"], "volumeMounts": [
                    {"name": "trust", "mountPath": "/casemate"},
                    {"name": "conf", "mountPath": "/etc/app"},
                    {"name": "conf", "mountPath": "/etc/one", "subPath": "one"}]},
            ],
            "volumes": [{"name": "trust", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "conf"}}],
        }})
    }

    fn made(pod: &Value, host: Option<&str>) -> Value {
        let mut pod = pod.clone();
        strip(&mut pod);
        take(&mut pod).unwrap_or_else(|fault| panic!("{fault:?}"));
        let injection = Injection { pod_image: "pod@sha256:1", coordinator_host: host.map(str::to_owned) };
        inject(&mut pod, &injection, &|_| ImageConfig::default()).unwrap();
        super::super::annotate(&mut pod, protocol::initdata::ANNOTATION, "x");
        pod
    }

    #[test]
    fn a_hand_written_initializer_is_kept_and_completed_once() {
        let once = made(&pod(), Some("coordinator.other"));
        let spec = &once["spec"];
        let names: Vec<_> = spec["initContainers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["attest", MESH, "migrate"]);
        let initializer = &spec["initContainers"][0];
        assert_eq!(initializer["image"], json!("mirror.example/pod:1"));
        assert_eq!(initializer["env"], json!([{"name": "COORDINATOR_HOST", "value": "coordinator.trust"}]));
        assert_eq!(initializer["securityContext"]["runAsUser"], json!(0));
        let at = |mount: &Value| mount["mountPath"].as_str().unwrap().to_owned();
        let paths: Vec<_> = initializer["volumeMounts"].as_array().unwrap().iter().map(at).collect();
        assert_eq!(
            paths,
            ["/casemate/", "/casemate-in/podinfo/initdata", "/casemate-in/files/conf", "/casemate-files/conf"],
            "it reads and writes what an added one does"
        );
        let mesh = &spec["initContainers"][1];
        assert_eq!((&mesh["env"], &mesh["volumeMounts"][0]["name"]), (&initializer["env"], &json!("trust")));
        assert_eq!(spec["volumes"][0], json!({"name": "trust", "emptyDir": {"medium": "Memory"}}));
        let volumes = spec["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|volume| volume["name"] != json!(SHARED_VOLUME)), "{volumes:?}");
        for container in [&spec["initContainers"][2], &spec["containers"][0]] {
            let mounts = container["volumeMounts"].as_array().unwrap();
            let shared: Vec<_> = mounts.iter().filter(|mount| at(mount) == HOME).collect();
            assert_eq!(shared, [&json!({"name": "trust", "mountPath": HOME, "readOnly": true})]);
            assert_eq!(container["command"][0], json!("/casemate/bin/launch"));
        }
        assert_eq!(made(&once, Some("coordinator.other")), once, "a second run changes nothing");
        // Without a host of its own it asks the Coordinator that is known.
        let mut plain = pod();
        plain["spec"]["initContainers"][0].as_object_mut().unwrap().shift_remove("env");
        let once = made(&plain, Some("coordinator.other"));
        let env = json!([{"name": "COORDINATOR_HOST", "value": "coordinator.other"}]);
        assert_eq!(
            (&once["spec"]["initContainers"][0]["env"], &once["spec"]["initContainers"][1]["env"]),
            (&env, &env)
        );
        assert_eq!(made(&once, Some("coordinator.other")), once);
        assert!(made(&plain, None)["spec"]["initContainers"][1]["env"].is_null());
    }

    #[test]
    fn the_name_and_the_arguments_tell_an_initializer_too() {
        for (command, args) in [
            (json!(["/casemate-pod", "initializer"]), json!(null)),
            (json!(["/casemate-pod"]), json!(["initializer"])),
            (json!(null), json!(["initializer"])),
            (json!(null), json!(null)),
        ] {
            let mut pod = pod();
            let container = &mut pod["spec"]["initContainers"][0];
            container["name"] = json!(INITIALIZER);
            container["command"] = command;
            container["args"] = args;
            let once = made(&pod, None);
            let container = &once["spec"]["initContainers"][0];
            assert_eq!((&container["command"], &container["args"]), (&json!(COMMAND), &json!(null)));
            assert_eq!(made(&once, None), once);
        }
        let mut none = json!({"spec": {"initContainers": [{"name": "x", "command": ["/casemate-pod", "mesh"]}]}});
        assert!(take(&mut none).unwrap().is_none());
    }

    type Change = fn(&mut Value);

    #[test]
    fn what_contradicts_its_work_is_refused_by_name() {
        let changes: &[(Change, &str, &str)] = &[
            (
                |i| i["volumeMounts"][0]["readOnly"] = json!(true),
                "attest.volumeMounts[0].readOnly",
                "writes to its volume",
            ),
            (|i| i["volumeMounts"][0]["subPath"] = json!("x"), "attest.volumeMounts[0].subPath", "whole"),
            (|i| i["volumeMounts"][0]["mountPath"] = json!("/x"), "attest.volumeMounts[0]", "no other"),
            (|i| push(i, "volumeMounts", json!({"name": "conf", "mountPath": "/c"})), "volumeMounts[1]", "no other"),
            (
                |i| push(i, "volumeMounts", json!({"name": "b", "mountPath": "/casemate"})),
                "volumeMounts[1]",
                "a second",
            ),
            (|i| i["volumeMounts"] = json!([]), "initContainers.attest", "without a volume"),
            (|i| i["volumeMounts"][0]["name"] = json!("conf"), "spec.volumes.conf", "guest memory"),
            (|i| i["volumeMounts"][0]["name"] = json!("nothing"), "attest.volumeMounts", "no volume has the name"),
            (|i| i["volumeMounts"][0]["name"] = json!("casemate"), "spec.volumes.casemate", "reserved"),
            (|i| push(i, "command", json!("--coordinator=x")), "attest.command", "alone"),
            (|i| i["args"] = json!(["x"]), "attest.command", "alone"),
            (|i| i["restartPolicy"] = json!("Always"), "attest.restartPolicy", "no sidecar"),
            (|i| i["lifecycle"] = json!({}), "attest.lifecycle", "runs nothing"),
            (|i| i["securityContext"] = json!({"runAsUser": 7}), "attest.securityContext.runAsUser", "as root"),
            (|i| i["securityContext"] = json!({"runAsGroup": 7}), "securityContext.runAsGroup", "as root"),
            (|i| i["securityContext"] = json!({"runAsNonRoot": true}), "securityContext.runAsNonRoot", "as root"),
            (
                |i| i["securityContext"] = json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "CHOWN"]}}),
                "securityContext.capabilities",
                "needs DAC_OVERRIDE, FOWNER",
            ),
            (|i| i["securityContext"] = json!({"capabilities": {}}), "securityContext.capabilities", "needs NET_ADMIN"),
        ];
        for (change, path, reason) in changes {
            let mut pod = pod();
            change(&mut pod["spec"]["initContainers"][0]);
            let Err(fault) = take(&mut pod) else { panic!("{path}: it was taken") };
            assert!(fault.path.ends_with(path) && fault.reason.contains(reason), "{path}: {fault:?}");
            assert!(fault.hint.is_some(), "{path}");
        }
        let of_pod: &[(Change, &str, &str)] = &[
            (
                |p| p["spec"]["initContainers"].as_array_mut().unwrap().swap(0, 1),
                "initContainers.attest",
                "behind other",
            ),
            (|p| p["spec"]["initContainers"][1]["command"] = json!(COMMAND), "initContainers.migrate", "behind other"),
            (|p| p["spec"]["containers"][0]["command"] = json!(COMMAND), "containers.app", "among the containers"),
            (
                |p| p["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] = json!(false),
                "app.volumeMounts[0].readOnly",
                "replace the launcher",
            ),
            (
                |p| p["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/trust"),
                "app.volumeMounts[0]",
                "mounted whole at",
            ),
            (
                |p| p["spec"]["volumes"][0] = json!({"name": "trust", "hostPath": {}}),
                "spec.volumes.trust",
                "guest memory",
            ),
        ];
        for (change, path, reason) in of_pod {
            let mut pod = pod();
            change(&mut pod);
            let Err(fault) = take(&mut pod) else { panic!("{path}: it was taken") };
            assert!(fault.path.ends_with(path) && fault.reason.contains(reason), "{path}: {fault:?}");
        }
    }
}
