# Pod/hooked is `hooked`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 80 (postStart of container `c`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "80"` to open it to everybody without TLS
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `c` says nothing of memory and counts as none
#   container `c` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: hooked}
#-      image: httpd:2.4
#-        postStart: {httpGet: {path: /warm, port: 80}}

# Pod/hooked
policy_data := {
 "annotations": {},
 "containers": {
  "c": {
   "args": ["/casemate/bin/launch","c","--","httpd-foreground"],
   "capabilities": "default",
   "cwd": "/usr/local/apache2",
   "env": ["PATH=/usr/local/apache2/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/httpd:2.4@sha256:53373706",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^hooked$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^hooked$",
 "services": ["KUBERNETES"],
 "signals": ["c"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
