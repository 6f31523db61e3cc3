# CronJob/a-name-that-is-as-long-as-cronjobs-may-have-them-ok is `a-name-that-is-as-long-as-cronjobs-may-have-them-ok`
#   reads the secrets pgpass
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `vacuum` says nothing of memory and counts as none
#   container `vacuum` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#-          annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: "false"}
#-              image: postgres:16
#-              command: [psql]
#-              volumeMounts: [{name: none, mountPath: /var/lib/postgresql/data}]
#-          volumes: [{name: none, emptyDir: {}}]

# CronJob/a-name-that-is-as-long-as-cronjobs-may-have-them-ok
policy_data := {
 "annotations": {},
 "containers": {
  "vacuum": {
   "args": ["/casemate/bin/launch","vacuum","--","psql","-h","db","-c","VACUUM (ANALYZE)"],
   "capabilities": "default",
   "cwd": "/",
   "env": [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/16/bin",
    "LANG=en_US.utf8",
    "PG_MAJOR=16",
    "PGDATA=/var/lib/postgresql/data",
    "PGPASSFILE=/casemate/secrets/pgpass"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/postgres:16@sha256:91be8d7a",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/var/lib/postgresql/data","local","none","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^a-name-that-is-as-long-as-cronjobs-may-have-them-ok-[0-9]{6}[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "batch",
 "pidns": false,
 "pod": "^a-name-that-is-as-long-as-cronjobs-may-have-them-ok-[0-9]{6}[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["vacuum"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
