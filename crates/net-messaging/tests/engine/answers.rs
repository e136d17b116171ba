//! Messages that a handler answers at once, among those that it leaves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use net_core::{ErrorCode, ErrorReply, Message, MessageKind, MessageRef};
use net_messaging::{Answer, Format, Handler, HandlerResult, Server, Session, SessionConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::duplex;
use crate::rig::{Ruled, frame, listen, only, patient, push, quiet, settle, soon};

/// Answers at once what it is shown, as its first byte says, and counts what it is shown and what it is given.
#[derive(Debug, Default)]
struct Prompt {
    shown: AtomicUsize,
    given: AtomicUsize,
    long: Vec<u8>,
}

impl Handler for Prompt {
    const ANSWERS: bool = true;

    fn answer<'a>(&'a self, session: &Session, message: MessageRef<'a>) -> Answer<'a> {
        self.shown.fetch_add(1, Ordering::Relaxed);
        match message.payload().first() {
            Some(b'l') => Answer::Leave,
            Some(b'n') => Answer::Nothing,
            Some(b'p') => {
                push(session, "pushed");
                Answer::Reply(message.payload())
            }
            Some(b'd') => {
                session.disconnect();
                Answer::Nothing
            }
            Some(b'!') => panic!("as it was told"),
            Some(b'L') => Answer::Reply(&self.long),
            _ => Answer::Reply(message.payload()),
        }
    }

    async fn message(&self, _: &Session, message: Message) -> HandlerResult {
        self.given.fetch_add(1, Ordering::Relaxed);
        Ok(Some(message.into_reply()))
    }
}

/// Starts a server of `rules` and gives it all of `payloads` as requests at once; returns the other end.
async fn ask(rules: SessionConfig, handler: &Arc<Prompt>, payloads: &[&str]) -> (Server, DuplexStream) {
    let format = rules.format;
    let (duplex, mut stream) = duplex::transport(1 << 20);
    let server = listen(Server::builder(duplex).rules(rules).handler(handler.clone())).await;
    let mut wire = Vec::new();
    for (id, payload) in (1..).zip(payloads) {
        match format {
            Format::Raw => {
                wire.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
                wire.extend(payload.as_bytes());
            }
            Format::Message => wire.extend(frame(id, payload.as_bytes())),
        }
    }
    stream.write_all(&wire).await.expect("room");
    (server, stream)
}

async fn read_frame(stream: &mut DuplexStream) -> Vec<u8> {
    let len = soon("a frame", stream.read_u32()).await.expect("a length");
    let mut body = vec![0; len as usize];
    soon("its body", stream.read_exact(&mut body)).await.expect("whole");
    body
}

async fn read_message(stream: &mut DuplexStream) -> Message {
    Message::decode(read_frame(stream).await.into()).expect("a message")
}

fn counts(handler: &Prompt) -> (usize, usize) {
    (handler.shown.load(Ordering::Relaxed), handler.given.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn answers_and_replies_go_out_in_the_order_of_the_messages() {
    for format in [Format::Message, Format::Raw] {
        let handler = Arc::new(Prompt::default());
        let long = "a".repeat(5_000);
        let payloads = ["first", "a", "left", "b", &long, "nothing", "c", "left too", "", "e"];
        let (server, mut stream) = ask(SessionConfig { format, ..quiet() }, &handler, &payloads).await;
        for (id, payload) in (1..).zip(payloads).filter(|(_, payload)| *payload != "nothing") {
            match format {
                Format::Raw => assert_eq!(read_frame(&mut stream).await, payload.as_bytes()),
                Format::Message => {
                    let reply = read_message(&mut stream).await;
                    assert_eq!((reply.kind(), reply.id()), (MessageKind::Response, id));
                    assert_eq!(reply.payload(), payload);
                }
            }
        }
        // The long one is too long to be shown.
        assert_eq!(counts(&handler), (9, 3));
        settle().await;
        let stats = only(&server).await.stats();
        assert_eq!((stats.received_messages, stats.sent_messages), (10, 9), "{format:?}");
        let bytes = |payloads: &[&str]| payloads.iter().map(|payload| payload.len() as u64).sum::<u64>();
        assert_eq!(stats.sent_bytes, bytes(&payloads) - 7);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_pushed_while_answering_goes_first() {
    let handler = Arc::new(Prompt::default());
    let (_server, mut stream) = ask(quiet(), &handler, &["a", "push", "b", "push", "push"]).await;
    for expected in ["a", "pushed", "push", "b", "pushed", "push", "pushed", "push"] {
        assert_eq!(read_message(&mut stream).await.payload(), expected);
    }
    assert_eq!(counts(&handler), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn answers_wait_for_room_in_their_order() {
    let handler = Arc::new(Prompt::default());
    let (duplex, stream) = duplex::transport(64);
    let _server = listen(Server::builder(duplex).rules(patient()).handler(handler.clone())).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        for id in 0..20_000 {
            write.write_all(&frame(id, format!("{id:0>100}").as_bytes())).await.expect("is taken");
        }
        write
    });
    // Nobody reads until the server takes no more: its buffer is full, and so is the way to it.
    settle().await;
    assert!(!writing.is_finished(), "what is not read is not answered without a bound");
    for id in 0..20_000 {
        let len = soon("an answer", read.read_u32()).await.expect("a length");
        let mut body = vec![0; len as usize];
        soon("its body", read.read_exact(&mut body)).await.expect("whole");
        let reply = Message::decode(body.into()).expect("a message");
        assert_eq!((reply.id(), reply.payload()), (id, &format!("{id:0>100}").into()));
    }
    writing.await.expect("all is written");
    assert_eq!(handler.shown.load(Ordering::Relaxed) + handler.given.load(Ordering::Relaxed), 20_000);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nothing_can_carry_is_an_error_to_who_asked() {
    let handler = Arc::new(Prompt { long: vec![b'x'; 2 << 20], ..Prompt::default() });
    let (_server, mut stream) = ask(quiet(), &handler, &["a", "Long", "b"]).await;
    assert_eq!(read_message(&mut stream).await.payload(), "a");
    let mut replies = [read_message(&mut stream).await, read_message(&mut stream).await];
    replies.sort_by_key(Message::id);
    let [error, after] = replies;
    assert_eq!((error.kind(), error.id()), (MessageKind::Error, 2));
    assert_eq!(ErrorReply::decode(error.payload()).expect("an error").code, ErrorCode::Failed);
    assert_eq!((after.id(), after.payload()), (3, &"b".into()));
}

#[tokio::test(start_paused = true)]
async fn an_answering_handler_ends_its_session_as_any_does() {
    for payloads in [["a", "disconnect", "b"], ["a", "!panic", "b"]] {
        let handler = Arc::new(Prompt::default());
        let (_server, mut stream) = ask(quiet(), &handler, &payloads).await;
        let mut rest = Vec::new();
        // An abort may show as an error behind what was sent.
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
        assert!(!rest.ends_with(b"b"), "{rest:?}");
        assert_eq!(counts(&handler), (2, 0), "nothing is handled behind it");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shown_where_messages_are_handled_side_by_side() {
    let handler = Arc::new(Prompt::default());
    let concurrent = SessionConfig { max_concurrent: 4, ..quiet() };
    let (_server, mut stream) = ask(concurrent, &handler, &["a", "b", "c"]).await;
    for _ in 0..3 {
        read_message(&mut stream).await;
    }
    assert_eq!(counts(&handler), (0, 3));
}
