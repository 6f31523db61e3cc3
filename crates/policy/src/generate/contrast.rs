//! Resources that were written for Contrast: what its annotations and additions mean here. What has no meaning here is
//! refused by name, so that nobody believes it to be in force.

use serde_json::Value;

use super::error::Fault;
use super::inject;
use super::kinds::nearest;
use super::memory;

const PREFIX: &str = "contrast.edgeless.systems/";
const ROLE: &str = "contrast.edgeless.systems/pod-role";

/// What `generate` of Contrast adds to a pod: containers, and the volume of their files.
const CONTAINERS: [&str; 2] = ["contrast-initializer", "contrast-service-mesh"];
const SECRETS: &str = "contrast-secrets";
/// Further additions, for its image store; they are there under plain names.
const STORE: (&str, &str) = ("pvc-holder", "image-store");

/// What the annotations of Contrast on a pod come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Taken {
    /// Nothing is to be injected.
    pub(super) skip_initializer: bool,
    /// Images are kept in the guest's memory, and may take so many bytes.
    pub(super) image_limit: Option<u64>,
    /// What was taken for what, for the report.
    pub(super) notices: Vec<String>,
}

/// Whether a pod is the Coordinator of Contrast.
pub(super) fn is_coordinator(pod: &Value) -> bool {
    let says = |of: &str| pod["metadata"][of][ROLE].as_str() == Some("coordinator");
    says("labels") || says("annotations")
}

/// Why the Coordinator of Contrast is not taken: its program is another, and so are its keys and its store.
pub(super) fn foreign_coordinator() -> Fault {
    let hint = "leave its file out: `generate` adds a Coordinator of its own, under the same name".to_owned();
    let path = format!("metadata.annotations.{ROLE}");
    Fault { path, reason: "the Coordinator of Contrast".into(), hint: Some(hint) }
}

/// Reads the annotations of Contrast, and takes off what its `generate` has added.
pub(super) fn take(pod: &mut Value) -> Result<Taken, Fault> {
    let mut taken = Taken::default();
    if is_coordinator(pod) {
        return Err(foreign_coordinator());
    }
    for (key, value) in pod["metadata"]["annotations"].as_object().into_iter().flatten() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let value = value.as_str().unwrap_or_default();
        annotation(name, value, &mut taken).map_err(|(reason, hint)| Fault {
            path: format!("metadata.annotations.{key}"),
            reason,
            hint,
        })?;
    }
    additions(pod, &mut taken.notices);
    Ok(taken)
}

type Refusal = (String, Option<String>);

fn annotation(name: &str, value: &str, taken: &mut Taken) -> Result<(), Refusal> {
    let mut say = |meaning: &str| taken.notices.push(format!("`{PREFIX}{name}` was taken for {meaning}"));
    let refuse = |reason: &str, hint: &str| Err((reason.to_owned(), Some(hint.to_owned())));
    match name {
        "servicemesh-ingress" => say("`casemate.dev/servicemesh-ingress`"),
        "servicemesh-egress" if value.trim().is_empty() => say("no egress"),
        "servicemesh-egress" => say("`casemate.dev/servicemesh-egress`"),
        "skip-initializer" if value == "true" => {
            say("`casemate.dev/skip-initializer`");
            taken.skip_initializer = true;
        }
        "skip-initializer" => say("nothing: it is not `true`"),
        "workload-secret-id" => {
            return refuse(
                "a workload has no secret of its own here: secrets have names",
                "`casemate secret put` gives one to whoever lists it in `casemate.dev/secrets`; take the annotation out",
            );
        }
        "secure-pv" => {
            return refuse(
                "a claim that the initializer encrypts is not supported yet",
                "let the program encrypt what it stores with a secret from `/casemate/secrets`",
            );
        }
        "image-store-size" if value == "0" => say("images that are not counted in the guest's memory"),
        "image-store-size" => match memory::size(value) {
            Some(bytes) => {
                say("images in the guest's memory, at most of this size");
                taken.image_limit = Some(bytes);
            }
            None => return refuse(&format!("`{value}` is no size"), "write `10Gi`, or `0` for none"),
        },
        "servicemesh-admin-interface-port" => {
            return refuse(
                "the mesh has no interface of this kind",
                "take it out; the mesh's metrics are at the port of its probes",
            );
        }
        "pod-role" | "expose-service" | "platform" => say("nothing: it has no meaning on this pod"),
        name if name.starts_with("snp-id-block/") => say("nothing: an ID block is not needed"),
        name => {
            let known = [
                "servicemesh-ingress",
                "servicemesh-egress",
                "skip-initializer",
                "image-store-size",
                "workload-secret-id",
                "secure-pv",
                "pod-role",
            ];
            let near = nearest(name, &known).map(|near| format!("did you mean `{PREFIX}{near}`?"));
            let hint = near.unwrap_or_else(|| "take it out if nothing depends on it".to_owned());
            return Err(("an annotation of Contrast that has no meaning here".to_owned(), Some(hint)));
        }
    }
    Ok(())
}

/// Takes off initializer, mesh and image store that Contrast has added: ours take their place.
fn additions(pod: &mut Value, notices: &mut Vec<String>) {
    let has = |spec: &Value, list: &str, name: &str| {
        spec[list].as_array().into_iter().flatten().any(|item| item["name"].as_str() == Some(name))
    };
    let spec = &pod["spec"];
    let generated = CONTAINERS.iter().any(|name| has(spec, "initContainers", name));
    let store = has(spec, "initContainers", STORE.0) && has(spec, "volumes", STORE.1);
    if !generated && !store {
        return;
    }
    let (holder, volume) = STORE;
    let is_its = |item: &Value| {
        let name = item["name"].as_str().unwrap_or_default();
        (generated && (CONTAINERS.contains(&name) || name == SECRETS)) || (store && (name == holder || name == volume))
    };
    let hosts = |item: &Value| {
        let mut env = item["env"].as_array().into_iter().flatten();
        let found = env.find(|variable| variable["name"].as_str() == Some("COORDINATOR_HOST"));
        found.and_then(|variable| variable["value"].as_str()).map(str::to_owned)
    };
    let mut initializers = spec["initContainers"].as_array().into_iter().flatten().filter(|item| is_its(item));
    let host = initializers.find_map(hosts);
    let mut taken_off = Vec::new();
    for list in ["initContainers", "containers", "volumes"] {
        let Some(items) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else { continue };
        if list != "containers" {
            taken_off.extend(
                items
                    .iter()
                    .filter(|item| is_its(item))
                    .filter_map(|item| Some(format!("`{}`", item["name"].as_str()?))),
            );
            items.retain(|item| !is_its(item));
        }
        if list != "volumes" {
            for container in items.iter_mut() {
                if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                    mounts.retain(|mount| !is_its(mount));
                }
                inject::remove_if_empty(container, "volumeMounts");
            }
        }
        inject::remove_if_empty(&mut pod["spec"], list);
    }
    notices.push(format!(
        "{} of Contrast gave way to initializer and mesh; what was below `/contrast` is below `/casemate`",
        taken_off.join(", ")
    ));
    if let Some(host) = host {
        notices.push(format!(
            "`COORDINATOR_HOST: {host}` of Contrast's initializer gave way, too: ours asks the Coordinator among the inputs; \
             an initializer of your own may ask another"
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(annotations: &Value) -> Value {
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "c"}]}})
    }

    #[test]
    fn annotations_are_taken_for_what_they_mean() {
        for (name, value, skip, limit, word) in [
            ("servicemesh-ingress", "web#8080#true", false, None, "casemate.dev/servicemesh-ingress"),
            ("servicemesh-egress", "db#127.137.0.1:5432#db:5432", false, None, "casemate.dev/servicemesh-egress"),
            ("servicemesh-egress", "", false, None, "no egress"),
            ("skip-initializer", "true", true, None, "casemate.dev/skip-initializer"),
            ("skip-initializer", "false", false, None, "nothing"),
            ("image-store-size", "0", false, None, "not counted"),
            ("image-store-size", "1Ki", false, Some(1024), "at most of this size"),
            ("pod-role", "workload", false, None, "nothing"),
            ("snp-id-block/2/metal", "x", false, None, "nothing"),
        ] {
            let taken = take(&mut pod(&json!({format!("{PREFIX}{name}"): value}))).unwrap();
            assert_eq!((taken.skip_initializer, taken.image_limit), (skip, limit), "{name}");
            assert!(taken.notices.iter().any(|notice| notice.contains(word)), "{name}: {:?}", taken.notices);
        }
        assert_eq!(take(&mut pod(&json!({"other.example/x": "y"}))).unwrap(), Taken::default());
    }

    #[test]
    fn what_has_no_meaning_here_is_refused_by_name() {
        for (name, value, reason, hint) in [
            ("workload-secret-id", "a", "secrets have names", "casemate secret put"),
            ("secure-pv", "a:b", "not supported yet", "/casemate/secrets"),
            ("servicemesh-admin-interface-port", "1", "no interface", "metrics"),
            ("image-store-size", "big", "`big` is no size", "10Gi"),
            ("pod-role", "coordinator", "the Coordinator of Contrast", "leave its file out"),
            ("image-store-siz", "1Gi", "no meaning here", "did you mean `contrast.edgeless.systems/image-store-size`"),
            ("anything", "", "no meaning here", "take it out"),
        ] {
            let fault = take(&mut pod(&json!({format!("{PREFIX}{name}"): value}))).unwrap_err();
            assert!(fault.path.ends_with(name) && fault.reason.contains(reason), "{fault:?}");
            assert!(fault.hint.is_some_and(|text| text.contains(hint)), "{name}");
        }
        let labelled = json!({"metadata": {"labels": {ROLE: "coordinator"}}, "spec": {}});
        assert!(is_coordinator(&labelled) && take(&mut labelled.clone()).is_err());
    }

    #[test]
    fn what_contrast_has_added_gives_way() {
        let mut pod = json!({"metadata": {}, "spec": {
            "initContainers": [{"name": "pvc-holder"},
                {"name": "contrast-initializer", "env": [{"name": "COORDINATOR_HOST", "value": "coordinator-ready.x"}]},
                {"name": "contrast-service-mesh"}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "contrast-secrets", "mountPath": "/contrast"}]}],
            "volumes": [{"name": "contrast-secrets", "emptyDir": {}}, {"name": "image-store", "ephemeral": {}}],
        }});
        let taken = take(&mut pod).unwrap();
        assert_eq!(pod, json!({"metadata": {}, "spec": {"containers": [{"name": "c"}]}}));
        assert_eq!(taken.notices.len(), 2);
        assert!(taken.notices[1].contains("coordinator-ready.x"), "{:?}", taken.notices);
        // Names that are not Contrast's alone stay where nothing else is its.
        let own = json!({"metadata": {}, "spec": {"initContainers": [{"name": "pvc-holder"}], "volumes": [{"name": "contrast-secrets"}]}});
        let mut same = own.clone();
        take(&mut same).unwrap();
        assert_eq!(same, own);
    }
}
