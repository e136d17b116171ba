//! A listener that fails while its server serves.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use net_core::{
    Address, Admission, Connection, Error, ErrorKind, Guarantees, Listener, Observer, Result, Transport,
    memory::{Memory, MemoryListener, MemoryReceiver, MemorySender},
};
use net_messaging::{Client, Server, ServerConfig};
use tokio::sync::{mpsc, oneshot};

use crate::rig::{Ruled, patient, soon};

/// Carries messages in memory; its listeners, at names with a number behind, fail when the test says so.
struct Failing {
    memory: Memory,
    fail: Mutex<Vec<oneshot::Receiver<()>>>,
}

impl Failing {
    /// Returns it and what makes its listeners fail, in their order.
    fn new(memory: &Memory, listeners: usize) -> (Self, Vec<oneshot::Sender<()>>) {
        let (tell, told) = (0..listeners).map(|_| oneshot::channel()).unzip();
        (Self { memory: memory.clone(), fail: Mutex::new(told) }, tell)
    }
}

impl Transport for Failing {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;
    type Listener = FailingListener;

    fn guarantees(&self) -> Guarantees {
        self.memory.guarantees()
    }

    async fn connect(&self, to: &Address) -> Result<Connection<MemorySender, MemoryReceiver>> {
        self.memory.connect(to).await
    }

    async fn listen(&self, at: &Address) -> Result<FailingListener> {
        let fail = self.fail.lock().expect("not poisoned").remove(0);
        Ok(FailingListener { inner: self.memory.listen(at).await?, fail })
    }

    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<FailingListener>> {
        let mut listeners = Vec::new();
        for number in 0..n {
            listeners.push(self.listen(&format!("{at}-{number}").parse()?).await?);
        }
        Ok(listeners)
    }
}

struct FailingListener {
    inner: MemoryListener,
    fail: oneshot::Receiver<()>,
}

impl Listener for FailingListener {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;

    fn local(&self) -> &Address {
        self.inner.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<MemorySender, MemoryReceiver>>> {
        if let Poll::Ready(Ok(())) = Pin::new(&mut self.fail).poll(cx) {
            return Poll::Ready(Err(Error::new(ErrorKind::Io, "accept").at(self.inner.local())));
        }
        self.inner.poll_accept(cx)
    }

    fn close(&mut self) {
        self.inner.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.inner.set_admission(admission);
    }
}

/// Passes on what an observer is told of listeners.
#[derive(Debug)]
struct Failures(mpsc::UnboundedSender<String>);

impl Observer for Failures {
    fn listener_failed(&self, at: &Address, error: &Error) {
        // The test that no longer listens has failed already.
        let _ = self.0.send(format!("{at}: {}", error.kind()));
    }
}

/// Starts a server that echoes, and returns it, what makes its listeners fail, and what its observer is told.
async fn failing(
    memory: &Memory,
    io_threads: Option<usize>,
) -> (Server, Vec<oneshot::Sender<()>>, mpsc::UnboundedReceiver<String>) {
    let (transport, fail) = Failing::new(memory, io_threads.unwrap_or(1));
    let (tell, told) = mpsc::unbounded_channel();
    let server = Server::builder(transport)
        .config(ServerConfig { io_threads, ..ServerConfig::default() })
        .rules(patient())
        .observer(Failures(tell))
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("mem://server")
        .await
        .expect("listens");
    (server, fail, told)
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_listener_fails_tells_so_and_serves_those_whom_it_has() {
    let memory = Memory::default();
    let (server, fail, mut told) = failing(&memory, None).await;
    let client = Client::builder(memory).rules(patient()).connect("mem://server").await.expect("connects");
    client.request("before").await.expect("answered");
    assert!(server.is_accepting());
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { server.closed().await }
    });
    for fail in fail {
        fail.send(()).expect("it listens");
    }
    let error = soon("the end of accepting", waiting).await.expect("no panic").expect_err("nobody closed it");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(
        error.report(),
        "serve mem://server: input/output error: accept mem://server: input/output error"
    );
    assert_eq!(told.recv().await.as_deref(), Some("mem://server: input/output error"));
    assert!(!server.is_accepting());
    assert_eq!(client.request("after").await.expect("answered").payload(), "after");
    let report = soon("the drain", server.stop()).await;
    assert_eq!((report.active, report.cut), (1, 0));
    assert!(told.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn a_server_accepts_for_as_long_as_one_of_its_listeners_does() {
    let memory = Memory::default();
    let (server, fail, mut told) = failing(&memory, Some(2)).await;
    let mut fail = fail.into_iter();
    fail.next().expect("two").send(()).expect("it listens");
    let first = soon("the first failure", told.recv()).await;
    assert_eq!(first.as_deref(), Some("mem://server-0: input/output error"));
    assert!(server.is_accepting());
    let client = Client::builder(memory).rules(patient()).connect("mem://server-1").await.expect("connects");
    client.request("hello").await.expect("answered");
    fail.next().expect("two").send(()).expect("it listens");
    soon("the end of accepting", server.closed()).await.expect_err("nobody closed it");
    assert!(!server.is_accepting());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_server_that_drains_meets_no_error() {
    let memory = Memory::default();
    let (server, _fail, mut told) = failing(&memory, None).await;
    let (closed, _) = tokio::join!(server.closed(), server.stop());
    closed.expect("it was closed");
    assert!(!server.is_accepting());
    assert!(told.try_recv().is_err());
}
