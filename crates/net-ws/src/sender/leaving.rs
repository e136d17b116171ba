//! How what is gathered leaves: making room, flushing, finishing.

use std::{
    io,
    task::{Context, Poll, ready},
};

use net_core::{Error, ErrorKind, Result};
use tokio::io::AsyncWrite;

use super::WsSender;

impl<W: AsyncWrite + Unpin> WsSender<W> {
    /// Writes where too much waits; `Ready(Ok)`: there is room for one message.
    #[inline(never)]
    pub(super) fn poll_make_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut output = self.link.lock();
        if self.queue.len() + output.rest_len() >= self.max_buffered {
            match output.poll_write(&mut self.queue, cx) {
                Poll::Ready(Err(error)) => {
                    drop(output);
                    return Poll::Ready(Err(self.fail(error)));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Pending => self.lent = true,
            }
        }
        // Less by what waits with the link, so that the lock is not taken for each message.
        self.room = self.max_buffered.saturating_sub(output.rest_len());
        if self.queue.len() < self.room { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    pub(super) fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.failure.is_some() {
            return Poll::Ready(Err(self.error("flush")));
        }
        if self.finished || !self.dirty {
            return Poll::Ready(Ok(()));
        }
        let flushed = self.link.lock().poll_flush(&mut self.queue, cx);
        self.lent = flushed.is_pending();
        self.room = if self.lent { 0 } else { self.max_buffered };
        match ready!(flushed) {
            Ok(()) => {
                self.dirty = false;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }

    pub(super) fn poll_finish_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        if self.failure.is_some() {
            return Poll::Ready(Err(self.error("finish")));
        }
        let mut output = self.link.lock();
        let finished = loop {
            let flushed = output.poll_flush(&mut self.queue, cx);
            self.lent = flushed.is_pending();
            self.room = if self.lent { 0 } else { self.max_buffered };
            match ready!(flushed) {
                Err(error) => break Err(error),
                Ok(()) if self.link.is_closing() => break Ok(()),
                Ok(()) => {
                    let frame = self.close.as_deref().cloned().or_else(|| output.parting());
                    self.link.close(&mut output, frame.as_ref());
                }
            }
        };
        drop(output);
        match finished {
            Ok(()) => {
                (self.dirty, self.finished) = (false, true);
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }

    #[cold]
    pub(super) fn error(&self, operation: &'static str) -> Error {
        match self.failure {
            Some(kind) => Error::from_io(kind.into(), operation),
            None => Error::new(ErrorKind::Closed, operation),
        }
    }

    #[cold]
    fn fail(&mut self, error: io::Error) -> Error {
        self.failure = Some(error.kind());
        self.queue.clear();
        Error::from_io(error, "send")
    }
}
