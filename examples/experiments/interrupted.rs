//! Interrupted system calls: SIGUSR1 ends a read that waits, unless the kernel restarts it or the program does.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::error::Error;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn Error>> {
    unix::run()
}

#[cfg(not(unix))]
fn main() -> Result<(), Box<dyn Error>> {
    println!("this system interrupts no call");
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::{
        error::Error,
        io::{self, Read, Write},
        net::{TcpListener, TcpStream},
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use net_core::blocking::recv_exact;
    use rustix::process::{getpid, kill_process};
    use signalbool::{Flag, Signal, SignalBool};

    /// How often calls were interrupted.
    static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);

    /// A stream that counts interrupted reads.
    struct Counted(TcpStream);

    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let result = self.0.read(buffer);
            if matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                INTERRUPTED.fetch_add(1, Ordering::SeqCst);
            }
            result
        }
    }

    /// Returns both ends of a connection.
    fn connection() -> Result<(TcpStream, Counted), Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        Ok((near, Counted(listener.accept()?.0)))
    }

    /// Sends signals to this process, a few milliseconds apart, until `enough` says so; then sends what the reader
    /// waits for. The kernel gives a process's signals to its main thread, which is the one that reads.
    fn disturb(mut peer: TcpStream, mut enough: impl FnMut(usize) -> bool) -> io::Result<usize> {
        let mut sent = 0;
        while !enough(sent) {
            kill_process(getpid(), rustix::process::Signal::USR1)?;
            sent += 1;
            thread::sleep(Duration::from_millis(2));
        }
        peer.write_all(b"HELLO")?;
        Ok(sent)
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        // The handler is installed without SA_RESTART.
        let mut caught = SignalBool::new(&[Signal::SIGUSR1], Flag::Interrupt)?;

        let (near, mut far) = connection()?;
        let disturbing = thread::spawn(move || {
            disturb(near, |sent| INTERRUPTED.load(Ordering::SeqCst) > 0 || sent > 5_000)
        });
        let error = far.read(&mut [0; 5]);
        println!("without a retry, read fails: {error:?}");
        assert!(error.is_err() && caught.caught());
        disturbing.join().map_err(|_| "the other thread panicked")??;

        INTERRUPTED.store(0, Ordering::SeqCst);
        let (near, mut far) = connection()?;
        let disturbing = thread::spawn(move || {
            disturb(near, |sent| INTERRUPTED.load(Ordering::SeqCst) >= 3 || sent > 5_000)
        });
        let mut buffer = [0; 5];
        recv_exact(&mut far, &mut buffer)?;
        disturbing.join().map_err(|_| "the other thread panicked")??;
        let interrupted = INTERRUPTED.load(Ordering::SeqCst);
        println!(
            "recv_exact tries again, interrupted {interrupted} times: {}",
            String::from_utf8_lossy(&buffer)
        );
        assert!(interrupted >= 3 && &buffer == b"HELLO");

        // With SA_RESTART the kernel tries again, and the program sees nothing.
        caught = SignalBool::new(&[Signal::SIGUSR1], Flag::Restart)?;
        caught.reset();
        INTERRUPTED.store(0, Ordering::SeqCst);
        let (near, mut far) = connection()?;
        let disturbing = thread::spawn(move || disturb(near, |sent| sent == 20));
        let read = far.read(&mut buffer)?;
        disturbing.join().map_err(|_| "the other thread panicked")??;
        let interrupted = INTERRUPTED.load(Ordering::SeqCst);
        println!("with SA_RESTART, 20 signals later: {read} bytes, interrupted {interrupted} times");
        assert!(read == 5 && interrupted == 0 && caught.caught());
        Ok(())
    }
}
