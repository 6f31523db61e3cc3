//! The Coordinator's own resources, for deployments that do not bring them.

use protocol::api::{MESH_PORT, PROBE_PORT, USER_PORT};
use serde_json::{Value, json};

use super::inject::{podinfo_mount, podinfo_volume};

/// The file that is added.
pub const COORDINATOR_FILE: &str = "casemate-coordinator.yml";
/// Label or annotation that says what a pod is.
pub const ROLE: &str = "casemate.dev/role";
/// The Coordinator's container.
pub(super) const CONTAINER: &str = "coordinator";

/// Ports that are open as they are: each speaks attested TLS, or tells no more than that it lives.
pub(super) const PORTS: [u16; 3] = [USER_PORT, MESH_PORT, PROBE_PORT];

/// Whether a pod is the Coordinator.
pub(super) fn is_coordinator(object: &Value, pod: &Value) -> bool {
    let says = |metadata: &Value| {
        metadata["labels"][ROLE] == json!("coordinator") || metadata["annotations"][ROLE] == json!("coordinator")
    };
    says(&pod["metadata"]) || says(&object["metadata"])
}

/// StatefulSet, Service and claim of the Coordinator, before they are completed as any other pod is.
pub fn resources(namespace: &str, image: &str) -> Vec<Value> {
    let labels = json!({"app.kubernetes.io/name": "coordinator", ROLE: "coordinator"});
    let selector = json!({"app.kubernetes.io/name": "coordinator"});
    let metadata = |name: &str| {
        let mut metadata = json!({"name": name, "labels": labels});
        if namespace != "default" {
            metadata["namespace"] = json!(namespace);
        }
        metadata
    };
    let probe = |path: &str, failures: u32| json!({"httpGet": {"path": path, "port": PROBE_PORT}, "periodSeconds": 1, "failureThreshold": failures});
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata("coordinator"),
        "spec": {
            "serviceName": "coordinator",
            "replicas": 1,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "runtimeClassName": super::kinds::RUNTIME_CLASS,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "containers": [{
                        "name": CONTAINER,
                        "image": image,
                        "command": ["/casemate-pod", "coordinator"],
                        "env": [{"name": "CASEMATE_STORE", "value": "/var/lib/casemate"}],
                        "ports": [
                            {"name": "user", "containerPort": USER_PORT},
                            {"name": "mesh", "containerPort": MESH_PORT},
                            {"name": "probes", "containerPort": PROBE_PORT},
                        ],
                        "startupProbe": probe("/probe/startup", 60),
                        "readinessProbe": probe("/probe/readiness", 3),
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "64Mi"},
                            "limits": {"memory": "256Mi"},
                        },
                        "securityContext": {
                            "runAsUser": 0,
                            "runAsGroup": 0,
                            "readOnlyRootFilesystem": true,
                            "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
                        },
                        "volumeMounts": [
                            podinfo_mount(),
                            {"name": "coordinator-store", "mountPath": "/var/lib/casemate"},
                        ],
                    }],
                    "volumes": [
                        podinfo_volume(),
                        {"name": "coordinator-store", "persistentVolumeClaim": {"claimName": "coordinator-store"}},
                    ],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata("coordinator"),
        "spec": {
            "selector": selector,
            // Workloads attest before the Coordinator is ready: it is ready once a manifest is set.
            "publishNotReadyAddresses": true,
            "ports": [
                {"name": "user", "port": USER_PORT, "targetPort": "user"},
                {"name": "mesh", "port": MESH_PORT, "targetPort": "mesh"},
            ],
        },
    });
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata("coordinator-store"),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    vec![set, service, claim]
}
