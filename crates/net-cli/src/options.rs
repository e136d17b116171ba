//! Flags that several commands share, and how their values are written.

use std::{fmt, str::FromStr, time::Duration};

use bytesize::ByteSize;

mod limits;
mod serving;
mod sockets;
mod tls;
mod websocket;
mod wire;

pub(crate) use limits::Limits;
pub(crate) use serving::Serving;
pub(crate) use sockets::{Connecting, Listening, Socket};
pub(crate) use tls::{ClientSide, ServerSide};
pub(crate) use websocket::{WsBoth, WsClient, WsServer};
pub(crate) use wire::{Wire, WireFormat};

/// The longest time that a flag takes: a hundred years.
const LONGEST: Duration = Duration::from_hours(36_525 * 24);

/// A time such as `10s` or `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write 10s, 500ms or 1m 30s"))?;
        // Beyond that, clocks overflow.
        if time > LONGEST {
            return Err(format!("at most {} is possible", Self(LONGEST)));
        }
        Ok(Self(time))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A time, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|Time(time)| Self(Some(time))).map_err(|error| format!("{error}, or off"))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => Time(time).fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// A value, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrOff<T>(pub(crate) Option<T>);

impl<T: FromStr<Err: fmt::Display>> FromStr for OrOff<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|value| Self(Some(value))).map_err(|error| format!("{error}, or off"))
    }
}

impl<T: fmt::Display> fmt::Display for OrOff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// A size in bytes such as `65536`, `64KiB` or `1.5MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.parse::<ByteSize>().map_err(|_| "write 65536, 64KiB or 64MiB".to_owned())?;
        let bytes =
            usize::try_from(bytes.as_u64()).map_err(|_| "more than this machine can address".to_owned())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ByteSize::b(self.0 as u64).display().iec().fmt(f)
    }
}

/// Reads flags as the command does.
#[cfg(test)]
fn parsed<A: clap::Args>(flags: &str) -> Result<A, clap::Error> {
    #[derive(clap::Parser)]
    struct Line<A: clap::Args> {
        #[command(flatten)]
        read: A,
    }

    let line = <Line<A> as clap::Parser>::try_parse_from(format!("net {flags}").split_whitespace())?;
    Ok(line.read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_powers_of_two_and_of_ten() {
        for (text, bytes) in
            [("65536", 65_536), ("64KiB", 65_536), ("64 KiB", 65_536), ("64MiB", 64 << 20), ("1.5kB", 1500)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "-1", "64 apples"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert_eq!(Size(64 << 20).to_string(), "64.0 MiB");
        assert_eq!("512MiB".parse(), Ok(OrOff(Some(Size(512 << 20)))));
        assert_eq!("off".parse(), Ok(OrOff::<Size>(None)));
        assert!("x".parse::<OrOff<u32>>().is_err_and(|error| error.ends_with(", or off")));
    }

    #[test]
    fn times_have_units_and_may_be_off() {
        assert_eq!("1m 30s".parse(), Ok(Time(Duration::from_secs(90))));
        assert_eq!("off".parse(), Ok(Timeout(None)));
        assert_eq!(Timeout(Some(Duration::from_millis(1500))).to_string(), "1s 500ms");
        assert!("10".parse::<Time>().is_err_and(|error| error.contains("10s")));
        assert_eq!("100years".parse(), Ok(Time(LONGEST)));
        assert!(
            "500000000000years".parse::<Timeout>().is_err_and(|error| error.contains("at most 100years"))
        );
    }
}
