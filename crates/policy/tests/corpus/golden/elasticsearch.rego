# StatefulSet/search is `search`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 9200 stays closed: no Service among the inputs leads to it
#   volume `data`: what is in the claim is the host's word
#   sysctl `net.ipv4.tcp_retries2` is one that Kubernetes calls unsafe: the pod starts only on nodes whose kubelet allows it
#   sysctl `net.core.somaxconn` is one that Kubernetes calls unsafe: the pod starts only on nodes whose kubelet allows it
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: search}}
#-          image: elasticsearch:8.14.3

# StatefulSet/search
policy_data := {
 "annotations": {},
 "containers": {
  "elasticsearch": {
   "args": ["/casemate/bin/launch","elasticsearch","--","/bin/tini","--","/usr/local/bin/docker-entrypoint.sh","eswrapper"],
   "capabilities": "default",
   "cwd": "/usr/share/elasticsearch",
   "env": [
    "PATH=/usr/share/elasticsearch/bin:/usr/bin:/bin",
    "ELASTIC_CONTAINER=true",
    "discovery.type=single-node",
    "ES_JAVA_OPTS=-Xms512m -Xmx512m -XX:+UseG1GC",
    "cluster.name=it's \"quoted\""
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/elasticsearch:8.14.3@sha256:9f25caf7",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"],["/usr/share/elasticsearch/data","copied","data","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,1000,[1000,1500]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^search-[0-9]{1,6}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause_user": [65535,65535,[65535,1000]],
 "pidns": false,
 "pod": "^search-[0-9]{1,6}$",
 "services": ["KUBERNETES"],
 "signals": ["elasticsearch"],
 "sysctl": {"net.core.somaxconn":"1024","net.ipv4.tcp_retries2":"5"},
 "volume_options": {"memory":["fsgid=1000"]}
}
