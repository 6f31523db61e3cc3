# Pod/merged is `merged`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: merged}
#-      <<: *common
#-      args: [a]
#-      <<: *common
#-      args: [b]

# Pod/merged
policy_data := {
 "annotations": {},
 "containers": {
  "a": {
   "args": ["/casemate/bin/launch","a","--","tini","-g","--","a"],
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
  "b": {
   "args": ["/casemate/bin/launch","b","--","tini","-g","--","b"],
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
 "hostname": "^merged$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^merged$",
 "services": ["KUBERNETES"],
 "signals": ["a","b"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
