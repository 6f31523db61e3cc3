# Deployment/docs is `docs`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8080 (Service `docs`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-8080#8080#false` to demand one of the mesh
#   port 1234 (startupProbe of container `git-sync`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "1234"` to open it to everybody without TLS
#   its guest needs 256 overhead + 64 caddy + 64 casemate-mesh + 64 git-sync = 448 MiB: `warm-up` says nothing of memory and counts as none
#   volume `content`: nothing keeps `sizeLimit`, since the host does not see how full the guest's volume is
#   container `warm-up` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `caddy` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-        image: registry.k8s.io/git-sync/git-sync:v4.2.4
#-          httpGet: {path: /, port: 1234}
#-        image: busybox:1.36
#-        command: [sh, -c, 'until [ -e /git/docs.git ]; do sleep 1; done']
#-        image: caddy:2

# Deployment/docs
policy_data := {
 "annotations": {},
 "containers": {
  "caddy": {
   "args": ["/casemate/bin/launch","--after=warm-up","caddy","--","caddy","file-server","--root","/git/docs.git","--listen",":8080"],
   "capabilities": "default",
   "cwd": "/srv",
   "env": ["PATH=/usr/bin:/bin","XDG_CONFIG_HOME=/config","XDG_DATA_HOME=/data"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/caddy:2@sha256:8b96e46b",
   "mounts": [
    ["/git","local","content","ro"],
    ["/casemate","memory","casemate","ro"],
    ["/casemate-done","memory","casemate-done","ro"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "git-sync": {
   "args": ["/casemate/bin/launch","--mark-start","git-sync","--","/git-sync","--repo=https://git.example.com/docs.git","--root=/git","--period=30s"],
   "capabilities": "default",
   "cwd": "/tmp",
   "env": ["PATH=/bin:/usr/bin","HOME=/tmp"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.k8s.io/git-sync/git-sync:v4.2.4@sha256:2f51458a",
   "mounts": [
    ["/git","local","content","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/casemate-done","memory","casemate-done","rw"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [65533,65533,[65533]]
  },
  "warm-up": {
   "args": ["/casemate/bin/launch","--after=git-sync","--mark","warm-up","--","sh","-c","until [ -e /git/docs.git ]; do sleep 1; done"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [
    ["/git","local","content","ro"],
    ["/casemate","memory","casemate","ro"],
    ["/casemate-done","memory","casemate-done","rw"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^docs-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^docs-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["git-sync","warm-up","caddy"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
