//! A server and its clients on one transport: how they are made, what they say, what is checked in the end.

use std::time::Duration;

use futures_util::future::join_all;
use net_core::{
    Credentials, ErrorKind, Result, Transport,
    memory::Memory,
    testing::{Faults, Link, LinkConfig},
};
use net_messaging::{
    Client, Heartbeat, Limits, OutboxConfig, Overflow, Reconnect, Server, ServerBuilder, SessionConfig,
};
use tokio::time::{Instant, sleep};

use crate::{
    books::{Ask, Books},
    tap::Tapped,
};

/// A link between tasks of this process.
pub(crate) type Net = Link<Memory>;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A link on which nothing is lost, and everything takes its time: another one for each seed.
pub(crate) fn delayed(rng: &mut fastrand::Rng) -> Faults {
    Faults { delay: ms(rng.u64(1..80)), jitter: ms(rng.u64(0..40)), ..Faults::default() }
}

/// Both sides of a scenario.
#[derive(Debug)]
pub(crate) struct World<T> {
    pub(crate) transport: T,
    pub(crate) session: SessionConfig,
    pub(crate) limits: Limits,
    /// What may wait for each peer of the server.
    pub(crate) outbox: OutboxConfig,
    /// How much longer a second of the clients is than one of the server.
    pub(crate) skew: f64,
    pub(crate) reconnect: Reconnect,
    pub(crate) request_timeout: Duration,
    pub(crate) server_books: Books,
    pub(crate) client_books: Books,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    pub(crate) outcome: Result<(), ErrorKind>,
}

impl World<Net> {
    /// A world on a link of its own.
    pub(crate) fn over(config: LinkConfig) -> (Net, Self) {
        let link = Net::new(Memory::default(), config);
        (link.clone(), Self::new(link))
    }
}

impl<T: Transport + Clone> World<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self {
            transport,
            session: SessionConfig::default(),
            limits: Limits::default(),
            // Less than one burst of a handler.
            outbox: OutboxConfig {
                max_messages: 6,
                max_bytes: 3_000,
                high_water: 1_000,
                overflow: Overflow::DropNewest,
            },
            skew: 1.0,
            // Quicker than usual, so that a scenario sees many connections.
            reconnect: Reconnect {
                interval: ms(200),
                max_interval: secs(3),
                stable_after: secs(20),
                ..Reconnect::default()
            },
            request_timeout: secs(8),
            server_books: Books::default(),
            client_books: Books::default(),
        }
    }

    pub(crate) fn server(&self) -> ServerBuilder<T, Books> {
        self.server_books.bound(self.outbox);
        Server::builder(self.transport.clone())
            .session(self.session)
            .limits(Limits { outbox: self.outbox, ..self.limits })
            .observer(self.server_books.clone())
            .handler(self.server_books.clone())
    }

    pub(crate) async fn serve(&self) -> Server {
        self.server().listen("mem://server").await.expect("listens")
    }

    /// The clients' side of the transport, on which answers are counted.
    pub(crate) fn near(&self, shows_credentials: bool) -> Tapped<T> {
        Tapped::new(self.transport.clone(), self.client_books.clone(), shows_credentials)
    }

    /// Connects a client once, with its credentials where it has any.
    pub(crate) async fn connect(&self, credentials: Option<Credentials>) -> Result<Client> {
        let books = self.client_books.clone();
        let slower = |beat: Heartbeat| Heartbeat { interval: beat.interval.mul_f64(self.skew), ..beat };
        let session = SessionConfig { heartbeat: self.session.heartbeat.map(slower), ..self.session };
        let mut client = Client::builder(self.near(credentials.is_some()))
            .session(session)
            .limits(self.limits)
            .reconnect(self.reconnect)
            .request_timeout(self.request_timeout)
            .observer(self.client_books.clone())
            .on_disconnected(move |session, reason| books.closed(session, reason));
        if let Some(credentials) = credentials {
            client = client.authenticate(credentials);
        }
        client.connect("mem://server").await
    }

    /// Connects a client; the network may break its first connections.
    pub(crate) async fn client(&self) -> Client {
        self.client_with(|| None).await
    }

    /// Connects a client that shows credentials; the network may break its first connections.
    pub(crate) async fn client_with(&self, credentials: impl Fn() -> Option<Credentials>) -> Client {
        for _ in 0..50 {
            match self.connect(credentials()).await {
                Ok(client) => return client,
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Refused | ErrorKind::Reset | ErrorKind::Closed),
                    "{}",
                    error.report()
                ),
            }
            sleep(ms(100)).await;
        }
        panic!("no connection in fifty attempts");
    }

    /// Asks `count` things in batches of up to four, with pauses between them; each must end in time.
    pub(crate) async fn asks(
        &self,
        client: &Client,
        me: u32,
        count: u32,
        seed: u64,
        longest_work: u32,
    ) -> Vec<Asked> {
        let mut rng = fastrand::Rng::with_seed(seed ^ u64::from(me) << 32);
        let mut asked = Vec::new();
        while asked.len() < count as usize {
            let done = u32::try_from(asked.len()).expect("few");
            let batch = rng.u32(1..=4).min(count - done);
            let asks: Vec<_> = (done..done + batch)
                .map(|number| {
                    let work = if rng.bool() { 0 } else { rng.u32(0..=longest_work) };
                    (Ask { client: me, number, work }, rng.usize(0..600))
                })
                .collect();
            asked.extend(
                join_all(asks.into_iter().map(|(ask, padding)| self.ask(client, ask, padding))).await,
            );
            sleep(ms(rng.u64(0..400))).await;
        }
        asked
    }

    pub(crate) async fn ask(&self, client: &Client, ask: Ask, padding: usize) -> Asked {
        let payload = ask.encode(padding);
        let began = Instant::now();
        let outcome = client.request(payload.clone()).await;
        let took = began.elapsed();
        assert!(took <= self.request_timeout + ms(5), "{ask:?} took {took:?}");
        let outcome = outcome.map(|answer| assert_eq!(answer.payload(), &payload, "the answer of another"));
        Asked { ask, outcome: outcome.map_err(|error| error.kind()) }
    }

    /// Checks what must be true once `server` has stopped and all clients are gone.
    pub(crate) async fn check(&self, server: &Server, asked: &[Asked]) -> Vec<String> {
        let began = Instant::now();
        server.stop().await;
        assert!(
            began.elapsed() <= self.limits.close_timeout * 2 + secs(1),
            "stopping took {:?}",
            began.elapsed()
        );
        assert_eq!((server.len(), server.connections()), (0, 0), "sessions and connections in the end");
        // The clients' last connections end behind the server's.
        sleep(secs(60)).await;
        for Asked { ask, outcome } in asked {
            let begun = self.server_books.begun(ask.client, ask.number);
            match outcome {
                Ok(()) => assert_eq!(begun, 1, "{ask:?} was answered"),
                Err(_) => assert!(begun <= 1, "{ask:?} was handled {begun} times"),
            }
        }
        assert!(self.server_books.begun_in_all() <= asked.len(), "what nobody asked was handled");
        self.server_books.check("server");
        self.client_books.check("client");
        let (server_received, server_sent) = self.server_books.carried();
        let (client_received, client_sent) = self.client_books.carried();
        assert!(server_received <= client_sent, "{server_received} of {client_sent} messages arrived");
        assert!(client_received <= server_sent, "{client_received} of {server_sent} messages came back");
        // An answer that comes too late is that of a request which was handled, and is counted once.
        let late = asked.iter().filter(|Asked { ask, outcome }| {
            matches!(outcome, Err(ErrorKind::TimedOut)) && self.server_books.begun(ask.client, ask.number) > 0
        });
        let (unexpected, late) = (self.client_books.unexpected(), late.count() as u64);
        assert!(unexpected <= late, "{unexpected} answers that nobody waits for, of {late} that are late");
        vec![format!("{:?}", asked.iter().map(|asked| asked.outcome).collect::<Vec<_>>())]
    }
}
