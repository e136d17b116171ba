//! `net echo client`: sends one text and waits until it comes back.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use net_core::{Connection, ErrorReply, Message, MessageKind, Receiver as _, Sender as _, Transport as _};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    event::Count,
    failure::{Failure, Step},
    options::{Connecting, Socket, Time, Wire, WireFormat},
    output::Output,
    target, transport,
};

/// Send a text to an echo server and print what comes back
///
/// Exit status: 0 it came back unchanged, 1 usage or connect, 2 send, 3 receive.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Client {
    /// Address and text; the address is a URL, host:port, or a host and a port apart
    #[arg(num_args = 2..=3, required = true, value_names = ["ADDR", "TEXT"])]
    address_and_text: Vec<String>,

    /// How long the server may take for the text, for the answer, and then to finish
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(10)))]
    timeout: Time,

    #[command(flatten)]
    wire: Wire,
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    connecting: Connecting,
}

const EXAMPLES: &str = "\
Examples:
  net echo client 127.0.0.1 9000 'hello world'
  net echo client tcp://[::1]:9000 'hello world' --format message
  net echo client udp://127.0.0.1:9000 'hello world'
  net echo client ws://127.0.0.1:9000/chat 'hello world' --text
  net echo client unix:///run/app.sock 'hello world' --json
  net echo client tcps://127.0.0.1:9443 'hello world' --ca certs/ca.pem
  net echo client quic://127.0.0.1:4433 'hello world' --ca certs/ca.pem";

#[derive(Debug, Serialize)]
struct Echoed<'a> {
    server: &'a str,
    local: &'a str,
    text: &'a str,
    bytes: usize,
    round_trip_us: u128,
}

impl Client {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        let (address, text) = match self.address_and_text.as_slice() {
            [address, text] => (target::address(address, None)?, text),
            [host, port, text] => (target::address(host, Some(port))?, text),
            _ => return Err(Failure::usage("an address and a text are needed")),
        };
        let framing = self.wire.framing()?;
        let sockets = self.socket.connecting(&self.connecting, &address)?;
        let transport = transport::boxed(&address, framing, &sockets)?;
        let mut connection = transport.connect(&address).await.map_err(Failure::start)?;
        let (server, local) = (connection.info.remote.to_string(), connection.info.local.to_string());
        output.note(format_args!("connected to {server} from {local}"));

        let began = Instant::now();
        let sent = timeout(self.timeout.0, self.send(&mut connection, text));
        sent.await.map_err(|_| Failure::new(Step::Send, format!("not taken within {}", self.timeout)))??;
        output.note(format_args!("sent {}", Count(text.len() as u64, "byte")));
        let late = |what: &str| Failure::new(Step::Receive, format!("{what} within {}", self.timeout));
        let preserves = transport.guarantees().preserves_messages;
        let answer = timeout(self.timeout.0, self.receive(&mut connection, text.len(), preserves));
        let answer = answer.await.map_err(|_| late("no answer"))??;
        let round_trip = began.elapsed();
        if answer != text.as_bytes() {
            let what = format!("the text came back changed: \"{}\"", answer.escape_ascii());
            return Err(Failure::new(Step::Receive, what)
                .hint("is it an echo server, with the same --framing and --format?"));
        }
        let finished = timeout(self.timeout.0, connection.tx.finish());
        let not_finished = || Failure::new(Step::Send, format!("its end not taken within {}", self.timeout));
        finished.await.map_err(|_| not_finished())?.map_err(Failure::sending)?;
        // Without an end that is told there is nothing to wait for.
        let rest =
            async { if transport.guarantees().signals_end { connection.rx.recv().await } else { Ok(None) } };
        let rest = timeout(self.timeout.0, rest);
        if rest.await.map_err(|_| late("the server did not finish"))?.map_err(Failure::receiving)?.is_some() {
            return Err(Failure::new(Step::Receive, "more came back than was sent"));
        }
        let echoed = Echoed {
            server: &server,
            local: &local,
            text,
            bytes: answer.len(),
            round_trip_us: round_trip.as_micros(),
        };
        output.result(&echoed, text)?;
        output.note(format_args!(
            "echoed {} in {:.1} µs{}",
            Count(answer.len() as u64, "byte"),
            round_trip.as_secs_f64() * 1e6,
            if transport.guarantees().signals_end { "; both sides finished" } else { "" }
        ));
        Ok(ExitCode::SUCCESS)
    }

    async fn send(&self, connection: &mut Connection, text: &str) -> Result<(), Failure> {
        let payload = Bytes::from(text.to_owned());
        let message = match self.wire.format {
            WireFormat::Raw => payload,
            WireFormat::Message => Message::new(MessageKind::Request, REQUEST, payload).encode(),
        };
        connection.send(message).await.map_err(Failure::sending)
    }

    /// Receives the answer: one message, or `len` bytes where messages have no boundaries.
    async fn receive(
        &self,
        connection: &mut Connection,
        len: usize,
        whole: bool,
    ) -> Result<Vec<u8>, Failure> {
        let mut answer = Vec::new();
        loop {
            let Some(received) = connection.recv().await.map_err(Failure::receiving)? else {
                return Err(Failure::new(Step::Receive, "the server finished without an answer")
                    .hint("its log says why, perhaps a limit, --framing or --format"));
            };
            match self.wire.format {
                WireFormat::Raw => answer.extend_from_slice(&received),
                WireFormat::Message => match read(received)? {
                    Some(payload) => answer.extend_from_slice(&payload),
                    None => continue,
                },
            }
            if whole || answer.len() >= len {
                return Ok(answer);
            }
        }
    }
}

/// The id of the only request.
const REQUEST: u64 = 1;

/// Reads a message of the server; `None` where it is not about the request.
fn read(received: Bytes) -> Result<Option<Bytes>, Failure> {
    let message = Message::decode(received).map_err(|error| {
        Failure::new(Step::Receive, error).hint("do both sides use the same --framing and --format?")
    })?;
    match message.kind() {
        MessageKind::Response if message.id() == REQUEST => Ok(Some(message.into_payload())),
        MessageKind::Error if message.id() == REQUEST => {
            let told = ErrorReply::decode(message.payload());
            let told = told.map_or_else(|| "unreadable".to_owned(), |reply| reply.to_string());
            Err(Failure::new(Step::Receive, format!("the server answered with an error: {told}")))
        }
        _ => Ok(None),
    }
}
