//! The laws of [`Transport`] as checks that run on any transport, concrete or boxed.
//!
//! [`conformance`] runs every law that the transport's [`Guarantees`](crate::Guarantees) promise; each check is a
//! function of its own as well. A broken law panics with its number and what was seen. Every wait is bounded by
//! 10 s, which is a failure; nothing sleeps, so that the checks run on real sockets and under tokio's paused time
//! alike. Each check listens anew at the address it is given, so that is one with port 0 where ports are used.
//!
//! What tests with them asks for the feature:
//!
//! ```toml
//! [dev-dependencies]
//! net-core = { version = "0.1", features = ["testing"] }
//! ```
//!
//! Contents are lower-case letters wherever a law does not ask for others, so that a framing with a delimiter can
//! carry them. A framing that carries one length alone cannot run the checks.
//!
//! # Examples
//!
//! ```
//! use net_core::{Transport, memory::Memory, testing::laws};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> net_core::Result<()> {
//! laws::conformance(Memory::default(), "mem://x".parse()?).await;
//! laws::conformance(Memory::default().boxed(), "mem://x".parse()?).await;
//! # Ok(())
//! # }
//! ```

use crate::{Address, Transport};

mod cancel;
mod ending;
mod listening;
mod messages;
mod pressure;
mod rig;

pub use cancel::{
    cancelled_accept_loses_nothing, cancelled_recv_loses_nothing, cancelled_send_is_all_or_nothing,
};
pub use ending::{
    a_message_too_long_is_refused_alone, dropping_after_a_flush_closes, dropping_unflushed_aborts,
    ends_are_final, finish_delivers_all_then_ends, half_close_leaves_the_other_direction,
};
pub use listening::{
    a_closed_listener_gives_the_rest, a_vanished_peer_ends_nothing, accept_waits_for_no_peer,
    connections_have_names_of_their_own, nobody_listens_is_an_error,
};
pub use messages::{
    a_limit_holds_until_it_is_lifted, batches_agree_with_single_messages, both_directions_at_once,
    messages_arrive_whole, what_is_shown_is_received_next,
};
pub use pressure::{
    a_peer_that_leaves_wakes_who_waits, acceptance_is_bounded, flushed_needs_no_further_call,
    pending_leaves_the_message_and_wakes,
};

/// Runs every law that the guarantees of `transport` promise, listening at `at`.
///
/// # Panics
///
/// A law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check that runs.
pub async fn conformance<T: Transport>(transport: T, at: Address) {
    let (transport, at) = (&transport, &at);
    messages_arrive_whole(transport, at).await;
    both_directions_at_once(transport, at).await;
    batches_agree_with_single_messages(transport, at).await;
    what_is_shown_is_received_next(transport, at).await;
    a_limit_holds_until_it_is_lifted(transport, at).await;
    pending_leaves_the_message_and_wakes(transport, at).await;
    a_peer_that_leaves_wakes_who_waits(transport, at).await;
    acceptance_is_bounded(transport, at).await;
    flushed_needs_no_further_call(transport, at).await;
    finish_delivers_all_then_ends(transport, at).await;
    half_close_leaves_the_other_direction(transport, at).await;
    ends_are_final(transport, at).await;
    a_message_too_long_is_refused_alone(transport, at).await;
    dropping_unflushed_aborts(transport, at).await;
    dropping_after_a_flush_closes(transport, at).await;
    cancelled_recv_loses_nothing(transport, at).await;
    cancelled_send_is_all_or_nothing(transport, at).await;
    cancelled_accept_loses_nothing(transport, at).await;
    accept_waits_for_no_peer(transport, at).await;
    a_vanished_peer_ends_nothing(transport, at).await;
    a_closed_listener_gives_the_rest(transport, at).await;
    nobody_listens_is_an_error(transport, at).await;
    connections_have_names_of_their_own(transport, at).await;
}
