//! From the receiver to the handler's hands.

use std::{
    error::Error as StdError,
    task::{Context, Poll},
};

use bytes::Bytes;
use net_core::{Error, ErrorKind, GoAway, Message, MessageKind, Receiver, Sender};

use super::{Driver, Ended, MAX_BYTES_PER_WAKE, MAX_MESSAGES_PER_WAKE, output::Origin};
use crate::Format;

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Polls for the next message that is for the handler; `None` where the input has ended.
    ///
    /// Messages are taken one by one: to gather them in a batch first costs more than a call for each.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a message is not moved through the memory of a call")]
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        loop {
            let frame = match self.rx.poll_recv(cx) {
                Poll::Ready(Ok(Some(frame))) => frame,
                Poll::Pending => {
                    self.hungry = true;
                    return Poll::Pending;
                }
                Poll::Ready(end) => {
                    self.input_ended(end.err());
                    return Poll::Ready(None);
                }
            };
            self.hungry = false;
            self.wake.received += 1;
            self.wake.received_bytes += frame.len() as u64;
            if frame.len() > self.max_len {
                self.too_long(frame.len());
                return Poll::Ready(None);
            }
            if self.format == Format::Raw {
                let message = Message::new(MessageKind::Notification, 0, frame);
                if self.gate.is_none() {
                    return Poll::Ready(Some(message));
                }
                match self.pass(message) {
                    Some(message) => return Poll::Ready(Some(message)),
                    None if self.is_spent() => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    None => continue,
                }
            }
            match self.understand(frame) {
                Some(message) => return Poll::Ready(Some(message)),
                None if self.ended.is_some() => return Poll::Ready(None),
                // A peer that sends nothing but answers and heartbeats must leave others their turn too. Who rests
                // now is woken at once.
                None if self.is_spent() => return Poll::Pending,
                None => {}
            }
        }
    }

    #[cold]
    pub(super) fn input_ended(&mut self, error: Option<Error>) {
        match error {
            None => self.ended = Some(Ended::Clean),
            Some(error) => self.broken(error),
        }
    }

    /// Reads a frame as a message, and deals with one that is not for the handler.
    #[inline]
    fn understand(&mut self, frame: Bytes) -> Option<Message> {
        match Message::decode(frame) {
            Ok(message) => match message.kind() {
                MessageKind::Request | MessageKind::Notification => {
                    return if self.gate.is_none() { Some(message) } else { self.pass(message) };
                }
                MessageKind::Response | MessageKind::Error => self.session.answer(message),
                MessageKind::GoAway => self.asked_to_leave(&message),
                MessageKind::Heartbeat => {}
                MessageKind::Authenticate => self.unasked_credentials(&message),
            },
            Err(error) => self.violated(error),
        }
        None
    }

    #[cold]
    pub(super) fn asked_to_leave(&mut self, message: &Message) {
        match GoAway::decode(message.payload()) {
            Some(go_away) => self.session.note_go_away(go_away),
            None => self.violated("a notice to go away is cut short"),
        }
    }

    /// Reads on while the handler waits: answers are given to their requests, messages wait in the backlog.
    ///
    /// `true`: something was read.
    pub(super) fn read_on(&mut self, cx: &mut Context<'_>, running: &[Origin]) -> bool {
        if self.ended.is_some() || self.backlog.is_full() || self.is_spent() {
            return false;
        }
        let message = match self.poll_receive(cx) {
            Poll::Pending => return false,
            Poll::Ready(None) => return true,
            Poll::Ready(Some(message)) => message,
        };
        if self.draining {
            // It came too late to be taken, as what stays in the system's buffers.
            return true;
        }
        let origin = Origin::of(&message);
        if origin.kind == MessageKind::Request && (running.contains(&origin) || self.backlog.contains(origin))
        {
            self.repeated(origin);
        } else {
            self.backlog.push(message);
        }
        true
    }

    /// Ends the session because the peer broke the protocol.
    #[cold]
    pub(super) fn violated(&mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) {
        self.broken(Error::new(ErrorKind::Protocol, "receive").because(source));
    }

    /// Ends the session because the peer gave two requests the same id before the first was answered.
    #[cold]
    pub(super) fn repeated(&mut self, origin: Origin) {
        self.violated(format!("request {} was sent again before its answer", origin.id));
    }

    /// Tells whether this wake-up has handled its share.
    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.wake.received >= MAX_MESSAGES_PER_WAKE || self.wake.received_bytes >= MAX_BYTES_PER_WAKE
    }

    /// Tells whether nothing more is to be handled: the input has ended and all of it was taken.
    pub(super) fn is_exhausted(&self) -> bool {
        match self.ended {
            Some(Ended::Clean) => self.backlog.is_empty(),
            Some(Ended::Broken) => true,
            None => false,
        }
    }
}
