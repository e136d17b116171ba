//! The limits of a server.

use clap::Args;
use net_core::{DataRate, Lifetime};
use net_messaging::{Heartbeat, Limits as Bounds, ServerConfig, SessionConfig};

use super::{OrOff, Serving, Size, Time, Timeout, Wire};

/// The limits of a server: all on unless switched off.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Connections in all
    #[arg(long, value_name = "N", default_value_t = Bounds::default().max_connections)]
    max_connections: usize,

    /// Connections from one IPv4 address or one IPv6 /56 network; loopback is not counted
    #[arg(long, value_name = "N", default_value_t = Bounds::default().max_connections_per_prefix)]
    max_connections_per_prefix: usize,

    /// Closes a connection of which nothing arrived for this long
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().idle_timeout))]
    idle_timeout: Timeout,

    /// The first message must have arrived within this time
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().first_message_timeout))]
    first_message_timeout: Timeout,

    /// A message that has begun must be whole within this time
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().message_timeout))]
    message_timeout: Timeout,

    /// A message that has begun must arrive at so many bytes a second, after a grace of 5 s
    #[arg(long, value_name = "BYTES|off", default_value_t = OrOff(Bounds::default().min_data_rate.map(|rate| rate.bytes_per_second)))]
    min_data_rate: OrOff<u32>,

    /// A connection that has lived this long, a tenth more or less, is asked to go away and ended 5 s later
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(None))]
    lifetime: Timeout,

    /// What all connections may hold in memory; from three quarters on those that hold most are closed
    #[arg(long, value_name = "SIZE|off", default_value_t = OrOff(Bounds::default().memory_budget.map(Size)))]
    memory_budget: OrOff<Size>,

    /// A message must be handled within this time
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().handler_timeout))]
    handler_timeout: Timeout,

    /// Closes a connection whose peer takes nothing of what waits for it for this long
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().stall_timeout))]
    stall_timeout: Timeout,

    /// How long a closing connection waits for the peer to finish
    #[arg(long, value_name = "TIME", default_value_t = Time(Bounds::default().close_timeout))]
    close_timeout: Time,

    /// In the message format, a heartbeat is sent when nothing was sent for this long
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Some(Heartbeat::default().interval)))]
    heartbeat_interval: Timeout,

    /// A peer of which nothing arrived for so many intervals is dead
    #[arg(long, value_name = "N", default_value_t = Heartbeat::default().missed)]
    heartbeat_missed: u32,
}

impl Limits {
    /// What all flags of a server make of it.
    pub(crate) fn config(&self, wire: &Wire, serving: &Serving) -> ServerConfig {
        let interval = self.heartbeat_interval.0.filter(|_| wire.carries_heartbeats());
        ServerConfig {
            session: SessionConfig {
                format: wire.format.into(),
                heartbeat: interval.map(|interval| Heartbeat { interval, missed: self.heartbeat_missed }),
                ..SessionConfig::default()
            },
            limits: Bounds {
                max_connections: self.max_connections,
                max_connections_per_prefix: self.max_connections_per_prefix,
                first_message_timeout: self.first_message_timeout.0,
                message_timeout: self.message_timeout.0,
                min_data_rate: self
                    .min_data_rate
                    .0
                    .map(|bytes_per_second| DataRate { bytes_per_second, ..DataRate::default() }),
                idle_timeout: self.idle_timeout.0,
                stall_timeout: self.stall_timeout.0,
                handler_timeout: self.handler_timeout.0,
                close_timeout: self.close_timeout.0,
                lifetime: self.lifetime.0.map(Lifetime::new),
                memory_budget: self.memory_budget.0.map(|Size(bytes)| bytes),
                ..Bounds::default()
            },
            io_threads: serving.own_threads(),
            kernel_timer: true,
            ..ServerConfig::default()
        }
    }
}
