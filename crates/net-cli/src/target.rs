//! Where to listen or connect, in each form that people write it.

use clap::Args;
use net_core::{Address, Scheme};

use crate::failure::Failure;

/// Where to listen or connect.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// URL such as `tcp://127.0.0.1:9000` or `unix:///run/app.sock`, or host:port, or a host that PORT follows
    #[arg(value_name = "ADDR")]
    address: String,

    /// Port, where ADDR is a host alone
    #[arg(value_name = "PORT")]
    port: Option<String>,
}

impl Target {
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        address(&self.address, self.port.as_deref())
    }
}

/// Reads an address: a URL, `host:port`, or a host and a port apart.
pub(crate) fn address(text: &str, port: Option<&str>) -> Result<Address, Failure> {
    let parsed = match port {
        None => Address::parse_as(Scheme::Tcp, text),
        Some(port) if text.contains("://") => {
            let what = format!("a URL holds its port, so {port:?} is one argument too many");
            return Err(Failure::usage(what)
                .hint(format!("quote a text that has spaces; the address alone is {text}")));
        }
        // A bare IPv6 address gets the brackets that keep it apart from its port.
        Some(port) if text.contains(':') && !text.starts_with('[') => {
            Address::parse_as(Scheme::Tcp, &format!("[{text}]:{port}"))
        }
        Some(port) => Address::parse_as(Scheme::Tcp, &format!("{text}:{port}")),
    };
    parsed.map_err(|error| {
        let shown = port.map_or_else(|| text.to_owned(), |port| format!("{text} {port}"));
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Failure::usage(format_args!("{shown:?} is no address: {cause}"))
            .hint("write tcp://127.0.0.1:9000, unix:///run/app.sock, or a host and a port: 127.0.0.1 9000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, port: Option<&str>) -> String {
        address(text, port).map_or_else(|failure| failure.what, |address| address.to_string())
    }

    #[test]
    fn s10_a_url_a_pair_and_host_and_port_mean_the_same() {
        for (text, port) in
            [("tcp://127.0.0.1:9000", None), ("127.0.0.1:9000", None), ("127.0.0.1", Some("9000"))]
        {
            assert_eq!(read(text, port), "tcp://127.0.0.1:9000");
        }
        for (text, port) in [("[::1]:9000", None), ("::1", Some("9000")), ("[::1]", Some("9000"))] {
            assert_eq!(read(text, port), "tcp://[::1]:9000");
        }
        assert_eq!(read("unix:///run/app.sock", None), "unix:///run/app.sock");
    }

    #[test]
    fn what_is_no_address_says_what_is_wrong_with_it() {
        assert!(read("127.0.0.1", None).contains("it has no port"));
        assert!(read("127.0.0.1", Some("http")).contains("its port is no number"));
        assert!(read("tcp://127.0.0.1:9000", Some("9001")).contains("one argument too many"));
        assert!(read("ftp://x:1", None).contains("scheme"));
    }
}
