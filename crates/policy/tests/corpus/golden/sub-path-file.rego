# Deployment/httpd is `httpd`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `httpd` says nothing of memory and counts as none
#   container `httpd` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: httpd}}
#-          image: httpd:2.4

# Deployment/httpd
policy_data := {
 "annotations": {},
 "containers": {
  "httpd": {
   "args": ["/casemate/bin/launch","httpd","/usr/local/apache2/conf/httpd.conf:config/httpd.conf","/usr/local/apache2/conf/mime.types:config/mime.types","--","httpd-foreground"],
   "capabilities": "default",
   "cwd": "/usr/local/apache2",
   "env": ["PATH=/usr/local/apache2/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/httpd:2.4@sha256:53373706",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/casemate-files/config","memory","casemate-files-config","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/usr/local/apache2/conf/httpd.conf","copied","httpd.conf","ro"],
    ["/usr/local/apache2/conf/mime.types","copied","mime.types","ro"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","httpd.conf","initdata","mime.types","resolv.conf","termination-log"],"trees":["config"]},
 "hostname": "^httpd-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^httpd-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["httpd"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
