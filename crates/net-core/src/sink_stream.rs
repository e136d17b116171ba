//! Connections as `futures` sinks and streams, for those who want combinators.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::{Connection, Error, Receiver, Result, Sender};

/// The sending half of a connection as a [`Sink`] of messages.
///
/// One message waits in it until the sender has room. A message that the sender refuses is discarded, and the error
/// is told by the next `poll_ready`, `poll_flush` or `poll_close`.
///
/// # Examples
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use net_core::{MessageSink, MessageStream, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (near, far) = memory::pair();
/// let mut sink = MessageSink::new(near.tx);
/// sink.send("hello".into()).await?;
/// sink.close().await?;
/// let messages: Vec<_> = MessageStream::new(far.rx).collect().await;
/// assert_eq!(messages.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MessageSink<S> {
    sender: S,
    waiting: Option<Bytes>,
}

/// The receiving half of a connection as a [`Stream`] of messages, which ends after the first error.
///
/// # Examples
///
/// ```
/// use futures_util::{StreamExt, TryStreamExt};
/// use net_core::{MessageStream, Sender, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (mut near, far) = memory::pair();
/// near.tx.send("hello").await?;
/// near.tx.finish().await?;
/// let lengths: Vec<usize> = MessageStream::new(far.rx).map_ok(|message| message.len()).try_collect().await?;
/// assert_eq!(lengths, [5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MessageStream<R> {
    receiver: R,
    ended: bool,
}

/// A connection as both a [`Sink`] and a [`Stream`] of messages.
///
/// # Examples
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use net_core::{Messages, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (near, far) = memory::pair();
/// let (mut near, far) = (Messages::new(near), Messages::new(far));
/// tokio::spawn(async {
///     let (sink, stream) = far.split();
///     stream.forward(sink).await // an echo server
/// });
/// near.send("hello".into()).await?;
/// assert_eq!(near.next().await.transpose()?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Messages<S, R> {
    sink: MessageSink<S>,
    stream: MessageStream<R>,
}

impl<S> MessageSink<S> {
    /// Makes a sink of `sender`.
    pub fn new(sender: S) -> Self {
        Self { sender, waiting: None }
    }

    /// Returns the sender.
    pub fn get_ref(&self) -> &S {
        &self.sender
    }

    /// Returns the sender, and the message that waits for its room.
    pub fn into_parts(self) -> (S, Option<Bytes>) {
        (self.sender, self.waiting)
    }
}

impl<S: Sender> MessageSink<S> {
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(message) = &mut self.waiting {
            let accepted = ready!(self.sender.poll_send(cx, message));
            self.waiting = None;
            accepted?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<R> MessageStream<R> {
    /// Makes a stream of `receiver`.
    pub fn new(receiver: R) -> Self {
        Self { receiver, ended: false }
    }

    /// Returns the receiver.
    pub fn get_ref(&self) -> &R {
        &self.receiver
    }

    /// Returns the receiver.
    pub fn into_inner(self) -> R {
        self.receiver
    }
}

impl<S, R> Messages<S, R> {
    /// Makes a sink and a stream of `connection`.
    pub fn new(connection: Connection<S, R>) -> Self {
        Self { sink: MessageSink::new(connection.tx), stream: MessageStream::new(connection.rx) }
    }

    /// Returns both halves, which work independently of each other.
    pub fn split(self) -> (MessageSink<S>, MessageStream<R>) {
        (self.sink, self.stream)
    }
}

impl<S: Sender> Sink<Bytes> for MessageSink<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_empty(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> Result<()> {
        self.waiting = Some(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_empty(cx))?;
        self.sender.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_empty(cx))?;
        self.sender.poll_finish(cx)
    }
}

impl<R: Receiver> Stream for MessageStream<R> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let received = ready!(self.receiver.poll_recv(cx));
        self.ended = !matches!(received, Ok(Some(_)));
        Poll::Ready(received.transpose())
    }
}

impl<R: Receiver> FusedStream for MessageStream<R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<S: Sender, R: Unpin> Sink<Bytes> for Messages<S, R> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.sink).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> Result<()> {
        Pin::new(&mut self.sink).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.sink).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.sink).poll_close(cx)
    }
}

impl<S: Unpin, R: Receiver> Stream for Messages<S, R> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        Pin::new(&mut self.stream).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::{
        ErrorKind,
        frame::LengthPrefix,
        framed::{FrameReceiver, FrameSender},
    };

    #[tokio::test]
    async fn a_refused_message_is_told_once_and_the_next_one_passes() {
        let (near, far) = tokio::io::duplex(64);
        let framing = LengthPrefix::default().with_max_message_len(4);
        let mut sink = MessageSink::new(FrameSender::new(near, framing));
        let refused = sink.send("12345".into()).await.expect_err("too long");
        assert_eq!(refused.kind(), ErrorKind::MessageTooLong);
        sink.send("1234".into()).await.expect("the connection is intact");
        sink.close().await.expect("finished");
        let messages: Vec<_> = MessageStream::new(FrameReceiver::new(far, framing)).collect().await;
        assert!(matches!(&messages[..], [Ok(message)] if message == "1234"));
    }

    #[tokio::test]
    async fn a_stream_ends_after_an_error() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(b"\0\0\0\x01a\0\0\0\x02b").await.expect("room");
        drop(near);
        let messages: Vec<_> =
            MessageStream::new(FrameReceiver::new(far, LengthPrefix::default())).collect().await;
        assert!(matches!(&messages[..], [Ok(_), Err(error)] if error.kind() == ErrorKind::UnexpectedEnd));
    }

    #[tokio::test]
    async fn everything_that_a_slow_receiver_takes_arrives_in_order() {
        let (near, far) = tokio::io::duplex(16);
        let mut sink =
            MessageSink::new(FrameSender::new(near, LengthPrefix::default()).with_max_buffered(16));
        let messages: Vec<Bytes> = (0..100_u8).map(|each| vec![each; 10].into()).collect();
        let sending = async {
            for message in &messages {
                sink.feed(message.clone()).await.expect("accepted");
            }
            sink.close().await.expect("finished");
        };
        let stream = MessageStream::new(FrameReceiver::new(far, LengthPrefix::default()));
        let (received, ()) =
            tokio::join!(stream.map(|message| message.expect("whole")).collect::<Vec<_>>(), sending);
        assert_eq!(received, messages);
    }
}
