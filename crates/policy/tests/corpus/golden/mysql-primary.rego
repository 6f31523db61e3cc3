# StatefulSet/mysql is `mysql`
#   reads the secrets mysql-root
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 3306 (startupProbe of container `mysql`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "3306"` to open it to everybody without TLS
#   its guest needs 256 overhead + 1024 mysql + 64 casemate-mesh = 1344 MiB: `init-server-id` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#-        image: busybox:1.36
#-        image: mysql:8.4

# StatefulSet/mysql
policy_data := {
 "annotations": {},
 "containers": {
  "init-server-id": {
   "args": [
    "/casemate/bin/launch",
    "--mark",
    "init-server-id",
    "--",
    "sh",
    "-ec",
    "ordinal=${HOSTNAME##*-}\n# an offset, because 0 is not allowed\nprintf '[mysqld]\\nserver-id=%d\\n' $((100 + ordinal)) > /mnt/conf.d/server-id.cnf\n"
   ],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/casemate-done","memory","casemate-done","rw"],
    ["/mnt/conf.d","local","conf","rw"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [999,999,[999]]
  },
  "mysql": {
   "args": ["/casemate/bin/launch","--after=init-server-id","mysql","--","docker-entrypoint.sh","mysqld"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","MYSQL_MAJOR=8.4","MYSQL_ROOT_PASSWORD_FILE=/casemate/secrets/mysql-root","MYSQL_DATABASE=shop"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/mysql:8.4@sha256:23cd2431",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/casemate-done","memory","casemate-done","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/lib/mysql","copied","mysql","rw"],
    ["/etc/mysql/conf.d","local","conf","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [999,999,[999]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^mysql-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "shop",
 "pause_user": [999,999,[999]],
 "pidns": false,
 "pod": "^mysql-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["init-server-id","mysql"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777","fsgid=999"],"memory":["fsgid=999"]}
}
