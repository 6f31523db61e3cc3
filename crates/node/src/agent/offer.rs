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

use super::crd::ResourceNames;
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
pub(super) fn as_found(modes: &super::device::Modes) -> Readiness {
    use super::crd::CcMode;
    use super::device::Modes;
    match modes {
        Modes::All(CcMode::Ppcie) => Readiness::ReadyAsOne,
        Modes::All(_) | Modes::None => Readiness::Ready,
        Modes::Mixed(_) => Readiness::NotReady("the devices are not at one mode".to_owned()),
    }
}
