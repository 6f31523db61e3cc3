# Job/thumbnails is `thumbnails`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 128 worker + 64 casemate-mesh = 448 MiB: `worker` requests less than its limit, and the limit counts
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-        image: ghcr.io/example/worker:2025.3

# Job/thumbnails
policy_data := {
 "annotations": {},
 "containers": {
  "worker": {
   "args": ["/casemate/bin/launch","worker","--","tini","-g","--","worker","--queue","thumbnails","--id","$(pod-name)"],
   "args_from": {"10":"^$(pod-name)$"},
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8","QUEUE=thumbnails"],
   "env_from": {"HOSTNAME":"hostname","MY_NAME":"pod-name"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^thumbnails-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^thumbnails-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["worker"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
