policy_data := {
 "namespace": "default",
 "pod": "^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname": "^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "pidns": false,
 "sandbox_storages": [
  {"driver":"ephemeral","source":"shm","fstype":"tmpfs","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"mount_point":"/run/kata-containers/sandbox/shm"}
 ],
 "services": ["KUBERNETES"],
 "signals": ["server"],
 "logs": true,
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["digits","podinfo"]},
 "mounts": [
  {"destination":"/proc","source":"proc","type_":"proc","options":["nosuid","noexec","nodev"]},
  {"destination":"/dev","source":"tmpfs","type_":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
  {"destination":"/dev/pts","source":"devpts","type_":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]},
  {"destination":"/dev/mqueue","source":"mqueue","type_":"mqueue","options":["nosuid","noexec","nodev"]},
  {"destination":"/sys","source":"sysfs","type_":"sysfs","options":["nosuid","noexec","nodev","ro"]},
  {"destination":"/dev/shm","source":"/run/kata-containers/sandbox/shm","type_":"bind","options":["rbind"]}
 ],
 "container_mounts": [
  {"destination":"/sys/fs/cgroup","source":"cgroup","type_":"cgroup","options":["nosuid","noexec","nodev","relatime","ro"]},
  {"destination":"/etc/hosts","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hosts","type_":"bind","options":["rbind","rprivate","rw"]},
  {"destination":"/dev/termination-log","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-termination-log","type_":"bind","options":["rbind","rprivate","rw"]},
  {"destination":"/etc/hostname","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind","options":["rbind","rprivate","ro"]},
  {"destination":"/etc/resolv.conf","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind","options":["rbind","rprivate","ro"]}
 ],
 "pause": {
  "type": "sandbox",
  "annotations": {},
  "args": ["/pause"],
  "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
  "env_from": {},
  "cwd": "/",
  "user": {"UID":65535,"GID":65535,"AdditionalGids":[65535]},
  "capabilities": [
   "CAP_CHOWN",
   "CAP_DAC_OVERRIDE",
   "CAP_FSETID",
   "CAP_FOWNER",
   "CAP_MKNOD",
   "CAP_NET_RAW",
   "CAP_SETGID",
   "CAP_SETUID",
   "CAP_SETFCAP",
   "CAP_SETPCAP",
   "CAP_NET_BIND_SERVICE",
   "CAP_SYS_CHROOT",
   "CAP_KILL",
   "CAP_AUDIT_WRITE"
  ],
  "no_new_privileges": true,
  "terminal": false,
  "readonly_root": true,
  "mounts": [
   {"destination":"/etc/resolv.conf","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind","options":["rbind","ro","nosuid","nodev","noexec"]}
  ],
  "storages": [],
  "sysctl": {}
 },
 "containers": {
  "casemate-initializer": {
   "type": "container",
   "annotations": {"io.kubernetes.cri.container-name":"casemate-initializer"},
   "args": ["/casemate-pod","initializer"],
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "cwd": "/",
   "user": {"UID":0,"GID":0,"AdditionalGids":[0]},
   "capabilities": ["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_NET_ADMIN"],
   "no_new_privileges": true,
   "terminal": false,
   "readonly_root": true,
   "mounts": [
    {"destination":"/casemate","source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind","options":["rbind","rprivate","rw"]},
    {"destination":"/casemate-in/podinfo","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-podinfo","type_":"bind","options":["rbind","rprivate","ro"]},
    {"destination":"/casemate-files/digits","source":"/run/kata-containers/sandbox/ephemeral/casemate-files-digits","type_":"bind","options":["rbind","rprivate","rw"]},
    {"destination":"/casemate-in/files/digits","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-digits","type_":"bind","options":["rbind","rprivate","ro"]}
   ],
   "storages": [
    {"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","options":[],"mount_point":"/run/kata-containers/sandbox/ephemeral/casemate"},
    {"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","options":[],"mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-digits"}
   ],
   "images": [
    "localhost:5000/casemate-pod:0@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe",
    "localhost:5000/casemate-pod@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe"
   ]
  },
  "casemate-mesh": {
   "type": "container",
   "annotations": {"io.kubernetes.cri.container-name":"casemate-mesh"},
   "args": ["/casemate-pod","mesh"],
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "cwd": "/",
   "user": {"UID":0,"GID":0,"AdditionalGids":[0]},
   "capabilities": ["CAP_NET_ADMIN","CAP_SETGID","CAP_SETPCAP","CAP_SETUID"],
   "no_new_privileges": true,
   "terminal": false,
   "readonly_root": true,
   "mounts": [
    {"destination":"/casemate","source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind","options":["rbind","rprivate","rw"]},
    {"destination":"/casemate-in/podinfo","source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-podinfo","type_":"bind","options":["rbind","rprivate","ro"]}
   ],
   "storages": [
    {"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","options":[],"mount_point":"/run/kata-containers/sandbox/ephemeral/casemate"}
   ],
   "images": [
    "localhost:5000/casemate-pod:0@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe",
    "localhost:5000/casemate-pod@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe"
   ]
  },
  "server": {
   "type": "container",
   "annotations": {"io.kubernetes.cri.container-name":"server"},
   "args": [
    "/casemate/bin/launch",
    "server",
    "--",
    "/casemate-serve",
    "--model",
    "/models/digits.onnx.sealed",
    "--key-file",
    "/casemate/secrets/digits-model-key",
    "--labels",
    "/etc/digits/labels.txt",
    "--listen",
    "0.0.0.0:8080"
   ],
   "env": ["PATH=/","LOG_LEVEL=info"],
   "env_from": {"HOSTNAME":"hostname"},
   "cwd": "/",
   "user": {"UID":65532,"GID":65532,"AdditionalGids":[65532]},
   "capabilities": [],
   "no_new_privileges": true,
   "terminal": false,
   "readonly_root": true,
   "mounts": [
    {"destination":"/casemate","source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind","options":["rbind","rprivate","ro"]},
    {"destination":"/etc/digits","source":"/run/kata-containers/sandbox/ephemeral/casemate-files-digits","type_":"bind","options":["rbind","rprivate","ro"]}
   ],
   "storages": [
    {"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","options":[],"mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-digits"},
    {"driver":"ephemeral","source":"tmpfs","fstype":"tmpfs","options":[],"mount_point":"/run/kata-containers/sandbox/ephemeral/casemate"}
   ],
   "images": [
    "localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b969650ca76e18186f703bb21214c62baa552ab295",
    "localhost:5000/casemate/digits@sha256:5abfdd9223ccd9cbafdfd5b969650ca76e18186f703bb21214c62baa552ab295"
   ]
  }
 }
}
