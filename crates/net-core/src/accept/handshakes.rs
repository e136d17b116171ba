//! The handshakes that run for the listeners of a server: who may begin one, who gives way to it, and which take too long.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{AddressGroup, Admission, Prefix};
use crate::{Address, Error, ErrorKind, Limit, Result};

/// The handshakes that run for all listeners under one admission.
///
/// Who runs one asks before each step whether it is still among them: to take it out, and to wake its task, ends it.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<Running>);

/// One listener among those that share their handshakes' limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListenerNumber(u64);

#[derive(Debug, Default)]
struct Running {
    /// Oldest first, and so by their numbers.
    entries: VecDeque<Entry>,
    begun: u64,
    listeners: u64,
    /// Who waits until a listener has none.
    waiting: Vec<(ListenerNumber, Waker)>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    listener: ListenerNumber,
    began: Instant,
    peer: Address,
    prefix: Option<Prefix>,
    /// It has succeeded, and its connection is being given.
    succeeded: bool,
    /// The task that runs it, once it has waited.
    task: Option<Waker>,
}

/// The place of one handshake among those that run; dropped before it has succeeded, it is a handshake that was cut.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    number: u64,
}

impl Handshakes {
    /// Returns the number of a listener that joins in.
    pub(super) fn join(&self) -> ListenerNumber {
        let mut running = self.running();
        running.listeners += 1;
        ListenerNumber(running.listeners)
    }

    /// Returns how many run for `listener`.
    pub(super) fn len(&self, listener: ListenerNumber) -> usize {
        self.running().entries.iter().filter(|entry| entry.listener == listener).count()
    }

    /// Begins one of `listener` with `peer`; `None` where the prefix or the site of its address has its share already.
    pub(super) fn begin(
        admission: &Arc<Admission>,
        listener: ListenerNumber,
        peer: &Address,
    ) -> Option<Place> {
        let max = admission.limits().max_handshakes;
        let prefix = peer.ip().and_then(Prefix::of);
        let mut running = admission.handshakes().running();
        let is_full = |group: AddressGroup| {
            let held = running.entries.iter().filter(|one| one.prefix.is_some_and(|of| group.counts(of)));
            held.count() >= group.share_of_handshakes(max)
        };
        if prefix.into_iter().flat_map(AddressGroup::all).any(is_full) {
            drop(running);
            admission.observe(|observer| observer.rejected(peer, Limit::HandshakesPerPrefix));
            return None;
        }
        let is_full = running.entries.len() >= max;
        let (oldest, waiting) = if is_full { running.remove_oldest(|_| true) } else { (None, None) };
        let number = running.begun;
        running.begun += 1;
        let began = Instant::now();
        running.entries.push_back(Entry {
            number,
            listener,
            began,
            peer: peer.clone(),
            prefix,
            succeeded: false,
            task: None,
        });
        drop(running);
        waiting.into_iter().for_each(Waker::wake);
        admission.observe(|observer| observer.accepted(peer));
        if let Some(oldest) = oldest {
            let error = Error::new(ErrorKind::LimitReached, "handshake").because(Limit::Handshakes.as_str());
            oldest.end(admission, &error);
        }
        Some(Place { admission: admission.clone(), number })
    }

    /// Ends those that have taken longer than they may.
    pub(super) fn expire(&self, admission: &Admission) {
        let Some(begun_by) = Instant::now().checked_sub(admission.limits().handshake_timeout) else { return };
        while let Some(late) = self.take(|running| running.remove_oldest(|entry| entry.began <= begun_by)) {
            late.end(admission, &Error::new(ErrorKind::TimedOut, "handshake"));
        }
    }

    /// Ends all of `listener`, since it is dropped.
    pub(super) fn cut(&self, admission: &Admission, listener: ListenerNumber) {
        while let Some(entry) = self.take(|running| running.remove_of(listener)) {
            admission.cut_handshake(&entry.peer);
            entry.wake();
        }
    }

    /// Waits until `listener` has none.
    pub(super) fn poll_none(&self, listener: ListenerNumber, cx: &mut Context<'_>) -> Poll<()> {
        let mut running = self.running();
        running.waiting.retain(|(waiting, _)| *waiting != listener);
        if !running.has_any(listener) {
            return Poll::Ready(());
        }
        running.waiting.push((listener, cx.waker().clone()));
        Poll::Pending
    }

    /// Takes one out, and wakes who waits where its listener has none left; nobody is woken or told anything while it is
    /// locked.
    fn take(&self, remove: impl FnOnce(&mut Running) -> (Option<Entry>, Option<Waker>)) -> Option<Entry> {
        let (taken, waiting) = remove(&mut self.running());
        waiting.into_iter().for_each(Waker::wake);
        taken
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn position(&self, number: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&number, |entry| entry.number).ok()
    }

    fn get(&mut self, number: u64) -> Option<&mut Entry> {
        let position = self.position(number)?;
        self.entries.get_mut(position)
    }

    fn has_any(&self, listener: ListenerNumber) -> bool {
        self.entries.iter().any(|entry| entry.listener == listener)
    }

    fn remove(&mut self, number: u64) -> (Option<Entry>, Option<Waker>) {
        self.remove_at(self.position(number))
    }

    /// Removes the oldest one that runs yet, where `matches` says so.
    fn remove_oldest(&mut self, matches: impl FnOnce(&Entry) -> bool) -> (Option<Entry>, Option<Waker>) {
        let oldest = self.entries.iter().position(|entry| !entry.succeeded);
        self.remove_at(oldest.filter(|&at| self.entries.get(at).is_some_and(matches)))
    }

    /// Removes the oldest one of `listener` that runs yet.
    fn remove_of(&mut self, listener: ListenerNumber) -> (Option<Entry>, Option<Waker>) {
        self.remove_at(self.entries.iter().position(|entry| entry.listener == listener && !entry.succeeded))
    }

    /// Removes the one at `position`, and gives who waits where its listener has none left.
    fn remove_at(&mut self, position: Option<usize>) -> (Option<Entry>, Option<Waker>) {
        let Some(entry) = position.and_then(|position| self.entries.remove(position)) else {
            return (None, None);
        };
        let waiting = self.waiting.iter().position(|(listener, _)| *listener == entry.listener);
        let waiting = waiting.filter(|_| !self.has_any(entry.listener));
        let waiting = waiting.map(|position| self.waiting.swap_remove(position).1);
        (Some(entry), waiting)
    }
}

impl Entry {
    fn end(self, admission: &Admission, error: &Error) {
        admission.observe(|observer| observer.handshake_failed(&self.peer, error));
        self.wake();
    }

    fn wake(self) {
        if let Some(task) = self.task {
            task.wake();
        }
    }
}

impl Place {
    /// Returns how long the handshake may take by a timer of its own; `None` where a sweep sees to it.
    pub(super) fn timeout(&self) -> Option<Duration> {
        (!self.admission.is_swept()).then_some(self.admission.limits().handshake_timeout)
    }

    /// Tells whether the handshake still has its place; the task is woken when it loses it.
    pub(super) fn is_held(&self, cx: &mut Context<'_>) -> bool {
        let mut running = self.admission.handshakes().running();
        let Some(entry) = running.get(self.number) else { return false };
        match &mut entry.task {
            Some(task) => task.clone_from(cx.waker()),
            task => *task = Some(cx.waker().clone()),
        }
        true
    }

    /// Ends the handshake; `None`: it has failed, or lost its place meanwhile, and the observer knows.
    ///
    /// One that has succeeded keeps its place until this is dropped, so that a listener which closes waits for it.
    pub(super) fn end<T>(&self, ended: Result<T>) -> Option<T> {
        match ended {
            Ok(output) => {
                self.admission.handshakes().running().get(self.number)?.succeeded = true;
                Some(output)
            }
            Err(error) => {
                let entry = self.admission.handshakes().take(|running| running.remove(self.number))?;
                entry.end(&self.admission, &error);
                None
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let entry = self.admission.handshakes().take(|running| running.remove(self.number));
        let Some(entry) = entry.filter(|entry| !entry.succeeded) else { return };
        if thread::panicking() {
            let error = Error::new(ErrorKind::Io, "handshake").because("it panicked");
            entry.end(&self.admission, &error);
        } else {
            self.admission.cut_handshake(&entry.peer);
        }
    }
}
