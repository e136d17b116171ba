//! ntex 3.12 as its users write a framed protocol: a codec, and a service that receives and encodes, on one worker.
//!
//! Its dispatcher in place of the loop costs a fifth more here, and so do larger buffers; of its runtimes tokio's is the
//! best over all loads (`io_uring` saves a quarter with small messages and costs half more with long ones).

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use net_benches::peer;
use ntex::codec::{Decoder, Encoder};
use ntex::io::Io;
use ntex::server;
use ntex::service::fn_service;
use ntex::util::{BytePages, Bytes, BytesMut, Either};

/// Frames of this length and above are refused.
const MAX_FRAME: usize = 8 * 1024 * 1024;

#[ntex::main]
async fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 4096)?;
    let local = listener.local_addr()?;
    let server = server::build()
        .workers(1)
        .disable_signals()
        .listen("echo", listener, async |_| fn_service(serve))?
        .run();
    peer::announce(local)?;
    server.await
}

/// What is encoded leaves when the loop waits for input; a full write buffer is waited for.
async fn serve(io: Io) -> io::Result<()> {
    let codec = LengthPrefix;
    while let Some(message) = io.recv(&codec).await.map_err(either)? {
        io.encode(message, &codec)?;
        if io.is_wr_backpressure() {
            io.flush(false).await?;
        }
    }
    Ok(())
}

fn either(error: Either<io::Error, io::Error>) -> io::Error {
    error.into_inner()
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
