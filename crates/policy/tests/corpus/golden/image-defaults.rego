# Pod/defaults is `defaults`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `entrypoint-and-cmd`, `entrypoint-only`, `cmd-only`, `args-replace-cmd`, `command-drops-cmd`, `empty-entrypoint` says nothing of memory and counts as none
#   container `entrypoint-only` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `cmd-only` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: defaults}
#-    - {name: entrypoint-and-cmd, image: "ghcr.io/example/worker:2025.3"}
#-    - {name: entrypoint-only, image: "registry.example.com/platform/agent:5"}
#-    - {name: cmd-only, image: "httpd:2.4"}
#-    - {name: args-replace-cmd, image: "ghcr.io/example/worker:2025.3", args: [sh, -c, "true"]}
#-    - {name: command-drops-cmd, image: "ghcr.io/example/worker:2025.3", command: [/bin/true]}
#-    - {name: empty-entrypoint, image: "registry.example.com/legacy/erp:9"}

# Pod/defaults
policy_data := {
 "annotations": {},
 "containers": {
  "args-replace-cmd": {
   "args": ["/casemate/bin/launch","args-replace-cmd","--","tini","-g","--","sh","-c","true"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  },
  "cmd-only": {
   "args": ["/casemate/bin/launch","cmd-only","--","httpd-foreground"],
   "capabilities": "default",
   "cwd": "/usr/local/apache2",
   "env": ["PATH=/usr/local/apache2/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/httpd:2.4@sha256:53373706",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "command-drops-cmd": {
   "args": ["/casemate/bin/launch","command-drops-cmd","--","/bin/true"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  },
  "empty-entrypoint": {
   "args": ["/casemate/bin/launch","empty-entrypoint","--","/opt/erp/start.sh"],
   "capabilities": "default",
   "cwd": "/opt/erp",
   "env": ["PATH=/opt/erp/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/legacy/erp:9@sha256:8323081f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [500,500,[500,501]]
  },
  "entrypoint-and-cmd": {
   "args": ["/casemate/bin/launch","entrypoint-and-cmd","--","tini","-g","--","worker"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  },
  "entrypoint-only": {
   "args": ["/casemate/bin/launch","entrypoint-only","--","/usr/bin/agent"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/platform/agent:5@sha256:e54ac119",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^defaults$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^defaults$",
 "services": ["KUBERNETES"],
 "signals": ["entrypoint-and-cmd","entrypoint-only","cmd-only","args-replace-cmd","command-drops-cmd","empty-entrypoint"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
