# Deployment/summarise is `summarise`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8000 (Service `summarise`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#8000#false` to demand one of the mesh
#   its guest needs 256 overhead + 6144 serve + 64 casemate-mesh = 6464 MiB: `fetch-model` says nothing of memory and counts as none; `serve` requests less than its limit, and the limit counts
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/ml/serve:1.8
#-          volumeMounts: [{name: models, mountPath: /models}]
#-          image: registry.example.com/ml/serve:1.8
#-          startupProbe: {httpGet: {path: /v1/health, port: http}, failureThreshold: 60, periodSeconds: 5}

# Deployment/summarise
policy_data := {
 "containers": {
  "fetch-model": {
   "annotations": {"io.kubernetes.cri.container-name":"fetch-model"},
   "args": ["/casemate/bin/launch","fetch-model","--","python3","-m","serve","fetch","--from","s3://models/summarise/v3","--to","/models","--verify"],
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
   "cwd": "/srv",
   "env": ["PATH=/opt/venv/bin:/usr/bin:/bin","HF_HOME=/models"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/ml/serve:1.8@sha256:b056eaa1",
    "registry.example.com/ml/serve@sha256:b056eaa1"
   ],
   "mounts": [
    {"destination":"/models","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/models","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/models","options":["mode=0777"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[1500],"GID":1500,"UID":1500}
  },
  "serve": {
   "annotations": {"io.kubernetes.cri.container-name":"serve"},
   "args": ["/casemate/bin/launch","serve","--","python3","-m","serve","--model-dir=/models","--threads=4","--port=8000"],
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
   "cwd": "/srv",
   "env": ["PATH=/opt/venv/bin:/usr/bin:/bin","HF_HOME=/models"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/ml/serve:1.8@sha256:b056eaa1",
    "registry.example.com/ml/serve@sha256:b056eaa1"
   ],
   "mounts": [
    {"destination":"/models","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/models","type_":"bind"},
    {"destination":"/tmp","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/sandbox/ephemeral/tmp","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/models","options":["mode=0777"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/tmp","options":[],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[1500],"GID":1500,"UID":1500}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^summarise-[a-z0-9]{1,10}-[a-z0-9]{5}$",
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
 "pod": "^summarise-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["fetch-model","serve"]
}
