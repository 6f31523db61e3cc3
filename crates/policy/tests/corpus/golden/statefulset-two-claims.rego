# StatefulSet/ledger is `ledger`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `ledger` says nothing of memory and counts as none
#   volume `journal`: what is in the claim is the host's word
#   volume `snapshots`: what is in the claim is the host's word
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/shop/cart:2.4.1

# StatefulSet/ledger
policy_data := {
 "annotations": {},
 "containers": {
  "ledger": {
   "args": ["/casemate/bin/launch","ledger","--","/app/cart"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app:/usr/bin","PORT=7070"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/cart:2.4.1@sha256:3e1b87c6",
   "mounts": [["/journal","copied","journal","rw"],["/snapshots","copied","snapshots","rw"],["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [10001,10001,[10001]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^ledger-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^ledger-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["ledger"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
