# Pod/projected is `projected`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `app` says nothing of memory and counts as none
#   container `app` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: projected}
#-      image: httpd:2.4
#-      volumeMounts: [{name: conf, mountPath: /etc/app}]

# Pod/projected
policy_data := {
 "containers": {
  "app": {
   "annotations": {"io.kubernetes.cri.container-name":"app"},
   "args": ["/casemate/bin/launch","app","--","httpd-foreground"],
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
   "cwd": "/usr/local/apache2",
   "env": ["PATH=/usr/local/apache2/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/httpd:2.4@sha256:53373706",
    "docker.io/library/httpd@sha256:53373706"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/app","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate-files-conf","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-conf","options":[],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["conf","podinfo"]},
 "hostname": "^projected$",
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
 "pod": "^projected$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["app"]
}
