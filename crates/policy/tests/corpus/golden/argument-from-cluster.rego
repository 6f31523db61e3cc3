# StatefulSet/etcd is `etcd`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `etcd` says nothing of memory and counts as none
#   container `etcd` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: etcd}}
#-          image: quay.io/coreos/etcd:v3.5.15
#-          command: [etcd]

# StatefulSet/etcd
policy_data := {
 "annotations": {},
 "containers": {
  "etcd": {
   "args": ["/casemate/bin/launch","etcd","--","etcd","--name=$(pod-name)","--initial-advertise-peer-urls=http://$(pod-name).etcd.default.svc:2380","--listen=$(ip):2379"],
   "args_from": {"4":"^\\-\\-name=$(pod-name)$","5":"^\\-\\-initial\\-advertise\\-peer\\-urls=http://$(pod-name)\\.etcd\\.default\\.svc:2380$","6":"^\\-\\-listen=$(ip):2379$"},
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin","NS=default"],
   "env_from": {"HOSTNAME":"hostname","IP":"ip","NAME":"pod-name","PEER":"^http://$(pod-name):2380$"},
   "image": "quay.io/coreos/etcd:v3.5.15@sha256:830d30f0",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^etcd-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^etcd-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["etcd"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
