# Deployment/httpd is `httpd`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `httpd` says nothing of memory and counts as none
#   container `httpd` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: httpd}}
#-          image: httpd:2.4

# Deployment/httpd
policy_data := {
 "containers": {
  "httpd": {
   "annotations": {"io.kubernetes.cri.container-name":"httpd"},
   "args": ["/casemate/bin/launch","httpd","/usr/local/apache2/conf/httpd.conf:config/httpd.conf","/usr/local/apache2/conf/mime.types:config/mime.types","--","httpd-foreground"],
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
    {"destination":"/casemate-files/config","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"},
    {
     "destination": "/usr/local/apache2/conf/httpd.conf",
     "options": ["rbind","rprivate","ro"],
     "source": "/run/kata-containers/shared/containers/$(cid)-$(rand)-httpd.conf",
     "type_": "bind"
    },
    {
     "destination": "/usr/local/apache2/conf/mime.types",
     "options": ["rbind","rprivate","ro"],
     "source": "/run/kata-containers/shared/containers/$(cid)-$(rand)-mime.types",
     "type_": "bind"
    }
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","options":[],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  }
 },
 "copies": {"files":["hostname","hosts","httpd.conf","mime.types","resolv.conf","termination-log"],"trees":["config","podinfo"]},
 "hostname": "^httpd-[a-z0-9]{1,10}-[a-z0-9]{5}$",
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
 "pod": "^httpd-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["httpd"]
}
