//! What both sides of a scenario write down, and what must be true of it in the end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use net_core::{Address, ConnectionId, Error, Info, Message, MessageKind, Observer, OutboxConfig};
use net_messaging::{CloseReason, Handler, HandlerResult, Session, SessionStats};
use tokio::time::{Instant, sleep};

/// What a message in the outbox may cost besides its payload, at the most.
pub(crate) const LONGEST_OVERHEAD: usize = 128;

/// What a client asks: who, its how manieth, and how long the handler is to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask {
    pub(crate) client: u32,
    pub(crate) number: u32,
    pub(crate) work: u32,
}

impl Ask {
    const LEN: usize = 12;

    /// Writes it, with `padding` more bytes behind it.
    pub(crate) fn encode(self, padding: usize) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Self::LEN + padding);
        for part in [self.client, self.number, self.work] {
            bytes.put_u32(part);
        }
        bytes.put_bytes(0x5a, padding);
        bytes.freeze()
    }

    pub(crate) fn decode(payload: &[u8]) -> Self {
        let part = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        Self { client: part(0), number: part(4), work: part(8) }
    }
}

/// What one side has seen. It watches that side's sessions, and on a server it is what handles messages too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    /// How often each request was begun.
    begun: BTreeMap<(u32, u32), u32>,
    /// Notifications of each client in the order in which they were handled.
    notified: BTreeMap<u32, Vec<u32>>,
    /// What the observer was told of each session.
    told: HashMap<ConnectionId, Told>,
    /// What each session counted when its handler was told of its end.
    counted: HashMap<ConnectionId, SessionStats>,
    /// When connections were accepted, and when clients waited how long to come back.
    accepted: Vec<Instant>,
    reconnecting: Vec<Attempt>,
    /// Why sessions ended, in short.
    reasons: Vec<String>,
    wrong: Vec<String>,
    /// What may wait for each peer.
    outbox: OutboxConfig,
    /// Whether each request has more pushed to its peer than may wait.
    chatty: bool,
}

/// An attempt to come back that an observer was told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) told: Instant,
    pub(crate) number: u32,
    pub(crate) delay: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    opened: u64,
    closed: u64,
    received: (u64, u64),
    sent: (u64, u64),
    dropped: u64,
}

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("not poisoned")
    }

    /// Notes what may wait for each peer.
    pub(crate) fn bound(&self, outbox: OutboxConfig) {
        self.pages().outbox = outbox;
    }

    /// From now on each request has more pushed to its peer than may wait for it.
    pub(crate) fn chat(&self) {
        self.pages().chatty = true;
    }

    /// Notes where more waits for a peer than may.
    fn check_bounds(&self, session: &Session, when: Ask) {
        let (stats, mut pages) = (session.stats(), self.pages());
        let outbox = pages.outbox;
        // One message always fits.
        if stats.waiting_messages > outbox.max_messages.max(1)
            || (stats.waiting_bytes > outbox.max_bytes && stats.waiting_messages > 1)
        {
            pages.wrong.push(format!("{when:?} finds more waiting than may wait: {stats:?}"));
        }
    }

    /// Pushes more than may wait, of which a part is dropped.
    fn push_too_much(&self, session: &Session, when: Ask) {
        let outbox = self.pages().outbox;
        let len = outbox.max_bytes / outbox.max_messages * 2;
        for number in 0..=u32::try_from(outbox.max_messages).expect("few") {
            // Half of them are too many by their number, the others by their length.
            let padding = if when.number.is_multiple_of(2) { 0 } else { len };
            let _ = session.feed(Message::from(Ask { number, ..when }.encode(padding)));
            self.check_bounds(session, when);
        }
    }

    pub(crate) fn accepted(&self) -> Vec<Instant> {
        self.pages().accepted.clone()
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.pages().reconnecting.clone()
    }

    pub(crate) fn forget_attempts(&self) {
        self.pages().reconnecting.clear();
    }

    /// Returns how often a request was begun.
    pub(crate) fn begun(&self, client: u32, number: u32) -> u32 {
        self.pages().begun.get(&(client, number)).copied().unwrap_or(0)
    }

    /// Returns how many requests were begun.
    pub(crate) fn begun_in_all(&self) -> usize {
        self.pages().begun.len()
    }

    pub(crate) fn notified(&self, client: u32) -> Vec<u32> {
        self.pages().notified.get(&client).cloned().unwrap_or_default()
    }

    pub(crate) fn opened(&self) -> usize {
        self.pages().told.len()
    }

    pub(crate) fn reasons(&self) -> Vec<String> {
        self.pages().reasons.clone()
    }

    /// Returns the messages that all sessions received and sent.
    pub(crate) fn carried(&self) -> (u64, u64) {
        let pages = self.pages();
        let sum = |of: fn(&Told) -> u64| pages.told.values().map(of).sum();
        (sum(|told| told.received.0), sum(|told| told.sent.0))
    }

    pub(crate) fn unexpected(&self) -> u64 {
        self.pages().counted.values().map(|stats| stats.unexpected_responses).sum()
    }

    /// Notes what must not be.
    pub(crate) fn wrong(&self, what: String) {
        self.pages().wrong.push(what);
    }

    /// Notes why a session ended and what it had counted.
    pub(crate) fn closed(&self, session: &Session, reason: &CloseReason) {
        let mut pages = self.pages();
        pages.counted.insert(session.id(), session.stats());
        pages.reasons.push(reason.to_string());
    }

    fn tell(&self, info: &Info, note: impl FnOnce(&mut Told)) {
        note(self.pages().told.entry(info.id).or_default());
    }

    /// Checks what must be true of one side alone, once all its sessions have ended.
    pub(crate) fn check(&self, side: &str) {
        let pages = self.pages();
        assert_eq!(pages.wrong, Vec::<String>::new(), "{side}");
        for (request, times) in &pages.begun {
            assert_eq!(*times, 1, "{side}: {request:?} was handled more than once");
        }
        for (id, told) in &pages.told {
            assert_eq!((told.opened, told.closed), (1, 1), "{side}: {id:?} opened and closed");
            // A session that was cut where it stood tells its handler nothing.
            let Some(stats) = pages.counted.get(id) else { continue };
            let counted = (
                (stats.received_messages, stats.received_bytes),
                (stats.sent_messages, stats.sent_bytes),
                stats.dropped_messages,
            );
            assert_eq!(
                (told.received, told.sent, told.dropped),
                counted,
                "{side}: told and counted of {id:?}"
            );
            assert_eq!(stats.requests_in_flight, 0, "{side}: {id:?} ended with requests in flight");
        }
    }
}

impl Observer for Books {
    fn accepted(&self, _: &Address) {
        self.pages().accepted.push(Instant::now());
    }

    fn opened(&self, info: &Info) {
        self.tell(info, |told| told.opened += 1);
    }

    fn received(&self, info: &Info, messages: u64, bytes: u64) {
        self.tell(info, |told| told.received = (told.received.0 + messages, told.received.1 + bytes));
    }

    fn sent(&self, info: &Info, messages: u64, bytes: u64) {
        self.tell(info, |told| told.sent = (told.sent.0 + messages, told.sent.1 + bytes));
    }

    fn dropped(&self, info: &Info, messages: u64) {
        self.tell(info, |told| told.dropped += messages);
    }

    fn reconnecting(&self, _: &Address, number: u32, delay: Duration) {
        self.pages().reconnecting.push(Attempt { told: Instant::now(), number, delay });
    }

    fn closed(&self, info: &Info, _: Option<&Error>) {
        self.tell(info, |told| told.closed += 1);
    }
}

/// Answers each request with its own payload, after the work that it asks for.
impl Handler for Books {
    async fn message(&self, session: &Session, message: Message) -> HandlerResult {
        let ask = Ask::decode(message.payload());
        self.check_bounds(session, ask);
        let chatty = {
            let mut pages = self.pages();
            if message.kind() == MessageKind::Request {
                *pages.begun.entry((ask.client, ask.number)).or_default() += 1;
            } else {
                pages.notified.entry(ask.client).or_default().push(ask.number);
            }
            pages.chatty
        };
        if chatty {
            self.push_too_much(session, ask);
        }
        if ask.work > 0 {
            sleep(Duration::from_millis(ask.work.into())).await;
        }
        Ok((message.kind() == MessageKind::Request).then(|| message.into_reply()))
    }

    async fn disconnected(&self, session: &Session, reason: &CloseReason) {
        self.closed(session, reason);
    }
}
