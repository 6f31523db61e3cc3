# Deployment/introspect is `introspect`
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 200 main + 64 casemate-mesh = 520 MiB: `main` requests less than its limit, and the limit counts
#   volume `podinfo`: its files are the host's word
#   container `main` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#-          image: python:3.12-slim
#-          command: [python3, -m, http.server]

# Deployment/introspect
policy_data := {
 "annotations": {},
 "containers": {
  "main": {
   "args": ["/casemate/bin/launch","main","--","python3","-m","http.server"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PYTHON_VERSION=3.12.4","NAMESPACE=tools","TIER=9","BUILD=2025-03-01T12:00:00Z","ACCOUNT=introspect","CPU=250","MEM=200","REQ=104857600"],
   "env_from": {"HOSTNAME":"hostname","HOST_IP":"ip","NAME":"pod-name","NODE_OF_POD":"node-name","POD_IP":"ip","UID_OF_POD":"pod-uid"},
   "image": "docker.io/library/python:3.12-slim@sha256:beb21b1f",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/etc/podinfo","copied","podinfo","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/run/secrets/kubernetes.io/serviceaccount","copied","serviceaccount","ro"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["podinfo","serviceaccount"]},
 "hostname": "^introspect-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "tools",
 "pidns": false,
 "pod": "^introspect-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["main"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
