# CronJob/nightly-report is `nightly-report`
#   `automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it to true if the program calls Kubernetes
#   `enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to true if the program finds Services by their variables
#   container `report` runs as root: with CAP_SETUID it can become the mesh's user and ask for Evidence in its place
# resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another
#-            image: python:3.12-slim
#-            command: ["python3", "-c"]

# CronJob/nightly-report
policy_data := {
 "annotations": {},
 "containers": {
  "report": {
   "args": [
    "/casemate/bin/launch",
    "report",
    "--",
    "python3",
    "-c",
    "import os, sys\n\n# The day before yesterday is complete by now.\nprint(\"report for\", os.environ[\"REGION\"], file=sys.stderr)\n"
   ],
   "capabilities": "default",
   "cwd": "/",
   "env": ["PATH=/usr/local/bin:/usr/bin:/bin","PYTHON_VERSION=3.12.4","REGION=eu-central","PYTHONUNBUFFERED=1"],
   "env_from": {"HOSTNAME":"hostname"},
   "image": "docker.io/library/python:3.12-slim@sha256:beb21b1f",
   "mounts": [["/casemate","memory","casemate","ro"],["/dev/termination-log","copied","termination-log","rw"]],
   "no_new_privileges": false,
   "readonly_root": false,
   "terminal": false,
   "user": [0,0,[0]]
  }
 },
 "copies": {"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":[]},
 "hostname": "^nightly-report-[0-9]{8,9}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "logs": true,
 "namespace": "default",
 "pidns": false,
 "pod": "^nightly-report-[0-9]{8,9}-[a-z0-9]{5}$",
 "services": ["KUBERNETES"],
 "signals": ["report"],
 "sysctl": {},
 "volume_options": {"memory":[]}
}
