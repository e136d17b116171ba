//! What a runtime does before it ends.

use tokio::task::yield_now;

/// What is due at once is done in one or two; what is woken by that, in the next.
const TURNS: usize = 16;

/// Lets the tasks run that have something to do at once, before their runtime ends: those of QUIC tell peers of the end of a
/// connection after it was dropped.
///
/// Waits for nothing, and is for runtimes of one thread: what runs on other threads, it does not see.
///
/// # Cancel safety
///
/// Cancel safe.
///
/// # Examples
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let told = runtime.block_on(async {
///     let task = tokio::spawn(async { tokio::task::yield_now().await });
///     net_core::last_turns().await;
///     task.is_finished()
/// });
/// assert!(told);
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn last_turns() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}
