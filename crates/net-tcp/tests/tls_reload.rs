//! Certificates that are exchanged under load: no handshake fails.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use authority::{Authority, LOCAL, Pair, WithPair};
use net_core::{
    Error, ErrorKind, Listener, Result, Transport,
    tls::{Pem, ServerTls, TlsInfo, TlsWatch, WatchConfig},
};
use net_tcp::Tcp;
use rig::{at, soon};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        watch,
    },
    task::JoinSet,
};

fn write(directory: &Path, pair: &Pair) {
    fs::write(directory.join("server.pem"), &pair.chain).expect("written");
    fs::write(directory.join("server.key"), &pair.key).expect("written");
}

/// Who says that the files have changed.
enum Reloading {
    ByCall,
    ByWatcher(UnboundedReceiver<Result<()>>),
}

impl Reloading {
    /// Waits until what is in the files was taken, or refused.
    async fn ends(&mut self, tls: &ServerTls, accepted: bool) {
        match self {
            Self::ByCall => {
                let outcome = tls.reload();
                assert_eq!(outcome.as_ref().err().map(Error::kind), refusal(accepted), "{outcome:?}");
            }
            // It may have looked between two files of one pair, and tells of that first.
            Self::ByWatcher(outcomes) => loop {
                let outcome = soon("the watcher", outcomes.recv()).await.expect("it watches");
                if outcome.is_ok() == accepted {
                    assert_eq!(outcome.as_ref().err().map(Error::kind), refusal(accepted), "{outcome:?}");
                    return;
                }
            },
        }
    }
}

fn refusal(accepted: bool) -> Option<ErrorKind> {
    (!accepted).then_some(ErrorKind::InvalidConfig)
}

/// Swaps good pairs in turn, and between them bad ones, while clients connect without a pause.
async fn no_handshake_fails(
    swaps: usize,
    reloading: impl FnOnce(&ServerTls) -> (Reloading, Option<TlsWatch>),
) {
    const CLIENTS: u64 = 4;
    let authority = Authority::new("reload");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let pairs = [authority.leaf(&LOCAL), authority.leaf(&LOCAL)];
    write(path, &pairs[0]);
    let tls = ServerTls::builder()
        .certificate(Pem::file(path.join("server.pem")), Pem::file(path.join("server.key")))
        .build()
        .expect("settings");
    let listener = Tcp::default().with_server_tls(tls.clone()).listen(&at("tcps://127.0.0.1:0")).await;
    let listener = listener.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);

    let client = authority.client().max_sessions(0).build().expect("settings");
    let mut old = Tcp::default().with_client_tls(client.clone()).connect(&to).await.expect("connected");
    let (served, mut progress) = watch::channel(0_u64);
    let served = Arc::new(served);
    let enough = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, to) = (Tcp::default().with_client_tls(client.clone()), to.clone());
        let (served, enough) = (served.clone(), enough.clone());
        running.spawn(async move {
            let mut shown = HashSet::new();
            while !enough.load(Ordering::Relaxed) {
                let mut connection = client.connect(&to).await.expect("every handshake succeeds");
                connection.send("hello").await.expect("sent");
                assert_eq!(connection.recv().await.expect("served").as_deref(), Some(&b"hello"[..]));
                let info = connection.info.details::<TlsInfo>().expect("TLS");
                shown.insert(info.peer.as_ref().expect("a certificate").fingerprint);
                served.send_modify(|served| *served += 1);
            }
            shown
        });
    }
    let (mut reloading, watch) = reloading(&tls);
    let turns = pairs.iter().cycle().zip(pairs.iter().cycle().skip(1)).take(swaps);
    for (present, next) in turns {
        write(path, next);
        reloading.ends(&tls, true).await;
        fs::write(path.join("server.key"), &present.key).expect("written");
        reloading.ends(&tls, false).await;
        // Of so many handshakes, at least one has begun since.
        let before = *progress.borrow_and_update();
        soon("handshakes", progress.wait_for(|served| *served > before + CLIENTS)).await.expect("they go on");
    }
    drop(watch);
    enough.store(true, Ordering::Relaxed);
    let mut shown = HashSet::new();
    while let Some(finished) = soon("the clients' end", running.join_next()).await {
        shown.extend(finished.expect("no panic"));
    }
    assert_eq!(shown.len(), 2, "both certificates were shown");
    assert_eq!(tls.stats().handshakes, *progress.borrow() + 1);
    // Who was connected before all that still is.
    old.send("still here").await.expect("sent");
    assert!(soon("an answer", old.recv()).await.expect("served").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m12_certificates_swap_back_and_forth_and_no_handshake_fails() {
    no_handshake_fails(50, |_| (Reloading::ByCall, None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m12_certificates_that_a_watcher_swaps_fail_no_handshake_either() {
    no_handshake_fails(10, |tls| {
        let (tell, told) = unbounded_channel();
        // Where the system tells of no change, it looks by itself.
        let config =
            WatchConfig { poll_interval: Duration::from_millis(100), settle: Duration::from_millis(1) };
        let watch = tls.watch(config, move |outcome| tell.send(outcome).expect("the test waits"));
        (Reloading::ByWatcher(told), Some(watch.expect("a thread")))
    })
    .await;
}

#[tokio::test]
async fn a6_a_rotated_authority_is_in_force_for_new_connections_only() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, &old.pem).expect("written");
    let tls = old.server().client_ca(Pem::file(&ca)).build().expect("settings");
    let listener = Tcp::default().with_server_tls(tls.clone()).listen(&at("tcps://127.0.0.1:0")).await;
    let listener = listener.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);

    let of = |authority: &Authority| {
        let client = old.client().pair(&authority.leaf(&["client"])).build().expect("settings");
        Tcp::default().with_client_tls(client)
    };
    let (of_old, of_new) = (of(&old), of(&new));
    let echoes = |transport: Tcp, to: net_core::Address| async move {
        let mut connection = transport.connect(&to).await?;
        connection.send("hello").await?;
        match soon("an answer", connection.recv()).await? {
            Some(_) => Ok(connection),
            None => Err(Error::new(ErrorKind::Closed, "receive")),
        }
    };
    let mut before = echoes(of_old.clone(), to.clone()).await.expect("the old authority counts");
    echoes(of_new.clone(), to.clone()).await.expect_err("the new one does not yet");

    fs::write(&ca, "nonsense").expect("written");
    assert_eq!(tls.reload().expect_err("no certificate").kind(), ErrorKind::InvalidConfig);
    echoes(of_old.clone(), to.clone()).await.expect("what was in force still is");

    fs::write(&ca, &new.pem).expect("written");
    tls.reload().expect("settings");
    echoes(of_new, to.clone()).await.expect("the new authority counts");
    // Not even by resuming its session does a client of the old one come in again.
    echoes(of_old, to).await.expect_err("the old one does no longer");
    before.send("still here").await.expect("sent");
    assert!(
        soon("an answer", before.recv()).await.expect("served").is_some(),
        "connections that exist go on"
    );
}
