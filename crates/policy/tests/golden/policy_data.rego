policy_data := {
 "namespace": "default",
 "pod": "^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname": "^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$",
 "hostname_is_fixed": false,
 "pidns": false,
 "services": ["KUBERNETES"],
 "signals": ["server"],
 "logs": true,
 "copies": {"files":["hostname","hosts","resolv.conf","termination-log"],"trees":["digits","podinfo"]},
 "annotations": {},
 "sysctl": {},
 "volume_options": {"memory":[]},
 "containers": {
  "casemate-initializer": {
   "image": "localhost:5000/casemate-pod:0@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe",
   "args": ["/casemate-pod","initializer"],
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "cwd": "/",
   "user": [0,0,[0]],
   "capabilities": ["CHOWN","DAC_OVERRIDE","FOWNER","NET_ADMIN"],
   "no_new_privileges": true,
   "terminal": false,
   "readonly_root": true,
   "mounts": [
    ["/casemate","memory","casemate","rw"],
    ["/casemate-in/podinfo","copied","podinfo","ro"],
    ["/casemate-files/digits","memory","casemate-files-digits","rw"],
    ["/dev/termination-log","copied","termination-log","rw"],
    ["/casemate-in/files/digits","copied","digits","ro"]
   ]
  },
  "casemate-mesh": {
   "image": "localhost:5000/casemate-pod:0@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe",
   "args": ["/casemate-pod","mesh"],
   "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
   "env_from": {"HOSTNAME":"hostname"},
   "cwd": "/",
   "user": [0,0,[0]],
   "capabilities": ["NET_ADMIN","SETGID","SETPCAP","SETUID"],
   "no_new_privileges": true,
   "terminal": false,
   "readonly_root": true,
   "mounts": [["/casemate","memory","casemate","rw"],["/casemate-in/podinfo","copied","podinfo","ro"],["/dev/termination-log","copied","termination-log","rw"]]
  },
  "server": {
   "image": "localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b969650ca76e18186f703bb21214c62baa552ab295",
   "args": [
    "/casemate/bin/launch",
    "server",
    "--",
    "/casemate-serve",
    "--model",
    "/models/digits.onnx.sealed",
    "--key-file",
    "/casemate/secrets/digits-model-key",
    "--labels",
    "/etc/digits/labels.txt",
    "--listen",
    "0.0.0.0:8080"
   ],
   "env": ["PATH=/","LOG_LEVEL=info"],
   "env_from": {"HOSTNAME":"hostname"},
   "cwd": "/",
   "user": [65532,65532,[65532]],
   "capabilities": [],
   "no_new_privileges": true,
   "terminal": false,
   "readonly_root": true,
   "mounts": [["/casemate","memory","casemate","ro"],["/etc/digits","memory","casemate-files-digits","ro"],["/dev/termination-log","copied","termination-log","rw"]]
  }
 }
}
