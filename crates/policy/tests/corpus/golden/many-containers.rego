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
#-    - {name: one, image: "busybox:1.36", command: [sh, -c, "echo 1 > /frames/1"], volumeMounts: [{name: work, mountPath: /work}]}
#-    - {name: two, image: "busybox:1.36", command: [sh, -c, "echo 2 > /frames/2"], volumeMounts: [{name: work, mountPath: /work}]}
#-    - {name: three, image: "busybox:1.36", args: [sh, -c, "cat /frames/*"], volumeMounts: [{name: work, mountPath: /work, readOnly: true}]}
#-    - {name: a, image: "python:3.12-slim", command: [python3, -V]}
#-    - {name: b, image: "node:22-bookworm-slim", args: [node, -v]}
#-    - {name: c, image: "debian:bookworm-slim", command: [sleep], args: [infinity]}
#-    - {name: d, image: "ghcr.io/example/worker:2025.3"}

# Pod/crowd
policy_data := {
 "annotations": {},
 "containers": {
  "a": {
   "args": ["/casemate/bin/launch","--after=three","a","--","python3","-V"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PYTHON_VERSION=3.12.4"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/python:3.12-slim@sha256:beb21b1f",
   "mounts": [["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "b": {
   "args": ["/casemate/bin/launch","--after=three","b","--","docker-entrypoint.sh","node","-v"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","NODE_VERSION=22.4.1"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/node:22-bookworm-slim@sha256:da7504e3",
   "mounts": [["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "c": {
   "args": ["/casemate/bin/launch","--after=three","c","--","sleep","infinity"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "d": {
   "args": ["/casemate/bin/launch","--after=three","d","--","tini","-g","--","worker"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  },
  "one": {
   "args": ["/casemate/bin/launch","--mark","one","--","sh","-c","echo 1 > /frames/1"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/work","local","work","rw"],["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "three": {
   "args": ["/casemate/bin/launch","--after=two","--mark","three","--","sh","-c","cat /frames/*"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/work","local","work","ro"],["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "two": {
   "args": ["/casemate/bin/launch","--after=one","--mark","two","--","sh","-c","echo 2 > /frames/2"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/work","local","work","rw"],["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^crowd$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^crowd$",
 "services": ["KUBERNETES"],
 "signals": ["one","two","three","a","b","c","d"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
