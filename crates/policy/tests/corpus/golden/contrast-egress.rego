# Deployment/emoji-web is `emoji-web`
#   `contrast.edgeless.systems/servicemesh-ingress` was taken for `casemate.dev/servicemesh-ingress`
#   `contrast.edgeless.systems/servicemesh-egress` was taken for `casemate.dev/servicemesh-egress`
#   `runtimeClassName: contrast-cc-metal-qemu-snp` stays, and the reference values are the local engine's: on a cluster nobody would believe this pod
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   egress `emoji`: what programs send to 127.137.0.1:8081 goes to `emoji-svc:8080`, once a certificate of the mesh for `emoji-svc` is shown there
#   egress `voting`: what programs send to 127.137.0.2:8081 goes to `voting-svc.voting.svc:8080`, once a certificate of the mesh for `voting-svc` is shown there
#   egress `billing`: what programs send to 127.137.0.3:443 goes to `billing.example.com:443`, once a certificate of the mesh for `billing.example.com` is shown there
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/shop/web:2.4.1

# Deployment/emoji-web
policy_data := {
 "annotations": {},
 "containers": {
  "web": {
   "args": ["/casemate/bin/launch","web","--","/app/web"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/app","EMOJI_HOST=127.137.0.1:8081","VOTING_HOST=127.137.0.2:8081"],
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
 "hostname": "^emoji-web-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^emoji-web-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["web"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
