//! Groups of IPv6 that are joined for one source, which socket2 has for IPv4 alone.
//!
//! The request of RFC 3678, section 5.1, is laid out here as the kernel has it; the system call is nix's.

use std::net::Ipv6Addr;

use nix::{
    libc,
    sys::socket::{SetSockOpt, sockopt::SetStruct},
};
use socket2::SockRef;

/// Asks for, or no longer for, what `source` sends to `group`, by the option [`Join`] or [`Leave`].
pub(super) fn ask(
    option: &impl SetSockOpt<Val = Request>,
    socket: &SockRef<'_>,
    source: Ipv6Addr,
    group: Ipv6Addr,
    interface: u32,
) -> nix::Result<()> {
    let request = Request { interface, group: Storage::new(group), source: Storage::new(source) };
    option.set(&&**socket, &request)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Join;
nix::setsockopt_impl!(
    Join,
    libc::IPPROTO_IPV6,
    libc::MCAST_JOIN_SOURCE_GROUP,
    Request,
    SetStruct<'_, Request>
);

#[derive(Clone, Copy, Debug)]
pub(super) struct Leave;
nix::setsockopt_impl!(
    Leave,
    libc::IPPROTO_IPV6,
    libc::MCAST_LEAVE_SOURCE_GROUP,
    Request,
    SetStruct<'_, Request>
);

/// `struct group_source_req`.
#[repr(C)]
pub(super) struct Request {
    interface: u32,
    group: Storage,
    source: Storage,
}

/// `struct sockaddr_storage` with a `struct sockaddr_in6` in it.
#[repr(C)]
struct Storage {
    aligned: [libc::c_ulong; 0],
    family: libc::sa_family_t,
    port: u16,
    flow: u32,
    address: [u8; 16],
    scope: u32,
    rest: [u8; 100],
}

impl Storage {
    fn new(address: Ipv6Addr) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "the field is as narrow as that")]
        let family = libc::AF_INET6 as libc::sa_family_t;
        Self { aligned: [], family, port: 0, flow: 0, address: address.octets(), scope: 0, rest: [0; 100] }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{align_of, offset_of, size_of};

    use super::*;

    #[test]
    fn requests_are_laid_out_as_the_system_has_them() {
        let own = (offset_of!(Request, interface), offset_of!(Request, group), offset_of!(Request, source));
        let of_system = (
            offset_of!(libc::group_source_req, gsr_interface),
            offset_of!(libc::group_source_req, gsr_group),
            offset_of!(libc::group_source_req, gsr_source),
        );
        assert_eq!(own, of_system);
        assert_eq!(size_of::<Request>(), size_of::<libc::group_source_req>());
        assert_eq!(align_of::<Request>(), align_of::<libc::group_source_req>());
        let own = (offset_of!(Storage, family), offset_of!(Storage, address), offset_of!(Storage, scope));
        let of_system = (
            offset_of!(libc::sockaddr_in6, sin6_family),
            offset_of!(libc::sockaddr_in6, sin6_addr),
            offset_of!(libc::sockaddr_in6, sin6_scope_id),
        );
        assert_eq!(own, of_system);
    }
}
