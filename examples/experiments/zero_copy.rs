//! Zero copy: what large payloads allocate on their way, a mapped region sent as it is, and three ways to send a file.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    alloc::System,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use memmap2::MmapMut;
use net_core::{Connection, Listener, Receiver, Sender, Transport};
use net_tcp::{Tcp, TcpReceiver, TcpSender};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LEN: usize = 256 * 1024;
const MESSAGES: usize = 200;

/// Returns how many bytes the program has taken since `region` began, in messages of [`LEN`].
fn taken(region: &Region<'_, System>) -> f64 {
    let messages = LEN * MESSAGES;
    let bytes = region.change().bytes_allocated;
    f64::from(u32::try_from(bytes * 100 / messages).unwrap_or(u32::MAX)) / 100.0
}

type TcpConnection = Connection<TcpSender, TcpReceiver>;

async fn connection() -> net_core::Result<(TcpConnection, TcpConnection)> {
    let tcp = Tcp::default();
    let mut listener = tcp.listen(&"tcp://127.0.0.1:0".parse()?).await?;
    let near = tcp.connect(listener.local()).await?;
    Ok((near, listener.accept().await?))
}

/// A region of memory that tells when it is given back.
struct Mapped {
    region: MmapMut,
    unmapped: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.region
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.unmapped.store(true, Ordering::SeqCst);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut near, mut far) = connection().await?;

    // A copy needs a place to go. What arrives is kept, so that no buffer is used twice: what was allocated beyond the
    // buffers that it was read into would be copies.
    let payload = Bytes::from(vec![7; LEN]);
    let mut kept = Vec::with_capacity(MESSAGES);
    let region = Region::new(ALLOCATOR);
    for _ in 0..MESSAGES {
        let (sent, received) = tokio::join!(near.tx.send(payload.clone()), far.rx.recv());
        sent?;
        kept.extend(received?);
    }
    let once = taken(&region);
    println!("sent and received: {once:.2} × the payload was allocated, what it was read into");
    assert!(kept.iter().all(|message| *message == payload) && (1.0..1.6).contains(&once));

    // The echo of what was received leaves out of the buffer that it was read into.
    kept.clear();
    let region = Region::new(ALLOCATOR);
    for _ in 0..MESSAGES {
        let echo = async {
            let message = far.rx.recv().await?.unwrap_or_default();
            far.tx.send(message).await
        };
        let (sent, echoed, received) = tokio::join!(near.tx.send(payload.clone()), echo, near.rx.recv());
        sent.and(echoed)?;
        kept.extend(received?);
    }
    let twice = taken(&region);
    println!(
        "there and back: {twice:.2} × the payload, what it was read into at last; the echo uses its buffer again"
    );
    assert!(kept.iter().all(|message| *message == payload) && (1.0..3.2).contains(&twice));

    // Any owner of memory becomes a payload, and is dropped when it has been sent.
    let unmapped = Arc::new(AtomicBool::new(false));
    let mut mapped = MmapMut::map_anon(LEN)?;
    mapped.fill(9);
    let payload = Bytes::from_owner(Mapped { region: mapped, unmapped: unmapped.clone() });
    let (sent, received) = tokio::join!(near.tx.send(payload), far.rx.recv());
    sent?;
    let intact =
        received?.is_some_and(|message| message.len() == LEN && message.iter().all(|byte| *byte == 9));
    println!("a mapped region was sent and unmapped: {}", unmapped.load(Ordering::SeqCst));
    assert!(intact && unmapped.load(Ordering::SeqCst));

    #[cfg(target_os = "linux")]
    file::compare()?;
    Ok(())
}

/// Three ways to send a file, on plain sockets: what each costs the thread that sends.
#[cfg(target_os = "linux")]
mod file {
    use std::{
        error::Error,
        fs::{self, File},
        io::{self, Read, Write},
        net::{TcpListener, TcpStream},
        thread,
        time::Duration,
    };

    const LEN: usize = 256 << 20;
    const PIECE: usize = 256 * 1024;

    /// Returns how long this thread has run on a processor.
    fn cpu() -> io::Result<Duration> {
        let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
        let nanos = stat.split_whitespace().next().and_then(|field| field.parse().ok());
        Ok(Duration::from_nanos(nanos.unwrap_or(0)))
    }

    /// Sends by `send` to a peer that reads everything, and returns what it cost.
    fn measure(send: impl FnOnce(&mut TcpStream) -> io::Result<()>) -> Result<Duration, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut near = TcpStream::connect(listener.local_addr()?)?;
        let mut far = listener.accept()?.0;
        let reading = thread::spawn(move || read_all(&mut far));
        let before = cpu()?;
        send(&mut near)?;
        let cost = cpu()?.saturating_sub(before);
        drop(near);
        let arrived = reading.join().map_err(|_| "the reader panicked")??;
        assert_eq!(arrived, LEN);
        Ok(cost)
    }

    fn read_all(socket: &mut TcpStream) -> io::Result<usize> {
        let (mut buffer, mut total) = (vec![0; PIECE], 0);
        loop {
            match socket.read(&mut buffer)? {
                0 => return Ok(total),
                len => total += len,
            }
        }
    }

    pub(super) fn compare() -> Result<(), Box<dyn Error>> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&vec![7; LEN])?;
        let memory = vec![7; LEN];
        let show = |what: &str, cost: Duration| {
            println!("{what}: {:.0} ms of CPU a GiB", (cost * 4).as_secs_f64() * 1e3);
        };

        let mapped = measure(|socket| memory.chunks(PIECE).try_for_each(|piece| socket.write_all(piece)))?;
        show("memory, or a mapped file whose pages are there", mapped);
        let read = measure(|socket| read_and_write(&mut &file, socket))?;
        show("a file, read into a buffer and written", read);
        let sent = measure(|socket| send_file(&file, socket))?;
        show("a file by sendfile, which a plain socket alone can do", sent);
        Ok(())
    }

    fn read_and_write(file: &mut &File, socket: &mut TcpStream) -> io::Result<()> {
        io::Seek::rewind(file)?;
        let mut buffer = vec![0; PIECE];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                len => socket.write_all(buffer.get(..len).unwrap_or_default())?,
            }
        }
    }

    fn send_file(file: &File, socket: &TcpStream) -> io::Result<()> {
        let mut at = 0;
        while rustix::fs::sendfile(socket, file, Some(&mut at), PIECE)? > 0 {}
        Ok(())
    }
}
