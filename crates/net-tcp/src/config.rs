//! How TCP connections are made and accepted.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Socket, TcpKeepalive};

/// The longest time that Linux takes for keep-alive (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`), about nine hours.
const LONGEST: Duration = Duration::from_secs(32_767);
/// The most questions that it takes (`MAX_TCP_KEEPCNT`).
const MOST: u32 = 127;

/// How TCP connections are made and accepted.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_tcp::TcpConfig;
///
/// let config = TcpConfig { connect_timeout: Duration::from_secs(2), ..TcpConfig::default() };
/// assert!(config.nodelay);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct TcpConfig {
    /// Sends small segments at once (`TCP_NODELAY`). Default: true.
    ///
    /// Senders gather messages until they are flushed, so Nagle's algorithm has nothing to add: together with
    /// delayed acknowledgements it makes a round trip wait for 40 ms.
    pub nodelay: bool,
    /// Asks a silent peer whether it is still there (`SO_KEEPALIVE`). Default: on.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged before the connection is broken (`TCP_USER_TIMEOUT`); Linux only,
    /// without effect elsewhere. Default: the system's, about 15 minutes.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde::option"))]
    pub user_timeout: Option<Duration>,
    /// The kernel's send buffer, in bytes (`SO_SNDBUF`). Default: the system's, which grows with the load.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub send_buffer_len: Option<usize>,
    /// The kernel's receive buffer, in bytes (`SO_RCVBUF`). Default: the system's, which grows with the load.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub recv_buffer_len: Option<usize>,
    /// The address that clients connect from; port 0 lets the system choose one. Default: the system's choice.
    pub bind: Option<SocketAddr>,
    /// How long connecting may take, name resolution and every address included; a listener's name resolution, too.
    /// Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub connect_timeout: Duration,
    /// How long one address is tried alone before the next one is tried beside it. Default: 250 ms.
    ///
    /// Source: RFC 8305 §5, "Connection Attempt Delay".
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub attempt_delay: Duration,
    /// The family of the address that is tried first where a name has both. Default: IPv6.
    pub first_family: Family,
    /// How many connections wait in the system's queue to be accepted. Default: 1024.
    pub backlog: u32,
    /// Lets other sockets of this user listen at the same address (`SO_REUSEPORT`). Default: false.
    ///
    /// Several listeners of one process need no setting: `listen_many` shares the address among them.
    pub reuse_port: bool,
    /// Bytes that a sender gathers before a message waits; one message always fits. Default: 256 KiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_buffered: usize,
}

/// When a silent peer is asked whether it is still there, and when it is given up.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_tcp::{Keepalive, Tcp, TcpConfig};
///
/// let idle = Duration::from_secs(20);
/// let keepalive = Keepalive { idle, interval: Duration::from_secs(5), ..Keepalive::default() };
/// // A peer that has vanished is given up after so long.
/// assert_eq!(keepalive.idle + keepalive.interval * keepalive.retries, Duration::from_secs(40));
///
/// let tcp = Tcp::new(TcpConfig { keepalive: Some(keepalive), ..TcpConfig::default() });
/// assert_eq!(tcp.config().keepalive, Some(keepalive));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Keepalive {
    /// Silence before the first question; whole seconds, from 1 to 32 767. Default: 60 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub idle: Duration,
    /// Time between two questions; whole seconds, from 1 to 32 767. Default: 15 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub interval: Duration,
    /// Questions without an answer before the connection is broken, from 1 to 127. Default: 4.
    pub retries: u32,
}

/// A family of internet addresses.
///
/// # Examples
///
/// ```
/// use net_tcp::{Family, TcpConfig, stream::Connector};
///
/// assert_eq!(TcpConfig::default().first_family, Family::V6);
/// // Where IPv6 is known to lead nowhere, it need not be tried first.
/// let connector = Connector::new(TcpConfig { first_family: Family::V4, ..TcpConfig::default() });
/// assert_eq!(connector.config().first_family, Family::V4);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    #[default]
    V6,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Keepalive::default()),
            user_timeout: None,
            send_buffer_len: None,
            recv_buffer_len: None,
            bind: None,
            connect_timeout: Duration::from_secs(10),
            attempt_delay: Duration::from_millis(250),
            first_family: Family::default(),
            backlog: 1024,
            reuse_port: false,
            max_buffered: 256 * 1024,
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_mins(1), interval: Duration::from_secs(15), retries: 4 }
    }
}

impl TcpConfig {
    /// Sets the options of a connection on `socket`: one that connects, listens, or was accepted.
    pub(crate) fn apply(&self, socket: &Socket) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(keepalive) = &self.keepalive {
            socket.set_tcp_keepalive(&keepalive.to_socket())?;
        }
        #[cfg(target_os = "linux")]
        if let Some(timeout) = self.user_timeout {
            // The kernel counts milliseconds in a signed number.
            let longest = Duration::from_millis(i32::MAX.unsigned_abs().into());
            socket.set_tcp_user_timeout(Some(timeout.min(longest)))?;
        }
        if let Some(len) = self.send_buffer_len {
            socket.set_send_buffer_size(len)?;
        }
        if let Some(len) = self.recv_buffer_len {
            socket.set_recv_buffer_size(len)?;
        }
        Ok(())
    }
}

impl Keepalive {
    fn to_socket(self) -> TcpKeepalive {
        let whole = |time: Duration| time.clamp(Duration::from_secs(1), LONGEST);
        let keepalive = TcpKeepalive::new().with_time(whole(self.idle)).with_interval(whole(self.interval));
        #[cfg(not(windows))]
        let keepalive = keepalive.with_retries(self.retries.clamp(1, MOST));
        keepalive
    }
}
