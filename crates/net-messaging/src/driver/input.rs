//! From the receiver to the handler's hands.

use std::task::{Context, Poll};

use net_core::{Error, ErrorKind, Message, MessageKind, Receiver, Sender};

use super::{
    Driver, Ended, MAX_BACKLOG, MAX_BACKLOG_BYTES, MAX_BYTES_PER_WAKE, MAX_MESSAGES_PER_WAKE, output::Origin,
};
use crate::Format;

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Takes the next message that is for the handler, out of what has arrived.
    #[inline]
    pub(super) fn take_message(&mut self) -> Option<Message> {
        if let Some(message) = self.backlog.pop_front() {
            self.backlog_bytes -= message.payload().len();
            return Some(message);
        }
        self.take_from_input()
    }

    /// Takes the next message that is for the handler out of the input; what is not is dealt with on the way.
    #[inline]
    fn take_from_input(&mut self) -> Option<Message> {
        while let Some(frame) = self.input.pop() {
            if self.format == Format::Raw {
                return Some(Message::new(MessageKind::Notification, 0, frame));
            }
            match Message::decode(frame) {
                Ok(message) => match message.kind() {
                    MessageKind::Request | MessageKind::Notification => return Some(message),
                    MessageKind::Response | MessageKind::Error => self.session.answer(message),
                    MessageKind::Heartbeat => {}
                },
                Err(error) => {
                    self.violated(error.into());
                    return None;
                }
            }
        }
        None
    }

    /// Ends the session because the peer broke the protocol.
    #[cold]
    fn violated(&mut self, source: Box<dyn std::error::Error + Send + Sync>) {
        self.input.clear();
        self.broken(Error::new(ErrorKind::Protocol, "receive").because(source));
    }

    /// Ends the session because the peer gave two requests the same id before the first was answered.
    #[cold]
    pub(super) fn repeated(&mut self, origin: Origin) {
        self.violated(format!("request {} was sent again before its answer", origin.id).into());
    }

    /// Receives a batch. `Ready`: there is input, or its end is noted.
    #[inline]
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.input.bytes();
        match self.rx.poll_recv_many(cx, &mut self.input) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => self.ended = Some(Ended::Clean),
            Poll::Ready(Ok(count)) => {
                self.wake.received += count as u64;
                self.wake.received_bytes += (self.input.bytes() - before) as u64;
            }
            Poll::Ready(Err(error)) => self.broken(error),
        }
        Poll::Ready(())
    }

    /// Reads on while the handler waits: answers are given to their requests, messages wait in the backlog.
    ///
    /// `true`: something was read.
    pub(super) fn read_on(&mut self, cx: &mut Context<'_>, running: &[Origin]) -> bool {
        if self.ended.is_some() || self.is_backlog_full() || self.is_spent() {
            return false;
        }
        if self.input.is_empty() && self.poll_receive(cx).is_pending() {
            return false;
        }
        while !self.is_backlog_full()
            && let Some(message) = self.take_from_input()
        {
            self.wake.handled += 1;
            self.wake.handled_bytes += message.payload().len();
            let origin = Origin::of(&message);
            let mut waiting = self.backlog.iter().map(Origin::of);
            if origin.kind == MessageKind::Request
                && (running.contains(&origin) || waiting.any(|other| other == origin))
            {
                self.repeated(origin);
                break;
            }
            self.backlog_bytes += message.payload().len();
            self.backlog.push_back(message);
        }
        true
    }

    /// Tells whether no more messages may wait for the handler.
    pub(super) fn is_backlog_full(&self) -> bool {
        self.backlog.len() >= MAX_BACKLOG || self.backlog_bytes >= MAX_BACKLOG_BYTES
    }

    /// Tells whether this wake-up has handled its share.
    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.wake.handled >= MAX_MESSAGES_PER_WAKE || self.wake.handled_bytes >= MAX_BYTES_PER_WAKE
    }

    /// Tells whether nothing more is to be handled: the input has ended and all of it was taken.
    pub(super) fn is_exhausted(&self) -> bool {
        match self.ended {
            Some(Ended::Clean) => self.backlog.is_empty() && self.input.is_empty(),
            Some(Ended::Broken) => true,
            None => false,
        }
    }
}
