//! The device plugin, spoken to by a stand-in for the kubelet over the sockets that the real one uses, on a machine made of
//! files.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::cdi;
use node::plugin::allocate::Tell;
use node::plugin::observe::{self, Control};
use node::plugin::serve::{self, Event};
use node::plugin::{Naming, Readiness};
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod kubelet;

use kubelet::{Kubelet, must};

/// A machine of files, and the plugins on it.
struct Node {
    dir: tempfile::TempDir,
    control: Option<Control>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    events: Arc<Mutex<Vec<String>>>,
}

/// Often, so that tests are quick; nothing depends on it.
const OFTEN: Duration = Duration::from_millis(5);

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (stop, _) = watch::channel(false);
        let node = Self { dir, control: None, stop, tasks: Vec::new(), events: Arc::default() };
        node.write("dev/iommu", "");
        node.write("usr/share/misc/pci.ids", "10de  NVIDIA Corporation\n\t2330  GH100 [H100 SXM5 80GB]\n");
        std::fs::create_dir_all(node.folder()).unwrap();
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn folder(&self) -> PathBuf {
        self.path("kubelet")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Puts a device on the bus, bound to VFIO, in group 10 and so on.
    fn plug(&self, number: u8, class: &str, device: &str) {
        // Beside the bus and then moved there, as the kernel shows a device: whole or not at all.
        let address = format!("0000:{:02x}:00.0", 0x10 + number);
        let folder = format!("sys/new/{address}");
        for (file, text) in [("vendor", "0x10de"), ("class", class), ("device", device)] {
            self.write(&format!("{folder}/{file}"), text);
        }
        self.write(&format!("{folder}/numa_node"), &(number % 2).to_string());
        symlink("../../../../bus/pci/drivers/vfio-pci", self.path(&format!("{folder}/driver"))).unwrap();
        let group = format!("../../../../kernel/iommu_groups/{}", 10 + number);
        symlink(group, self.path(&format!("{folder}/iommu_group"))).unwrap();
        std::fs::create_dir_all(self.path(&format!("{folder}/vfio-dev/vfio{number}"))).unwrap();
        self.write(&format!("dev/vfio/devices/vfio{number}"), "");
        let bus = self.path("sys/bus/pci/devices");
        std::fs::create_dir_all(&bus).unwrap();
        std::fs::rename(self.path(&folder), bus.join(address)).unwrap();
    }

    fn gpu(&self, number: u8) {
        self.plug(number, "0x030200", "0x2330");
    }

    fn switch(&self, number: u8) {
        self.plug(number, "0x068000", "0x22a3");
    }

    fn unplug(&self, number: u8) {
        let gone = self.path(&format!("gone{number}"));
        let folder = self.path(&format!("sys/bus/pci/devices/0000:{:02x}:00.0", 0x10 + number));
        std::fs::rename(folder, gone).unwrap();
        std::fs::remove_file(self.path(&format!("dev/vfio/devices/vfio{number}"))).unwrap();
    }

    fn start(&mut self, naming: Naming, tell: Tell) {
        let settings =
            observe::Settings { root: self.dir.path().to_owned(), naming, every: OFTEN, ..Default::default() };
        let (control, observer) = observe::pair(settings, Readiness::Ready);
        let events = Arc::clone(&self.events);
        let trouble: observe::Listener = Arc::new(move |trouble| events.lock().unwrap().push(trouble.to_string()));
        let inventory = control.inventory();
        self.control = Some(control);
        self.tasks.push(tokio::spawn(observer.run(self.stop.subscribe(), trouble)));
        let events = Arc::clone(&self.events);
        let listener: serve::Listener = Arc::new(move |resource, event: Event| {
            events.lock().unwrap().push(format!("{resource}: {event}"));
        });
        let settings = serve::Settings { folder: self.folder(), tell, every: OFTEN };
        self.tasks.push(tokio::spawn(serve::serve(settings, inventory, self.stop.subscribe(), listener)));
    }

    fn control(&mut self) -> &mut Control {
        self.control.as_mut().unwrap()
    }

    fn cdi(&self) -> Vec<String> {
        let folder = self.path(&cdi::FOLDER[1..]);
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"));
        names.sort();
        names
    }

    /// Waits until CDI files are these.
    async fn until_cdi(&self, expected: &[&str]) {
        must("CDI files", async {
            while self.cdi() != expected {
                tokio::time::sleep(OFTEN).await;
            }
        })
        .await;
    }

    async fn stop(mut self) {
        self.stop.send(true).unwrap_or_default();
        for task in self.tasks.drain(..) {
            must("end", task).await.unwrap();
        }
    }
}

const PGPU: &str = "nvidia.com/pgpu";
const CDI_FILE: &str = "casemate-nvidia.com-pgpu.json";

#[tokio::test]
async fn a_plugin_registers_lists_prefers_and_allocates() {
    let mut node = Node::new();
    for number in 0..4 {
        node.gpu(number);
    }
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let request = kubelet.registered().await;
    assert_eq!((request.resource_name.as_str(), request.endpoint.as_str()), (PGPU, "casemate-pgpu.sock"));
    let mut again = Kubelet::start_beside(&node.folder(), 0);
    let mut plugin = again.plugin(PGPU).await;
    let options = plugin.options().await;
    assert!(options.get_preferred_allocation_available && !options.pre_start_required);

    let list = plugin.watch().await.raw().await;
    let numa: Vec<i64> = list.devices.iter().map(|d| d.topology.as_ref().unwrap().nodes[0].id).collect();
    assert_eq!(numa, [0, 1, 0, 1]);

    let all = ["group-10", "group-11", "group-12", "group-13"];
    assert_eq!(plugin.preferred(&all, &["group-11"], 2).await, ["group-11", "group-13"]);
    let response = plugin.allocate(&["group-13", "group-11"]).await.unwrap();
    let container = &response.container_responses[0];
    let nodes: Vec<&str> = container.devices.iter().map(|device| device.host_path.as_str()).collect();
    assert_eq!(nodes, ["/dev/vfio/devices/vfio1", "/dev/vfio/devices/vfio3"]);
    assert!(container.cdi_devices.is_empty() && container.annotations.is_empty() && container.envs.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn what_is_allocated_is_in_the_cdi_file_under_the_name_that_is_told() {
    let mut node = Node::new();
    node.gpu(0);
    node.gpu(1);
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Cdi);
    let mut plugin = kubelet.plugin(PGPU).await;
    let response = plugin.allocate(&["group-11"]).await.unwrap();
    let name = &response.container_responses[0].cdi_devices[0].name;
    let (kind, device) = name.split_once('=').unwrap();
    let text = std::fs::read(node.path(&cdi::FOLDER[1..]).join(CDI_FILE)).unwrap();
    let spec: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(spec["kind"], kind);
    let found = spec["devices"].as_array().unwrap().iter().find(|entry| entry["name"] == device).unwrap();
    assert_eq!(found["containerEdits"]["deviceNodes"][0]["path"], "/dev/vfio/devices/vfio1");
    node.stop().await;
}

#[tokio::test]
async fn a_plugin_waits_for_a_kubelet_and_tries_again_when_it_is_turned_away() {
    let mut node = Node::new();
    node.gpu(0);
    node.start(Naming::Pgpu, Tell::Nodes);
    must("socket", async {
        while !node.folder().join("casemate-pgpu.sock").exists() {
            tokio::time::sleep(OFTEN).await;
        }
    })
    .await;
    let mut kubelet = Kubelet::start_beside(&node.folder(), 3);
    let mut plugin = kubelet.plugin(PGPU).await;
    plugin.watch().await.until(&["+group-10"]).await;
    let events = node.events.lock().unwrap().clone();
    let turned_away = events.iter().filter(|event| event.contains("not registered") && event.contains("not yet"));
    assert_eq!(turned_away.count(), 1, "three times, and told once: {events:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_plugin_registers_again_when_the_kubelet_restarts() {
    let mut node = Node::new();
    node.gpu(0);
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let mut lists = kubelet.plugin(PGPU).await.watch().await;
    lists.until(&["+group-10"]).await;
    kubelet.kill().await;
    // The real one removes all sockets.
    let mut kubelet = Kubelet::start(&node.folder());
    let mut plugin = kubelet.plugin(PGPU).await;
    lists.ended().await;
    plugin.watch().await.until(&["+group-10"]).await;
    plugin.allocate(&["group-10"]).await.unwrap();
    assert!(kubelet.is_quiet(), "once is enough");
    kubelet.kill().await;
    // One that leaves them alone is registered with as well, and lists go on.
    let mut lists = plugin.watch().await;
    let mut kubelet = Kubelet::start_beside(&node.folder(), 0);
    kubelet.registered().await;
    lists.until(&["+group-10"]).await;
    node.stop().await;
}

#[tokio::test]
async fn a_plugin_whose_socket_is_removed_or_replaced_comes_back() {
    let mut node = Node::new();
    node.gpu(0);
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let socket = node.folder().join("casemate-pgpu.sock");
    for replaced in [false, true] {
        let mut lists = kubelet.plugin(PGPU).await.watch().await;
        lists.until(&["+group-10"]).await;
        if replaced {
            std::fs::write(node.path("other"), "").unwrap();
            std::fs::rename(node.path("other"), &socket).unwrap();
        } else {
            std::fs::remove_file(&socket).unwrap();
        }
        lists.ended().await;
    }
    kubelet.plugin(PGPU).await.watch().await.until(&["+group-10"]).await;
    let events = node.events.lock().unwrap().clone();
    assert_eq!(events.iter().filter(|event| event.contains("its socket was removed")).count(), 2, "{events:?}");
    node.stop().await;
}

#[tokio::test]
async fn devices_come_and_go() {
    let mut node = Node::new();
    node.gpu(0);
    node.gpu(1);
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let mut plugin = kubelet.plugin(PGPU).await;
    let mut lists = plugin.watch().await;
    lists.until(&["+group-10", "+group-11"]).await;
    node.unplug(0);
    lists.until(&["+group-11"]).await;
    let refused = plugin.allocate(&["group-10"]).await.unwrap_err();
    assert_eq!(refused.message(), "nvidia.com/pgpu has no device `group-10` on this node");
    node.gpu(2);
    lists.until(&["+group-11", "+group-12"]).await;
    node.unplug(1);
    node.unplug(2);
    lists.until(&[]).await;
    assert!(node.cdi().is_empty(), "a file goes with its last device");
    node.gpu(3);
    lists.until(&["+group-13"]).await;
    assert_eq!(node.cdi(), [CDI_FILE]);
    assert!(kubelet.is_quiet());
    node.stop().await;
}

#[tokio::test]
async fn a_resource_that_appears_later_gets_a_plugin_of_its_own() {
    let mut node = Node::new();
    node.gpu(0);
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    kubelet.plugin(PGPU).await;
    node.switch(4);
    let request = kubelet.registered().await;
    assert_eq!(request.resource_name, "nvidia.com/nvswitch");
    assert_ne!(request.endpoint, "casemate-pgpu.sock");
    node.until_cdi(&["casemate-nvidia.com-nvswitch.json", CDI_FILE]).await;
    node.stop().await;
}

#[tokio::test]
async fn several_models_under_one_name_are_one_plugin() {
    let mut node = Node::new();
    node.gpu(0);
    node.plug(1, "0x030200", "0x2335");
    node.plug(2, "0x030000", "0x2bb1");
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let mut plugin = kubelet.plugin(PGPU).await;
    plugin.watch().await.until(&["+group-10", "+group-11", "+group-12"]).await;
    assert!(kubelet.is_quiet());
    node.stop().await;
}

#[tokio::test]
async fn no_device_is_granted_while_modes_change() {
    let mut node = Node::new();
    for number in 0..2 {
        node.gpu(number);
    }
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let mut plugin = kubelet.plugin(PGPU).await;
    let mut lists = plugin.watch().await;
    lists.until(&["+group-10", "+group-11"]).await;
    for round in 0..20 {
        let why = format!("change {round} of the mode");
        assert!(node.control().not_ready(why.clone()).await);
        // From here on, and not only once the kubelet has heard of it.
        let refused = plugin.allocate(&["group-10"]).await.unwrap_err();
        assert!(refused.message().ends_with(&format!("cannot be used now: {why}")), "{}", refused.message());
        lists.until(&["-group-10", "-group-11"]).await;
        // A driver that is unbound for the change does not make the node smaller.
        std::fs::rename(node.path("sys/bus/pci/devices/0000:10:00.0/driver"), node.path("driver")).unwrap();
        node.until_cdi(&[]).await;
        std::fs::rename(node.path("driver"), node.path("sys/bus/pci/devices/0000:10:00.0/driver")).unwrap();
        node.control().ready(Readiness::Ready);
        lists.until(&["+group-10", "+group-11"]).await;
        plugin.allocate(&["group-10"]).await.unwrap();
    }
    node.stop().await;
}

#[tokio::test]
async fn a_part_of_a_set_is_refused_with_the_reason() {
    let mut node = Node::new();
    for number in 0..8 {
        node.gpu(number);
    }
    for number in 8..12 {
        node.switch(number);
    }
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Model, Tell::Nodes);
    let mut plugin = kubelet.plugin("nvidia.com/GH100_H100_SXM5_80GB").await;
    let all: Vec<String> = (10..18).map(|group| format!("group-{group}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let healthy: Vec<String> = all.iter().map(|id| format!("+{id}")).collect();
    plugin.watch().await.until(&healthy.iter().map(String::as_str).collect::<Vec<_>>()).await;
    plugin.allocate(&all[..1]).await.unwrap();
    plugin.allocate(&all).await.unwrap();
    let refused = plugin.allocate(&all[..4]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().starts_with("4 of 8 nvidia.com/GH100_H100_SXM5_80GB are asked for"), "{refused}");
    // In protected PCIe mode one alone is a part as well.
    node.control().ready(Readiness::ReadyAsOne);
    must("refusal", async {
        while plugin.allocate(&all[..1]).await.is_ok() {
            tokio::time::sleep(OFTEN).await;
        }
    })
    .await;
    plugin.allocate(&all).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_stopped_plugin_ends_its_lists_and_leaves_no_socket() {
    let mut node = Node::new();
    node.gpu(0);
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let mut lists = kubelet.plugin(PGPU).await.watch().await;
    lists.until(&["+group-10"]).await;
    let folder = node.folder();
    let keep = std::mem::replace(&mut node.dir, tempfile::tempdir().unwrap());
    node.stop().await;
    lists.ended().await;
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["kubelet.sock"]);
    drop(keep);
}

#[tokio::test]
async fn without_cdi_files_nothing_is_fit() {
    let mut node = Node::new();
    node.gpu(0);
    node.write("var/run/cdi", "a file where the folder should be");
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let mut plugin = kubelet.plugin(PGPU).await;
    let mut lists = plugin.watch().await;
    lists.until(&["-group-10"]).await;
    let refused = plugin.allocate(&["group-10"]).await.unwrap_err();
    assert!(refused.message().ends_with("cannot be used now: CDI files cannot be written"), "{refused}");
    std::fs::remove_file(node.path("var/run/cdi")).unwrap();
    lists.until(&["+group-10"]).await;
    let events = node.events.lock().unwrap().clone();
    assert_eq!(events.iter().filter(|event| event.contains("write CDI files")).count(), 1, "{events:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_bus_that_cannot_be_read_takes_nothing_away() {
    let mut node = Node::new();
    // Behind a link, since a link can be replaced in one step.
    std::fs::create_dir_all(node.path("sys/bus/pci/real")).unwrap();
    symlink("real", node.path("sys/bus/pci/devices")).unwrap();
    node.gpu(0);
    let mut kubelet = Kubelet::start(&node.folder());
    node.start(Naming::Pgpu, Tell::Nodes);
    let mut plugin = kubelet.plugin(PGPU).await;
    plugin.watch().await.until(&["+group-10"]).await;
    // A link to itself: something is there, and cannot be read, whoever asks.
    symlink("devices", node.path("sys/bus/pci/new")).unwrap();
    std::fs::rename(node.path("sys/bus/pci/new"), node.path("sys/bus/pci/devices")).unwrap();
    must("trouble", async {
        while !node.events.lock().unwrap().iter().any(|event| event.contains("look at the PCI bus")) {
            tokio::time::sleep(OFTEN).await;
        }
    })
    .await;
    plugin.watch().await.until(&["+group-10"]).await;
    node.stop().await;
}
