# Deployment/payments is `payments`
#   reads the secrets payments-hmac, payments-token
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `payments` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/shop/cart:2.4.1
#-          command: ["/bin/sh", "-c", "exec /app/cart --token-file=/casemate/secrets/payments-token"]

# Deployment/payments
policy_data := {
 "annotations": {},
 "containers": {
  "payments": {
   "args": ["/casemate/bin/launch","payments","--","/bin/sh","-c","exec /app/cart --token-file=/casemate/secrets/payments-token"],
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
 "hostname": "^payments-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^payments-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["payments"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
