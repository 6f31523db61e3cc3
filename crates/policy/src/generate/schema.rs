//! The fields of a pod that the policy binds, that only place or restart the pod, or that are looked at elsewhere, each
//! with its type. Everything else is refused by name: what the policy cannot bind, it must not pretend to. A field of
//! another type would be ignored here and refused by the API server, or the other way round.

use serde_json::Value;

use super::kinds::nearest;

/// What a field holds.
#[derive(Clone, Copy)]
enum Type {
    /// Whatever the API server takes: it decides where the pod runs, or is looked at by name elsewhere.
    Any,
    Text,
    Flag,
    Number,
    Numbers,
    /// A number, or the name of a port.
    Port,
    Texts,
    TextMap,
    Amounts,
    Object(&'static [Field]),
    List(&'static [Field]),
    /// A list whose elements may have further fields, which are refused with their reasons elsewhere.
    OpenList(&'static [Field]),
}

type Field = (&'static str, Type);

use Type::{Amounts, Any, Flag, List, Number, Numbers, Object, OpenList, Port, Text, TextMap, Texts};

const POD: &[Field] = &[("metadata", Object(METADATA)), ("spec", Object(SPEC))];

const METADATA: &[Field] = &[
    ("annotations", TextMap),
    ("creationTimestamp", Any),
    ("finalizers", Any),
    ("generateName", Text),
    ("generation", Any),
    ("labels", TextMap),
    ("managedFields", Any),
    ("name", Text),
    ("namespace", Text),
    ("ownerReferences", Any),
    ("resourceVersion", Any),
    ("selfLink", Any),
    ("uid", Any),
];

const SPEC: &[Field] = &[
    ("activeDeadlineSeconds", Number),
    ("affinity", Any),
    ("automountServiceAccountToken", Flag),
    ("containers", List(CONTAINER)),
    ("dnsConfig", Any),
    ("dnsPolicy", Text),
    ("enableServiceLinks", Flag),
    ("hostAliases", Any),
    ("hostIPC", Flag),
    ("hostNetwork", Flag),
    ("hostPID", Flag),
    ("hostname", Text),
    ("imagePullSecrets", Any),
    ("initContainers", List(CONTAINER)),
    ("nodeName", Text),
    ("nodeSelector", TextMap),
    ("overhead", Amounts),
    ("preemptionPolicy", Text),
    ("priorityClassName", Text),
    ("restartPolicy", Text),
    ("runtimeClassName", Text),
    ("schedulerName", Text),
    ("securityContext", Object(POD_SECURITY)),
    ("serviceAccount", Text),
    ("serviceAccountName", Text),
    ("shareProcessNamespace", Flag),
    ("subdomain", Text),
    ("terminationGracePeriodSeconds", Number),
    ("tolerations", Any),
    ("topologySpreadConstraints", Any),
    ("volumes", OpenList(VOLUME)),
];

const POD_SECURITY: &[Field] = &[
    ("appArmorProfile", Any),
    ("fsGroup", Number),
    ("fsGroupChangePolicy", Text),
    ("runAsGroup", Number),
    ("runAsNonRoot", Flag),
    ("runAsUser", Number),
    ("seccompProfile", Any),
    ("supplementalGroups", Numbers),
    ("supplementalGroupsPolicy", Text),
    ("sysctls", List(&[("name", Text), ("value", Text)])),
];

const CONTAINER: &[Field] = &[
    ("args", Texts),
    ("command", Texts),
    ("env", List(VARIABLE)),
    ("envFrom", List(VARIABLES)),
    ("image", Text),
    ("imagePullPolicy", Text),
    ("lifecycle", Object(&[("postStart", Object(HANDLER)), ("preStop", Object(HANDLER)), ("stopSignal", Text)])),
    ("livenessProbe", Object(PROBE)),
    ("name", Text),
    ("ports", List(PORT)),
    ("readinessProbe", Object(PROBE)),
    ("resizePolicy", Any),
    ("resources", Object(&[("limits", Amounts), ("requests", Amounts)])),
    ("restartPolicy", Text),
    ("securityContext", Object(SECURITY)),
    ("startupProbe", Object(PROBE)),
    ("stdin", Flag),
    ("terminationMessagePath", Text),
    ("terminationMessagePolicy", Text),
    ("tty", Flag),
    ("volumeMounts", List(MOUNT)),
    ("workingDir", Text),
];

const SECURITY: &[Field] = &[
    ("allowPrivilegeEscalation", Flag),
    ("appArmorProfile", Any),
    ("capabilities", Object(&[("add", Texts), ("drop", Texts)])),
    ("privileged", Flag),
    // This and two more are refused by name where requests are made.
    ("procMount", Any),
    ("readOnlyRootFilesystem", Flag),
    ("runAsGroup", Number),
    ("runAsNonRoot", Flag),
    ("runAsUser", Number),
    ("seLinuxOptions", Any),
    ("seccompProfile", Any),
    ("windowsOptions", Any),
];

const KEY: &[Field] = &[("key", Text), ("name", Text), ("optional", Flag)];
const OBJECT: &[Field] = &[("name", Text), ("optional", Flag)];
const FIELD: &[Field] = &[("apiVersion", Text), ("fieldPath", Text)];
// A divisor is a number or a text.
const RESOURCE: &[Field] = &[("containerName", Text), ("divisor", Any), ("resource", Text)];

const VARIABLE: &[Field] = &[
    ("name", Text),
    ("value", Text),
    (
        "valueFrom",
        Object(&[
            ("configMapKeyRef", Object(KEY)),
            ("fieldRef", Object(FIELD)),
            // Refused by name.
            ("fileKeyRef", Any),
            ("resourceFieldRef", Object(RESOURCE)),
            ("secretKeyRef", Object(KEY)),
        ]),
    ),
];

const VARIABLES: &[Field] = &[("configMapRef", Object(OBJECT)), ("prefix", Text), ("secretRef", Object(OBJECT))];

const PORT: &[Field] =
    &[("containerPort", Number), ("hostIP", Text), ("hostPort", Number), ("name", Text), ("protocol", Text)];

const EXEC: Type = Object(&[("command", Texts)]);
const HTTP: Type = Object(&[("host", Text), ("httpHeaders", Any), ("path", Text), ("port", Port), ("scheme", Text)]);

const HANDLER: &[Field] = &[
    ("exec", EXEC),
    ("httpGet", HTTP),
    ("sleep", Object(&[("seconds", Number)])),
    // Refused by name, as Kubernetes does since it has sleep.
    ("tcpSocket", Any),
];

const PROBE: &[Field] = &[
    ("exec", EXEC),
    ("failureThreshold", Number),
    ("grpc", Object(&[("port", Number), ("service", Text)])),
    ("httpGet", HTTP),
    ("initialDelaySeconds", Number),
    ("periodSeconds", Number),
    ("successThreshold", Number),
    ("tcpSocket", Object(&[("host", Text), ("port", Port)])),
    ("terminationGracePeriodSeconds", Number),
    ("timeoutSeconds", Number),
];

const MOUNT: &[Field] = &[
    ("mountPath", Text),
    // This and two more are refused by name where requests are made.
    ("mountPropagation", Any),
    ("name", Text),
    ("readOnly", Flag),
    ("recursiveReadOnly", Any),
    ("subPath", Text),
    ("subPathExpr", Any),
];

const ITEMS: Type = List(&[("key", Text), ("mode", Number), ("path", Text)]);

const FIELDS: Type =
    List(&[("fieldRef", Object(FIELD)), ("mode", Number), ("path", Text), ("resourceFieldRef", Object(RESOURCE))]);

const SOURCE: &[Field] = &[
    // This and one more are refused by name where requests are made.
    ("clusterTrustBundle", Any),
    ("configMap", Object(&[("items", ITEMS), ("name", Text), ("optional", Flag)])),
    ("downwardAPI", Object(&[("items", FIELDS)])),
    ("podCertificate", Any),
    ("secret", Object(&[("items", ITEMS), ("name", Text), ("optional", Flag)])),
    ("serviceAccountToken", Object(&[("audience", Text), ("expirationSeconds", Number), ("path", Text)])),
];

const VOLUME: &[Field] = &[
    ("configMap", Object(&[("defaultMode", Number), ("items", ITEMS), ("name", Text), ("optional", Flag)])),
    ("downwardAPI", Object(&[("defaultMode", Number), ("items", FIELDS)])),
    // A limit is a number or a text.
    ("emptyDir", Object(&[("medium", Text), ("sizeLimit", Any)])),
    // Where the claim's disk comes from is the host's business.
    ("ephemeral", Object(&[("volumeClaimTemplate", Any)])),
    ("name", Text),
    ("persistentVolumeClaim", Object(&[("claimName", Text), ("readOnly", Flag)])),
    ("projected", Object(&[("defaultMode", Number), ("sources", List(SOURCE))])),
    ("secret", Object(&[("defaultMode", Number), ("items", ITEMS), ("optional", Flag), ("secretName", Text)])),
];

/// Fields that people write and that have no meaning here, with what to do instead.
const INSTEAD: [(&str, &str); 14] = [
    ("ephemeralContainers", "take them out; `exec` in `settings.json` lets the host run a command in a container"),
    ("fileKeyRef", "write the value, or take it from a ConfigMap"),
    ("hostUsers", "leave it out: the users of a guest are its own, and none of them is one of the host's"),
    ("readinessGates", "leave it out: a readiness probe says when the program serves"),
    ("resourceClaims", "ask for GPUs in the limits of a container: `nvidia.com/pgpu: 1`"),
    ("claims", "ask for GPUs in the limits of a container: `nvidia.com/pgpu: 1`"),
    ("restartPolicyRules", "leave it out: the container's own `restartPolicy` and the pod's say when it starts again"),
    ("schedulingGates", "leave it out, and create the pod once it may start"),
    ("seLinuxChangePolicy", "leave it out: the guest has no SELinux"),
    ("setHostnameAsFQDN", "leave it out: the host name is bound as the pod's own name"),
    ("stdinOnce", "leave it out: nobody types into a confidential container"),
    ("os", "leave it out: a guest runs Linux"),
    ("priority", "leave it out: the cluster writes it from `priorityClassName`"),
    ("volumeDevices", "mount a `persistentVolumeClaim` with a file system, or keep the data in an `emptyDir`"),
];

/// A field that is not known, or of another type than it must be.
#[derive(Debug, PartialEq)]
pub(super) struct SchemaError {
    /// From the pod.
    pub(super) path: String,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

/// Compares a pod, or the template of one, with the table.
pub(super) fn check(pod: &Value) -> Result<(), SchemaError> {
    let ours = |(key, _): &(&String, &Value)| ["metadata", "spec"].contains(&key.as_str());
    for (key, value) in pod.as_object().into_iter().flatten().filter(ours) {
        let (_, wanted) = POD.iter().find(|(name, _)| name == key).copied().unwrap_or(("", Any));
        field(value, wanted, key.clone())?;
    }
    Ok(())
}

fn field(value: &Value, wanted: Type, path: String) -> Result<(), SchemaError> {
    // Nothing there is as good as no field.
    if value.is_null() {
        return Ok(());
    }
    let refuse = |reason: &str, hint: Option<&str>| {
        Err(SchemaError { path: path.clone(), reason: reason.to_owned(), hint: hint.map(str::to_owned) })
    };
    let quotes = Some("put it between quotes");
    let all = |fits: fn(&Value) -> bool| match value {
        Value::Array(items) => items.iter().all(fits),
        _ => false,
    };
    match wanted {
        Any => Ok(()),
        Text if value.is_string() => Ok(()),
        Text if value.is_number() || value.is_boolean() => refuse("not a string", quotes),
        Text => refuse("not a string", Some("write one text")),
        Flag if value.is_boolean() => Ok(()),
        Flag => refuse(
            "neither true nor false",
            Some(if value.is_string() { "leave out the quotes" } else { "write `true` or `false`" }),
        ),
        Number if value.is_i64() || value.is_u64() => Ok(()),
        Number => refuse(
            "not a whole number",
            Some(if value.is_string() { "leave out the quotes" } else { "write a whole number" }),
        ),
        Numbers if all(|item| item.is_i64() || item.is_u64()) => Ok(()),
        Numbers => refuse("not a list of whole numbers", Some("write a list: `[1000, 2000]`")),
        Port if value.is_i64() || value.is_u64() || value.is_string() => Ok(()),
        Port => refuse("neither a number nor the name of a port", Some("write the number")),
        Texts if all(Value::is_string) => Ok(()),
        Texts if value.is_array() => refuse("not a list of strings", quotes),
        Texts => refuse("not a list of strings", Some("write a list: `[\"one\", \"two\"]`")),
        TextMap => match value.as_object() {
            None => refuse("not a mapping", Some("write lines of `key: value`")),
            Some(fields) => match fields.iter().find(|(_, value)| !value.is_string() && !value.is_null()) {
                Some((key, _)) => {
                    let hint = quotes.map(str::to_owned);
                    Err(SchemaError { path: format!("{path}.{key}"), reason: "not a string".into(), hint })
                }
                None => Ok(()),
            },
        },
        Amounts => match value.as_object() {
            None => refuse("not a mapping", Some("write lines of `key: value`")),
            Some(fields) => match fields.iter().find(|(_, value)| !value.is_string() && !value.is_number()) {
                Some((key, _)) => Err(SchemaError {
                    path: format!("{path}.{key}"),
                    reason: "not a quantity such as `500m` or `64Mi`".into(),
                    hint: Some("write one number with its unit".into()),
                }),
                None => Ok(()),
            },
        },
        Object(fields) => object(value, fields, &path, false),
        List(fields) | OpenList(fields) => {
            let Value::Array(items) = value else {
                return refuse("not a list", Some("begin each element with `- `"));
            };
            for (index, item) in items.iter().enumerate() {
                // Places are found by name where the elements have one; variables may have the same name twice.
                let named = ["containers", "initContainers", "volumes"].iter().any(|list| path.ends_with(list));
                let path = match item["name"].as_str().filter(|_| named) {
                    Some(name) => format!("{path}.{name}"),
                    None => format!("{path}[{index}]"),
                };
                object(item, fields, &path, matches!(wanted, OpenList(_)))?;
            }
            Ok(())
        }
    }
}

fn object(value: &Value, fields: &[Field], path: &str, open: bool) -> Result<(), SchemaError> {
    let Value::Object(given) = value else {
        return Err(SchemaError {
            path: path.to_owned(),
            reason: "not a mapping".into(),
            hint: Some("write lines of `key: value`".into()),
        });
    };
    for (key, value) in given {
        match fields.iter().find(|(name, _)| name == key) {
            Some((_, wanted)) => field(value, *wanted, format!("{path}.{key}"))?,
            None if open || value.is_null() => {}
            None => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                return Err(SchemaError {
                    path: format!("{path}.{key}"),
                    reason: "not supported".into(),
                    hint: Some(instead(key, &names)),
                });
            }
        }
    }
    Ok(())
}

/// What to do about a field that is not known.
fn instead(key: &str, known: &[&str]) -> String {
    if let Some((_, hint)) = INSTEAD.iter().find(|(field, _)| *field == key) {
        return (*hint).to_owned();
    }
    match nearest(key, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "take it out: the policy could not bind what it does".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
                "securityContext": {"fsGroup": 1, "supplementalGroups": [2, 3], "sysctls": [{"name": "a", "value": "1"}]},
                "automountServiceAccountToken": false,
                "nodeSelector": {"disk": "ssd"},
                "containers": [{
                    "name": "c",
                    "image": "x",
                    "command": ["x"],
                    "args": ["y"],
                    "tty": false,
                    "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                    "envFrom": [{"prefix": "p", "configMapRef": {"name": "m", "optional": true}}],
                    "ports": [{"name": "http", "containerPort": 80}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                    "resources": {"limits": {"cpu": 1, "memory": "1Mi"}},
                    "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}],
                    "securityContext": {"privileged": false, "readOnlyRootFilesystem": true, "runAsUser": 1,
                                        "capabilities": {"drop": ["ALL"]}},
                }],
                "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p", "mode": 256}]}}],
            },
        })
    }

    #[test]
    fn every_field_of_another_type_is_refused_with_its_path() {
        assert_eq!(check(&pod()), Ok(()));
        let cases = [
            ("/spec/containers/0/env", json!({"A": "b"}), "spec.containers.c.env", "not a list"),
            ("/spec/containers/0/env/0", json!("A=b"), "spec.containers.c.env[0]", "not a mapping"),
            ("/spec/containers/0/env/0/value", json!(7), "spec.containers.c.env[0].value", "not a string"),
            ("/spec/containers/0/volumeMounts", json!({}), "spec.containers.c.volumeMounts", "not a list"),
            (
                "/spec/containers/0/volumeMounts/0/readOnly",
                json!("true"),
                "volumeMounts[0].readOnly",
                "neither true nor false",
            ),
            ("/spec/containers/0/command", json!("x"), "spec.containers.c.command", "not a list of strings"),
            ("/spec/containers/0/args/0", json!(1), "spec.containers.c.args", "not a list of strings"),
            ("/spec/containers/0/tty", json!("yes"), "spec.containers.c.tty", "neither true nor false"),
            (
                "/spec/containers/0/securityContext/privileged",
                json!("true"),
                "securityContext.privileged",
                "neither true nor false",
            ),
            (
                "/spec/containers/0/securityContext/readOnlyRootFilesystem",
                json!("true"),
                "readOnlyRootFilesystem",
                "neither",
            ),
            ("/spec/containers/0/securityContext/runAsUser", json!("1000"), "runAsUser", "not a whole number"),
            (
                "/spec/containers/0/securityContext/capabilities/drop",
                json!("ALL"),
                "capabilities.drop",
                "not a list of strings",
            ),
            ("/spec/containers/0/securityContext", json!([]), "spec.containers.c.securityContext", "not a mapping"),
            ("/spec/containers/0/resources/limits/cpu", json!([1]), "resources.limits.cpu", "not a quantity"),
            ("/spec/containers/0/ports/0/containerPort", json!("80"), "ports[0].containerPort", "not a whole number"),
            ("/spec/containers/0/readinessProbe/httpGet/port", json!(null), "", ""),
            ("/spec/containers/0/readinessProbe/httpGet/port", json!(1.5), "httpGet.port", "neither a number"),
            ("/spec/containers/0/image", json!(["x"]), "spec.containers.c.image", "not a string"),
            ("/spec/containers", json!({}), "spec.containers", "not a list"),
            ("/spec/containers/0", json!("c"), "spec.containers[0]", "not a mapping"),
            ("/spec/securityContext/fsGroup", json!("2000"), "securityContext.fsGroup", "not a whole number"),
            ("/spec/securityContext/fsGroup", json!(1.5), "securityContext.fsGroup", "not a whole number"),
            ("/spec/securityContext/supplementalGroups", json!(["x"]), "supplementalGroups", "whole numbers"),
            ("/spec/securityContext/sysctls/0/value", json!(1), "sysctls[0].value", "not a string"),
            ("/spec/automountServiceAccountToken", json!("false"), "automountServiceAccountToken", "neither"),
            ("/spec/nodeSelector/disk", json!(true), "nodeSelector.disk", "not a string"),
            ("/spec/volumes", json!({}), "spec.volumes", "not a list"),
            ("/spec/volumes/0/configMap", json!("m"), "spec.volumes.v.configMap", "not a mapping"),
            ("/spec/volumes/0/configMap/items/0/mode", json!("0444"), "items[0].mode", "not a whole number"),
            ("/metadata/annotations/c", json!(1), "metadata.annotations.c", "not a string"),
            ("/metadata/labels", json!([]), "metadata.labels", "not a mapping"),
            ("/spec", json!([]), "spec", "not a mapping"),
        ];
        for (pointer, value, path, reason) in cases {
            let mut pod = pod();
            *pod.pointer_mut(pointer).unwrap() = value.clone();
            let Err(error) = check(&pod) else {
                assert!(value.is_null(), "{pointer}: {value}");
                continue;
            };
            assert!(error.path.ends_with(path) && error.reason.contains(reason), "{pointer}: {error:?}");
        }
    }

    #[test]
    fn unknown_fields_are_refused_wherever_they_are() {
        for (pointer, field, hint) in [
            ("/spec", "contianers", Some("containers")),
            ("/spec", "hostUsers", None),
            ("/spec/securityContext", "fsgroup", Some("fsGroup")),
            ("/spec/containers/0", "volumeMount", Some("volumeMounts")),
            ("/spec/containers/0/env/0", "valuefrom", Some("valueFrom")),
            ("/spec/containers/0/envFrom/0", "secretref", Some("secretRef")),
            ("/spec/containers/0/ports/0", "nodePort", None),
            ("/spec/containers/0/readinessProbe", "httpget", Some("httpGet")),
            ("/spec/containers/0/resources", "claims", None),
            ("/spec/containers/0/volumeMounts/0", "readonly", Some("readOnly")),
            ("/spec/containers/0/securityContext/capabilities", "ad", Some("add")),
            ("/spec/volumes/0/configMap", "itemz", Some("items")),
            ("/metadata", "annotation", Some("annotations")),
        ] {
            let mut pod = pod();
            pod.pointer_mut(pointer).unwrap()[field] = json!({"x": 1});
            let error = check(&pod).unwrap_err();
            assert!(error.path.ends_with(field) && error.reason == "not supported", "{error:?}");
            let said = error.hint.unwrap_or_default();
            match hint {
                Some(name) => assert_eq!(said, format!("did you mean `{name}`?"), "{pointer}.{field}"),
                None => assert!(!said.is_empty() && !said.contains("did you mean"), "{pointer}.{field}: {said}"),
            }
            // What is null is not there.
            pod.pointer_mut(pointer).unwrap()[field] = Value::Null;
            assert_eq!(check(&pod), Ok(()));
        }
        // Sources of volumes are refused with their reasons where requests are made.
        let mut pod = pod();
        pod["spec"]["volumes"][0]["hostPath"] = json!({});
        assert_eq!(check(&pod), Ok(()));
    }
}
