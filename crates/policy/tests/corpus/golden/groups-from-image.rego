# Pod/groups is `groups`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `by-image-name`, `by-pod-number`, `unknown-number`, `with-group`, `root`, `agent`, `logs` says nothing of memory and counts as none
#   container `root` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: groups}
#-    - {name: by-image-name, image: "ghcr.io/example/worker:2025.3"}
#-    - {name: by-pod-number, image: "ghcr.io/example/worker:2025.3", securityContext: {runAsUser: 2000}}
#-    - {name: unknown-number, image: "ghcr.io/example/worker:2025.3", securityContext: {runAsUser: 31337}}
#-    - {name: with-group, image: "ghcr.io/example/worker:2025.3", securityContext: {runAsUser: 34, runAsGroup: 35}}
#-    - {name: root, image: "registry.example.com/platform/agent:5"}
#-    - {name: agent, image: "registry.example.com/platform/agent:5", securityContext: {runAsUser: 4000}}
#-    - {name: logs, image: "elasticsearch:8.14.3", command: [sleep, "1"]}

# Pod/groups
policy_data := {
 "containers": {
  "agent": {
   "annotations": {"io.kubernetes.cri.container-name":"agent"},
   "args": ["/casemate/bin/launch","agent","--","/usr/bin/agent"],
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
   "env": ["PATH=/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/platform/agent:5@sha256:e54ac119",
    "registry.example.com/platform/agent@sha256:e54ac119"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=8000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[4000,4004,7000,8000],"GID":4000,"UID":4000}
  },
  "by-image-name": {
   "annotations": {"io.kubernetes.cri.container-name":"by-image-name"},
   "args": ["/casemate/bin/launch","by-image-name","--","tini","-g","--","worker"],
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
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
    "ghcr.io/example/worker@sha256:4406cb2f"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=8000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[2000,2100,7000,8000],"GID":2000,"UID":2000}
  },
  "by-pod-number": {
   "annotations": {"io.kubernetes.cri.container-name":"by-pod-number"},
   "args": ["/casemate/bin/launch","by-pod-number","--","tini","-g","--","worker"],
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
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
    "ghcr.io/example/worker@sha256:4406cb2f"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=8000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[2000,2100,7000,8000],"GID":2000,"UID":2000}
  },
  "logs": {
   "annotations": {"io.kubernetes.cri.container-name":"logs"},
   "args": ["/casemate/bin/launch","logs","--","sleep","1"],
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
   "cwd": "/usr/share/elasticsearch",
   "env": ["PATH=/usr/share/elasticsearch/bin:/usr/bin:/bin","ELASTIC_CONTAINER=true"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/library/elasticsearch:8.14.3@sha256:9f25caf7",
    "docker.io/library/elasticsearch@sha256:9f25caf7"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=8000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[1000,1500,7000,8000],"GID":1000,"UID":1000}
  },
  "root": {
   "annotations": {"io.kubernetes.cri.container-name":"root"},
   "args": ["/casemate/bin/launch","root","--","/usr/bin/agent"],
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
   "env": ["PATH=/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/platform/agent:5@sha256:e54ac119",
    "registry.example.com/platform/agent@sha256:e54ac119"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=8000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0,7000,8000],"GID":0,"UID":0}
  },
  "unknown-number": {
   "annotations": {"io.kubernetes.cri.container-name":"unknown-number"},
   "args": ["/casemate/bin/launch","unknown-number","--","tini","-g","--","worker"],
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
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
    "ghcr.io/example/worker@sha256:4406cb2f"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=8000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0,7000,8000],"GID":0,"UID":31337}
  },
  "with-group": {
   "annotations": {"io.kubernetes.cri.container-name":"with-group"},
   "args": ["/casemate/bin/launch","with-group","--","tini","-g","--","worker"],
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
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
    "ghcr.io/example/worker@sha256:4406cb2f"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=8000"],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[35,2100,7000,8000],"GID":35,"UID":34}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^groups$",
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
 "pod": "^groups$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["by-image-name","by-pod-number","unknown-number","with-group","root","agent","logs"]
}
