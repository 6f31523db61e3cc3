# Pod/etcd-0 is `etcd-0`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 2379 (startupProbe of container `etcd`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "2379"` to open it to everybody without TLS
#   its guest needs 256 overhead + 100 etcd + 64 casemate-mesh = 420 MiB: `etcd` has no memory limit, so its request counts
#   volume `etcd-data`: what is in the claim is the host's word
#   container `etcd` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#-    image: quay.io/coreos/etcd:v3.5.15
#-        scheme: HTTP

# Pod/etcd-0
policy_data := {
 "annotations": {},
 "containers": {
  "etcd": {
   "args": [
    "/casemate/bin/launch",
    "etcd",
    "--",
    "etcd",
    "--name=etcd-0",
    "--data-dir=/var/lib/etcd",
    "--listen-client-urls=http://0.0.0.0:2379",
    "--advertise-client-urls=http://etcd-0.etcd:2379",
    "--quota-backend-bytes=8589934592",
    "--price=$(not a variable)"
   ],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin","HOSTNAME=etcd-0","ETCD_NAME=etcd-0","QUOTA=8589934592"],
   "env_from": {},
   "image": "quay.io/coreos/etcd:v3.5.15@sha256:830d30f0",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/var/lib/etcd","copied","etcd","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^etcd-0$",
 "hostname_is_fixed": true,
 "logs": true,
 "namespace": "control",
 "pidns": false,
 "pod": "^etcd-0$",
 "services": ["KUBERNETES"],
 "signals": ["etcd"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
