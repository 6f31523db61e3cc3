//! Up, look around, scale, crash, down.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use engine::{EngineError, LogOptions, PodStatus};
use serde_json::{Value, json};

use crate::Test;
use crate::guest::get;
use crate::support::{Work, assert_nothing_left, container, eventually, machine, service, workload};

pub(crate) const TESTS: &[Test] = &[
    ("a_deployment_runs_and_nothing_is_left_of_it", a_deployment_runs_and_nothing_is_left_of_it),
    ("a_container_sees_what_its_pod_says", a_container_sees_what_its_pod_says),
    ("init_containers_and_sidecars_run_in_order", init_containers_and_sidecars_run_in_order),
    ("a_service_balances_over_ready_pods", a_service_balances_over_ready_pods),
    ("a_killed_pod_comes_back", a_killed_pod_comes_back),
    ("an_ended_container_is_started_again", an_ended_container_is_started_again),
    ("volumes_outlive_their_pod", volumes_outlive_their_pod),
    ("a_crashed_supervisor_leaves_nothing_after_down", a_crashed_supervisor_leaves_nothing_after_down),
    ("an_interrupted_up_cleans_up", an_interrupted_up_cleans_up),
    ("many_pods_come_and_go", many_pods_come_and_go),
    ("a_job_completes", a_job_completes),
    ("a_container_reaches_no_device_of_the_machine", a_container_reaches_no_device_of_the_machine),
    ("a_followed_log_goes_on_over_a_restart_and_ends", a_followed_log_goes_on_over_a_restart_and_ends),
    ("a_terminated_supervisor_cleans_up", a_terminated_supervisor_cleans_up),
    ("a_service_may_count_pods_that_are_not_ready", a_service_may_count_pods_that_are_not_ready),
    ("a_container_out_of_memory_is_named", a_container_out_of_memory_is_named),
];

fn server() -> Value {
    let mut main = container("main", &["http", "8080"]);
    main["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    main["readinessProbe"] = json!({"httpGet": {"port": "http"}});
    main
}

fn web(replicas: u32) -> Vec<Value> {
    let spec = json!({"containers": [server()], "terminationGracePeriodSeconds": 1});
    vec![workload("Deployment", "web", replicas, spec), service("web", 80, json!("http"))]
}

fn pods(work: &Work) -> Vec<PodStatus> {
    engine::ps(work.path()).unwrap()
}

fn logs(work: &Work, target: &str, container: Option<&str>, previous: bool) -> Result<String, EngineError> {
    let options = LogOptions { target: target.into(), container: container.map(Into::into), follow: false, previous };
    let mut output = Vec::new();
    engine::logs(work.path(), &options, &mut output)?;
    Ok(String::from_utf8(output).unwrap())
}

fn a_deployment_runs_and_nothing_is_left_of_it() {
    let work = Work::with(&web(3));
    let report = work.must_up();
    work.must_be_ready();
    println!("    up {:.2} s for {} pods", report.elapsed.as_secs_f64(), report.pods.len());
    let pods = pods(&work);
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        assert!(pod.name.starts_with("web-") && pod.name.matches('-').count() == 2, "{}", pod.name);
        assert_eq!((pod.status.as_str(), pod.ready.as_str()), ("Running", "1/1"));
        assert_eq!(get(&format!("{}:8080/", pod.ip.unwrap())).trim(), pod.name);
    }
    assert_eq!(logs(&work, "deployment/web", None, false).unwrap(), "listening on 8080\n");
    assert!(machine(&work).len() > 10);
    assert!(matches!(work.up(), Err(EngineError::AlreadyUp { .. })));
    let memory = engine::memory_report(work.path()).unwrap();
    for role in ["supervise", "tee", "agent", "container"] {
        let of_role: Vec<_> = memory.iter().filter(|process| process.role == role).collect();
        println!(
            "    {role}: {} processes, PSS {:?} MiB, RSS {:?} MiB",
            of_role.len(),
            of_role.iter().map(|process| process.pss_bytes >> 20).collect::<Vec<_>>(),
            of_role.iter().map(|process| process.rss_bytes >> 20).collect::<Vec<_>>()
        );
        assert!(!of_role.is_empty());
    }
    let begun = Instant::now();
    engine::down(work.path()).unwrap();
    println!("    down {:.2} s", begun.elapsed().as_secs_f64());
    assert_nothing_left(&work);
    // Once more is nothing, successfully.
    engine::down(work.path()).unwrap();
    assert!(matches!(engine::ps(work.path()), Err(EngineError::NotUp { .. })));
    // The log stays.
    assert_eq!(logs(&work, &pods[0].name, None, false).unwrap(), "listening on 8080\n");
}

fn a_container_sees_what_its_pod_says() {
    let mut main = server();
    main["env"] = json!([
        {"name": "PLAIN", "value": "yes"},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "a.txt"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    ]);
    main["volumeMounts"] = json!([
        {"name": "config", "mountPath": "/config"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "disk", "mountPath": "/disk"},
        {"name": "podinfo", "mountPath": "/podinfo"}
    ]);
    main["securityContext"] = json!({"readOnlyRootFilesystem": true, "runAsUser": 1000, "runAsGroup": 1000});
    let mut other = container("other", &["http", "8081"]);
    other["readinessProbe"] = json!({"tcpSocket": {"port": 8081}});
    other["volumeMounts"] = json!([{"name": "memory", "mountPath": "/shared"}]);
    let spec = json!({
        "containers": [main, other],
        "volumes": [
            {"name": "config", "configMap": {"name": "config"}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "podinfo", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
        ]
    });
    let config = json!({"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"a.txt": "content"}});
    let work = Work::with(&[workload("StatefulSet", "web", 1, spec), config, service("web", 80, json!(8080))]);
    work.must_up();
    work.must_be_ready();
    let pod = pods(&work).remove(0);
    assert_eq!(pod.name, "web-0");
    let ask = |path: &str| get(&format!("{}:8080/{path}", pod.ip.unwrap()));
    let env = ask("env");
    for variable in ["PLAIN=yes", "FROM_MAP=content", "POD=web-0", "FROM_IMAGE=yes", "HOSTNAME=web-0"] {
        assert!(env.lines().any(|line| line == variable), "{variable} in\n{env}");
    }
    assert!(env.contains("WEB_SERVICE_HOST=10.89."), "{env}");
    assert_eq!(ask("file?/etc/hello"), "hello from the image");
    assert_eq!(ask("file?/config/a.txt"), "content");
    assert_eq!(ask("file?/podinfo/labels"), "app=\"web\"");
    assert!(ask("file?/etc/hosts").contains("web.default.svc.cluster.local"));
    assert!(ask("write?/config/x").starts_with("ERROR"));
    assert!(ask("write?/x").starts_with("ERROR"));
    assert_eq!(ask("write?/disk/x"), "ok");
    assert_eq!(ask("write?/memory/x"), "ok");
    assert_eq!(get(&format!("{}:8081/file?/shared/x", pod.ip.unwrap())), "written");
    let status = ask("status");
    assert!(status.contains("Uid:\t1000\t1000"), "{status}");
    assert!(status.contains("NSpid:\t1"), "{status}");
    // By its service, from inside, by name and by variable.
    assert_eq!(ask("get?web:80/").trim(), "web-0");
    assert_eq!(ask("get?web.default.svc.cluster.local:80/").trim(), "web-0");
    // Evidence for this pod, and from inside only.
    use base64::Engine as _;
    let data = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([7; 64]);
    let evidence = ask(&format!("get?127.0.0.1:8006/aa/evidence?encoding=base64&runtime_data={data}"));
    let evidence: protocol::Evidence = serde_json::from_str(&evidence).unwrap_or_else(|_| panic!("{evidence}"));
    let report = protocol::software::SoftwareReport::parse(&evidence.body).unwrap();
    assert_eq!(report.report_data.0, [7; 64]);
    assert_eq!(report.host_data.to_string(), pod.identity);
    let identity = engine::identity(work.path()).unwrap();
    assert_eq!((protocol::Digest::of(&report.root), report.measurement), (identity.root, identity.measurement));
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, report.root);
    key.verify(&report.signed_bytes(), &report.signature).unwrap();
    assert!(get(&format!("{}:8006/aa/evidence", pod.ip.unwrap())).starts_with("ERROR"));
    assert!(ask("get?127.0.0.1:8006/aa/evidence?runtime_data=AA").contains("not 64 bytes"));
}

fn init_containers_and_sidecars_run_in_order() {
    let volume = json!([{"name": "v", "mountPath": "/v"}]);
    let with = |mut container: Value| {
        container["volumeMounts"] = volume.clone();
        container
    };
    let mut sidecar = with(container("sidecar", &["http", "8081"]));
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({"tcpSocket": {"port": 8081}});
    let spec = json!({
        "initContainers": [
            with(container("first", &["write", "/v/first", "1"])),
            sidecar,
            with(container("waits", &["await", "/v/go"]))
        ],
        "containers": [with(server())],
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    });
    let work = Work::with(&[workload("Deployment", "web", 1, spec)]);
    // Returns although the pod is not ready: an init container waits.
    let report = work.must_up();
    assert!(!report.pods[0].is_ready);
    eventually("it has come to the one that waits", || pods(&work)[0].status == "Init:2/3");
    let pod = pods(&work).remove(0);
    assert_eq!((pod.ready.as_str(), pod.is_ready), ("1/2", false));
    assert!(matches!(
        engine::wait_ready(work.path(), Duration::from_millis(200)),
        Err(EngineError::Timeout { what, .. }) if what.contains("Init:2/3")
    ));
    assert_eq!(logs(&work, &pod.name, Some("first"), false).unwrap(), "wrote /v/first\n");
    assert_eq!(get(&format!("{}:8081/write?/v/go", pod.ip.unwrap())), "ok");
    work.must_be_ready();
    let pod = pods(&work).remove(0);
    assert_eq!((pod.status.as_str(), pod.ready.as_str()), ("Running", "2/2"));
    assert_eq!(get(&format!("{}:8080/file?/v/first", pod.ip.unwrap())), "1");
}

fn a_service_balances_over_ready_pods() {
    let work = Work::with(&web(2));
    let report = work.must_up();
    work.must_be_ready();
    let ip = report.services[0].ip;
    let answers = || -> BTreeSet<String> { (0..12).map(|_| get(&format!("{ip}:80/")).trim().to_owned()).collect() };
    let names = || -> BTreeSet<String> { pods(&work).into_iter().map(|pod| pod.name).collect() };
    eventually("both pods answer", || answers() == names());
    assert_eq!(names().len(), 2);
    engine::scale(work.path(), "web", 3).unwrap();
    work.must_be_ready();
    assert_eq!(names().len(), 3);
    eventually("three pods answer", || answers() == names());
    // From a pod, whose own answer comes back through the same service.
    let pod = pods(&work).remove(0);
    let from_pod: BTreeSet<_> =
        (0..12).map(|_| get(&format!("{}:8080/get?web:80/", pod.ip.unwrap())).trim().to_owned()).collect();
    assert_eq!(from_pod, names());
    engine::scale(work.path(), "deployment/web", 1).unwrap();
    assert_eq!(names().len(), 1);
    eventually("one pod answers", || answers() == names());
    engine::scale(work.path(), "web", 0).unwrap();
    eventually("nobody answers, and says so at once", || {
        let begun = Instant::now();
        get(&format!("{ip}:80/")).contains("refused") && begun.elapsed() < Duration::from_secs(1)
    });
    let error = engine::scale(work.path(), "web", 100_000).unwrap_err();
    assert_eq!(error, EngineError::TooManyPods { wanted: 100_000, most: 125 });
    assert!(error.is_refusal() && names().is_empty());
    let error = engine::scale(work.path(), "nothing", 1).unwrap_err();
    assert_eq!(error.hint().unwrap(), "workloads: deployment/web");
}

fn a_killed_pod_comes_back() {
    let work = Work::with(&[workload("StatefulSet", "web", 1, json!({"containers": [server()]}))]);
    work.must_up();
    work.must_be_ready();
    let before = pods(&work).remove(0);
    assert_eq!(get(&format!("{}:8080/write?/leftover", before.ip.unwrap())), "ok");
    engine::kill_pod(work.path(), "web-0").unwrap();
    eventually("it is started again", || pods(&work)[0].restarts == 1 && pods(&work)[0].is_ready);
    let after = pods(&work).remove(0);
    assert_eq!(after.name, "web-0");
    assert!(get(&format!("{}:8080/file?/leftover", after.ip.unwrap())).starts_with("ERROR"));
    // On purpose, so without a back-off however often.
    engine::kill_pod(work.path(), "web-0").unwrap();
    eventually("it is started again", || pods(&work)[0].restarts == 2 && pods(&work)[0].is_ready);
    assert!(matches!(engine::kill_pod(work.path(), "nothing"), Err(EngineError::NoSuchPod { .. })));
}

fn an_ended_container_is_started_again() {
    let work = Work::with(&web(1));
    work.must_up();
    work.must_be_ready();
    let pod = pods(&work).remove(0);
    get(&format!("{}:8080/exit", pod.ip.unwrap()));
    eventually("it is started again", || pods(&work)[0].restarts == 1 && pods(&work)[0].is_ready);
    let again = pods(&work).remove(0);
    assert_eq!((again.name.clone(), again.ip), (pod.name, pod.ip));
    assert_eq!(again.containers[0].exit_status, Some(9));
    assert_eq!(logs(&work, &again.name, None, true).unwrap(), "listening on 8080\n");
    get(&format!("{}:8080/exit", again.ip.unwrap()));
    eventually("the second time it has to wait", || pods(&work)[0].status == "CrashLoopBackOff");
}

fn volumes_outlive_their_pod() {
    let mut main = server();
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let spec = json!({
        "containers": [main],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}]
    });
    let work = Work::with(&[workload("StatefulSet", "web", 1, spec)]);
    work.must_up();
    work.must_be_ready();
    assert_eq!(get(&format!("{}:8080/write?/data/x", pods(&work)[0].ip.unwrap())), "ok");
    assert_eq!(std::fs::read_to_string(work.paths().volume("claim").join("x")).unwrap(), "written");
    engine::kill_pod(work.path(), "web-0").unwrap();
    eventually("it is started again", || pods(&work)[0].restarts == 1 && pods(&work)[0].is_ready);
    assert_eq!(get(&format!("{}:8080/file?/data/x", pods(&work)[0].ip.unwrap())), "written");
}

fn a_crashed_supervisor_leaves_nothing_after_down() {
    let work = Work::with(&web(2));
    work.must_up();
    let memory = engine::memory_report(work.path()).unwrap();
    let supervisor = memory.iter().find(|process| process.role == "supervise").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("it is known to have crashed", || matches!(engine::ps(work.path()), Err(EngineError::Crashed { .. })));
    assert!(matches!(work.up(), Err(EngineError::Crashed { .. })));
    engine::down(work.path()).unwrap();
    assert_nothing_left(&work);
    // And it can be started again.
    work.must_up();
}

fn an_interrupted_up_cleans_up() {
    let work = Work::with(&web(2));
    let mut caller = Command::new("/proc/self/exe").arg("up").arg(work.path()).stdout(Stdio::piped()).spawn().unwrap();
    // Something has been started by the first event.
    let mut first = [0];
    std::io::Read::read_exact(caller.stdout.as_mut().unwrap(), &mut first).unwrap();
    caller.kill().unwrap();
    caller.wait().unwrap();
    eventually("everything is gone", || machine(&work).is_empty());
}

fn a_service_may_count_pods_that_are_not_ready() {
    let mut main = server();
    main["readinessProbe"] = json!({"tcpSocket": {"port": 9}});
    let mut early = service("web", 80, json!(8080));
    early["spec"]["publishNotReadyAddresses"] = json!(true);
    let mut late = service("web", 80, json!(8080));
    late["metadata"]["name"] = json!("late");
    let work = Work::with(&[workload("StatefulSet", "web", 1, json!({"containers": [main]})), early, late]);
    let report = work.must_up();
    let ip = |name: &str| report.services.iter().find(|service| service.name == name).unwrap().ip;
    eventually("it answers", || get(&format!("{}:80/", ip("web"))).trim() == "web-0");
    assert!(get(&format!("{}:80/", ip("late"))).contains("refused"));
    assert!(!pods(&work)[0].is_ready);
}

fn a_container_out_of_memory_is_named() {
    let mut main = server();
    main["resources"] = json!({"limits": {"memory": "64Mi"}});
    let work = Work::with(&[workload("StatefulSet", "web", 1, json!({"containers": [main]}))]);
    work.must_up();
    work.must_be_ready();
    get(&format!("{}:8080/fill?200000000", pods(&work)[0].ip.unwrap()));
    eventually("it was killed and started again", || pods(&work)[0].restarts == 1);
    assert_eq!(pods(&work)[0].containers[0].exit_status, Some(137));
    let mut killed = false;
    engine::events(work.path(), &mut |event| {
        killed |= event.reason == "OOMKilled";
        !killed
    })
    .unwrap();
    assert!(killed);
}

fn a_container_reaches_no_device_of_the_machine() {
    let work = Work::with(&[workload("StatefulSet", "web", 1, json!({"containers": [server()]}))]);
    work.must_up();
    work.must_be_ready();
    let ip = pods(&work)[0].ip.unwrap();
    // What every container has is there.
    assert_eq!(get(&format!("{ip}:8080/file?/dev/null")), "");
    let answer = get(&format!("{ip}:8080/device"));
    assert!(answer.contains("not permitted") || answer == "no disk", "{answer}");
}

fn a_followed_log_goes_on_over_a_restart_and_ends() {
    let work = Work::with(&web(1));
    work.must_up();
    work.must_be_ready();
    let pod = pods(&work).remove(0);
    let (path, target) = (work.path().to_owned(), pod.name.clone());
    let following = std::thread::spawn(move || {
        let options = LogOptions { target, container: None, follow: true, previous: false };
        let mut output = Vec::new();
        engine::logs(&path, &options, &mut output).map(|()| String::from_utf8(output).unwrap())
    });
    get(&format!("{}:8080/exit", pod.ip.unwrap()));
    eventually("it is started again", || pods(&work)[0].restarts == 1 && pods(&work)[0].is_ready);
    // A look every 100 ms.
    std::thread::sleep(Duration::from_millis(300));
    engine::scale(work.path(), "web", 0).unwrap();
    assert_eq!(following.join().unwrap().unwrap(), "listening on 8080\nlistening on 8080\n");
}

fn a_terminated_supervisor_cleans_up() {
    let work = Work::with(&web(1));
    work.must_up();
    let memory = engine::memory_report(work.path()).unwrap();
    let supervisor = memory.iter().find(|process| process.role == "supervise").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("everything is gone", || machine(&work).is_empty());
    assert!(matches!(engine::ps(work.path()), Err(EngineError::NotUp { .. })));
}

fn many_pods_come_and_go() {
    let work = Work::with(&web(1));
    work.must_up();
    let begun = Instant::now();
    engine::scale(work.path(), "web", 20).unwrap();
    work.must_be_ready();
    println!("    20 pods ready after {:.2} s", begun.elapsed().as_secs_f64());
    engine::scale(work.path(), "web", 30).unwrap();
    // Taken back while they are being started: those that go are gone, whatever they had come to.
    engine::scale(work.path(), "web", 2).unwrap();
    work.must_be_ready();
    assert_eq!(pods(&work).len(), 2);
    let netns = machine(&work).into_iter().filter(|line| line.starts_with("netns: ")).count();
    assert_eq!(netns, 3, "one for the node and one for each pod");
    assert!(begun.elapsed() < Duration::from_secs(60));
    engine::down(work.path()).unwrap();
    assert_nothing_left(&work);
}

fn a_job_completes() {
    let spec = json!({"restartPolicy": "Never", "containers": [container("main", &["say", "done"])]});
    let work = Work::with(&[workload("Job", "task", 1, spec)]);
    work.must_up();
    eventually("it has completed", || pods(&work)[0].status == "Completed");
    work.must_be_ready();
    assert_eq!(logs(&work, "job/task", None, false).unwrap(), "done\n");
}
