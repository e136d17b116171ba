//! A runtime for one thread of a server, built before the thread is started.

use std::{future::Future, io};

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime on its way to its thread. Dropped before, it does not wait for its end: tokio panics where one is dropped
/// inside another and waits.
#[derive(Debug)]
pub(super) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    pub(super) fn build(builder: &mut Builder) -> io::Result<Self> {
        builder.build().map(|runtime| Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Runs `body` to its end on the thread that calls this.
    pub(super) fn run(mut self, body: impl Future<Output = ()>) {
        if let Some(runtime) = self.0.take() {
            runtime.block_on(body);
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_no_thread_has_taken_may_be_dropped_inside_another() {
        let own = OwnRuntime::build(Builder::new_current_thread().enable_all()).expect("a runtime");
        assert!(own.handle().is_some());
        drop(own);
    }
}
