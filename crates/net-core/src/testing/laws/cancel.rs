//! Law 8: futures that are dropped lose nothing.

use std::{future::Future, task::Poll};

use bytes::Bytes;

use super::rig::{Pair, Verdict, ensure, expect_end, judge, message, pair, poll_once, soon, well};
use crate::{Address, Listener, Receiver, Sender, Transport};

/// How many messages are sent against dropped futures.
const COUNT: usize = 300;
/// How many turns futures are polled and dropped before one is waited for.
const TURNS: usize = 64;
/// How many connections are made against dropped futures.
const CONNECTIONS: usize = 8;

/// Law 8: dropping the future of `recv` loses no message.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn cancelled_recv_loses_nothing<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.reliable || !guarantees.preserves_messages {
        return;
    }
    judge(8, "a dropped recv loses nothing", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        let len = |index: usize| (index * 97 % 40_000).min(guarantees.max_message_len);
        let sending = async {
            for index in 0..COUNT {
                well("send", near.tx.send(message(9, index, len(index)))).await?;
            }
            well("finish", near.tx.finish()).await
        };
        let receiving = async {
            for index in 0..COUNT {
                let mut got = None;
                for _ in 0..index % 4 {
                    if let Poll::Ready(ready) = poll_once(far.rx.recv()) {
                        got = Some(ready);
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                let got = match got {
                    Some(ready) => ready,
                    None => soon(format!("message {index}"), far.rx.recv()).await?,
                };
                match got {
                    Ok(Some(got)) => super::rig::same(index, &got, &message(9, index, len(index)))?,
                    other => return Err(format!("{other:?} instead of message {index}").into()),
                }
            }
            expect_end(transport, &mut far.rx).await
        };
        tokio::try_join!(sending, receiving).map(drop)
    })
    .await;
}

/// Law 8: a message whose future is dropped was accepted whole or not at all; flush and finish may be dropped too.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn cancelled_send_is_all_or_nothing<T: Transport>(transport: &T, at: &Address) {
    let guarantees = transport.guarantees();
    if !guarantees.reliable || !guarantees.preserves_messages {
        return;
    }
    judge(8, "a dropped send was accepted whole or not at all", async {
        let Pair { mut near, mut far, listener: _listening } = pair(transport, at).await?;
        // Long enough to meet full buffers, distinct so that each is known again.
        let len = |index: usize| (10_000 + index * 100).min(guarantees.max_message_len);
        let mut accepted = [false; COUNT];
        let sending = async {
            for (index, accepted) in accepted.iter_mut().enumerate() {
                let message = message(10, index, len(index));
                let polled = match index % 3 {
                    0 => poll_once(near.tx.send(message)),
                    1 => poll_once(near.tx.feed(message)),
                    _ => {
                        let fed = poll_once(near.tx.feed(message));
                        let _ = poll_once(near.tx.flush());
                        fed
                    }
                };
                match polled {
                    Poll::Ready(Ok(())) => *accepted = true,
                    Poll::Ready(Err(error)) => {
                        return Err(format!("send: {}", error.report()).into());
                    }
                    Poll::Pending => tokio::task::yield_now().await,
                }
            }
            let _ = poll_once(near.tx.finish());
            well("finish after a dropped finish", near.tx.finish()).await
        };
        let mut arrived: Vec<Bytes> = Vec::new();
        let receiving = async {
            while arrived.len() <= COUNT {
                match soon("a message or the end", far.rx.recv()).await? {
                    Ok(Some(got)) => arrived.push(got),
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(format!("receive: {}", error.report()).into()),
                }
            }
            Err("more messages came than were sent".into())
        };
        if guarantees.signals_end {
            tokio::try_join!(sending, receiving)?;
        } else {
            return sending.await;
        }
        let mut arrived = arrived.into_iter().peekable();
        for (index, accepted) in accepted.into_iter().enumerate() {
            let came = arrived.next_if(|got| *got == message(10, index, len(index))).is_some();
            ensure!(came || !accepted, "message {index} was accepted and did not arrive");
        }
        let odd = arrived.next();
        ensure!(odd.is_none(), "a message came twice, in part, or out of order");
        Ok(())
    })
    .await;
}

/// Law 8: dropping the futures of `accept` and `connect` loses no connection.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn cancelled_accept_loses_nothing<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(8, "a dropped accept loses no connection", async {
        let mut listener = well("listen", transport.listen(at)).await?;
        let to = listener.local().clone();
        for index in 0..CONNECTIONS {
            let accepting = async {
                // Bounded: under paused time, turns alone let no time pass.
                for turn in 0..TURNS {
                    let accepted = if (index + turn) % 2 == 0 {
                        poll_once(listener.accept())
                    } else {
                        let dropped = std::pin::pin!(listener.accept());
                        first(dropped, std::pin::pin!(tokio::task::yield_now())).await
                    };
                    match accepted {
                        Poll::Ready(accepted) => return accepted,
                        Poll::Pending => tokio::task::yield_now().await,
                    }
                }
                listener.accept().await
            };
            let connecting = well("connect", transport.connect(&to));
            let (mut near, mut far) = tokio::try_join!(connecting, well("accept", accepting))?;
            greet::<T>(&mut near.tx, &mut far.rx, index).await?;
        }
        // What an abandoned attempt leaves behind must not stop the next.
        for _ in 0..CONNECTIONS {
            let _ = poll_once(transport.connect(&to));
        }
        // Twice: attempts that were abandoned late in their handshake may be accepted behind the first one.
        for index in CONNECTIONS..CONNECTIONS + 2 {
            let connecting = async {
                let mut near = well("connect after abandoned attempts", transport.connect(&to)).await?;
                well("send", near.tx.send(message(11, index, 10))).await?;
                Verdict::Ok(near)
            };
            let accepting = async {
                loop {
                    let mut far = well("accept after abandoned attempts", listener.accept()).await?;
                    if let Ok(Some(got)) = soon("the first message, or none", far.rx.recv()).await? {
                        return super::rig::same(index, &got, &message(11, index, 10));
                    }
                }
            };
            tokio::try_join!(connecting, accepting)?;
        }
        Ok(())
    })
    .await;
}

/// Gives what `future` gives, unless `turn` is over first.
async fn first<O>(
    future: impl Future<Output = O> + Unpin,
    turn: impl Future<Output = ()> + Unpin,
) -> Poll<O> {
    tokio::select! {
        biased;
        output = future => Poll::Ready(output),
        () = turn => Poll::Pending,
    }
}

async fn greet<T: Transport>(tx: &mut T::Sender, rx: &mut T::Receiver, index: usize) -> Verdict {
    well("send", tx.send(message(11, index, 10))).await?;
    let got = well("the first message of a connection", rx.recv()).await?;
    super::rig::same(index, got.as_deref().unwrap_or_default(), &message(11, index, 10))
}
