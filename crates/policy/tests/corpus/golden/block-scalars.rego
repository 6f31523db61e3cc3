# Pod/scripts is `scripts`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `keep`, `strip`, `indented` says nothing of memory and counts as none
#   container `keep` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `strip` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `indented` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-      image: debian:bookworm-slim
#-      command: [bash, -euxc]
#-      image: debian:bookworm-slim
#-      image: debian:bookworm-slim
#-      command: ["bash", "-c", "echo \"tab\there\"\necho 'ünïcödé ✓'"]

# Pod/scripts
policy_data := {
 "annotations": {},
 "containers": {
  "indented": {
   "args": ["/casemate/bin/launch","indented","--","bash","-c","echo \"tab\there\"\necho 'ünïcödé ✓'"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","MULTI=  two more spaces\nthan usual\n"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/debian:bookworm-slim@sha256:b52eb10c",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "keep": {
   "args": ["/casemate/bin/launch","keep","--","bash","-euxc","cat <<EOF\n# not a comment of YAML\nkey: value   # nor is this\nEOF\n\n"],
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
  "strip": {
   "args": ["/casemate/bin/launch","strip","--","/bin/bash","-c","for i in 1 2 3; do\n  echo \"$i: $(date)\"   # $(date) is the shell's\ndone"],
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
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^scripts$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^scripts$",
 "services": ["KUBERNETES"],
 "signals": ["keep","strip","indented"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
