//! When a server's tickets leave: with its first message, or before it waits, and never too late.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::{
    future::poll_fn,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    task::Poll,
    time::Duration,
};

use authority::Authority;
use net_core::{
    Connection, Listener, Receiver, Sender, Transport,
    tls::{TlsVersion, rustls},
};
use net_tcp::{Tcp, TcpListener, TcpReceiver, TcpSender};
use rig::{at, socket, soon};
use rustls::{ClientConnection, pki_types::ServerName};
use tokio::task::{JoinHandle, spawn_blocking};

/// How many a server sends after a handshake here: more than one, so that they must leave together.
const TICKETS: u8 = 2;
/// A message and its frame.
const HI: &[u8; 6] = b"\0\0\0\x02hi";

/// A client of rustls alone.
struct Client {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Client {
    /// Ends the handshake, and sends `first` along with the last of it.
    fn connect(authority: &Authority, to: SocketAddr, first: &[u8]) -> Self {
        let config = authority.client().build().expect("settings").config();
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(config, name).expect("a client");
        let socket = TcpStream::connect(to).expect("connecting");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let mut client = Self { tls, socket };
        client.write();
        while client.tls.is_handshaking() {
            client.read();
        }
        client.tls.writer().write_all(first).expect("room");
        client.write();
        client
    }

    fn write(&mut self) {
        let mut all = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut all).expect("written");
        }
        self.socket.write_all(&all).expect("written");
    }

    /// Reads once; 0 is the end of the connection, which is clean.
    fn read(&mut self) -> usize {
        let len = self.tls.read_tls(&mut self.socket).expect("no reset");
        self.tls.process_new_packets().expect("understood");
        len
    }

    fn tickets(&self) -> u8 {
        self.tls.tls13_tickets_received().try_into().expect("a few")
    }

    /// Reads once, and returns how many tickets came with the answer: what was written by one call comes by one read.
    fn in_one_read(mut self) -> (u8, [u8; 6]) {
        self.read();
        let mut answer = [0; 6];
        self.tls.reader().read_exact(&mut answer).expect("it is there");
        (self.tickets(), answer)
    }
}

async fn listen(authority: &Authority) -> TcpListener {
    let tcp = Tcp::default().with_server_tls(authority.server().tickets(TICKETS).build().expect("settings"));
    tcp.listen(&at("tcps://127.0.0.1:0")).await.expect("listening")
}

/// Accepts a client that says `first` and goes on as `then` does.
async fn accept<T: Send + 'static>(
    first: &'static [u8],
    then: impl FnOnce(Client) -> T + Send + 'static,
) -> (Connection<TcpSender, TcpReceiver>, JoinHandle<T>) {
    let authority = Authority::new("tickets");
    let mut listener = listen(&authority).await;
    let to = socket(listener.local());
    let client = spawn_blocking(move || then(Client::connect(&authority, to, first)));
    (soon("the connection", listener.accept()).await.expect("accepted"), client)
}

#[tokio::test]
async fn tickets_leave_with_the_first_message_in_one_piece() {
    let (mut far, client) = accept(HI, Client::in_one_read).await;
    let message = soon("a message", far.recv()).await.expect("whole").expect("a message");
    far.send(message).await.expect("sends");
    let (tickets, answer) = soon("the client", client).await.expect("no panic");
    assert_eq!((tickets, &answer), (TICKETS, HI));
}

#[tokio::test]
async fn tickets_leave_with_the_answer_of_who_looks_for_more_input_before_it_writes() {
    let (Connection { mut tx, mut rx, .. }, client) = accept(HI, Client::in_one_read).await;
    let message = soon("a message", rx.recv()).await.expect("whole").expect("a message");
    // As an engine does: it flushes once, when nothing more is there to be received.
    soon("nothing more", poll_fn(|cx| Poll::Ready(rx.poll_recv(cx).is_pending()))).await;
    tx.send(message).await.expect("sends");
    let (tickets, answer) = soon("the client", client).await.expect("no panic");
    assert_eq!((tickets, &answer), (TICKETS, HI));
}

#[tokio::test]
async fn a_server_that_waits_for_a_message_has_sent_its_tickets() {
    let (mut far, client) = accept(b"", |mut client| {
        while client.tickets() < TICKETS {
            assert!(client.read() > 0, "they come though nobody says anything");
        }
        client.tls.writer().write_all(HI).expect("room");
        client.write();
        client
    })
    .await;
    let message = soon("a message", far.recv()).await.expect("whole");
    assert_eq!(message.as_deref(), Some(&b"hi"[..]));
    drop(soon("the client", client).await.expect("no panic"));
}

#[tokio::test]
async fn a_connection_dropped_after_its_handshake_ends_cleanly_behind_its_tickets() {
    let (far, client) = accept(b"", |mut client| {
        while client.read() > 0 {}
        let end = client.tls.reader().read(&mut [0; 1]).expect("a close_notify came");
        (client.tickets(), end)
    })
    .await;
    drop(far);
    assert_eq!(soon("the client", client).await.expect("no panic"), (TICKETS, 0));
}

#[tokio::test]
async fn the_last_word_of_a_handshake_of_tls_1_2_is_not_kept_back() {
    let authority = Authority::new("tickets");
    let mut listener = listen(&authority).await;
    let tls = authority.client().cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
    let tls = tls.min_version(TlsVersion::V1_2).build().expect("settings");
    let to = at(&format!("tcps://localhost:{}", listener.local().port().expect("a port")));
    // Nobody polls the server's connection, and the client's handshake is over all the same.
    let tcp = Tcp::default().with_client_tls(tls);
    let (near, far) = soon("both", async { tokio::join!(tcp.connect(&to), listener.accept()) }).await;
    near.expect("connects");
    far.expect("accepted");
}
