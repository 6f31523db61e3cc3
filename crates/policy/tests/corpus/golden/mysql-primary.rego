# StatefulSet/mysql is `mysql`
#   reads the secrets mysql-root
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 3306 (startupProbe of container `mysql`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "3306"` to open it to everybody without TLS
#   its guest needs 256 overhead + 1024 mysql + 64 casemate-mesh = 1344 MiB: `init-server-id` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#-        image: busybox:1.36
#-        image: mysql:8.4

# StatefulSet/mysql
policy_data := {
 "containers": {
  "init-server-id": {
   "annotations": {"io.kubernetes.cri.container-name":"init-server-id"},
   "args": [
    "/casemate/bin/launch",
    "init-server-id",
    "--",
    "sh",
    "-ec",
    "ordinal=${HOSTNAME##*-}\n# an offset, because 0 is not allowed\nprintf '[mysqld]\\nserver-id=%d\\n' $((100 + ordinal)) > /mnt/conf.d/server-id.cnf\n"
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
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/busybox:1.36@sha256:231568d3",
    "docker.io/library/busybox@sha256:231568d3"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/mnt/conf.d","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/conf","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/conf","options":["mode=0777","fsgid=999"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=999"],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[999],"GID":999,"UID":999}
  },
  "mysql": {
   "annotations": {"io.kubernetes.cri.container-name":"mysql"},
   "args": ["/casemate/bin/launch","mysql","--","docker-entrypoint.sh","mysqld"],
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
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","MYSQL_MAJOR=8.4","MYSQL_ROOT_PASSWORD_FILE=/casemate/secrets/mysql-root","MYSQL_DATABASE=shop"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/mysql:8.4@sha256:23cd2431",
    "docker.io/library/mysql@sha256:23cd2431"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"},
    {"destination":"/var/lib/mysql","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-mysql","type_":"bind"},
    {"destination":"/etc/mysql/conf.d","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/conf","options":["mode=0777","fsgid=999"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=999"],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[999],"GID":999,"UID":999}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^mysql-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "shop",
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
 "pod": "^mysql-[0-9]{1,6}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["init-server-id","mysql"]
}
