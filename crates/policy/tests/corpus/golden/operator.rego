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
 "annotations": {},
 "containers": {
  "manager": {
   "args": ["/casemate/bin/launch","manager","--","/manager","--leader-elect","--health-probe-bind-address=:8081"],
   "capabilities": [],
   "cwd": "/",
   "env": ["PATH=/","POD_NAMESPACE=widget-system"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/platform/operator:0.9.0@sha256:a03dae5e",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/run/secrets/kubernetes.io/serviceaccount","copied","serviceaccount","ro"]
   ],
   "no_new_privileges": true,
   "readonly_root": false,
   "terminal": false,
   "user": [65532,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["serviceaccount"]},
 "hostname": "^widget-operator-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "widget-system",
 "pidns": false,
 "pod": "^widget-operator-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["manager"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
