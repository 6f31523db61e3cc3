# StatefulSet/rabbit is `rabbit`
#   reads the secrets rabbit-default-pass
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 5672 (Service `rabbit`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: amqp#5672#false` to demand one of the mesh
#   port 15672 stays closed: no Service among the inputs leads to it
#   volume `data`: what is in the claim is the host's word
#   container `rabbitmq` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: rabbitmq:3.13

# StatefulSet/rabbit
policy_data := {
 "annotations": {},
 "containers": {
  "rabbitmq": {
   "args": ["/casemate/bin/launch","rabbitmq","--","docker-entrypoint.sh","rabbitmq-server"],
   "capabilities": "default",
   "cwd": "/",
   "env": [
    "PATH=/opt/rabbitmq/sbin:/usr/bin:/bin",
    "HOME=/var/lib/rabbitmq",
    "POD_NAMESPACE=default",
    "RABBITMQ_USE_LONGNAME=true",
    "RABBITMQ_NODENAME=rabbit@localhost",
    "RABBITMQ_DEFAULT_PASS_FILE=/casemate/secrets/rabbit-default-pass"
   ],
   "env_from": {"HOSTNAME":"hostname","POD_NAME":"pod-name"},
   "image": "docker.io/library/rabbitmq:3.13@sha256:58d71d1b",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/var/lib/rabbitmq","copied","rabbitmq","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0,999]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^rabbit-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [65535,65535,[65535,999]],
 "pidns": false,
 "pod": "^rabbit-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["rabbitmq"],
 "sysctl": {},
 "volume_options": {"memory":["fsgid=999"]}
}
