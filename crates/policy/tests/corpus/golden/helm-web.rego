# Deployment/release-name-web is `release-name-web`
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8080 (Service `release-name-web`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#8080#false` to demand one of the mesh
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `web` says nothing of memory and counts as none
# Pod/release-name-web-test-connection is not confidential: it has no `runtimeClassName: casemate`
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: "registry.example.com/shop/web:2.4.1"

# Deployment/release-name-web
policy_data := {
 "annotations": {},
 "containers": {
  "web": {
   "args": ["/casemate/bin/launch","web","--","/app/web"],
   "capabilities": [],
   "cwd": "/app",
   "env": ["PATH=/app"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/web:2.4.1@sha256:2e155ae4",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": true,
   "readonly_root": true,
   "terminal": false,
   "user": [65532,65532,[65532]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^release-name-web-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^release-name-web-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["web"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
