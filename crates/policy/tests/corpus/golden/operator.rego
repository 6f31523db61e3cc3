# Deployment/widget-operator is `widget-operator`
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8081 (readinessProbe of container `manager`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "8081"` to open it to everybody without TLS
#   its guest needs 256 overhead + 128 manager + 64 casemate-mesh = 448 MiB: `manager` requests less than its limit, and the limit counts
#   seccomp and AppArmor profiles are not enforced inside the guest
#-        image: registry.example.com/platform/operator:0.9.0
#-        livenessProbe: {httpGet: {path: /healthz, port: 8081}, initialDelaySeconds: 15}
#-        readinessProbe: {httpGet: {path: /readyz, port: 8081}, initialDelaySeconds: 5}

# Deployment/widget-operator
policy_data := {
 "containers": {
  "manager": {
   "annotations": {"io.kubernetes.cri.container-name":"manager"},
   "args": ["/casemate/bin/launch","manager","--","/manager","--leader-elect","--health-probe-bind-address=:8081"],
   "capabilities": [],
   "cwd": "/",
   "env": ["PATH=/","POD_NAMESPACE=widget-system"],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "registry.example.com/platform/operator:0.9.0@sha256:a03dae5e",
    "registry.example.com/platform/operator@sha256:a03dae5e"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
   ],
   "no_new_privileges": true,
   "readonly_root": false,
   "storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":[],"source":"tmpfs"}],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0],"GID":0,"UID":65532}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["podinfo","serviceaccount"]},
 "hostname": "^widget-operator-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "widget-system",
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
 "pod": "^widget-operator-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["manager"]
}
