//! The loop of a server that looks at deadlines.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use net_core::{Observer, Ticks};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    time::Instant,
};

use super::{own_runtime::OwnRuntime, serve::Serving};
use crate::Handler;

/// How late a runtime may come to its work before observers are told.
const LATE: Duration = Duration::from_millis(100);

/// A runtime that sessions run on, asked now and then whether it comes to its work.
pub(super) struct Pulse {
    runtime: Handle,
    /// It has not come to answering yet.
    asked: Arc<AtomicBool>,
}

impl Pulse {
    pub(super) fn of(runtime: Handle) -> Self {
        Self { runtime, asked: Arc::default() }
    }

    fn ask(&self, observer: &Arc<dyn Observer>) {
        if self.asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let (asked, observer, since) = (self.asked.clone(), observer.clone(), Instant::now());
        self.runtime.spawn(async move {
            asked.store(false, Ordering::Release);
            tell_late(&*observer, since.elapsed());
        });
    }
}

fn tell_late(observer: &dyn Observer, late: Duration) {
    if late > LATE {
        observer.runtime_blocked(late);
    }
}

impl<H: Handler> Serving<H> {
    /// Looks at the deadlines of all sessions at each of `ticks`, until the last loop that `sweeping` is for has ended. The
    /// sessions run on the runtimes of `pulses`; where there are none, on this one.
    pub(super) async fn sweep(self, sweeping: watch::Sender<()>, mut ticks: Ticks, pulses: Vec<Pulse>) {
        let period = self.sweep_interval();
        let mut last = Instant::now();
        loop {
            let now = tokio::select! {
                () = sweeping.closed() => return,
                now = ticks.next() => now,
            };
            if let Some(observer) = &self.settings.observer {
                if pulses.is_empty() {
                    // A sweep that comes late was kept from running by something that blocks its runtime.
                    tell_late(&**observer, now.elapsed().max(last.elapsed().saturating_sub(period)));
                }
                for pulse in &pulses {
                    pulse.ask(observer);
                }
            }
            self.admission.sweep();
            self.sessions.sweep(&self.settings).await;
            self.settings.access.prune();
            last = Instant::now();
        }
    }

    /// Returns how often that is.
    pub(super) fn sweep_interval(&self) -> Duration {
        self.settings.config.sweep_interval(&self.settings.limits)
    }

    /// Does so in a thread of its own: a handler that blocks one of the runtimes keeps no other's deadlines from being looked
    /// at, and a runtime without a timer waits for input at less cost.
    pub(super) fn sweep_aside(self, sweeping: watch::Sender<()>, pulses: Vec<Pulse>) -> io::Result<()> {
        let runtime = OwnRuntime::build(Builder::new_current_thread().enable_time())?;
        let body = move || {
            runtime.run(async {
                let ticks = Ticks::of_runtime(self.sweep_interval());
                self.sweep(sweeping, ticks, pulses).await;
            });
        };
        thread::Builder::new().name("net-sweep".into()).spawn(body).map(drop)
    }
}
