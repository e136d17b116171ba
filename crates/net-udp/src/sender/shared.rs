//! Sending over the socket of a listener, whose task does it for all sessions.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use net_core::{Error, ErrorKind, Info, Observer, Result};

use crate::{
    demux::{Place, Staged},
    outgoing::Route,
    session::Session,
    socket::address,
};

/// How many bytes are gathered before they are handed to the task.
const MAX_STAGED_LEN: usize = 64 * 1024;
/// How many messages are.
const MAX_STAGED: usize = 256;
/// For how many messages memory stays when none is gathered.
const KEPT: usize = 16;

/// The sending half of a session.
#[derive(Debug)]
pub(super) struct Shared {
    session: Arc<Session>,
    route: Route,
    staged: Vec<Staged>,
    staged_len: usize,
    /// Its place among those who wait for room.
    place: Option<Place>,
    /// What was sent before the peer had proved its address, headers counted.
    sent: u64,
    /// Who is told of what is withheld.
    watch: Option<Box<(Arc<dyn Observer>, Info)>>,
}

impl Shared {
    pub(super) fn new(session: Arc<Session>, watch: Option<(Arc<dyn Observer>, Info)>) -> Self {
        let key = session.line().key;
        let route = Route { to: Some(key.peer), from: key.local, ecn: None };
        let watch = watch.map(Box::new);
        Self { session, route, staged: Vec::new(), staged_len: 0, place: None, sent: 0, watch }
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &mut Bytes,
    ) -> Poll<Result<()>> {
        if let Some(why) = self.session.line().inbox.failure() {
            return Poll::Ready(Err(self.error(why)));
        }
        let len = head.len() + body.len();
        if self.staged.len() >= MAX_STAGED
            || self.staged_len + len > MAX_STAGED_LEN && !self.staged.is_empty()
        {
            ready!(self.poll_flush(cx))?;
        }
        let factor = self.session.hub().config.max_amplification;
        if let Some(factor) = factor
            && !self.session.line().standing.may_send(&mut self.sent, len, factor)
        {
            // Whoever waits for it in vain has not shown that it is there.
            *body = Bytes::new();
            self.withhold();
            return Poll::Ready(Ok(()));
        }
        if let Some(message) = Staged::new(head, body) {
            self.staged_len += len;
            self.staged.push(message);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.staged.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.route.from.is_some() && self.session.line().misplaced.load(Ordering::Relaxed) {
            self.route.from = None;
        }
        let handed = self.session.hub().poll_hand_over(cx, self.route, &mut self.staged, &mut self.place);
        self.staged_len = self.staged.iter().map(Staged::len).sum();
        if self.staged.is_empty() {
            self.staged.shrink_to(KEPT);
        }
        handed.map_err(|why| self.error(why))
    }

    pub(super) fn finish(&self) {
        self.session.line().inbox.finish();
    }

    pub(super) fn unsent_len(&self) -> usize {
        self.staged_len
    }

    #[cold]
    fn withhold(&self) {
        self.session.line().standing.withheld.add(1);
        self.session.hub().counters.withheld.add(1);
        if let Some(watch) = &self.watch {
            let (observer, info) = &**watch;
            observer.dropped(info, 1);
        }
    }

    #[cold]
    fn error(&self, why: ErrorKind) -> Error {
        Error::new(why, "send").at(&address(self.session.line().key.peer))
    }
}
