# Deployment/orders-api is `orders-api`
#   reads the secrets orders-db
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 3000 (Service `orders-api`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#3000#false` to demand one of the mesh
#   its guest needs 256 overhead + 512 api + 64 casemate-mesh = 832 MiB: `wait-for-db`, `migrate` says nothing of memory and counts as none; `api` requests less than its limit, and the limit counts
#   container `wait-for-db` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `api` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# StatefulSet/orders-db is `orders-db`
#   reads the secrets orders-db
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 5432 (Service `orders-db`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: port-5432#5432#false` to demand one of the mesh
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `postgres` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#   container `postgres` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: orders, component: api}}
#-          image: busybox:1.36
#-          command: ['sh', '-c', 'until nc -z orders-db 5432; do echo waiting; sleep 2; done']
#-          image: registry.example.com/shop/migrate:2.4.1
#-          image: node:22-bookworm-slim
#-          command: [node, --max-old-space-size=384]
#-          readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 5}
#-    metadata: {labels: {app: orders, component: db}}
#-          image: postgres:16
#-          volumeMounts: [{name: data, mountPath: /data}, {name: unused, mountPath: /var/lib/postgresql/data}]
#-      volumes: [{name: unused, emptyDir: {}}]

# Deployment/orders-api
policy_data := {
 "annotations": {},
 "containers": {
  "api": {
   "args": ["/casemate/bin/launch","--after=migrate","api","--","node","--max-old-space-size=384","dist/main.js"],
   "capabilities": "default",
   "cwd": "/app",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","NODE_VERSION=22.4.1","DB_HOST=orders-db","DB_PASSWORD_FILE=/casemate/secrets/orders-db"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/node:22-bookworm-slim@sha256:da7504e3",
   "mounts": [["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "migrate": {
   "args": ["/casemate/bin/launch","--after=wait-for-db","--mark","migrate","--","/migrate","up"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/","DB_HOST=orders-db","DB_PASSWORD_FILE=/casemate/secrets/orders-db"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/shop/migrate:2.4.1@sha256:518f0fac",
   "mounts": [["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [65532,0,[0]]
  },
  "wait-for-db": {
   "args": ["/casemate/bin/launch","--mark","wait-for-db","--","sh","-c","until nc -z orders-db 5432; do echo waiting; sleep 2; done"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/casemate","memory","casemate","ro"],["/casemate-done","memory","casemate-done","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^orders-api-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^orders-api-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["wait-for-db","migrate","api"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}

# StatefulSet/orders-db
policy_data := {
 "annotations": {},
 "containers": {
  "postgres": {
   "args": ["/casemate/bin/launch","postgres","--","docker-entrypoint.sh","postgres"],
   "capabilities": "default",
   "cwd": "/",
   "env": [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/16/bin",
    "LANG=en_US.utf8",
    "PG_MAJOR=16",
    "PGDATA=/data/pg",
    "POSTGRES_PASSWORD_FILE=/casemate/secrets/orders-db"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/postgres:16@sha256:91be8d7a",
   "mounts": [
    ["/data","copied","data","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/lib/postgresql/data","local","unused","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^orders-db-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^orders-db-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["postgres"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
