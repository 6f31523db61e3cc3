use std::sync::atomic::{AtomicBool, Ordering};

use gpu::simulated::{Fault, Host as Board, Life, VirtualClock};
use gpu::transition::{HandsError, Paused, State};
use gpu::{BusError, ConfigSpace, registers};

use super::super::crd::CcMode;
use super::*;
use crate::plugin::Readiness;

/// A cluster that does what it is asked, or not.
#[derive(Default)]
struct Cluster {
    deaf: bool,
}

impl Cluster {
    fn answer<T>(&self, value: T) -> Result<T, HandsError> {
        if self.deaf { Err("no answer".into()) } else { Ok(value) }
    }
}

impl Hands for Cluster {
    fn not_ready(&mut self, _: Mode) -> Result<(), HandsError> {
        Ok(())
    }

    fn pause(&mut self) -> Result<Paused, HandsError> {
        Ok(Paused::Gone)
    }

    fn restore(&mut self) -> Result<(), HandsError> {
        self.answer(())
    }

    fn publish(&mut self, _: &State) -> Result<(), HandsError> {
        self.answer(())
    }
}

/// A kernel that lets nobody map a device which somebody has.
struct Strict {
    bus: Arc<dyn Bus>,
    machine: Machine,
    on: Arc<AtomicBool>,
}

impl Bus for Strict {
    fn open(&self, device: Address, access: registers::Access) -> Result<Box<dyn registers::Registers>, BusError> {
        use gpu::users::Look as _;
        let held = Processes::new(self.machine.clone()).holders(&[device]).expect("looked");
        if self.on.load(Ordering::SeqCst) && !held.is_empty() {
            return Err(BusError::NoDevice(device));
        }
        self.bus.open(device, access)
    }

    fn asleep(&self, device: Address) -> Result<Option<String>, BusError> {
        self.bus.asleep(device)
    }

    fn config(&self, device: Address) -> Result<ConfigSpace, BusError> {
        self.bus.config(device)
    }

    fn driver(&self, device: Address) -> Result<Option<String>, BusError> {
        self.bus.driver(device)
    }

    fn reset(&self, device: Address) -> Result<(), BusError> {
        self.bus.reset(device)
    }
}

struct Rig {
    folder: tempfile::TempDir,
    board: Board,
    clock: Arc<dyn Clock>,
    strict: Arc<AtomicBool>,
}

impl Rig {
    /// An HGX board on a machine that was started once.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
        let board = Board::new(folder.path().join("root"), Arc::clone(&clock));
        board.hgx();
        board.aliases("alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n");
        let rig = Self { folder, board, clock, strict: Arc::default() };
        rig.boot("first");
        rig
    }

    fn boot(&self, id: &str) {
        let path = self.board.root().join("proc/sys/kernel/random/boot_id");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, id).expect("written");
    }

    /// An agent that starts.
    fn agent(&self) -> Gpus {
        let life = Arc::new(Life::long());
        let (bus, machine) = (self.board.bus(&life), self.board.machine());
        let bus = Arc::new(Strict { bus, machine: machine.clone(), on: Arc::clone(&self.strict) });
        let journal = self.folder.path().join("transition.json");
        Gpus::new(machine, bus, Arc::clone(&self.clock), journal).with_kernel(self.board.kernel(&life))
    }

    /// A guest that has a GPU open.
    fn guest(&self, gpu: usize) {
        let device = self.board.root().join(format!("sys/bus/pci/devices/{}", self.board.addresses()[gpu]));
        let group = std::fs::read_link(device.join("iommu_group")).expect("a group");
        let group = group.file_name().expect("a number").to_string_lossy().into_owned();
        self.board.hold(4242, "qemu-system-x86", &format!("/dev/vfio/{group}"));
    }
}

fn to(mode: CcMode) -> Change {
    Change { mode, vfio: Vfio::default(), when_in_use: WhenInUse::GiveUp }
}

fn closed(gpus: &Gpus) -> bool {
    matches!(gpus.offer().readiness(), Readiness::NotReady(_))
}

#[test]
fn a_gpu_with_its_ordinary_driver_is_bound_to_vfio_and_changed() {
    let rig = Rig::new();
    for address in rig.board.addresses() {
        rig.board.attach(address, "nvidia");
    }
    let gpus = rig.agent();
    assert!(!gpus.recover(Some(to(CcMode::On)), &mut Cluster::default()).expect("nothing to end"));
    // Without VFIO it stays what it is, and another minute may be better.
    let failure = gpus.change(to(CcMode::On), &mut Cluster::default()).expect_err("its driver has it");
    assert_eq!(failure.kind, Kind::GivenUp, "{failure}");
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("VFIO")), "{failure:?}");
    assert!(!closed(&gpus), "nothing was touched");
    let change = Change { vfio: Vfio { enabled: true, switches: true }, ..to(CcMode::On) };
    gpus.change(change, &mut Cluster::default()).expect("bound first");
    assert!(rig.board.is_at(Mode::On));
}

#[test]
fn what_a_chip_cannot_do_is_refused_for_good() {
    let rig = Rig::new();
    rig.board.add("0000:0a:00.0".parse().expect("an address"), gpu::simulated::Model::A100);
    let failure = rig.agent().change(to(CcMode::On), &mut Cluster::default()).expect_err("too old");
    assert_eq!(failure.kind, Kind::Impossible, "{failure}");
}

#[test]
fn after_a_failure_nothing_is_offered_until_the_devices_were_proven_again() {
    let rig = Rig::new();
    let gpus = rig.agent();
    gpus.recover(None, &mut Cluster::default()).expect("nothing to end");
    assert!(!closed(&gpus));
    rig.board.fault(rig.board.addresses()[2], Fault::KeepsMode, 1);
    let failure = gpus.change(to(CcMode::On), &mut Cluster::default()).expect_err("it kept its mode");
    assert_eq!(failure.kind, Kind::Failed);
    assert!(closed(&gpus) && rig.board.is_at(Mode::Off));
    // All of them are back at `off`; being asked for that proves it.
    gpus.change(to(CcMode::Off), &mut Cluster::default()).expect("they are there");
    assert!(!closed(&gpus));
}

#[test]
fn a_change_that_the_cluster_interrupted_is_ended_before_another_wish_is_heard() {
    let rig = Rig::new();
    let gpus = rig.agent();
    gpus.recover(None, &mut Cluster::default()).expect("nothing to end");
    let failure = gpus.change(to(CcMode::On), &mut Cluster { deaf: true }).expect_err("no answer");
    assert!(failure.kind.is_unfinished(), "{failure}");
    assert!(closed(&gpus));
    let failure = gpus.recover(Some(to(CcMode::Off)), &mut Cluster { deaf: true }).expect_err("no answer");
    assert!(failure.kind.is_unfinished() && closed(&gpus), "{failure}");
    // The next process knows it from the journal, and does what is wanted by then.
    let next = rig.agent();
    assert!(next.recover(Some(to(CcMode::Off)), &mut Cluster::default()).expect("ended"));
    assert!(rig.board.is_at(Mode::Off) && !closed(&next));
    assert!(!next.recover(Some(to(CcMode::Off)), &mut Cluster::default()).expect("nothing is left"));
}

#[test]
fn a_guest_is_waited_for_where_the_configuration_says_so() {
    let rig = Rig::new();
    let gpus = rig.agent();
    gpus.recover(None, &mut Cluster::default()).expect("nothing to end");
    rig.guest(0);
    let failure = gpus.change(to(CcMode::On), &mut Cluster::default()).expect_err("a guest has it");
    assert_eq!(failure.kind, Kind::GivenUp);
    assert!(!closed(&gpus), "the node stays in service");
    let wait = Change { when_in_use: WhenInUse::Wait, ..to(CcMode::On) };
    let failure = gpus.change(wait, &mut Cluster::default()).expect_err("a guest has it");
    assert_eq!(failure.kind, Kind::Waiting);
    assert!(closed(&gpus), "no new pod may come");
    rig.board.end(4242);
    assert!(gpus.recover(Some(wait), &mut Cluster::default()).expect("the guest is gone"));
    assert!(rig.board.is_at(Mode::On) && !closed(&gpus));
}

#[test]
fn an_agent_that_starts_beside_a_guest_knows_the_mode_that_was_proven() {
    let rig = Rig::new();
    rig.board.put_at(Mode::On);
    let modes = |gpus: &Gpus| gpus.observe().expect("seen").modes;
    assert_eq!(modes(&rig.agent()), Modes::All(CcMode::On));
    rig.guest(3);
    rig.strict.store(true, Ordering::SeqCst);
    let next = rig.agent();
    assert_eq!(modes(&next), Modes::All(CcMode::On));
    next.recover(Some(to(CcMode::On)), &mut Cluster::default()).expect("nothing to end");
    assert!(!closed(&next), "the other seven are for other pods");
    // What can be asked must agree.
    rig.board.fault(rig.board.addresses()[5], Fault::OffTheBus, 1000);
    assert!(matches!(modes(&rig.agent()), Modes::Mixed(_)));
    rig.board.mend();
    rig.boot("second");
    assert!(matches!(modes(&rig.agent()), Modes::Mixed(_)), "nothing was proven since the machine started");
}

#[test]
fn what_another_tool_does_behind_our_back_closes_the_offer() {
    let rig = Rig::new();
    let gpus = rig.agent().looked_at_every(Duration::ZERO);
    gpus.recover(Some(to(CcMode::Off)), &mut Cluster::default()).expect("nothing to end");
    assert_eq!(gpus.observe().expect("seen").modes, Modes::All(CcMode::Off));
    assert!(!closed(&gpus), "what holds is left alone");
    rig.board.put_at(Mode::On);
    assert_eq!(gpus.observe().expect("seen").modes, Modes::All(CcMode::On));
    assert!(closed(&gpus));
    gpus.change(to(CcMode::Off), &mut Cluster::default()).expect("brought back");
    assert!(!closed(&gpus) && rig.board.is_at(Mode::Off));
    // Within the usual time nobody looks.
    let gpus = rig.agent();
    gpus.recover(None, &mut Cluster::default()).expect("nothing to end");
    rig.board.put_at(Mode::On);
    assert_eq!(gpus.observe().expect("seen").modes, Modes::All(CcMode::Off));
}
