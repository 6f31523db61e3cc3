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
 "containers": {
  "etcd": {
   "annotations": {"io.kubernetes.cri.container-name":"etcd"},
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
   "capabilities": [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE"
   ],
   "cwd": "/",
   "env": ["PATH=/usr/local/bin","HOSTNAME=etcd-0","ETCD_NAME=etcd-0","QUOTA=8589934592"],
   "env_from": {},
   "images": [
    "quay.io/coreos/etcd:v3.5.15@sha256:830d30f0",
    "quay.io/coreos/etcd@sha256:830d30f0"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"},
    {"destination":"/var/lib/etcd","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-etcd","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^etcd-0$",
 "hostname_is_fixed": true,
 "logs": true,
 "namespace": "control",
 "pause": {
  "annotations": {},
  "args": ["/pause"],
  "capabilities": [
   "CAP_CHOWN",
   "CAP_DAC_OVERRIDE",
   "CAP_FSETID",
   "CAP_FOWNER",
   "CAP_MKNOD",
   "CAP_NET_RAW",
   "CAP_SETGID",
   "CAP_SETUID",
   "CAP_SETFCAP",
   "CAP_SETPCAP",
   "CAP_NET_BIND_SERVICE",
   "CAP_SYS_CHROOT",
   "CAP_KILL",
   "CAP_AUDIT_WRITE"
  ],
  "cwd": "/",
  "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
  "env_from": {},
  "mounts": [
   {"destination":"/etc/resolv.conf","options":["rbind","ro","nosuid","nodev","noexec"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
  ],
  "no_new_privileges": true,
  "readonly_root": true,
  "storages": [],
  "sysctl": {},
  "terminal": false,
  "type": "sandbox",
  "user": {"AdditionalGids":[65535],"GID":65535,"UID":65535}
 },
 "pidns": false,
 "pod": "^etcd-0$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["etcd"]
}
