# Job/finetune-7b is `finetune-7b`
#   reads the secrets dataset-key
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   volume `checkpoints`: what is in the claim is the host's word
#   volume `dataset`: what is in the claim is the host's word
#   volume `dshm`: nothing keeps `sizeLimit`, since the host does not see how full the guest's volume is
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/ml/trainer:cu124
#-          command: [torchrun]

# Job/finetune-7b
policy_data := {
 "annotations": {},
 "containers": {
  "train": {
   "args": ["/casemate/bin/launch","train","--","torchrun","--nproc_per_node=1","train.py","--lr=2e-5","--bf16","--output=/checkpoints","--key-file=/casemate/secrets/dataset-key"],
   "capabilities": "default",
   "cwd": "/workspace",
   "env": ["PATH=/opt/conda/bin:/usr/bin:/bin","NVIDIA_VISIBLE_DEVICES=void","NVIDIA_DRIVER_CAPABILITIES=compute,utility","OMP_NUM_THREADS=8","NCCL_DEBUG=WARN"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/ml/trainer:cu124@sha256:1e1d6c6c",
   "mounts": [
    ["/checkpoints","copied","checkpoints","rw"],
    ["/dataset","copied","dataset","ro"],
    ["/casemate","memory","casemate","ro"],
    ["/dev/shm2","memory","dshm","rw"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,1000,[44,100,992,993,1000]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^finetune-7b-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [1000,1000,[1000,44,100]],
 "pidns": false,
 "pod": "^finetune-7b-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["train"],
 "sysctl": {},
 "volume_options": {"memory":["fsgid=100"]}
}
