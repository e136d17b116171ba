//! What wakes the loop that looks at deadlines.

use std::time::Duration;

#[cfg(target_os = "linux")]
use tokio::net::unix::pipe;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Comes once in a period.
pub(super) enum Ticks {
    /// The runtime's, which paused time moves.
    Runtime(Interval),
    /// One that the kernel tells of as it tells of input, so that a runtime without other timers waits without a time-out: no
    /// timer of the kernel is set and cleared for each wait, and no clock read after it.
    #[cfg(target_os = "linux")]
    Kernel { timer: pipe::Receiver, period: Duration },
}

impl Ticks {
    /// Ticks of the runtime.
    pub(super) fn of_runtime(period: Duration) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Runtime(ticks)
    }

    /// Ticks of the kernel where it has them, else of the runtime.
    ///
    /// # Panics
    ///
    /// Outside of a runtime that has I/O enabled.
    pub(super) fn of_kernel(period: Duration) -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(timer) = timer(period) {
            return Self::Kernel { timer, period };
        }
        Self::of_runtime(period)
    }

    /// Waits for the next one, and returns when it was due, as far as that is known. Nothing is lost where this is dropped.
    pub(super) async fn next(&mut self) -> Instant {
        match self {
            Self::Runtime(ticks) => ticks.tick().await,
            #[cfg(target_os = "linux")]
            Self::Kernel { timer, period } => {
                if expired(timer).await.is_err() {
                    // Deadlines are looked at whatever becomes of it.
                    *self = Self::of_runtime(*period);
                }
                Instant::now()
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn timer(period: Duration) -> std::io::Result<pipe::Receiver> {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let period = Timespec::try_from(period).map_err(std::io::Error::other)?;
    let periodic = Itimerspec { it_interval: period, it_value: period };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &periodic)?;
    // It is read as a pipe is; the runtime has no type of its own for it that is made without unsafe code.
    pipe::Receiver::from_owned_fd_unchecked(timer)
}

#[cfg(target_os = "linux")]
async fn expired(timer: &pipe::Receiver) -> std::io::Result<()> {
    loop {
        timer.readable().await?;
        // How often it has expired.
        match timer.try_read(&mut [0; 8]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            read => return read.map(drop),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ticks_of_the_kernel_come_again_and_again() {
        // Before the timer is set, which counts from then.
        let began = Instant::now();
        let mut ticks = Ticks::of_kernel(Duration::from_millis(5));
        assert!(matches!(ticks, Ticks::Kernel { .. }));
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_secs(10), ticks.next()).await.expect("a tick");
        }
        assert!(began.elapsed() >= Duration::from_millis(15), "{:?}", began.elapsed());
    }
}
