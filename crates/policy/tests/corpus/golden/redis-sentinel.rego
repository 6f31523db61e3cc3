# StatefulSet/redis-node is `redis-node`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 6379 stays closed: no Service among the inputs leads to it
#   port 26379 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `redis`, `sentinel` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#   container `redis` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `sentinel` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: redis}}
#-          image: redis:7.2-bookworm
#-          command: [/bin/sh, /opt/scripts/start-node.sh]
#-            - {name: scripts, mountPath: /opt/scripts}
#-          image: redis:7.2-bookworm
#-          command: [redis-sentinel, /opt/sentinel/sentinel.conf]
#-            - {name: sentinel-conf, mountPath: /opt/sentinel}

# StatefulSet/redis-node
policy_data := {
 "annotations": {},
 "containers": {
  "redis": {
   "args": ["/casemate/bin/launch","redis","--","/bin/sh","/opt/scripts/start-node.sh"],
   "capabilities": "default",
   "cwd": "/data",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/redis:7.2-bookworm@sha256:b3e0b242",
   "mounts": [
    ["/data","copied","data","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/opt/scripts","memory","casemate-files-scripts","ro"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0,1001]]
  },
  "sentinel": {
   "args": ["/casemate/bin/launch","sentinel","--","redis-sentinel","/opt/sentinel/sentinel.conf"],
   "capabilities": "default",
   "cwd": "/data",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/redis:7.2-bookworm@sha256:b3e0b242",
   "mounts": [
    ["/data","local","sentinel-data","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/opt/sentinel","memory","casemate-files-sentinel-conf","ro"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0,1001]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["scripts","sentinel-conf"]},
 "hostname": "^redis-node-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [65535,65535,[65535,1001]],
 "pidns": false,
 "pod": "^redis-node-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["redis","sentinel"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777","fsgid=1001"],"memory":["fsgid=1001"]}
}
