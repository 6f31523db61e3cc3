package agent_policy
import rego.v1
default AllowRequestsFailingPolicy:=false
default DestroySandboxRequest:=true
default GetOOMEventRequest:=true
default GuestDetailsRequest:=true
default OnlineCPUMemRequest:=true
default RemoveStaleVirtiofsShareMountsRequest:=true
default StatsContainerRequest:=true
default WaitProcessRequest:=true
CreateSandboxRequest:=keeping({"sandbox":input.sandbox_id,"hostname":input.hostname}) if {not data.pstate.sandbox
is_id(input.sandbox_id)
regex.match(policy_data.hostname,input.hostname)
is_exactly(input,{"sandbox_pidns":policy_data.pidns},{"sandbox_id","hostname","dns","storages"})
allow_storages({shm_storage},input.storages)}
shm_storage:=["ephemeral","shm","tmpfs",["noexec","nosuid","nodev","mode=1777","size=67108864"],"/run/kata-containers/sandbox/shm"]
UpdateEphemeralMountsRequest if is_exactly(input,{"storages":[]},set())
keeping(values):={"allowed":true,"ops":ops} if {ops:=[{"op":"add","path":path(key),"value":value}|some key,value in values]}
path(key):=concat("",["/pstate/",key])
id_key:=concat(":",["id",cid])
used_key:=concat(":",["used",cid])
started_key:=concat(":",["started",cid])
live_key(name):=concat(":",["live",name])
is_id(id) if regex.match(`^[0-9a-f]{64}$`,id)
is_count(number) if {number>=0
number==floor(number)}
set_of(list):=set if {is_array(list)
set:={item|some item in list}
count(set)==count(list)}
is_exactly(given,values,elsewhere) if {every field,value in values {given[field]==value}
every value in object.remove(given,object.keys(values)|elsewhere) {is_empty(value)}}
is_empty(value) if value in [null,false,0,"",[],{}]
oci:=input.OCI
annotations:=oci.Annotations
cid:=object.get(input,"container_id","")
sandbox:=object.get(data.pstate,"sandbox","")
is_sandbox if {is_id(cid)
cid==sandbox}
live_name:=data.pstate[id_key]
is_known if is_sandbox
is_known if live_name
pause:={"args":["/pause"],"env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"env_from":{},"cwd":"/",
"user":object.get(policy_data,"pause_user",[65535,65535,[65535]]),"capabilities":"default","no_new_privileges":true,"terminal":false,"readonly_root":true,
"mounts":[["/etc/resolv.conf","bind","copied:resolv.conf","rbind,ro,nosuid,nodev,noexec"]]}
CreateContainerRequest:=keeping({"pod":name,"uid":uid}) if {cri("container-type")=="sandbox"
not data.pstate.pod
is_sandbox
name:=cri("sandbox-name")
uid:=cri("sandbox-uid")
regex.match(policy_data.pod,name)
regex.match(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`,uid)
oci.Hostname==data.pstate.hostname
hostname_fits(name)
allow_sandbox_sysctl(oci.Linux.Sysctl)
allow_container(pause,"sandbox",name,uid,{})}
hostname_fits(_) if policy_data.hostname_is_fixed
hostname_fits(name) if data.pstate.hostname==substring(name,0,63)
CreateContainerRequest:=keeping({live_key(name):gpus_of_request,id_key:name,used_key:true}) if {cri("container-type")=="container"
name:=cri("container-name")
container:=policy_data.containers[name]
not data.pstate[live_key(name)]
not data.pstate[used_key]
cid !=sandbox
image:=cri("image-name")
image in images_of(container)
oci.Hostname==""
oci.Linux.Sysctl=={}
allow_container(container,"container",data.pstate.pod,data.pstate.uid,{"container-name":name,"image-name":image})}
images_of(container):={container.image,regex.replace(container.image,`:[^:/@]*@`,"@")}
StartContainerRequest:=keeping({started_key:true}) if {is_known
is_exactly(input,{"container_id":cid},set())}
RemoveContainerRequest:={"allowed":true,"ops":ops} if {is_id(cid)
is_exactly(input,{"container_id":cid},{"timeout"})
ops:=[{"op":"remove","path":path(key)}|some key in [id_key,started_key,live_key(live_name)]
data.pstate[key]]}
SignalProcessRequest if {is_sandbox
is_exactly(input,{"container_id":cid},{"exec_id","signal"})}
SignalProcessRequest if {live_name in policy_data.signals
is_exactly(input,{"container_id":cid},{"exec_id","signal"})}
allow_container(container,type,pod,uid,named) if {is_id(cid)
is_exactly(input,{"container_id":cid,"exec_id":cid,"sandbox_pidns":policy_data.pidns},{"storages","OCI","devices","stdout_port","stderr_port"})
is_exactly(oci,{"Root":{"Path":root_path,"Readonly":container.readonly_root}},{"Version","Process","Hostname","Mounts","Annotations","Linux"})
regex.match(`^1\.[0-9]+\.[0-9]+(-rc\.[0-9]+)?$`,oci.Version)
allow_devices(container)
allow_annotations(container,annotations_of(type,pod,uid,named))
allow_process(container,oci.Process)
allow_mounts(mounts_of(container),oci.Mounts)
allow_storages(storages_of(container),input.storages)
allow_linux(oci.Linux)}
gpus_of_request:=[gpu|some key,gpu in annotations; startswith(key,"cdi.k8s.io/vfio")]
allow_devices(container) if {not container.gpus
is_empty(object.get(input,"devices",[]))}
cri(key):=annotations[concat("",["io.kubernetes.cri.",key])]
annotations_of(type,pod,uid,named):=object.union(object.union(policy_data.annotations,{"io.katacontainers.pkg.oci.container_type":concat("_",["pod",type])}),
{concat("",["io.kubernetes.cri.",key]):value|some key,value in object.union(named,{"container-type":type,"sandbox-id":sandbox,"sandbox-name":pod,
"sandbox-namespace":policy_data.namespace,"sandbox-uid":uid})})
allow_annotations(container,required) if {every key,value in required {annotations[key]==value}
every key,value in object.remove(annotations,object.keys(required)) {allow_annotation(container,key,value)}}
allow_annotation(_,key,value) if regex.match(annotation_patterns[key],value)
annotation_patterns:=object.union({"io.katacontainers.config.hypervisor.cc_init_data":"^",
"io.katacontainers.pkg.oci.bundle_path":concat("",[`^/run/([a-z0-9_.-]+/)*k8s\.io/`,cid,`$`]),"io.kubernetes.cri.podsandbox.image-name":`^[A-Za-z0-9_.:/@-]*$`,
"io.kubernetes.cri.sandbox-log-directory":`^/var/log/pods/[A-Za-z0-9_.-]+$`,"nerdctl/network-namespace":`^(/var)?/run/netns/[A-Za-z0-9-]+$`},
{concat("",["io.kubernetes.cri.sandbox-",key]):`^-?[0-9]+$`|some key in ["cpu-period","cpu-quota","cpu-shares","memory"]})
allow_process(container,process) if {is_exactly(process,{"Terminal":container.terminal,"Cwd":container.cwd,"NoNewPrivileges":container.no_new_privileges},
{"User","Args","Env","Capabilities","ApparmorProfile","OOMScoreAdj"})
allow_args(container,process.Args)
allow_user(container.user,process.User)
allow_env(container,process.Env)
allow_capabilities(capabilities_of(container),process.Capabilities)
process.ApparmorProfile in ["","cri-containerd.apparmor.d"]}
allow_args(container,given) if {not container.args_from
given==container.args}
allow_user([uid,gid,groups],given) if {is_exactly(given,{"UID":uid,"GID":gid},{"AdditionalGids"})
set_of(given.AdditionalGids)==set_of(groups)}
allow_capabilities(capabilities,given) if {is_exactly(given,{},{"Bounding","Effective","Permitted"})
every kind in ["Bounding","Effective","Permitted"] {set_of(given[kind])==capabilities}}
capabilities_of(container):=with_prefix(default_capabilities) if container.capabilities=="default"
capabilities_of(container):=with_prefix(container.capabilities) if is_array(container.capabilities)
with_prefix(names):={concat("",["CAP_",name])|some name in names}
default_capabilities:=["CHOWN","DAC_OVERRIDE","FSETID","FOWNER","MKNOD","NET_RAW","SETGID","SETUID","SETFCAP","SETPCAP","NET_BIND_SERVICE","SYS_CHROOT","KILL","AUDIT_WRITE"]
allow_env(container,given) if {variables:=set_of(given)
names:={variable_name(variable)|some variable in given}
count(names)==count(given)
fixed:=set_of(container.env)
count(fixed - variables)==0
count(object.keys(container.env_from) - names)==0
every variable in variables - fixed {allow_variable(container,variable)}}
variable_name(variable):=substring(variable,0,indexof(variable,"="))
allow_variable(container,variable) if {name:=variable_name(variable)
allow_value(container.env_from[name],substring(variable,count(name) + 1,-1))}
allow_variable(container,variable) if {not container.env_from[variable_name(variable)]
some pattern in service_variables
regex.match(pattern,variable)}
allow_value("hostname",value) if value==data.pstate.hostname
ip:=`([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f]*:[0-9a-f:]*(\.[0-9]{1,3}){0,3})`
service_variables:=[replace(replace(pattern,"<name>",concat("|",policy_data.services)),"<ip>",ip)|some pattern in [
`^(<name>)_(SERVICE_HOST|PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR)=<ip>$`,`^(<name>)_(SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)_PORT)=[0-9]{1,5}$`,
`^(<name>)_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO=(tcp|udp|sctp)$`,`^(<name>)_PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://\[?<ip>\]?:[0-9]{1,5}$`]]
volume_types:={"memory":{"at":"/run/kata-containers/sandbox/ephemeral/","storage":["ephemeral","tmpfs","tmpfs"]},"local":{
"at":concat("",["/run/kata-containers/shared/containers/",sandbox,"/rootfs/local/"]),"storage":["local","local","local"]},"copied":{"at":"copied:"}}
mounts_of(container):={mount_of(mount)|some mount in array.concat(mounts_of_all,array.concat(mounts_of_kubelet(container),container.mounts))}
mount_of([destination,type,name,access]):=[destination,"bind",concat("",[volume_types[type].at,name]),["rbind","rprivate",access]]
mount_of([destination,type,source,options]):=[destination,type,source,split(options,",")] if {not volume_types[type]}
mounts_of_all:=[["/proc","proc","proc","nosuid,noexec,nodev"],["/dev","tmpfs","tmpfs","nosuid,strictatime,mode=755,size=65536k"],
["/dev/pts","devpts","devpts","nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"],["/dev/mqueue","mqueue","mqueue","nosuid,noexec,nodev"],
["/sys","sysfs","sysfs","nosuid,noexec,nodev,ro"],["/dev/shm","bind","/run/kata-containers/sandbox/shm","rbind"]]
mounts_of_kubelet(container):=[["/sys/fs/cgroup","cgroup","cgroup","nosuid,noexec,nodev,relatime,ro"],["/etc/hosts","copied","hosts","rw"],
["/etc/hostname","copied","hostname",access],["/etc/resolv.conf","copied","resolv.conf",access]] if {container.image
access:={true:"ro",false:"rw"}[container.readonly_root]}
mounts_of_kubelet(container):=[] if not container.image
allow_mounts(mounts,given) if {written:=[as_written(mount)|some mount in given]
count(given)==count(mounts)
set_of(written)==mounts
in_order(written)
places:={mount.destination:at|some at,mount in given}
every at,mount in given {parts:=split(mount.destination,"/")
every depth,_ in parts {object.get(places,concat("/",array.slice(parts,0,depth)),-1)<at}}}
in_order(written) if {name:=cri("container-name")
own:=[mount_of(mount)|some mount in policy_data.containers[name].mounts]
[mount|some mount in written; mount in own]==own}
in_order(_) if cri("container-type")=="sandbox"
as_written(mount):=[mount.destination,mount.type_,source_of(mount.source),options_of(mount)] if count(mount)==4
source_of(source):=regex.replace(source,concat("",["^/run/kata-containers/shared/containers/",cid,"-[0-9a-f]{16}-"]),"copied:") if {not startswith(source,"copied:")}
options_of(mount):=options if {set_of(mount.options)
options:=[option|some option in mount.options; not is_newer(mount.type_,option)]}
is_newer("cgroup",option) if option in ["nsdelegate","memory_recursiveprot"]
storages_of(container):={root_storage}|{storage_of(mount)|some mount in container.mounts}
root_storage:=["image_guest_pull",object.get(annotations,"io.kubernetes.cri.image-name","pause"),"overlay",[],root_path]
root_path:=concat("",["/run/kata-containers/",cid,"/rootfs"])
storage_of([_,type,name,_]):=array.concat(volume_types[type].storage,[policy_data.volume_options[type],concat("",[volume_types[type].at,name])])
allow_storages(storages,given) if {count(given)==count(storages)
{[one.driver,one.source,one.fstype,one.options,one.mount_point]|some one in given}==storages
every one in given {is_exactly(one,{},{"driver","source","fstype","options","mount_point","driver_options"})
allow_driver_options(one.driver,one.driver_options)}}
allow_driver_options(driver,[]) if driver !="image_guest_pull"
allow_driver_options("image_guest_pull",options) if {count(options)==1
startswith(options[0],"image_guest_pull=")
pull:=json.unmarshal(trim_prefix(options[0],"image_guest_pull="))
is_exactly(pull,{},{"metadata"})
pull.metadata["io.kubernetes.cri.container-type"]
every key,value in pull.metadata {allow_metadata(key,value)}}
allow_metadata(key,value) if annotations[key]==value
allow_metadata(key,_) if {not annotations[key]
startswith(key,"containerd.io/")}
allow_linux(linux) if {is_exactly(linux,{},{"Namespaces","MaskedPaths","ReadonlyPaths","CgroupsPath","Resources","Sysctl"})
set_of(linux.Namespaces)==namespaces
set_of(linux.MaskedPaths) - masked_paths_of_newer_hosts==masked_paths
set_of(linux.ReadonlyPaths)==readonly_paths
regex.match(concat("",[`^/?kubepods[a-z0-9_.:/-]*[/:]`,cid,"$"]),linux.CgroupsPath)
not contains(linux.CgroupsPath,"..")
is_exactly(linux.Resources,{},{"Memory","CPU"})}
namespaces:={{"Type":"ipc","Path":""},{"Type":"uts","Path":""},{"Type":"mount","Path":""}}
masked_paths:={"/proc/acpi","/proc/asound","/proc/kcore","/proc/keys","/proc/latency_stats",
"/proc/sched_debug","/proc/scsi","/proc/timer_list","/proc/timer_stats","/sys/firmware"}
masked_paths_of_newer_hosts:={"/proc/interrupts","/sys/devices/virtual/powercap"}
readonly_paths:={"/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"}
allow_sandbox_sysctl(given) if {every key,value in policy_data.sysctl {given[key]==value}
every key,value in given {object.union(sysctls_of_newer_hosts,policy_data.sysctl)[key]==value}}
sysctls_of_newer_hosts:={"net.ipv4.ip_unprivileged_port_start":"0","net.ipv4.ping_group_range":"0 2147483647"}
CopyFileRequest:=keeping(kept) if {copied:="/run/kata-containers/shared/containers/"
startswith(input.path,copied)
parts:=split(trim_prefix(input.path,copied),"/")
stays_below(parts)
regex.match(`^[0-9a-f]{64}-[0-9a-f]{16}-`,parts[0])
every field in ["file_mode","file_size","offset","uid","gid"] {is_count(object.get(input,field,0))}
object.get(input,"dir_mode",0) in copy_dir_modes
is_array(object.get(input,"data",[]))
count(copied_types)==1
some type in copied_types
kept:=copy_of(type,substring(parts[0],82,-1),parts)
is_exactly(input,{},{"path","file_size","file_mode","file_type","dir_mode","uid","gid","offset","data","symlink_src","symlink_target"})}
copy_dir_modes:=[2147484136,16872,0]
copied_types contains type if {type:=object.get(input,"file_type","")
not is_empty(type)}
copied_types contains object.get(types_of_modes,format_int(bits,10),"no type that is copied") if {bits:=floor(object.get(input,"file_mode",0) / 4096)
bits !=0}
types_of_modes:={"4":"Directory","8":"Regular","10":"Symlink"}
copy_of("Regular",base,parts):={key:true} if {count(parts)==1
base in policy_data.copies.files
is_plain_file
object.get(input,"offset",0)==0
key:=concat(":",["copied",substring(parts[0],0,81)])
not data.pstate[key]}
is_plain_file if {count(link_targets)==0
object.get(input,"file_mode",0) % 4096<512}
stays_below(parts) if {every part in parts {not part in ["",".",".."]}}
link_targets contains target if {some field in ["symlink_src","symlink_target"]
target:=object.get(input,field,"")
not is_empty(target)}
network:={"interface":[{"name":device,"device":device,"hwAddr":station,"mtu":frame},{"raw_flags":[0,128],"devicePath":bus_path,"pciPath":bus_path,"type":link,"type_":link}],
"address":[{"address":address,"family":[0,1],"mask":`^[0-9]{1,3}$`},{}],"route":[{"device":device,"dest":destination,"scope":[0,253],"family":[0,1]},
{"gateway":address,"source":address,"flags":[0,4],"mtu":frame}],"neighbor":[{"device":device,"lladdr":station,"state":[2,128]},{"flags":[0,8,128,136]}],
"neighbor_address":[{"address":address,"family":[0,1]},{}],"loopback":`^127\.|^[0:]*:(0*1|[0-9a-f:]*ffff:.*)(/[0-9]+)?$`}
device:=`^(eth|net)[0-9]{1,3}$`
station:=`^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$`
frame:={"least":576,"most":65535}
bus_path:=`^[0-9a-f./]{0,64}$`
link:=`^[a-z0-9_-]{0,15}$`
address:=concat("",["^",ip,"$"])
destination:=concat("",["^(",ip,"(/[0-9]{1,3})?)?$"])
fits([needed,optional],given) if {every field,wanted in needed {fits_one(wanted,given[field])}
every field,value in object.remove(given,object.keys(needed)) {fits_or_empty(optional,field,value)}}
fits_or_empty(_,_,value) if is_empty(value)
fits_or_empty(optional,field,value) if fits_one(optional[field],value)
fits_one(wanted,value) if {is_string(wanted)
regex.match(wanted,value)
value !="00:00:00:00:00:00"}
fits_one(wanted,value) if {is_array(wanted)
value in wanted}
fits_one(wanted,value) if {is_count(value)
value>=wanted.least
value<=wanted.most}
leads_out(given) if {every address in {given[field]|some field in ["address","dest","gateway","source"]} - {""} {not regex.match(network.loopback,address)
contains(address,":")==(given.family==1)}}
UpdateInterfaceRequest if {is_exactly(input,{},{"interface"})
fits(network.interface,object.remove(input.interface,{"IPAddresses"}))
every address in input.interface.IPAddresses {fits(network.address,address)
leads_out(address)}}
UpdateRoutesRequest if {is_exactly(input,{},{"routes"})
is_exactly(input.routes,{},{"Routes"})
every route in input.routes.Routes {fits(network.route,route)
leads_out(route)}}
AddARPNeighborsRequest if {is_exactly(input,{},{"neighbors"})
is_exactly(input.neighbors,{},{"ARPNeighbors"})
every neighbor in input.neighbors.ARPNeighbors {fits(network.neighbor,object.remove(neighbor,{"toIPAddress"}))
fits(network.neighbor_address,neighbor.toIPAddress)
leads_out(neighbor.toIPAddress)}}
copy_of("Regular",base,parts):={} if {is_inside(base,parts)
is_plain_file}
is_inside(base,parts) if {base in policy_data.copies.trees
count(parts)>1}
copy_of("Directory",base,_):={} if {base in policy_data.copies.trees
count(link_targets)==0
is_empty(object.get(input,"data",[]))
object.get(input,"file_mode",0) % 4096<2048}
copy_of("Symlink",base,parts):={} if {is_inside(base,parts)
targets:=(link_targets|{spelled(object.get(input,"data",[]))}) - {""}
count(targets)==1
every target in targets {stays_below(split(target,"/"))}}
spelled(bytes):=text if {every byte in bytes {byte>=45
byte<=122
byte==floor(byte)}
text:=concat("",[sprintf("%c",[byte])|some byte in bytes])}
ReadStreamRequest if {policy_data.logs
is_known
regex.match(`^[A-Za-z0-9._-]{0,128}$`,object.get(input,"exec_id",""))
is_count(object.get(input,"len",0))
is_exactly(input,{"container_id":cid},{"exec_id","len"})}
policy_data := {
"namespace":"default",
"pod":"^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$",
"hostname":"^inference-[a-z0-9]{1,10}-[a-z0-9]{5}$",
"hostname_is_fixed":false,
"pidns":false,
"services":["KUBERNETES"],
"signals":["server"],
"logs":true,
"copies":{"files":["hostname","hosts","initdata","resolv.conf","termination-log"],"trees":["digits"]},
"annotations":{},
"sysctl":{},
"volume_options":{"memory":[]},
"containers":{
"casemate-initializer":{
"image":"localhost:5000/casemate-pod:0@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe",
"args":["/casemate-pod","initializer"],
"env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
"env_from":{"HOSTNAME":"hostname"},
"cwd":"/",
"user":[0,0,[0]],
"capabilities":["CHOWN","DAC_OVERRIDE","FOWNER","NET_ADMIN"],
"no_new_privileges":true,
"terminal":false,
"readonly_root":true,
"mounts":[
["/casemate","memory","casemate","rw"],
["/casemate-files/digits","memory","casemate-files-digits","rw"],
["/dev/termination-log","copied","termination-log","rw"],
["/casemate-in/podinfo/initdata","copied","initdata","ro"],
["/casemate-in/files/digits","copied","digits","ro"]
]
},
"casemate-mesh":{
"image":"localhost:5000/casemate-pod:0@sha256:6de1522e849444902471ec485bc2e766e7db18d96e02055494019bf66f598ebe",
"args":["/casemate-pod","mesh"],
"env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
"env_from":{"HOSTNAME":"hostname"},
"cwd":"/",
"user":[0,0,[0]],
"capabilities":["NET_ADMIN","SETGID","SETPCAP","SETUID"],
"no_new_privileges":true,
"terminal":false,
"readonly_root":true,
"mounts":[["/casemate","memory","casemate","rw"],["/dev/termination-log","copied","termination-log","rw"],["/casemate-in/podinfo/initdata","copied","initdata","ro"]]
},
"server":{
"image":"localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b969650ca76e18186f703bb21214c62baa552ab295",
"args":[
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
"env":["PATH=/","LOG_LEVEL=info"],
"env_from":{"HOSTNAME":"hostname"},
"cwd":"/",
"user":[65532,65532,[65532]],
"capabilities":[],
"no_new_privileges":true,
"terminal":false,
"readonly_root":true,
"mounts":[["/casemate","memory","casemate","ro"],["/etc/digits","memory","casemate-files-digits","ro"],["/dev/termination-log","copied","termination-log","rw"]]
}
}
}
