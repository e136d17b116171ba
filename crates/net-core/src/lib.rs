//! Messages over any transport: the traits, framings and buffers that every protocol shares.
//!
//! * [`Transport`], [`Listener`], [`Sender`], [`Receiver`], [`Connection`]: what all transports have in common, and
//!   the laws that each obeys.
//! * [`Address`]: where a transport connects or listens.
//! * [`frame`]: how messages are marked in a byte stream; [`framed`] drives that over async streams, [`blocking`] over
//!   `std::io`.
//! * [`memory`]: messages between tasks of one process.
//! * [`buffer`]: buffers that are used again; [`MessageSink`], [`MessageStream`]: connections for combinators.
//! * [`Acceptor`]: accepts with limits, handshakes off the path; [`Lifecycle`]: the one accept loop of every server, and
//!   its drain.
//! * [`Limits`]: the limits and time-outs of every server.
//! * [`Attempts`]: every address that was tried, and why it failed.
//! * [`Observer`]: what is told to logs and metrics.
//! * [`last_turns`]: what a runtime does before it ends.
//! * `Ticks` (feature `ticks`): wake-ups for whoever looks at deadlines, from the kernel or the runtime.
//! * `resolve` (feature `resolve`): from the host of an address to the socket addresses that are tried; `ports`: those that
//!   listeners of this process are about to free.
//! * `tls` (feature `tls`): settings of TLS servers and clients, exchanged while they serve.
//! * `size` (feature `serde`): byte sizes in configuration files.
//! * `testing` (feature `testing`): the laws as checks of any transport, links with faults, a relay of UDP.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod address;
mod attempts;
mod batch;
pub mod blocking;
pub mod buffer;
mod connection;
mod erased;
mod error;
pub mod frame;
pub mod framed;
mod guarantees;
mod lend;
mod lifecycle;
mod limit;
mod limits;
pub mod memory;
mod message;
mod observer;
#[cfg(feature = "resolve")]
pub mod ports;
#[cfg(feature = "resolve")]
pub mod resolve;
mod sink_stream;
#[cfg(feature = "serde")]
pub mod size;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "ticks")]
mod ticks;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;
mod turns;

pub use accept::{
    Accept, Acceptor, AddressGroup, Admission, Handshake, Handshaking, Incoming, IncomingConnection, Permit,
    Prefix,
};
pub use address::{Address, AddressError, Host, Scheme};
pub use attempts::{Attempt, Attempts};
pub use batch::Batch;
pub use connection::{Connection, ConnectionId, Info};
pub use erased::{BoxListener, BoxReceiver, BoxSender, BoxTransport};
pub use error::{Error, ErrorKind, Result};
pub use guarantees::Guarantees;
pub use lifecycle::{Active, Drained, Lifecycle, Phase};
pub use limit::Limit;
pub use limits::{DataRate, Lifetime, Limits, OutboxConfig, Overflow};
pub use message::{
    ApiKey, Credentials, CredentialsError, ErrorCode, ErrorReply, GoAway, GoAwayReason, Message,
    MessageError, MessageKind, MessageRef,
};
pub use observer::{Contained, Observer};
pub use sink_stream::{MessageSink, MessageStream, Messages};
#[cfg(feature = "ticks")]
pub use ticks::Ticks;
pub use transport::{Listener, Receiver, Sender, Transport};
pub use turns::last_turns;
