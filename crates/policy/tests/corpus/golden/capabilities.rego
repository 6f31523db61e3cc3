# Pod/probe is `probe`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `firewall`, `none` says nothing of memory and counts as none
#   container `firewall` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place, with CAP_NET_ADMIN it can change the pod's firewall
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-      image: debian:bookworm-slim
#-      command: [sleep, infinity]
#-      image: debian:bookworm-slim
#-      command: [sleep, infinity]

# Pod/probe
policy_data := {
 "annotations": {},
 "containers": {
  "firewall": {
   "args": ["/casemate/bin/launch","firewall","--","sleep","infinity"],
   "capabilities": ["CHOWN","DAC_OVERRIDE","FSETID","FOWNER","NET_RAW","SETGID","SETUID","SETFCAP","SETPCAP","NET_BIND_SERVICE","SYS_CHROOT","KILL","NET_ADMIN"],
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "none": {
   "args": ["/casemate/bin/launch","none","--","sleep","infinity"],
   "capabilities": ["NET_BIND_SERVICE"],
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": true,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^probe$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^probe$",
 "services": ["KUBERNETES"],
 "signals": ["firewall","none"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
