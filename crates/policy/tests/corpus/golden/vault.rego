# StatefulSet/vault is `vault`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8200 stays closed: no Service among the inputs leads to it
#   port 8201 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `vault` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#-    metadata: {labels: {component: server}}
#-          image: hashicorp/vault:1.17
#-          command: ["/bin/sh", "-ec"]
#-            - {name: config, mountPath: /vault/config}

# StatefulSet/vault
policy_data := {
 "containers": {
  "vault": {
   "annotations": {"io.kubernetes.cri.container-name":"vault"},
   "args": ["/casemate/bin/launch","vault","--","/bin/sh","-ec","exec vault server -config=/vault/config/server.hcl"],
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
    "CAP_AUDIT_WRITE",
    "CAP_IPC_LOCK"
   ],
   "cwd": "/",
   "env": ["PATH=/bin:/usr/bin","SKIP_CHOWN=true","HOME=/home/vault"],
   "env_from": {"HOSTNAME":"pod-name"},
   "images": [
    "docker.io/hashicorp/vault:1.17@sha256:d90be353",
    "docker.io/hashicorp/vault@sha256:d90be353"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/vault/file","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-file","type_":"bind"},
    {"destination":"/vault/logs","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/logs","type_":"bind"},
    {"destination":"/vault/config","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","type_":"bind"},
    {"destination":"/home/vault","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/home","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": true,
   "readonly_root": false,
   "storages": [
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/logs","options":["mode=0777","fsgid=1000"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-config","options":["fsgid=1000"],"source":"tmpfs"},
    {"driver":"local","fstype":"local","mount_point":"/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/home","options":["mode=0777","fsgid=1000"],"source":"local"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=1000"],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[1000],"GID":1000,"UID":100}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["config","podinfo"]},
 "hostname": "^vault-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "vault",
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
 "pod": "^vault-[0-9]{1,6}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["vault"]
}
