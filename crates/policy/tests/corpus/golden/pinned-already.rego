# Pod/pinned is `pinned`
#   `runtimeClassName: kata-qemu-tdx` stays, and the reference values are the local engine's: on a cluster nobody would believe this pod
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `main` says nothing of memory and counts as none
#   container `main` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {generateName: pinned-}
#-      image: docker.io/library/wordpress:6.5-apache   # looked up by its tag

# Pod/pinned-
policy_data := {
 "annotations": {},
 "containers": {
  "main": {
   "args": ["/casemate/bin/launch","main","--","docker-entrypoint.sh","apache2-foreground"],
   "capabilities": "default",
   "cwd": "/var/www/html",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PHP_INI_DIR=/usr/local/etc/php"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/wordpress:6.5-apache@sha256:ab143983",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^pinned-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^pinned-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["main"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
