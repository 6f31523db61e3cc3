# Pod/front is `front`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8080 (Service `front`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-8080#8080#false` to demand one of the mesh
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `web` says nothing of memory and counts as none
# Pod/back is `back`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `cart` says nothing of memory and counts as none
# Pod/debug is not confidential: it has no `runtimeClassName: casemate`
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-      image: registry.example.com/shop/web:2.4.1   # the same as in production
#-      image: registry.example.com/shop/cart:2.4.1

# Pod/front
policy_data := {
 "annotations": {},
 "containers": {
  "web": {
   "args": ["/casemate/bin/launch","web","--","/app/web"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/web:2.4.1@sha256:2e155ae4",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [65532,65532,[65532]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^front$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^front$",
 "services": ["KUBERNETES"],
 "signals": ["web"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}

# Pod/back
policy_data := {
 "annotations": {},
 "containers": {
  "cart": {
   "args": ["/casemate/bin/launch","cart","--","/app/cart"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app:/usr/bin","PORT=7070","REDIS_ADDR=sessions:6379"],
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
 "hostname": "^back$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^back$",
 "services": ["KUBERNETES"],
 "signals": ["cart"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
