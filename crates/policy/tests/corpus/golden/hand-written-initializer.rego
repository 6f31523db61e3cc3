# Pod/own-init is `own-init`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   init container `attest` is the pod's initializer, with the volume `trust`
#   container `fetch` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `app` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# Deployment/by-name is `by-name`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   container `casemate-initializer`: `mountPath: /casemate/` became `/casemate`, which is the same
#   volume `keys` of the initializer got `medium: Memory`: it holds the pod's key
#   init container `casemate-initializer` is the pod's initializer, with the volume `keys`
#   container `app` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: own-init}
#-      image: ghcr.io/casemate/casemate-pod:0
#-      volumeMounts: [{name: trust, mountPath: /casemate}]
#-      image: busybox:1.36
#-      command: [fetch, --cert, /casemate/tls-config/cert.pem]
#-      image: python:3.12-slim
#-        - {name: settings, mountPath: /etc/app}
#-    metadata: {labels: {app: by-name}}
#-          image: ghcr.io/casemate/casemate-pod:0
#-          args: [initializer]
#-          volumeMounts: [{name: keys, mountPath: /casemate/}]
#-        - {name: app, image: "httpd:2.4", resources: {limits: {memory: 64Mi}}}
#-          emptyDir: {}

# Pod/own-init
policy_data := {
 "annotations": {},
 "containers": {
  "app": {
   "args": ["/casemate/bin/launch","--after=fetch","app","--","python3"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PYTHON_VERSION=3.12.4"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/python:3.12-slim@sha256:beb21b1f",
   "mounts": [
    ["/casemate","memory","trust","ro"],
    ["/casemate-done","memory","casemate-done","ro"],
    ["/etc/app","memory","casemate-files-settings","ro"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "attest": {
   "args": ["/casemate-pod","initializer"],
   "capabilities": ["CHOWN","DAC_OVERRIDE","FOWNER","NET_ADMIN"],
   "cwd": "/",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","COORDINATOR_HOST=coordinator.trust"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "ghcr.io/casemate/casemate-pod:0@sha256:038f7b96",
   "mounts": [
    ["/casemate","memory","trust","rw"],
    ["/casemate-files/settings","memory","casemate-files-settings","rw"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/casemate-in/podinfo/initdata","copied","initdata","ro"],
    ["/casemate-in/files/settings","copied","settings","ro"]
   ],
   "no_new_privileges": true,
   "readonly_root": true,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "fetch": {
   "args": ["/casemate/bin/launch","--mark","fetch","--","fetch","--cert","/casemate/tls-config/cert.pem"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/casemate","memory","trust","ro"],["/casemate-done","memory","casemate-done","rw"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["settings"]},
 "hostname": "^own-init$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^own-init$",
 "services": ["KUBERNETES"],
 "signals": ["fetch","app"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}

# Deployment/by-name
policy_data := {
 "annotations": {},
 "containers": {
  "app": {
   "args": ["/casemate/bin/launch","app","--","httpd-foreground"],
   "capabilities": "default",
   "cwd": "/usr/local/apache2",
   "env": ["PATH=/usr/local/apache2/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/httpd:2.4@sha256:53373706",
   "mounts": [["/casemate","memory","keys","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^by-name-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^by-name-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["app"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
