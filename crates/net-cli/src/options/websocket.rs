//! The options of WebSocket.

use std::{str::FromStr, sync::Arc};

use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue};
use net_core::Address;
use net_ws::{DeflateConfig, DeflateMemory, OriginPolicy, Proxy, WsConfig};

use super::{Size, Timeout};
use crate::{failure::Failure, transport::WebSocket};

/// WebSocket, of servers and clients.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "WebSocket (ws://, wss://)")]
pub(crate) struct WsBoth {
    /// Whether messages are compressed, and what is kept in memory for it between messages
    #[arg(long, value_name = "HOW", default_value = "shared")]
    compression: Compression,

    /// How hard it compresses, from 1 (fast) to 9 (small)
    #[arg(long, value_name = "N", default_value_t = DeflateConfig::default().level)]
    compression_level: u8,

    /// Messages shorter than this are not compressed
    #[arg(long, value_name = "SIZE", default_value_t = Size(DeflateConfig::default().min_len))]
    compression_min: Size,

    /// Fragments of one message [default: one for each 16 bytes of the longest message, at least 1024]
    #[arg(long, value_name = "N")]
    max_fragments: Option<usize>,

    /// Asks a peer that was silent for this long whether it is still there
    #[arg(long, value_name = "TIME|off", default_value_t = Timeout(WsConfig::default().ping_interval))]
    ping_interval: Timeout,

    /// Sub-protocols, the preferred first
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    subprotocol: Vec<String>,
}

/// WebSocket, of servers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "WebSocket (ws://, wss://)")]
pub(crate) struct WsServer {
    /// Pages that may connect, such as `https://example.org`, or `any` [default: those of the server's own host]
    #[arg(long, value_name = "ORIGIN|any")]
    origin: Vec<String>,
}

/// WebSocket, of clients.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "WebSocket (ws://, wss://)")]
pub(crate) struct WsClient {
    /// Sends text, not bytes
    #[arg(long)]
    text: bool,

    /// A header of the request; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<Header>,

    /// Connects by way of an HTTP proxy
    #[arg(long, value_name = "http://HOST:PORT")]
    proxy: Option<Address>,

    /// Redirects that are followed
    #[arg(long, value_name = "N", default_value_t = WsConfig::default().max_redirects)]
    max_redirects: u32,
}

/// Whether messages are compressed, and what is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compression {
    /// Neither offered nor accepted
    Off,
    /// One compressor for all connections of a thread
    Shared,
    /// Each connection keeps what it sent and received: smallest messages, most memory
    Dedicated,
    /// Nothing is kept between messages, in either direction
    NoTakeover,
}

/// A header, written as in HTTP.
#[derive(Clone, Debug)]
struct Header(HeaderName, HeaderValue);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
        let name = name.trim().parse().map_err(|error| format!("{name:?}: {error}"))?;
        let value = value.trim().parse().map_err(|error| format!("{value:?}: {error}"))?;
        Ok(Self(name, value))
    }
}

impl WsBoth {
    /// Sets what these flags mean.
    pub(crate) fn set(&self, ws: &mut WebSocket) {
        let memory = match self.compression {
            Compression::Off => None,
            Compression::Shared => Some(DeflateMemory::Shared),
            Compression::Dedicated => Some(DeflateMemory::Dedicated),
            Compression::NoTakeover => Some(DeflateMemory::NoTakeover),
        };
        ws.config.deflate = memory.map(|memory| DeflateConfig {
            memory,
            level: self.compression_level,
            min_len: self.compression_min.0,
            ..DeflateConfig::default()
        });
        ws.config.max_fragments = self.max_fragments;
        ws.config.ping_interval = self.ping_interval.0;
        ws.protocols.clone_from(&self.subprotocol);
    }
}

impl WsServer {
    /// Sets what these flags mean.
    pub(crate) fn set(&self, ws: &mut WebSocket) {
        // What came as text goes back as text.
        ws.config.send_as = net_ws::SendAs::Received;
        if self.origin.iter().any(|origin| origin == "any") {
            ws.origins = OriginPolicy::Any;
        } else if !self.origin.is_empty() {
            ws.origins = OriginPolicy::listed(&self.origin);
        }
    }
}

impl WsClient {
    /// Sets what these flags mean.
    pub(crate) fn set(&self, ws: &mut WebSocket) -> Result<(), Failure> {
        if self.text {
            ws.config.send_as = net_ws::SendAs::Text;
        }
        ws.config.max_redirects = self.max_redirects;
        ws.headers = self.header.iter().map(|Header(name, value)| (name.clone(), value.clone())).collect();
        if let Some(proxy) = &self.proxy {
            ws.proxy =
                Some(Arc::new(Proxy::new(proxy.clone()).map_err(|error| Failure::usage(error.report()))?));
        }
        Ok(())
    }
}
