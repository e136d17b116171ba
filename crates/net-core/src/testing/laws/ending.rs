//! Laws 5 to 7: how a connection ends, cleanly and otherwise, and what stays so.

use std::future::poll_fn;

use bytes::Bytes;

use super::{
    pressure::fill,
    rig::{Pair, Verdict, connect, ensure, expect, expect_end, judge, message, pair, same, soon, well},
};
use crate::{Address, ErrorKind, Guarantees, Listener, Receiver, Sender, Transport};

/// How many messages stand before an end.
const COUNT: usize = 200;
/// How often an end is asked for again.
const AGAIN: usize = 3;
/// A limit above this is not tried: the message would have to be made.
const MAX_TRIED: usize = 64 << 20;

fn all() -> impl Iterator<Item = Bytes> {
    (0..COUNT).map(|index| message(7, index, 1 + index % 50))
}

/// Law 5: after `finish` the peer receives all, then `None`; a later send is [`ErrorKind::Closed`].
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn finish_delivers_all_then_ends<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(5, "finish delivers all, then the end", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        let sending = async {
            for message in all() {
                well("feed", near.tx.feed(message)).await?;
            }
            well("finish what was not flushed", near.tx.finish()).await?;
            for _ in 0..AGAIN {
                match soon("send after finish", near.tx.feed("late")).await? {
                    Err(error) if error.kind() == ErrorKind::Closed => {}
                    other => return Err(format!("a send after finish gave {other:?}, not Closed").into()),
                }
            }
            Ok(())
        };
        let receiving = async {
            expect(transport, &mut far.rx, all()).await?;
            expect_end(transport, &mut far.rx).await
        };
        tokio::try_join!(sending, receiving).map(drop)
    })
    .await;
}

/// Law 5: after `finish`, this side receives on and the peer sends on, where `half_close`.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn half_close_leaves_the_other_direction<T: Transport>(transport: &T, at: &Address) {
    let Guarantees { half_close, reliable, .. } = transport.guarantees();
    if !half_close || !reliable {
        return;
    }
    judge(5, "receiving goes on after finish", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        well("finish", near.tx.finish()).await?;
        expect_end(transport, &mut far.rx).await?;
        let answering = async {
            for message in all() {
                well("send against a finished direction", far.tx.send(message)).await?;
            }
            well("finish the other direction", far.tx.finish()).await
        };
        let receiving = async {
            expect(transport, &mut near.rx, all()).await?;
            expect_end(transport, &mut near.rx).await
        };
        tokio::try_join!(answering, receiving).map(drop)
    })
    .await;
}

/// Law 6: the end stays the end, and an error stays an error.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn ends_are_final<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.reliable {
        return;
    }
    judge(6, "ends and errors are final", async {
        if guarantees.signals_end {
            let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
            well("send", near.tx.send("last")).await?;
            well("finish", near.tx.finish()).await?;
            expect(transport, &mut far.rx, [Bytes::from_static(b"last")]).await?;
            expect_end(transport, &mut far.rx).await?;
            for _ in 0..AGAIN {
                let again = soon("receive after the end", far.rx.recv()).await?;
                ensure!(!matches!(again, Ok(Some(_))), "a message came after the end");
            }
        }
        if guarantees.signals_abort {
            let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
            well("feed", near.tx.feed("unflushed")).await?;
            drop(near);
            prefix_then_error::<T>(&mut far.rx, &[Bytes::from_static(b"unflushed")], guarantees).await?;
            for _ in 0..AGAIN {
                let again = soon("receive after an error", far.rx.recv()).await?;
                ensure!(again.is_err(), "after an error came {again:?}, not an error again");
            }
        }
        Ok(())
    })
    .await;
}

/// Receives a beginning of `sent` and then an error, never the end.
async fn prefix_then_error<T: Transport>(
    rx: &mut T::Receiver,
    sent: &[Bytes],
    guarantees: Guarantees,
) -> Verdict {
    let mut stream = sent.concat().into_iter();
    let mut index = 0;
    loop {
        match soon("the error of an aborted connection", rx.recv()).await? {
            Err(_) => return Ok(()),
            Ok(None) => return Err("an abort came as a clean end".into()),
            Ok(Some(got)) if guarantees.preserves_messages => {
                let Some(expected) = sent.get(index) else {
                    return Err(format!("{} bytes came that nobody sent", got.len()).into());
                };
                same(index, &got, expected)?;
                index += 1;
            }
            Ok(Some(got)) => {
                ensure!(stream.by_ref().take(got.len()).eq(got), "other bytes came than were sent");
            }
        }
    }
}

/// Law 6: a message over the limit is refused, and message and connection are intact.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn a_message_too_long_is_refused_alone<T: Transport>(transport: &T, at: &Address) {
    let max = transport.guarantees().max_message_len;
    if max > MAX_TRIED {
        return;
    }
    judge(6, "a message too long is refused alone", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        well("feed", near.tx.feed("before")).await?;
        let long = message(8, 0, max + 1);
        for parts in [false, true] {
            let mut body = long.clone();
            let head = if parts { body.split_to(body.len().min(9)) } else { Bytes::new() };
            let whole = body.clone();
            let refused = soon(
                "the refusal of a message too long",
                poll_fn(|cx| {
                    if parts {
                        near.tx.poll_send_parts(cx, &head, &mut body)
                    } else {
                        near.tx.poll_send(cx, &mut body)
                    }
                }),
            );
            match refused.await? {
                Err(error) if error.kind() == ErrorKind::MessageTooLong => {}
                other => return Err(format!("{} bytes gave {other:?}, not MessageTooLong", max + 1).into()),
            }
            ensure!(body == whole, "a message was refused and is not what it was");
        }
        if !transport.guarantees().reliable {
            let mut sent = vec![(Bytes::from_static(b"before"), 1)];
            let last = message(8, 1, 5);
            return super::rig::deliver(transport, &mut near.tx, &mut far.rx, &last, &mut sent).await;
        }
        let expected = [Bytes::from_static(b"before"), message(8, 1, max)];
        let [_, longest] = expected.clone();
        let sending = async { well("send the longest message", near.tx.send(longest)).await };
        tokio::try_join!(sending, expect(transport, &mut far.rx, expected)).map(drop)
    })
    .await;
}

/// Law 7: dropping a sender with something unflushed is an abort: an error to the peer, where `signals_abort`.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn dropping_unflushed_aborts<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.signals_abort || !guarantees.reliable {
        return;
    }
    judge(7, "dropping what is not flushed is an abort", async {
        // The sender alone, with little unflushed.
        let Pair { mut near, mut far, mut listener } = pair(transport, at).await?;
        well("send", near.tx.send("flushed")).await?;
        expect(transport, &mut far.rx, [Bytes::from_static(b"flushed")]).await?;
        well("feed", near.tx.feed("unflushed")).await?;
        drop(near.tx);
        let sent = [Bytes::from_static(b"unflushed")];
        prefix_then_error::<T>(&mut far.rx, &sent, guarantees).await?;
        drop(near.rx);

        // Both halves, with all buffers full.
        let to = listener.local().clone();
        let (mut near, mut far) = connect(transport, &to, &mut listener).await?;
        let len = guarantees.max_message_len.min(10_000);
        let (count, _) = fill(&mut near.tx, len).await?;
        drop(near);
        let sent: Vec<Bytes> = (0..count).map(|index| message(5, index, len)).collect();
        prefix_then_error::<T>(&mut far.rx, &sent, guarantees).await
    })
    .await;
}

/// Law 7: dropping a connection after a flush is a plain close: what was flushed arrives, then the end.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn dropping_after_a_flush_closes<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(7, "dropping after a flush is a plain close", async {
        let Pair { mut near, mut far, mut listener } = pair(transport, at).await?;
        let sending = async move {
            for message in all() {
                well("feed", near.tx.feed(message)).await?;
            }
            well("flush", near.tx.flush()).await?;
            drop(near);
            Ok(())
        };
        let receiving = async {
            expect(transport, &mut far.rx, all()).await?;
            expect_end(transport, &mut far.rx).await
        };
        // Where the buffers hold all of it, nothing is read before the drop.
        tokio::try_join!(biased; sending, receiving)?;

        let to = listener.local().clone();
        let (near, mut far) = connect(transport, &to, &mut listener).await?;
        drop(near);
        expect_end(transport, &mut far.rx).await
    })
    .await;
}
