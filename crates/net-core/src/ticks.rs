//! What wakes whoever looks at deadlines.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Of a period of nothing, timers would make none or be refused.
const SHORTEST: Duration = Duration::from_nanos(1);
/// Of far longer ones, clocks would overflow or timers be refused.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Wake-ups that come once in a period.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use net_core::Ticks;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut ticks = Ticks::of_kernel(Duration::from_millis(1))?;
/// let first = ticks.next().await;
/// assert!(first <= ticks.next().await);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ticks(Source);

#[derive(Debug)]
enum Source {
    Runtime(Interval),
    #[cfg(target_os = "linux")]
    Kernel(kernel::Timer),
}

impl Ticks {
    /// Makes ticks of the runtime's timer, which paused time moves. The first one comes after `period`, at least a nanosecond and at most
    /// a year, and none is made up for.
    ///
    /// # Panics
    ///
    /// Outside of a runtime that has timers enabled.
    pub fn of_runtime(period: Duration) -> Self {
        let period = period.clamp(SHORTEST, LONGEST);
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Source::Runtime(ticks))
    }

    /// Makes ticks of a timer that the kernel tells of as it tells of input (Linux); elsewhere of the runtime. The first one comes
    /// after `period`, at least a nanosecond and at most a year.
    ///
    /// A runtime without other timers then waits without a time-out: no timer is set and cleared for each wait, and no clock
    /// is read after it. Paused time moves nothing.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    ///
    /// # Panics
    ///
    /// Outside of a runtime that has I/O enabled.
    pub fn of_kernel(period: Duration) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        return Ok(Self(Source::Kernel(kernel::Timer::new(period.clamp(SHORTEST, LONGEST))?)));
        #[cfg(not(target_os = "linux"))]
        Ok(Self::of_runtime(period))
    }

    /// Tells whether the kernel makes them.
    pub fn is_of_kernel(&self) -> bool {
        !matches!(self.0, Source::Runtime(_))
    }

    /// Waits for the next one, and returns when it was due, as far as that is known. None comes where the runtime is gone in which
    /// they were made.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no tick is lost.
    pub async fn next(&mut self) -> Instant {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for the next one, as [`next`](Self::next) waits for it.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        match &mut self.0 {
            Source::Runtime(ticks) => ticks.poll_tick(cx),
            #[cfg(target_os = "linux")]
            Source::Kernel(timer) => match std::task::ready!(timer.poll_expired(cx)) {
                Ok(()) => Poll::Ready(Instant::now()),
                Err(_) => Poll::Pending,
            },
        }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::{
        io,
        task::{Context, Poll, ready},
        time::Duration,
    };

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe;

    /// A periodic timer, read as a pipe is: the runtime has no type of its own for it that is made without unsafe code.
    #[derive(Debug)]
    pub(super) struct Timer(pipe::Receiver);

    impl Timer {
        pub(super) fn new(period: Duration) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let period = Timespec::try_from(period).map_err(io::Error::other)?;
            let periodic = Itimerspec { it_interval: period, it_value: period };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &periodic)?;
            pipe::Receiver::from_owned_fd_unchecked(timer).map(Self)
        }

        pub(super) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            loop {
                ready!(self.0.poll_read_ready(cx))?;
                // How often it has expired.
                match self.0.try_read(&mut [0; 8]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return Poll::Ready(read.map(drop)),
                }
            }
        }
    }
}
