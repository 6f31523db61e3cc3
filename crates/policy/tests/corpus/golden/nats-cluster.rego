# StatefulSet/nats is `nats`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 4222 stays closed: no Service among the inputs leads to it
#   port 8222 (startupProbe of container `nats`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "8222"` to open it to everybody without TLS
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `nats` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#   container `nats` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-        image: nats:2.10
#-          httpGet: {path: /healthz, port: monitor}
#-          httpGet: {path: "/healthz?js-enabled-only=true", port: monitor}
#-        - {name: config, mountPath: /etc/nats-config}

# StatefulSet/nats
policy_data := {
 "annotations": {},
 "containers": {
  "nats": {
   "args": ["/casemate/bin/launch","nats","--","/nats-server","--config","/etc/nats-config/nats.conf","--name","nats-main"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/","SERVER_NAME=nats-main"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/nats:2.10@sha256:7bd42b83",
   "mounts": [
    ["/data","copied","data","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/etc/nats-config","memory","casemate-files-config","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/run/nats","memory","pid","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["config"]},
 "hostname": "^nats-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^nats-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["nats"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
