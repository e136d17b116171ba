//! ntex 3.12 as its users write a framed protocol: a codec, a service, the crate's own dispatcher, one worker.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use net_benches::peer;
use ntex::codec::{Decoder, Encoder};
use ntex::io::{DispatchItem, Dispatcher, Io, IoConfig};
use ntex::service::fn_service;
use ntex::util::{BytePages, Bytes, BytesMut};
use ntex::{SharedCfg, server};

/// Frames of this length and above are refused.
const MAX_FRAME: usize = 8 * 1024 * 1024;

#[ntex::main]
async fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 4096)?;
    let local = listener.local_addr()?;
    // Its default of 16 KiB before back-pressure makes a batch of 256 small messages stop half-way.
    let io_config =
        IoConfig::new().set_read_buf(peer::READ_BUFFER, 1024, 16).set_write_buf(peer::READ_BUFFER, 1024, 16);
    let server = server::build()
        .workers(1)
        .disable_signals()
        .listen("echo", listener, async |_| {
            fn_service(|io: Io| Dispatcher::new(io, LengthPrefix, fn_service(echo)))
        })?
        .config("echo", SharedCfg::new("ECHO").add(io_config))
        .run();
    peer::announce(local)?;
    server.await
}

async fn echo(item: DispatchItem<LengthPrefix>) -> io::Result<Option<Bytes>> {
    match item {
        DispatchItem::Item(message) => Ok(Some(message)),
        DispatchItem::Control(_) | DispatchItem::Stop(_) => Ok(None),
    }
}

/// Four bytes of length, most significant first, then the payload. ntex ships no such codec.
#[derive(Debug, Clone, Copy)]
struct LengthPrefix;

impl Encoder for LengthPrefix {
    type Item = Bytes;
    type Error = io::Error;

    fn encodev(&self, item: Bytes, dst: &mut BytePages) -> io::Result<()> {
        let len = u32::try_from(item.len()).map_err(io::Error::other)?;
        dst.extend_from_slice(&len.to_be_bytes());
        dst.append(item);
        Ok(())
    }
}

impl Decoder for LengthPrefix {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&self, src: &mut BytesMut) -> io::Result<Option<Bytes>> {
        let Some(header) = src.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*header) as usize;
        if len > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
        }
        if src.len() < 4 + len {
            return Ok(None);
        }
        src.advance_to(4);
        Ok(Some(src.split_to(len)))
    }
}
