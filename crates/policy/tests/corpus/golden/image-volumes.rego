# Pod/volumes is `volumes`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   container `redis`: at the image's VOLUME `/data` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   container `kafka`: at the image's VOLUME `/etc/kafka/secrets` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   container `kafka`: at the image's VOLUME `/mnt/shared/config` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   container `kafka`: at the image's VOLUME `/var/lib/kafka/data` is an `emptyDir` of the guest, so that the host mounts nothing there; what the image has there is hidden, and what is written there ends with the pod; mount a volume there to have another
#   its guest needs 256 overhead + 64 casemate-mesh = 320 MiB: `redis`, `kafka` says nothing of memory and counts as none
#   container `redis` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-metadata: {name: volumes}
#-    - {name: redis, image: "redis:7.2-bookworm"}
#-    - {name: kafka, image: "apache/kafka:3.8.0"}

# Pod/volumes
policy_data := {
 "annotations": {},
 "containers": {
  "kafka": {
   "args": ["/casemate/bin/launch","kafka","--","/etc/kafka/docker/run"],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/opt/java/bin:/usr/bin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/apache/kafka:3.8.0@sha256:4f8b301a",
   "mounts": [
    ["/casemate","memory","casemate","ro"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/etc/kafka/secrets","local","casemate-image-volume-2","rw"],
    ["/mnt/shared/config","local","casemate-image-volume-3","rw"],
    ["/var/lib/kafka/data","local","casemate-image-volume-4","rw"]
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [1000,1000,[1000]]
  },
  "redis": {
   "args": ["/casemate/bin/launch","redis","--","docker-entrypoint.sh","redis-server"],
   "capabilities": "default",
   "cwd": "/data",
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/redis:7.2-bookworm@sha256:b3e0b242",
   "mounts": [["/data","local","casemate-image-volume-1","rw"],["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^volumes$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^volumes$",
 "services": ["KUBERNETES"],
 "signals": ["redis","kafka"],
 "sysctl": {},
 "volume_options": {"local":["mode=0777"],"memory":[]}
}
