//! Probes and hooks that were rewritten for the mesh, and how they become the user's again.
//!
//! What a probe was cannot be read off what it became, so an annotation keeps it: the `scheme` of an `httpGet`, or the
//! whole action where a connection took its place.

use serde_json::{Map, Value, json};

/// The probes that `generate` rewrote: by container, then by place in it.
pub(in crate::generate) const PROBES_ANNOTATION: &str = "casemate.dev/probes-as-written";

/// Where a container says what the kubelet asks of it.
pub(super) const PLACES: [&str; 5] =
    ["/startupProbe", "/readinessProbe", "/livenessProbe", "/lifecycle/postStart", "/lifecycle/preStop"];

/// What was there before, as far as it became something else.
pub(super) fn before(was: &Map<String, Value>, is: &Map<String, Value>) -> Option<Value> {
    if was == is {
        return None;
    }
    let (was_http, is_http) = (was.get("httpGet"), is.get("httpGet"));
    if let (Some(was), Some(_)) = (was_http, is_http) {
        return Some(json!({"scheme": was["scheme"]}));
    }
    let (action, value) = was.iter().find(|(action, _)| ["httpGet", "grpc"].contains(&action.as_str()))?;
    Some(json!({ action: value }))
}

/// Puts back what the annotation keeps, wherever the probe is still what it became, and takes the annotation off.
pub(in crate::generate) fn restore(pod: &mut Value) {
    let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    let Some(kept) = annotations.shift_remove(PROBES_ANNOTATION) else { return };
    let kept: Value = kept.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for list in ["initContainers", "containers"] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for place in PLACES {
                let before = &kept[&name][place];
                if let Some(probe) = container.pointer_mut(place).and_then(Value::as_object_mut) {
                    restore_one(probe, before);
                }
            }
        }
    }
}

fn restore_one(probe: &mut Map<String, Value>, before: &Value) {
    let Some((field, value)) = before.as_object().and_then(|fields| fields.iter().next()) else { return };
    if field == "scheme" {
        let http = probe.get_mut("httpGet").and_then(Value::as_object_mut);
        if let Some(http) = http.filter(|http| http.get("scheme") == Some(&json!("HTTPS"))) {
            match value {
                Value::Null => drop(http.shift_remove("scheme")),
                scheme => drop(http.insert("scheme".into(), scheme.clone())),
            }
        }
        return;
    }
    // A port that has changed since then is the user's word.
    let index = probe.keys().position(|key| key == "tcpSocket");
    let same = probe.get("tcpSocket").is_some_and(|connection| connection["port"] == value["port"]);
    if let Some(index) = index.filter(|_| same && ["httpGet", "grpc"].contains(&field.as_str())) {
        probe.shift_remove("tcpSocket");
        probe.shift_insert(index, field.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(probe: &Value, kept: &Value) -> Value {
        json!({
            "metadata": {"annotations": {"other": "x", PROBES_ANNOTATION: kept.to_string()}},
            "spec": {"containers": [{"name": "c", "livenessProbe": probe}]},
        })
    }

    #[test]
    fn a_probe_becomes_what_it_was() {
        for (was, is) in [
            (json!({"httpGet": {"port": 80}}), json!({"httpGet": {"port": 80, "scheme": "HTTPS"}})),
            (json!({"httpGet": {"scheme": "HTTP", "port": 80}}), json!({"httpGet": {"scheme": "HTTPS", "port": 80}})),
            (
                json!({"initialDelaySeconds": 1, "grpc": {"port": 5, "service": "s"}, "periodSeconds": 2}),
                json!({"initialDelaySeconds": 1, "tcpSocket": {"port": 5}, "periodSeconds": 2}),
            ),
            (json!({"httpGet": {"port": "web", "path": "/x"}}), json!({"tcpSocket": {"port": "web"}})),
        ] {
            let kept = before(was.as_object().unwrap(), is.as_object().unwrap()).unwrap();
            let mut pod = pod(&is, &json!({"c": {"/livenessProbe": kept}}));
            restore(&mut pod);
            assert_eq!(pod["spec"]["containers"][0]["livenessProbe"].to_string(), was.to_string());
            assert_eq!(pod["metadata"]["annotations"], json!({"other": "x"}));
        }
        let same = json!({"httpGet": {"port": 80, "scheme": "HTTPS"}});
        assert_eq!(before(same.as_object().unwrap(), same.as_object().unwrap()), None);
    }

    #[test]
    fn what_the_user_changed_since_then_stays() {
        for (kept, is) in [
            (json!({"scheme": null}), json!({"httpGet": {"port": 80}})),
            (json!({"scheme": null}), json!({"exec": {"command": ["x"]}})),
            (json!({"grpc": {"port": 5}}), json!({"tcpSocket": {"port": 6}})),
            (json!({"grpc": {"port": 5}}), json!({"httpGet": {"port": 5}})),
            (json!({"exec": {"port": 5}}), json!({"tcpSocket": {"port": 5}})),
            (json!({}), json!({"tcpSocket": {"port": 5}})),
            (json!("x"), json!({"tcpSocket": {"port": 5}})),
        ] {
            let mut pod = pod(&is, &json!({"c": {"/livenessProbe": kept}, "d": 7}));
            restore(&mut pod);
            assert_eq!(pod["spec"]["containers"][0]["livenessProbe"], is, "{kept}");
        }
        let mut odd = json!({"metadata": {"annotations": {PROBES_ANNOTATION: 7}}, "spec": {"containers": 7}});
        restore(&mut odd);
        assert_eq!(odd["metadata"]["annotations"], json!({}));
    }
}
