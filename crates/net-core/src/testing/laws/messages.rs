//! Law 1: a message arrives whole or not at all, in order; batches and parts agree with single messages.

use std::future::poll_fn;

use bytes::Bytes;

use super::rig::{
    Pair, Verdict, deliver, ensure, expect, expect_end, judge, lengths, message, pair, soon, well,
};
use crate::{Address, Batch, Connection, ErrorKind, Receiver, Sender, Transport};

/// How many messages cross at once.
const MANY: usize = 2_000;

/// Law 1: messages of every length, the empty one and the longest among them, arrive whole and in order.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn messages_arrive_whole<T: Transport>(transport: &T, at: &Address) {
    judge(1, "a message arrives whole, in order", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        let lengths = lengths(transport);
        if !transport.guarantees().reliable {
            let mut sent = Vec::new();
            for (index, len) in lengths.into_iter().enumerate() {
                let message = message(1, index, len);
                deliver(transport, &mut near.tx, &mut far.rx, &message, &mut sent).await?;
            }
            return Ok(());
        }
        let all = || lengths.iter().enumerate().map(|(index, len)| message(1, index, *len));
        let one_by_one = async {
            for message in all() {
                well("send", near.tx.send(message)).await?;
            }
            for message in all() {
                well("feed", near.tx.feed(message)).await?;
            }
            well("flush", near.tx.flush()).await
        };
        tokio::try_join!(one_by_one, expect(transport, &mut far.rx, all().chain(all())))?;
        every_byte(&mut near, &mut far).await
    })
    .await;
}

/// Sends each value of a byte, unless the framing refuses a message that contains what marks its end.
async fn every_byte<S: Sender, R: Receiver>(
    near: &mut Connection<S, R>,
    far: &mut Connection<S, R>,
) -> Verdict {
    let bytes: Bytes = (0..=u8::MAX).rev().collect();
    if soon("send all values of a byte", near.tx.send(bytes.clone())).await?.is_err() {
        well("send after a refused message", near.tx.send("afterwards")).await?;
        let got = well("receive after a refused message", far.rx.recv()).await?;
        ensure!(got.as_deref() == Some(b"afterwards"), "a refused message left something behind: {got:?}");
        return Ok(());
    }
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        match well("receive all values of a byte", far.rx.recv()).await? {
            Some(part) => got.extend_from_slice(&part),
            None => return Err("the end instead of all values of a byte".into()),
        }
    }
    ensure!(got == bytes, "the values of bytes are not carried as they are");
    Ok(())
}

/// Law 1: both directions carry many messages at once, each half in a task of its own.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future leaves the tasks of the two ends to end by themselves.
pub async fn both_directions_at_once<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.reliable || !guarantees.preserves_messages {
        return;
    }
    judge(1, "both directions carry many messages at once", async {
        let Pair { near, far, listener: _listening } = pair(transport, at).await?;
        let (max, ends) = (guarantees.max_message_len, guarantees.signals_end);
        let tasks = [
            tokio::spawn(send_many(near.tx, 2, max)),
            tokio::spawn(send_many(far.tx, 3, max)),
            tokio::spawn(receive_many(far.rx, 2, max, ends)),
            tokio::spawn(receive_many(near.rx, 3, max, ends)),
        ];
        for task in tasks {
            task.await.map_err(|panicked| format!("a half panicked: {panicked}"))??;
        }
        Ok(())
    })
    .await;
}

/// The message `index` of many: mostly small, some empty, some large.
fn one_of_many(tag: u8, index: usize, max: usize) -> Bytes {
    let len = match index % 100 {
        99 => 70_000,
        49 => 9_000,
        short => short * 3,
    };
    message(tag, index, len.min(max))
}

async fn send_many<S: Sender>(mut tx: S, tag: u8, max: usize) -> Verdict {
    for index in 0..MANY {
        well("feed", tx.feed(one_of_many(tag, index, max))).await?;
        if index % 7 == 0 {
            well("flush", tx.flush()).await?;
        }
    }
    well("finish", tx.finish()).await
}

async fn receive_many<R: Receiver>(mut rx: R, tag: u8, max: usize, ends: bool) -> Verdict {
    for index in 0..MANY {
        let got = well(format!("receive message {index} of {MANY}"), rx.recv()).await?;
        let got = got.ok_or_else(|| format!("the end instead of message {index}"))?;
        super::rig::same(index, &got, &one_of_many(tag, index, max))?;
    }
    // Whoever left before the end would cut a peer that has still to tell it.
    if ends && let Some(extra) = well("receive the end", rx.recv()).await? {
        return Err(format!("{} bytes instead of the end", extra.len()).into());
    }
    Ok(())
}

/// Law 1: `poll_send_many`, `poll_send_parts` and `poll_recv_many` carry what the single forms carry.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn batches_agree_with_single_messages<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.reliable {
        return;
    }
    judge(1, "batches and parts agree with single messages", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        let least = usize::from(!guarantees.preserves_messages);
        let all: Vec<Bytes> = (0..500)
            .map(|index| one_of_many(4, index, guarantees.max_message_len))
            .filter(|message| message.len() >= least)
            .collect();
        let sending = async {
            let mut batch = Batch::new(usize::MAX, usize::MAX);
            for few in all.chunks(50) {
                few.iter().cloned().for_each(|message| batch.push(message));
                well("send a batch", poll_fn(|cx| near.tx.poll_send_many(cx, &mut batch))).await?;
                ensure!(
                    batch.is_empty(),
                    "a batch was accepted and {} messages are still in it",
                    batch.len()
                );
            }
            for whole in &all {
                let mut body = whole.clone();
                let head = body.split_to(body.len().min(9));
                let parts = poll_fn(|cx| near.tx.poll_send_parts(cx, &head, &mut body));
                well("send parts", parts).await?;
                ensure!(body.is_empty(), "parts were accepted and the body was not taken");
            }
            well("finish", near.tx.finish()).await
        };
        let receiving = async {
            let single = if guarantees.preserves_messages {
                receive_batches(&mut far.rx, &all).await?;
                &[]
            } else {
                &all[..]
            };
            expect(transport, &mut far.rx, single.iter().chain(&all).cloned()).await?;
            expect_end(transport, &mut far.rx).await
        };
        tokio::try_join!(sending, receiving).map(drop)
    })
    .await;
}

/// Law 1: what `peek` shows is what is received next, and what is consumed is not received again.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn what_is_shown_is_received_next<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.reliable || !guarantees.preserves_messages {
        return;
    }
    judge(1, "what is shown is received next", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        let all: Vec<Bytes> =
            (0..500).map(|index| one_of_many(6, index, guarantees.max_message_len)).collect();
        let sending = async {
            for message in &all {
                well("feed", near.tx.feed(message.clone())).await?;
            }
            for message in &all {
                let (head, body) = message.split_at(message.len().min(9));
                well("send a copy", poll_fn(|cx| near.tx.poll_send_copy(cx, head, body))).await?;
            }
            well("finish", near.tx.finish()).await
        };
        let receiving = async {
            for (index, expected) in all.iter().chain(&all).enumerate() {
                if index % 2 == 0 && far.rx.peek().is_none() {
                    well("fill", poll_fn(|cx| far.rx.poll_fill(cx))).await?;
                }
                if let Some(shown) = far.rx.peek() {
                    super::rig::same(index, shown, expected)?;
                    if index % 3 > 0 {
                        far.rx.consume();
                        continue;
                    }
                }
                let got = well(format!("receive message {index}"), far.rx.recv()).await?;
                let got = got.ok_or_else(|| format!("the end instead of message {index}"))?;
                super::rig::same(index, &got, expected)?;
                // Nothing has been shown since.
                far.rx.consume();
            }
            expect_end(transport, &mut far.rx).await
        };
        tokio::try_join!(sending, receiving).map(drop)
    })
    .await;
}

/// Law 10: where a receiver can be given a limit, a longer message is the end of receiving; one that comes after the
/// limit is lifted arrives.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn a_limit_holds_until_it_is_lifted<T: Transport>(transport: &T, at: &Address) {
    const LIMIT: usize = 100;
    let guarantees = transport.guarantees();
    if !guarantees.reliable || !guarantees.preserves_messages || guarantees.max_message_len <= LIMIT {
        return;
    }
    judge(10, "a limit holds until it is lifted", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        let Some(before) = far.rx.limit_message_len(LIMIT) else { return Ok(()) };
        ensure!(
            before >= guarantees.max_message_len,
            "the limit was {before}, less than the {} that are promised",
            guarantees.max_message_len
        );
        let longest = message(5, 0, LIMIT);
        well("send as much as is allowed", near.tx.send(longest.clone())).await?;
        expect(transport, &mut far.rx, [longest]).await?;
        let lifted = far.rx.limit_message_len(before);
        ensure!(lifted == Some(LIMIT), "the limit was {LIMIT}, and {lifted:?} is told");
        let longer = message(5, 1, LIMIT + 1);
        well("send more", near.tx.send(longer.clone())).await?;
        expect(transport, &mut far.rx, [longer.clone()]).await?;
        far.rx.limit_message_len(LIMIT);
        well("send too much", near.tx.send(longer)).await?;
        for _ in 0..2 {
            match soon("receive too much", far.rx.recv()).await? {
                Err(error) if error.kind() == ErrorKind::MessageTooLong => {}
                other => return Err(format!("{other:?} instead of a message too long").into()),
            }
        }
        Ok(())
    })
    .await;
}

async fn receive_batches<R: Receiver>(rx: &mut R, all: &[Bytes]) -> Verdict {
    let mut next = 0;
    while next < all.len() {
        // A batch is given one message at least, even a full one, and never more than it has room for.
        let full = next % 10 == 9;
        let room = if full { 1 } else { (1 + next % 5).min(all.len() - next) };
        let mut batch = Batch::new(room, usize::MAX);
        if full {
            batch.push("before".into());
        }
        let count = well("receive a batch", poll_fn(|cx| rx.poll_recv_many(cx, &mut batch))).await?;
        if full {
            ensure!(batch.pop().is_some_and(|first| first == "before"), "a batch lost what was in it");
        }
        ensure!(count == batch.len(), "{count} messages are told and {} are in the batch", batch.len());
        ensure!((1..=room).contains(&count), "{count} messages where 1 to {room} were due");
        while let Some(got) = batch.pop() {
            let expected = all.get(next).map_or(&[][..], |expected| expected);
            super::rig::same(next, &got, expected)?;
            next += 1;
        }
    }
    Ok(())
}
