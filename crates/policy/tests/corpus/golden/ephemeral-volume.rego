# Pod/scratch is `scratch`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `sort` says nothing of memory and counts as none
#   volume `scratch`: what is in the claim is the host's word
#   container `sort` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: scratch}
#-      image: debian:bookworm-slim
#-      command: [sort, -T, /scratch, /dev/null]
#-      volumeMounts: [{name: scratch, mountPath: /scratch}]

# Pod/scratch
policy_data := {
 "annotations": {},
 "containers": {
  "sort": {
   "args": ["/casemate/bin/launch","sort","--","sort","-T","/scratch","/dev/null"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/scratch","copied","scratch","rw"],["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^scratch$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^scratch$",
 "services": ["KUBERNETES"],
 "signals": ["sort"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
