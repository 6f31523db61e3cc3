# Deployment/twins is `twins`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: &image ghcr.io/example/worker:2025.3
#-          image: *image

# Deployment/twins
policy_data := {
 "annotations": {},
 "containers": {
  "first": {
   "args": ["/casemate/bin/launch","first","--","tini","-g","--","worker","--queue","first"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  },
  "second": {
   "args": ["/casemate/bin/launch","second","--","tini","-g","--","worker","--queue","second"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^twins-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^twins-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["first","second"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
