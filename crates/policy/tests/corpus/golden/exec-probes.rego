# StatefulSet/pg is `pg`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `postgres` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#   container `postgres`: the host may run the commands of its probes and hooks in it at any time: `/casemate/bin/launch -- /bin/sh -c exec pg_isready -U "$PGUSER" -h 127.0.0.1`, `/casemate/bin/launch -- pg_ctl stop -m fast`, `/casemate/bin/launch -- pg_isready -h 127.0.0.1`
#   container `postgres` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: pg}}
#-          image: postgres:16
#-              command: [/bin/sh, -c, exec pg_isready -U "$PGUSER" -h 127.0.0.1]
#-            exec: {command: [pg_isready, -h, 127.0.0.1]}
#-                command: ["pg_ctl", "stop", "-m", "fast"]   # before the kubelet's SIGTERM
#-          volumeMounts: [{name: data, mountPath: /var/lib/postgresql/data}]

# StatefulSet/pg
policy_data := {
 "annotations": {},
 "containers": {
  "postgres": {
   "args": ["/casemate/bin/launch","postgres","--","docker-entrypoint.sh","postgres"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/16/bin","LANG=en_US.utf8","PG_MAJOR=16","PGDATA=/var/lib/postgresql/data","PGUSER=app"],
   "env_from": {"HOSTNAME":"hostname"},
   "exec": [
    ["/casemate/bin/launch","--","/bin/sh","-c","exec pg_isready -U \"$PGUSER\" -h 127.0.0.1"],
    ["/casemate/bin/launch","--","pg_ctl","stop","-m","fast"],
    ["/casemate/bin/launch","--","pg_isready","-h","127.0.0.1"]
   ],
   "image": "docker.io/library/postgres:16@sha256:91be8d7a",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/var/lib/postgresql/data","copied","data","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^pg-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^pg-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["postgres"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
