//! The limits of a server.

use std::time::Duration;

use clap::{Args, ValueEnum};
use net_core::{DataRate, Lifetime, OutboxConfig, Overflow};
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

    /// Handshakes that run at once; one prefix may hold a quarter of them, one IPv6 /48 half
    #[arg(long, value_name = "N", default_value_t = Bounds::default().max_handshakes)]
    max_handshakes: usize,

    /// A handshake must be over within this time
    #[arg(long, value_name = "TIME", default_value_t = Time(Bounds::default().handshake_timeout))]
    handshake_timeout: Time,

    /// Closes a connection of which nothing arrived for this long
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().idle_timeout))]
    idle_timeout: Timeout,

    /// The first message must have arrived within this time
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().first_message_timeout))]
    first_message_timeout: Timeout,

    /// A message that has begun must be whole within this time
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(Bounds::default().message_timeout))]
    message_timeout: Timeout,

    /// A message that has begun must arrive at so many bytes a second, on the average since its first byte
    #[arg(long, value_name = "BYTES|off", default_value_t = OrOff(Bounds::default().min_data_rate.map(|rate| rate.bytes_per_second)))]
    min_data_rate: OrOff<u32>,

    /// A message may take this long whatever its speed
    #[arg(long, value_name = "TIME", default_value_t = Time(DataRate::default().grace))]
    min_data_rate_grace: Time,

    /// A connection that has lived this long, a tenth more or less, is asked to go away
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(None))]
    lifetime: Timeout,

    /// A connection that was asked to go away because of its age is ended after this time
    #[arg(long, value_name = "TIME", requires = "lifetime", default_value_t = Time(Lifetime::new(Duration::ZERO).grace))]
    lifetime_grace: Time,

    /// Messages that may wait to be sent to one peer
    #[arg(long, value_name = "N", default_value_t = Bounds::default().outbox.max_messages)]
    outbox_max_messages: usize,

    /// Bytes that may wait to be sent to one peer, with what each message costs besides; one message always fits
    #[arg(long, value_name = "SIZE", default_value_t = Size(Bounds::default().outbox.max_bytes))]
    outbox_max_bytes: Size,

    /// Above this a message is queued rather than sent at once; below half of it, those who wait to send go on
    #[arg(long, value_name = "SIZE", default_value_t = Size(Bounds::default().outbox.high_water))]
    outbox_high_water: Size,

    /// What happens to a message that finds no room
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = WhenFull::Disconnect)]
    outbox_overflow: WhenFull,

    /// Requests that this side has sent on one connection and that wait for their answers; the next one waits
    #[arg(long, value_name = "N", default_value_t = Bounds::default().max_in_flight)]
    max_in_flight: usize,

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

/// What happens to a message that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhenFull {
    /// It is refused, and a connection that has no room for as long as --stall-timeout is closed
    Disconnect,
    /// It is refused; the connection stays
    Refuse,
    /// It is dropped
    DropNewest,
    /// The oldest that wait are dropped, to make room
    DropOldest,
}

impl From<WhenFull> for Overflow {
    fn from(policy: WhenFull) -> Self {
        match policy {
            WhenFull::Disconnect => Self::Disconnect,
            WhenFull::Refuse => Self::Refuse,
            WhenFull::DropNewest => Self::DropNewest,
            WhenFull::DropOldest => Self::DropOldest,
        }
    }
}

impl Limits {
    /// What all flags of a server make of it.
    pub(crate) fn config(&self, wire: &Wire, serving: &Serving) -> ServerConfig {
        let interval = self.heartbeat_interval.0.filter(|_| wire.carries_heartbeats());
        let rate = |bytes_per_second| DataRate { bytes_per_second, grace: self.min_data_rate_grace.0 };
        ServerConfig {
            session: SessionConfig {
                format: wire.format.into(),
                heartbeat: interval.map(|interval| Heartbeat { interval, missed: self.heartbeat_missed }),
                ..SessionConfig::default()
            },
            // All of them by name, so that a limit to come is not forgotten here.
            limits: Bounds {
                max_connections: self.max_connections,
                max_connections_per_prefix: self.max_connections_per_prefix,
                max_handshakes: self.max_handshakes,
                handshake_timeout: self.handshake_timeout.0,
                first_message_timeout: self.first_message_timeout.0,
                message_timeout: self.message_timeout.0,
                min_data_rate: self.min_data_rate.0.map(rate),
                idle_timeout: self.idle_timeout.0,
                stall_timeout: self.stall_timeout.0,
                handler_timeout: self.handler_timeout.0,
                close_timeout: self.close_timeout.0,
                lifetime: self.lifetime.0.map(|after| Lifetime { after, grace: self.lifetime_grace.0 }),
                // --max-message-len bounds the framing, as it does on clients.
                max_message_len: None,
                outbox: OutboxConfig {
                    max_messages: self.outbox_max_messages,
                    max_bytes: self.outbox_max_bytes.0,
                    high_water: self.outbox_high_water.0,
                    overflow: self.outbox_overflow.into(),
                },
                max_in_flight: self.max_in_flight,
                memory_budget: self.memory_budget.0.map(|Size(bytes)| bytes),
            },
            io_threads: serving.own_threads(),
            kernel_timer: true,
            ..ServerConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::parsed;

    fn bounds(flags: &str) -> Bounds {
        let (wire, serving) = (parsed("").expect("no flags"), parsed("").expect("no flags"));
        parsed::<Limits>(flags).expect(flags).config(&wire, &serving).limits
    }

    /// Checks that these flags change this and nothing else.
    fn sets(flags: &str, set: impl Fn(&mut Bounds)) {
        let mut expected = Bounds::default();
        set(&mut expected);
        assert_ne!(expected, Bounds::default(), "{flags}: the default shows nothing");
        assert_eq!(bounds(flags), expected, "{flags}");
    }

    const NINE: Duration = Duration::from_secs(9);

    #[test]
    fn without_flags_each_limit_is_the_default() {
        assert_eq!(bounds(""), Bounds::default());
    }

    #[test]
    fn each_flag_sets_the_limit_of_its_name() {
        sets("--max-connections 9", |limits| limits.max_connections = 9);
        sets("--max-connections-per-prefix 9", |limits| limits.max_connections_per_prefix = 9);
        sets("--max-handshakes 9", |limits| limits.max_handshakes = 9);
        sets("--handshake-timeout 9s", |limits| limits.handshake_timeout = NINE);
        sets("--first-message-timeout 9s", |limits| limits.first_message_timeout = Some(NINE));
        sets("--message-timeout 9s", |limits| limits.message_timeout = Some(NINE));
        sets("--idle-timeout 9s", |limits| limits.idle_timeout = Some(NINE));
        sets("--stall-timeout 9s", |limits| limits.stall_timeout = Some(NINE));
        sets("--handler-timeout 9s", |limits| limits.handler_timeout = Some(NINE));
        sets("--close-timeout 9s", |limits| limits.close_timeout = NINE);
        sets("--max-in-flight 9", |limits| limits.max_in_flight = 9);
        sets("--memory-budget 9KiB", |limits| limits.memory_budget = Some(9 << 10));
    }

    #[test]
    fn a_rate_and_a_lifetime_have_graces() {
        let grace = DataRate::default().grace;
        sets("--min-data-rate 9", |limits| {
            limits.min_data_rate = Some(DataRate { bytes_per_second: 9, grace });
        });
        let bytes_per_second = DataRate::default().bytes_per_second;
        sets("--min-data-rate-grace 9s", |limits| {
            limits.min_data_rate = Some(DataRate { bytes_per_second, grace: NINE });
        });
        sets("--lifetime 9s", |limits| limits.lifetime = Some(Lifetime::new(NINE)));
        sets("--lifetime 9s --lifetime-grace 0s", |limits| {
            limits.lifetime = Some(Lifetime { after: NINE, grace: Duration::ZERO });
        });
        assert!(parsed::<Limits>("--lifetime-grace 9s").is_err(), "the grace of what?");
    }

    #[test]
    fn the_outbox_has_bounds_and_a_policy() {
        sets("--outbox-max-messages 9", |limits| limits.outbox.max_messages = 9);
        sets("--outbox-max-bytes 9KiB", |limits| limits.outbox.max_bytes = 9 << 10);
        sets("--outbox-high-water 9KiB", |limits| limits.outbox.high_water = 9 << 10);
        sets("--outbox-overflow refuse", |limits| limits.outbox.overflow = Overflow::Refuse);
        sets("--outbox-overflow drop-newest", |limits| limits.outbox.overflow = Overflow::DropNewest);
        sets("--outbox-overflow drop-oldest", |limits| limits.outbox.overflow = Overflow::DropOldest);
        assert_eq!(bounds("--outbox-overflow disconnect"), Bounds::default());
    }

    #[test]
    fn what_may_be_off_is_off() {
        sets("--first-message-timeout off", |limits| limits.first_message_timeout = None);
        sets("--message-timeout off", |limits| limits.message_timeout = None);
        sets("--min-data-rate off", |limits| limits.min_data_rate = None);
        sets("--idle-timeout off", |limits| limits.idle_timeout = None);
        sets("--stall-timeout off", |limits| limits.stall_timeout = None);
        sets("--handler-timeout off", |limits| limits.handler_timeout = None);
        sets("--memory-budget off", |limits| limits.memory_budget = None);
        assert_eq!(bounds("--lifetime off"), Bounds::default());
    }
}
