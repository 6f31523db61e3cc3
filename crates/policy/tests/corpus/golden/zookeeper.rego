# StatefulSet/zk is `zk`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 2181 stays closed: no Service among the inputs leads to it
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `zookeeper` says nothing of memory and counts as none
#   volume `data`: what is in the claim is the host's word
#   container `zookeeper` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-      "metadata": {"labels": {"app": "zk"}},
#-            "image": "zookeeper:3.9",
#-              {"name": "logs", "mountPath": "/logs"}
#-            ]
#-        "volumes": [{"name": "log", "emptyDir": {}}, {"name": "logs", "emptyDir": {}}]

# StatefulSet/zk
policy_data := {
 "annotations": {},
 "containers": {
  "zookeeper": {
   "args": ["/casemate/bin/launch","zookeeper","--","/docker-entrypoint.sh","zkServer.sh","start-foreground"],
   "capabilities": "default",
   "cwd": "/apache-zookeeper",
   "env": ["PATH=/opt/java/bin:/usr/bin:/bin","ZOO_DATA_DIR=/data","ZOO_4LW_COMMANDS_WHITELIST=srvr, mntr","ZOO_SERVERS=server.1=zk-0.zk:2888:3888;2181 server.2=zk-1.zk:2888:3888;2181"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/zookeeper:3.9@sha256:c1581751",
   "mounts": [
    ["/data","copied","data","rw"],
    ["/datalog","local","log","rw"],
    ["/logs","local","logs","rw"],
    ["/casemate","memory","casemate","ro"],
    ["/dev/termination-log","copied","termination-log","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^zk-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^zk-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["zookeeper"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
