# Deployment/checkout is `checkout`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `checkout` says nothing of memory and counts as none
#   container `checkout`: a Secret in a variable stands in the policy, where the operator can read it; `casemate secret put` keeps one from the operator
#   ConfigMap `absent` is optional and not among the inputs: the pod is bound to do without it, also where the cluster has one
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: checkout}}
#-          image: node:22-bookworm-slim
#-          command: [node, server.js]

# Deployment/checkout
policy_data := {
 "annotations": {},
 "containers": {
  "checkout": {
   "args": ["/casemate/bin/launch","checkout","--","node","server.js"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","NODE_VERSION=22.4.1","FEATURE_NEW_CHECKOUT=true","FEATURE_ratio=0.5","TOKEN=not-a-real-token","USER=service","PASSWORD=not-a-real-token"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/node:22-bookworm-slim@sha256:da7504e3",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,1000,[1000]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^checkout-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^checkout-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["checkout"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
