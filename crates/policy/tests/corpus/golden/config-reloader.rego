# Deployment/gateway is `gateway`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   Service `gateway`: port 53 stays closed, only TCP is served
#   port 10000 (Service `gateway`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#10000#false` to demand one of the mesh
#   port 53 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `gateway`, `reloader` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: gateway}}
#-          image: envoyproxy/envoy:v1.31
#-          volumeMounts: [{name: config, mountPath: /etc/gateway}]
#-          image: debian:bookworm-slim
#-          command: [bash, -c, "while sleep 60; do kill -HUP 1 || true; done"]
#-          volumeMounts: [{name: config, mountPath: /etc/gateway, readOnly: true}]

# Deployment/gateway
policy_data := {
 "containers": {
  "gateway": {
   "annotations": {"io.kubernetes.cri.container-name":"gateway"},
   "args": ["/casemate/bin/launch","gateway","--","/docker-entrypoint.sh","envoy","--config-path","/etc/gateway/gateway.yaml","--log-level","info"],
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
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LOG_LEVEL=info"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/envoyproxy/envoy:v1.31@sha256:05f1a6d5",
    "docker.io/envoyproxy/envoy@sha256:05f1a6d5"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/gateway","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": true,
   "storages": [
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","options":[],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[101],"GID":101,"UID":101}
  },
  "reloader": {
   "annotations": {"io.kubernetes.cri.container-name":"reloader"},
   "args": ["/casemate/bin/launch","reloader","--","bash","-c","while sleep 60; do kill -HUP 1 || true; done"],
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
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
    "docker.io/library/debian@sha256:b52eb10c"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/gateway","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","options":[],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":101}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["config","podinfo"]},
 "hostname": "^gateway-[a-z0-9]{1,10}-[a-z0-9]{5}$",
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
 "pod": "^gateway-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["gateway","reloader"]
}
