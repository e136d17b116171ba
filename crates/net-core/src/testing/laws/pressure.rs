//! Laws 2 to 4: what happens while the peer does not read, and what a flush means.

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::rig::{Bell, Breach, Pair, Verdict, ensure, expect, expect_end, judge, message, pair, soon, well};
use crate::{Address, Receiver, Sender, Transport};

/// What is accepted at the most while the peer does not read, the kernel's buffers on both sides included.
const MAX_ACCEPTED: usize = 64 << 20;
/// How many turns a task waits to see whether there is room again.
const TURNS: usize = 64;
/// The lengths of messages that fill a connection.
const FILLINGS: [usize; 2] = [64 * 1024, 1_000];

/// Law 2: `Pending` leaves the message untouched, has driven the writes and wakes the task once there is room.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn pending_leaves_the_message_and_wakes<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(2, "pending leaves the message untouched and wakes", async {
        for len in FILLINGS.map(|len| len.min(transport.guarantees().max_message_len)) {
            let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
            let (count, mut blocked) = fill(&mut near.tx, len).await?;
            // The waker that counts is the last one.
            let first = near.tx.poll_send(&mut Context::from_waker(Waker::noop()), &mut blocked);
            let bell = Bell::new();
            let waker = Waker::from(bell.clone());
            let second = near.tx.poll_send(&mut Context::from_waker(&waker), &mut blocked);
            let accepted = usize::from(first.is_ready()) + usize::from(second.is_ready());
            if accepted > 0 {
                // Room came between; it is told of no task that waits.
                continue;
            }
            let mut got = BytesMut::new();
            let woken = async {
                loop {
                    tokio::select! {
                        biased;
                        () = bell.rung() => return Verdict::Ok(()),
                        read = read_more(&mut far.rx, &mut got), if got.len() < count * len => read?,
                    }
                }
            };
            soon("a wake-up, as the peer reads", woken).await??;
            let rest = async {
                well("feed what was pending", near.tx.feed(blocked)).await?;
                well("finish", near.tx.finish()).await
            };
            let all = (count + 1) * len;
            let receiving = async {
                while got.len() < all {
                    read_more(&mut far.rx, &mut got).await?;
                }
                expect_end(transport, &mut far.rx).await
            };
            tokio::try_join!(rest, receiving)?;
            let sent: Vec<Bytes> = (0..=count).map(|index| message(5, index, len)).collect();
            ensure!(got == sent.concat(), "other bytes arrived than were sent");
        }
        Ok(())
    })
    .await;
}

/// Receives once.
async fn read_more<R: Receiver>(rx: &mut R, got: &mut BytesMut) -> Verdict {
    let already = got.len();
    match well(format!("receive from byte {already} on"), rx.recv()).await? {
        Some(more) => got.extend_from_slice(&more),
        None => return Err(format!("the end after {already} bytes").into()),
    }
    Ok(())
}

/// Law 2: a sender that waits for room is woken when its peer leaves, and learns that it is gone.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn a_peer_that_leaves_wakes_who_waits<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(2, "a peer that leaves wakes who waits", async {
        let Pair { mut near, far, listener: _listening } = pair(transport, at).await?;
        let len = transport.guarantees().max_message_len.min(64 * 1024);
        let (_, blocked) = fill(&mut near.tx, len).await?;
        let leaving = async {
            // The sender waits by now: it is polled first.
            drop(far);
            Ok(())
        };
        let waiting = async {
            // What was on its way may still make room, for as much as was accepted before.
            for _ in 0..=MAX_ACCEPTED / len {
                let offered = near.tx.feed(blocked.clone());
                if soon("the error of a peer that is gone", offered).await?.is_err() {
                    return Ok(());
                }
            }
            Err(format!("{MAX_ACCEPTED} bytes were accepted for a peer that is gone").into())
        };
        tokio::try_join!(biased; waiting, leaving).map(drop)
    })
    .await;
}

/// Law 3: while the peer does not read, a bounded amount is accepted; and nothing of it is lost.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn acceptance_is_bounded<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(3, "acceptance is bounded while the peer does not read", async {
        for len in FILLINGS.map(|len| len.min(transport.guarantees().max_message_len)) {
            let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
            let (count, blocked) = fill(&mut near.tx, len).await?;
            let rest = async {
                well("feed what was pending", near.tx.feed(blocked)).await?;
                well("finish", near.tx.finish()).await
            };
            let receiving = async {
                expect(transport, &mut far.rx, (0..=count).map(|index| message(5, index, len))).await?;
                expect_end(transport, &mut far.rx).await
            };
            tokio::try_join!(rest, receiving)?;
        }
        Ok(())
    })
    .await;
}

/// Sends messages of `len` bytes until no more is accepted. Returns how many were, and the one that was not.
pub(super) async fn fill<S: Sender>(tx: &mut S, len: usize) -> Verdict<(usize, Bytes)> {
    let bell = Bell::new();
    let waker = Waker::from(bell.clone());
    let mut count = 0;
    loop {
        if count * len > MAX_ACCEPTED {
            let seen = format!("{count} messages of {len} bytes were accepted and the peer has read none");
            return Err(Breach::from(seen).of(3));
        }
        let whole = message(5, count, len);
        let mut offered = whole.clone();
        // Not in the scrutinee, where the context would live on over the awaits.
        let polled = tx.poll_send(&mut Context::from_waker(&waker), &mut offered);
        match polled {
            Poll::Ready(Ok(())) => {
                ensure!(offered.is_empty(), "a message was accepted and not taken");
                count += 1;
            }
            Poll::Ready(Err(error)) => return Err(format!("send: {}", error.report()).into()),
            Poll::Pending => {
                if offered != whole {
                    return Err(Breach::from("a message was not accepted and is not what it was").of(2));
                }
                // What is on its way to the peer's buffers makes room yet.
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                if !bell.take() {
                    return Ok((count, whole));
                }
            }
        }
    }
}

/// Law 4: what is flushed arrives without another call of the sender.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn flushed_needs_no_further_call<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.reliable {
        return;
    }
    judge(4, "what is flushed needs no further call", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        well("send", near.tx.send(message(6, 0, 5))).await?;
        expect(transport, &mut far.rx, [message(6, 0, 5)]).await?;
        for len in [1_000, 64 * 1024].map(|len| len.min(guarantees.max_message_len)) {
            let count = (2 << 20) / len;
            let all = || (0..count).map(|index| message(6, index, len));
            let sending = async {
                for message in all() {
                    well("feed", near.tx.feed(message)).await?;
                }
                well("flush", near.tx.flush()).await
            };
            // Once the first future is done, nobody calls the sender.
            tokio::try_join!(sending, expect(transport, &mut far.rx, all()))?;
        }
        Ok(())
    })
    .await;
}
