//! A simulated node: devices, a cluster, and processes that can be killed.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;
use crate::address::Address;
use crate::bus::BusError;
use crate::config_space::ConfigSpace;
use crate::pci::scan;
use crate::registers::{Access, Registers};
use crate::simulated::{Host, Killed, Life, VirtualClock};

/// What the cluster shows, and what it should never have shown.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) ready: Option<Mode>,
    pub(super) state: String,
    pub(super) paused: bool,
    pub(super) log: Vec<String>,
    pub(super) violations: Vec<String>,
    /// Calls that the API server does not answer, from now on.
    pub(super) outage: usize,
    /// A node that a component opens as soon as it may come back.
    pub(super) eager: Option<&'static str>,
    /// Components that do not go away.
    pub(super) stubborn: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) host: Host,
    pub(super) cluster: Arc<Mutex<Cluster>>,
    pub(super) written: Arc<Mutex<Option<String>>>,
    pub(super) limits: Limits,
    /// The kernel maps no registers of a device that somebody holds, as with `CONFIG_IO_STRICT_DEVMEM`.
    pub(super) strict: bool,
    devices: Vec<Device>,
    nobody: bool,
    _dir: Arc<tempfile::TempDir>,
}

impl Node {
    pub(super) fn new(fill: impl FnOnce(&Host)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(dir.path(), Arc::new(VirtualClock::default()));
        fill(&host);
        let devices = scan(&host.machine()).unwrap().devices;
        let (cluster, written, limits) = (Arc::default(), Arc::default(), Limits::default());
        Self { host, cluster, written, limits, strict: false, devices, nobody: false, _dir: Arc::new(dir) }
    }

    /// Nobody holds a device, and nobody is looked for: thousands of runs then take seconds.
    pub(super) fn without_processes(mut self) -> Self {
        self.nobody = true;
        self
    }

    /// Devices are spoken to one after the other: a thread for each costs more than what it does.
    pub(super) fn one_by_one(mut self) -> Self {
        self.limits.at_once = 1;
        self
    }

    /// Ready at a mode, as after a transition that went well.
    pub(super) fn settled(&self, mode: Mode) {
        self.host.put_at(mode);
        *self.cluster.lock().unwrap() =
            Cluster { ready: Some(mode), state: mode.label().to_owned(), ..Cluster::default() };
        *self.written.lock().unwrap() = None;
    }

    pub(super) fn process(&self, life: Arc<Life>) -> Process {
        Process { node: self.clone(), life }
    }

    pub(super) fn bring_to(&self, wish: Mode) -> Outcome {
        self.process(Arc::new(Life::long())).bring_to(wish).unwrap()
    }

    pub(super) fn resume(&self) -> Option<Outcome> {
        self.process(Arc::new(Life::long())).resume().unwrap()
    }

    /// What must hold whenever nothing is running: components are back, and whoever is ready is at the mode.
    pub(super) fn assert_consistent(&self, what: &str) {
        let cluster = self.cluster.lock().unwrap();
        assert!(cluster.violations.is_empty(), "{what}: {:?}", cluster.violations);
        assert!(!cluster.paused, "{what}: components are still away");
        assert!(self.written.lock().unwrap().is_none(), "{what}: a record is left");
        if let Some(mode) = cluster.ready {
            assert!(self.host.is_at(mode), "{what}: ready at {mode} and not there");
        }
    }

    pub(super) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.cluster.lock().unwrap().log)
    }
}

/// One run of the agent.
pub(super) struct Process {
    node: Node,
    life: Arc<Life>,
}

impl Process {
    fn with<T>(&self, act: impl FnOnce(&Transition<'_>, &mut dyn Hands) -> T) -> T {
        let watched: Arc<dyn Bus> = Arc::new(Watched {
            bus: self.node.host.bus(&self.life),
            machine: self.node.host.machine(),
            careful: !self.node.nobody,
            strict: self.node.strict,
            cluster: Arc::clone(&self.node.cluster),
        });
        let processes = crate::users::Processes::new(self.node.host.machine());
        let look: &dyn Look = if self.node.nobody { &Nobody } else { &processes };
        let journal = Kept { written: &self.node.written, life: &self.life };
        let (devices, clock) = (self.node.devices.clone(), self.node.host.clock());
        let transition = Transition::new(devices, watched, clock, look, &journal, self.node.limits);
        act(&transition, &mut Fingers { node: self.node.clone(), life: Arc::clone(&self.life) })
    }

    pub(super) fn bring_to(&self, wish: Mode) -> Result<Outcome, Interrupted> {
        self.with(|transition, hands| transition.bring_to(wish, hands))
    }

    pub(super) fn survey(&self) -> Survey {
        self.with(|transition, _| transition.survey()).unwrap()
    }

    pub(super) fn glance(&self) -> Survey {
        self.with(|transition, _| transition.glance()).unwrap()
    }

    pub(super) fn resume(&self) -> Result<Option<Outcome>, Interrupted> {
        self.with(|transition, hands| transition.resume(hands))
    }
}

struct Nobody;

impl Look for Nobody {
    fn holders(&self, _: &[Address]) -> Result<Vec<Holder>, ReadError> {
        Ok(Vec::new())
    }
}

/// Notices resets that should not happen.
struct Watched {
    bus: Arc<dyn Bus>,
    machine: crate::Machine,
    careful: bool,
    strict: bool,
    cluster: Arc<Mutex<Cluster>>,
}

impl Watched {
    fn check(&self, when: &str, device: Address) {
        let mut cluster = self.cluster.lock().unwrap();
        if let Some(mode) = cluster.ready {
            cluster.violations.push(format!("{when} a reset of {device}: ready at {mode}"));
        }
        if !cluster.paused {
            cluster.violations.push(format!("{when} a reset of {device}: components are there"));
        }
    }
}

impl Bus for Watched {
    fn open(&self, device: Address, access: Access) -> Result<Box<dyn Registers>, BusError> {
        let held = || crate::users::Processes::new(self.machine.clone()).holders(&[device]).unwrap();
        if access == Access::Full && self.careful && !held().is_empty() {
            let text = format!("{device} is held, and was opened for more than a look");
            self.cluster.lock().unwrap().violations.push(text);
        }
        if self.strict && !held().is_empty() {
            let path = PathBuf::from(format!("{device}/resource0"));
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(BusError::Open(crate::registers::OpenError::Open { path, source }));
        }
        self.bus.open(device, access)
    }

    fn config(&self, device: Address) -> Result<ConfigSpace, BusError> {
        self.bus.config(device)
    }

    fn driver(&self, device: Address) -> Result<Option<String>, BusError> {
        self.bus.driver(device)
    }

    fn asleep(&self, device: Address) -> Result<Option<String>, BusError> {
        self.bus.asleep(device)
    }

    fn reset(&self, device: Address) -> Result<(), BusError> {
        self.check("before", device);
        self.bus.reset(device)
    }
}

/// A journal in memory: what was saved survives the process.
struct Kept<'a> {
    written: &'a Mutex<Option<String>>,
    life: &'a Life,
}

impl Kept<'_> {
    fn change(&self, text: Option<String>) -> Result<(), JournalError> {
        self.life.effect(|| *self.written.lock().unwrap() = text).map_err(|Killed| JournalError::File {
            action: "replace",
            path: PathBuf::from("transition.json"),
            source: io::ErrorKind::Interrupted.into(),
        })
    }
}

impl Journal for Kept<'_> {
    fn load(&self) -> Result<Option<Record>, JournalError> {
        Ok(self.written.lock().unwrap().as_deref().map(|text| serde_json::from_str(text).unwrap()))
    }

    fn save(&self, record: &Record) -> Result<(), JournalError> {
        self.change(Some(serde_json::to_string(record).unwrap()))
    }

    fn clear(&self) -> Result<(), JournalError> {
        self.change(None)
    }
}

/// The hands of one process.
struct Fingers {
    node: Node,
    life: Arc<Life>,
}

impl Fingers {
    fn act<T>(&self, name: &str, act: impl FnOnce(&mut Cluster) -> T) -> Result<T, HandsError> {
        let mut cluster = self.node.cluster.lock().unwrap();
        if cluster.outage > 0 {
            cluster.outage -= 1;
            return Err("the API server does not answer".into());
        }
        let done = self.life.effect(|| {
            cluster.log.push(name.to_owned());
            act(&mut cluster)
        });
        Ok(done?)
    }
}

impl Hands for Fingers {
    fn not_ready(&mut self, _wish: Mode) -> Result<(), HandsError> {
        self.act("not ready", |cluster| cluster.ready = None)
    }

    fn pause(&mut self) -> Result<Paused, HandsError> {
        self.act("pause", |cluster| {
            if cluster.ready.is_some() {
                cluster.violations.push("components were sent away from a node that is ready".to_owned());
            }
            cluster.paused = true;
            match cluster.stubborn.clone() {
                names if names.is_empty() => Paused::Gone,
                names => Paused::StillThere(names),
            }
        })
    }

    fn restore(&mut self) -> Result<(), HandsError> {
        let host = &self.node.host;
        self.act("restore", |cluster| {
            cluster.paused = false;
            if let Some(node) = cluster.eager {
                host.hold(4712, "eager", node);
            }
        })
    }

    fn publish(&mut self, state: &State) -> Result<(), HandsError> {
        let host = &self.node.host;
        self.act(&format!("publish {state}"), |cluster| {
            cluster.ready = state.mode();
            cluster.state = state.mode_label().to_owned();
            if let Some(mode) = state.mode()
                && !host.is_at(mode)
            {
                cluster.violations.push(format!("ready at {mode} was published, and the devices are not there"));
            }
        })
    }

    fn progress(&mut self, record: &Record) {
        if !self.life.is_over() {
            let text = format!("{}{}", if record.heading == Heading::Forward { "" } else { "back " }, record.step);
            self.node.cluster.lock().unwrap().log.push(format!("- {text}"));
        }
    }
}
