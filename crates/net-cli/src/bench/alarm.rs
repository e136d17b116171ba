//! A timer that is exact to some 50 µs: the runtime's own counts whole milliseconds.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Instant,
};

/// A timer for one task at a time.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Timer>,
    /// What the timer is set to.
    at: Option<Instant>,
}

impl Alarm {
    /// Polls until the time is `at`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<io::Result<()>> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            empty => empty.insert(Timer::new()?),
        };
        if self.at != Some(at) {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(Ok(()));
            }
            timer.set(left)?;
            self.at = Some(at);
        }
        ready!(timer.poll(cx))?;
        self.at = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{
        io,
        os::fd::OwnedFd,
        task::{Context, Poll, ready},
        time::Duration,
    };

    use rustix::{
        io::{Errno, read},
        time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        },
    };
    use tokio::io::unix::AsyncFd;

    #[derive(Debug)]
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            #[allow(
                deprecated,
                reason = "its replacement is unsafe for types that may change their descriptor; an `OwnedFd` cannot"
            )]
            AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?).map(Self)
        }

        pub(super) fn set(&mut self, left: Duration) -> io::Result<()> {
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value: left.try_into().map_err(io::Error::other)?,
            };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }

        pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            loop {
                let mut ready = ready!(self.0.poll_read_ready(cx))?;
                match read(self.0.get_ref(), &mut [0; 8]) {
                    Ok(_) => return Poll::Ready(Ok(())),
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::{
        future::Future as _,
        io,
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    use tokio::time::{Instant, Sleep, sleep};

    #[derive(Debug)]
    pub(super) struct Timer(Pin<Box<Sleep>>);

    impl Timer {
        #[allow(
            clippy::unnecessary_wraps,
            reason = "elsewhere a timer is a descriptor, which may be refused"
        )]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(Box::pin(sleep(Duration::ZERO))))
        }

        #[allow(clippy::unnecessary_wraps, reason = "elsewhere setting a timer is a system call")]
        pub(super) fn set(&mut self, left: Duration) -> io::Result<()> {
            self.0.as_mut().reset(Instant::now() + left);
            Ok(())
        }

        pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0.as_mut().poll(cx).map(Ok)
        }
    }
}

use system::Timer;

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test]
    async fn it_rings_when_the_time_has_come_and_can_be_set_again() {
        let mut alarm = Alarm::default();
        for _ in 0..3 {
            let at = Instant::now() + Duration::from_micros(300);
            poll_fn(|cx| alarm.poll(cx, at)).await.expect("rings");
            assert!(Instant::now() >= at);
        }
        poll_fn(|cx| alarm.poll(cx, Instant::now())).await.expect("the past rings at once");
    }
}
