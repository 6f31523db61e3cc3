# Deployment/mailer is `mailer`
#   reads the secrets rabbit-mailer
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: mailer}}
#-        image: ghcr.io/example/worker:2025.3

# Deployment/mailer
policy_data := {
 "annotations": {},
 "containers": {
  "worker": {
   "args": ["/casemate/bin/launch","worker","--","tini","-g","--","worker","--broker","amqp://mailer@rabbit:5672/%2f","--password-file","/casemate/secrets/rabbit-mailer"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","LC_ALL=C.UTF-8","CONCURRENCY=4"],
   "env_from": {"HOSTNAME":"hostname","WORKER_ID":"pod-uid"},
   "image": "ghcr.io/example/worker:2025.3@sha256:4406cb2f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [2000,2000,[2000,2100]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^mailer-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^mailer-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["worker"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
