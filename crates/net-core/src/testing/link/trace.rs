//! What has happened on a link, and when.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::ErrorKind;

/// How many events are kept.
const MAX_EVENTS: usize = 100_000;

/// The direction of a message over a [`Link`](super::Link).
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport, memory::Memory};
/// use net_core::testing::{Link, LinkConfig, link::Direction};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let link = Link::new(Memory::default(), LinkConfig::default());
/// # let mut listener = link.listen(&"mem://far".parse()?).await?;
/// # let mut near = link.connect(listener.local()).await?;
/// # let mut far = listener.accept().await?;
/// near.send("hello").await?;
/// far.recv().await?;
/// assert!(link.trace().iter().all(|event| event.direction == Direction::There));
/// far.send("world").await?;
/// near.recv().await?;
/// assert!(link.trace().iter().any(|event| event.direction == Direction::Back));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the side that connects to the side that listens.
    There,
    /// From the side that listens to the side that connects.
    Back,
}

impl Direction {
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::There => Self::Back,
            Self::Back => Self::There,
        }
    }
}

/// One thing that happened on a [`Link`](super::Link).
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport, memory::Memory};
/// use net_core::testing::{Link, LinkConfig, link::Happening};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let link = Link::new(Memory::default(), LinkConfig::default());
/// # let mut listener = link.listen(&"mem://far".parse()?).await?;
/// # let mut near = link.connect(listener.local()).await?;
/// # let mut far = listener.accept().await?;
/// near.send("hello").await?;
/// far.recv().await?;
/// let last = link.trace().pop().expect("a message has travelled");
/// assert_eq!((last.connection, last.happening), (0, Happening::Delivered { len: 5 }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event {
    /// When, counted from the link's first use.
    pub at: Duration,
    /// On which connection: the first that was made in this direction is 0.
    pub connection: usize,
    /// In which direction.
    pub direction: Direction,
    /// What.
    pub happening: Happening,
}

/// What can happen on a [`Link`](super::Link).
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Sender, Transport, memory::Memory};
/// use net_core::testing::{Faults, Link, LinkConfig, link::Happening};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let faults = Faults { loss: 1.0, ..Faults::default() };
/// let link = Link::new(Memory::default(), LinkConfig { unreliable: true, ..LinkConfig::both(7, faults) });
/// # let mut listener = link.listen(&"mem://far".parse()?).await?;
/// # let mut near = link.connect(listener.local()).await?;
/// # let mut far = listener.accept().await?;
/// near.send("hello").await?;
/// near.tx.finish().await?;
/// assert_eq!(far.recv().await?, None);
/// let is_loss = |happening| matches!(happening, Happening::Lost { len: 5 });
/// assert!(link.trace().iter().any(|event| is_loss(event.happening)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Happening {
    /// A message of so many bytes is on its way and arrives at the time `due`.
    Travels {
        /// Its length, in bytes.
        len: usize,
        /// When it arrives, counted from the link's first use.
        due: Duration,
    },
    /// A message of so many bytes was lost, so many times before it got through.
    SentAgain {
        /// Its length, in bytes.
        len: usize,
        /// How many of its copies were lost.
        times: u32,
    },
    /// A message of so many bytes was lost for good.
    Lost {
        /// Its length, in bytes.
        len: usize,
    },
    /// A message of so many bytes arrived.
    Delivered {
        /// Its length, in bytes.
        len: usize,
    },
    /// The sender has finished; the end arrives behind what is on its way.
    Finished,
    /// The link cut the connection.
    Cut,
    /// The transport below broke the connection; the error arrives behind what is on its way.
    Broken(ErrorKind),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} #{} {:?} {:?}", self.at, self.connection, self.direction, self.happening)
    }
}

/// The events of a link.
#[derive(Debug, Default)]
pub(super) struct Trace {
    start: OnceLock<Instant>,
    events: Mutex<Vec<Event>>,
}

impl Trace {
    /// Returns the time of the link's first use, which this may be.
    pub(super) fn start(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// Returns the time since the link's first use.
    pub(super) fn elapsed(&self) -> Duration {
        self.start().elapsed()
    }

    pub(super) fn tell(&self, connection: usize, direction: Direction, happening: Happening) {
        let at = self.elapsed();
        let mut events = self.lock();
        if events.len() < MAX_EVENTS {
            events.push(Event { at, connection, direction, happening });
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
