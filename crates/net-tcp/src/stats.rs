//! What the kernel knows of a TCP connection, read by one netlink query a sample.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use net_core::{Address, Error, ErrorKind, Host, Info, Result};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{
        ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
        nlas::{Nla, TcpInfo},
    },
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

const OPERATION: &str = "read statistics";
/// Longer than any answer: a header, the information of a connection, and small attributes.
const ANSWER_LEN: usize = 8 * 1024;

/// What the kernel knows of a TCP connection at one moment.
///
/// Linux only (5.4 or newer), behind the feature `stats`. No privilege is needed.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_tcp::{Tcp, TcpStats};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let tcp = Tcp::default();
/// # let mut listener = tcp.listen(&"tcp://127.0.0.1:0".parse()?).await?;
/// # let mut near = tcp.connect(listener.local()).await?;
/// # let _far = listener.accept().await?;
/// near.send("hello").await?;
/// let stats = TcpStats::of(&near.info)?;
/// assert!(stats.congestion_window > 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpStats {
    /// The smoothed round-trip time (RFC 6298 §2, SRTT).
    pub round_trip: Duration,
    /// How far round-trip times vary (RFC 6298 §2, RTTVAR).
    pub round_trip_variance: Duration,
    /// The shortest round-trip time of late; `None` before the first.
    pub min_round_trip: Option<Duration>,
    /// How long an acknowledgement is waited for before a segment is sent again (RFC 6298 §2, RTO).
    pub retransmission_timeout: Duration,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
    /// Segments sent and not yet acknowledged.
    pub unacknowledged: u32,
    /// Segments that are taken for lost.
    pub lost: u32,
    /// How many segments may be unacknowledged at once (RFC 5681, cwnd).
    pub congestion_window: u32,
    /// The window, in segments, from which it grows slowly (RFC 5681, ssthresh); `None` before the first loss.
    pub slow_start_threshold: Option<u32>,
    /// The longest segment that is sent, in bytes.
    pub max_segment_len: u32,
    /// How much the peer is ready to take, in bytes.
    pub peer_window: u32,
    /// Bytes written by this side and not yet acknowledged by the peer.
    pub send_queue_len: u32,
    /// Bytes arrived and not yet read by this side.
    pub recv_queue_len: u32,
    /// Bytes that the peer has acknowledged.
    pub bytes_acknowledged: u64,
    /// Bytes that have arrived.
    pub bytes_received: u64,
}

impl TcpStats {
    /// Asks the kernel about the connection that `info` names.
    ///
    /// It does not wait: the kernel answers within the call, in about 10 µs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where `info` names no TCP connection, [`ErrorKind::Closed`] where the connection is
    /// gone, and what the system says where it does not answer such questions.
    pub fn of(info: &Info) -> Result<Self> {
        let failed = |kind| Error::new(kind, OPERATION).at(&info.remote);
        let (Some(local), Some(remote)) = (info.local.socket(), info.remote.socket()) else {
            return Err(failed(ErrorKind::Unsupported));
        };
        let answer =
            ask(&question(local, remote, scope(&info.remote))).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => failed(ErrorKind::Closed),
                _ => Error::from_io(error, OPERATION).at(&info.remote),
            })?;
        let known = answer.nlas.iter().find_map(|attribute| match attribute {
            Nla::TcpInfo(known) => Some(known),
            _ => None,
        });
        // A connection that waits for its last packets has no more than a line in a table.
        let known = known.ok_or_else(|| failed(ErrorKind::Closed))?;
        Ok(Self::new(known, answer.header.send_queue, answer.header.recv_queue))
    }

    fn new(known: &TcpInfo, send_queue_len: u32, recv_queue_len: u32) -> Self {
        let micros = |value: u32| Duration::from_micros(value.into());
        // `TCP_INFINITE_SSTHRESH` of the kernel.
        let infinite = 0x7fff_ffff;
        Self {
            round_trip: micros(known.rtt),
            round_trip_variance: micros(known.rttvar),
            min_round_trip: Some(known.min_rtt).filter(|time| *time != u32::MAX).map(micros),
            retransmission_timeout: micros(known.rto),
            retransmits: known.total_retrans,
            unacknowledged: known.unacked,
            lost: known.lost,
            congestion_window: known.snd_cwnd,
            slow_start_threshold: Some(known.snd_ssthresh).filter(|threshold| *threshold < infinite),
            max_segment_len: known.snd_mss,
            peer_window: known.snd_wnd,
            send_queue_len,
            recv_queue_len,
            bytes_acknowledged: known.bytes_acked,
            bytes_received: known.bytes_received,
        }
    }
}

/// Returns the interface of a link-local address, which is a part of the connection's name.
fn scope(address: &Address) -> u32 {
    match address.host() {
        Host::V6(_, scope) => *scope,
        _ => 0,
    }
}

fn question(local: SocketAddr, remote: SocketAddr, interface: u32) -> NetlinkMessage<SockDiagMessage> {
    let family = if local.is_ipv6() { AF_INET6 } else { AF_INET };
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: remote.port(),
            source_address: canonical(local.ip()),
            destination_address: canonical(remote.ip()),
            interface_id: interface,
            // `INET_DIAG_NOCOOKIE`: whichever socket has these addresses.
            cookie: [0xff; 8],
        },
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    message
}

/// The kernel knows a v4 connection of a dual-stack socket by its v4 addresses.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn ask(question: &NetlinkMessage<SockDiagMessage>) -> io::Result<InetResponse> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    // The answer is there when the question is sent; whatever happens, nobody waits for it.
    socket.set_non_blocking(true)?;
    socket.bind_auto()?;
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answer = Vec::with_capacity(ANSWER_LEN);
    socket.recv(&mut answer, 0)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer).map_err(invalid)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => Ok(*response),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn invalid(error: netlink_packet_core::DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
