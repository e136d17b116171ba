//! What holds a peer's messages to the rate limits.

use net_core::{ErrorCode, ErrorReply, Limit, Message, MessageKind, Receiver, Sender};

use super::Driver;

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Begins to hold the session to the limits that its server has.
    pub(super) fn install_gate(&mut self) {
        let limiters = self.settings().access.limiters.as_ref();
        self.gate = limiters.map(|limiters| Box::new(limiters.gate(&self.session)));
    }

    /// Lets a request or a notification pass, or answers it by an error where it can be answered.
    pub(super) fn pass(&mut self, message: Message) -> Option<Message> {
        let Some(gate) = &mut self.gate else { return Some(message) };
        let Err(wait) = gate.pass() else { return Some(message) };
        if message.kind() == MessageKind::Request {
            let error = ErrorReply::new(ErrorCode::RateLimited, "more messages than allowed");
            self.answer_by_outbox(message.reply_error(&error.with_retry_after(wait)));
        }
        None
    }

    /// Tells counters and observers how many messages were refused since the last report.
    pub(super) fn report_refused(&mut self) {
        let refused = self.gate.as_mut().map_or(0, |gate| gate.take_refused());
        if refused > 0 {
            self.session.count_limited(refused);
            self.session.observe(|observer| observer.refused(self.info(), Limit::Rate, refused));
        }
    }
}
