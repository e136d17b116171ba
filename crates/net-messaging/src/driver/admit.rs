//! The beginning of a session: the handler takes or refuses it.

use std::{future::poll_fn, pin::pin, task::Poll};

use net_core::{Receiver, Sender};

use super::{Driver, output::Origin, run::Beside};
use crate::{CloseReason, Handler};

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Asks the handler whether it takes the session; everything else of the session runs meanwhile, so that the
    /// handler may send to it, ask the peer, or disconnect it.
    pub(super) async fn admit<H: Handler>(&mut self, handler: &H) -> bool {
        let session = self.session.clone();
        let mut asked = pin!(handler.connected(&session));
        let admitted = poll_fn(|cx| {
            self.awake(cx);
            match asked.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.is_ok()),
                Poll::Pending => match self.poll_beside(cx, Origin::NONE) {
                    Poll::Ready(Beside::Overdue | Beside::Stopped) => Poll::Ready(false),
                    Poll::Pending => Poll::Pending,
                },
            }
        })
        .await;
        self.session.activity().handled();
        if !admitted {
            // Where it was disconnected or broke meanwhile, that reason stays.
            self.session.set_reason(CloseReason::Refused);
        }
        admitted
    }
}
