//! The beginning of a session of a server that asks who its peers are.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use net_core::{Error, ErrorCode, ErrorKind, ErrorReply, Limit, Message, MessageKind, Receiver, Sender};
use tokio::time::sleep;

use super::{Driver, Ended};
use crate::{
    CloseReason, Identity, Proof,
    auth::{Decision, Gatekeeper},
    session::{Role, signal},
};

type Deciding<'a> = Pin<Box<dyn Future<Output = Decision> + Send + 'a>>;

/// Where the conversation about the peer's identity stands.
enum Stage<'a> {
    /// The next message is waited for.
    Listening,
    /// The authenticator decides about the credentials with this id.
    Deciding(u64, Deciding<'a>),
    /// The peer is known, once its answer has been taken by the sender.
    Known(Identity),
    /// It is turned away, once its answer has been taken by the sender.
    TurnedAway(ErrorReply),
}

/// What the peer has used up so far.
#[derive(Debug, Default)]
struct Used {
    messages: u32,
    bytes: usize,
    attempts: u32,
}

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Lets both sides learn who the other is, where that is asked for: `true` from the future where they did.
    ///
    /// It is boxed, and only where it is needed: a session that lives has no need of its memory.
    pub(super) fn introduce(&mut self) -> Option<Pin<Box<dyn Future<Output = bool> + Send + '_>>> {
        if !self.settings().access.is_guarded() {
            return None;
        }
        Some(match self.settings().role {
            Role::Server => Box::pin(self.authenticate()),
            Role::Client => Box::pin(self.present()),
        })
    }

    /// Finds out who the peer is; until then it reaches no handler and uses no more than it may.
    async fn authenticate(&mut self) -> bool {
        let session = self.session.clone();
        let Some(gatekeeper) = session.settings().access.gatekeeper.as_deref() else { return true };
        if let Some(identity) = gatekeeper.identify(session.info()) {
            session.set_identity(identity.with_proof(Proof::Transport));
            return true;
        }
        if !gatekeeper.takes_credentials() {
            self.turn_away(ErrorReply::new(ErrorCode::Unauthenticated, "the transport proves no identity"));
            return false;
        }
        // What is longer than what it may still send is refused before memory is taken for it.
        let longest = self.rx.limit_message_len(gatekeeper.config.max_bytes.max(1));
        self.restrict(longest, gatekeeper.config.max_bytes);
        let mut used = Used::default();
        let mut stage = Stage::Listening;
        let mut deadline = pin!(sleep(gatekeeper.config.timeout));
        poll_fn(|cx| {
            self.awake(cx);
            loop {
                if self.is_interrupted(cx) {
                    return Poll::Ready(false);
                }
                let room = self.poll_output(cx).is_ready();
                let late = !matches!(stage, Stage::TurnedAway(_)) && deadline.as_mut().poll(cx).is_ready();
                match &mut stage {
                    _ if late => {
                        let refusal = ErrorReply::new(ErrorCode::TimedOut, "not authenticated in time");
                        if let Stage::Deciding(id, _) = stage {
                            self.refuse(id, &refusal);
                        }
                        stage = Stage::TurnedAway(refusal);
                        continue;
                    }
                    Stage::Known(_) if room => {
                        let Stage::Known(identity) = std::mem::replace(&mut stage, Stage::Listening) else {
                            continue;
                        };
                        session.set_identity(identity.with_proof(Proof::Credentials));
                        self.restrict(longest, usize::MAX);
                        return Poll::Ready(true);
                    }
                    Stage::TurnedAway(reply) if room => {
                        self.turn_away(reply.clone());
                        return Poll::Ready(false);
                    }
                    Stage::Deciding(id, deciding) => {
                        if let Poll::Ready(decision) = deciding.as_mut().poll(cx) {
                            stage = self.decided(*id, decision, gatekeeper, &used);
                            continue;
                        }
                    }
                    Stage::Listening if room => match self.poll_frame(cx) {
                        Poll::Ready(Some(frame)) => {
                            stage = self.received_unknown(frame, gatekeeper, &session, &mut used);
                            self.restrict(longest, gatekeeper.config.max_bytes.saturating_sub(used.bytes));
                            continue;
                        }
                        Poll::Ready(None) => return Poll::Ready(false),
                        Poll::Pending => {
                            if used.bytes + self.rx.incomplete_len() > gatekeeper.config.max_bytes {
                                stage = Stage::TurnedAway(self.exceeds());
                                continue;
                            }
                        }
                    },
                    Stage::Known(_) | Stage::TurnedAway(_) | Stage::Listening => {}
                }
                if self.rest(cx, 0) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Tells whether something else ends the session before it is known.
    pub(super) fn is_interrupted(&mut self, cx: &mut Context<'_>) -> bool {
        if self.session.signal().raised() != 0 {
            self.heed(cx);
        }
        self.is_stopped() || self.is_drained() || self.session.signal().raised() & signal::CLOSE_LATER != 0
    }

    /// Polls for the next frame; `None` where the input has ended.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.rx.poll_recv(cx) {
            Poll::Ready(Ok(Some(frame))) => {
                self.hungry = false;
                self.wake.received += 1;
                self.wake.received_bytes += frame.len() as u64;
                Poll::Ready(Some(frame))
            }
            // Longer than what it may still send.
            Poll::Ready(Err(error))
                if error.kind() == ErrorKind::MessageTooLong && self.settings().role == Role::Server =>
            {
                let reply = self.exceeds();
                self.turn_away(reply);
                self.ended = Some(Ended::Broken);
                Poll::Ready(None)
            }
            Poll::Ready(end) => {
                self.input_ended(end.err());
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.hungry = true;
                Poll::Pending
            }
        }
    }

    /// Deals with a frame of a peer that nobody knows yet.
    fn received_unknown<'a>(
        &mut self,
        frame: Bytes,
        gatekeeper: &'a Gatekeeper,
        session: &'a crate::Session,
        used: &mut Used,
    ) -> Stage<'a> {
        used.messages += 1;
        used.bytes += frame.len();
        if used.messages > gatekeeper.config.max_messages || used.bytes > gatekeeper.config.max_bytes {
            return Stage::TurnedAway(self.exceeds());
        }
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(error) => {
                self.violated(error);
                return Stage::Listening;
            }
        };
        let id = message.id();
        match message.kind() {
            MessageKind::Authenticate => {
                used.attempts += 1;
                Stage::Deciding(id, Box::pin(gatekeeper.decide(session, message)))
            }
            MessageKind::Request => {
                self.refuse(id, &ErrorReply::new(ErrorCode::Unauthenticated, "authenticate first"));
                Stage::Listening
            }
            // Counted above, and that is all.
            _ => Stage::Listening,
        }
    }

    /// Answers an attempt.
    fn decided<'a>(
        &mut self,
        id: u64,
        decision: Decision,
        gatekeeper: &Gatekeeper,
        used: &Used,
    ) -> Stage<'a> {
        let refusal = match decision {
            Decision::Made(Ok(identity)) => {
                let name = if gatekeeper.config.tell_name { identity.name() } else { "" };
                let name = Bytes::copy_from_slice(name.as_bytes());
                self.replies.push_back(Message::new(MessageKind::Response, id, name));
                return Stage::Known(identity);
            }
            Decision::Made(Err(refusal)) => refusal.into_reply(),
            Decision::LockedOut(wait) => {
                self.session
                    .observe(|observer| observer.refused(self.info(), Limit::AuthenticationFailures, 1));
                let refusal = ErrorReply::new(ErrorCode::RateLimited, "too many attempts have failed");
                let refusal = refusal.with_retry_after(wait);
                self.refuse(id, &refusal);
                return Stage::TurnedAway(refusal);
            }
        };
        self.refuse(id, &refusal);
        if used.attempts >= gatekeeper.config.max_attempts.get() {
            self.session.observe(|observer| observer.refused(self.info(), Limit::AuthenticationAttempts, 1));
            return Stage::TurnedAway(refusal);
        }
        self.session.observe(|observer| observer.authentication_failed(self.info(), &refusal));
        Stage::Listening
    }

    /// Tells that a peer sends too much before it is known, and returns why it is turned away.
    fn exceeds(&self) -> ErrorReply {
        self.session.observe(|observer| observer.refused(self.info(), Limit::Unauthenticated, 1));
        ErrorReply::new(ErrorCode::Unauthenticated, "too much before authentication")
    }

    /// Lets the peer announce no message longer than `left`, where the receiver, whose own limit is `longest`, can be
    /// told so; where it cannot, such a message counts once it has arrived.
    fn restrict(&mut self, longest: Option<usize>, left: usize) {
        if let Some(longest) = longest {
            self.rx.limit_message_len(longest.min(left.max(1)));
        }
    }

    fn refuse(&mut self, id: u64, reply: &ErrorReply) {
        self.replies.push_back(Message::new(MessageKind::Error, id, reply.encode()));
    }

    /// Notes that the session ends because the peer is not known, or this side not to the peer.
    pub(super) fn turn_away(&self, reply: ErrorReply) {
        self.session.observe(|observer| observer.authentication_failed(self.info(), &reply));
        let kind = match reply.code {
            ErrorCode::TimedOut => ErrorKind::TimedOut,
            _ => ErrorKind::Unauthenticated,
        };
        let error = Error::new(kind, "authenticate").at(&self.info().remote).because(reply);
        self.session.set_reason(CloseReason::Unauthenticated(Arc::new(error)));
    }

    /// Answers credentials that arrive where none are asked for.
    #[cold]
    pub(super) fn unasked_credentials(&mut self, message: &Message) {
        let answer = match (self.settings().role, self.session.identity()) {
            (Role::Client, _) => return self.violated("a server does not authenticate to a client"),
            // Whoever has a certificate too need not know which of both the server wants to see.
            (Role::Server, Some(identity)) if identity.proof() == Proof::Transport => {
                let tells =
                    self.settings().access.gatekeeper.as_ref().is_some_and(|keeper| keeper.config.tell_name);
                let name = if tells { identity.name().to_owned() } else { String::new() };
                message.reply(name)
            }
            (Role::Server, Some(_)) => {
                message.reply_error(&ErrorReply::new(ErrorCode::Invalid, "authenticated already"))
            }
            (Role::Server, None) => message
                .reply_error(&ErrorReply::new(ErrorCode::Unsupported, "nobody is asked to authenticate")),
        };
        self.answer_by_outbox(answer);
    }

    /// Sends an answer that is not a handler's: through the outbox, whose bounds hold for it.
    pub(super) fn answer_by_outbox(&self, answer: Message) {
        // A peer that reads none of its answers has the outbox's policy applied.
        let _ = self.session.send_own(answer);
    }
}
