//! Streams that have ended, of which the peer may not know all yet.

use std::collections::{HashMap, VecDeque};

use quinn::{RecvStream, SendStream, StreamId};

/// From how many streams on those are forgotten that the peer has acknowledged.
const MIN_KEPT: usize = 32;

/// Streams that were ended or dropped; the peer may not know all of them to their end yet.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) ended: VecDeque<SendStream>,
    /// Those that were reset.
    pub(super) cut: VecDeque<SendStream>,
    /// At how many those that the peer knows are forgotten.
    limit: usize,
    /// Those that were ended and are not dropped: their senders may ask for them.
    pub(super) held: HashMap<StreamId, SendStream>,
    pub(super) early: EarlyHalves,
}

/// Halves of streams that this client opened before its handshake was over, and dropped before it was known that the server
/// took them.
///
/// Where it does not, their numbers are given again, and quinn asks by the number: it would end the new stream, or forget
/// who waits for it as the old one is dropped. So they are left alone until the session is over.
#[derive(Default)]
pub(super) struct EarlyHalves {
    pub(super) ended: Vec<SendStream>,
    pub(super) unread: Vec<RecvStream>,
}

impl Kept {
    fn len(&self) -> usize {
        self.ended.len() + self.cut.len()
    }

    /// Keeps a stream that was ended, or `cut`.
    pub(super) fn keep(&mut self, mut stream: SendStream, cut: bool) {
        if cut {
            self.cut.push_back(stream);
        } else if !is_stopped(&mut stream) {
            self.ended.push_back(stream);
        }
        if self.len() >= self.limit.max(MIN_KEPT) {
            self.forget_acknowledged();
        }
    }

    /// Returns a stream of which the peer does not know the end.
    pub(super) fn waited_for(&mut self) -> Option<&SendStream> {
        self.ended.retain_mut(is_waited_for);
        let ended = self.ended.front();
        ended.or_else(|| self.held.values_mut().find_map(|stream| is_waited_for(stream).then_some(&*stream)))
    }

    /// Forgets what the peer knows, or does not want.
    fn forget_acknowledged(&mut self) {
        for streams in [&mut self.ended, &mut self.cut] {
            let before = streams.len();
            // Most are acknowledged in the order in which they ended, so that this looks at few that are not.
            while streams.front_mut().is_some_and(|stream| !is_waited_for(stream)) {
                streams.pop_front();
            }
            // One that takes long does not keep those behind it.
            if streams.len() > before - before / 4 {
                streams.retain_mut(is_waited_for);
            }
        }
        // So that each stream is looked at a few times on the average, however many are on their way.
        self.limit = self.len() * 2;
    }
}

/// quinn forgets a stream when the peer has all of it: it has no priority then.
pub(super) fn is_unacknowledged(stream: &SendStream) -> bool {
    stream.priority().is_ok()
}

/// Tells whether the peer wants no more of a stream that was ended, and stopped it before: it does not end then, and takes
/// the room of another one until it is reset, which quinn does as it is dropped (RFC 9000 §3.5).
fn is_stopped(ended: &mut SendStream) -> bool {
    // What has ended, or was reset, cannot end again.
    ended.finish().is_ok()
}

fn is_waited_for(stream: &mut SendStream) -> bool {
    is_unacknowledged(stream) && !is_stopped(stream)
}
