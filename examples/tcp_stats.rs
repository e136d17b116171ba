//! What the kernel knows of a connection: round-trip time, retransmits, windows, queues.
//!
//! The feature `stats` of net-tcp asks for it over netlink; Linux only.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use net_core::Result;

#[cfg(target_os = "linux")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    use net_core::{Listener, Transport};
    use net_tcp::{Tcp, TcpStats};

    let tcp = Tcp::default();
    let mut listener = tcp.listen(&"tcp://127.0.0.1:0".parse()?).await?;
    let mut near = tcp.connect(listener.local()).await?;
    let far = listener.accept().await?;

    // The peer does not read: what it cannot take stays in its queue, and then in ours.
    for _ in 0..100 {
        near.send(vec![0; 1000]).await?;
    }
    let (ours, theirs) = (TcpStats::of(&near.info)?, TcpStats::of(&far.info)?);
    println!("round trip {:?} ± {:?}", ours.round_trip, ours.round_trip_variance);
    println!("{} segments sent again", ours.retransmits);
    println!("segments of {} bytes, {} at once", ours.max_segment_len, ours.congestion_window);
    println!("the peer takes {} bytes more", ours.peer_window);
    println!("{} bytes wait to be acknowledged", ours.send_queue_len);
    println!("{} bytes wait to be read by the peer", theirs.recv_queue_len);
    // Every byte is in one queue or the other; in both until the acknowledgement of what has arrived is back.
    assert!(ours.send_queue_len + theirs.recv_queue_len >= 100 * 1004);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<()> {
    println!("this system tells nothing of its connections");
    Ok(())
}
