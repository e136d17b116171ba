//! From the handler and the outbox to the sender.

use std::task::{Context, Poll};

use bytes::Bytes;
use net_core::{Error, ErrorCode, ErrorKind, ErrorReply, Limit, Message, MessageKind, Receiver, Sender};

use super::{Driver, Ended};
use crate::{
    Format, HandlerResult,
    session::{
        outbox::{cost, detach},
        signal,
    },
};

/// What a reply is to: kind and id of the message that was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) kind: MessageKind,
    pub(super) id: u64,
}

/// What waited for the peer when the driver looked last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    unsent: usize,
    blocked: bool,
    /// Messages that the sender had taken by then.
    accepted: u32,
    /// How much memory the sender held by then.
    held: usize,
}

impl Watched {
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

/// Tells whether a sender refused one message, and the connection is intact.
fn is_of_message(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::MessageTooLong | ErrorKind::InvalidMessage)
}

/// What the sender makes of a message.
enum Offer {
    Taken,
    NoRoom(Message),
    Refused(Error),
}

impl Origin {
    /// What a reply is to while nothing was handled.
    pub(super) const NONE: Self = Self { kind: MessageKind::Heartbeat, id: 0 };

    pub(super) fn of(message: &Message) -> Self {
        Self { kind: message.kind(), id: message.id() }
    }
}

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Offers one message to the sender.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a message is not moved through the memory of a call")]
    fn offer(&mut self, cx: &mut Context<'_>, message: Message) -> Offer {
        let (kind, id, len) = (message.kind(), message.id(), message.payload().len());
        let head = message.head();
        let mut payload = message.into_payload();
        let sent = match self.format {
            Format::Message => self.tx.poll_send_parts(cx, &head, &mut payload),
            Format::Raw => self.tx.poll_send(cx, &mut payload),
        };
        match sent {
            Poll::Ready(Ok(())) => {
                self.dirty = true;
                self.wake.sent += 1;
                self.wake.sent_bytes += len as u64;
                Offer::Taken
            }
            Poll::Ready(Err(error)) => Offer::Refused(error),
            Poll::Pending => Offer::NoRoom(Message::new(kind, id, payload)),
        }
    }

    /// Moves what was pushed, and then the replies, into the sender. `Pending`: there is no room.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What was pushed while earlier pushes were blocked still goes before the replies.
        loop {
            if !self.leaving.is_empty() && self.poll_leaving(cx).is_pending() {
                return Poll::Pending;
            }
            if self.session.signal().raised() & signal::PUSHED == 0 {
                break;
            }
            self.session.take_outbox(&mut self.leaving);
        }
        while let Some(reply) = self.replies.pop_front() {
            let origin = Origin::of(&reply);
            match self.offer(cx, reply) {
                Offer::Taken => {}
                Offer::Refused(error) => self.refused(error, origin),
                Offer::NoRoom(reply) => {
                    self.replies.push_front(reply);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (mut messages, mut bytes) = (0, 0);
        let mut room = Poll::Ready(());
        while let Some(message) = self.leaving.pop_front() {
            let cost = cost(&message);
            match self.offer(cx, message) {
                Offer::Taken => {}
                // Its length was checked when it was pushed, but whether the framing can mark it is seen here.
                Offer::Refused(error) if is_of_message(&error) => self.session.count_dropped(1),
                Offer::Refused(error) => self.failed(error),
                Offer::NoRoom(message) => {
                    self.leaving.push_front(message);
                    room = Poll::Pending;
                    break;
                }
            }
            messages += 1;
            bytes += cost;
        }
        if messages > 0 {
            self.session.left(messages, bytes);
        }
        if room.is_pending() {
            self.session.give_back(&mut self.leaving);
        }
        room
    }

    /// Sends what a handler gave, behind what was pushed before; it waits where there is no room.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a message is not moved through the memory of a call")]
    pub(super) fn reply(&mut self, cx: &mut Context<'_>, origin: Origin, result: HandlerResult) {
        match result {
            Ok(Some(reply)) => {
                let pushed = self.session.signal().raised() & signal::PUSHED != 0;
                if pushed || self.is_blocked() {
                    self.reply_behind(cx, reply);
                    return;
                }
                match self.offer(cx, reply) {
                    Offer::Taken => {}
                    other => self.reply_refused(origin, other),
                }
            }
            Ok(None) => {}
            Err(error) => {
                if let Some(reply) = Self::error_reply(origin, &*error) {
                    self.reply_behind(cx, reply);
                }
            }
        }
    }

    /// Sends a reply behind what waits already.
    #[cold]
    pub(super) fn reply_behind(&mut self, cx: &mut Context<'_>, reply: Message) {
        self.replies.push_back(reply);
        let _ = self.poll_output(cx);
        // What has to wait for longer pins no read buffer.
        if let Some(last) = self.replies.pop_back() {
            self.replies.push_back(detach(last));
        }
    }

    #[cold]
    fn reply_refused(&mut self, origin: Origin, offer: Offer) {
        match offer {
            Offer::Taken => {}
            Offer::Refused(error) => self.refused(error, origin),
            Offer::NoRoom(reply) => self.replies.push_back(detach(reply)),
        }
    }

    /// Returns what the peer is told of a handler's error.
    fn error_reply(origin: Origin, error: &(dyn std::error::Error + 'static)) -> Option<Message> {
        if origin.kind != MessageKind::Request {
            return None;
        }
        // What the program did not write for the peer is not for the peer.
        let unspecific = ErrorReply::new(ErrorCode::Failed, "the handler failed");
        let reply = error.downcast_ref::<ErrorReply>().unwrap_or(&unspecific);
        Some(Message::new(MessageKind::Error, origin.id, reply.encode()))
    }

    /// Answers a request whose handler was dropped because it took too long.
    pub(super) fn reply_overdue(&mut self, cx: &mut Context<'_>, origin: Origin) {
        self.session.limited(Limit::HandlerTimeout);
        let error = ErrorReply::new(ErrorCode::TimedOut, "the handler did not finish in time");
        self.reply(cx, origin, Err(error.into()));
    }

    /// Deals with a reply that the sender refused.
    #[cold]
    pub(super) fn refused(&mut self, error: Error, origin: Origin) {
        if !is_of_message(&error) {
            return self.failed(error);
        }
        // The connection is intact; the one who asked learns that the answer cannot be carried, unless even that
        // cannot.
        let asked = matches!(origin.kind, MessageKind::Request | MessageKind::Response);
        if asked && self.format == Format::Message {
            let reply = ErrorReply::new(ErrorCode::Failed, "no message can carry the answer");
            self.replies.push_front(Message::new(MessageKind::Error, origin.id, reply.encode()));
        } else {
            self.session.count_dropped(1);
        }
    }

    #[cold]
    fn failed(&mut self, error: Error) {
        self.leaving.clear();
        self.replies.clear();
        self.broken(error);
    }

    /// Sends a heartbeat, where nothing else is on its way.
    pub(super) fn send_heartbeat(&mut self, cx: &mut Context<'_>) {
        self.session.signal().lower(signal::HEARTBEAT);
        if self.leaving.is_empty() && self.replies.is_empty() {
            let heartbeat = Message::new(MessageKind::Heartbeat, 0, Bytes::new());
            if let Offer::Refused(error) = self.offer(cx, heartbeat) {
                self.failed(error);
            }
        }
    }

    /// Flushes what the sender has taken, and watches whether the peer takes it.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `rest_inline`")]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        let mut taken = false;
        if self.dirty {
            let before = self.tx.unsent_len();
            match self.tx.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.dirty = false,
                Poll::Ready(Err(error)) => {
                    self.dirty = false;
                    return self.failed(error);
                }
                Poll::Pending => taken = self.tx.unsent_len() < before,
            }
        }
        if self.dirty || self.is_blocked() {
            self.watch_peer(taken);
        } else if self.watched.is_some() {
            self.watched = None;
            self.session.activity().moving();
            self.session.activity().block(0);
            self.account();
        }
    }

    /// Notes since when the peer has taken nothing of what waits for it; `taken`: it just took something.
    #[cold]
    fn watch_peer(&mut self, taken: bool) {
        let now = Watched {
            unsent: self.tx.unsent_len(),
            blocked: self.is_blocked(),
            accepted: self.accepted,
            held: self.tx.held_len(),
        };
        // Less waits than before, or what had found no room has found some.
        let moves = self.watched.as_deref().is_none_or(|before| {
            now.unsent < before.unsent || (before.blocked && now.accepted != before.accepted)
        });
        if taken || moves {
            self.session.activity().moving();
        }
        match &mut self.watched {
            Some(before) => **before = now,
            None => self.watched = Some(Box::new(now)),
        }
        self.session.activity().block(self.replies.len());
        let now = self.now();
        self.session.activity().stalled(now);
        // What waits for a peer that does not read stays, unlike what is written before the next message comes.
        self.account();
    }

    /// Tells whether the session is to end now: disconnected, or its connection broke.
    pub(super) fn is_stopped(&self) -> bool {
        self.session.signal().raised() & signal::CLOSE != 0 || matches!(self.ended, Some(Ended::Broken))
    }
}
