# Deployment/frontend is `frontend`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   port 8080 (Service `frontend`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-8080#8080#false` to demand one of the mesh
#   its guest needs 256 overhead + 128 server + 64 casemate-mesh = 448 MiB: `server` requests less than its limit, and the limit counts
# Deployment/cart is `cart`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 7070 (Service `cart`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-7070#7070#false` to demand one of the mesh
#   readinessProbe of container `server`: port 7070 wants what the kubelet cannot offer, so the probe only connects
#   livenessProbe of container `server`: port 7070 wants what the kubelet cannot offer, so the probe only connects
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `server` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/shop/web:2.4.1
#-    metadata: {labels: {app: cart}}
#-          image: registry.example.com/shop/cart:2.4.1
#-          readinessProbe: {grpc: {port: 7070, service: ready}}
#-          livenessProbe: {grpc: {port: 7070}, initialDelaySeconds: 15}

# Deployment/frontend
policy_data := {
 "annotations": {},
 "containers": {
  "server": {
   "args": ["/casemate/bin/launch","server","--","/app/web"],
   "capabilities": [],
   "cwd": "/app",
   "env": ["PATH=/app","PORT=8080","CURRENCY=EUR"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/web:2.4.1@sha256:2e155ae4",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": true,
   "readonly_root": true,
   "terminal": false,
   "user": [1000,1000,[1000]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^frontend-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [1000,1000,[1000]],
 "pidns": false,
 "pod": "^frontend-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["CART","COORDINATOR","FRONTEND","KUBERNETES"],
 "signals": ["server"],
 "sysctl": {},
 "volume_options": {"memory":["fsgid=1000"]}
}

# Deployment/cart
policy_data := {
 "annotations": {},
 "containers": {
  "server": {
   "args": ["/casemate/bin/launch","server","--","/app/cart"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app:/usr/bin","PORT=7070"],
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
 "hostname": "^cart-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^cart-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["server"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
