//! Which driver the devices have: those that are to be given to guests are bound to VFIO, all others have what they had
//! before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::crd::Vfio;
use super::events::{Events, Reason};
use super::gpus::Gpus;
use super::wish::Settings;

/// How often devices that came since are looked for.
const EVERY: Duration = Duration::from_secs(30);

/// Keeps drivers as the settings say, until `ending` turns true.
pub async fn keep(
    gpus: Arc<Gpus>,
    events: Events,
    mut settings: watch::Receiver<Option<Settings>>,
    mut ending: watch::Receiver<bool>,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Vec<String>> = None;
    let mut done: Option<Vfio> = None;
    loop {
        tokio::select! {
            _ = ending.wait_for(|ending| *ending) => return,
            changed = settings.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {}
        }
        // Before the cluster was asked nothing is bound or given back.
        let Some(vfio) = settings.borrow_and_update().as_ref().map(|settings| settings.vfio) else { continue };
        let devices = Arc::clone(&gpus);
        let problems = match spawn_blocking(move || devices.drive(vfio)).await {
            Ok(Ok(bound)) => {
                let changed: Vec<String> = bound
                    .iter()
                    .filter(|one| one.changed)
                    .map(|one| format!("{}: {}", one.device, one.driver.as_deref().unwrap_or("none")))
                    .collect();
                if !changed.is_empty() {
                    let note = format!("drivers changed: {}", changed.join("; "));
                    tracing::info!("{note}");
                    events.write(None, Reason::DriversChanged, &note).await;
                }
                Vec::new()
            }
            Ok(Err(problems)) => problems,
            Err(error) => vec![format!("binding ended in a panic: {error}")],
        };
        // Each problem is told once, and again when the settings change.
        if (told.as_ref() != Some(&problems) || done != Some(vfio)) && !problems.is_empty() {
            let note = problems.join("; ");
            tracing::warn!("drivers could not be changed: {note}");
            events.write(None, Reason::DriversFailed, &note).await;
        }
        (told, done) = (Some(problems), Some(vfio));
    }
}
