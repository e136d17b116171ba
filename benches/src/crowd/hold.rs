//! One load process of several: it opens sessions one after another, holds them, hears what the server says.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use futures_util::FutureExt as _;
use net_core::tls::{ClientTls, Pem};
use net_core::{Address, Message, MessageKind, Receiver as _, Scheme, Sender as _, Transport as _};
use net_tcp::{Tcp, TcpConfig, TcpReceiver, TcpSender};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, LocalSet, spawn_local, unconstrained};
use tokio::time::{interval, timeout};

use super::child::{answer, commands, now, number};

/// How long anything but a broadcast may take.
const STEP: Duration = Duration::from_secs(5);
/// Connections that share a source address: so few that the system finds a free port at once.
const PER_ADDRESS: usize = 10_000;
/// The heartbeats of a server's default configuration.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// In how many parts the heartbeats of an interval leave.
const PARTS: usize = 100;

/// What a load process is asked to hold.
#[derive(Debug, Clone, Args)]
pub struct Hold {
    /// The server's address.
    #[arg(long)]
    pub to: SocketAddr,
    /// The first of the addresses to connect from.
    #[arg(long, default_value = "127.0.1.1")]
    pub from: Ipv4Addr,
    /// Sessions.
    #[arg(long)]
    pub sessions: usize,
    /// Bytes of the message that each session exchanges.
    #[arg(long, default_value_t = 64)]
    pub payload: usize,
    /// Speak TLS, and trust the authority whose certificate is in this file (PEM); each handshake is a full one.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Frames without kind and number, for servers that only echo; no heartbeats.
    #[arg(long)]
    pub raw: bool,
}

/// How long opening took, one session after another, in nanoseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Opened {
    /// Until the connection was there.
    pub connect: Vec<u64>,
    /// Until the answer to the first message was there, the connection included.
    pub ready: Vec<u64>,
}

/// What arrived without being asked for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Notifications.
    pub notifications: u64,
    /// The fewest and the most that a session has heard.
    pub least: u64,
    /// See `least`.
    pub most: u64,
    /// When the last one arrived, on the clock that all processes share.
    pub last_ns: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Sessions that ended.
    pub ended: u64,
}

#[derive(Debug, Default)]
struct Counts {
    notifications: Cell<u64>,
    last_ns: Cell<u64>,
    heartbeats: Cell<u64>,
    ended: Cell<u64>,
    each: RefCell<Vec<u64>>,
}

/// One held session.
struct Held {
    tx: TcpSender,
    /// Gives the moment at which the server's end was seen.
    reading: JoinHandle<Option<Instant>>,
}

struct Crowd {
    hold: Hold,
    tls: Option<ClientTls>,
    counts: Rc<Counts>,
    held: Rc<RefCell<Vec<Held>>>,
}

/// Holds sessions until the standard input ends.
///
/// # Errors
/// When nobody listens to its answers any more.
pub fn run(hold: Hold) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Without a memory for sessions to be resumed: each peer of a crowd is a stranger.
    let settings = |ca| ClientTls::builder().ca(Pem::file(ca)).max_sessions(0).build();
    let tls = hold.ca.as_ref().map(settings).transpose().map_err(io::Error::other)?;
    LocalSet::new().block_on(&runtime, async {
        let crowd = Crowd { hold, tls, counts: Rc::default(), held: Rc::default() };
        let beating = spawn_local(beat(crowd.held.clone()));
        if crowd.hold.raw {
            beating.abort();
        }
        crowd.obey(commands()).await
    })
}

impl Crowd {
    async fn obey(&self, mut commands: UnboundedReceiver<Vec<String>>) -> io::Result<()> {
        while let Some(command) = commands.recv().await {
            match command.first().map(String::as_str) {
                Some("warm") => answer(self.warm(number(&command, 1)?).await)?,
                Some("open") => answer(self.open().await)?,
                Some("forget") => answer(Ok(self.forget()))?,
                Some("await") => answer(self.wait_for(number(&command, 1)?).await)?,
                Some("close") => answer(self.close(number(&command, 1)?).await)?,
                _ => answer(Ok(self.heard()))?,
            }
        }
        Ok(())
    }

    /// The server's address, which tells whether it speaks TLS.
    fn address(&self) -> Address {
        let scheme = if self.tls.is_some() { Scheme::Tcps } else { Scheme::Tcp };
        Address::from_socket(scheme, self.hold.to)
    }

    /// The transport of one source address. A secure one differs in this and in [`serve`](super::serve) alone.
    fn transport(&self, session: usize) -> io::Result<Tcp> {
        let part = u32::try_from(session / PER_ADDRESS).map_err(io::Error::other)?;
        let from = Ipv4Addr::from_bits(self.hold.from.to_bits() + part);
        let bind = Some(SocketAddr::new(IpAddr::V4(from), 0));
        let tcp = Tcp::new(TcpConfig { bind, ..TcpConfig::default() });
        Ok(match &self.tls {
            Some(tls) => tcp.with_client_tls(tls.clone()),
            None => tcp,
        })
    }

    /// Opens and closes some sessions, so that what a server sets up once is there.
    async fn warm(&self, count: usize) -> io::Result<u64> {
        let tcp = self.transport(0)?;
        for number in 0..count {
            let (mut tx, mut rx, _) = self.exchange(&tcp, number).await?;
            tx.finish().await.map_err(io::Error::other)?;
            while rx.recv().await.map_err(io::Error::other)?.is_some() {}
        }
        Ok(count as u64)
    }

    /// Opens all sessions, one after another.
    async fn open(&self) -> io::Result<Opened> {
        let mut opened = Opened::default();
        let mut tcp = self.transport(0)?;
        for number in 0..self.hold.sessions {
            if number % PER_ADDRESS == 0 {
                tcp = self.transport(number)?;
            }
            let (tx, rx, (connect, ready)) = self.exchange(&tcp, number).await?;
            opened.connect.push(connect);
            opened.ready.push(ready);
            self.counts.each.borrow_mut().push(0);
            let reading = spawn_local(read(rx, self.counts.clone(), number));
            self.held.borrow_mut().push(Held { tx, reading });
        }
        Ok(opened)
    }

    /// Connects, sends a message, and verifies the answer.
    async fn exchange(&self, tcp: &Tcp, number: usize) -> io::Result<(TcpSender, TcpReceiver, (u64, u64))> {
        let exchanging = async {
            let payload = Bytes::from(vec![u8::try_from(number % 251).unwrap_or(0); self.hold.payload]);
            let began = Instant::now();
            let connection = tcp.connect(&self.address()).await?;
            let connect = nanos(began.elapsed());
            let (mut tx, mut rx) = (connection.tx, connection.rx);
            let request = if self.hold.raw {
                payload.clone()
            } else {
                Message::new(MessageKind::Request, 7, payload.clone()).encode()
            };
            tx.send(request).await?;
            let answer = rx.recv().await?;
            let ready = nanos(began.elapsed());
            Ok::<_, net_core::Error>((tx, rx, (connect, ready), answer, payload))
        };
        let (tx, rx, times, frame, payload) = timeout(STEP, exchanging)
            .await
            .map_err(io::Error::other)?
            .map_err(|error| io::Error::other(format!("session {number}: {}", error.report())))?;
        let right = match frame {
            Some(frame) if self.hold.raw => frame == payload,
            Some(frame) => Message::decode(frame).is_ok_and(|answer| {
                (answer.kind(), answer.id(), answer.payload()) == (MessageKind::Response, 7, &payload)
            }),
            None => false,
        };
        if right { Ok((tx, rx, times)) } else { Err(io::Error::other("another answer than was asked for")) }
    }

    fn forget(&self) -> u64 {
        self.counts.notifications.set(0);
        self.counts.heartbeats.set(0);
        self.counts.each.borrow_mut().fill(0);
        0
    }

    fn heard(&self) -> Heard {
        let each = self.counts.each.borrow();
        Heard {
            notifications: self.counts.notifications.get(),
            least: each.iter().min().copied().unwrap_or(0),
            most: each.iter().max().copied().unwrap_or(0),
            last_ns: self.counts.last_ns.get(),
            heartbeats: self.counts.heartbeats.get(),
            ended: self.counts.ended.get(),
        }
    }

    /// Waits until so many notifications have arrived.
    async fn wait_for(&self, notifications: u64) -> io::Result<Heard> {
        let arriving = async {
            while self.counts.notifications.get() < notifications {
                // What arrives notes its own time, so that looking seldom costs no precision.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_mins(1), arriving).await.map_err(|_| {
            io::Error::other(format!("{} of {notifications} arrived", self.counts.notifications.get()))
        })?;
        Ok(self.heard())
    }

    /// Ends up to `gently` sessions one after another in an orderly way, and resets the others, so that no port waits.
    async fn close(&self, gently: usize) -> io::Result<Vec<u64>> {
        let held = std::mem::take(&mut *self.held.borrow_mut());
        let mut times = Vec::new();
        let mut ended = Vec::new();
        for (number, mut session) in held.into_iter().enumerate() {
            if number < gently {
                let began = Instant::now();
                session.tx.finish().await.map_err(io::Error::other)?;
                let end = timeout(STEP, session.reading)
                    .await
                    .map_err(io::Error::other)?
                    .map_err(io::Error::other)?;
                let end =
                    end.ok_or_else(|| io::Error::other("the server broke a session that was finished"))?;
                times.push(nanos(end.saturating_duration_since(began)));
            } else {
                // Dropped while something is not flushed: an abort, by law.
                session.tx.feed(heartbeat()).await.map_err(io::Error::other)?;
                session.reading.abort();
                ended.push(session.reading);
            }
        }
        for reading in ended {
            // It was aborted.
            let _ = reading.await;
        }
        Ok(times)
    }
}

/// Hears what the server says on one session.
async fn read(mut rx: TcpReceiver, counts: Rc<Counts>, number: usize) -> Option<Instant> {
    let clean = loop {
        match rx.recv().await {
            Ok(Some(frame)) => {
                if Message::decode(frame).is_ok_and(|message| message.kind() == MessageKind::Heartbeat) {
                    counts.heartbeats.update(|count| count + 1);
                    continue;
                }
                counts.notifications.update(|count| count + 1);
                counts.last_ns.set(now());
                if let Some(count) = counts.each.borrow_mut().get_mut(number) {
                    *count += 1;
                }
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    counts.ended.update(|count| count + 1);
    clean.then(Instant::now)
}

/// Sends a heartbeat on each session in each interval, spread over it.
async fn beat(held: Rc<RefCell<Vec<Held>>>) {
    let mut ticks = interval(HEARTBEAT / u32::try_from(PARTS).unwrap_or(1));
    for part in (0..PARTS).cycle() {
        ticks.tick().await;
        for session in held.borrow_mut().iter_mut().skip(part).step_by(PARTS) {
            // It finds room at once, or the session has ended, which its reader tells. A task's budget would make the
            // socket look full after some of them.
            let _ = unconstrained(session.tx.send(heartbeat())).now_or_never();
        }
    }
}

fn heartbeat() -> Bytes {
    Message::new(MessageKind::Heartbeat, 0, Bytes::new()).encode()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
