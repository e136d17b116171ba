//! What the checks stand on: two connected ends, contents that can be told apart, bounded waits, verdicts.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{Address, Connection, Listener, Receiver, Result, Sender, Transport};

/// How long one wait may take; longer is a failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// After how long an unreliable transport is asked again.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest message that is tried, where the transport carries longer ones.
const MAX_LEN: usize = 1 << 20;
/// How many random letters there are, a prime: no power of two that a buffer has repeats them.
const LETTERS_LEN: usize = 65_521;
/// What a connection of an unreliable transport is opened with, since only a message tells its peer of it.
const GREETING: &[u8] = b"greeting";

/// What was seen that a law forbids.
#[derive(Debug)]
pub(super) struct Breach {
    seen: String,
    /// The law, where it is another one than that of the check.
    law: Option<u8>,
}

impl Breach {
    /// Names the law that this breaks, whichever is checked.
    pub(super) fn of(self, law: u8) -> Self {
        Self { law: Some(law), ..self }
    }
}

impl From<String> for Breach {
    fn from(seen: String) -> Self {
        Self { seen, law: None }
    }
}

impl From<&str> for Breach {
    fn from(seen: &str) -> Self {
        seen.to_owned().into()
    }
}

/// Whether a law held.
pub(super) type Verdict<T = ()> = std::result::Result<T, Breach>;

/// Ends a check with what was seen unless `$held`.
macro_rules! ensure {
    ($held:expr, $($seen:tt)+) => {
        if !$held {
            return Err(format!($($seen)+).into());
        }
    };
}
pub(super) use ensure;

/// Panics with the number and the name of the law unless `check` finds that it holds.
pub(super) async fn judge(number: u8, law: &str, check: impl Future<Output = Verdict>) {
    match check.await {
        Ok(()) => {}
        Err(Breach { seen, law: Some(other) }) if other != number => {
            panic!("law {other} is broken (while checking: {law}): {seen}")
        }
        Err(Breach { seen, .. }) => panic!("law {number} is broken ({law}): {seen}"),
    }
}

/// Waits for `event`, for [`PATIENCE`] at the longest.
pub(super) async fn soon<O>(
    what: impl fmt::Display + Send + Sync,
    event: impl Future<Output = O>,
) -> Verdict<O> {
    match timeout(PATIENCE, event).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => Err(format!("waited {PATIENCE:?} in vain: {what}").into()),
    }
}

/// Waits for `event`, whose error is a breach.
pub(super) async fn well<O>(
    what: impl fmt::Display + Send + Sync,
    event: impl Future<Output = Result<O>>,
) -> Verdict<O> {
    soon(&what, event).await?.map_err(|error| format!("{what}: {}", error.report()).into())
}

/// A connection of the transport `T`.
pub(super) type ConnectionOf<T> = Connection<<T as Transport>::Sender, <T as Transport>::Receiver>;

/// Two connected ends, and the listener that goes on listening.
pub(super) struct Pair<T: Transport> {
    pub(super) near: ConnectionOf<T>,
    pub(super) far: ConnectionOf<T>,
    pub(super) listener: T::Listener,
}

/// Connects two ends.
pub(super) async fn pair<T: Transport>(transport: &T, at: &Address) -> Verdict<Pair<T>> {
    let mut listener = well("listen", transport.listen(at)).await?;
    let to = listener.local().clone();
    let (near, far) = connect(transport, &to, &mut listener).await?;
    Ok(Pair { near, far, listener })
}

/// Connects to `listener` and accepts there.
pub(super) async fn connect<T: Transport>(
    transport: &T,
    to: &Address,
    listener: &mut T::Listener,
) -> Verdict<(ConnectionOf<T>, ConnectionOf<T>)> {
    if transport.guarantees().reliable {
        return tokio::try_join!(
            well("connect", transport.connect(to)),
            well("accept a connection", listener.accept()),
        );
    }
    // Some unreliable transports have a handshake, which needs a listener that accepts; others know of a peer by what it
    // sends.
    let greeted = async {
        let mut connecting = pin!(transport.connect(to));
        let mut accepting = pin!(listener.accept());
        let mut near = None;
        let far = loop {
            tokio::select! {
                connected = &mut connecting, if near.is_none() => near = Some(connected?),
                accepted = &mut accepting => break accepted?,
                () = sleep(AGAIN), if near.is_some() => {}
            }
            if let Some(near) = &mut near {
                near.tx.send(GREETING).await?;
            }
        };
        // Both may be there at once, and the far end is looked at first then.
        let near = match near {
            Some(near) => near,
            None => connecting.await?,
        };
        Ok((near, far))
    };
    // Boxed, so that the laws of those that need none of it stay small.
    well("accept a connection that has greeted", Box::pin(greeted)).await
}

/// The message `index` of the series `tag`: its first ten letters are a number of its own, the others random.
pub(super) fn message(tag: u8, index: usize, len: usize) -> Bytes {
    static LETTERS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut rng = fastrand::Rng::with_seed(26);
        (0..LETTERS_LEN).map(|_| rng.u8(b'a'..=b'z')).collect()
    });
    let mut number = (u64::from(tag) << 32) | index as u64;
    let mut bytes = BytesMut::with_capacity(len);
    for _ in 0..len.min(10) {
        bytes.put_u8(b'a' + (number % 26) as u8);
        number /= 26;
    }
    // Where the letters begin is another place for each, so that no part can stand for another.
    let mut from = index.wrapping_mul(40_503).wrapping_add(usize::from(tag)) % LETTERS_LEN;
    while bytes.len() < len {
        let letters = LETTERS.get(from..).unwrap_or_default();
        bytes.extend_from_slice(letters.get(..len - bytes.len()).unwrap_or(letters));
        from = 0;
    }
    bytes.freeze()
}

/// The lengths that are tried: the edges of length fields, buffers and of the transport itself.
pub(super) fn lengths<T: Transport>(transport: &T) -> Vec<usize> {
    let guarantees = transport.guarantees();
    let max = guarantees.max_message_len.min(MAX_LEN);
    let edges = [
        0, 1, 2, 3, 4, 125, 126, 127, 128, 255, 256, 257, 1_000, 1_400, 4_095, 4_096, 8_191, 8_192, 8_193,
        16_384, 16_385, 32_768, 65_507, 65_535, 65_536, 65_537, 131_072, 135_168, 262_145,
    ];
    let mut lengths: Vec<usize> = edges.into_iter().chain([max.saturating_sub(1), max]).collect();
    // A stream without boundaries has no empty message.
    let least = usize::from(!guarantees.preserves_messages);
    lengths.retain(|len| (least..=max).contains(len));
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Receives `expected` in its order, and not a byte of anything else before its end.
pub(super) async fn expect<T: Transport>(
    transport: &T,
    rx: &mut T::Receiver,
    expected: impl IntoIterator<Item = Bytes>,
) -> Verdict {
    let whole = transport.guarantees().preserves_messages;
    let mut stream = Bytes::new();
    for (index, expected) in expected.into_iter().enumerate() {
        let what = format!("receive message {index} of {} bytes", expected.len());
        if whole {
            match well(what, rx.recv()).await? {
                Some(got) => same(index, &got, &expected)?,
                None => return Err(format!("the end instead of message {index}").into()),
            }
            continue;
        }
        let mut rest = &expected[..];
        while !rest.is_empty() {
            if stream.is_empty() {
                stream = well(format!("receive bytes of message {index}"), rx.recv())
                    .await?
                    .ok_or_else(|| format!("the end inside message {index}"))?;
            }
            let part = stream.split_to(stream.len().min(rest.len()));
            let (now, later) = rest.split_at(part.len());
            ensure!(part == now, "other bytes than those sent, in message {index}");
            rest = later;
        }
    }
    ensure!(stream.is_empty(), "{} bytes more than were sent", stream.len());
    Ok(())
}

/// Compares a message with the one that should have come.
pub(super) fn same(index: usize, got: &[u8], expected: &[u8]) -> Verdict {
    if got == expected {
        return Ok(());
    }
    let differs = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    let (got, expected) = (got.len(), expected.len());
    Err(format!("message {index} of {expected} bytes came with {got}, and is another from byte {differs} on")
        .into())
}

/// Receives until the clean end, which is due now.
pub(super) async fn expect_end<T: Transport>(transport: &T, rx: &mut T::Receiver) -> Verdict {
    if !transport.guarantees().signals_end {
        return Ok(());
    }
    match well("the end, as the peer has finished", rx.recv()).await? {
        None => Ok(()),
        Some(message) => Err(format!("a message of {} bytes instead of the end", message.len()).into()),
    }
}

/// Sends over a transport that may lose: again and again, until `far` has it. Whatever comes is one of `sent`.
pub(super) async fn deliver<T: Transport>(
    transport: &T,
    tx: &mut T::Sender,
    rx: &mut T::Receiver,
    message: &Bytes,
    sent: &mut Vec<(Bytes, usize)>,
) -> Verdict {
    let duplicates = transport.guarantees().may_duplicate;
    sent.push((message.clone(), 0));
    let arrived = async {
        loop {
            well("send", tx.send(message.clone())).await?;
            if let Some(last) = sent.last_mut() {
                last.1 += 1;
            }
            let again = tokio::time::Instant::now() + AGAIN;
            while let Ok(got) = tokio::time::timeout_at(again, rx.recv()).await {
                let got = match got {
                    Ok(Some(got)) if got == GREETING => continue,
                    Ok(Some(got)) => got,
                    Ok(None) => return Err("the end, which nobody sent".into()),
                    Err(error) => return Err(format!("receive: {}", error.report()).into()),
                };
                let known =
                    sent.iter_mut().find(|(known, times)| *known == got && (*times > 0 || duplicates));
                let Some((_, times)) = known else {
                    return Err(
                        format!("{} bytes that nobody sent, or more often than sent", got.len()).into()
                    );
                };
                *times = times.saturating_sub(1);
                if got == *message {
                    return Ok(());
                }
            }
        }
    };
    soon("a message that is sent again and again", arrived).await?
}

/// Polls once with a waker of no effect.
pub(super) fn poll_once<O>(future: impl Future<Output = O>) -> Poll<O> {
    std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A waker that tells whether it was woken, and can be waited for.
#[derive(Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    notify: Notify,
}

impl Bell {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Tells whether it was woken since it was asked last.
    pub(super) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Waits until it has been woken.
    pub(super) async fn rung(&self) {
        while !self.take() {
            self.notify.notified().await;
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }
}
