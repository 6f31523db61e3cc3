# Deployment/frontend is `frontend`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   port 8080 (Service `frontend`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-8080#8080#false` to demand one of the mesh
#   its guest needs 256 overhead + 128 server + 64 casemate-mesh = 448 MiB: `server` requests less than its limit, and the limit counts
# Deployment/cart is `cart`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 7070 (Service `cart`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-7070#7070#false` to demand one of the mesh
#   readinessProbe of container `server`: port 7070 wants what the kubelet cannot offer, so the probe only connects
#   livenessProbe of container `server`: port 7070 wants what the kubelet cannot offer, so the probe only connects
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `server` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/shop/web:2.4.1
#-    metadata: {labels: {app: cart}}
#-          image: registry.example.com/shop/cart:2.4.1
#-          readinessProbe: {grpc: {port: 7070, service: ready}}
#-          livenessProbe: {grpc: {port: 7070}, initialDelaySeconds: 15}

# Deployment/frontend
policy_data := {
 "containers": {
  "server": {
   "annotations": {"io.kubernetes.cri.container-name":"server"},
   "args": ["/casemate/bin/launch","server","--","/app/web"],
   "capabilities": [],
   "cwd": "/app",
   "env": ["PATH=/app","PORT=8080","CURRENCY=EUR"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/shop/web:2.4.1@sha256:2e155ae4",
    "registry.example.com/shop/web@sha256:2e155ae4"
   ],
   "mounts": [{"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"}],
   "no_new_privileges": true,
   "readonly_root": true,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=1000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[1000],"GID":1000,"UID":1000}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^frontend-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
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
 "pod": "^frontend-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["CART","COORDINATOR","FRONTEND","KUBERNETES"],
 "signals": ["server"]
}

# Deployment/cart
policy_data := {
 "containers": {
  "server": {
   "annotations": {"io.kubernetes.cri.container-name":"server"},
   "args": ["/casemate/bin/launch","server","--","/app/cart"],
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
   "cwd": "/app",
   "env": ["PATH=/app:/usr/bin","PORT=7070"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/shop/cart:2.4.1@sha256:3e1b87c6",
    "registry.example.com/shop/cart@sha256:3e1b87c6"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[10001],"GID":10001,"UID":10001}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^cart-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
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
 "pod": "^cart-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["server"]
}
