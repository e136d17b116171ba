//! Runs a scenario for many seeds, each on a runtime of its own with paused time, and tells how to replay a failure.

use std::{
    any::Any,
    env,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use net_core::testing::{
    Link,
    link::{Direction, Event},
};
use tokio::{runtime::Builder, time::timeout};

/// How many seeds a scenario has unless `SIM_SEEDS` says otherwise.
const SEEDS: u64 = 200;
/// And one that takes seconds without optimisation; CI runs it for as many seeds as the others by `cargo xtask sim`.
const FEW_SEEDS: u64 = 3;
/// Every so many seeds, a seed is run twice and must do the same.
const REPEATED: u64 = 10;
/// A seed that takes longer, in real time, is named.
const HANGS: Duration = Duration::from_secs(15);
/// No scenario takes longer, in virtual time.
const LONGEST: Duration = Duration::from_hours(1);

/// What a run did: what the link saw, and whatever else must be the same for the same seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trace {
    /// By connection and direction, since sessions of one instant come in no particular order.
    pub(crate) events: Vec<Event>,
    pub(crate) notes: Vec<String>,
}

impl Trace {
    pub(crate) fn new<T>(link: &Link<T>, notes: Vec<String>) -> Self {
        let mut events = link.trace();
        events.sort_by_key(|event| (event.connection, event.direction == Direction::Back, event.at));
        Self { events, notes }
    }
}

/// Explores `scenario`, which a failure names by `name`.
pub(crate) fn explore<F: Future<Output = Trace>>(name: &str, scenario: impl Fn(u64) -> F) {
    explore_seeds(name, SEEDS, scenario);
}

/// As [`explore`], for a scenario that is large.
pub(crate) fn explore_few<F: Future<Output = Trace>>(name: &str, scenario: impl Fn(u64) -> F) {
    explore_seeds(name, FEW_SEEDS, scenario);
}

fn explore_seeds<F: Future<Output = Trace>>(name: &str, seeds: u64, scenario: impl Fn(u64) -> F) {
    let only = variable("SIM_SEED");
    let first = only.unwrap_or(0);
    let count = if only.is_some() { 1 } else { variable("SIM_SEEDS").unwrap_or(seeds) };
    let began = Instant::now();
    let mut events = 0;
    let watched = watch(name.to_owned());
    for seed in first..first + count {
        // The thread ends with this function.
        let _ = watched.send(seed);
        let trace = once(name, seed, &scenario);
        events += trace.events.len();
        if seed.is_multiple_of(REPEATED) || only.is_some() {
            let again = once(name, seed, &scenario);
            if trace != again {
                replay(name, seed, "fails");
                let first = trace.events.iter().zip(&again.events).find(|(one, other)| one != other);
                let counts = [&trace, &again].map(|trace| trace.events.len());
                assert_eq!(trace.notes, again.notes, "seed {seed} ended otherwise the second time");
                panic!("seed {seed} went otherwise the second time: {first:?}, {counts:?} events");
            }
        }
        if only.is_some() {
            println!("{trace:#?}");
        }
    }
    println!("sim {name}: {count} seeds, {events} events, {:.1?}", began.elapsed());
}

fn once<F: Future<Output = Trace>>(name: &str, seed: u64, scenario: impl Fn(u64) -> F) -> Trace {
    let run = || {
        // The engine draws its jitter from the thread's generator.
        fastrand::seed(seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime
            .expect("a runtime")
            .block_on(async { timeout(LONGEST, scenario(seed)).await.expect("it ends") })
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic: Box<dyn Any + Send>| {
        replay(name, seed, "fails");
        resume_unwind(panic)
    })
}

/// Names the seed that hangs, though nobody comes back to tell of it: whatever ends the process then shows what it wrote.
fn watch(name: String) -> mpsc::Sender<u64> {
    let (begun, seeds) = mpsc::channel();
    thread::spawn(move || {
        let Ok(mut present) = seeds.recv() else { return };
        loop {
            match seeds.recv_timeout(HANGS) {
                Ok(next) => present = next,
                Err(RecvTimeoutError::Timeout) => replay(&name, present, "takes long"),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    begun
}

fn replay(name: &str, seed: u64, what: &str) {
    eprintln!(
        "seed {seed} of {name} {what}; replay it by\n    cargo xtask sim --scenario {name} --seed {seed}"
    );
}

fn variable(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
