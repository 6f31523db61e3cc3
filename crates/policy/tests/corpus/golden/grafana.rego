# Deployment/grafana is `grafana`
#   reads the secrets grafana-admin
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 3000 (readinessProbe of container `grafana`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "3000"` to open it to everybody without TLS
#   its guest needs 256 overhead + 256 grafana + 64 casemate-mesh = 576 MiB: `grafana` requests less than its limit, and the limit counts
#   volume `storage`: what is in the claim is the host's word
#   container `grafana`: a Secret in a variable stands in the policy, where the operator can read it; `casemate secret put` keeps one from the operator
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: grafana}}
#-          image: grafana/grafana:11.1.0
#-          readinessProbe: {httpGet: {path: /api/health, port: 3000, scheme: HTTP}}
#-            - {name: datasources, mountPath: /etc/grafana/provisioning/datasources}
#-            - {name: ldap, mountPath: /etc/grafana/ldap, readOnly: true}

# Deployment/grafana
policy_data := {
 "annotations": {},
 "containers": {
  "grafana": {
   "args": ["/casemate/bin/launch","grafana","--","/run.sh"],
   "capabilities": "default",
   "cwd": "/usr/share/grafana",
   "env": [
    "PATH=/usr/share/grafana/bin:/usr/bin:/bin",
    "GF_PATHS_DATA=/var/lib/grafana",
    "GF_SECURITY_ADMIN_USER=admin",
    "GF_SECURITY_ADMIN_PASSWORD__FILE=/casemate/secrets/grafana-admin",
    "GF_SERVER_ROOT_URL=https://$(HOST)/",
    "HOST=grafana.example.com"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/grafana/grafana:11.1.0@sha256:81f69ab6",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/lib/grafana","copied","grafana","rw"],
    ["/etc/grafana/ldap","memory","casemate-files-ldap","ro"],
    ["/etc/grafana/provisioning/datasources","memory","casemate-files-datasources","ro"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [472,0,[0,472]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["datasources","ldap"]},
 "hostname": "^grafana-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [65535,65535,[65535,0,472]],
 "pidns": false,
 "pod": "^grafana-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["grafana"],
 "sysctl": {},
 "volume_options": {"memory":["fsgid=472"]}
}
