//! Resources that `generate` made, under the policy that it made: every request of the shim must be one that the policy
//! expects. The program of the test stands in for ours in the pod.

use engine::agent_api::AgentErrorCode;
use policy::GenerateOptions;
use protocol::manifest::{PublicKey, SoftwareReferenceValues};
use serde_json::json;

use crate::Test;
use crate::guest::get;
use crate::registry::Registry;
use crate::support::{Work, eventually};

pub(crate) const TESTS: &[Test] =
    &[("generated_resources_run_under_their_own_policy", generated_resources_run_under_their_own_policy)];

fn resources(image: &str) -> String {
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      runtimeClassName: casemate
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: {image}
        args: [guest, http, "8080"]
        env:
        - name: FROM_MAP
          valueFrom:
            configMapKeyRef: {{name: config, key: greeting}}
        - name: POD
          valueFrom:
            fieldRef: {{fieldPath: metadata.name}}
        ports:
        - name: http
          containerPort: 8080
        readinessProbe:
          tcpSocket: {{port: http}}
        resources:
          limits: {{memory: 256Mi}}
        volumeMounts:
        - name: config
          mountPath: /config
      volumes:
      - name: config
        configMap: {{name: config}}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
data:
  greeting: hello
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {{app: web}}
  ports:
  - name: http
    port: 80
    targetPort: http
"#
    )
}

fn generated() -> Work {
    let work = Work::new();
    let image = Registry::get().image();
    let (tag, _) = image.split_once('@').unwrap();
    std::fs::write(work.resources().join("web.yaml"), resources(tag)).unwrap();
    let identity = engine::identity(work.path()).unwrap();
    let key = || vec![PublicKey(vec![1; 120])];
    let options = GenerateOptions {
        paths: vec![work.resources()],
        stdin: None,
        namespace: None,
        workspace: work.path().to_owned(),
        platforms: vec!["local".into()],
        software: Some(SoftwareReferenceValues { root: identity.root, measurements: vec![identity.measurement] }),
        owner_keys: key(),
        owner_threshold: 1,
        holder_keys: key(),
        holder_threshold: 1,
        pod_image: Some(image),
        skip_initializer: false,
        output: None,
        check: false,
        ..GenerateOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(policy::generate(&options, &policy::images::Registry::new()))
        .unwrap_or_else(|error| panic!("{error:?}"));
    work
}

fn generated_resources_run_under_their_own_policy() {
    let work = generated();
    let report = work.must_up();
    println!("    up {:.2} s for {} pods", report.elapsed.as_secs_f64(), report.pods.len());
    work.must_be_ready();
    let pods = engine::ps(work.path()).unwrap();
    let shown: Vec<_> = pods.iter().map(|pod| (pod.owner.as_str(), pod.ready.as_str())).collect();
    assert_eq!(shown, [("statefulset/coordinator", "1/1"), ("deployment/web", "2/2"), ("deployment/web", "2/2")]);
    for pod in &pods {
        let steps: Vec<_> = pod
            .containers
            .iter()
            .map(|container| {
                let ms = |ms: Option<u64>| ms.map_or_else(|| "-".into(), |ms| ms.to_string());
                format!(
                    "{} started {} ready {} ms",
                    container.name,
                    ms(container.started_after_ms),
                    ms(container.ready_after_ms)
                )
            })
            .collect();
        println!("    {}: {}", pod.name, steps.join(", "));
    }
    let ip = report.services.iter().find(|service| service.name == "web").unwrap().ip;
    eventually("the service answers", || get(&format!("{ip}:80/")).starts_with("web-"));
    assert!(get(&format!("{ip}:80/env")).contains("FROM_MAP=hello"));
    // Through the initializer, as the rewired volume has it.
    assert_eq!(get(&format!("{ip}:80/file?/config/greeting")), "hello");
    assert!(get(&format!("{ip}:80/write?/config/greeting")).starts_with("ERROR"));
    // The Coordinator, whose volume outlives it.
    assert!(work.paths().volume("coordinator-store").join("started").exists());
    engine::kill_pod(work.path(), "coordinator-0").unwrap();
    work.must_be_ready();
    // The host may not stop the mesh on its own.
    let web = pods.iter().find(|pod| pod.owner == "deployment/web").unwrap();
    let mesh = web.containers.iter().find(|container| container.name == "casemate-mesh").unwrap();
    let mut agent = engine::agent_api::AgentClient::connect(&work.paths().agent_socket(&web.name)).unwrap();
    let request = json!({"container_id": mesh.id, "exec_id": mesh.id, "signal": 9});
    match agent.call(&engine::agent_api::Call::new("SignalProcessRequest", request)) {
        Err(engine::agent_api::CallError::Refused(error)) => assert_eq!(error.code, AgentErrorCode::Denied),
        other => panic!("{other:?}"),
    }
    engine::scale(work.path(), "web", 3).unwrap();
    work.must_be_ready();
}
