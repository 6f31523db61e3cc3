# Deployment/blog is `blog`
#   reads the secrets blog-db
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 80 (Service `blog`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: web#80#false` to demand one of the mesh
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `wordpress` says nothing of memory and counts as none
#   volume `files`: what is in the claim is the host's word
#   container `wordpress` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# Deployment/blog-db is `blog-db`
#   reads the secrets blog-db
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `mysql` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#   container `mysql` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: blog, tier: frontend}}
#-        - image: docker.io/library/wordpress:6.5-apache
#-          volumeMounts: [{name: files, mountPath: /var/www/html}]
#-      volumes: [{name: files, persistentVolumeClaim: {claimName: wp}}]
#-    metadata: {labels: {app: blog, tier: db}}
#-        - image: mysql:8.4
#-          volumeMounts: [{name: data, mountPath: /var/lib/mysql}]
#-      volumes: [{name: data, persistentVolumeClaim: {claimName: blog-db}}]

# Deployment/blog
policy_data := {
 "annotations": {},
 "containers": {
  "wordpress": {
   "args": ["/casemate/bin/launch","wordpress","--","docker-entrypoint.sh","apache2-foreground"],
   "capabilities": "default",
   "cwd": "/var/www/html",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PHP_INI_DIR=/usr/local/etc/php","WORDPRESS_DB_HOST=blog-db","WORDPRESS_DB_PASSWORD_FILE=/casemate/secrets/blog-db"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/wordpress:6.5-apache@sha256:ab143983",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/var/www/html","copied","html","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^blog-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^blog-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["wordpress"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}

# Deployment/blog-db
policy_data := {
 "annotations": {},
 "containers": {
  "mysql": {
   "args": ["/casemate/bin/launch","mysql","--","docker-entrypoint.sh","mysqld"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","MYSQL_MAJOR=8.4","MYSQL_ROOT_PASSWORD_FILE=/casemate/secrets/blog-db"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/mysql:8.4@sha256:23cd2431",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/var/lib/mysql","copied","mysql","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^blog-db-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^blog-db-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["mysql"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
