//! A session that its handler has not admitted yet.

use std::{future::pending, time::Duration};

use net_core::{ErrorKind, Message, memory::Memory};
use net_messaging::{Client, CloseReason, Handler, HandlerResult, Limits, Server, Session, SessionState};
use tokio::sync::mpsc;

/// Asks somebody who never answers whether a session may come in.
struct Undecided(mpsc::UnboundedSender<(SessionState, CloseReason)>);

impl Handler for Undecided {
    async fn message(&self, _: &Session, _: Message) -> HandlerResult {
        Ok(None)
    }

    async fn connected(&self, _: &Session) -> HandlerResult<()> {
        pending().await
    }

    async fn disconnected(&self, session: &Session, reason: &CloseReason) {
        // The test that no longer listens has failed already.
        let _ = self.0.send((session.state(), reason.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn m5_a_time_out_ends_a_session_that_is_only_created() {
    let memory = Memory::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    let limits = Limits { handler_timeout: Some(Duration::from_secs(5)), ..Limits::default() };
    let server = Server::builder(memory.clone())
        .limits(limits)
        .handler(Undecided(tell))
        .listen("mem://undecided")
        .await
        .expect("listens");
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    assert_eq!(server.sessions().pop().expect("a session").state(), SessionState::Created);
    let error = client.request("?").await.expect_err("nobody was admitted to answer");
    assert_eq!(error.kind(), ErrorKind::Closed);
    let (state, reason) = told.recv().await.expect("the handler is told");
    assert_eq!(state, SessionState::Disconnecting);
    assert!(matches!(reason, CloseReason::Refused), "{reason}");
    assert_eq!(server.len(), 0);
}
