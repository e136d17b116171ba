//! The beginning of a session of a client that shows who it is.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use net_core::{ErrorCode, ErrorReply, Message, MessageKind, Receiver, Sender};
use tokio::time::sleep;

use super::Driver;
use crate::{Identity, Proof};

/// The number of the message with the credentials; it is free again once they are answered.
const ID: u64 = 0;

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Shows the server who this client is, and waits for what it says; until then nothing else is sent but heartbeats,
    /// which keep a server waiting while credentials are fetched, and the handler hears of nothing.
    pub(super) async fn present(&mut self) -> bool {
        let session = self.session.clone();
        let Some(source) = &session.settings().access.source else { return true };
        let mut deadline = pin!(sleep(source.timeout()));
        let mut fetching = Some(source.fetch());
        let answer = poll_fn(|cx| {
            self.awake(cx);
            loop {
                if self.is_interrupted(cx) {
                    return Poll::Ready(None);
                }
                if deadline.as_mut().poll(cx).is_ready() {
                    let late = ErrorReply::new(ErrorCode::TimedOut, "no answer to the credentials in time");
                    return Poll::Ready(Some(Err(late)));
                }
                let _ = self.poll_output(cx);
                if let Some(fetched) = &mut fetching {
                    if let Poll::Ready(fetched) = fetched.as_mut().poll(cx) {
                        fetching = None;
                        let payload = fetched
                            .map_err(|error| error.report())
                            .and_then(|credentials| credentials.encode().map_err(|error| error.to_string()));
                        match payload {
                            Ok(payload) => {
                                let message = Message::new(MessageKind::Authenticate, ID, payload);
                                self.replies.push_back(message);
                            }
                            Err(why) => {
                                let why = format!("no credentials: {why}");
                                return Poll::Ready(Some(Err(ErrorReply::new(ErrorCode::Failed, why))));
                            }
                        }
                        continue;
                    }
                } else if let Poll::Ready(frame) = self.poll_frame(cx) {
                    if let Some(answer) = frame.and_then(|frame| self.answered(frame)) {
                        return Poll::Ready(Some(answer));
                    }
                    if self.ended.is_some() {
                        return Poll::Ready(None);
                    }
                    continue;
                }
                if self.rest(cx, 0) {
                    return Poll::Pending;
                }
            }
        })
        .await;
        match answer {
            Some(Ok(name)) => {
                session.set_identity(Identity::new(name).with_proof(Proof::Server));
                true
            }
            Some(Err(reply)) => {
                self.turn_away(reply);
                false
            }
            None => false,
        }
    }

    /// Reads a frame of the server: its verdict, or something that has come before it.
    fn answered(&mut self, frame: Bytes) -> Option<Result<String, ErrorReply>> {
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(error) => {
                self.violated(error);
                return None;
            }
        };
        match message.kind() {
            MessageKind::Response if message.id() == ID => {
                Some(Ok(String::from_utf8_lossy(message.payload()).into_owned()))
            }
            MessageKind::Error if message.id() == ID => Some(Err(ErrorReply::decode(message.payload())
                .unwrap_or_else(|| ErrorReply::new(ErrorCode::Unauthenticated, "refused without a reason")))),
            // A server that asks for no credentials may speak first; the handler gets it if it lets us in.
            MessageKind::Request | MessageKind::Notification => {
                if self.backlog.is_full() {
                    self.violated("the server says too much before it answers");
                } else {
                    self.backlog.push(message);
                }
                None
            }
            MessageKind::Heartbeat | MessageKind::Response | MessageKind::Error => None,
            MessageKind::GoAway => {
                self.asked_to_leave(&message);
                None
            }
            MessageKind::Authenticate => {
                self.violated("a server does not authenticate to a client");
                None
            }
        }
    }
}
