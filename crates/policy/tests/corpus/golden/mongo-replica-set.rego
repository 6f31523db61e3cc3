# StatefulSet/mongo is `mongo`
#   reads the secrets mongo-keyfile
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 27017 stays closed: no Service among the inputs leads to it
#   volume `db`: what is in the claim is the host's word
#   container `mongod` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: mongo}}
#-          image: mongo:7

# StatefulSet/mongo
policy_data := {
 "annotations": {},
 "containers": {
  "mongod": {
   "args": ["/casemate/bin/launch","mongod","--","mongod","--replSet","rs0","--bind_ip_all","--keyFile","/casemate/secrets/mongo-keyfile"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","HOME=/data/db"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/mongo:7@sha256:b7068c95",
   "mounts": [["/casemate","memory","casemate","ro"],["/data/db","copied","db","rw"],["/data/configdb","local","configdb","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^mongo-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^mongo-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["mongod"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
