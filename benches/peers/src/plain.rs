//! Serving over plain TCP: one runtime on the one thread, one task a connection, small segments sent at once.

use std::io;

use net_benches::peer;
use tokio::net::{TcpListener, TcpStream};

/// Serves each connection by `echo`, until the process that started this one is gone.
///
/// # Errors
/// When nothing can be listened at, or accepted.
pub fn serve<E>(echo: impl Fn(TcpStream) -> E) -> io::Result<()>
where
    E: Future<Output: Send> + Send + 'static,
{
    peer::leave_with_parent()?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        peer::announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream));
        }
    })
}
