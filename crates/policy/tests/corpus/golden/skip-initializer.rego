# Deployment/plain is `plain`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   nothing is injected: no certificate, no secrets, no TLS; the files of its volumes are the host's word
#   its guest needs 256 overhead = 256 MiB: `main`, `tail` says nothing of memory and counts as none
#   container `main` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `tail` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: python:3.12-slim
#-          image: busybox:1.36

# Deployment/plain
policy_data := {
 "containers": {
  "main": {
   "annotations": {"io.kubernetes.cri.container-name":"main"},
   "args": ["python3","-m","http.server"],
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
   "mounts": [{"destination":"/dev/termination-log","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-termination-log","type_":"bind"}],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  },
  "tail": {
   "annotations": {"io.kubernetes.cri.container-name":"tail"},
   "args": ["sh","-c","tail -F /proc/1/fd/1"],
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
   "mounts": [{"destination":"/tmp/last-words","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-last-words","type_":"bind"}],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  }
 },
 "copies": {"files":["hostname","hosts","last-words","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^plain-[a-z0-9]{1,10}-[a-z0-9]{5}$",
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
 "pidns": true,
 "pod": "^plain-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["main","tail"]
}
