# ReplicationController/erp is `erp`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8000 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `erp` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/legacy/erp:9

# ReplicationController/erp
policy_data := {
 "annotations": {},
 "containers": {
  "erp": {
   "args": ["/casemate/bin/launch","erp","--","/opt/erp/start.sh"],
   "capabilities": "default",
   "cwd": "/opt/erp/",
   "env": ["PATH=/opt/erp/bin:/bin","TERM=xterm","EMPTY=","TZ=Europe/Vienna"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/legacy/erp:9@sha256:8323081f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": true,
   "user": [500,500,[500,501]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^erp-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^erp-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["erp"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
