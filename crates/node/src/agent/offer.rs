//! Between a change of modes and the device plugin: what is being changed is offered to nobody.
//!
//! The plugin may be replaced while the agent runs, when resources get other names. What was said of the devices holds
//! for the next one, too.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gpu::Mode;
use gpu::transition::{Hands, HandsError, Paused, Record, State};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::crd::{CcMode, ResourceNames};
use super::device::Modes;
use super::wish::Settings;
use crate::plugin::allocate::Tell;
use crate::plugin::observe::{self, Control};
use crate::plugin::{Naming, Readiness, serve};

/// Whether the devices of this machine may be given to pods.
#[derive(Debug)]
pub struct Offer {
    readiness: Mutex<Readiness>,
    control: AsyncMutex<Option<Control>>,
}

impl Default for Offer {
    /// Closed, until the devices were looked at.
    fn default() -> Self {
        let readiness = Readiness::NotReady("the agent has not looked at the devices yet".to_owned());
        Self { readiness: Mutex::new(readiness), control: AsyncMutex::default() }
    }
}

impl Offer {
    fn say(&self, readiness: Readiness) {
        *self.readiness.lock().unwrap_or_else(PoisonError::into_inner) = readiness;
    }

    /// What was said last.
    pub fn readiness(&self) -> Readiness {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes all devices out of use. When this returns nothing is granted any more. To be called from a thread that may
    /// block, and not from the executor's own.
    pub fn close(&self, why: &str) {
        let mut control = self.control.blocking_lock();
        self.say(Readiness::NotReady(why.to_owned()));
        if let (Some(control), Ok(runtime)) = (control.as_mut(), Handle::try_current()) {
            // `false` means that the plugin has ended, and grants nothing either.
            let _ = runtime.block_on(control.not_ready(why));
        }
    }

    /// Gives devices free, after they were read back. The same rule about threads.
    pub fn open(&self, readiness: Readiness) {
        let control = self.control.blocking_lock();
        self.say(readiness.clone());
        if let Some(control) = control.as_ref() {
            control.ready(readiness);
        }
    }

    async fn hand_over(
        &self,
        settings: observe::Settings,
    ) -> (watch::Receiver<Arc<crate::plugin::Inventory>>, observe::Observer) {
        let mut slot = self.control.lock().await;
        let (control, observer) = observe::pair(settings, self.readiness());
        let inventory = control.inventory();
        *slot = Some(control);
        (inventory, observer)
    }
}

/// The cluster's part of a change, with the device plugin's before and after it.
pub(super) struct Guarded<'a> {
    pub(super) offer: &'a Offer,
    pub(super) cluster: &'a mut dyn Hands,
}

impl Hands for Guarded<'_> {
    fn not_ready(&mut self, wish: Mode) -> Result<(), HandsError> {
        self.offer.close(&format!("devices are brought to mode `{wish}`"));
        self.cluster.not_ready(wish)
    }

    fn pause(&mut self) -> Result<Paused, HandsError> {
        self.cluster.pause()
    }

    fn restore(&mut self) -> Result<(), HandsError> {
        self.cluster.restore()
    }

    fn publish(&mut self, state: &State) -> Result<(), HandsError> {
        self.cluster.publish(state)?;
        // The cluster first: a kubelet that has devices on a node that is not ready is better than the reverse.
        self.offer.open(match state.mode() {
            Some(Mode::Ppcie) => Readiness::ReadyAsOne,
            Some(_) => Readiness::Ready,
            None => Readiness::NotReady("the last change of their mode failed".to_owned()),
        });
        Ok(())
    }

    fn progress(&mut self, record: &Record) {
        self.cluster.progress(record);
    }
}

/// Where the plugin finds what it needs.
#[derive(Clone, Debug)]
pub struct Places {
    /// Where the node's file system is.
    pub root: PathBuf,
    /// The kubelet's folder for sockets, as this process sees it.
    pub kubelet: PathBuf,
}

/// Serves the device plugin under the names that the settings say, until `ending` turns true.
pub async fn serve(
    offer: Arc<Offer>,
    places: Places,
    mut settings: watch::Receiver<Option<Settings>>,
    mut ending: watch::Receiver<bool>,
) {
    loop {
        // Without the cluster's word nobody knows by which names.
        let naming = tokio::select! {
            named = settings.wait_for(Option::is_some) => match named {
                Ok(named) => naming(named.as_ref()),
                Err(_) => return,
            },
            _ = ending.wait_for(|ending| *ending) => return,
        };
        let observed = observe::Settings { root: places.root.clone(), naming, ..observe::Settings::default() };
        let (inventory, observer) = offer.hand_over(observed).await;
        let (stop, stopped) = watch::channel(false);
        let event: serve::Listener = Arc::new(|resource, event| tracing::info!(%resource, %event, "device plugin"));
        let trouble: observe::Listener = Arc::new(|trouble| {
            tracing::warn!(error = super::device::chain(&trouble), "devices could not be looked at");
        });
        let plugin =
            serve::Settings { folder: places.kubelet.clone(), tell: Tell::default(), ..serve::Settings::default() };
        let serving = tokio::spawn(serve::serve(plugin, inventory, stopped.clone(), event));
        let observing = tokio::spawn(observer.run(stopped, trouble));
        let other = async {
            // A sender that is gone is the end as well.
            let _ = settings.wait_for(|next| next.is_some() && self::naming(next.as_ref()) != naming).await;
        };
        let ended = tokio::select! {
            () = other => false,
            _ = ending.wait_for(|ending| *ending) => true,
        };
        stop.send_replace(true);
        for task in [serving, observing] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the device plugin broke off");
            }
        }
        if ended {
            return;
        }
        // Where settings change in quick succession, the kubelet is not to hear of each.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn naming(settings: Option<&Settings>) -> Naming {
    match settings.map(|settings| settings.device_plugin.resource_names) {
        Some(ResourceNames::Model) => Naming::Model,
        Some(ResourceNames::Pgpu) | None => Naming::Pgpu,
    }
}

/// Whether the devices of a machine that nobody has changed may be used, by what was read of them.
pub(super) fn as_found(modes: &Modes) -> Readiness {
    match modes {
        Modes::All(CcMode::Ppcie) => Readiness::ReadyAsOne,
        Modes::All(_) | Modes::None => Readiness::Ready,
        Modes::Mixed(_) => Readiness::NotReady("the devices are not at one mode".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use gpu::simulated::{Fault, Host, Life, VirtualClock};
    use gpu::{Address, Clock};

    use super::super::crd::{CcMode, Vfio, WhenInUse};
    use super::super::device::{Change, Devices as _};
    use super::super::gpus::Gpus;
    use super::*;

    /// A cluster that does what it is asked, and sees each time whether devices are offered.
    struct Witness {
        offer: Arc<Offer>,
        seen: Vec<(&'static str, bool)>,
    }

    impl Witness {
        fn sees(&mut self, what: &'static str) {
            self.seen.push((what, !matches!(self.offer.readiness(), Readiness::NotReady(_))));
        }
    }

    impl Hands for Witness {
        fn not_ready(&mut self, _: Mode) -> Result<(), HandsError> {
            self.sees("not ready");
            Ok(())
        }

        fn pause(&mut self) -> Result<Paused, HandsError> {
            self.sees("pause");
            Ok(Paused::Gone)
        }

        fn restore(&mut self) -> Result<(), HandsError> {
            self.sees("restore");
            Ok(())
        }

        fn publish(&mut self, _: &State) -> Result<(), HandsError> {
            self.sees("publish");
            Ok(())
        }
    }

    fn to(mode: CcMode) -> Change {
        Change { mode, vfio: Vfio::default(), when_in_use: WhenInUse::default() }
    }

    fn board(folder: &std::path::Path) -> (Host, Gpus) {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
        let host = Host::new(folder.join("root"), Arc::clone(&clock));
        host.hgx();
        let life = Arc::new(Life::long());
        let gpus = Gpus::new(host.machine(), host.bus(&life), clock, folder.join("transition.json"));
        (host.clone(), gpus.with_kernel(host.kernel(&life)))
    }

    #[test]
    fn nothing_is_offered_while_modes_change() {
        let folder = tempfile::tempdir().unwrap();
        let (host, gpus) = board(folder.path());
        let offer = gpus.offer();
        assert!(matches!(offer.readiness(), Readiness::NotReady(_)), "nobody has looked yet");
        let mut witness = Witness { offer: Arc::clone(&offer), seen: Vec::new() };
        gpus.recover(None, &mut witness).unwrap();
        assert_eq!(offer.readiness(), Readiness::Ready);
        for (mode, ready) in [(CcMode::Ppcie, Readiness::ReadyAsOne), (CcMode::On, Readiness::Ready)] {
            witness.seen.clear();
            gpus.change(to(mode), &mut witness).unwrap();
            assert_eq!(witness.seen, ["not ready", "pause", "restore", "publish"].map(|step| (step, false)), "{mode}");
            assert_eq!(offer.readiness(), ready, "{mode}");
        }
        // A device that does not come back keeps all of them from pods.
        let lost: Address = host.addresses()[3];
        host.fault(lost, Fault::FallsOffAtReset, 1);
        let failure = gpus.change(to(CcMode::Off), &mut witness).unwrap_err();
        assert!(failure.message.contains(&lost.to_string()), "{failure}");
        assert!(matches!(offer.readiness(), Readiness::NotReady(_)));
    }

    #[test]
    fn a_plugin_that_comes_later_hears_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let (host, gpus) = board(folder.path());
        host.aliases("alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n");
        for address in host.addresses() {
            host.attach(address, "vfio-pci");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let offer = gpus.offer();
        let settings = observe::Settings {
            root: host.root().to_owned(),
            every: Duration::from_millis(10),
            ..observe::Settings::default()
        };
        let (mut inventory, observer) = runtime.block_on(offer.hand_over(settings));
        let (_stop, stopped) = watch::channel(false);
        runtime.spawn(observer.run(stopped, Arc::new(|_| {})));
        let refused = |inventory: &Arc<crate::plugin::Inventory>| {
            let mut units = inventory.offers.values().flat_map(|offer| &offer.units).peekable();
            let none = units.peek().is_none();
            !none && units.all(|unit| matches!(unit.unfit, Some(crate::plugin::inventory::Unfit::NotReady(_))))
        };
        runtime.block_on(inventory.wait_for(refused)).unwrap();
        offer.open(Readiness::Ready);
        runtime.block_on(inventory.wait_for(|now| !now.offers.is_empty() && !refused(now))).unwrap();
        let inside = runtime.enter();
        offer.close("a test");
        drop(inside);
        // Closing waits until nothing is granted.
        assert!(refused(&inventory.borrow_and_update()));
    }

    #[test]
    fn drivers_go_by_what_is_wanted_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let (host, gpus) = board(folder.path());
        host.aliases("alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n");
        for address in host.addresses() {
            host.attach(address, if address > host.addresses()[7] { "nvidia-nvswitch" } else { "nvidia" });
        }
        let drivers = || -> Vec<Option<String>> {
            gpu::pci::scan(&host.machine()).unwrap().devices.into_iter().map(|device| device.driver).collect()
        };
        let of = |gpu: &str, switch: &str| -> Vec<Option<String>> {
            let names = std::iter::repeat_n(gpu, 8).chain(std::iter::repeat_n(switch, 4));
            names.map(|name| Some(name.to_owned())).collect()
        };
        for (enabled, switches, expected) in [
            (false, false, of("nvidia", "nvidia-nvswitch")),
            (true, false, of("vfio-pci", "nvidia-nvswitch")),
            (true, true, of("vfio-pci", "vfio-pci")),
            (true, false, of("vfio-pci", "nvidia-nvswitch")),
            (false, true, of("nvidia", "nvidia-nvswitch")),
        ] {
            gpus.drive(Vfio { enabled, switches }).unwrap();
            assert_eq!(drivers(), expected, "{enabled} {switches}");
        }
        // One that somebody has open is named, and not taken from him.
        host.hold(77, "nvidia-smi", "/dev/nvidia0");
        let problems = gpus.drive(Vfio { enabled: true, switches: true }).unwrap_err();
        assert!(!problems.is_empty(), "{problems:?}");
    }
}
