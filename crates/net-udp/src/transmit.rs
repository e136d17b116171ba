//! Sending: one system call hands many datagrams to the kernel, which cuts runs of one length apart by itself.

use std::io;

use quinn_udp::Transmit;
use socket2::{SockAddr, SockRef};

use crate::{
    UdpSocket,
    outgoing::{Front, Outgoing},
};

/// Hands `outgoing` to the system, until it is empty.
///
/// # Errors
///
/// `WouldBlock` where the system has no room, and why it refused the datagram that is now the first.
pub(crate) fn transmit(socket: &UdpSocket, outgoing: &mut Outgoing) -> io::Result<()> {
    while let Some(front) = outgoing.front() {
        let cuts = socket.segments();
        if cuts && front.segmented && front.count > 1 {
            let sent = send_controlled(socket, &front, outgoing.keeps_sources());
            after_run(socket, outgoing, sent)?;
        } else if front.route.is_plain() {
            send_plain(socket, outgoing, cuts)?;
        } else {
            // The first datagram of the run alone.
            let segment = front.segment.min(front.bytes.len());
            let bytes = front.bytes.get(..segment).unwrap_or_default();
            let sent = send_controlled(socket, &Front { bytes, count: 1, ..front }, outgoing.keeps_sources());
            after_one(socket, outgoing, sent)?;
        }
    }
    Ok(())
}

fn after_run(socket: &UdpSocket, outgoing: &mut Outgoing, sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Ok(()) => {
            let (count, len) = outgoing.pop_run();
            socket.count_sent(count, len);
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable && outgoing.may_forget_source() => {
            outgoing.forget_source();
        }
        Err(error) if is_reported(&error) => return Err(error),
        // The path takes no datagrams of this length, they cannot come from there, or the system cuts none: whichever, one by
        // one they may go.
        Err(error) => {
            outgoing.do_not_segment();
            if is_one_of(&error, &[EIO]) {
                socket.stop_segmenting();
            }
        }
    }
    Ok(())
}

fn after_one(socket: &UdpSocket, outgoing: &mut Outgoing, sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Ok(()) => {
            let len = outgoing.pop();
            socket.count_sent(1, len);
            Ok(())
        }
        Err(error) if is_of_source(&error) && outgoing.may_forget_source() => {
            outgoing.forget_source();
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Tells whether an error may mean that the address that a peer sent to is none to send from: that of everyone on a network,
/// or gone since.
fn is_of_source(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    matches!(error.kind(), Io::InvalidInput | Io::AddrNotAvailable | Io::NetworkUnreachable)
}

/// Sends one datagram, or a run that the kernel cuts, with what its route asks for; `is_mixed` where others that go through the
/// same socket are marked.
#[cfg_attr(not(target_os = "linux"), allow(unused_variables, reason = "the same signature as on Linux"))]
fn send_controlled(socket: &UdpSocket, front: &Front<'_>, is_mixed: bool) -> io::Result<()> {
    let Some(to) = front.route.to.or_else(|| socket.peer()) else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    let segment = (front.count > 1).then_some(front.segment);
    // The system call below sets the whole traffic class, and knows of congestion alone; and once a run or a source was refused,
    // for whichever reason, quinn-udp marks nothing any more.
    #[cfg(target_os = "linux")]
    if socket.dscp() != 0
        || segment.is_some() && front.route.ecn.is_some()
        || is_mixed && front.route.from.is_some()
    {
        return crate::control::send(socket, to, front, segment);
    }
    let transmit = Transmit {
        destination: to,
        ecn: front.route.ecn.map(crate::Ecn::to_quinn),
        contents: front.bytes,
        segment_size: segment,
        src_ip: front.route.from,
    };
    socket.state().try_send(socket.io().into(), &transmit)
}

/// Sends datagrams that ask for no more than a destination, as many as one system call takes.
fn send_plain(socket: &UdpSocket, outgoing: &mut Outgoing, cuts: bool) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    let sent = match outgoing.singles(cuts).take(batch::FEW + 1).count() {
        0 | 1 => send_first(socket, outgoing, cuts)?,
        2..=batch::FEW => batch::send::<{ batch::FEW }>(socket, outgoing.singles(cuts))?,
        _ => batch::send::<{ batch::MANY }>(socket, outgoing.singles(cuts))?,
    };
    #[cfg(not(target_os = "linux"))]
    let sent = send_first(socket, outgoing, cuts)?;
    let len = (0..sent).map(|_| outgoing.pop()).sum();
    socket.count_sent(sent, len);
    Ok(())
}

/// Sends the first datagram.
fn send_first(socket: &UdpSocket, outgoing: &Outgoing, cuts: bool) -> io::Result<usize> {
    let Some((to, bytes)) = outgoing.singles(cuts).next() else { return Ok(0) };
    let io = SockRef::from(socket.io());
    match to {
        Some(to) => io.send_to(bytes, &SockAddr::from(to))?,
        None => io.send(bytes)?,
    };
    Ok(1)
}

/// Datagrams of any lengths to any peers in one system call.
#[cfg(target_os = "linux")]
mod batch {
    use std::{
        array,
        io::{self, IoSlice},
        net::{Ipv4Addr, SocketAddr},
    };

    use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

    use crate::UdpSocket;

    /// How many datagrams one system call takes.
    pub(super) const MANY: usize = 32;
    /// For how many less is prepared.
    pub(super) const FEW: usize = 4;

    /// Sends the first of `datagrams`, `N` at the most, and returns how many the system took.
    pub(super) fn send<'a, const N: usize>(
        socket: &UdpSocket,
        datagrams: impl Iterator<Item = (Option<SocketAddr>, &'a [u8])>,
    ) -> io::Result<usize> {
        let mut views = [IoSlice::new(&[]); N];
        let mut peers = [None; N];
        let mut count = 0;
        for ((place, view), (to, bytes)) in peers.iter_mut().zip(&mut views).zip(datagrams) {
            (*place, *view) = (to, IoSlice::new(bytes));
            count += 1;
        }
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut each = peers.iter();
        let names: [SocketAddrAny; N] =
            array::from_fn(|_| each.next().copied().flatten().unwrap_or(nobody).into());
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; N] =
            array::from_fn(|_| SendAncillaryBuffer::default());
        let mut each = views.chunks(1).zip(peers.iter().zip(&names));
        let mut headers = controls.each_mut().map(|control| match each.next() {
            Some((view, (Some(_), name))) => MMsgHdr::new_with_addr(name, view, control),
            Some((view, (None, _))) => MMsgHdr::new(view, control),
            None => MMsgHdr::new(&[], control),
        });
        let headers = headers.get_mut(..count).unwrap_or_default();
        Ok(sendmmsg(socket.io(), headers, SendFlags::empty())?)
    }
}

/// Tells whether an error is one that others reported (ICMP) about a datagram sent earlier, and not of this call.
pub(crate) fn is_reported(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    matches!(
        error.kind(),
        Io::ConnectionRefused | Io::ConnectionReset | Io::HostUnreachable | Io::NetworkUnreachable
    ) || is_one_of(error, &[ENONET, EPROTO, ENOPROTOOPT, EOPNOTSUPP, EHOSTDOWN])
}

/// The same of an error that receiving met, which can be of no datagram of its own: a path that takes less than was sent, and
/// what an administrator prohibits, are reports there, too.
pub(crate) fn is_reported_to_receivers(error: &io::Error) -> bool {
    is_reported(error) || is_one_of(error, &[EACCES, EMSGSIZE])
}

// Numbers of Linux for what has no kind, or one that says too little: a device that cuts nothing, and what `icmp_err_convert`
// makes of reports.
const EIO: i32 = 5;
const EACCES: i32 = 13;
const ENONET: i32 = 64;
const EPROTO: i32 = 71;
const EMSGSIZE: i32 = 90;
const ENOPROTOOPT: i32 = 92;
const EOPNOTSUPP: i32 = 95;
const EHOSTDOWN: i32 = 112;

fn is_one_of(error: &io::Error, codes: &[i32]) -> bool {
    cfg!(target_os = "linux") && error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
