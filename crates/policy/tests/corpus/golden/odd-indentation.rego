# Deployment/odd is `odd`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   container `odd`: `mountPath: /a/` became `/a`, which is the same
#   container `odd`: `mountPath: //b//c` became `/b/c`, which is the same
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `odd` says nothing of memory and counts as none
#   container `odd` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          metadata: { labels: { app: odd } }
#-                 image: 'python:3.12-slim'
#-                 - { name: a, mountPath: /a/ }
#-                   mountPath: "//b//c"

# Deployment/odd
policy_data := {
 "annotations": {},
 "containers": {
  "odd": {
   "args": ["/casemate/bin/launch","odd","--","python3","-m","http.server\n","8080","--bind","0.0.0.0"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PYTHON_VERSION=3.12.4","A=1","B=11","C=$(A)"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/python:3.12-slim@sha256:beb21b1f",
   "mounts": [["/a","local","a","rw"],["/casemate","memory","casemate","ro"],["/b/c","local","b","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^odd-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^odd-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["odd"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
