//! `serve_bi` and `serve_uni`: the streams of a session, each served by a future of its own.

mod rig;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use futures_util::{future::join_all, poll};
use net_core::{ErrorKind, frame::LengthPrefix};
use net_quic::{ABORTED, QuicCode, QuicConfig, QuicSession, RecvStream, SendStream};
use rig::{at, authority::Authority, quic, quic_with, session, soon};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

async fn echo(mut tx: SendStream, mut rx: RecvStream) {
    while let Ok(Some(chunk)) = rx.read_chunk(64 * 1024).await {
        if tx.write_chunk(chunk).await.is_err() {
            return;
        }
    }
}

/// Serves a session in a task, which gives why it ended.
fn served<H, S>(session: QuicSession, handler: H) -> JoinHandle<net_core::Error>
where
    H: FnMut(SendStream, RecvStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move { session.serve_bi(handler).await })
}

#[tokio::test]
async fn q1_streams_of_any_length_are_served_many_at_once() {
    const STREAMS: usize = 500;
    let (near, far, _sessions) = session(&quic()).await;
    let serving = served(far, echo);
    let requests = (0..STREAMS).map(|number| {
        let near = &near;
        async move {
            let (mut tx, mut rx) = near.open_bi().await.expect("a stream");
            // From less than a packet to more than a window of one.
            let sent = vec![number.to_be_bytes()[7]; 1 + number * number];
            let (written, read) =
                tokio::join!(async { tx.write_all(&sent).await.map(|()| tx.end()) }, rx.read_to_end(1 << 20));
            written.expect("written");
            assert!(read.expect("all") == sent, "stream {number}");
        }
    });
    soon("all answers", join_all(requests)).await;
    near.close(7, "done");
    let ended = soon("the end", serving).await.expect("no panic");
    assert_eq!(QuicCode::of(&ended), Some(QuicCode::Closed(7)), "{}", ended.report());
}

/// Opens `streams` and waits until the peer has got all of each.
async fn requests(near: &QuicSession, streams: usize) -> Vec<RecvStream> {
    let mut answers = Vec::new();
    for _ in 0..streams {
        let (mut tx, rx) = near.open_bi().await.expect("a stream");
        tx.write_all(b"a request").await.expect("written");
        soon("the acknowledgement", tx.finish()).await.expect("acknowledged");
        answers.push(rx);
    }
    answers
}

#[tokio::test]
async fn q1_requests_that_have_arrived_are_answered_at_once_and_without_tasks() {
    let (near, far, _sessions) = session(&quic()).await;
    let answers = requests(&near, 20).await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    assert!(poll!(pin!(far.serve_bi(echo))).is_pending());
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
    for mut answer in answers {
        assert_eq!(soon("an answer", answer.read_to_end(100)).await.expect("all"), b"a request");
    }
}

#[tokio::test]
async fn q1_one_that_waits_does_not_keep_the_others() {
    let (near, far, _sessions) = session(&quic()).await;
    let _serving = served(far, echo);
    let (mut slow, mut late) = near.open_bi().await.expect("a stream");
    slow.write_all(b"begun").await.expect("written");
    let mut begun = [0; 5];
    soon("the beginning", late.read(&mut begun)).await.expect("read");
    for mut answer in requests(&near, 5).await {
        assert_eq!(soon("an answer", answer.read_to_end(100)).await.expect("all"), b"a request");
    }
    slow.write_all(b", ended").await.expect("written");
    slow.end();
    assert_eq!(soon("the rest", late.read_to_end(100)).await.expect("all"), b", ended");
}

#[tokio::test]
async fn q1_a_panic_cuts_its_own_stream_alone() {
    let (near, far, _sessions) = session(&quic()).await;
    let _serving = served(far, async |mut tx: SendStream, mut rx: RecvStream| {
        let asked = rx.read_to_end(100).await.expect("all");
        tx.write_all(b"the beginning of an answer").await.expect("written");
        match &asked[..] {
            b"at once" => panic!("asked to, in the first step"),
            b"later" => {
                tokio::task::yield_now().await;
                panic!("asked to, in a task");
            }
            _ => {}
        }
    });
    for asked in ["at once", "later"] {
        let (mut tx, mut rx) = near.open_bi().await.expect("a stream");
        tx.write_all(asked.as_bytes()).await.expect("written");
        tx.end();
        let cut = soon("the cut", rx.read_to_end(100)).await.expect_err("no whole answer");
        assert_eq!(QuicCode::of(&cut), Some(QuicCode::Reset(ABORTED.into())), "{asked}: {}", cut.report());
    }
    let mut answer = requests(&near, 1).await.remove(0);
    assert_eq!(soon("an answer", answer.read_to_end(100)).await.expect("all"), b"the beginning of an answer");
}

#[tokio::test]
async fn q1_the_work_of_streams_that_are_over_is_bounded() {
    const MAX: usize = 4;
    const STREAMS: usize = 20;
    let config = QuicConfig { max_uni_streams: 4, ..QuicConfig::default() };
    let (near, far, _sessions) = session(&quic_with(config, LengthPrefix::default())).await;
    let running = Arc::new(AtomicUsize::new(0));
    let (begun, may_end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let work = {
        let (running, begun, may_end) = (running.clone(), begun.clone(), may_end.clone());
        move |mut rx: RecvStream| {
            let (running, begun, may_end) = (running.clone(), begun.clone(), may_end.clone());
            async move {
                // The stream is over with that, and the peer may open another one.
                assert_eq!(rx.read_to_end(100).await.expect("all"), b"work");
                let others = running.fetch_add(1, Ordering::SeqCst);
                assert!(others < MAX, "{others} run already");
                begun.add_permits(1);
                may_end.acquire().await.expect("open").forget();
                running.fetch_sub(1, Ordering::SeqCst);
            }
        }
    };
    let serving = tokio::spawn(async move { far.serve_uni(work).await });
    let send = async || {
        let mut tx = near.open_uni().await.expect("a stream");
        tx.write_all(b"work").await.expect("written");
        tx.finish().await.expect("acknowledged");
    };
    // Those that run, and as many that nobody has read; no other one may be opened before one of the first is over.
    for _ in 0..2 * MAX {
        soon("the acknowledgement", send()).await;
    }
    let others = join_all((2 * MAX..STREAMS).map(|_| send()));
    let ends = async {
        soon("the first", begun.acquire_many(4)).await.expect("open").forget();
        for _ in MAX..STREAMS {
            may_end.add_permits(1);
            soon("the next", begun.acquire()).await.expect("open").forget();
        }
    };
    tokio::join!(others, ends);
    near.close(0, "");
    may_end.add_permits(MAX);
    soon("the end", serving).await.expect("no panic");
    assert_eq!(running.load(Ordering::SeqCst), 0, "it waited for all of them");
}

#[tokio::test]
async fn q1_a_client_shakes_hands_in_the_task_that_serves_it() {
    let quic = quic();
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    let (tell, mut ends) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(incoming) = sessions.incoming().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let ended = match incoming.run(|session| session).await {
                    Some(session) => Some(session.serve_bi(echo).await),
                    None => None,
                };
                tell.send(ended).expect("it is heard");
            });
        }
    });
    // Who does not trust the server never has a session.
    let stranger = quic_with(QuicConfig::default(), LengthPrefix::default())
        .with_client_tls(Authority::new("another").client().build().expect("settings"));
    let refused = soon("the refusal", stranger.open(&to)).await.expect_err("not trusted");
    assert_eq!(refused.kind(), ErrorKind::Untrusted, "{}", refused.report());
    assert!(soon("its end", ends.recv()).await.expect("told").is_none(), "no session to serve");

    let near = soon("a session", quic.open(&to)).await.expect("connected");
    let mut answer = requests(&near, 1).await.remove(0);
    assert_eq!(soon("an answer", answer.read_to_end(100)).await.expect("all"), b"a request");
    near.close(7, "done");
    let ended = soon("its end", ends.recv()).await.expect("told").expect("it was served");
    assert_eq!(QuicCode::of(&ended), Some(QuicCode::Closed(7)), "{}", ended.report());
}

#[tokio::test]
async fn q1_what_runs_goes_on_when_nobody_serves_any_more() {
    let (near, far, _sessions) = session(&quic()).await;
    let (mut tx, mut rx) = near.open_bi().await.expect("a stream");
    tx.write_all(b"begun").await.expect("written");
    {
        let mut serving = pin!(far.serve_bi(echo));
        let mut begun = [0; 5];
        tokio::select! {
            ended = &mut serving => panic!("{}", ended.report()),
            read = rx.read(&mut begun) => assert_eq!(read.expect("read"), 5),
        }
    }
    tx.write_all(b", ended").await.expect("written");
    tx.end();
    let (closed, rest) = tokio::join!(far.finish_and_wait(Duration::from_secs(10)), rx.read_to_end(100));
    assert_eq!(rest.expect("all"), b", ended");
    closed.expect("all acknowledged");
    assert_eq!(near.ended().await.kind(), ErrorKind::Closed);
}

#[test]
fn serving_needs_no_runtime_around_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (near, far, _sessions) = runtime.block_on(session(&quic()));
    let mut answers = runtime.block_on(requests(&near, 2));
    let mut serving = pin!(far.serve_bi(async |tx, rx| {
        tokio::task::yield_now().await;
        echo(tx, rx).await;
    }));
    // The first in its first step, the second without one.
    assert!(serving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    for answer in &mut answers {
        let all = runtime.block_on(async { soon("an answer", answer.read_to_end(100)).await });
        assert_eq!(all.expect("all"), b"a request");
    }
}
