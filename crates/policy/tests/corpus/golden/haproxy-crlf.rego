# Deployment/lb is `lb`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8080 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `haproxy` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: haproxy:3.0    # pinned by the generator

# Deployment/lb
policy_data := {
 "annotations": {},
 "containers": {
  "haproxy": {
   "args": ["/casemate/bin/launch","haproxy","--","docker-entrypoint.sh","haproxy","-f","/usr/local/etc/haproxy/haproxy.cfg"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/haproxy:3.0@sha256:f68e6d32",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/usr/local/etc/haproxy","memory","casemate-files-config","ro"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [99,99,[99]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["config"]},
 "hostname": "^lb-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^lb-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["haproxy"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
