//! The traffic class of a datagram: how it is to be treated on its way, and whether it met congestion.

use quinn_udp::EcnCodepoint;

/// The explicit congestion notification of a datagram.
///
/// Source: RFC 3168 §5.
///
/// # Examples
///
/// ```
/// use net_udp::{Ecn, TrafficClass};
///
/// // Expedited forwarding, DSCP 46, with a mark of congestion.
/// let class = TrafficClass::from_octet(46 << 2 | 0b11);
/// assert_eq!((class.dscp, class.ecn), (46, Some(Ecn::Ce)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// The sender understands marks, ECT(0).
    Ect0,
    /// The sender understands marks, ECT(1).
    Ect1,
    /// A router on the way was congested.
    Ce,
}

impl Ecn {
    pub(crate) fn from_quinn(codepoint: EcnCodepoint) -> Self {
        match codepoint {
            EcnCodepoint::Ect0 => Self::Ect0,
            EcnCodepoint::Ect1 => Self::Ect1,
            EcnCodepoint::Ce => Self::Ce,
        }
    }

    pub(crate) fn to_quinn(self) -> EcnCodepoint {
        match self {
            Self::Ect0 => EcnCodepoint::Ect0,
            Self::Ect1 => EcnCodepoint::Ect1,
            Self::Ce => EcnCodepoint::Ce,
        }
    }
}

/// The traffic class of a datagram: the octet of the IPv4 header that was once the type of service, and its IPv6 twin.
///
/// ```text
///   0   1   2   3   4   5   6   7
/// +---+---+---+---+---+---+---+---+
/// |         DSCP          |  ECN  |
/// +---+---+---+---+---+---+---+---+
/// ```
///
/// Source: RFC 2474 §3, RFC 3168 §5.
///
/// # Examples
///
/// ```
/// use net_udp::{Ecn, TrafficClass};
///
/// let voice = TrafficClass { dscp: 46, ecn: Some(Ecn::Ect0) };
/// assert_eq!(voice.to_octet(), 0b1011_1010);
/// assert_eq!(TrafficClass::from_octet(0b1011_1010), voice);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficClass {
    /// The differentiated services code point, from 0 to 63; higher bits are ignored. Default: 0, best effort.
    pub dscp: u8,
    /// The congestion notification. Default: none.
    pub ecn: Option<Ecn>,
}

impl TrafficClass {
    /// Reads the octet of a header.
    pub fn from_octet(octet: u8) -> Self {
        Self { dscp: octet >> 2, ecn: EcnCodepoint::from_bits(octet).map(Ecn::from_quinn) }
    }

    /// Returns the octet of a header.
    pub fn to_octet(self) -> u8 {
        (self.dscp << 2) | self.ecn.map_or(0, |ecn| ecn.to_quinn() as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_reads_as_it_is_written() {
        for octet in 0..=u8::MAX {
            assert_eq!(TrafficClass::from_octet(octet).to_octet(), octet);
        }
    }
}
