# DaemonSet/forwarder is `forwarder`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 5170 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 fluent-bit + 64 casemate-mesh = 384 MiB: `fluent-bit` requests less than its limit, and the limit counts
#   container `fluent-bit` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: fluent/fluent-bit:3.1

# DaemonSet/forwarder
policy_data := {
 "annotations": {},
 "containers": {
  "fluent-bit": {
   "args": ["/casemate/bin/launch","fluent-bit","--","/fluent-bit/bin/fluent-bit","-i","tcp","-p","listen=0.0.0.0","-o","forward","-p","host=aggregator.logging.svc"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/","AGGREGATOR_HOST=aggregator.logging.svc"],
   "env_from": {"HOSTNAME":"hostname","HOST_NODE":"node-name"},
   "image": "docker.io/fluent/fluent-bit:3.1@sha256:8bf2018d",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^forwarder-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^forwarder-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["fluent-bit"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
