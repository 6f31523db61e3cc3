# Pod/scratch is `scratch`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `sort` says nothing of memory and counts as none
#   volume `scratch`: what is in the claim is the host's word
#   container `sort` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: scratch}
#-      image: debian:bookworm-slim
#-      command: [sort, -T, /scratch, /dev/null]
#-      volumeMounts: [{name: scratch, mountPath: /scratch}]

# Pod/scratch
policy_data := {
 "containers": {
  "sort": {
   "annotations": {"io.kubernetes.cri.container-name":"sort"},
   "args": ["/casemate/bin/launch","sort","--","sort","-T","/scratch","/dev/null"],
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
    {"destination":"/scratch","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-scratch","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
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
 "hostname": "^scratch$",
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
 "pod": "^scratch$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["sort"]
}
