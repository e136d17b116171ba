//! Ends of connections on which each answer is counted as it arrives: none comes twice.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use net_core::{
    Address, Admission, Connection, Guarantees, Listener, Message, MessageKind, Receiver, Result, Transport,
};

use crate::books::Books;

/// A transport whose connections note what is answered more than once.
#[derive(Clone, Debug)]
pub(crate) struct Tapped<T> {
    inner: T,
    books: Books,
    /// The number of the credentials is free again once they are answered.
    shows_credentials: bool,
}

impl<T> Tapped<T> {
    pub(crate) fn new(inner: T, books: Books, shows_credentials: bool) -> Self {
        Self { inner, books, shows_credentials }
    }

    fn tap<S, R>(&self, connection: Connection<S, R>) -> Connection<S, Tap<R>> {
        let Connection { tx, rx, info, .. } = connection;
        let answered = self.shows_credentials.then_some((0, -1)).into_iter().collect();
        Connection::new(tx, Tap { rx, books: self.books.clone(), answered }, info)
    }
}

impl<T: Transport> Transport for Tapped<T> {
    type Sender = T::Sender;
    type Receiver = Tap<T::Receiver>;
    type Listener = Tapped<T::Listener>;

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Self::Sender, Self::Receiver>> {
        Ok(self.tap(self.inner.connect(to).await?))
    }

    async fn listen(&self, at: &Address) -> Result<Self::Listener> {
        let listener = self.inner.listen(at).await?;
        Ok(Tapped::new(listener, self.books.clone(), self.shows_credentials))
    }
}

impl<L: Listener> Listener for Tapped<L> {
    type Sender = L::Sender;
    type Receiver = Tap<L::Receiver>;

    fn local(&self) -> &Address {
        self.inner.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<Self::Sender, Self::Receiver>>> {
        let accepted = ready!(self.inner.poll_accept(cx));
        Poll::Ready(accepted.map(|connection| self.tap(connection)))
    }

    fn close(&mut self) {
        self.inner.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.inner.set_admission(admission);
    }
}

/// A receiving half that counts answers.
#[derive(Debug)]
pub(crate) struct Tap<R> {
    rx: R,
    books: Books,
    /// How often each number was answered.
    answered: HashMap<u64, i32>,
}

impl<R: Receiver> Receiver for Tap<R> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let received = ready!(self.rx.poll_recv(cx));
        if let Ok(Some(frame)) = &received
            && let Ok(message) = Message::decode(frame.clone())
            && matches!(message.kind(), MessageKind::Response | MessageKind::Error)
        {
            let times = self.answered.entry(message.id()).or_default();
            *times += 1;
            if *times > 1 {
                self.books.wrong(format!("number {} is answered {times} times", message.id()));
            }
        }
        Poll::Ready(received)
    }

    fn heard(&mut self) -> bool {
        self.rx.heard()
    }

    fn incomplete_len(&self) -> usize {
        self.rx.incomplete_len()
    }

    fn held_len(&self) -> usize {
        self.rx.held_len()
    }

    fn release(&mut self) {
        self.rx.release();
    }

    fn limit_message_len(&mut self, max: usize) -> Option<usize> {
        self.rx.limit_message_len(max)
    }
}
