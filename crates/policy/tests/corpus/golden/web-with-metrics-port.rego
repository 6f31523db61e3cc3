# Deployment/shopfront is `shopfront`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8080 (Service `shopfront`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#8080#false` to demand one of the mesh
#   port 9102 is open to everybody, without TLS, as `casemate.dev/open-ports` says
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `web`, `exporter` says nothing of memory and counts as none
#   seccomp and AppArmor profiles are not enforced inside the guest
#   volume `tmp`: nothing keeps `sizeLimit`, since the host does not see how full the guest's volume is
#   container `exporter` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: nginxinc/nginx-unprivileged:1.27
#-          startupProbe: {httpGet: {path: /, port: 8080}}
#-          volumeMounts: [{name: tmp, mountPath: /tmp}]
#-          image: debian:bookworm-slim
#-          command: [/usr/bin/exporter, "--web.listen-address=:9102"]

# Deployment/shopfront
policy_data := {
 "annotations": {},
 "containers": {
  "exporter": {
   "args": ["/casemate/bin/launch","exporter","--","/usr/bin/exporter","--web.listen-address=:9102"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "web": {
   "args": ["/casemate/bin/launch","web","--","/docker-entrypoint.sh","nginx","-g","daemon off;"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/nginxinc/nginx-unprivileged:1.27@sha256:2c49bd3b",
   "mounts": [["/tmp","memory","tmp","rw"],["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": true,
   "terminal": false,
   "user": [101,101,[101]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^shopfront-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^shopfront-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["web","exporter"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
