# Deployment/terminator is `terminator`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8443 is open to everybody, without TLS, as `casemate.dev/open-ports` says
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `nginx` says nothing of memory and counts as none
#   container `nginx` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: nginx:1.27
#-            - {name: tls, mountPath: /etc/nginx/tls, readOnly: true}

# Deployment/terminator
policy_data := {
 "annotations": {},
 "containers": {
  "nginx": {
   "args": ["/casemate/bin/launch","nginx","--","/docker-entrypoint.sh","nginx","-g","daemon off;"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","NGINX_VERSION=1.27.0"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/nginx:1.27@sha256:e2cd27b7",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/var/run","local","run","rw"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/etc/nginx/tls","memory","casemate-files-tls","ro"],
    ["/var/cache/nginx","local","cache","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["tls"]},
 "hostname": "^terminator-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^terminator-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["nginx"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
