//! Writing to a peer that is gone is an error, also where `SIGPIPE` has its default action, which ends the process.
//!
//! Alone in its program, whose signals it changes.
#![cfg(unix)]

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use net_core::{
    blocking::{FrameWriter, send_all, send_all_by},
    frame::LengthPrefix,
};

#[test]
fn c8_no_blocking_send_raises_a_signal() {
    // The test harness has it ignored, as every Rust program has; a program that embeds us need not.
    sigpipe::reset();
    for len in [1, 10_000, 500_000] {
        let message = vec![0; len];
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let mut near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        drop(listener.accept().expect("accept"));
        let mut writer = FrameWriter::new(&near, LengthPrefix::default());
        // The first of them may still be taken by the system, before it learns that nobody is there.
        let error = loop {
            if let Err(error) = writer.send(&message) {
                break error;
            }
        };
        assert!(error.is_closed(), "{error}");
        assert!(send_all(&mut near, &message).is_err());

        let (mut near, far) = UnixStream::pair().expect("pair");
        drop(far);
        assert!(
            FrameWriter::new(&near, LengthPrefix::default())
                .send(&message)
                .is_err_and(|error| error.is_closed())
        );
        near.shutdown(Shutdown::Write).expect("shut");
        assert!(send_all_by(&mut near, &message, Instant::now() + Duration::from_mins(1)).is_err());
    }
}
