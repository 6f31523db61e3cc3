# Deployment/site is `site`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8080 (Service `site`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#8080#false` to demand one of the mesh
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `nginx` says nothing of memory and counts as none
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-      - image: nginxinc/nginx-unprivileged:1.27
#-          httpGet: {path: /healthz, port: http}
#-        - name: conf
#-        - name: html

# Deployment/site
policy_data := {
 "annotations": {},
 "containers": {
  "nginx": {
   "args": ["/casemate/bin/launch","nginx","--","/docker-entrypoint.sh","nginx","-g","daemon off;"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/nginxinc/nginx-unprivileged:1.27@sha256:2c49bd3b",
   "mounts": [
    ["/tmp","local","tmp","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/etc/nginx/conf.d","memory","casemate-files-conf","ro"],
    ["/usr/share/nginx/html","memory","casemate-files-html","ro"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [101,101,[101]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["conf","html"]},
 "hostname": "^site-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^site-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["nginx"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
