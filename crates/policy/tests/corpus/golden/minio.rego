# StatefulSet/store is `store`
#   reads the secrets minio-root
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 9000 stays closed: no Service among the inputs leads to it
#   port 9001 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `minio` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-        image: minio/minio:RELEASE.2024-07-10T18-41-49Z

# StatefulSet/store
policy_data := {
 "annotations": {},
 "containers": {
  "minio": {
   "args": ["/casemate/bin/launch","minio","--","/usr/bin/docker-entrypoint.sh","server","http://store-{0...3}.store.default.svc.cluster.local/data","--console-address",":9001"],
   "capabilities": [],
   "cwd": "/",
   "env": ["PATH=/usr/bin:/bin","MINIO_UPDATE_MINISIGN_PUBKEY=RWT","MINIO_ROOT_PASSWORD_FILE=/casemate/secrets/minio-root"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/minio/minio:RELEASE.2024-07-10T18-41-49Z@sha256:36ad92da",
   "mounts": [["/data","copied","data","rw"],["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,1000,[1000]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^store-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^store-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["minio"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
