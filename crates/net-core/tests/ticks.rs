//! Ticks of the kernel and of the runtime.

use std::time::Duration;
#[cfg(target_os = "linux")]
use std::{future::poll_fn, task::Poll};

use net_core::Ticks;
use tokio::time::{Instant, timeout};

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ticks_of_the_kernel_come_again_and_again() {
    // Before the timer is set, which counts from then.
    let began = Instant::now();
    let mut ticks = Ticks::of_kernel(Duration::from_millis(5)).expect("a timer");
    assert!(ticks.is_of_kernel());
    for _ in 0..3 {
        timeout(Duration::from_secs(10), ticks.next()).await.expect("a tick");
    }
    assert!(began.elapsed() >= Duration::from_millis(15), "{:?}", began.elapsed());
}

#[cfg(target_os = "linux")]
#[test]
fn ticks_of_the_kernel_need_no_timers_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let mut ticks = Ticks::of_kernel(Duration::from_millis(1)).expect("a timer");
        ticks.next().await;
        ticks.next().await;
    });
}

#[tokio::test(start_paused = true)]
async fn ticks_of_the_runtime_are_moved_by_paused_time() {
    let began = Instant::now();
    let mut ticks = Ticks::of_runtime(Duration::from_hours(1));
    assert!(!ticks.is_of_kernel());
    for hours in 1..4 {
        assert_eq!(ticks.next().await, began + Duration::from_hours(hours));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ticks_of_no_period_come_all_the_same() {
    for mut ticks in [Ticks::of_kernel(Duration::ZERO).expect("a timer"), Ticks::of_runtime(Duration::ZERO)] {
        timeout(Duration::from_secs(10), ticks.next()).await.expect("a tick");
        timeout(Duration::from_secs(10), ticks.next()).await.expect("another one");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ticks_of_any_period_can_be_made() {
    for period in [Duration::MAX, Duration::MAX / 1_000, Duration::from_hours(365 * 24)] {
        for mut ticks in [Ticks::of_kernel(period).expect("a timer"), Ticks::of_runtime(period)] {
            let polled = poll_fn(|cx| Poll::Ready(ticks.poll_next(cx))).await;
            assert!(polled.is_pending(), "{ticks:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_of_the_runtime_come_once_a_year_at_the_least() {
    let began = Instant::now();
    let mut ticks = Ticks::of_runtime(Duration::MAX);
    for years in 1..3 {
        assert_eq!(ticks.next().await, began + years * Duration::from_hours(365 * 24));
    }
}
