# DaemonSet/node-cache is `node-cache`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 11211 stays closed: no Service among the inputs leads to it
#-        image: memcached:1.6

# DaemonSet/node-cache
policy_data := {
 "annotations": {},
 "containers": {
  "memcached": {
   "args": ["/casemate/bin/launch","memcached","--","docker-entrypoint.sh","-m","64","-I","4m","-l","$(ip)"],
   "args_from": {"9":"^$(ip)$"},
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname","NODE_NAME":"node-name","POD_IP":"ip"},
   "image": "docker.io/library/memcached:1.6@sha256:89d489c2",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [11211,11211,[11211]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^node-cache-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "infra",
 "pidns": false,
 "pod": "^node-cache-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["memcached"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
