//! Halves behind a `Box`, whose type is chosen at run time or not.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Listener, Receiver, Sender};
use crate::{Address, Admission, Batch, Connection, GoAwayReason, IncomingConnection, Result};

impl<S: Sender + ?Sized> Sender for Box<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        (**self).poll_send(cx, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        (**self).poll_flush(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        (**self).poll_finish(cx)
    }

    fn poll_send_parts(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        (**self).poll_send_parts(cx, head, body)
    }

    fn poll_send_copy(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Poll<Result<()>> {
        (**self).poll_send_copy(cx, head, body)
    }

    fn poll_send_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<()>> {
        (**self).poll_send_many(cx, batch)
    }

    fn unsent_len(&self) -> usize {
        (**self).unsent_len()
    }

    fn held_len(&self) -> usize {
        (**self).held_len()
    }

    fn abort(&mut self) {
        (**self).abort();
    }

    fn leave(&mut self, reason: GoAwayReason) {
        (**self).leave(reason);
    }
}

impl<R: Receiver + ?Sized> Receiver for Box<R> {
    fn heard(&mut self) -> bool {
        (**self).heard()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        (**self).poll_recv(cx)
    }

    fn poll_recv_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<usize>> {
        (**self).poll_recv_many(cx, batch)
    }

    fn peek(&mut self) -> Option<&[u8]> {
        (**self).peek()
    }

    fn consume(&mut self) {
        (**self).consume();
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        (**self).poll_fill(cx)
    }

    fn incomplete_len(&self) -> usize {
        (**self).incomplete_len()
    }

    fn held_len(&self) -> usize {
        (**self).held_len()
    }

    fn release(&mut self) {
        (**self).release();
    }

    fn limit_message_len(&mut self, max: usize) -> Option<usize> {
        (**self).limit_message_len(max)
    }
}

impl<L: Listener + ?Sized> Listener for Box<L> {
    type Sender = L::Sender;
    type Receiver = L::Receiver;

    fn local(&self) -> &Address {
        (**self).local()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection<L::Sender, L::Receiver>>> {
        (**self).poll_accept(cx)
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingConnection<L::Sender, L::Receiver>>> {
        (**self).poll_incoming(cx)
    }

    fn close(&mut self) {
        (**self).close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        (**self).set_admission(admission);
    }
}

/// Proof that the halves can be chosen at run time.
const _: Option<(&dyn Sender, &dyn Receiver)> = None;
