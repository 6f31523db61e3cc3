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
      initContainers:
      - name: prepare
        image: {image}
        args: [guest, write, /scratch/prepared, "yes"]
        volumeMounts: [{{name: scratch, mountPath: /scratch}}]
      - name: check
        image: {image}
        command: [/it, guest, write, /casemate-done/check, "yes"]
        securityContext: {{runAsUser: 1000}}
      containers:
      - name: main
        image: {image}
        securityContext: {{allowPrivilegeEscalation: false}}
        args: [guest, http, "8080"]
        env:
        - name: FROM_MAP
          valueFrom:
            configMapKeyRef: {{name: config, key: greeting}}
        - name: POD
          valueFrom:
            fieldRef: {{fieldPath: metadata.name}}
        - {{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
        - {{name: URL, value: "http://$(POD)@$(IP):8080/"}}
        - {{name: FROM_TEXT, value: text}}
        ports:
        - name: http
          containerPort: 8080
        startupProbe:
          exec: {{command: [/it, guest, write, /scratch/$(FROM_TEXT), probed]}}
        readinessProbe:
          tcpSocket: {{port: http}}
        lifecycle:
          postStart:
            exec: {{command: [/it, guest, write, /scratch/started, $(FROM_TEXT)]}}
          preStop:
            exec: {{command: [/it, guest, write, /claim/stopped, "yes"]}}
        resources:
          limits: {{memory: 256Mi}}
        volumeMounts:
        - name: config
          mountPath: /config
        - {{name: config, mountPath: /etc/one.txt, subPath: greeting}}
        - {{name: all, mountPath: /all}}
        - {{name: token, mountPath: /token}}
        - {{name: scratch, mountPath: /scratch}}
        - {{name: claim, mountPath: /claim}}
      volumes:
      - name: config
        configMap: {{name: config}}
      - name: all
        projected: {{sources: [{{configMap: {{name: config, items: [{{key: greeting, path: a/b}}]}}}}]}}
      - name: token
        projected: {{sources: [{{serviceAccountToken: {{path: token}}}}]}}
      - {{name: scratch, emptyDir: {{}}}}
      - name: claim
        ephemeral: {{volumeClaimTemplate: {{spec: {{accessModes: [ReadWriteOnce]}}}}}}
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
    // One file as the host copied it, and files of a projected volume as the initializer wrote them.
    assert_eq!(get(&format!("{ip}:80/file?/etc/one.txt")), "hello");
    assert_eq!(get(&format!("{ip}:80/file?/all/a/b")), "hello");
    assert!(get(&format!("{ip}:80/file?/token/token")).contains("no-api-server"));
    // Init containers ran before. Each may leave a mark, whoever it runs as, and nobody else.
    assert_eq!(get(&format!("{ip}:80/file?/scratch/prepared")), "yes");
    assert_eq!(get(&format!("{ip}:80/file?/casemate-done/check")), "yes");
    assert!(get(&format!("{ip}:80/write?/casemate-done/other")).starts_with("ERROR"));
    // What a probe and a hook ran, and what only the cluster knows inside of text.
    assert_eq!(get(&format!("{ip}:80/file?/scratch/text")), "probed");
    assert_eq!(get(&format!("{ip}:80/file?/scratch/started")), "$(FROM_TEXT)");
    assert!(get(&format!("{ip}:80/env")).contains("URL=http://web-"));
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
    // The host runs no other command, and none in the mesh.
    let main = web.containers.iter().find(|container| container.name == "main").unwrap();
    for (container, command) in [(main, ["/it", "guest", "say", "x"]), (mesh, ["/it", "guest", "say", "x"])] {
        let process = json!({"Terminal": false, "User": {"UID": 0, "GID": 0, "AdditionalGids": [0], "Username": ""},
            "Args": command, "Env": [], "Cwd": "/", "NoNewPrivileges": false});
        let request = json!({"container_id": container.id, "exec_id": "e1", "process": process});
        match agent.call(&engine::agent_api::Call::new("ExecProcessRequest", request)) {
            Err(engine::agent_api::CallError::Refused(error)) => assert_eq!(error.code, AgentErrorCode::Denied),
            other => panic!("{other:?}"),
        }
    }
    engine::scale(work.path(), "web", 3).unwrap();
    work.must_be_ready();
    let claim = work.paths().volume(&format!("{}-claim", web.name));
    engine::scale(work.path(), "web", 0).unwrap();
    eventually("the hook ran before the pod ended", || claim.join("stopped").exists());
}
