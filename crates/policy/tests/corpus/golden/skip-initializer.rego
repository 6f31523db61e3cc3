# Deployment/plain is `plain`
#   `runtimeClassName: kata-qemu-snp` stays, and the reference values are the local engine's: on a cluster nobody would believe this pod
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
 "annotations": {},
 "containers": {
  "main": {
   "args": ["python3","-m","http.server"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PYTHON_VERSION=3.12.4"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/python:3.12-slim@sha256:beb21b1f",
   "mounts": [["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "tail": {
   "args": ["sh","-c","tail -F /proc/1/fd/1"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/tmp/last-words","copied","last-words","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","last-words","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^plain-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": true,
 "pod": "^plain-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["main","tail"],
 "sysctl": {},
 "volume_options": {}
}
