//! Law 9 and what goes with it: accepting waits for nobody, fails for nobody, and ends when it is told to.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::rig::{ConnectionOf, Pair, Verdict, connect, ensure, judge, message, pair, soon, well};
use crate::{Address, ErrorKind, Listener, Receiver, Sender, Transport};

/// How many peers connect at once.
const PEERS: usize = 32;
/// How many turns connections have before the listener is closed.
const TURNS: usize = 64;

/// Law 9: peers that connect at once and say nothing are all accepted, and none of them is lost.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn accept_waits_for_no_peer<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(9, "accept waits for no peer", async {
        let mut listener = well("listen", transport.listen(at)).await?;
        let to = listener.local().clone();
        let mut attempts: Vec<Attempt<'_, T>> = attempts(transport, &to, PEERS);
        let connecting = async {
            let mut near = Vec::new();
            for attempt in &mut attempts {
                near.push(well("connect among many", attempt).await?);
            }
            Verdict::Ok(near)
        };
        let accepting = async {
            let mut far = Vec::new();
            while far.len() < PEERS {
                let what = format!("accept silent peer {} of {PEERS}", far.len());
                far.push(well(what, listener.accept()).await?);
            }
            Verdict::Ok(far)
        };
        let (mut near, mut far) = tokio::try_join!(connecting, accepting)?;
        say_who_they_are::<T>(&mut near).await?;
        let heard = hear_who_they_are::<T>(&mut far).await?;
        ensure!(heard.len() == PEERS, "{} connections were accepted of {PEERS}", heard.len());
        Ok(())
    })
    .await;
}

type Attempt<'a, T> = Pin<Box<dyn Future<Output = crate::Result<ConnectionOf<T>>> + Send + 'a>>;

fn attempts<'a, T: Transport>(transport: &'a T, to: &'a Address, count: usize) -> Vec<Attempt<'a, T>> {
    (0..count).map(|_| Box::pin(transport.connect(to)) as Attempt<'a, T>).collect()
}

async fn say_who_they_are<T: Transport>(near: &mut [ConnectionOf<T>]) -> Verdict {
    for (index, near) in near.iter_mut().enumerate() {
        well("send", near.tx.send(message(12, index, 12))).await?;
    }
    Ok(())
}

/// Returns the first messages of connections, those aside that have none.
async fn hear_who_they_are<T: Transport>(far: &mut [ConnectionOf<T>]) -> Verdict<HashSet<Bytes>> {
    let mut heard = HashSet::new();
    for far in far {
        if let Ok(Some(got)) = soon("the first message of a connection", far.rx.recv()).await? {
            ensure!(heard.insert(got), "two connections have one peer");
        }
    }
    Ok(heard)
}

/// Law 9: a peer that vanishes before it is accepted does not end accepting.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn a_vanished_peer_ends_nothing<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(9, "a peer that vanishes ends nothing", async {
        let mut listener = well("listen", transport.listen(at)).await?;
        let to = listener.local().clone();
        for (turns, mut attempt) in attempts(transport, &to, PEERS).into_iter().enumerate() {
            // Dropped half-way or, where the system completes it alone, as a connection that says nothing.
            for _ in 0..=turns {
                if poll(&mut attempt).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let connecting = async {
            let mut near = well("connect after peers vanished", transport.connect(&to)).await?;
            well("send", near.tx.send(message(12, PEERS, 12))).await?;
            Verdict::Ok(near)
        };
        let accepting = async {
            loop {
                let mut far = well("accept after peers vanished", listener.accept()).await?;
                if let Ok(Some(got)) = soon("the first message, or none", far.rx.recv()).await? {
                    return super::rig::same(PEERS, &got, &message(12, PEERS, 12));
                }
            }
        };
        tokio::try_join!(connecting, accepting).map(drop)
    })
    .await;
}

fn poll<O>(future: &mut (impl Future<Output = O> + Unpin)) -> Poll<O> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A listener that is closed gives the connections that wait, then [`ErrorKind::Closed`], and again.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn a_closed_listener_gives_the_rest<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(9, "a closed listener gives what waits, then Closed", async {
        let mut listener = well("listen", transport.listen(at)).await?;
        let to = listener.local().clone();
        let mut running = attempts(transport, &to, 8);
        let mut near = Vec::new();
        // Nobody accepts: these are complete as far as the system alone makes them so.
        for _ in 0..TURNS {
            let mut waiting = Vec::new();
            for mut attempt in running {
                match poll(&mut attempt) {
                    Poll::Ready(Ok(connection)) => near.push(connection),
                    Poll::Ready(Err(error)) => return Err(format!("connect: {}", error.report()).into()),
                    Poll::Pending => waiting.push(attempt),
                }
            }
            running = waiting;
            tokio::task::yield_now().await;
        }
        say_who_they_are::<T>(&mut near).await?;
        listener.close();
        drop(running);
        let mut far = Vec::new();
        let closed = loop {
            match soon("a connection that waits, or Closed", listener.accept()).await? {
                Ok(connection) => far.push(connection),
                Err(error) => break error,
            }
        };
        ensure!(closed.kind() == ErrorKind::Closed, "a closed listener gave {closed:?}, not Closed");
        let again = soon("Closed again", listener.accept()).await?;
        ensure!(again.is_err_and(|error| error.kind() == ErrorKind::Closed), "Closed was not final");
        let heard = hear_who_they_are::<T>(&mut far).await?;
        for index in 0..near.len() {
            ensure!(
                heard.contains(&message(12, index, 12)),
                "connection {index} waited and was lost by close"
            );
        }
        Ok(())
    })
    .await;
}

/// Connecting where nobody listens any more is an error that says so.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn nobody_listens_is_an_error<T: Transport>(transport: &T, at: &Address) {
    if !transport.guarantees().reliable {
        return;
    }
    judge(9, "connecting where nobody listens is an error", async {
        let mut listener = well("listen", transport.listen(at)).await?;
        let to = listener.local().clone();
        listener.close();
        let closed = soon("Closed", listener.accept()).await?;
        ensure!(closed.is_err(), "a connection was accepted that nobody made");
        drop(listener);
        match soon("an error", transport.connect(&to)).await? {
            Ok(_) => Err("connected where nobody listens".into()),
            Err(error) => {
                let told = error.is_retryable();
                ensure!(told, "it should be retryable, such as Refused, and is {:?}", error.kind());
                Ok(())
            }
        }
    })
    .await;
}

/// Each connection has a number that no other has, and addresses that name its two ends.
///
/// # Panics
///
/// The law is broken.
///
/// # Cancel safety
///
/// Dropping the future ends the check.
pub async fn connections_have_names_of_their_own<T: Transport>(transport: &T, at: &Address) {
    judge(9, "connections have numbers and addresses of their own", async {
        let Pair { near, far, mut listener } = pair(transport, at).await?;
        let to = listener.local().clone();
        ensure!(to.port() != Some(0), "a listener at {to} does not know its port");
        let (other_near, other_far) = connect(transport, &to, &mut listener).await?;
        let ends = [&near.info, &far.info, &other_near.info, &other_far.info];
        let ids: HashSet<_> = ends.iter().map(|info| info.id).collect();
        ensure!(ids.len() == ends.len(), "ids are not unique: {ids:?}");
        for (near, far) in [(&near.info, &far.info), (&other_near.info, &other_far.info)] {
            for (one, other) in [(&near.local, &far.remote), (&near.remote, &far.local)] {
                if let (Some(one), Some(other)) = (one.socket(), other.socket()) {
                    ensure!(one == other, "one side says {one}, the other {other}");
                }
            }
            if near.remote.socket().is_some() {
                ensure!(near.remote.port() == to.port(), "connected to {to}, but {} is told", near.remote);
            }
            for address in [&near.local, &near.remote, &far.local, &far.remote] {
                ensure!(address.port() != Some(0), "{address} has no port");
            }
        }
        Ok(())
    })
    .await;
}
