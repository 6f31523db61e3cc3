# Pod/long is `long`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `main` says nothing of memory and counts as none
#   container `main` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: long}
#-      image: python:3.12-slim
#-      command: [python3, -c]

# Pod/long
policy_data := {
 "annotations": {},
 "containers": {
  "main": {
   "args": [
    "/casemate/bin/launch",
    "main",
    "--",
    "python3",
    "-c",
    "import json, sys; print(json.loads('{\"a\": [1, 2, 3], \"b\": {\"c\": \"dddddddddddddddddddddddddddddddddddddddddddddddd\"}}')[\"a\"]); print(\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\")"
   ],
   "capabilities": "default",
   "cwd": "/",
   "env": [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "PYTHON_VERSION=3.12.4",
    "REGEX=^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+)@(\\d{1,3}\\.){3}\\d{1,3}$",
    "DOLLARS=$ $ $() $(UNKNOWN) $(ESCAPED) ${BRACES}",
    "QUOTES=\"double\" 'single' \\ back",
    "EMOJI=🔒 locked"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/python:3.12-slim@sha256:beb21b1f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^long$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^long$",
 "services": ["KUBERNETES"],
 "signals": ["main"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
