# Pod/crowd is `crowd`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `one`, `two`, `three`, `a`, `b`, `c`, `d` says nothing of memory and counts as none
#   container `one` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `two` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `three` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `a` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `b` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `c` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: crowd, labels: {app: crowd}}
#-    - {name: one, image: "busybox:1.36", command: [sh, -c, "echo 1 > /work/1"], volumeMounts: [{name: work, mountPath: /work}]}
#-    - {name: two, image: "busybox:1.36", command: [sh, -c, "echo 2 > /work/2"], volumeMounts: [{name: work, mountPath: /work}]}
#-    - {name: three, image: "busybox:1.36", args: [sh, -c, "cat /work/*"], volumeMounts: [{name: work, mountPath: /work, readOnly: true}]}
#-    - {name: a, image: "python:3.12-slim", command: [python3, -V]}
#-    - {name: b, image: "node:22-bookworm-slim", args: [node, -v]}
#-    - {name: c, image: "debian:bookworm-slim", command: [sleep], args: [infinity]}
#-    - {name: d, image: "ghcr.io/example/worker:2025.3"}

# Pod/crowd
policy_data := {
 "containers": {
  "a": {
   "annotations": {"io.kubernetes.cri.container-name":"a"},
   "args": ["/casemate/bin/launch","a","--","python3","-V"],
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
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PYTHON_VERSION=3.12.4"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/python:3.12-slim@sha256:beb21b1f",
    "docker.io/library/python@sha256:beb21b1f"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  },
  "b": {
   "annotations": {"io.kubernetes.cri.container-name":"b"},
   "args": ["/casemate/bin/launch","b","--","docker-entrypoint.sh","node","-v"],
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
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","NODE_VERSION=22.4.1"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/node:22-bookworm-slim@sha256:da7504e3",
    "docker.io/library/node@sha256:da7504e3"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  },
  "c": {
   "annotations": {"io.kubernetes.cri.container-name":"c"},
   "args": ["/casemate/bin/launch","c","--","sleep","infinity"],
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
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
    "docker.io/library/debian@sha256:b52eb10c"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  },
  "d": {
   "annotations": {"io.kubernetes.cri.container-name":"d"},
   "args": ["/casemate/bin/launch","d","--","tini","-g","--","worker"],
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
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
    "ghcr.io/example/worker@sha256:4406cb2f"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[2000,2100],"GID":2000,"UID":2000}
  },
  "one": {
   "annotations": {"io.kubernetes.cri.container-name":"one"},
   "args": ["/casemate/bin/launch","one","--","sh","-c","echo 1 > /work/1"],
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
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/busybox:1.36@sha256:231568d3",
    "docker.io/library/busybox@sha256:231568d3"
   ],
   "mounts": [
    {"destination":"/work","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/work","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/work","options":["mode=0777"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  },
  "three": {
   "annotations": {"io.kubernetes.cri.container-name":"three"},
   "args": ["/casemate/bin/launch","three","--","sh","-c","cat /work/*"],
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
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/busybox:1.36@sha256:231568d3",
    "docker.io/library/busybox@sha256:231568d3"
   ],
   "mounts": [
    {"destination":"/work","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/work","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/work","options":["mode=0777"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  },
  "two": {
   "annotations": {"io.kubernetes.cri.container-name":"two"},
   "args": ["/casemate/bin/launch","two","--","sh","-c","echo 2 > /work/2"],
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
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/busybox:1.36@sha256:231568d3",
    "docker.io/library/busybox@sha256:231568d3"
   ],
   "mounts": [
    {"destination":"/work","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/work","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/work","options":["mode=0777"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^crowd$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause": {
  "annotations": {},
  "args": ["/pause"],
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
  "cwd": "/",
  "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
  "env_from": {},
  "mounts": [
   {"destination":"/etc/resolv.conf","options":["rbind","ro","nosuid","nodev","noexec"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
  ],
  "no_new_privileges": true,
  "readonly_root": true,
  "storages": [],
  "sysctl": {},
  "terminal": false,
  "type": "sandbox",
  "user": {"AdditionalGids":[65535],"GID":65535,"UID":65535}
 },
 "pidns": false,
 "pod": "^crowd$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["one","two","three","a","b","c","d"]
}
