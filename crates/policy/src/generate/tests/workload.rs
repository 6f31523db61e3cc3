//! Pods with everything that containers have: what is injected, bound, taken off again and refused.

use super::*;
use crate::request::{copy_file_request, exec_request, probe_command};

/// A database as people write it, with an image that has VOLUMEs and a user.
const DATABASE: &str = r#"apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: db
spec:
  serviceName: db
  template:
    metadata:
      labels: {app: db}
    spec:
      runtimeClassName: casemate
      securityContext: {runAsUser: 70, runAsGroup: 70, fsGroup: 70, supplementalGroupsPolicy: Strict}
      containers:
        - name: db
          image: localhost:5000/db:1
          # Arguments with what only the cluster knows.
          args: ["--advertise=$(IP):5432", "--name", "$(POD)"]
          env:
            - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
            - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: URL, value: "tcp://$(POD).db[0]:5432/?a=$$(IP)"}
            - {name: DB, value: main}
          readinessProbe:
            exec: {command: [pg_isready, -d, $(DB)]}
          lifecycle:
            preStop: {exec: {command: [pg_ctl, stop, $(DB)]}}
            postStart: {sleep: {seconds: 1}}
          volumeMounts:
            - {name: config, mountPath: /etc/db.conf, subPath: db.conf}
            - {name: all, mountPath: /etc/all}
            - {name: data, mountPath: /var/lib/db/data}
            - {name: token, mountPath: /var/run/vault}
            - {name: scratch, mountPath: /scratch}
      volumes:
        - name: config
          configMap: {name: db}
        - name: all
          projected:
            sources:
              - configMap: {name: db, items: [{key: db.conf, path: conf/db.conf}]}
              - secret: {name: db}
        - name: token
          projected:
            sources: [{serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}}]
        - name: scratch
          ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce]}
"#;
const FILES: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\ndata: {db.conf: \"fsync = on\"}\n---\n\
                     apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: x}\n";

fn rig(text: &str) -> Rig {
    let rig = Rig::new();
    let config = json!({"Entrypoint": ["/docker-entrypoint.sh"], "Cmd": ["db"], "WorkingDir": "/",
        "Volumes": {"/var/lib/db/data": {}, "/var/log/db/": {}}});
    rig.registry.push("db", "1", &config);
    rig.write("resources/db.yaml", text);
    rig.write("resources/files.yaml", FILES);
    rig
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: vec!["/docker-entrypoint.sh".into()],
        cmd: vec!["db".into()],
        working_dir: "/".into(),
        volumes: vec!["/var/lib/db/data".into(), "/var/log/db/".into()],
        ..ImageConfig::default()
    }
}

/// What is said of a workload, a line each.
fn said(report: &Report, name: &str) -> String {
    report.workloads.iter().find(|workload| workload.name == name).unwrap().notices.join("\n")
}

fn resource(rig: &Rig) -> Value {
    yaml::parse(&rig.read("resources/db.yaml")).unwrap().remove(0).tree
}

/// The pod as the cluster makes it: with its claims.
fn pod(rig: &Rig) -> Value {
    let mut pod = resource(rig)["spec"]["template"].clone();
    if let Some(volumes) = pod["spec"]["volumes"].as_array_mut() {
        volumes.push(json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-3"}}));
    }
    pod
}

fn instance() -> PodInstance {
    PodInstance {
        name: "db-3".into(),
        hostname: "db-3".into(),
        namespace: "default".into(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        pod_ip: "10.0.0.7".into(),
        ..PodInstance::default()
    }
}

/// Everything that the shim asks for until the database runs.
fn life(pod: &Value) -> Vec<(&'static str, Value)> {
    let mut life = vec![
        ("CreateSandboxRequest", sandbox_request(pod, &instance())),
        ("CreateContainerRequest", pause_request(pod, &instance())),
    ];
    let pod_image = ImageConfig { entrypoint: vec!["/casemate-pod".into()], ..ImageConfig::default() };
    let lists = ["initContainers", "containers"];
    let containers = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    for (index, container) in containers.enumerate() {
        let image = if container["name"] == "db" { &image() } else { &pod_image };
        let request = container_request(pod, container, image, &instance(), &format!("{index:064x}")).unwrap();
        life.push(("CreateContainerRequest", request));
    }
    life
}

#[tokio::test]
async fn a_database_is_bound_with_its_commands_volumes_and_addresses() {
    let rig = rig(DATABASE);
    let report = rig.generate().await.unwrap();
    let pod = pod(&rig);
    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        container["command"],
        json!([LAUNCHER, "db", "/etc/db.conf:config/db.conf", "--", "/docker-entrypoint.sh"])
    );
    assert_eq!(
        container["readinessProbe"]["exec"]["command"],
        json!([LAUNCHER, "-", "/etc/db.conf:config/db.conf", "--", "pg_isready", "-d", "$(DB)"])
    );
    let at = |path: &str| {
        let mounts = container["volumeMounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["mountPath"] == path).cloned().unwrap_or_default()
    };
    assert_eq!(at("/etc/db.conf"), json!({"name": "config", "mountPath": "/etc/db.conf", "subPath": "db.conf"}));
    assert_eq!(at("/casemate-files/config")["name"], json!("casemate-files-config"));
    assert_eq!(at("/etc/all")["name"], json!("casemate-files-all"));
    assert_eq!(at("/var/log/db")["name"], json!("casemate-image-volume-1"));
    assert_eq!(at("/var/lib/db/data")["name"], json!("data"));

    let initdata = Initdata::from_annotation(annotation(&resource(&rig))).unwrap();
    let files = initdata.settings().unwrap().files;
    assert_eq!(files["config"].keys().collect::<Vec<_>>(), ["db.conf"]);
    assert_eq!(files["all"].keys().collect::<Vec<_>>(), ["conf/db.conf", "password"]);
    assert_eq!(files.len(), 2, "a token has no digest");

    // The shim's requests pass, and none with one field changed.
    let policy = initdata.policy().unwrap();
    let life = life(&pod);
    let mut engine = engine_after(policy, &life, life.len());
    every_change_is_refused(policy, &life);
    let created = &life.last().unwrap().1;
    let id = created["container_id"].as_str().unwrap();
    for (endpoint, file, allowed) in [
        ("CopyFileRequest", "db.conf", true),
        ("CopyFileRequest", "db.conf/x", false),
        ("CopyFileRequest", "other.conf", false),
        ("CopyFileRequest", "data", false),
    ] {
        let path = format!("{}{id}-{}-{file}", crate::request::COPIED_PREFIX, "0".repeat(16));
        let request = copy_file_request(&path, 0o100_644, 1, "");
        assert_eq!(engine.decide(endpoint, &request).unwrap().allowed, allowed, "{file}");
    }
    assert!(engine.decide("StartContainerRequest", &json!({"container_id": id})).unwrap().allowed);
    let ready = probe_command(container, "readinessProbe").unwrap();
    let compared = "/etc/db.conf:config/db.conf";
    assert_eq!(ready, [LAUNCHER, "-", compared, "--", "pg_isready", "-d", "main"]);
    let stop = [LAUNCHER, "-", compared, "--", "pg_ctl", "stop", "$(DB)"].map(str::to_owned);
    for (argv, allowed) in [
        (&ready[..], true),
        (&stop[..], true),
        (&ready[2..], false),
        (&ready[..4], false),
        (&["sh".to_owned()], false),
        (&[LAUNCHER.to_owned(), "--".to_owned(), "pg_isready".to_owned(), "-d".to_owned(), "$(DB)".to_owned()], false),
    ] {
        let decision = engine.decide("ExecProcessRequest", &exec_request(created, "e1", argv)).unwrap();
        assert_eq!(decision.allowed, allowed, "{argv:?}: {:?}", decision.reasons);
    }

    let notices = said(&report, "db");
    for word in [
        "at the image's VOLUME `/var/log/db` is an `emptyDir`",
        "volume `token`: its files are the host's word",
        "volume `scratch`: what is in the claim is the host's word",
        "the host may run the commands of its probes and hooks in it at any time",
    ] {
        assert!(notices.contains(word), "{word}: {notices}");
    }
    let once = rig.snapshot();
    assert!(rig.generate().await.unwrap().up_to_date);
    assert_eq!(rig.snapshot(), once);
}

#[tokio::test]
async fn values_of_the_cluster_are_bound_inside_of_text() {
    let rig = rig(DATABASE);
    rig.generate().await.unwrap();
    let initdata = Initdata::from_annotation(annotation(&resource(&rig))).unwrap();
    let pod = pod(&rig);
    let life = life(&pod);
    let last = life.len() - 1;
    let request = &life[last].1;
    let args = request["OCI"]["Process"]["Args"].as_array().unwrap();
    let first = args.iter().position(|argument| argument == "--advertise=10.0.0.7:5432").unwrap();
    let variable = |name: &str| {
        let env = request["OCI"]["Process"]["Env"].as_array().unwrap();
        env.iter().position(|variable| variable.as_str().unwrap().starts_with(&format!("{name}="))).unwrap()
    };
    let (url, ips) = (variable("URL"), variable("IPS"));
    for (at, value, allowed) in [
        (format!("Args/{first}"), "--advertise=192.168.7.1:5432", true),
        (format!("Args/{first}"), "--advertise=fd00::7:5432", true),
        (format!("Args/{first}"), "--advertise=10.0.0.7:5433", false),
        (format!("Args/{first}"), "--advertise=evil.example:5432", false),
        (format!("Args/{first}"), "--advertise=10.0.0.7:5432 --x", false),
        (format!("Args/{first}"), "x --advertise=10.0.0.7:5432", false),
        (format!("Args/{first}"), "--advertise=$(ip):5432", false),
        (format!("Args/{}", first + 2), "db-3", true),
        (format!("Args/{}", first + 2), "db-4", false),
        (format!("Args/{}", first + 2), "$(pod-name)", false),
        (format!("Args/{}", first + 1), "--other", false),
        (format!("Env/{url}"), "URL=tcp://db-3.db[0]:5432/?a=$(IP)", true),
        (format!("Env/{url}"), "URL=tcp://db-4.db[0]:5432/?a=$(IP)", false),
        (format!("Env/{url}"), "URL=tcp://db-3xdb[0]:5432/?a=$(IP)", false),
        (format!("Env/{url}"), "URL=tcp://db-3.db0:5432/?a=$(IP)", false),
        (format!("Env/{url}"), "URL=tcp://db-3.db[0]:5432/?a=10.0.0.7", false),
        (format!("Env/{ips}"), "IPS=10.0.0.7,fd00::7", true),
        (format!("Env/{ips}"), "IPS=fd00::7", true),
        (format!("Env/{ips}"), "IPS=10.0.0.7,fd00::7,10.0.0.8", false),
        (format!("Env/{ips}"), "IPS=10.0.0.7,", false),
        (format!("Env/{ips}"), "IPS=", false),
    ] {
        let mut changed = request.clone();
        *changed.pointer_mut(&format!("/OCI/Process/{at}")).unwrap() = json!(value);
        let mut engine = engine_after(initdata.policy().unwrap(), &life, last);
        let decision = engine.decide("CreateContainerRequest", &changed).unwrap();
        assert_eq!(decision.allowed, allowed, "{at} {value}: {:?}", decision.reasons);
        let field = at.split('/').next().unwrap();
        assert!(allowed || decision.reasons.iter().any(|reason| reason.contains(field)), "{:?}", decision.reasons);
    }
}

#[tokio::test]
async fn without_an_initializer_a_pod_keeps_its_commands_and_gets_its_volumes() {
    let skip = DATABASE
        .replace("labels: {app: db}", "annotations: {casemate.dev/skip-initializer: \"true\"}")
        .replace("mountPath: /etc/all}", "mountPath: /etc//all/}");
    let rig = rig(&skip);
    let report = rig.generate().await.unwrap();
    let pod = pod(&rig);
    let container = &pod["spec"]["containers"][0];
    assert!(container["command"].is_null() && pod["spec"]["initContainers"].is_null());
    assert_eq!(container["readinessProbe"]["exec"]["command"], json!(["pg_isready", "-d", "$(DB)"]));
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.contains(&json!({"name": "casemate-image-volume-1", "emptyDir": {}})));
    let initdata = Initdata::from_annotation(annotation(&resource(&rig))).unwrap();
    let life = life(&pod);
    let mut engine = engine_after(initdata.policy().unwrap(), &life, life.len());
    let created = &life.last().unwrap().1;
    let start = json!({"container_id": created["container_id"]});
    assert!(engine.decide("StartContainerRequest", &start).unwrap().allowed);
    let probe = exec_request(created, "e1", &probe_command(container, "readinessProbe").unwrap());
    assert!(engine.decide("ExecProcessRequest", &probe).unwrap().allowed);
    let notices = said(&report, "db");
    assert!(notices.contains("volume `config`: its files are the host's word"), "{notices}");
    // The rules compare text, so that a path has one spelling whatever is injected.
    assert!(notices.contains("container `db`: `mountPath: /etc//all/` became `/etc/all`"), "{notices}");
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["mountPath"] == "/etc/all"), "{mounts:?}");
    assert!(rig.generate().await.unwrap().up_to_date);
}

/// Before the database: one that prepares, one that runs beside, one that checks.
const INIT: &str = "      initContainers:
        - {name: prepare, image: 'localhost:5000/db:1', command: [prepare], volumeMounts: [{name: all, mountPath: /all}]}
        - {name: log, image: 'localhost:5000/db:1', command: [log], restartPolicy: Always}
        - {name: check, image: 'localhost:5000/db:1', args: [check], securityContext: {runAsUser: 71}}
      containers:
";

#[tokio::test]
async fn init_containers_cannot_be_left_out() {
    let rig = rig(&DATABASE.replace("      containers:\n", INIT));
    let report = rig.generate().await.unwrap();
    let pod = pod(&rig);
    let all = |list: &str| pod["spec"][list].as_array().unwrap().clone();
    let containers = [all("initContainers"), all("containers")].concat();
    let command = |name: &str| {
        let container = containers.iter().find(|container| container["name"] == name).unwrap();
        container["command"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(command("prepare"), [LAUNCHER, "--mark", "prepare", "--", "prepare"]);
    assert_eq!(command("log"), [LAUNCHER, "--after=prepare", "--mark-start", "log", "--", "log"]);
    assert_eq!(command("check"), [LAUNCHER, "--after=log", "--mark", "check", "--", "/docker-entrypoint.sh"]);
    let main = ["--after=check", "db", "/etc/db.conf:config/db.conf", "--", "/docker-entrypoint.sh"];
    assert_eq!(command("db"), [&[LAUNCHER], &main[..]].concat());
    let mounts = |container: &Value| {
        let all = container["volumeMounts"].as_array().unwrap();
        all.iter().filter(|mount| mount["name"] == "casemate-done").cloned().collect::<Vec<_>>()
    };
    for container in &containers {
        let name = container["name"].as_str().unwrap();
        let writable = json!({"name": "casemate-done", "mountPath": "/casemate-done"});
        let expected = match name {
            INITIALIZER | MESH => vec![],
            "db" => vec![json!({"name": "casemate-done", "mountPath": "/casemate-done", "readOnly": true})],
            _ => vec![writable],
        };
        assert_eq!(mounts(container), expected, "{name}");
    }
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.contains(&json!({"name": "casemate-done", "emptyDir": {"medium": "Memory"}})));

    // In the policy: whom each waits for, and who may write.
    let initdata = Initdata::from_annotation(annotation(&resource(&rig))).unwrap();
    let mut life = life(&pod);
    for (_, request) in &mut life[2..] {
        let name = request["OCI"]["Annotations"]["io.kubernetes.cri.container-name"].as_str().unwrap().to_owned();
        let container = containers.iter().find(|container| container["name"] == name.as_str()).unwrap();
        let ours = [INITIALIZER, MESH].contains(&name.as_str());
        let image = if ours {
            ImageConfig { entrypoint: vec!["/casemate-pod".into()], ..ImageConfig::default() }
        } else {
            image()
        };
        *request =
            container_request(&pod, container, &image, &instance(), request["container_id"].as_str().unwrap()).unwrap();
    }
    let policy = initdata.policy().unwrap();
    engine_after(policy, &life, life.len());
    let created = life.last().unwrap().1.clone();
    let words = created["OCI"]["Process"]["Args"].as_array().unwrap().clone();
    assert_eq!(words[1], json!("--after=check"));
    let refused = |request: &Value, field: &str| {
        let decision = engine_after(policy, &life, life.len() - 1).decide("CreateContainerRequest", request).unwrap();
        assert!(!decision.allowed && decision.reasons.iter().any(|reason| reason.contains(field)), "{decision:?}");
    };
    for after in [None, Some("--after=prepare"), Some("--mark"), Some("--after=")] {
        let mut changed = created.clone();
        let mut words = words.clone();
        words.splice(1..2, after.map(Value::from));
        changed["OCI"]["Process"]["Args"] = json!(words);
        refused(&changed, "Args");
    }
    let mut writes = created.clone();
    let mount = writes["OCI"]["Mounts"].as_array_mut().unwrap().iter_mut();
    let mount = mount.filter(|mount| mount["destination"] == "/casemate-done").last().unwrap();
    mount["options"] = json!(["rbind", "rprivate", "rw"]);
    refused(&writes, "Mounts");

    let notices = said(&report, "db");
    assert!(!notices.contains("init container"), "{notices}");
    let once = rig.snapshot();
    assert!(rig.generate().await.unwrap().up_to_date);
    assert_eq!(rig.snapshot(), once);
}

#[tokio::test]
async fn where_nothing_is_injected_init_containers_may_be_left_out_and_that_is_said() {
    let skip = DATABASE.replace("labels: {app: db}", "annotations: {casemate.dev/skip-initializer: \"true\"}");
    let rig = rig(&skip.replace("      containers:\n", INIT));
    let report = rig.generate().await.unwrap();
    let notices = said(&report, "db");
    for (word, there) in [
        ("init container `prepare`: the host may leave it out", true),
        ("init container `check`: the host may leave it out", true),
        ("init container `log`", false),
    ] {
        assert_eq!(notices.contains(word), there, "{word}: {notices}");
    }
    assert!(!rig.read("resources/db.yaml").contains("casemate-done"));
}

#[tokio::test]
async fn modes_and_the_group_of_files_are_bound() {
    // Four digits with a zero are octal, as the API server reads them.
    for (mode, group, expected) in [
        ("0400", "fsGroup: 70, ", (0o440, Some(70))),
        ("256", "fsGroup: 70, ", (0o440, Some(70))),
        ("0400", "", (0o400, None)),
        ("0644", "", (0o644, None)),
        ("0755", "fsGroup: 0, ", (0o755, Some(0))),
    ] {
        let text = DATABASE
            .replace("configMap: {name: db}\n", &format!("configMap: {{name: db, defaultMode: {mode}}}\n"))
            .replace("fsGroup: 70, ", group);
        let rig = rig(&text);
        let report = rig.generate().await.unwrap();
        let settings = Initdata::from_annotation(annotation(&resource(&rig))).unwrap().settings().unwrap();
        assert_eq!((settings.files["config"]["db.conf"].mode(), settings.fs_group), expected, "{mode} {group}");
        assert_eq!(settings.files["all"]["password"].mode(), 0o644);
        let notices = said(&report, "db");
        assert!(!notices.contains("may read its files"), "{notices}");
    }
    // Without files there is nothing whose group could be said.
    let rig = Rig::new();
    rig.write(
        "resources/plain.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: plain}\nspec: {runtimeClassName: casemate, \
        securityContext: {fsGroup: 7}, containers: [{name: x, image: 'localhost:5000/casemate/digits:1'}]}\n",
    );
    rig.generate().await.unwrap();
    let pod = yaml::parse(&rig.read("resources/plain.yaml")).unwrap().remove(0).tree;
    let annotation = pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap();
    assert_eq!(Initdata::from_annotation(annotation).unwrap().settings().unwrap().fs_group, None);
}

#[tokio::test]
async fn what_a_guest_does_otherwise_is_said() {
    let text = DATABASE
        .replace("{runAsUser: 70,", "{sysctls: [{name: net.core.somaxconn, value: \"9\"}, {name: net.ipv4.tcp_rmem, value: \"1 2 3\"}], runAsUser: 70,")
        .replace("        - name: scratch\n", "        - {name: cache, emptyDir: {sizeLimit: 1Gi}}\n        - name: scratch\n");
    let report = rig(&text).generate().await.unwrap();
    let notices = said(&report, "db");
    for (word, there) in [
        ("sysctl `net.core.somaxconn` is one that Kubernetes calls unsafe", true),
        ("sysctl `net.ipv4.tcp_rmem`", false),
        ("volume `cache`: nothing keeps `sizeLimit`", true),
    ] {
        assert_eq!(notices.contains(word), there, "{word}: {notices}");
    }
}

#[tokio::test]
async fn what_cannot_be_bound_in_a_database_is_refused_by_name() {
    for (from, to, words_of_error) in [
        ("subPath: db.conf", "subPath: none", "volumeMounts[0].subPath`: volume `config` has no file `none`"),
        ("subPath: db.conf", "subPathExpr: $(POD)", "volumeMounts[0].subPathExpr`: not supported: the host chooses"),
        ("mountPath: /scratch", "mountPath: /scratch, subPath: x", "subPath`: not supported in a claim"),
        ("mountPath: /etc/all", "mountPath: /etc/all, mountPropagation: Bidirectional", "mountPropagation`: not supp"),
        ("mountPath: /etc/db.conf", "mountPath: /etc/db.tmp", "must not end in `.tmp`"),
        ("secret: {name: db}", "serviceAccountToken: {path: t}", "projected.sources[0]`: ConfigMaps and Secrets are"),
        ("secret: {name: db}", "podCertificate: {}", "`podCertificate` is not supported"),
        ("secret: {name: db}", "secret: {name: none}", "Secret `none` is not among the inputs"),
        ("secret: {name: db}", "secret: {name: db, itemz: []}", "sources[1].secret.itemz`: not supported"),
        (
            "configMap: {name: db}\n",
            "configMap: {name: db, defaultMode: 01000}\n",
            "volumes[0](config).configMap.defaultMode`: 512 is no mode of a file",
        ),
        (
            "path: conf/db.conf}",
            "path: conf/db.conf, mode: 644}",
            "(all).projected.sources[0].configMap.items[0].mode`: 644 is no mode of a file",
        ),
        ("supplementalGroupsPolicy: Strict", "supplementalGroupsPolicy: Loose", "`Loose` is neither"),
        (
            "runAsUser: 70,",
            "sysctls: [{name: vm.swappiness, value: \"1\"}], runAsUser: 70,",
            "sysctls[0]`: `vm.swappiness` is none",
        ),
        ("runAsUser: 70,", "sysctls: [{name: net.x}], runAsUser: 70,", "sysctls[0]`: `value` is missing"),
        ("runAsUser: 70, ", "", "a group of the pod without a user"),
        ("ephemeral: {volume", "csi: {driver: x, volume", "`csi` is not supported: the driver on the host"),
    ] {
        assert!(DATABASE.contains(from), "{from}");
        let error = rig(&DATABASE.replace(from, to)).generate().await.unwrap_err();
        let got = words(&error);
        assert!(got.contains(words_of_error), "{to}: {got}");
        assert!(got.contains("db.yaml:"), "{got}");
    }
}

#[tokio::test]
async fn what_nobody_binds_or_believes_is_said() {
    let with = |from: &str, to: &str| {
        assert!(DEPLOYMENT.contains(from), "{from}");
        DEPLOYMENT.replace(from, to)
    };
    let annotated = |line: &str| {
        let template = "  template:\n    metadata:\n";
        with(template, &format!("{template}      annotations: {{{line}}}\n"))
    };
    let optional = "valueFrom: {configMapKeyRef: {name: later, key: x, optional: true}}";
    for (text, word, there) in [
        (with("Name: casemate\n", "Name: kata-qemu-tdx\n"), "`runtimeClassName: kata-qemu-tdx` stays", true),
        (with("Name: casemate\n", "Name: contrast-cc\n"), "`runtimeClassName: contrast-cc` stays", true),
        (DEPLOYMENT.to_owned(), "`runtimeClassName:", false),
        (annotated("io.katacontainers.config.hypervisor.default_vcpus: \"4\""), "default_vcpus", false),
        (annotated("io.katacontainers.config.runtime.x: \"4\""), "config.runtime.x` is for the host's shim", true),
        (
            with("          env:\n", &format!("          env:\n            - {{name: LATER, {optional}}}\n")),
            "ConfigMap `later` is optional and not among the inputs",
            true,
        ),
        (
            annotated("io.katacontainers.config.hypervisor.default_memory: \"2048\""),
            "its guest needs 2048 overhead + 256 server + 64 casemate-mesh = 2368 MiB",
            true,
        ),
    ] {
        let rig = Rig::new();
        rig.write("resources/deployment.yaml", &text);
        let report = rig.generate().await.unwrap();
        let said = said(&report, "inference");
        assert_eq!(said.contains(word), there, "{word}: {said}");
    }
}
