# StatefulSet/prometheus is `prometheus`
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 9090 (readinessProbe of container `prometheus`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "9090"` to open it to everybody without TLS
#   its guest needs 256 overhead + 1024 prometheus + 64 casemate-mesh = 1344 MiB: `prometheus` requests less than its limit, and the limit counts
#   volume `db`: what is in the claim is the host's word
#-    metadata: {labels: {app: prometheus}}
#-          image: quay.io/prometheus/prometheus:v2.53.1
#-          readinessProbe: {httpGet: {path: /-/ready, port: web}}
#-          livenessProbe: {httpGet: {path: /-/healthy, port: web}}
#-            - {name: config, mountPath: /etc/prometheus}

# StatefulSet/prometheus
policy_data := {
 "annotations": {},
 "containers": {
  "prometheus": {
   "args": [
    "/casemate/bin/launch",
    "prometheus",
    "--",
    "/bin/prometheus",
    "--config.file=/etc/prometheus/prometheus.yml",
    "--storage.tsdb.path=/prometheus",
    "--storage.tsdb.retention.time=15d",
    "--web.enable-lifecycle"
   ],
   "capabilities": "default",
   "cwd": "/prometheus",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "quay.io/prometheus/prometheus:v2.53.1@sha256:d197155d",
   "mounts": [
    ["/prometheus","copied","prometheus","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/etc/prometheus","memory","casemate-files-config","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/var/run/secrets/kubernetes.io/serviceaccount","copied","serviceaccount","ro"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [65530,65530,[65530]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["config","serviceaccount"]},
 "hostname": "^prometheus-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "monitoring",
 "pause_user": [65530,65530,[65530]],
 "pidns": false,
 "pod": "^prometheus-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["prometheus"],
 "sysctl": {},
 "volume_options": {"memory":["fsgid=65530"]}
}
