//! `net bench client`: loads a server and tells its throughput and latency.

use std::{
    io::{IsTerminal as _, stderr},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use net_core::{Transport as _, frame::AnyFraming};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    load::{Goal, LOSS_TIMEOUT, Load, Measured, State},
    payloads::Payloads,
    report::Report,
};
use crate::{
    failure::{Failure, Step},
    figures::grouped,
    options::{Connecting, Size, Socket, Time, Wire},
    output::Output,
    signals::Signals,
    target::Target,
    transport,
};

/// Load an echo server, verify every answer, and tell throughput and latency
///
/// Without --rate each answer makes room for the next message, and latency counts from when a message was sent. With
/// --rate messages are due at fixed times and latency counts from then, so that what had to wait behind a slow answer
/// counts as late (coordinated omission). Ctrl-C ends it early and tells what was measured.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Client {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    wire: Wire,
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    connecting: Connecting,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
struct Shape {
    /// Connections
    #[arg(long, short, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    connections: usize,

    /// Messages in flight on each connection
    #[arg(long, short, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    in_flight: usize,

    /// Bytes of a payload [default: 64, or what --framing fixed:N leaves]
    #[arg(long, short, value_name = "SIZE")]
    payload: Option<Size>,

    /// How long to measure
    #[arg(long, short, value_name = "TIME", default_value_t = Time(Duration::from_secs(10)))]
    duration: Time,

    /// Messages to measure, instead of a time
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "duration")]
    count: Option<u64>,

    /// Messages a second over all connections [default: as many as the answers let through]
    #[arg(long, short, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// Load before measuring begins
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_millis(500)))]
    warm_up: Time,

    /// Threads that load; 0 is one for each core that the process may use
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,

    /// Give up when no answer came for this long
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(10)))]
    timeout: Time,

    /// Over UDP, a message without an answer for this long is lost: it is counted, and makes room for the next one
    #[arg(long, value_name = "TIME", default_value_t = Time(LOSS_TIMEOUT))]
    loss_timeout: Time,
}

const EXAMPLES: &str = "\
Examples:
  net bench client tcp://127.0.0.1:9000 --connections 1 --in-flight 1
  net bench client tcp://127.0.0.1:9000 --connections 64 --payload 1KiB --duration 30s
  net bench client udp://127.0.0.1:9000 --in-flight 64 --payload 1200
  net bench client unix:///run/app.sock --rate 50000 --format message --json";

/// More connections than a machine has ports and memory for.
const MAX_CONNECTIONS: usize = 1_000_000;
/// One message in eleven days; when the next of a slower one is due, no clock can tell.
const MIN_RATE: f64 = 1e-6;

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_CONNECTIONS).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {MAX_CONNECTIONS} is needed"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= MIN_RATE);
    rate.ok_or_else(|| format!("a number from {MIN_RATE} is needed"))
}

impl Client {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        let framing = self.wire.framing()?;
        let framing_name = transport::framing_name(&self.target.address()?, &framing);
        let load = Arc::new(self.load(framing)?);
        let mut signals = Signals::listen().map_err(Failure::runtime)?;
        let progress = (!output.json && stderr().is_terminal()).then(bar);
        let measured = watch(&load, &mut signals, progress.as_ref()).await;
        if let Some(bar) = progress {
            bar.finish_and_clear();
        }
        let report = Report::new(&load, framing_name, &measured?);
        output.result(&report, &report)?;
        Ok(ExitCode::SUCCESS)
    }

    fn load(&self, framing: AnyFraming) -> Result<Load, Failure> {
        let (shape, address) = (&self.shape, self.target.address()?);
        let payload_len = match (shape.payload, self.wire.fixed_payload_len()) {
            (Some(Size(len)), Some(fixed)) if len != fixed => {
                let what = format!("with this framing and format every payload has {fixed} bytes, not {len}");
                return Err(Failure::usage(what).hint("leave out --payload"));
            }
            (Some(Size(len)), _) => len,
            (None, fixed) => fixed.unwrap_or(64),
        };
        if shape.in_flight > Payloads::MAX_IN_FLIGHT {
            let what = format!("--in-flight is at most {}", Payloads::MAX_IN_FLIGHT);
            return Err(Failure::usage(what).hint("more connections hold more messages in flight"));
        }
        let max = transport::max_message_len(&address, &framing).saturating_sub(self.wire.format.head_len());
        if payload_len > max {
            let what =
                format!("a payload of {payload_len} bytes is longer than a message may be, {max} bytes");
            return Err(Failure::new(Step::Send, what).hint("raise --max-message-len, on both sides"));
        }
        let sockets = self.socket.connecting(&self.connecting, &address)?;
        let transport = transport::boxed(&address, framing, &sockets)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Load {
            loss_timeout: (!transport.guarantees().reliable).then_some(shape.loss_timeout.0),
            transport,
            address,
            format: self.wire.format,
            heartbeats: self.wire.carries_heartbeats(),
            connections: shape.connections,
            in_flight: shape.in_flight,
            payload_len,
            rate: shape.rate,
            warm_up: shape.warm_up.0,
            goal: shape.count.map_or(Goal::Time(shape.duration.0), Goal::Count),
            timeout: shape.timeout.0,
            threads: if shape.threads == 0 { cores() } else { shape.threads }.min(shape.connections),
            state: State::default(),
        })
    }
}

/// Runs the load to its end, or to a signal, and shows how far it has come.
async fn watch(
    load: &Arc<Load>,
    signals: &mut Signals,
    bar: Option<&ProgressBar>,
) -> Result<Measured, Failure> {
    let mut running = pin!(load.clone().run());
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = false;
    loop {
        tokio::select! {
            measured = &mut running => return measured,
            _ = signals.next() => {
                if interrupted {
                    return Err(Failure::usage("interrupted, with answers outstanding"));
                }
                interrupted = true;
                load.stop();
            }
            _ = ticks.tick(), if bar.is_some() => if let Some(bar) = bar {
                bar.set_position(load.reached());
                bar.set_message(grouped(load.answers()));
            }
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed:>4} {bar:40} {msg} answers");
    ProgressBar::new(Load::WHOLE).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
