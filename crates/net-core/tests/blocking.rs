//! Blocking frames over real sockets: deadlines, time-outs, half-close, and an async peer.

use std::{
    cell::Cell,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use net_core::{
    ErrorKind,
    blocking::{FrameReader, FrameWriter},
    frame::{Delimiter, LengthPrefix},
};

/// Long enough for anything that is not meant to time out.
const PATIENCE: Duration = Duration::from_mins(1);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    (near, listener.accept().expect("accept").0)
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A socket that counts how often the system is called.
struct Counted<'a> {
    socket: &'a TcpStream,
    calls: &'a Cell<usize>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls.update(|calls| calls + 1);
        self.socket.read(buffer)
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls.update(|calls| calls + 1);
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[test]
fn s3_header_and_payload_leave_in_one_write() {
    let (near, far) = pair();
    let calls = Cell::new(0);
    let mut writer = FrameWriter::new(Counted { socket: &near, calls: &calls }, LengthPrefix::default());
    writer.send(&[7; 5000]).expect("room");
    assert_eq!(calls.get(), 1);
    let message = FrameReader::new(&far, LengthPrefix::default()).recv_by(soon()).expect("whole");
    assert_eq!(message.expect("a message"), vec![7; 5000]);
}

#[test]
fn s4_lines_need_no_system_call_per_byte() {
    const LINES: usize = 1000;
    let (near, far) = pair();
    let calls = Cell::new(0);
    let mut lines = FrameWriter::new(Counted { socket: &near, calls: &calls }, Delimiter::lines());
    for _ in 0..LINES {
        lines.feed(b"a line of thirty bytes, or so.").expect("room");
    }
    lines.flush().expect("room");
    near.shutdown(Shutdown::Write).expect("half-close");
    assert!(calls.get() <= 4, "{} writes for 31 000 bytes", calls.get());
    // All of it has arrived once the end can be seen behind it.
    let mut whole = vec![0; 64 * 1024];
    while far.peek(&mut whole).expect("it has arrived") < LINES * 31 {}
    calls.set(0);
    let lines = FrameReader::new(Counted { socket: &far, calls: &calls }, Delimiter::lines());
    assert_eq!(lines.map(|line| line.expect("whole").len()).sum::<usize>(), LINES * 30);
    assert!(calls.get() <= 12, "{} reads for 31 000 bytes", calls.get());
}

#[test]
fn s2_a_frame_that_trickles_in_ends_at_the_deadline_and_loses_nothing() {
    let (mut near, far) = pair();
    let (go_on, wait) = mpsc::channel::<()>();
    let sending = thread::spawn(move || {
        near.set_nodelay(true).expect("set");
        near.write_all(b"\0\0\x01\0").expect("the length");
        let mut sent = 0;
        // A byte whenever a millisecond has passed, until the deadline of the reader is over.
        while sent < 200
            && wait.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            near.write_all(b"x").expect("sent");
            sent += 1;
        }
        if sent == 200 {
            wait.recv().expect("the reader goes on");
        }
        near.write_all(&vec![b'x'; 256 - sent]).expect("the rest");
    });
    let mut reader = FrameReader::new(&far, LengthPrefix::default());
    let start = Instant::now();
    let error = reader.recv_by(start + Duration::from_millis(50)).expect_err("the frame is not whole");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(50));
    go_on.send(()).expect("it still sends");
    let message = reader.recv_by(soon()).expect("whole").expect("a message");
    assert_eq!(message, vec![b'x'; 256]);
    assert_eq!(reader.recv_by(soon()).expect("a clean end"), None);
    sending.join().expect("no panic");
}

#[test]
fn s1_the_sockets_own_time_out_is_an_error_after_which_reading_goes_on() {
    let (mut near, far) = pair();
    far.set_read_timeout(Some(Duration::from_millis(10))).expect("set");
    let mut lines = FrameReader::new(&far, Delimiter::lines());
    near.write_all(b"half a ").expect("sent");
    let error = lines.recv().expect_err("half a line");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    near.write_all(b"line\r\n").expect("sent");
    let line = loop {
        match lines.recv() {
            Err(error) if error.is_timeout() => {}
            other => break other.expect("a line").expect("not the end"),
        }
    };
    assert_eq!(line, "half a line");
}

#[test]
fn s2_a_peer_that_does_not_read_ends_the_sending_and_nothing_is_lost_or_doubled() {
    let (near, far) = pair();
    let message: Vec<u8> = (0..8 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    let framing = LengthPrefix::default().with_max_message_len(message.len());
    let mut writer = FrameWriter::new(&near, framing);
    let error =
        writer.send_by(&message, Instant::now() + Duration::from_millis(50)).expect_err("sockets hold less");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!((1..message.len()).contains(&writer.buffered()), "a part of it has left");
    let reading = thread::spawn(move || {
        let mut reader = FrameReader::new(&far, framing);
        let message = reader.recv_by(soon());
        (message, reader.recv_by(soon()))
    });
    writer.flush_by(soon()).expect("somebody reads now");
    near.shutdown(Shutdown::Write).expect("half-close");
    let (received, end) = reading.join().expect("no panic");
    assert!(received.expect("whole").expect("a message") == message);
    assert_eq!(end.expect("a clean end"), None);
}

#[test]
fn s9_after_a_half_close_the_rest_of_the_peers_data_still_arrives() {
    let (near, far) = pair();
    near.shutdown(Shutdown::Write).expect("half-close");
    let mut asked = FrameReader::new(&far, Delimiter::lines());
    assert_eq!(asked.recv_by(soon()).expect("a clean end"), None);
    FrameWriter::new(&far, Delimiter::lines()).send(b"still here").expect("sent");
    drop(far);
    let answers: Vec<_> =
        FrameReader::new(&near, Delimiter::lines()).map(|line| line.expect("whole")).collect();
    assert_eq!(answers, ["still here"]);
}

#[test]
fn c6_a_peer_that_goes_inside_a_frame_is_an_error() {
    let (mut near, far) = pair();
    near.write_all(b"\0\0\0\x05hel").expect("sent");
    drop(near);
    let error = FrameReader::new(&far, LengthPrefix::default()).recv_by(soon()).expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEnd);
    assert!(error.report().contains("after 7 bytes"), "{}", error.report());
}
