# Deployment/grafana is `grafana`
#   reads the secrets grafana-admin
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   port 3000 (readinessProbe of container `grafana`): TLS ends in the pod, callers need no certificate; annotate the pod with `casemate.dev/open-ports: "3000"` to open it to everybody without TLS
#   its guest needs 256 overhead + 256 grafana + 64 casemate-mesh = 576 MiB: `grafana` requests less than its limit, and the limit counts
#   volume `storage`: what is in the claim is the host's word
#   container `grafana`: a Secret in a variable stands in the policy, where the operator can read it; `casemate secret put` keeps one from the operator
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-    metadata: {labels: {app: grafana}}
#-          image: grafana/grafana:11.1.0
#-          readinessProbe: {httpGet: {path: /api/health, port: 3000, scheme: HTTP}}
#-            - {name: datasources, mountPath: /etc/grafana/provisioning/datasources}
#-            - {name: ldap, mountPath: /etc/grafana/ldap, readOnly: true}

# Deployment/grafana
policy_data := {
 "containers": {
  "grafana": {
   "annotations": {"io.kubernetes.cri.container-name":"grafana"},
   "args": ["/casemate/bin/launch","grafana","--","/run.sh"],
   "capabilities": [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE"
   ],
   "cwd": "/usr/share/grafana",
   "env": [
    "PATH=/usr/share/grafana/bin:/usr/bin:/bin",
    "GF_PATHS_DATA=/var/lib/grafana",
    "GF_SECURITY_ADMIN_USER=admin",
    "GF_SECURITY_ADMIN_PASSWORD__FILE=/casemate/secrets/grafana-admin",
    "GF_SERVER_ROOT_URL=https://$(HOST)/",
    "HOST=grafana.example.com"
   ],
   "env_from": {"HOSTNAME":"hostname"},
   "images": [
    "docker.io/grafana/grafana:11.1.0@sha256:81f69ab6",
    "docker.io/grafana/grafana@sha256:81f69ab6"
   ],
   "mounts": [
    {"destination":"/casemate","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate","type_":"bind"},
    {"destination":"/etc/hostname","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-hostname","type_":"bind"},
    {"destination":"/etc/resolv.conf","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"},
    {"destination":"/var/lib/grafana","options":["rbind","rprivate","rw"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-grafana","type_":"bind"},
    {"destination":"/etc/grafana/ldap","options":["rbind","rprivate","ro"],"source":"/run/kata-containers/sandbox/ephemeral/casemate-files-ldap","type_":"bind"},
    {
     "destination": "/etc/grafana/provisioning/datasources",
     "options": ["rbind","rprivate","ro"],
     "source": "/run/kata-containers/sandbox/ephemeral/casemate-files-datasources",
     "type_": "bind"
    }
   ],
   "no_new_privileges": false,
   "readonly_root": false,
   "storages": [
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-datasources","options":["fsgid=472"],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate-files-ldap","options":["fsgid=472"],"source":"tmpfs"},
    {"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/ephemeral/casemate","options":["fsgid=472"],"source":"tmpfs"}
   ],
   "terminal": false,
   "type": "container",
   "user": {"AdditionalGids":[0,472],"GID":0,"UID":472}
  }
 },
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["datasources","ldap","podinfo"]},
 "hostname": "^grafana-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pause": {
  "annotations": {},
  "args": ["/pause"],
  "capabilities": [
   "CAP_CHOWN",
   "CAP_DAC_OVERRIDE",
   "CAP_FSETID",
   "CAP_FOWNER",
   "CAP_MKNOD",
   "CAP_NET_RAW",
   "CAP_SETGID",
   "CAP_SETUID",
   "CAP_SETFCAP",
   "CAP_SETPCAP",
   "CAP_NET_BIND_SERVICE",
   "CAP_SYS_CHROOT",
   "CAP_KILL",
   "CAP_AUDIT_WRITE"
  ],
  "cwd": "/",
  "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
  "env_from": {},
  "mounts": [
   {"destination":"/etc/resolv.conf","options":["rbind","ro","nosuid","nodev","noexec"],"source":"/run/kata-containers/shared/containers/$(cid)-$(rand)-resolv.conf","type_":"bind"}
  ],
  "no_new_privileges": true,
  "readonly_root": true,
  "storages": [],
  "sysctl": {},
  "terminal": false,
  "type": "sandbox",
  "user": {"AdditionalGids":[65535],"GID":65535,"UID":65535}
 },
 "pidns": false,
 "pod": "^grafana-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "sandbox_storages": [{"driver":"ephemeral","fstype":"tmpfs","mount_point":"/run/kata-containers/sandbox/shm","options":["noexec","nosuid","nodev","mode=1777","size=67108864"],"source":"shm"}],
 "services": ["KUBERNETES"],
 "signals": ["grafana"]
}
