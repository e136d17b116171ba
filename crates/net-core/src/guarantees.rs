//! What a transport promises about messages.

/// What a [`Transport`](crate::Transport) promises about the messages it carries.
///
/// # Examples
///
/// ```
/// use net_core::{Guarantees, Transport, memory::Memory};
///
/// /// Whether an application must look for requests that it has served already.
/// fn sees_duplicates(guarantees: Guarantees) -> bool {
///     guarantees.may_duplicate
/// }
///
/// assert!(!sees_duplicates(Memory::default().guarantees()));
/// let datagrams = Guarantees::datagrams(1200);
/// assert!(sees_duplicates(datagrams) && !datagrams.reliable);
/// assert_eq!(datagrams.max_message_len, 1200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent promises, each named")]
pub struct Guarantees {
    /// Every message arrives, or the connection fails.
    pub reliable: bool,
    /// Messages arrive in the order they were sent.
    pub ordered: bool,
    /// After [`Sender::poll_finish`](crate::Sender::poll_finish), the peer's own sending goes on.
    pub half_close: bool,
    /// The peer learns that this side has finished: its receiver gives `None`.
    pub signals_end: bool,
    /// The peer can tell an abort from a clean end.
    pub signals_abort: bool,
    /// Each message arrives with the boundaries it was sent with.
    pub preserves_messages: bool,
    /// A message may arrive more than once.
    pub may_duplicate: bool,
    /// The longest message, in bytes.
    pub max_message_len: usize,
}

impl Guarantees {
    /// What a reliable, ordered byte stream with half-close gives to a framing whose longest message is
    /// `max_message_len`.
    pub fn stream(max_message_len: usize) -> Self {
        Self {
            reliable: true,
            ordered: true,
            half_close: true,
            signals_end: true,
            signals_abort: true,
            preserves_messages: true,
            may_duplicate: false,
            max_message_len,
        }
    }

    /// What datagrams give, each a message of `max_message_len` bytes at the most: they may be lost, overtake one another
    /// and come twice, and nobody is told of an end.
    pub fn datagrams(max_message_len: usize) -> Self {
        Self {
            reliable: false,
            ordered: false,
            // Nobody answers an end that nobody is told of: there is nothing to wait for behind one.
            half_close: false,
            signals_end: false,
            signals_abort: false,
            preserves_messages: true,
            may_duplicate: true,
            max_message_len,
        }
    }
}
