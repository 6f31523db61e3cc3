# Pod/volumes is `volumes`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   container `redis`: at the image's VOLUME `/data` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   container `kafka`: at the image's VOLUME `/etc/kafka/secrets` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   container `kafka`: at the image's VOLUME `/mnt/shared/config` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   container `kafka`: at the image's VOLUME `/var/lib/kafka/data` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `redis`, `kafka` says nothing of memory and counts as none
#   container `redis` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: volumes}
#-    - {name: redis, image: "redis:7.2-bookworm"}
#-    - {name: kafka, image: "apache/kafka:3.8.0"}

# Pod/volumes
policy_data := {
 "containers": {
  "kafka": {
   "annotations": {"io.kubernetes.cri.container-name":"kafka"},
   "args": ["/casemate/bin/launch","kafka","--","/etc/kafka/docker/run"],
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
   "env": ["PATH=/opt/java/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/apache/kafka:3.8.0@sha256:4f8b301a",
    "docker.io/apache/kafka@sha256:4f8b301a"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"},
    {
     "destination": "/etc/kafka/secrets",
     "options": ["rbind","rprivate","rw"],
     "source": "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-2",
     "type_": "bind"
    },
    {
     "destination": "/mnt/shared/config",
     "options": ["rbind","rprivate","rw"],
     "source": "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-3",
     "type_": "bind"
    },
    {
     "destination": "/var/lib/kafka/data",
     "options": ["rbind","rprivate","rw"],
     "source": "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-4",
     "type_": "bind"
    }
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {
     "driver": "local",
     "fstype": "local",
     "mount_point": "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-2",
     "options": ["mode=0777"],
     "source": "local"
    },
    {
     "driver": "local",
     "fstype": "local",
     "mount_point": "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-3",
     "options": ["mode=0777"],
     "source": "local"
    },
    {
     "driver": "local",
     "fstype": "local",
     "mount_point": "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-4",
     "options": ["mode=0777"],
     "source": "local"
    },
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[1000],"GID":1000,"UID":1000}
  },
  "redis": {
   "annotations": {"io.kubernetes.cri.container-name":"redis"},
   "args": ["/casemate/bin/launch","redis","--","docker-entrypoint.sh","redis-server"],
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
   "cwd": "/data",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/redis:7.2-bookworm@sha256:b3e0b242",
    "docker.io/library/redis@sha256:b3e0b242"
   ],
   "mounts": [
    {"destination":"/data","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-1","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {
     "driver": "local",
     "fstype": "local",
     "mount_point": "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/casemate-image-volume-1",
     "options": ["mode=0777"],
     "source": "local"
    },
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":0}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^volumes$",
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
 "pod": "^volumes$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["redis","kafka"]
}
