# Deployment/stack-cache is `stack-cache`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 11211 (livenessProbe of container `cache`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "11211"` to open it to everybody without TLS
# Deployment/stack-worker is `stack-worker`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `worker` says nothing of memory and counts as none
#-          image: "memcached:1.6"
#-          image: ghcr.io/example/worker:2025.3

# Deployment/stack-cache
policy_data := {
 "annotations": {},
 "containers": {
  "cache": {
   "args": ["/casemate/bin/launch","cache","--","docker-entrypoint.sh","-m 128","-o","modern"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/memcached:1.6@sha256:89d489c2",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [11211,11211,[11211]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^stack-cache-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "stack",
 "pidns": false,
 "pod": "^stack-cache-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["cache"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}

# Deployment/stack-worker
policy_data := {
 "annotations": {},
 "containers": {
  "worker": {
   "args": ["/casemate/bin/launch","worker","--","tini","-g","--","worker"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8","CACHE=stack-cache.stack.svc.cluster.local:11211","LEVEL=debug"],
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
 "hostname": "^stack-worker-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "stack",
 "pidns": false,
 "pod": "^stack-worker-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["worker"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
