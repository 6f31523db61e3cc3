# Deployment/login is `login`
#   reads the secrets keycloak-db
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8080 stays closed: no Service among the inputs leads to it
#   port 9000 (readinessProbe of container `keycloak`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "9000"` to open it to everybody without TLS
#   its guest needs 256 overhead + 1500 keycloak + 64 casemate-mesh = 1820 MiB: `keycloak` requests less than its limit, and the limit counts
#-        image: keycloak/keycloak:25.0
#-          httpGet: {path: /health/ready, port: management}

# Deployment/login
policy_data := {
 "annotations": {},
 "containers": {
  "keycloak": {
   "args": ["/casemate/bin/launch","keycloak","--","/opt/keycloak/bin/kc.sh","start","--optimized","--http-enabled=true","--proxy-headers=xforwarded"],
   "capabilities": "default",
   "cwd": "/",
   "env": [
    "PATH=/usr/bin:/bin",
    "LANG=en_US.UTF-8",
    "KC_HOSTNAME=login.example.com",
    "KC_DB_PASSWORD_FILE=/casemate/secrets/keycloak-db",
    "JAVA_OPTS_APPEND=-Djgroups.dns.query=login-headless.$(NS)",
    "NS=identity"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/keycloak/keycloak:25.0@sha256:44043001",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^login-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "identity",
 "pidns": false,
 "pod": "^login-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["keycloak"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
