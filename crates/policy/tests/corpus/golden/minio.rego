# StatefulSet/store is `store`
#   reads the secrets minio-root
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 9000 stays closed: no Service among the inputs leads to it
#   port 9001 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `minio` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-        image: minio/minio:RELEASE.2024-07-10T18-41-49Z

# StatefulSet/store
policy_data := {
 "containers": {
  "minio": {
   "annotations": {"io.kubernetes.cri.container-name":"minio"},
   "args": ["/casemate/bin/launch","minio","--","/usr/bin/docker-entrypoint.sh","server","http://store-{0...3}.store.default.svc.cluster.local/data","--console-address",":9001"],
   "capabilities": [],
   "cwd": "/",
   "env": ["PATH=/usr/bin:/bin","MINIO_UPDATE_MINISIGN_PUBKEY=RWT","MINIO_ROOT_PASSWORD_FILE=/casemate/secrets/minio-root"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/minio/minio:RELEASE.2024-07-10T18-41-49Z@sha256:36ad92da",
    "docker.io/minio/minio@sha256:36ad92da"
   ],
   "mounts": [
    {"destination":"/data","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-data","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[1000],"GID":1000,"UID":1000}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^store-[0-9]{1,6}$",
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
 "pod": "^store-[0-9]{1,6}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["minio"]
}
