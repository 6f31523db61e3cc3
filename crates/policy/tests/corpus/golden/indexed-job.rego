# Job/render is `render`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   a pod has one index in its name, its host name and its variables; the host chooses which indexes run, and may run one again or leave one out
#   container `renderer` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#   container `uploader` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# CronJob/sweep is `sweep`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   a pod has one index in its name, its host name and its variables; the host chooses which indexes run, and may run one again or leave one out
#   container `sweep` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
#-        image: busybox:1.36
#-        command: [sh, -c, 'exec render --chunk="$JOB_COMPLETION_INDEX"']
#-        image: httpd:2.4
#-            image: busybox:1.36
#-            command: [sh, -c, 'sweep "$(JOB_COMPLETION_INDEX)"']

# Job/render
policy_data := {
 "annotations": {},
 "completions": 240,
 "containers": {
  "renderer": {
   "args": ["/casemate/bin/launch","renderer","--","sh","-c","exec render --chunk=\"$JOB_COMPLETION_INDEX\"","--index=$(index)","--peer=render-0.render"],
   "args_from": {"6":"^\\-\\-index=$(index)$"},
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname","JOB_COMPLETION_INDEX":"index","OUTPUT":"^chunk\\-$(index)\\.exr$","SHARD":"index"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  },
  "uploader": {
   "args": ["/casemate/bin/launch","uploader","--","httpd-foreground"],
   "capabilities": "default",
   "cwd": "/usr/local/apache2",
   "env": ["PATH=/usr/local/apache2/bin:/usr/bin:/bin","JOB_COMPLETION_INDEX=unused"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/httpd:2.4@sha256:53373706",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^render-([0-9]|[1-9][0-9]|(1[0-9]{2}|2[0-3][0-9]))$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "studio",
 "pidns": false,
 "pod": "^render-([0-9]|[1-9][0-9]|(1[0-9]{2}|2[0-3][0-9]))-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["renderer","uploader"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}

# CronJob/sweep
policy_data := {
 "annotations": {},
 "completions": 10,
 "containers": {
  "sweep": {
   "args": ["/casemate/bin/launch","sweep","--","sh","-c","sweep \"$(index)\""],
   "args_from": {"5":"^sweep \"$(index)\"$"},
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/bin"],
   "env_from": {"HOSTNAME":"hostname","JOB_COMPLETION_INDEX":"index"},
   "image": "docker.io/library/busybox:1.36@sha256:231568d3",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^sweep-[0-9]{8,9}-[0-9]$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "studio",
 "pidns": false,
 "pod": "^sweep-[0-9]{8,9}-[0-9]-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["sweep"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
