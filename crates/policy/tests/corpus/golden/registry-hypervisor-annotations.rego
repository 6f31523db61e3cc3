# Pod/bigger-guest is `bigger-guest`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   container `build` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-      image: debian:bookworm-slim
#-      command: [make, -j4]

# Pod/bigger-guest
policy_data := {
 "annotations": {"io.katacontainers.config.hypervisor.default_memory":"4096","io.katacontainers.config.hypervisor.default_vcpus":"4"},
 "containers": {
  "build": {
   "args": ["/casemate/bin/launch","build","--","make","-j4"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^bigger-guest$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^bigger-guest$",
 "services": ["KUBERNETES"],
 "signals": ["build"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
