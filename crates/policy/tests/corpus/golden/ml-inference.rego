# Deployment/summarise is `summarise`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8000 (Service `summarise`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/servicemesh-ingress: http#8000#false` to demand one of the mesh
#   its guest needs 256 overhead + 6144 serve + 64 casemate-mesh = 6464 MiB: `fetch-model` says nothing of memory and counts as none; `serve` requests less than its limit, and the limit counts
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-          image: registry.example.com/ml/serve:1.8
#-          volumeMounts: [{name: models, mountPath: /models}]
#-          image: registry.example.com/ml/serve:1.8
#-          startupProbe: {httpGet: {path: /v1/health, port: http}, failureThreshold: 60, periodSeconds: 5}

# Deployment/summarise
policy_data := {
 "annotations": {},
 "containers": {
  "fetch-model": {
   "args": ["/casemate/bin/launch","--mark","fetch-model","--","python3","-m","serve","fetch","--from","s3://models/summarise/v3","--to","/models","--verify"],
   "capabilities": "default",
   "cwd": "/srv",
   "env": ["PATH=/opt/venv/bin:/usr/bin:/bin","HF_HOME=/models"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/ml/serve:1.8@sha256:b056eaa1",
   "mounts": [
    ["/models","local","models","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/casemate-done","memory","casemate-done","rw"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1500,1500,[1500]]
  },
  "serve": {
   "args": ["/casemate/bin/launch","--after=fetch-model","serve","--","python3","-m","serve","--model-dir=/models","--threads=4","--port=8000"],
   "capabilities": "default",
   "cwd": "/srv",
   "env": ["PATH=/opt/venv/bin:/usr/bin:/bin","HF_HOME=/models"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "registry.example.com/ml/serve:1.8@sha256:b056eaa1",
   "mounts": [
    ["/models","local","models","ro"],
    ["/tmp","memory","tmp","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/casemate-done","memory","casemate-done","ro"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1500,1500,[1500]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^summarise-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^summarise-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["fetch-model","serve"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
