# CronJob/a-name-that-is-as-long-as-cronjobs-may-have-them-ok is `a-name-that-is-as-long-as-cronjobs-may-have-them-ok`
#   reads the secrets pgpass
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `vacuum` says nothing of memory and counts as none
#   container `vacuum` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#-          annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: "false"}
#-              image: postgres:16
#-              command: [psql]
#-              volumeMounts: [{name: none, mountPath: /var/lib/postgresql/data}]
#-          volumes: [{name: none, emptyDir: {}}]

# CronJob/a-name-that-is-as-long-as-cronjobs-may-have-them-ok
policy_data := {
 "containers": {
  "vacuum": {
   "annotations": {"io.kubernetes.cri.container-name":"vacuum"},
   "args": ["/casemate/bin/launch","vacuum","--","psql","-h","db","-c","VACUUM (ANALYZE)"],
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
   "env": [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/16/bin",
    "LANG=en_US.utf8",
    "PG_MAJOR=16",
    "PGDATA=/var/lib/postgresql/data",
    "PGPASSFILE=/casemate/secrets/pgpass"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/postgres:16@sha256:91be8d7a",
    "docker.io/library/postgres@sha256:91be8d7a"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"},
    {"destination":"/var/lib/postgresql/data","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/none","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/none","options":["mode=0777"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^a-name-that-is-as-long-as-cronjobs-may-have-them-ok-[0-9]{6}[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "batch",
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
 "pod": "^a-name-that-is-as-long-as-cronjobs-may-have-them-ok-[0-9]{6}[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["vacuum"]
}
