# Deployment/prod-cart is `prod-cart`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 7070 (Service `prod-cart`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: grpc#7070#false` to demand one of the mesh
#   readinessProbe of container `cart`: port 7070 wants what the kubelet cannot offer, so the probe only connects
#   its guest needs 256 overhead + 128 cart + 64 casemate-mesh = 448 MiB: `cart` requests less than its limit, and the limit counts
#-        image: registry.example.com/shop/cart:2.4.1
#-          grpc:

# Deployment/prod-cart
policy_data := {
 "annotations": {},
 "containers": {
  "cart": {
   "args": ["/casemate/bin/launch","cart","--","/app/cart"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app:/usr/bin","PORT=7070","CART_TTL=72h","LOG_FORMAT=json"],
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
 "hostname": "^prod-cart-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "prod",
 "pidns": false,
 "pod": "^prod-cart-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["cart"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
