//! The server, and a deployment in it with faults.

use doctor::Bundle;
use doctor::collect::{self, Reach};
use protocol::initdata::{ANNOTATION, Initdata, Settings};
use protocol::manifest::{Quorum, ReferenceValues};
use protocol::{DeploymentId, Role};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::cluster::{Cluster, Missing, Options, User};

/// Who may read pods and events of one namespace.
pub(crate) const READER: &str = "reader-token";
/// What must not be in a bundle.
pub(crate) const SECRET: &str = "correct-horse-battery-staple";
const MERGE: &str = "application/merge-patch+json";
const IMAGE: &str = "us-central1-docker.pkg.dev/acme/shop/web:1.2";

/// What all tests share.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    /// Of the pods of `web`.
    pub(crate) identity: String,
    folder: TempDir,
}

impl Rig {
    pub(crate) fn start() -> Result<Self, Missing> {
        let users =
            vec![User { token: READER.to_owned(), name: "reader".to_owned(), groups: vec!["people".to_owned()] }];
        let cluster = Cluster::start(&Options { users, ..Options::default() })?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut rig = Self { cluster, identity: String::new(), folder };
        rig.deploy();
        Ok(rig)
    }

    /// As the command does it.
    pub(crate) fn collect(&self, token: &str, namespace: Option<&str>) -> Bundle {
        let path = self.folder.path().join("kubeconfig");
        let text = self.cluster.kubeconfig(token).replace("user: test}", "user: test, namespace: shop}");
        std::fs::write(&path, text).expect("write a kubeconfig");
        let reach = Reach { kubeconfig: Some(path), context: None, namespace: namespace.map(str::to_owned) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let cluster = runtime.expect("an executor").block_on(async {
            let session = collect::connect(&reach).await.expect("a kubeconfig");
            assert!(session.certificates().iter().any(|it| it.what.contains("authority")));
            collect::cluster(&session, &|_| {}).await
        });
        Bundle { taken: collect::now(), cluster: Some(cluster), ..Bundle::default() }
    }

    pub(crate) fn create(&self, path: &str, object: &Value) {
        let answer = self.cluster.ask("POST", path, Some(("application/json", &object.to_string())));
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    }

    fn patch(&self, path: &str, change: &Value) {
        let answer = self.cluster.ask("PATCH", path, Some((MERGE, &change.to_string())));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }

    /// What a user of a new cluster might have: a pod that cannot pull, one whose class is missing, a template with a
    /// blank, an old node; no Coordinator and no node agent.
    fn deploy(&mut self) {
        for name in ["shop", "many"] {
            self.create("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
        }
        let selector = json!({"nodeSelector": {"katacontainers.io/kata-runtime": "true"}});
        self.create(
            "/apis/node.k8s.io/v1/runtimeclasses",
            &json!({"metadata": {"name": "kata-qemu-snp"}, "handler": "kata-qemu-snp", "scheduling": selector}),
        );
        self.node();
        let initdata = initdata();
        self.identity = initdata.identity().to_string();
        let container = json!({
            "name": "web", "image": IMAGE, "args": ["--token", SECRET],
            "env": [{"name": "PASSWORD", "value": SECRET}],
        });
        let template = |class: &str, containers: Value, annotations: Value| {
            json!({
                "metadata": {"labels": {"app": "web"}, "annotations": annotations},
                "spec": {"runtimeClassName": class, "containers": containers},
            })
        };
        let deployment = |name: &str, template: Value| {
            let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": template});
            self.create(
                "/apis/apps/v1/namespaces/shop/deployments",
                &json!({"metadata": {"name": name}, "spec": spec}),
            );
        };
        let annotations = json!({ANNOTATION: initdata.to_annotation(), "vault.example/token": SECRET});
        deployment("web", template("kata-qemu-snp", json!([container]), annotations.clone()));
        deployment("bare", template("kata-qemu-snp", json!([container]), json!({})));
        deployment("tdx", template("kata-qemu-tdx", json!([container]), annotations.clone()));
        let blank = json!([{"name": "blank", "image": "gcr.io/<PROJECT_ID>/web:1"}]);
        deployment("blank", template("kata-qemu-snp", blank, annotations.clone()));
        self.pod(&container, &annotations);
        self.secret();
        self.rights();
    }

    fn node(&self) {
        let node = json!({"metadata": {"name": "n1", "labels": {"katacontainers.io/kata-runtime": "true"}}});
        self.create("/api/v1/nodes", &node);
        let info = json!({
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.11.0", "osImage": "",
            "containerRuntimeVersion": "containerd://1.6.20", "kubeletVersion": "v1.27.1", "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": "amd64",
        });
        self.patch("/api/v1/nodes/n1/status", &json!({"status": {"nodeInfo": info}}));
    }

    fn pod(&self, container: &Value, annotations: &Value) {
        let pod = json!({
            "metadata": {"name": "web-0", "annotations": annotations},
            "spec": {"runtimeClassName": "kata-qemu-snp", "containers": [container]},
        });
        self.create("/api/v1/namespaces/shop/pods", &pod);
        let waiting = json!({"reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{IMAGE}\"")});
        let status = json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
            "containerStatuses": [{
                "name": "web", "image": IMAGE, "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": waiting},
                "lastState": {"terminated": {"exitCode": 1, "message": SECRET}},
            }],
        });
        self.patch("/api/v1/namespaces/shop/pods/web-0/status", &json!({"status": status}));
        let message = format!(
            "Failed to pull image \"{IMAGE}\": pulling from host us-central1-docker.pkg.dev failed with status code [manifests 1.2]: 403 Forbidden"
        );
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let event = json!({
            "metadata": {"name": "web-0.1"}, "type": "Warning", "reason": "Failed", "message": message,
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-0"}, "lastTimestamp": now,
        });
        self.create("/api/v1/namespaces/shop/events", &event);
    }

    fn secret(&self) {
        let secret = json!({"metadata": {"name": "key"}, "stringData": {"key": SECRET}});
        self.create("/api/v1/namespaces/shop/secrets", &secret);
        self.create("/api/v1/namespaces/shop/configmaps", &json!({"metadata": {"name": "c"}, "data": {"key": SECRET}}));
    }

    fn rights(&self) {
        let rules = json!([{"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list"]}]);
        let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop";
        self.create(&format!("{path}/roles"), &json!({"metadata": {"name": "reader"}, "rules": rules}));
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"});
        let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}]);
        let binding = json!({"metadata": {"name": "reader"}, "roleRef": role, "subjects": subjects});
        self.create(&format!("{path}/rolebindings"), &binding);
    }
}

fn initdata() -> Initdata {
    let settings = Settings {
        version: 1,
        deployment_id: DeploymentId::from_bytes([7; 16]),
        role: Role::Workload,
        mesh: true,
        coordinator: None,
        open_ports: vec![],
        fs_group: None,
        owners: Quorum { threshold: 1, keys: vec![] },
        reference_values: ReferenceValues::default(),
        files: std::collections::BTreeMap::new(),
        ingress: vec![],
        egress: vec![],
    };
    Initdata::build(&format!("package agent_policy\n# {SECRET}\n"), &settings).expect("initdata")
}
