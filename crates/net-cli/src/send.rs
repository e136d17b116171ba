//! `net send`: sends texts, lines or files as messages.

use std::{
    collections::VecDeque,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use net_core::{Error, ErrorKind, Message, Transport as _};
use net_messaging::{Client, Heartbeat, Limits, OutboxConfig, Overflow, SessionConfig};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::{
    event::Count,
    failure::{Failure, Step},
    options::{Connecting, Socket, Time, Wire, WireFormat},
    output::{self, Output},
    target, transport,
};

mod source;

use source::{Cut, Source};

/// Send texts, lines or files as messages, and finish cleanly
///
/// Without TEXT and --file each line of standard input is a message. In the message format they are notifications;
/// with --request they are requests, and each answer is printed, in order. What a server sends unasked is discarded.
///
/// Exit status: 0 the server has taken everything (over UDP: the network has), 1 usage or connect, 2 send, 3 receive.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Send {
    /// URL such as `tcp://127.0.0.1:9000` or `unix:///run/app.sock`, or host:port
    #[arg(value_name = "ADDR")]
    address: String,

    /// Each is a message
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Send what is in this file; may be given several times
    #[arg(long, short, value_name = "PATH")]
    file: Vec<PathBuf>,

    /// What becomes a message of a file or of standard input: each line without its end, the whole file, or each so
    /// many bytes
    #[arg(long, value_name = "lines|whole|SIZE", default_value = "lines")]
    cut: Cut,

    /// Send all of it so many times
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
    count: u64,

    /// Send requests and print their answers; needs --format message
    #[arg(long, short)]
    request: bool,

    /// Requests that wait for their answers at once
    #[arg(long, value_name = "N", default_value_t = 16, requires = "request")]
    in_flight: usize,

    /// How long an answer may take, and the server to finish
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(30)))]
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
  net send 127.0.0.1:9000 'hello' 'world'
  tail -f access.log | net send tcp://127.0.0.1:9000 --framing lines
  net send unix:///run/app.sock --file image.png --cut whole --max-message-len 64MiB
  net send tcp://127.0.0.1:9000 --format message --request 'what time is it'";

#[derive(Debug, Default, Serialize)]
struct Sent {
    messages: u64,
    bytes: u64,
    answers: u64,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    answer: &'a str,
}

impl Send {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        let address = target::address(&self.address, None)?;
        let framing = self.wire.framing()?;
        let max_len =
            transport::max_message_len(&address, &framing).saturating_sub(self.wire.format.head_len());
        if self.request && self.wire.format == WireFormat::Raw {
            return Err(Failure::usage("--request needs --format message: raw answers carry no number"));
        }
        let mut source = self.source(max_len)?;
        let sockets = self.socket.connecting(&self.connecting, &address)?;
        let transport = transport::boxed(&address, framing, &sockets)?;
        let ends = transport.guarantees().signals_end;
        let client = Client::builder(transport)
            .session(self.session())
            .limits(self.limits())
            .request_timeout(self.timeout.0);
        let client = client.connect(address).await.map_err(Failure::start)?;
        output.note(format_args!("connected to {}", client.server()));

        let began = Instant::now();
        let mut sent = Sent::default();
        let mut waiting = VecDeque::new();
        while let Some(messages) = source.next().await {
            for payload in messages? {
                sent.messages += 1;
                sent.bytes += payload.len() as u64;
                if self.request {
                    self.ask(&client, payload, &mut waiting, &mut sent, output).await?;
                } else {
                    push(&client, payload).await?;
                }
            }
            client.flush();
        }
        while let Some(answer) = waiting.pop_front() {
            show(answer, &mut sent, output).await?;
        }
        finish(&client).await?;
        sent.seconds = began.elapsed().as_secs_f64();
        if output.json {
            output.result(&sent, "")?;
        }
        output.note(format_args!(
            "sent {}, {}, in {:.3} s; {}",
            Count(sent.messages, "message"),
            Count(sent.bytes, "byte"),
            sent.seconds,
            if ends { "both sides finished" } else { "whether they arrived is not told" }
        ));
        Ok(ExitCode::SUCCESS)
    }

    fn source(&self, max_len: usize) -> Result<Source, Failure> {
        if !self.texts.is_empty() && !self.file.is_empty() {
            return Err(
                Failure::usage("texts and files cannot be sent at once").hint("send one, then the other")
            );
        }
        if !self.texts.is_empty() {
            return Ok(Source::texts(&self.texts, self.count));
        }
        if !self.file.is_empty() {
            return Source::files(self.file.clone(), self.cut, self.count, max_len);
        }
        if self.count > 1 {
            return Err(
                Failure::usage("standard input can be read once only").hint("--count needs TEXT or --file")
            );
        }
        Source::stdin(self.cut, max_len)
    }

    fn session(&self) -> SessionConfig {
        SessionConfig {
            format: self.wire.format.into(),
            heartbeat: self.wire.carries_heartbeats().then(Heartbeat::default),
            ..SessionConfig::default()
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            // Whoever types lines may think for a while.
            idle_timeout: None,
            // A full outbox means that the server is slower than the file: sending waits.
            outbox: OutboxConfig { overflow: Overflow::Refuse, ..OutboxConfig::default() },
            // Everything that was sent is taken and answered before the connection goes.
            close_timeout: self.timeout.0,
            ..Limits::default()
        }
    }

    /// Sends a request, once there is room among those that wait.
    async fn ask(
        &self,
        client: &Client,
        payload: Bytes,
        waiting: &mut VecDeque<JoinHandle<net_core::Result<Message>>>,
        sent: &mut Sent,
        output: Output,
    ) -> Result<(), Failure> {
        if waiting.len() >= self.in_flight.max(1)
            && let Some(oldest) = waiting.pop_front()
        {
            show(oldest, sent, output).await?;
        }
        let client = client.clone();
        waiting.push_back(tokio::spawn(async move { client.request(payload).await }));
        Ok(())
    }
}

/// Queues a message, and waits where there is no room.
async fn push(client: &Client, payload: Bytes) -> Result<(), Failure> {
    if client.feed(payload.clone()).map_err(Failure::sending)?.is_accepted() {
        return Ok(());
    }
    client.flush();
    client.send_wait(payload).await.map_err(Failure::sending)
}

/// Waits for an answer and prints it.
async fn show(
    answer: JoinHandle<net_core::Result<Message>>,
    sent: &mut Sent,
    output: Output,
) -> Result<(), Failure> {
    let answer = answer.await.map_err(|error| Failure::new(Step::Receive, error))?.map_err(|error| {
        let sending = matches!(error.kind(), ErrorKind::MessageTooLong | ErrorKind::InvalidMessage);
        Failure::net(if sending { Step::Send } else { Step::Receive }, &error)
    })?;
    sent.answers += 1;
    let text = String::from_utf8_lossy(answer.payload());
    output.result(&Answer { answer: &text }, output::printable(&text))?;
    Ok(())
}

/// Sends what waits, finishes, and waits for the server to finish.
async fn finish(client: &Client) -> Result<(), Failure> {
    let Some(session) = client.session() else {
        return Err(Failure::sending(Error::new(ErrorKind::Closed, "send").at(client.server())));
    };
    client.disconnect().await;
    let reason = session.closed().await;
    match reason.error() {
        Some(error) => Err(Failure::net(Step::Send, error)),
        None if reason.is_clean() => Ok(()),
        None => Err(Failure::new(Step::Send, reason)),
    }
}
