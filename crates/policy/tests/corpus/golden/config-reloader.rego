# Deployment/gateway is `gateway`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   Service `gateway`: port 53 stays closed, only TCP is served
#   port 10000 (Service `gateway`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#10000#false` to demand one of the mesh
#   port 53 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `gateway`, `reloader` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: gateway}}
#-          image: envoyproxy/envoy:v1.31
#-          volumeMounts: [{name: config, mountPath: /etc/gateway}]
#-          image: debian:bookworm-slim
#-          command: [bash, -c, "while sleep 60; do kill -HUP 1 || true; done"]
#-          volumeMounts: [{name: config, mountPath: /etc/gateway, readOnly: true}]

# Deployment/gateway
policy_data := {
 "annotations": {},
 "containers": {
  "gateway": {
   "args": ["/casemate/bin/launch","gateway","--","/docker-entrypoint.sh","envoy","--config-path","/etc/gateway/gateway.yaml","--log-level","info"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LOG_LEVEL=info"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/envoyproxy/envoy:v1.31@sha256:05f1a6d5",
   "mounts": [["/casemate","memory","casemate","ro"],["/etc/gateway","memory","casemate-files-config","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": true,
   "terminal": false,
   "user": [101,101,[101]]
  },
  "reloader": {
   "args": ["/casemate/bin/launch","reloader","--","bash","-c","while sleep 60; do kill -HUP 1 || true; done"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/casemate","memory","casemate","ro"],["/etc/gateway","memory","casemate-files-config","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [101,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["config"]},
 "hostname": "^gateway-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^gateway-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["gateway","reloader"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
