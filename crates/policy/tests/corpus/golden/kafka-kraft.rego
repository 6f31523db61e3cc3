# StatefulSet/kafka is `kafka`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   port 9092 stays closed: no Service among the inputs leads to it
#   port 9093 stays closed: no Service among the inputs leads to it
#   volume `data`: what is in the claim is the host's word
#-    metadata: {labels: {app: kafka}}
#-          image: apache/kafka:3.8.0

# StatefulSet/kafka
policy_data := {
 "annotations": {},
 "containers": {
  "kafka": {
   "args": ["/casemate/bin/launch","kafka","--","/etc/kafka/docker/run"],
   "capabilities": "default",
   "cwd": "/",
   "env": [
    "PATH=/opt/java/bin:/usr/bin:/bin",
    "KAFKA_NODE_ID=1",
    "KAFKA_PROCESS_ROLES=broker,controller",
    "KAFKA_LISTENERS=PLAINTEXT://:9092,CONTROLLER://:9093",
    "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://kafka.streams.svc:9092",
    "KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093",
    "KAFKA_HEAP_OPTS=-Xms256m -Xmx512m"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/apache/kafka:3.8.0@sha256:4f8b301a",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/etc/kafka/secrets","memory","secrets","rw"],
    ["/mnt/shared/config","local","shared","rw"],
    ["/var/lib/kafka/data","copied","data","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,1000,[1000,2000,3000]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^kafka-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "streams",
 "pause_user": [1000,0,[0,2000,3000,1000]],
 "pidns": false,
 "pod": "^kafka-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["kafka"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777","fsgid=1000"],"memory":["fsgid=1000"]}
}
