//! Keeping an inventory current: the bus is looked at again from time to time and whenever the node agent says something
//! about the devices as a whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gpu::{Machine, ReadError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::inventory::{Inventory, Naming, Readiness, Unfit, look};
use crate::cdi;
use crate::runtime::{FileError, Root};

/// What is looked at, and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's file system.
    pub root: PathBuf,
    /// What resources are called.
    pub naming: Naming,
    /// Where CDI files are written on the host.
    pub cdi: String,
    /// How often the bus is looked at: a device that comes or goes unannounced is seen after so long.
    pub every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { root: "/".into(), naming: Naming::default(), cdi: cdi::FOLDER.to_owned(), every: Duration::from_secs(5) }
    }
}

/// A look that failed. When the bus cannot be read, the inventory stays as it was, since "could not look" is not "has
/// gone"; when CDI files cannot be written, nothing is fit, since a pod with a device would not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The bus cannot be read.
    #[error("look at the PCI bus")]
    Bus(#[from] ReadError),
    /// CDI files cannot be written.
    #[error("write CDI files")]
    Cdi(#[from] FileError),
    /// The look itself broke off: a bug.
    #[error("the look at the PCI bus broke off")]
    Broken,
}

/// Who hears of looks that failed: once for each trouble, not at every look.
pub type Listener = Arc<dyn Fn(Trouble) + Send + Sync>;

/// The node agent's end: says whether devices may be used, and sees what is offered.
#[derive(Debug)]
pub struct Control {
    readiness: watch::Sender<Said>,
    inventory: watch::Receiver<Arc<Inventory>>,
}

/// What was said, and the how-manieth time that something was.
type Said = (u64, Readiness);

impl Control {
    /// Takes all devices out of use. When this returns, no allocation is granted any more, and the kubelet is being told.
    ///
    /// Returns `false` when the observer has ended, after which nothing is granted either.
    pub async fn not_ready(&mut self, why: impl Into<String>) -> bool {
        let number = self.say(Readiness::NotReady(why.into()));
        // Not until what is offered looks right: it may look so from the last time, with a look for something said in
        // between still under way.
        self.inventory.wait_for(|inventory| inventory.generation >= number).await.is_ok()
    }

    fn say(&self, readiness: Readiness) -> u64 {
        let mut number = 0;
        self.readiness.send_modify(|said| {
            *said = (said.0 + 1, readiness);
            number = said.0;
        });
        number
    }

    /// Puts devices into use again, each as far as it is fit: after they were read back at the wished mode.
    pub fn ready(&self, readiness: Readiness) {
        self.say(readiness);
    }

    /// What is offered, as it changes.
    pub fn inventory(&self) -> watch::Receiver<Arc<Inventory>> {
        self.inventory.clone()
    }
}

/// The observer's end.
#[derive(Debug)]
pub struct Observer {
    settings: Settings,
    readiness: watch::Receiver<Said>,
    inventory: watch::Sender<Arc<Inventory>>,
}

/// Makes both ends. Nothing is offered before the observer runs.
pub fn pair(settings: Settings, readiness: Readiness) -> (Control, Observer) {
    let (say, hear) = watch::channel((1, readiness));
    let (publish, see) = watch::channel(Arc::default());
    (Control { readiness: say, inventory: see }, Observer { settings, readiness: hear, inventory: publish })
}

impl Observer {
    /// Looks until `stop` says so or the control is gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, listener: Listener) {
        let mut ticks = interval(self.settings.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        // One for all looks: it remembers what devices are called.
        let machine = Machine::new(&self.settings.root);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                changed = self.readiness.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {}
            }
            let (number, readiness) = self.readiness.borrow_and_update().clone();
            if let Readiness::NotReady(why) = &readiness {
                // At once, and not after a look that a device in trouble may delay.
                self.inventory.send_if_modified(|inventory| withdraw(inventory, number, why));
            }
            let (settings, machine) = (self.settings.clone(), machine.clone());
            let looked = spawn_blocking(move || look_and_write(&machine, &settings, number, &readiness));
            let (inventory, trouble) = looked.await.unwrap_or((None, Some(Trouble::Broken)));
            // What was said meanwhile is newer than what this look was for.
            if let Some(inventory) = inventory.filter(|_| !self.readiness.has_changed().unwrap_or(false)) {
                self.inventory.send_if_modified(|old| {
                    let differs = **old != inventory;
                    if differs {
                        *old = Arc::new(inventory);
                    }
                    differs
                });
            }
            let text = trouble.as_ref().map(ToString::to_string);
            if let Some(trouble) = trouble.filter(|_| text != told) {
                listener(trouble);
            }
            told = text;
        }
    }
}

/// One look, and the files that go with it.
fn look_and_write(
    machine: &Machine,
    settings: &Settings,
    number: u64,
    readiness: &Readiness,
) -> (Option<Inventory>, Option<Trouble>) {
    let mut inventory = match look(machine, settings.naming, readiness) {
        Ok(inventory) => inventory,
        Err(error) => return (None, Some(error.into())),
    };
    inventory.generation = number;
    // Names that the kubelet will hear of are there before it does.
    let written = cdi::sync(&Root::new(&settings.root), &settings.cdi, &cdi::files(&inventory));
    let trouble = written.err().map(Trouble::from);
    if trouble.is_some() {
        all_unfit(&mut inventory, "CDI files cannot be written");
    }
    (Some(inventory), trouble)
}

fn all_unfit(inventory: &mut Inventory, why: &str) {
    for unit in inventory.offers.values_mut().flat_map(|offer| &mut offer.units) {
        unit.unfit = Some(Unfit::NotReady(why.to_owned()));
    }
}

/// Marks everything as unfit; whether that is news.
fn withdraw(inventory: &mut Arc<Inventory>, number: u64, why: &str) -> bool {
    if inventory.generation >= number {
        return false;
    }
    let inventory = Arc::make_mut(inventory);
    inventory.generation = number;
    all_unfit(inventory, why);
    true
}
