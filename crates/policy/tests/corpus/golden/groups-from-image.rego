# Pod/groups is `groups`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `by-image-name`, `by-pod-number`, `unknown-number`, `with-group`, `root`, `agent`, `logs` says nothing of memory and counts as none
#   container `root` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: groups}
#-    - {name: by-image-name, image: "ghcr.io/example/worker:2025.3"}
#-    - {name: by-pod-number, image: "ghcr.io/example/worker:2025.3", securityContext: {runAsUser: 2000}}
#-    - {name: unknown-number, image: "ghcr.io/example/worker:2025.3", securityContext: {runAsUser: 31337}}
#-    - {name: with-group, image: "ghcr.io/example/worker:2025.3", securityContext: {runAsUser: 34, runAsGroup: 35}}
#-    - {name: root, image: "registry.example.com/platform/agent:5"}
#-    - {name: agent, image: "registry.example.com/platform/agent:5", securityContext: {runAsUser: 4000}}
#-    - {name: logs, image: "elasticsearch:8.14.3", command: [sleep, "1"]}

# Pod/groups
policy_data := {
 "annotations": {},
 "containers": {
  "agent": {
   "args": ["/casemate/bin/launch","agent","--","/usr/bin/agent"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/platform/agent:5@sha256:e54ac119",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [4000,4000,[4000,4004,7000,8000]]
  },
  "by-image-name": {
   "args": ["/casemate/bin/launch","by-image-name","--","tini","-g","--","worker"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100,7000,8000]]
  },
  "by-pod-number": {
   "args": ["/casemate/bin/launch","by-pod-number","--","tini","-g","--","worker"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100,7000,8000]]
  },
  "logs": {
   "args": ["/casemate/bin/launch","logs","--","sleep","1"],
   "capabilities": "default",
   "cwd": "/usr/share/elasticsearch",
   "env": ["PATH=/usr/share/elasticsearch/bin:/usr/bin:/bin","ELASTIC_CONTAINER=true"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/elasticsearch:8.14.3@sha256:9f25caf7",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,1000,[1000,1500,7000,8000]]
  },
  "root": {
   "args": ["/casemate/bin/launch","root","--","/usr/bin/agent"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/platform/agent:5@sha256:e54ac119",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0,7000,8000]]
  },
  "unknown-number": {
   "args": ["/casemate/bin/launch","unknown-number","--","tini","-g","--","worker"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [31337,0,[0,7000,8000]]
  },
  "with-group": {
   "args": ["/casemate/bin/launch","with-group","--","tini","-g","--","worker"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [34,35,[35,2100,7000,8000]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^groups$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [65535,65535,[65535,7000,8000]],
 "pidns": false,
 "pod": "^groups$",
 "services": ["KUBERNETES"],
 "signals": ["by-image-name","by-pod-number","unknown-number","with-group","root","agent","logs"],
 "sysctl": {},
 "volume_options": {"memory":["fsgid=8000"]}
}
