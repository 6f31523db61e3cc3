# Deployment/api is `api`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 7070 (Service `api`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-7070#7070#false` to demand one of the mesh
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `api` says nothing of memory and counts as none
# Deployment/api-canary is `api-canary`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `api` says nothing of memory and counts as none
#-    metadata: {labels: {app: api}}
#-          image: registry.example.com/shop/cart:2.4.1
#-    metadata: {labels: {app: api}}
#-          image: registry.example.com/shop/cart:2.4.1

# Deployment/api
policy_data := {
 "annotations": {},
 "containers": {
  "api": {
   "args": ["/casemate/bin/launch","api","--","/app/cart"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app:/usr/bin","PORT=7070","MODE=stable"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/cart:2.4.1@sha256:3e1b87c6",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [10001,10001,[10001]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^api-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "one",
 "pidns": false,
 "pod": "^api-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["api"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}

# Deployment/api-canary
policy_data := {
 "annotations": {},
 "containers": {
  "api": {
   "args": ["/casemate/bin/launch","api","--","/app/cart"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app:/usr/bin","PORT=7070","MODE=canary"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/cart:2.4.1@sha256:3e1b87c6",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [10001,10001,[10001]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^api-canary-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "two",
 "pidns": false,
 "pod": "^api-canary-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["api"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
