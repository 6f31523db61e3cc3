//! How long a board takes to change its mode beside one GPU, on simulated devices that take the times of real ones. The
//! aim is 1.2 times: devices are asked, written and reset at once, so more of them should cost next to nothing.
//!
//! `cargo bench -p gpu --bench transition -- [--rounds N] [--json]`
#![expect(clippy::print_stdout, reason = "a benchmark speaks to its user")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gpu::simulated::{Host, Life, Model, at};
use gpu::transition::{FileJournal, Hands, HandsError, Limits, Outcome, Paused, State, Transition};
use gpu::users::Processes;
use gpu::{Clock, Mode, Monotonic, pci};

/// A cluster that takes no time.
struct Quick;

impl Hands for Quick {
    fn not_ready(&mut self, _: Mode) -> Result<(), HandsError> {
        Ok(())
    }

    fn pause(&mut self) -> Result<Paused, HandsError> {
        Ok(Paused::Gone)
    }

    fn restore(&mut self) -> Result<(), HandsError> {
        Ok(())
    }

    fn publish(&mut self, _: &State) -> Result<(), HandsError> {
        Ok(())
    }
}

/// The median time of a change between off and on.
fn measure(rounds: usize, fill: impl Fn(&Host)) -> Result<Duration, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(Monotonic::start());
    let host = Host::new(dir.path(), Arc::clone(&clock));
    fill(&host);
    let devices = pci::scan(&host.machine())?.devices;
    let bus = host.bus(&Arc::new(Life::long()));
    let look = Processes::new(host.machine());
    let journal = FileJournal::new(dir.path().join("transition.json"));
    let transition = Transition::new(devices, bus, clock, &look, &journal, Limits::default());
    let mut times = Vec::new();
    for round in 0..rounds {
        let wish = if round % 2 == 0 { Mode::On } else { Mode::Off };
        let start = Instant::now();
        let outcome = transition.bring_to(wish, &mut Quick)?;
        times.push(start.elapsed());
        if outcome != Outcome::Ready(wish) {
            return Err(outcome.to_string().into());
        }
    }
    times.sort();
    times.get(rounds / 2).copied().ok_or_else(|| "no rounds".into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match words.iter().position(|word| word == "--rounds") {
        Some(place) => words.get(place + 1).ok_or("--rounds takes a number")?.parse()?,
        None => 5,
    };
    let one = measure(rounds, |host| host.add(at(0x10), Model::H100))?.as_secs_f64();
    let board = measure(rounds, Host::hgx)?.as_secs_f64();
    let ratio = board / one;
    if words.iter().any(|word| word == "--json") {
        println!("{{\"one_gpu_s\":{one:.4},\"board_s\":{board:.4},\"ratio\":{ratio:.3}}}");
    } else {
        println!("one GPU                     {one:.3} s");
        println!("eight GPUs, four switches   {board:.3} s");
        println!("ratio                       {ratio:.2}  (aim 1.20)");
    }
    Ok(())
}
