# ReplicaSet/edge is `edge`
#   reads the secrets edge-hmac, edge-token
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `envoy` says nothing of memory and counts as none
#   container `envoy` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: envoyproxy/envoy:v1.31

# ReplicaSet/edge
policy_data := {
 "annotations": {},
 "containers": {
  "envoy": {
   "args": ["/casemate/bin/launch","envoy","--","/docker-entrypoint.sh","envoy","-c","/etc/envoy/envoy.yaml","--service-node","edge","--concurrency","2"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","NODE=edge","SECRET_TOKEN_PATH=/casemate/secrets/edge-token"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/envoyproxy/envoy:v1.31@sha256:05f1a6d5",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^edge-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^edge-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["envoy"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
