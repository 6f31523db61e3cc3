# StatefulSet/billing-db is `billing-db`
#   reads the secrets billing-db-password
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 5432 (Service `billing-db`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: postgres#5432#false` to demand one of the mesh
#   volume `data`: what is in the claim is the host's word
#   volume `shm`: nothing keeps `sizeLimit`, since the host does not see how full the guest's volume is
#   container `postgres` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: postgres:16

# StatefulSet/billing-db
policy_data := {
 "annotations": {},
 "containers": {
  "postgres": {
   "args": ["/casemate/bin/launch","postgres","--","docker-entrypoint.sh","-c","config_file=/etc/postgresql/postgresql.conf"],
   "capabilities": "default",
   "cwd": "/",
   "env": [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/16/bin",
    "LANG=en_US.utf8",
    "PG_MAJOR=16",
    "PGDATA=/var/lib/postgresql/data/pgdata",
    "POSTGRES_PASSWORD_FILE=/casemate/secrets/billing-db-password"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/postgres:16@sha256:91be8d7a",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/etc/postgresql","memory","casemate-files-config","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/run/postgresql","memory","shm","rw"],
    ["/var/lib/postgresql/data","copied","data","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0,999]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["config"]},
 "hostname": "^billing-db-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [65535,65535,[65535,999]],
 "pidns": false,
 "pod": "^billing-db-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["postgres"],
 "sysctl": {},
 "volume_options": {"memory":["fsgid=999"]}
}
