# Deployment/sessions is `sessions`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 6379 (Service `sessions`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: redis#6379#false` to demand one of the mesh
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-                    image: redis:7.2-bookworm
#-                    command: [redis-server]

# Deployment/sessions
policy_data := {
 "annotations": {},
 "containers": {
  "redis": {
   "args": ["/casemate/bin/launch","redis","--","redis-server","--save","","--appendonly","no","--maxmemory","200mb"],
   "capabilities": [],
   "cwd": "/data",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/redis:7.2-bookworm@sha256:b3e0b242",
   "mounts": [["/data","memory","scratch","rw"],["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": true,
   "readonly_root": true,
   "terminal": false,
   "user": [999,999,[999]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^sessions-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^sessions-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["redis"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
