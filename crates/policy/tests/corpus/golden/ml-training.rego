# Job/finetune-7b is `finetune-7b`
#   reads the secrets dataset-key
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   volume `checkpoints`: what is in the claim is the host's word
#   volume `dataset`: what is in the claim is the host's word
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/ml/trainer:cu124
#-          command: [torchrun]

# Job/finetune-7b
policy_data := {
 "containers": {
  "train": {
   "annotations": {"io.kubernetes.cri.container-name":"train"},
   "args": ["/casemate/bin/launch","train","--","torchrun","--nproc_per_node=1","train.py","--lr=2e-5","--bf16","--output=/checkpoints","--key-file=/casemate/secrets/dataset-key"],
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
   "cwd": "/workspace",
   "env": ["PATH=/opt/conda/bin:/usr/bin:/bin","NVIDIA_VISIBLE_DEVICES=void","NVIDIA_DRIVER_CAPABILITIES=compute,utility","OMP_NUM_THREADS=8","NCCL_DEBUG=WARN"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/ml/trainer:cu124@sha256:1e1d6c6c",
    "registry.example.com/ml/trainer@sha256:1e1d6c6c"
   ],
   "mounts": [
    {"destination":"/checkpoints","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-checkpoints","type_":"bind"},
    {"destination":"/dataset","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-dataset","type_":"bind"},
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/dev/shm2","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/sandbox/ephemeral/dshm","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/dshm","options":["fsgid=100"],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=100"],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[44,100,992,993,1000],"GID":1000,"UID":1000}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo"]},
 "hostname": "^finetune-7b-[a-z0-9]{5}$",
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
 "pod": "^finetune-7b-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["train"]
}
