//! Pods of Indexed Jobs: one index in the host name, in the pod's name and in what the containers take of it.

use super::*;
use crate::request::{as_made, completions, give_symbolic_index};

struct Made {
    resource: Value,
    policy: String,
}

impl Made {
    fn of(name: &str, count: u32) -> Self {
        let resource = json!({"kind": "Job", "metadata": {"name": name}, "spec": {
            "completionMode": "Indexed", "completions": count, "template": {"spec": {"containers": [{
                "name": "c", "image": IMAGE, "command": ["/render", "--chunk=$(JOB_COMPLETION_INDEX).exr", "$(HOST)"],
                "env": [{"name": "SHARD", "valueFrom": {"fieldRef": {
                            "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}},
                        {"name": "OUT", "value": "out/$(SHARD)"}],
            }]}},
        }});
        let mut pod = resource["spec"]["template"].clone();
        give_symbolic_index(&mut pod);
        let policy = policy(&PolicyInputs {
            kind: "Job",
            name,
            namespace: "default",
            pod: &pod,
            completions: completions(&resource),
            containers: vec![PolicyContainer {
                container: &pod["spec"]["containers"][0],
                image: &ImageConfig::default(),
                signals: true,
            }],
            services: vec![],
            config: &PodInstance::default(),
            openings: Openings::default(),
        });
        Self { resource, policy: policy.unwrap() }
    }

    fn life(&self, number: u64) -> Vec<(&'static str, Value)> {
        let pod = as_made(&self.resource, &self.resource["spec"]["template"], number);
        let instance = PodInstance {
            name: pod_name(&self.resource, number),
            namespace: "default".into(),
            uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
            sandbox_id: "a".repeat(64),
            hostname: pod["spec"]["hostname"].as_str().unwrap().into(),
            ..PodInstance::default()
        };
        let container = &pod["spec"]["containers"][0];
        let request = container_request(&pod, container, &ImageConfig::default(), &instance, &"c".repeat(64));
        vec![
            ("CreateSandboxRequest", sandbox_request(&pod, &instance)),
            ("CreateContainerRequest", pause_request(&pod, &instance)),
            ("CreateContainerRequest", request.unwrap()),
        ]
    }

    /// Why the first refused request of a life is refused.
    fn refused(&self, life: &[(&'static str, Value)]) -> Option<String> {
        let mut engine = PolicyEngine::new(&self.policy).unwrap();
        life.iter().find_map(|(endpoint, request)| {
            let decision = engine.decide(endpoint, request).unwrap();
            (!decision.allowed).then(|| decision.reasons.join("; "))
        })
    }
}

#[test]
fn every_index_of_a_job_is_allowed_and_no_other() {
    for length in [6, 54, 55, 56, 59] {
        let name = format!("{}x", "render-".repeat(9).chars().take(length - 1).collect::<String>());
        let made = Made::of(&name, 112);
        for number in [0, 7, 10, 99, 100, 111, 112, 500] {
            assert_eq!(made.refused(&made.life(number)), None, "{name} {number}");
        }
        let more = Made::of(&name, 300);
        for number in [112, 200, 299] {
            let reason = made.refused(&more.life(number)).unwrap();
            assert!(reason.contains("hostname: got"), "{reason}");
        }
    }
}

#[test]
fn an_index_is_the_same_everywhere() {
    for name in ["render", &"x".repeat(58)] {
        let made = Made::of(name, 112);
        let (of_7, of_17) = (made.life(7), made.life(17));
        // The sandbox of one index, and the pod or the container of another.
        let [sandbox, pause, container] = of_7.as_slice() else { panic!("three requests") };
        let [_, other_pause, other_container] = of_17.as_slice() else { panic!("three requests") };
        let mut pause_of_17 = other_pause.clone();
        pause_of_17.1["OCI"]["Hostname"] = json!(format!("{name}-7"));
        let reason = made.refused(&[sandbox.clone(), pause_of_17]).unwrap();
        assert!(reason.contains("policy has index 7 of the host name"), "{reason}");
        let mut container_of_17 = container.clone();
        for (at, field) in [("SHARD", "Env"), ("JOB_COMPLETION_INDEX", "Env"), ("OUT", "Env"), ("Args", "Args")] {
            container_of_17.1 = container.1.clone();
            let value = |life: &Value| life["OCI"]["Process"][field].clone();
            match field {
                "Args" => container_of_17.1["OCI"]["Process"]["Args"] = value(&other_container.1),
                _ => {
                    for (index, variable) in value(&other_container.1).as_array().unwrap().iter().enumerate() {
                        if variable.as_str().unwrap().starts_with(&format!("{at}=")) {
                            container_of_17.1["OCI"]["Process"]["Env"][index] = variable.clone();
                        }
                    }
                }
            }
            let reason = made.refused(&[sandbox.clone(), pause.clone(), container_of_17.clone()]).unwrap();
            assert!(reason.contains(at), "{at}: {reason}");
        }
        for hostname in [format!("{name}-07"), format!("{name}-"), format!("{name}-112"), name.into(), "x-7".into()] {
            let mut sandbox = sandbox.clone();
            sandbox.1["hostname"] = json!(hostname);
            assert!(made.refused(&[sandbox]).is_some(), "{hostname}");
        }
    }
}

#[test]
fn every_changed_leaf_of_such_a_pod_is_refused_and_named() {
    let made = Made::of("render", 20);
    mutate::every_change_is_refused(&made.policy, &made.life(13));
}
