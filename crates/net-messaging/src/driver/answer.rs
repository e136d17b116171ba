//! Messages that are answered at once, from their bytes where they lie.

use std::task::{Context, Poll};

use net_core::{Message, MessageKind, MessageRef, Receiver, Sender};

use super::{Driver, output::Origin};
use crate::{Answer, Format, Handler, Session, session::signal};

/// Longer messages are given to a handler's future: a copy of their answer would cost more than a reference to it.
const MAX_LEN: usize = 4 * 1024;

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Lets the handler answer what is at hand, up to the first message that it leaves or that is not shown to it. `true`:
    /// nothing more is there, and what comes wakes the driver.
    ///
    /// It is called once a wake-up, before the flush; inlined it would make its caller so large that another call lay between
    /// the flush and the runtime.
    #[inline(never)]
    pub(super) fn answer<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        handler: &H,
        session: &Session,
    ) -> bool {
        if self.gate.is_some() || self.draining || self.ended.is_some() || !self.backlog.is_empty() {
            return false;
        }
        let longest = self.max_len.min(MAX_LEN);
        while self.session.signal().raised() == 0 && !self.is_blocked() && !self.is_spent() {
            let Some(frame) = self.rx.peek().filter(|frame| frame.len() <= longest) else {
                match self.fill(cx) {
                    Poll::Ready(true) => continue,
                    Poll::Ready(false) => return false,
                    Poll::Pending => return true,
                }
            };
            let frame_len = frame.len();
            let message = match self.format {
                Format::Raw => MessageRef::new(MessageKind::Notification, 0, frame),
                Format::Message => match MessageRef::decode(frame) {
                    Ok(message)
                        if matches!(message.kind(), MessageKind::Request | MessageKind::Notification) =>
                    {
                        message
                    }
                    Ok(_) | Err(_) => return false,
                },
            };
            let origin = Origin { kind: message.kind(), id: message.id() };
            let (mut waiting, mut refused) = (None, None);
            match handler.answer(session, message) {
                Answer::Leave => return false,
                Answer::Nothing => {}
                // What the handler has just sent goes first.
                Answer::Reply(payload) if self.session.signal().raised() & signal::PUSHED != 0 => {
                    waiting = Some(Message::from(message.reply(payload)));
                }
                Answer::Reply(payload) => {
                    let reply = message.reply(payload);
                    // Each has a head of a length that the compiler knows.
                    let sent = match self.format {
                        Format::Message => self.tx.poll_send_copy(cx, &reply.head(), payload),
                        Format::Raw => self.tx.poll_send_copy(cx, &[], payload),
                    };
                    match sent {
                        Poll::Ready(Ok(())) => {
                            self.dirty = true;
                            self.wake.sent += 1;
                            self.wake.sent_bytes += payload.len() as u64;
                        }
                        Poll::Ready(Err(error)) => refused = Some(error),
                        Poll::Pending => waiting = Some(Message::from(reply)),
                    }
                }
            }
            self.rx.consume();
            self.hungry = false;
            self.wake.received += 1;
            self.wake.received_bytes += frame_len as u64;
            if let Some(reply) = waiting {
                self.reply_behind(cx, reply);
            }
            if let Some(error) = refused {
                self.refused(error, origin);
            }
        }
        false
    }

    /// Reads what may be shown next. `Ready(false)`: what comes next is to be received, or nothing does.
    #[inline]
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.rx.poll_fill(cx) {
            Poll::Ready(Ok(came)) => Poll::Ready(came),
            Poll::Ready(Err(error)) => {
                self.input_ended(Some(error));
                Poll::Ready(false)
            }
            Poll::Pending => {
                self.hungry = true;
                Poll::Pending
            }
        }
    }
}
