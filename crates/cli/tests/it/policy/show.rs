//! `casemate policy show`: what a reviewer reads before signing.

use protocol::initdata::Egress;

use super::*;

#[test]
fn a_deployment_is_shown_in_plain_words() {
    let initdata = initdata(&values(), &settings());
    let (yaml, manifest) = (yaml("inference", &initdata), manifest(&initdata, |_| {}));
    let files = [("resources/inference.yaml", yaml.as_str()), ("manifest.json", manifest.as_str())];
    on_page(
        &files,
        &["policy", "show", "resources", "--manifest", "manifest.json"],
        expect![[r#"
            exit 0
            --- stdout
            Deployment/inference in resources/inference.yaml
              identity     d0c59b83974d
              rules        those of this release
              is           a workload of deployment 111111111111
              Coordinator  listens to bf2438509841 alone
              port         8080 (http): TLS ends in the pod; anybody may call
                           all other ports are closed
              files        of volume digits, compared with digests: labels.txt
              owners       1 of 1 key must sign a manifest that it obeys
              hardware     INSECURE: it takes a software TEE for its peer
              names        inference in its certificates
              secrets      reads digits-model-key
              pods         named ^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$ in namespace default
              output       open: the host reads what containers print
              host files   hostname, hosts, initdata, resolv.conf, termination-log, digits
                             (a folder): the host copies them in, and their content is its
                             word
              host's env   addresses of the Services KUBERNETES

              container casemate-initializer
                image        localhost:5000/casemate-pod:0@sha256:6de1522e8494
                runs         /casemate-pod initializer
                in           /
                as           user 0 (root of the guest), group 0
                powers       CHOWN: give files to other users
                             DAC_OVERRIDE: read and write any file, whoever owns it
                             FOWNER: change modes of other users' files
                             NET_ADMIN: change the guest's network and its firewall
                root files   read-only
                variables    1, bound with their values: PATH
                             from the cluster: HOSTNAME (hostname)
                mounts       /casemate: guest memory, empty at the start, also written by
                               casemate-mesh; writable
                             /casemate-files/digits: guest memory, empty at the start;
                               writable
                             /casemate-in/podinfo/initdata: the host; compared with what the
                               TEE reports of its launch; read-only
                             /casemate-in/files/digits: the host; the initializer compares
                               it with digests; read-only
                             /etc/hosts, /etc/hostname, /etc/resolv.conf,
                               /dev/termination-log: the host, as in every container
                             and the guest kernel's own, as in every container
                signals      none from the host, which may remove the container
                exec         closed: nobody runs another command in it

              container casemate-mesh
                image        localhost:5000/casemate-pod:0@sha256:6de1522e8494
                runs         /casemate-pod mesh
                in           /
                as           user 0 (root of the guest), group 0
                powers       NET_ADMIN: change the guest's network and its firewall
                             SETGID: become any group
                             SETPCAP: hand on its capabilities
                             SETUID: become any user
                root files   read-only
                variables    1, bound with their values: PATH
                             from the cluster: HOSTNAME (hostname)
                mounts       /casemate: guest memory, empty at the start, also written by
                               casemate-initializer; writable
                             /casemate-in/podinfo/initdata: the host; compared with what the
                               TEE reports of its launch; read-only
                             /etc/hosts, /etc/hostname, /etc/resolv.conf,
                               /dev/termination-log: the host, as in every container
                             and the guest kernel's own, as in every container
                signals      none from the host, which may remove the container
                exec         closed: nobody runs another command in it

              container server
                image        localhost:5000/casemate/digits:1@sha256:5abfdd9223cc
                runs         /casemate-serve --model /models/digits.onnx.sealed --key-file
                               /casemate/secrets/digits-model-key --labels
                               /etc/digits/labels.txt --listen 0.0.0.0:8080 (after the
                               launcher, once the initializer is done)
                in           /
                as           user 65532, group 65532
                powers       none beyond those of an ordinary process
                root files   read-only
                variables    2, bound with their values: PATH, LOG_LEVEL
                             from the cluster: HOSTNAME (hostname)
                mounts       /casemate: the initializer: certificate, key and secrets;
                               read-only
                             /etc/digits: the initializer, compared with digests; read-only
                             /etc/hosts, /etc/hostname, /etc/resolv.conf,
                               /dev/termination-log: the host, as in every container
                             and the guest kernel's own, as in every container
                signals      the host may send them
                exec         closed: nobody runs another command in it

            In the manifest, and in none of the files
              coordinator
                identity     bf2438509841
                names        coordinator in its certificates
                secrets      reads none
              What these may do, their identities do not tell: name their files, too.

            Nobody may
              replace the policy, run a command in a container, type into a container,
              change a container's limits, freeze a container, set the clock, feed the
              random generator, change the firewall from outside, pull another image, add
              swap, plug memory, fetch diagnostics, trace the agent
              26 requests are refused to everybody; `--all` names them.
            --- stderr
        "#]],
    );
}

fn egress() -> Egress {
    Egress {
        name: "db".into(),
        listen: "127.0.0.2:5432".parse().expect("an address"),
        host: "db.default".into(),
        port: 5432,
        certificate_name: "db".into(),
    }
}

#[test]
fn whom_a_pod_calls_is_shown_with_the_name_that_decides() {
    let show = |settings: &Settings| {
        let dir = folder(&[("a.yaml", yaml("inference", &initdata(&values(), settings)).as_bytes())]);
        let shown = casemate(dir.path(), &["policy", "show", "a.yaml"]);
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let calling = Settings { egress: vec![egress()], ..settings() };
    let expected = "egress 127.0.0.2:5432 (db): its programs reach db.default:5432, once a certificate of the mesh for db is \
                    shown there";
    assert!(show(&calling).contains(expected), "{}", show(&calling));
    assert!(!show(&settings()).contains("egress"));
    // Nobody serves it where there is no mesh.
    assert!(!show(&Settings { mesh: false, ..calling }).contains("egress"));
}

#[test]
fn everything_is_shown_where_everything_is_asked_for() {
    let mut values = values();
    values["containers"].as_object_mut().expect("containers").retain(|name, _| name == "server");
    values["signals"] = json!([]);
    let rego = policy_with(&values);
    check(
        &[("policy.rego", &rego)],
        &["policy", "show", "policy.rego", "--all"],
        expect![[r#"
            exit 0
            --- stdout
            policy in policy.rego
              identity     none: a policy alone, without its initdata
              rules        those of this release
              pods         named ^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$ in namespace default
              output       open: the host reads what containers print
              host files   hostname, hosts, initdata, resolv.conf, termination-log, digits
                             (a folder): the host copies them in, and their content is its
                             word
              host's env   addresses of the Services KUBERNETES

              container server
                image        localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b
                               969650ca76e18186f703bb21214c62baa552ab295
                             or
                               localhost:5000/casemate/digits@sha256:5abfdd9223ccd9cbafdfd5b
                               969650ca76e18186f703bb21214c62baa552ab295
                runs         /casemate-serve --model /models/digits.onnx.sealed --key-file
                               /casemate/secrets/digits-model-key --labels
                               /etc/digits/labels.txt --listen 0.0.0.0:8080 (after the
                               launcher, once the initializer is done)
                in           /
                as           user 65532, group 65532
                powers       none beyond those of an ordinary process
                root files   read-only
                variables    PATH=/
                             LOG_LEVEL=info
                             from the cluster: HOSTNAME (hostname)
                mounts       /proc: the guest's kernel; writable
                               proc proc (nosuid,noexec,nodev)
                             /dev: guest memory, empty at the start; writable
                               tmpfs tmpfs (nosuid,strictatime,mode=755,size=65536k)
                             /dev/pts: the guest's kernel; writable
                               devpts devpts
                                 (nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5)
                             /dev/mqueue: the guest's kernel; writable
                               mqueue mqueue (nosuid,noexec,nodev)
                             /sys: the guest's kernel; read-only
                               sysfs sysfs (nosuid,noexec,nodev,ro)
                             /dev/shm: guest memory, empty at the start; writable
                               bind /run/kata-containers/sandbox/shm (rbind)
                             /sys/fs/cgroup: the guest's kernel; read-only
                               cgroup cgroup (nosuid,noexec,nodev,relatime,ro)
                             /etc/hosts: THE HOST: nothing vouches for its content; writable
                               bind
                                 /run/kata-containers/shared/containers/$(cid)-$(rand)-hosts
                                 (rbind,rprivate,rw)
                             /etc/hostname: THE HOST: nothing vouches for its content;
                               read-only
                               bind
                                 /run/kata-containers/shared/containers/$(cid)-$(rand)-hostn
                                 ame (rbind,rprivate,ro)
                             /etc/resolv.conf: THE HOST: nothing vouches for its content;
                               read-only
                               bind
                                 /run/kata-containers/shared/containers/$(cid)-$(rand)-resol
                                 v.conf (rbind,rprivate,ro)
                             /casemate: guest memory, empty at the start; read-only
                               bind /run/kata-containers/sandbox/ephemeral/casemate
                                 (rbind,rprivate,ro), storage
                                 {"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","op
                                 tions":[],"mount_point":"/run/kata-containers/sandbox/ephem
                                 eral/casemate"}
                             /etc/digits: guest memory, empty at the start; read-only
                               bind
                                 /run/kata-containers/sandbox/ephemeral/casemate-files-digit
                                 s (rbind,rprivate,ro), storage
                                 {"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","op
                                 tions":[],"mount_point":"/run/kata-containers/sandbox/ephem
                                 eral/casemate-files-digits"}
                             /dev/termination-log: THE HOST: nothing vouches for its
                               content; writable
                               bind
                                 /run/kata-containers/shared/containers/$(cid)-$(rand)-termi
                                 nation-log (rbind,rprivate,rw)
                signals      none from the host, which may remove the container
                exec         closed: nobody runs another command in it

              the pause container, which holds the sandbox
                image        pause
                runs         /pause
                in           /
                as           user 65535, group 65535
                powers       CHOWN: give files to other users
                             DAC_OVERRIDE: read and write any file, whoever owns it
                             FSETID: keep set-user-id bits on files it changes
                             FOWNER: change modes of other users' files
                             MKNOD: make device nodes
                             NET_RAW: send and read raw packets
                             SETGID: become any group
                             SETUID: become any user
                             SETFCAP: give files capabilities
                             SETPCAP: hand on its capabilities
                             NET_BIND_SERVICE: listen on ports below 1024
                             SYS_CHROOT: change its root directory
                             KILL: signal any process that it sees
                             AUDIT_WRITE: write to the kernel's audit log
                root files   read-only
                variables    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/b
                               in
                mounts       /proc: the guest's kernel; writable
                               proc proc (nosuid,noexec,nodev)
                             /dev: guest memory, empty at the start; writable
                               tmpfs tmpfs (nosuid,strictatime,mode=755,size=65536k)
                             /dev/pts: the guest's kernel; writable
                               devpts devpts
                                 (nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5)
                             /dev/mqueue: the guest's kernel; writable
                               mqueue mqueue (nosuid,noexec,nodev)
                             /sys: the guest's kernel; read-only
                               sysfs sysfs (nosuid,noexec,nodev,ro)
                             /dev/shm: guest memory, empty at the start; writable
                               bind /run/kata-containers/sandbox/shm (rbind)
                             /etc/resolv.conf: THE HOST: nothing vouches for its content;
                               read-only
                               bind
                                 /run/kata-containers/shared/containers/$(cid)-$(rand)-resol
                                 v.conf (rbind,ro,nosuid,nodev,noexec)

            Nobody may
              replace the policy, run a command in a container, type into a container,
              change a container's limits, freeze a container, set the clock, feed the
              random generator, change the firewall from outside, pull another image, add
              swap, plug memory, fetch diagnostics, trace the agent
              never        ExecProcess, AddSwapPath, AddSwap, CloseStdin, GetDiagnosticData,
                             GetIPTables, GetMetrics, ListInterfaces, ListRoutes,
                             MemAgentCompactConfig, MemAgentMemcgConfig, MemHotplugByProbe,
                             PauseContainer, PullImage, ReseedRandomDev, ResizeVolume,
                             ResumeContainer, SetGuestDateTime, SetIPTables, SetPolicy,
                             StartTracing, StopTracing, TtyWinResize, UpdateContainer,
                             VolumeStats, WriteStream
              decided      CopyFile, CreateContainer, CreateSandbox, ReadStream,
                             RemoveContainer, SignalProcess, StartContainer,
                             AddARPNeighbors, UpdateEphemeralMounts, UpdateInterface,
                             UpdateRoutes
              always       DestroySandbox, GetOOMEvent, GuestDetails, OnlineCPUMem,
                             RemoveStaleVirtiofsShareMounts, StatsContainer, WaitProcess
            --- stderr
        "#]],
    );
}

#[test]
fn a_manifest_alone_has_identities() {
    let manifest = manifest(&initdata(&values(), &settings()), |entry| entry["callers"] = json!(["web"]));
    check(
        &[("m.json", &manifest)],
        &["policy", "show", "--manifest", "m.json"],
        expect![[r#"
            exit 0
            --- stdout
            In the manifest, and in none of the files
              coordinator
                identity     bf2438509841
                names        coordinator in its certificates
                secrets      reads none
              inference
                identity     d0c59b83974d
                names        inference in its certificates
                secrets      reads digits-model-key
                callers      web
              What these may do, their identities do not tell: name their files, too.
            --- stderr
        "#]],
    );
}

#[test]
fn what_is_dangerous_is_said_in_so_many_words() {
    let mut values = values();
    let server = &mut values["containers"]["server"];
    set_image(server, "example.org/latest");
    server["capabilities"] = json!(["SYS_ADMIN", "FUTURE"]);
    server["no_new_privileges"] = json!(false);
    server["user"] = json!([0, 0, [0, 10]]);
    server["exec"] = json!([["/bin/sh", "-c", "id; \u{1b}[2Jrm"]]);
    server["mounts"][1] = json!(["/etc/digits", "copied", "digits", "ro"]);
    server["mounts"][0] = json!(["/casemate", "bind", "/elsewhere", "rbind,rprivate,ro"]);
    server["gpus"] = json!(2);
    server["new"] = json!({"a": 1});
    values["containers"].as_object_mut().expect("containers").retain(|name, _| name == "server");
    values["pidns"] = json!(true);
    let settings = Settings {
        mesh: false,
        coordinator: Some(Identity(Digest::of(b"another"))),
        open_ports: vec![22],
        ..settings()
    };
    let initdata = initdata(&values, &settings);
    let manifest = manifest(&self::initdata(&self::values(), &self::settings()), |_| {});
    let files = [("a.yaml", &*yaml("a", &initdata)), ("manifest.json", &*manifest)];
    check(
        &files,
        &["policy", "show", "a.yaml", "--manifest", "manifest.json"],
        expect![[r#"
            exit 0
            --- stdout
            Deployment/a in a.yaml
              identity     b5466e338bdf, NOT in the manifest: it gets no certificate and no
                             secret
              rules        those of this release
              is           a workload of deployment 111111111111
              Coordinator  listens to ae448ac86c4e alone, which the manifest does NOT know
              port         22: open to everybody, as it is, without TLS of ours
              ports        ALL OPEN: there is no mesh in this pod, and so no firewall,
                             certificate or secret
              files        of volume digits, compared with digests: labels.txt
              owners       1 of 1 key must sign a manifest that it obeys
              hardware     INSECURE: it takes a software TEE for its peer
              pods         named ^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$ in namespace default
              output       open: the host reads what containers print
              processes    shared: its containers see, and may stop, each other's processes
              host files   hostname, hosts, initdata, resolv.conf, termination-log, digits
                             (a folder): the host copies them in, and their content is its
                             word
              host's env   addresses of the Services KUBERNETES
              UNKNOWN      containers.server.new = {"a":1}: this release has no words for it

              container server
                image        example.org/latest, WITHOUT a digest: the registry decides what
                               it is
                runs         /casemate-serve --model /models/digits.onnx.sealed --key-file
                               /casemate/secrets/digits-model-key --labels
                               /etc/digits/labels.txt --listen 0.0.0.0:8080 (after the
                               launcher, once the initializer is done)
                in           /
                as           user 0 (root of the guest), group 0, also 10
                GPUs         2 of the host; what they are, attestation tells
                powers       SYS_ADMIN: mount, enter namespaces, and most of what root can:
                               the guest is its own
                             FUTURE: something that this release has no words for
                privileges   may gain more, as by a set-user-id program
                root files   read-only
                variables    2, bound with their values: PATH, LOG_LEVEL
                             from the cluster: HOSTNAME (hostname)
                mounts       /casemate: UNKNOWN: this release has no words for it (bind
                               /elsewhere); read-only
                             /etc/digits: THE HOST: nothing vouches for its content;
                               read-only
                             /etc/hosts, /etc/hostname, /etc/resolv.conf,
                               /dev/termination-log: the host, as in every container
                             and the guest kernel's own, as in every container
                signals      the host may send them
                exec         the host may run /bin/sh -c "id; \u001b[2Jrm"

            In the manifest, and in none of the files
              coordinator
                identity     bf2438509841
                names        coordinator in its certificates
                secrets      reads none
              inference
                identity     d0c59b83974d
                names        inference in its certificates
                secrets      reads digits-model-key
                callers      every workload of the manifest
              What these may do, their identities do not tell: name their files, too.

            Nobody may
              replace the policy, type into a container, change a container's limits, freeze
              a container, set the clock, feed the random generator, change the firewall
              from outside, pull another image, add swap, plug memory, fetch diagnostics,
              trace the agent
              25 requests are refused to everybody; `--all` names them.
            --- stderr
        "#]],
    );
}

#[test]
fn rules_of_others_are_called_that_and_shown() {
    let rego = policy_with(&values()).replace("\npolicy_data :=", "\ndefault SetPolicyRequest := true\npolicy_data :=");
    let dir = folder(&[("policy.rego", rego.as_bytes())]);
    let shown = casemate(dir.path(), &["policy", "show", "policy.rego", "--rules"]);
    assert!(shown.contains("  rules        OTHERS ("), "{shown}");
    assert!(shown.contains("  output       as the rules say"), "{shown}");
    assert!(!shown.contains("Nobody may"), "{shown}");
    assert!(
        shown.contains("The rules of policy\n") && shown.contains("\ndefault SetPolicyRequest := true\n"),
        "{shown}"
    );
    let ours = policy_with(&values());
    let dir = folder(&[("policy.rego", ours.as_bytes())]);
    let shown = casemate(dir.path(), &["policy", "show", "policy.rego", "--rules"]);
    assert!(shown.contains("\nThe rules\n") && shown.contains("\ndefault SetPolicyRequest := false\n"), "{shown}");
}

#[test]
fn the_json_of_show_has_everything_and_is_one_document() {
    let initdata = initdata(&values(), &settings());
    let dir = folder(&[
        ("a.yaml", yaml("inference", &initdata).as_bytes()),
        ("b.yaml", b"kind: Pod\nmetadata: {name: plain}\nspec: {containers: [{name: c}]}\n"),
        ("m.json", manifest(&initdata, |_| {}).as_bytes()),
    ]);
    let shown = casemate(dir.path(), &["policy", "show", "a.yaml", "b.yaml", "--manifest", "m.json", "--json"]);
    let json = shown.strip_prefix("exit 0\n--- stdout\n").and_then(|rest| rest.split_once("\n--- stderr\n"));
    let (json, rest) = json.expect("an answer");
    assert_eq!(rest, "");
    let json: Value = serde_json::from_str(json).expect("JSON");
    let pod = &json["pods"][0];
    assert_eq!(pod["description"]["identity"], json!(initdata.identity().to_string()));
    assert_eq!(pod["description"]["policy"]["rules"]["known"], json!(true));
    assert_eq!(pod["manifest"]["secrets"], json!(["digits-model-key"]));
    let server = &pod["description"]["policy"]["containers"][2];
    assert_eq!(server["args"][0], json!("/casemate/bin/launch"));
    assert_eq!(server["exec_access"], json!("closed"));
    let at =
        |path: &str| server["mounts"].as_array().expect("mounts").iter().find(|mount| mount["destination"] == path);
    assert_eq!(at("/etc/digits").expect("the mount")["supplied_by"], json!("checked"));
    assert_eq!(json["pods"][1]["description"], Value::Null);
    assert_eq!(json["without_file"][Digest::of(b"coordinator").to_string()]["role"], json!("coordinator"));
}

/// The names of all members, with `*` for the names that a deployment chooses.
#[test]
fn the_members_of_the_json_are_stable() {
    fn walk(value: &Value, path: &str, all: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let chosen = ["files", "annotations", "sysctls", "storage", "without_file"];
                    let key = if chosen.iter().any(|name| path.ends_with(name)) { "*" } else { key };
                    walk(value, &format!("{path}.{key}"), all);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{path}[]"), all)),
            _ => drop(all.insert(path.to_owned())),
        }
    }
    let initdata = initdata(&values(), &Settings { egress: vec![egress()], ..settings() });
    let dir = folder(&[("a.yaml", yaml("inference", &initdata).as_bytes())]);
    let shown = casemate(dir.path(), &["policy", "show", "a.yaml", "--json"]);
    let json = shown.lines().nth(2).expect("a line");
    let mut all = std::collections::BTreeSet::new();
    walk(&serde_json::from_str(json).expect("JSON"), "", &mut all);
    let text = all.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    expect![[r#"
        .pods[].description.complete
        .pods[].description.identity
        .pods[].description.policy.containers[].args[]
        .pods[].description.policy.containers[].capabilities[]
        .pods[].description.policy.containers[].cwd
        .pods[].description.policy.containers[].env[].from
        .pods[].description.policy.containers[].env[].name
        .pods[].description.policy.containers[].env[].value
        .pods[].description.policy.containers[].exec_access
        .pods[].description.policy.containers[].gpus
        .pods[].description.policy.containers[].image
        .pods[].description.policy.containers[].image_also[]
        .pods[].description.policy.containers[].launched
        .pods[].description.policy.containers[].mounts[].destination
        .pods[].description.policy.containers[].mounts[].kind
        .pods[].description.policy.containers[].mounts[].options[]
        .pods[].description.policy.containers[].mounts[].read_only
        .pods[].description.policy.containers[].mounts[].source
        .pods[].description.policy.containers[].mounts[].storage
        .pods[].description.policy.containers[].mounts[].storage.*
        .pods[].description.policy.containers[].mounts[].supplied_by
        .pods[].description.policy.containers[].mounts[].volume
        .pods[].description.policy.containers[].mounts[].writers[]
        .pods[].description.policy.containers[].name
        .pods[].description.policy.containers[].no_new_privileges
        .pods[].description.policy.containers[].readonly_root
        .pods[].description.policy.containers[].signals
        .pods[].description.policy.containers[].terminal
        .pods[].description.policy.containers[].user.gid
        .pods[].description.policy.containers[].user.groups[]
        .pods[].description.policy.containers[].user.uid
        .pods[].description.policy.host_files[]
        .pods[].description.policy.host_folders[]
        .pods[].description.policy.hostname
        .pods[].description.policy.hostname_is_fixed
        .pods[].description.policy.logs
        .pods[].description.policy.namespace
        .pods[].description.policy.pause.args[]
        .pods[].description.policy.pause.capabilities[]
        .pods[].description.policy.pause.cwd
        .pods[].description.policy.pause.env[].name
        .pods[].description.policy.pause.env[].value
        .pods[].description.policy.pause.exec_access
        .pods[].description.policy.pause.gpus
        .pods[].description.policy.pause.image
        .pods[].description.policy.pause.launched
        .pods[].description.policy.pause.mounts[].destination
        .pods[].description.policy.pause.mounts[].kind
        .pods[].description.policy.pause.mounts[].options[]
        .pods[].description.policy.pause.mounts[].read_only
        .pods[].description.policy.pause.mounts[].source
        .pods[].description.policy.pause.mounts[].storage
        .pods[].description.policy.pause.mounts[].supplied_by
        .pods[].description.policy.pause.mounts[].volume
        .pods[].description.policy.pause.name
        .pods[].description.policy.pause.no_new_privileges
        .pods[].description.policy.pause.readonly_root
        .pods[].description.policy.pause.signals
        .pods[].description.policy.pause.terminal
        .pods[].description.policy.pause.user.gid
        .pods[].description.policy.pause.user.groups[]
        .pods[].description.policy.pause.user.uid
        .pods[].description.policy.pod
        .pods[].description.policy.requests.always[]
        .pods[].description.policy.requests.decided[]
        .pods[].description.policy.requests.never[]
        .pods[].description.policy.rules.digest
        .pods[].description.policy.rules.known
        .pods[].description.policy.services[]
        .pods[].description.policy.shared_processes
        .pods[].description.policy.signals[]
        .pods[].description.settings.coordinator
        .pods[].description.settings.deployment_id
        .pods[].description.settings.egress[].certificate_name
        .pods[].description.settings.egress[].host
        .pods[].description.settings.egress[].listen
        .pods[].description.settings.egress[].name
        .pods[].description.settings.egress[].port
        .pods[].description.settings.files.*.labels.txt
        .pods[].description.settings.ingress[].client_certificate
        .pods[].description.settings.ingress[].name
        .pods[].description.settings.ingress[].port
        .pods[].description.settings.mesh
        .pods[].description.settings.owners.keys[]
        .pods[].description.settings.owners.threshold
        .pods[].description.settings.reference_values.software.measurements[]
        .pods[].description.settings.reference_values.software.root
        .pods[].description.settings.role
        .pods[].description.settings.version
        .pods[].file
        .pods[].manifest
        .pods[].resource
    "#]]
    .assert_eq(&text);
}

#[test]
fn values_of_the_cluster_are_said_in_plain_words() {
    let mut values = values();
    values["completions"] = json!(4);
    values["pod"] = json!("^render-[0-3]-[a-z0-9]{5}$");
    values["hostname"] = json!("^render-[0-3]$");
    let server = &mut values["containers"]["server"];
    server["args"] = json!(["/casemate/bin/launch", "server", "--", "/serve", "a lie", "--ip=$(ip)", "x", "-v"]);
    server["args_from"] = json!({"4": "^\\-\\-chunk=$(index)@$(pod-name)$", "5": "^\\-\\-ip=$(ip)$", "6": "^.*$"});
    server["env_from"] = json!({"HOSTNAME": "hostname", "PEER": "^http://$(pod-name):2380$"});
    let yaml = yaml("render", &initdata(&values, &settings()));
    let shown = casemate(folder(&[("a.yaml", yaml.as_bytes())]).path(), &["policy", "show", "a.yaml"]);
    let lines: Vec<&str> = shown.lines().collect();
    let from = |word: &str, count: usize| -> String {
        let at = lines.iter().rposition(|line| line.contains(word)).expect("it is shown");
        let margin = lines[at].len() - lines[at].trim_start().len();
        lines[at..at + count].iter().map(|line| &line[margin..]).collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
          pods         named ^render-[0-3]-[a-z0-9]{5}$ in namespace default
          host name    ^render-[0-3]$
          index        0 to 3: the same in a pod's name, its host name and its variables
          output       open: the host reads what containers print"#]]
    .assert_eq(&from("  pods  ", 4));
    expect![[r#"
            runs         /serve "--chunk=$(index)@$(pod-name)" "--ip=$(ip)" "^.*$" -v
                           (after the launcher, once the initializer is done)
                         argument 1, "--chunk=$(index)@$(pod-name)": $(index) is the
                           pod's index in its Job; $(pod-name) is the pod's name
                         argument 2, "--ip=$(ip)": $(ip) is an IP address, whichever the
                           host says
                         argument 3 is WHATEVER FITS the pattern "^.*$"
            in           /
            as           user 65532, group 65532
            powers       none beyond those of an ordinary process"#]]
    .assert_eq(&from("  runs  ", 10));
    expect![[r#"
            variables    2, bound with their values: PATH, LOG_LEVEL
                         from the cluster: HOSTNAME (hostname), PEER
                           (http://$(pod-name):2380)"#]]
    .assert_eq(&from("  variables  ", 3));
}
