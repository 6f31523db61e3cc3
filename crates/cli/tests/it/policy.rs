//! `casemate policy show`, `test` and `diff` on generated documents, recordings, and everything that is none.

mod bad;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use policy::describe::policy_with;
use policy::request::{PodInstance, pause_request, sandbox_request};
use protocol::initdata::{ANNOTATION, Ingress, Settings};
use protocol::manifest::{PublicKey, Quorum, ReferenceValues, SoftwareReferenceValues};
use protocol::{DeploymentId, Digest, Identity, Initdata, Role};
use serde_json::{Value, json};

use super::casemate;
use super::explain::folder;

/// The values of the example's policy, as the tests of `generate` compare them.
const VALUES: &str = include_str!("../../../policy/tests/golden/policy_data.rego");

fn values() -> Value {
    let (_, data) = VALUES.split_once("policy_data := ").expect("values");
    serde_json::from_str(data).expect("JSON")
}

fn set_image(container: &mut Value, image: &str) {
    container["image"] = json!(image);
}

fn settings() -> Settings {
    Settings {
        version: 1,
        deployment_id: DeploymentId::from_bytes([0x11; 16]),
        role: Role::Workload,
        mesh: true,
        coordinator: Some(Identity(Digest::of(b"coordinator"))),
        open_ports: vec![],
        owners: Quorum { threshold: 1, keys: vec![PublicKey(vec![1])] },
        reference_values: ReferenceValues::software(SoftwareReferenceValues {
            root: Digest::of(b"root"),
            measurements: vec![protocol::digest::Measurement::from_bytes([4; 48])],
        }),
        files: BTreeMap::from([("digits".into(), BTreeMap::from([("labels.txt".into(), Digest::of(b"0\n1\n"))]))]),
        ingress: vec![Ingress { name: "http".into(), port: 8080, client_certificate: false }],
    }
}

fn initdata(values: &Value, settings: &Settings) -> Initdata {
    Initdata::build(&policy_with(values), settings).expect("initdata")
}

fn yaml(name: &str, initdata: &Initdata) -> String {
    format!(
        "kind: Deployment\nmetadata:\n  name: {name}\nspec:\n  template:\n    metadata:\n      annotations:\n        {ANNOTATION}: {}\n",
        initdata.to_annotation()
    )
}

/// A manifest with the Coordinator, of which there is no file, and one workload.
fn manifest(initdata: &Initdata, edit: impl Fn(&mut Value)) -> String {
    let mut manifest: Value = serde_json::from_str(super::MANIFEST).expect("JSON");
    let workload = json!({"names": ["inference"], "role": "workload", "secrets": ["digits-model-key"]});
    manifest["policies"] = json!({
        Digest::of(b"coordinator").to_string(): {"names": ["coordinator"], "role": "coordinator"},
        initdata.identity().to_string(): workload,
    });
    edit(&mut manifest["policies"][initdata.identity().to_string()]);
    manifest.to_string()
}

fn check(files: &[(&str, &str)], arguments: &[&str], expected: Expect) {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    expected.assert_eq(&casemate(folder(&files).path(), arguments));
}

#[test]
fn a_deployment_is_shown_in_plain_words() {
    let initdata = initdata(&values(), &settings());
    let (yaml, manifest) = (yaml("inference", &initdata), manifest(&initdata, |_| {}));
    let files = [("resources/inference.yaml", yaml.as_str()), ("manifest.json", manifest.as_str())];
    check(
        &files,
        &["policy", "show", "resources", "--manifest", "manifest.json"],
        expect![[r#"
            exit 0
            --- stdout
            Deployment/inference in resources/inference.yaml
              identity     6195b143542c
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
              host files   hostname, hosts, resolv.conf, termination-log, digits (a folder),
                             podinfo (a folder): the host copies them in, and their content
                             is its word
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
                             /casemate-in/podinfo: THE HOST: nothing vouches for its
                               content; read-only
                             /casemate-files/digits: guest memory, empty at the start;
                               writable
                             /casemate-in/files/digits: the host; the initializer compares
                               it with digests; read-only
                             /etc/hosts, /etc/hostname, /etc/resolv.conf,
                               /dev/termination-log: the host, as in every container
                             and the guest kernel's own, as in every container
                signals      none from the host
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
                             /casemate-in/podinfo: THE HOST: nothing vouches for its
                               content; read-only
                             /etc/hosts, /etc/hostname, /etc/resolv.conf,
                               /dev/termination-log: the host, as in every container
                             and the guest kernel's own, as in every container
                signals      none from the host
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
              host files   hostname, hosts, resolv.conf, termination-log, digits (a folder),
                             podinfo (a folder): the host copies them in, and their content
                             is its word
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
                signals      none from the host
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
              inference
                identity     6195b143542c
                names        inference in its certificates
                secrets      reads digits-model-key
                callers      web
              coordinator
                identity     bf2438509841
                names        coordinator in its certificates
                secrets      reads none
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
              identity     834dba1e94d0, NOT in the manifest: it gets no certificate and no
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
              host files   hostname, hosts, resolv.conf, termination-log, digits (a folder),
                             podinfo (a folder): the host copies them in, and their content
                             is its word
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
              inference
                identity     6195b143542c
                names        inference in its certificates
                secrets      reads digits-model-key
                callers      every workload of the manifest
              coordinator
                identity     bf2438509841
                names        coordinator in its certificates
                secrets      reads none
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
    let initdata = initdata(&values(), &settings());
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

/// What an agent is asked when the example's pod starts.
fn recording() -> Vec<(&'static str, Value)> {
    let instance = PodInstance {
        name: "inference-7c9d8f6b5d-abcde".into(),
        namespace: "default".into(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        hostname: "inference-7c9d8f6b5d-abcde".into(),
        ..PodInstance::default()
    };
    let pod = json!({"metadata": {}, "spec": {}});
    vec![
        ("CreateSandboxRequest", sandbox_request(&pod, &instance)),
        ("CreateContainerRequest", pause_request(&pod, &instance)),
        ("StartContainerRequest", json!({"container_id": instance.sandbox_id})),
        ("StatsContainerRequest", json!({"container_id": instance.sandbox_id})),
        ("StatsContainerRequest", json!({"container_id": instance.sandbox_id})),
        ("StatsContainerRequest", json!({"container_id": instance.sandbox_id})),
    ]
}

fn lines(requests: &[(&str, Value)]) -> String {
    let mut text = String::new();
    for (kind, request) in requests {
        writeln!(text, "{}", json!({"kind": kind, "request": request})).expect("a String takes all");
    }
    text
}

#[test]
fn a_recording_that_is_allowed_is_decided_with_its_state() {
    let yaml = yaml("inference", &initdata(&values(), &settings()));
    let text = lines(&recording());
    check(
        &[("a.yaml", &yaml), ("policy.jsonl", &text)],
        &["policy", "test", "a.yaml", "policy.jsonl"],
        expect![[r#"
        exit 0
        --- stdout
        Deployment/inference in a.yaml

          allowed      1 CreateSandboxRequest, policy.jsonl:1
          allowed      2 CreateContainerRequest, policy.jsonl:2
          allowed      3 StartContainerRequest, policy.jsonl:3
          allowed      4–6 StatsContainerRequest, policy.jsonl:4

        all 6 requests are allowed
        --- stderr
    "#]],
    );
    // Every form is decided alike.
    let list: Vec<_> = recording().into_iter().map(|(ep, request)| json!({"ep": ep, "request": request})).collect();
    let earlier: Vec<_> = recording().iter().map(|(ep, request)| format!("[\"ep\":\"{ep}\",{request}],\n\n")).collect();
    let earlier = earlier.concat();
    let asked = format!("[\"ep\":\"AllowRequestsFailingPolicy\",{{}}],\n\n{earlier}");
    for (name, text) in [("list.json", json!(list).to_string()), ("log.txt", asked)] {
        let dir = folder(&[("a.yaml", yaml.as_bytes()), (name, text.as_bytes())]);
        let decided = casemate(dir.path(), &["policy", "test", "a.yaml", name]);
        assert!(decided.starts_with("exit 0\n") && decided.contains("\nall 6 requests are allowed\n"), "{decided}");
    }
    // The order counts: without the sandbox there is nothing to start.
    let mut backwards = recording();
    backwards.reverse();
    let dir = folder(&[("a.yaml", yaml.as_bytes()), ("r", lines(&backwards).as_bytes())]);
    let decided = casemate(dir.path(), &["policy", "test", "a.yaml", "r"]);
    assert!(decided.starts_with("exit 1\n") && decided.contains("there is no sandbox yet"), "{decided}");
}

#[test]
fn a_denial_names_the_field_what_was_asked_and_what_is_allowed() {
    let mut requests = recording();
    requests[1].1["OCI"]["Process"]["Args"] = json!(["/bin/sh", "\u{1b}[2J"]);
    requests[1].1["OCI"]["Process"]["User"]["UID"] = json!(0);
    requests.push(("ExecProcessRequest", json!({})));
    requests.push(("NoSuchRequest", json!({})));
    let rego = policy_with(&values());
    check(
        &[("policy.rego", &rego), ("r.json", &lines(&requests))],
        &["policy", "test", "policy.rego", "r.json"],
        expect![[r#"
            exit 1
            --- stdout
            policy.rego

              allowed      1 CreateSandboxRequest, r.json:1
              DENIED       2 CreateContainerRequest, r.json:2
                           OCI.Process.Args[0]: got "/bin/sh", policy has "/pause"
                           OCI.Process.Args[1]: got "\u001b[2J", policy has none
                           OCI.Process.User.UID: got 0, policy has 65535
              allowed      3 StartContainerRequest, r.json:3
              allowed      4–6 StatsContainerRequest, r.json:4
              DENIED       7 ExecProcessRequest, r.json:7
                           container_id: no live container has this id
              DENIED       8 NoSuchRequest, r.json:8
                           the policy has no rule for `NoSuchRequest`

            5 allowed, 3 denied
            --- stderr
            error: 3 of 8 requests are denied
        "#]],
    );
    check(
        &[("policy.rego", &rego), ("r.json", &lines(&requests[4..]))],
        &["policy", "test", "policy.rego", "r.json", "--json"],
        expect![[r#"
            exit 1
            --- stdout
            {"policy":"policy.rego","decisions":[{"number":1,"file":"r.json","line":1,"endpoint":"StatsContainerRequest","allowed":true,"reasons":[]},{"number":2,"file":"r.json","line":2,"endpoint":"StatsContainerRequest","allowed":true,"reasons":[]},{"number":3,"file":"r.json","line":3,"endpoint":"ExecProcessRequest","allowed":false,"reasons":["container_id: no live container has this id"]},{"number":4,"file":"r.json","line":4,"endpoint":"NoSuchRequest","allowed":false,"reasons":["the policy has no rule for `NoSuchRequest`"]}],"allowed":2,"denied":2}
            --- stderr
        "#]],
    );
}

#[test]
fn a_recorded_answer_that_is_another_is_said() {
    let rego = policy_with(&values());
    let test = r#"[{"kind": "SetPolicyRequest", "request": {}, "allowed": true, "description": "a new policy"}]"#;
    check(
        &[("p.rego", &rego), ("t.json", test)],
        &["policy", "test", "p.rego", "t.json"],
        expect![[r#"
        exit 1
        --- stdout
        p.rego

          DENIED       1 SetPolicyRequest (a new policy), t.json:1
                       the recording says that it was allowed
                       SetPolicyRequest is never allowed

        0 allowed, 1 denied
        --- stderr
        error: 1 of 1 request is denied
    "#]],
    );
}

#[test]
fn one_pod_of_several_is_named() {
    let initdata = initdata(&values(), &settings());
    let (a, b) = (yaml("a", &initdata), yaml("b", &initdata));
    let text = lines(&recording()[..1]);
    let files = [("y/a.yaml", a.as_bytes()), ("y/b.yaml", b.as_bytes()), ("r", text.as_bytes())];
    let dir = folder(&files);
    let run = |more: &[&str]| casemate(dir.path(), &[&["policy", "test", "y", "r"], more].concat());
    assert!(run(&["--pod", "a"]).starts_with("exit 0\n"));
    assert!(run(&["--pod", "Deployment/b"]).starts_with("exit 0\n"));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: 2 pods have a policy

        hint: name one with `--pod`: Deployment/a, Deployment/b
    "#]]
    .assert_eq(&run(&[]));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: no pod `c` with a policy

        hint: there is Deployment/a, Deployment/b
    "#]]
    .assert_eq(&run(&["--pod", "c"]));
}

/// The example, changed in everything that a reviewer must see.
fn changed() -> (Value, Settings) {
    let mut values = values();
    let server = &mut values["containers"]["server"];
    let image =
        "localhost:5000/casemate/digits:2@sha256:0000000000000000000000000000000000000000000000000000000000000001";
    set_image(server, image);
    server["args"].as_array_mut().expect("args").push(json!("--trace all"));
    server["env"] = json!(["PATH=/", "LOG_LEVEL=debug"]);
    server["capabilities"] = json!(["NET_RAW"]);
    server["mounts"][1] = json!(["/etc/digits", "copied", "digits", "ro"]);
    let settings = Settings {
        ingress: vec![Ingress { name: "http".into(), port: 8080, client_certificate: true }],
        open_ports: vec![9102],
        ..settings()
    };
    (values, settings)
}

#[test]
fn a_difference_is_sorted_by_danger() {
    let old = initdata(&values(), &settings());
    let (values, settings) = changed();
    let new = initdata(&values, &settings);
    let before = manifest(&old, |entry| entry["callers"] = json!(["web"]));
    let after = manifest(&new, |entry| entry["secrets"] = json!(["digits-model-key", "other-key"]));
    let after = after.replace(r#""lease_seconds":300"#, r#""lease_seconds":60"#);
    let (old, new) = (yaml("inference", &old), yaml("inference", &new));
    let files = [
        ("old/manifest.json", &*before),
        ("old/r/i.yaml", &*old),
        ("new/manifest.json", &*after),
        ("new/r/i.yaml", &*new),
    ];
    check(
        &files,
        &["policy", "diff", "old", "new"],
        expect![[r#"
            exit 1
            --- stdout
            10 changes: 5 allow more (+), 3 allow something else (~), 2 allow less (-).

              1. ~ inference, container server: runs another image
                   was  localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b96965
                          0ca76e18186f703bb21214c62baa552ab295
                   now  localhost:5000/casemate/digits:2@sha256:0000000000000000000000000000
                          000000000000000000000000000000000001
              2. ~ inference, container server: runs another command
                   was  /casemate/bin/launch -- /casemate-serve --model
                          /models/digits.onnx.sealed --key-file
                          /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt
                          --listen 0.0.0.0:8080
                   now  /casemate/bin/launch -- /casemate-serve --model
                          /models/digits.onnx.sealed --key-file
                          /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt
                          --listen 0.0.0.0:8080 "--trace all"
              3. + inference: may read the secrets other-key
              4. + inference: may be called by every workload of the manifest
                   was  web
                   now  every workload of the manifest
              5. + inference: opens the ports 9102 to everybody, as they are
              6. + inference, container server: gets CAP_NET_RAW: it may send and read raw
                   packets
              7. + inference, container server: mounts `/etc/digits` otherwise
                   was  the initializer, compared with digests; read-only
                   now  THE HOST: nothing vouches for its content; read-only
              8. ~ inference, container server: variable `LOG_LEVEL` is another
                   was  info
                   now  debug
              9. - inference: demands a certificate of the mesh on port 8080
             10. - certificates last for another time without being renewed
                   was  300 s
                   now  60 s
            --- stderr
            error: they differ in 10 points
        "#]],
    );
    // Manifests stand for the files in their folders.
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let dir = folder(&files);
    let folders = casemate(dir.path(), &["policy", "diff", "old", "new"]);
    assert_eq!(casemate(dir.path(), &["policy", "diff", "old/manifest.json", "new/manifest.json"]), folders);
    expect![[r#"
        exit 0
        --- stdout
        Nothing changed.
        --- stderr
    "#]]
    .assert_eq(&casemate(dir.path(), &["policy", "diff", "old", "old"]));
    expect![[r#"
        exit 1
        --- stdout
        {"changes":[{"kind":"image","effect":"changes","workload":"inference","container":"server","what":"runs another image","was":"localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b969650ca76e18186f703bb21214c62baa552ab295","now":"localhost:5000/casemate/digits:2@sha256:0000000000000000000000000000000000000000000000000000000000000001"},{"kind":"command","effect":"changes","workload":"inference","container":"server","what":"runs another command","was":"/casemate/bin/launch -- /casemate-serve --model /models/digits.onnx.sealed --key-file /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt --listen 0.0.0.0:8080","now":"/casemate/bin/launch -- /casemate-serve --model /models/digits.onnx.sealed --key-file /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt --listen 0.0.0.0:8080 \"--trace all\""},{"kind":"ports","effect":"opens","workload":"inference","container":null,"what":"opens the ports 9102 to everybody, as they are","was":null,"now":null},{"kind":"capabilities","effect":"opens","workload":"inference","container":"server","what":"gets CAP_NET_RAW: it may send and read raw packets","was":null,"now":null},{"kind":"mounts","effect":"opens","workload":"inference","container":"server","what":"mounts `/etc/digits` otherwise","was":"the initializer, compared with digests; read-only","now":"THE HOST: nothing vouches for its content; read-only"},{"kind":"environment","effect":"changes","workload":"inference","container":"server","what":"variable `LOG_LEVEL` is another","was":"info","now":"debug"},{"kind":"ports","effect":"closes","workload":"inference","container":null,"what":"demands a certificate of the mesh on port 8080","was":null,"now":null}],"untold":[],"notes":["no manifest is at hand: owners, reference values, secrets and callers were not compared"]}
        --- stderr
    "#]].assert_eq(&casemate(dir.path(), &["policy", "diff", "old/r/i.yaml", "new/r/i.yaml", "--json"]));
}

#[test]
fn manifests_without_resources_tell_what_they_can() {
    let old = initdata(&values(), &settings());
    let new = initdata(&changed().0, &settings());
    let (before, after) = (manifest(&old, |_| {}), manifest(&new, |entry| entry["callers"] = json!([])));
    check(
        &[("old.json", &before), ("new.json", &after)],
        &["policy", "diff", "old.json", "new.json"],
        expect![[r#"
            exit 2
            --- stdout
            2 changes: 1 allow something else (~), 1 allow less (-).

              1. ~ inference: has another policy
                   was  6195b143542cdc208a668e70f5244fc9276e0767c7de99e8504dc562edbaf160
                   now  850c2cdc0f21613f8e618f2218a0cc3cda11a216969ad618d4705bbedb78263f
              2. - inference: may no longer be called by every workload of the manifest
                   was  every workload of the manifest
                   now  nobody

            What could not be told:
              what changed in the policy of `inference`: neither resource is at hand
            --- stderr
            error: not everything could be compared

            hint: put the generated YAML beside each manifest: a manifest holds identities, not policies
        "#]],
    );
    // The same identities are the same policies, whoever has their files.
    check(
        &[("old.json", &before)],
        &["policy", "diff", "old.json", "old.json"],
        expect![[r#"
        exit 0
        --- stdout
        Nothing changed.
        --- stderr
    "#]],
    );
}
