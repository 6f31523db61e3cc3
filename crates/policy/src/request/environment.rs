//! The environment of a container: from where the values come, and what `$(NAME)` becomes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::indexed::INDEX_KEY;
use super::quantity::{Quantity, QuantityError};
use super::{MARK, PodInstance, RequestError, control_character, text};
use crate::images::ImageConfig;

/// Fields of a pod that a variable may take.
const KNOWN_FIELDS: &str = "those of `metadata` are `name`, `namespace`, `uid`, `labels['…']` and `annotations['…']`, those of \
                            `spec` `nodeName` and `serviceAccountName`, those of `status` `podIP`, `podIPs`, `hostIP` and \
                            `hostIPs`";

/// Kubernetes tells pods of the Services around them unless `enableServiceLinks` is false.
pub const SERVICE_LINKS_DEFAULT: bool = true;

/// The search path of a process whose image sets none (containerd's default).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment that a pod asks for, references resolved.
pub(super) struct Environment {
    values: Vec<(String, String)>,
    services: Vec<(String, String)>,
    /// Whether the kubelet may know variables of Services that are not in `services`: of all, or of `KUBERNETES` alone.
    unknown_services: Option<Links>,
}

#[derive(Clone, Copy, PartialEq)]
enum Links {
    All,
    Kubernetes,
}

impl Environment {
    pub(super) fn new(
        pod: &Value,
        container: &Value,
        instance: &PodInstance,
        path: &str,
    ) -> Result<Self, RequestError> {
        let links = pod["spec"]["enableServiceLinks"].as_bool().unwrap_or(SERVICE_LINKS_DEFAULT);
        let mut services = instance.service_env.clone();
        services.retain(|(name, _)| links || name.starts_with("KUBERNETES_"));
        let unknown_services = instance.is_symbolic().then_some(if links { Links::All } else { Links::Kubernetes });
        let mut env = Self { values: Vec::new(), services, unknown_services };
        for (index, source) in container["envFrom"].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.envFrom[{index}]");
            let prefix = source["prefix"].as_str().unwrap_or_default();
            let (kind, object, reference) = match (&source["configMapRef"], &source["secretRef"]) {
                (reference @ Value::Object(_), _) => ("ConfigMap", &instance.config_maps, reference),
                (_, reference @ Value::Object(_)) => ("Secret", &instance.secrets, reference),
                _ => {
                    let (reason, hint) =
                        ("a source that is not known", "write `configMapRef` or `secretRef` with a `name`");
                    return Err(RequestError::Refused { path, reason: reason.into(), hint: hint.into() });
                }
            };
            let Some(object) = referenced(kind, object, reference, &path)? else { continue };
            for key in keys(object) {
                let value = plain_value(object, &key, &path)?;
                env.set(&format!("{prefix}{key}"), value.unwrap_or_default());
            }
        }
        for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.env[{index}]");
            let Some(name) = text(variable, "name") else {
                let (reason, hint) = ("a variable without a name".into(), "write `name: …`".into());
                return Err(RequestError::Refused { path, reason, hint });
            };
            if name.contains('=') || !name.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                return Err(RequestError::Invalid { path, reason: "a name must be printable and not hold `=`".into() });
            }
            let value = match (&variable["valueFrom"], &variable["value"]) {
                (Value::Object(from), _) => value_from(from, pod, container, instance, &path)?,
                (_, Value::String(value)) => Some(env.expand(value, &path)?),
                (_, Value::Null) => Some(String::new()),
                _ => return Err(RequestError::Invalid { path, reason: "`value` is not a string".into() }),
            };
            if let Some(value) = value {
                env.set(name, value);
            }
        }
        Ok(env)
    }

    fn set(&mut self, name: &str, value: String) {
        match self.values.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.values.push((name.to_owned(), value)),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let own = self.values.iter().find(|(known, _)| known == name);
        own.or_else(|| self.services.iter().find(|(known, _)| known == name)).map(|(_, value)| value.as_str())
    }

    /// [`expand`] with this environment.
    pub(super) fn expand(&self, text: &str, path: &str) -> Result<String, RequestError> {
        expand(text, |name| match self.get(name) {
            Some(value) => Ok(Some(value.to_owned())),
            None if self.may_be_a_service(name) => Err(RequestError::Refused {
                path: path.to_owned(),
                reason: format!("`$({name})` is what the kubelet says of a Service, which nothing binds"),
                hint: "use the Service's DNS name; `$$(NAME)` is the text itself".into(),
            }),
            None => Ok(None),
        })
    }

    /// Whether the kubelet could know a variable that the generator does not.
    fn may_be_a_service(&self, name: &str) -> bool {
        let of_service = || {
            let ends = |tail: &str| tail.is_empty() || tail.starts_with('_');
            let port = name.split_once("_PORT").is_some_and(|(service, tail)| !service.is_empty() && ends(tail));
            port || name.ends_with("_SERVICE_HOST")
        };
        match self.unknown_services {
            None => false,
            Some(Links::Kubernetes) => name.starts_with("KUBERNETES_") && of_service(),
            Some(Links::All) => of_service(),
        }
    }

    /// The search path, the terminal and the host name, then the image, then the pod, then Services; a later value takes
    /// an earlier one's place.
    pub(super) fn all(&self, image: &ImageConfig, instance: &PodInstance, tty: bool) -> Vec<String> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => all.push((name.to_owned(), value.to_owned())),
        };
        set("PATH", DEFAULT_PATH);
        if tty {
            set("TERM", "xterm");
        }
        set("HOSTNAME", &instance.hostname);
        for variable in &image.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            set(name, value);
        }
        for (name, value) in &self.values {
            set(name, value);
        }
        for (name, value) in &self.services {
            if self.values.iter().all(|(own, _)| own != name) {
                set(name, value);
            }
        }
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// The object behind a reference; `None` when it is optional and absent.
fn referenced<'a>(
    kind: &str,
    objects: &'a BTreeMap<String, Value>,
    reference: &Value,
    path: &str,
) -> Result<Option<&'a Value>, RequestError> {
    let name = reference["name"].as_str().unwrap_or_default();
    match objects.get(name) {
        Some(object) => Ok(Some(object)),
        None if reference["optional"] == json!(true) => Ok(None),
        None => Err(RequestError::Refused {
            path: path.to_owned(),
            reason: format!("{kind} `{name}` is not among the inputs, so its values cannot be bound"),
            hint: format!("give `generate` the file of the {kind}, too; one that may be absent is `optional: true`"),
        }),
    }
}

fn keys(object: &Value) -> Vec<String> {
    let fields = ["data", "stringData"].into_iter().filter_map(|field| object[field].as_object());
    let mut keys: Vec<_> = fields.flatten().map(|(key, _)| key.clone()).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The text of one key of a ConfigMap or Secret, as a variable can hold it.
fn plain_value(object: &Value, key: &str, path: &str) -> Result<Option<String>, RequestError> {
    let value = raw_value(object, key, path)?;
    if let Some(c) = value.as_deref().and_then(control_character) {
        let reason = format!("`{key}` holds the control character U+{:04X}", u32::from(c));
        return Err(RequestError::Refused {
            path: path.to_owned(),
            reason,
            hint: "mount it as a file: a variable cannot hold it".into(),
        });
    }
    Ok(value)
}

fn raw_value(object: &Value, key: &str, path: &str) -> Result<Option<String>, RequestError> {
    use base64::Engine as _;
    if let Some(value) = object["stringData"][key].as_str() {
        return Ok(Some(value.to_owned()));
    }
    let Some(value) = object["data"][key].as_str() else { return Ok(None) };
    if object["kind"] != json!("Secret") {
        return Ok(Some(value.to_owned()));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.trim()).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or_else(|| RequestError::Refused {
        path: path.to_owned(),
        reason: format!("`{key}` is not base64 of text"),
        hint: "write the plain text under `stringData`, and mount bytes as a file".into(),
    })
}

fn value_from(
    from: &serde_json::Map<String, Value>,
    pod: &Value,
    container: &Value,
    instance: &PodInstance,
    path: &str,
) -> Result<Option<String>, RequestError> {
    let reference =
        |field: &str, kind: &str, objects: &BTreeMap<String, Value>| -> Option<Result<Option<String>, RequestError>> {
            let reference = from.get(field)?;
            Some(referenced(kind, objects, reference, path).and_then(|object| {
                let Some(object) = object else { return Ok(None) };
                let key = reference["key"].as_str().unwrap_or_default();
                match plain_value(object, key, path)? {
                    None if reference["optional"] != json!(true) => {
                        let name = reference["name"].as_str().unwrap_or_default();
                        let keys: Vec<_> = keys(object).iter().map(|key| format!("`{key}`")).collect();
                        Err(RequestError::Refused {
                            path: path.to_owned(),
                            reason: format!("{kind} `{name}` has no key `{key}`"),
                            hint: if keys.is_empty() {
                                "it has none".into()
                            } else {
                                format!("it has {}", keys.join(", "))
                            },
                        })
                    }
                    value => Ok(value),
                }
            }))
        };
    if let Some(value) = reference("configMapKeyRef", "ConfigMap", &instance.config_maps) {
        return value;
    }
    if let Some(value) = reference("secretKeyRef", "Secret", &instance.secrets) {
        return value;
    }
    if let Some(field) = from.get("fieldRef").and_then(|reference| reference["fieldPath"].as_str()) {
        let metadata = |kind: &str| -> Option<Option<String>> {
            let key = field.strip_prefix(&format!("metadata.{kind}['"))?.strip_suffix("']")?;
            Some(pod["metadata"][kind][key].as_str().map(str::to_owned))
        };
        refuse_of_controllers(field, pod, path)?;
        let value = match field {
            "metadata.name" => Some(instance.name.clone()),
            "metadata.namespace" => Some(instance.namespace.clone()),
            "metadata.uid" => Some(instance.uid.clone()),
            "spec.nodeName" => Some(instance.node_name.clone()),
            "spec.serviceAccountName" => Some(text(&pod["spec"], "serviceAccountName").unwrap_or("default").to_owned()),
            "status.podIP" => Some(instance.pod_ip.clone()),
            "status.hostIP" => Some(instance.host_ip.clone()),
            // One address of each family, where a cluster has both.
            "status.podIPs" | "status.hostIPs" if instance.is_symbolic() => Some(format!("{MARK}ips{MARK}")),
            "status.podIPs" => Some(instance.pod_ip.clone()),
            "status.hostIPs" => Some(instance.host_ip.clone()),
            _ => match metadata("labels").or_else(|| metadata("annotations")) {
                Some(value) => Some(value.unwrap_or_default()),
                None => {
                    return Err(RequestError::Refused {
                        path: path.to_owned(),
                        reason: format!("field `{field}` is not supported"),
                        hint: KNOWN_FIELDS.into(),
                    });
                }
            },
        };
        return Ok(value);
    }
    if let Some(reference) = from.get("resourceFieldRef") {
        let resource = reference["resource"].as_str().unwrap_or_default();
        let other = reference["containerName"].as_str().is_some_and(|name| Some(name) != container["name"].as_str());
        let invalid = |error: QuantityError| RequestError::Invalid { path: path.to_owned(), reason: error.to_string() };
        let divisor = match &reference["divisor"] {
            Value::Null => Quantity::default(),
            divisor => Quantity::parse(divisor).map_err(invalid)?,
        };
        // No divisor, or zero, means whole units.
        let divisor =
            if divisor == Quantity::default() { Quantity::parse(&json!(1)).map_err(invalid)? } else { divisor };
        let limit = resource
            .strip_prefix("limits.")
            .map(|name| &container["resources"]["limits"][name])
            .or_else(|| resource.strip_prefix("requests.").map(|name| &container["resources"]["requests"][name]))
            .filter(|amount| !amount.is_null() && !other);
        let Some(limit) = limit else {
            // Without a limit the kubelet puts in what the node has.
            return Err(RequestError::Refused {
                path: path.to_owned(),
                reason: format!("resource `{resource}` is not supported: the container has none, so it is the node's"),
                hint: "set it under `resources` of this container, or write the value".into(),
            });
        };
        let amount = Quantity::parse(limit).map_err(invalid)?;
        return Ok(amount.divided_by(divisor).map(|amount| amount.to_string()));
    }
    Err(RequestError::Refused {
        path: path.to_owned(),
        reason: "a `valueFrom` that is not known".into(),
        hint: "write `configMapKeyRef`, `secretKeyRef`, `fieldRef` or `resourceFieldRef`".into(),
    })
}

/// Kubernetes' `$(NAME)`: `$$` is a dollar sign, and an unknown name stays as it is.
pub(super) fn expand<E>(text: &str, value: impl Fn(&str) -> Result<Option<String>, E>) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name)? {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Labels and annotations that controllers and the scheduler write on a pod, whatever its template says.
const OF_CONTROLLERS: [&str; 7] = [
    "apps.kubernetes.io/pod-index",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

fn refuse_of_controllers(field: &str, pod: &Value, path: &str) -> Result<(), RequestError> {
    let key = field.split_once("['").and_then(|(_, rest)| rest.strip_suffix("']")).unwrap_or_default();
    let of_controllers = OF_CONTROLLERS.contains(&key)
        || key.starts_with("batch.kubernetes.io/")
        || key.starts_with("topology.kubernetes.io/");
    // A pod of an Indexed Job has its index from its controller, and the rules compare it with the host name.
    let index = key == INDEX_KEY;
    if !of_controllers || (index && !pod["metadata"]["annotations"][INDEX_KEY].is_null()) {
        return Ok(());
    }
    let hint = if index {
        "the pods of a Job with `completionMode: Indexed` have an index"
    } else {
        "`metadata.name` and `metadata.uid` are bound"
    };
    Err(RequestError::Refused {
        path: path.to_owned(),
        reason: format!("`{key}` is written by the cluster when the pod is made, and nothing binds it"),
        hint: hint.into(),
    })
}
