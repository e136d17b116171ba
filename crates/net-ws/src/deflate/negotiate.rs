//! Agreeing on compression: what clients offer and servers answer. Source: RFC 7692 §7.1.

use std::fmt::Write as _;

use super::{DeflateConfig, DeflateMemory};

/// The name of the extension.
pub(crate) const NAME: &str = "permessage-deflate";
/// The window where nobody has said anything.
const MAX_BITS: u8 = 15;

/// What was agreed on, seen from this side.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_ws::{DeflateInfo, Ws, WsInfo};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let ws = Ws::default();
/// # let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// # let to = listener.local().clone();
/// # let (near, _far) = tokio::join!(ws.connect(&to), listener.accept());
/// # let near = near?;
/// let agreed: &DeflateInfo = near.info.details::<WsInfo>().and_then(WsInfo::deflate).expect("both can");
/// // Of its own accord, neither side builds on what it sent before.
/// assert!(!agreed.send_takeover && !agreed.recv_takeover);
/// assert_eq!(agreed.send_window_bits, 15);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateInfo {
    /// What this side sends may build on what it sent before.
    pub send_takeover: bool,
    /// What the peer sends may build on what it sent before.
    pub recv_takeover: bool,
    /// How far back what this side sends points, as a power of two.
    pub send_window_bits: u8,
    /// How far back what the peer sends points, as a power of two.
    pub recv_window_bits: u8,
}

/// The parameters of one offer, or of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::option_option, reason = "absent, without a value, with one: three cases of the RFC")]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// `Some(None)`: the parameter without a value, as in an offer.
    client_bits: Option<Option<u8>>,
}

impl Parameters {
    /// Reads what stands behind the name. `None`: unknown, repeated or with a value that is none, which declines an offer.
    fn parse(parameters: Option<&str>) -> Option<Self> {
        let mut read = Self::default();
        for parameter in parameters.into_iter().flat_map(|written| written.split(';')) {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (parameter.trim(), None),
            };
            let bits = || value.and_then(bits);
            let repeated = match name {
                "server_no_context_takeover" if value.is_none() => {
                    std::mem::replace(&mut read.server_no_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    std::mem::replace(&mut read.client_no_takeover, true)
                }
                "server_max_window_bits" => read.server_bits.replace(bits()?).is_some(),
                "client_max_window_bits" => {
                    let bits = if value.is_some() { Some(bits()?) } else { None };
                    read.client_bits.replace(bits).is_some()
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(read)
    }
}

/// "A decimal integer value without leading zeroes between 8 to 15, inclusive."
fn bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

/// Takes the first of a client's offers that can be taken, each given by its parameters. Returns what a server answers, and
/// what that means to it.
pub(crate) fn accept<'a>(
    config: &DeflateConfig,
    mut offers: impl Iterator<Item = Option<&'a str>>,
) -> Option<(String, DeflateInfo)> {
    let offer = offers.find_map(Parameters::parse)?;
    let send_takeover = config.memory == DeflateMemory::Dedicated && !offer.server_no_takeover;
    let recv_takeover = config.memory != DeflateMemory::NoTakeover && !offer.client_no_takeover;
    let send_window_bits = config.send_window_bits.min(offer.server_bits.unwrap_or(MAX_BITS));
    let mut answer = NAME.to_owned();
    if !send_takeover {
        answer.push_str("; server_no_context_takeover");
    }
    if !recv_takeover {
        answer.push_str("; client_no_context_takeover");
    }
    // "A server accepts ... by including the 'server_max_window_bits' extension parameter in the response with the same or
    // smaller value as the offer."
    if send_window_bits < MAX_BITS || offer.server_bits.is_some() {
        let _ = write!(answer, "; server_max_window_bits={send_window_bits}");
    }
    // "If a received extension negotiation offer doesn't have the 'client_max_window_bits' extension parameter, the
    // corresponding extension negotiation response to the offer MUST NOT include the 'client_max_window_bits' extension
    // parameter."
    let recv_window_bits = match offer.client_bits {
        Some(most) => {
            let bits = config.recv_window_bits.min(most.unwrap_or(MAX_BITS));
            if bits < MAX_BITS {
                let _ = write!(answer, "; client_max_window_bits={bits}");
            }
            bits
        }
        None => MAX_BITS,
    };
    Some((answer, DeflateInfo { send_takeover, recv_takeover, send_window_bits, recv_window_bits }))
}

/// What a client offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered(DeflateConfig);

impl Offered {
    pub(crate) fn new(config: DeflateConfig) -> Self {
        Self(config)
    }

    /// Returns the offers, the best first: where a server is asked for something that it may not know, one without that
    /// follows.
    pub(crate) fn header(self) -> String {
        let config = self.0;
        let mut own = String::new();
        if config.memory != DeflateMemory::Dedicated {
            own.push_str("; client_no_context_takeover");
        }
        own.push_str("; client_max_window_bits");
        if config.send_window_bits < MAX_BITS {
            let _ = write!(own, "={}", config.send_window_bits);
        }
        let mut asked = String::new();
        if config.memory == DeflateMemory::NoTakeover {
            asked.push_str("; server_no_context_takeover");
        }
        if config.recv_window_bits < MAX_BITS {
            let _ = write!(asked, "; server_max_window_bits={}", config.recv_window_bits);
        }
        if asked.is_empty() { format!("{NAME}{own}") } else { format!("{NAME}{own}{asked}, {NAME}{own}") }
    }

    /// Reads the parameters that the server answers.
    ///
    /// # Errors
    ///
    /// It answers what was not offered: "the client MUST _Fail the WebSocket Connection_".
    pub(crate) fn agree(self, parameters: Option<&str>) -> Result<DeflateInfo, &'static str> {
        let config = self.0;
        let answer = Parameters::parse(parameters).ok_or("the server answers parameters that are none")?;
        let send_window_bits = match answer.client_bits {
            // "This parameter has a value" in an answer.
            Some(None) => return Err("the server sets a window without a size"),
            Some(Some(bits)) if bits > config.send_window_bits => {
                return Err("the server sets a larger window than was offered");
            }
            Some(Some(bits)) => bits,
            None => config.send_window_bits,
        };
        Ok(DeflateInfo {
            send_takeover: config.memory == DeflateMemory::Dedicated && !answer.client_no_takeover,
            recv_takeover: !answer.server_no_takeover,
            send_window_bits,
            recv_window_bits: answer.server_bits.unwrap_or(MAX_BITS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: DeflateConfig = DeflateConfig {
        level: 1,
        min_len: 1,
        memory: DeflateMemory::Dedicated,
        send_window_bits: 15,
        recv_window_bits: 15,
    };

    fn answer(config: DeflateConfig, offers: &str) -> Option<String> {
        accept(&config, offers.split(',').map(parameters)).map(|(answer, _)| answer)
    }

    /// Returns the parameters of an offer or an answer.
    fn parameters(written: &str) -> Option<&str> {
        written.split_once(';').map(|(_, parameters)| parameters)
    }

    #[test]
    fn w3_each_parameter_is_taken_as_the_rfc_says() {
        for (offer, expected) in [
            ("permessage-deflate", "permessage-deflate"),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
            ("permessage-deflate;server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"),
            (
                "permessage-deflate; server_max_window_bits=\"10\"",
                "permessage-deflate; server_max_window_bits=10",
            ),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9"),
            // The first offer that can be taken, of several.
            ("permessage-deflate; what=1, permessage-deflate", "permessage-deflate"),
        ] {
            assert_eq!(answer(WIDE, offer).as_deref(), Some(expected), "{offer}");
        }
        let narrow = DeflateConfig { send_window_bits: 10, recv_window_bits: 9, ..WIDE };
        for (offer, expected) in [
            ("permessage-deflate", "permessage-deflate; server_max_window_bits=10"),
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
            ),
        ] {
            assert_eq!(answer(narrow, offer).as_deref(), Some(expected), "{offer}");
        }
    }

    #[test]
    fn w3_an_offer_that_is_none_is_declined() {
        for offer in [
            "permessage-deflate;",
            "permessage-deflate; unknown",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        ] {
            assert_eq!(answer(WIDE, offer), None, "{offer}");
        }
    }

    #[test]
    fn w3_both_sides_understand_what_they_agree_on() {
        for memory in [DeflateMemory::Dedicated, DeflateMemory::Shared, DeflateMemory::NoTakeover] {
            for bits in 8..=15 {
                let client = DeflateConfig { memory, send_window_bits: bits, ..WIDE };
                let server = DeflateConfig { recv_window_bits: 12, send_window_bits: 23 - bits, ..WIDE };
                let offer = Offered::new(client).header();
                let (answer, theirs) = accept(&server, offer.split(',').map(parameters)).expect("taken");
                let ours = Offered::new(client).agree(parameters(&answer)).expect("as offered");
                assert_eq!(ours.send_window_bits, theirs.recv_window_bits);
                assert_eq!(ours.recv_window_bits, theirs.send_window_bits);
                assert_eq!(ours.recv_takeover, theirs.send_takeover);
                assert!(theirs.recv_takeover || !ours.send_takeover);
            }
        }
    }

    #[test]
    fn w3_a_server_that_answers_what_was_not_offered_is_refused() {
        let offered = Offered::new(DeflateConfig { send_window_bits: 10, ..WIDE });
        for answer in [
            "permessage-deflate; client_max_window_bits=11",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; odd",
        ] {
            assert!(offered.agree(parameters(answer)).is_err(), "{answer}");
        }
    }
}
