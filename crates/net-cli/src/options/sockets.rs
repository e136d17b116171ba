//! The options of sockets.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use net_core::Address;
use net_quic::QuicConfig;
use net_tcp::{Keepalive, TcpConfig};

use super::{ClientSide, ServerSide, Size, Time, Timeout, WsBoth, WsClient, WsServer};
use crate::{failure::Failure, transport::Sockets};

/// The options of every socket.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sockets")]
pub(crate) struct Socket {
    /// Send small segments at once (`TCP_NODELAY`)
    #[arg(long, value_name = "BOOL", default_value_t = TcpConfig::default().nodelay, action = clap::ArgAction::Set)]
    nodelay: bool,

    /// Ask a peer that was silent for this long whether it is still there (`SO_KEEPALIVE`)
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(TcpConfig::default().keepalive.map(|on| on.idle)))]
    keepalive: Timeout,

    /// Time between two such questions
    #[arg(long, value_name = "TIME", default_value_t = Time(Keepalive::default().interval))]
    keepalive_interval: Time,

    /// Questions without an answer before the connection is broken
    #[arg(long, value_name = "N", default_value_t = Keepalive::default().retries)]
    keepalive_retries: u32,

    /// Break a connection whose data stays unacknowledged for this long (`TCP_USER_TIMEOUT`)
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(TcpConfig::default().user_timeout))]
    user_timeout: Timeout,

    /// The kernel's send buffer (`SO_SNDBUF`) [default: the system's]
    #[arg(long, value_name = "SIZE")]
    send_buffer: Option<Size>,

    /// The kernel's receive buffer of TCP, UDP and QUIC (`SO_RCVBUF`) [default: the system's; UDP 4MiB, QUIC 1MiB]
    #[arg(long, value_name = "SIZE")]
    recv_buffer: Option<Size>,

    /// Bytes that a sender gathers before a message waits
    #[arg(long, value_name = "SIZE", default_value_t = Size(TcpConfig::default().max_buffered))]
    max_buffered: Size,

    #[command(flatten)]
    ws: WsBoth,
}

/// The options of sockets that listen.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sockets")]
pub(crate) struct Listening {
    /// Connections that wait in the system's queue to be accepted
    #[arg(long, value_name = "N", default_value_t = TcpConfig::default().backlog)]
    backlog: u32,

    /// Let other processes of this user listen at the same port (`SO_REUSEPORT`); over QUIC, clients then stay where they
    /// are
    #[arg(long)]
    reuse_port: bool,

    /// Permissions of the file of a Unix-domain socket, in octal, such as 600 [default: what the umask leaves]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    unix_mode: Option<u32>,

    #[command(flatten)]
    tls: ServerSide,

    #[command(flatten)]
    ws: WsServer,
}

/// The options of sockets that connect.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sockets")]
pub(crate) struct Connecting {
    /// Give up connecting after this long, resolving the name included
    #[arg(long, value_name = "TIME", default_value_t = Time(TcpConfig::default().connect_timeout))]
    connect_timeout: Time,

    /// Address to connect from; port 0 is any [default: the system's choice]
    #[arg(long, value_name = "IP:PORT")]
    bind: Option<SocketAddr>,

    #[command(flatten)]
    tls: ClientSide,

    #[command(flatten)]
    ws: WsClient,
}

impl Socket {
    /// What the flags of a server at `address` mean.
    pub(crate) fn listening(&self, listening: &Listening, address: &Address) -> Result<Sockets, Failure> {
        let mut sockets = self.sockets();
        sockets.server_tls = listening.tls.settings(address)?;
        sockets.tcp.backlog = listening.backlog;
        sockets.tcp.reuse_port = listening.reuse_port;
        sockets.udp.backlog = usize::try_from(listening.backlog).unwrap_or(usize::MAX);
        sockets.udp.reuse_port = listening.reuse_port;
        sockets.quic.reuse_port = listening.reuse_port;
        // They exclude each other.
        sockets.quic.migration = !listening.reuse_port;
        set_protocols(&mut sockets, listening.tls.protocols(address)?);
        self.ws.set(&mut sockets.ws);
        listening.ws.set(&mut sockets.ws);
        #[cfg(unix)]
        {
            sockets.unix.backlog = listening.backlog;
            sockets.unix.mode = listening.unix_mode;
        }
        Ok(sockets)
    }

    /// What the flags of a client of the server at `address` mean.
    pub(crate) fn connecting(&self, connecting: &Connecting, address: &Address) -> Result<Sockets, Failure> {
        let mut sockets = self.sockets();
        sockets.client_tls = connecting.tls.settings(address)?;
        let Time(connect_timeout) = connecting.connect_timeout;
        sockets.tcp.connect_timeout = connect_timeout;
        sockets.tcp.bind = connecting.bind;
        sockets.udp.connect_timeout = connect_timeout;
        sockets.udp.bind = connecting.bind;
        sockets.quic.connect_timeout = connect_timeout;
        sockets.quic.bind = connecting.bind;
        set_protocols(&mut sockets, connecting.tls.protocols(address)?);
        self.ws.set(&mut sockets.ws);
        connecting.ws.set(&mut sockets.ws)?;
        #[cfg(unix)]
        {
            sockets.unix.connect_timeout = connect_timeout;
        }
        Ok(sockets)
    }

    fn sockets(&self) -> Sockets {
        let len = |size: Option<Size>| size.map(|Size(len)| len);
        let keepalive = |idle: Duration| Keepalive {
            idle,
            interval: self.keepalive_interval.0,
            retries: self.keepalive_retries,
        };
        let mut sockets = Sockets::default();
        sockets.tcp = TcpConfig {
            nodelay: self.nodelay,
            keepalive: self.keepalive.0.map(keepalive),
            user_timeout: self.user_timeout.0,
            send_buffer_len: len(self.send_buffer),
            recv_buffer_len: len(self.recv_buffer),
            max_buffered: self.max_buffered.0,
            ..sockets.tcp
        };
        sockets.udp.send_buffer_len = len(self.send_buffer);
        sockets.udp.recv_buffer_len = len(self.recv_buffer).or(sockets.udp.recv_buffer_len);
        sockets.udp.max_buffered = self.max_buffered.0;
        sockets.quic = QuicConfig {
            alpn: vec!["echo".to_owned(), "net".to_owned()],
            send_buffer_len: len(self.send_buffer),
            recv_buffer_len: len(self.recv_buffer).or(sockets.quic.recv_buffer_len),
            max_buffered: self.max_buffered.0,
            ..sockets.quic
        };
        #[cfg(unix)]
        {
            sockets.unix.send_buffer_len = len(self.send_buffer);
            sockets.unix.max_buffered = self.max_buffered.0;
        }
        sockets
    }
}

/// Sets the protocols of QUIC, where some are named.
fn set_protocols(sockets: &mut Sockets, protocols: &[String]) {
    if !protocols.is_empty() {
        sockets.quic.alpn = protocols.to_vec();
    }
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "write three octal digits, such as 600".to_owned())
}
