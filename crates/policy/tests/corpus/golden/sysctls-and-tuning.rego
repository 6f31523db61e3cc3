# Deployment/tuned is `tuned`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 80 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 123 httpd + 64 casemate-mesh = 443 MiB: `httpd` requests less than its limit, and the limit counts
#   container `httpd` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: tuned}}
#-          image: httpd:2.4

# Deployment/tuned
policy_data := {
 "annotations": {},
 "containers": {
  "httpd": {
   "args": ["/casemate/bin/launch","httpd","--","httpd-foreground"],
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
 "hostname": "^tuned-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^tuned-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["httpd"],
 "sysctl": {"net.ipv4.ip_local_port_range":"1024 65000","net.ipv4.ip_unprivileged_port_start":"0"},
 "volume_options": {"memory":[]}
}
