# Job/shop-migrate is `shop-migrate`
#   reads the secrets shop-dsn
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#-          image: registry.example.com/shop/migrate:2.4.1

# Job/shop-migrate-
policy_data := {
 "annotations": {},
 "containers": {
  "migrate": {
   "args": ["/casemate/bin/launch","migrate","--","/migrate","up","--dsn-file","/casemate/secrets/shop-dsn","--lock-timeout=30s"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/migrate:2.4.1@sha256:518f0fac",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [65532,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^shop-migrate-[a-z0-9]{5}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "shop",
 "pidns": false,
 "pod": "^shop-migrate-[a-z0-9]{5}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["migrate"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
