# Deployment/emoji is `emoji`
#   `contrast.edgeless.systems/servicemesh-ingress` was taken for `casemate.dev/servicemesh-ingress`
#   `runtimeClassName: contrast-cc-metal-qemu-snp` stays, and the reference values are the local engine's: on a cluster nobody would believe this pod
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/shop/web:2.4.1

# Deployment/emoji
policy_data := {
 "annotations": {},
 "containers": {
  "emoji": {
   "args": ["/casemate/bin/launch","emoji","--","/app/web"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/web:2.4.1@sha256:2e155ae4",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [65532,65532,[65532]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^emoji-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^emoji-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["emoji"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
