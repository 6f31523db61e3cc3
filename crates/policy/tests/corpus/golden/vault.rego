# StatefulSet/vault is `vault`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 8200 stays closed: no Service among the inputs leads to it
#   port 8201 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `vault` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#-    metadata: {labels: {component: server}}
#-          image: hashicorp/vault:1.17
#-          command: ["/bin/sh", "-ec"]
#-            - {name: config, mountPath: /vault/config}

# StatefulSet/vault
policy_data := {
 "annotations": {},
 "containers": {
  "vault": {
   "args": ["/casemate/bin/launch","vault","--","/bin/sh","-ec","exec vault server -config=/vault/config/server.hcl"],
   "capabilities": ["CHOWN","DAC_OVERRIDE","FSETID","FOWNER","MKNOD","NET_RAW","SETGID","SETUID","SETFCAP","SETPCAP","NET_BIND_SERVICE","SYS_CHROOT","KILL","AUDIT_WRITE","IPC_LOCK"],
   "cwd": "/",
   "env": ["PATH=/bin:/usr/bin","SKIP_CHOWN=true","HOME=/home/vault"],
   "env_from": {"HOSTNAME":"pod-name"},
   "image": "docker.io/hashicorp/vault:1.17@sha256:d90be353",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/vault/file","copied","file","rw"],
    ["/vault/logs","local","logs","rw"],
    ["/vault/config","memory","casemate-files-config","ro"],
    ["/home/vault","local","home","rw"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": true,
   "readonly_root": false,
   "terminal": false,
   "user": [100,1000,[1000]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["config"]},
 "hostname": "^vault-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "vault",
 "pause_user": [100,1000,[1000]],
 "pidns": false,
 "pod": "^vault-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["vault"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777","fsgid=1000"],"memory":["fsgid=1000"]}
}
