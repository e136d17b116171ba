//! Sessions that may have been heard once alone: who gives its place where all are taken.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{Key, Line};

/// Sessions that may have been heard once alone, oldest first.
///
/// Those that have left, or were heard again, stay among them until they are met or are as many as may be.
#[derive(Debug, Default)]
pub(super) struct Strangers(VecDeque<Arc<Line>>);

impl Strangers {
    /// Appends one that has begun. There are `sessions`, of which it is one, and never more than `max`.
    pub(super) fn push(&mut self, line: Arc<Line>, sessions: &HashMap<Key, Arc<Line>>, max: usize) {
        self.0.push_back(line);
        // A look at all of them comes after as many new ones as may stay, at the least.
        if self.0.len() > max.saturating_mul(2) {
            self.0.retain(|line| is_stranger(line, sessions));
        }
    }

    /// Takes out the oldest of `sessions` that was heard once alone.
    pub(super) fn pop(&mut self, sessions: &HashMap<Key, Arc<Line>>) -> Option<Arc<Line>> {
        loop {
            let oldest = self.0.pop_front()?;
            if is_stranger(&oldest, sessions) {
                return Some(oldest);
            }
        }
    }
}

/// Tells whether `line` is still one of `sessions`, and was not heard again; its peer may have another one since.
fn is_stranger(line: &Arc<Line>, sessions: &HashMap<Key, Arc<Line>>) -> bool {
    line.standing.is_stranger() && sessions.get(&line.key).is_some_and(|known| Arc::ptr_eq(known, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(port: u16) -> Arc<Line> {
        Arc::new(Line::new(Key { peer: ([192, 0, 2, 1], port).into(), local: None }, false, None))
    }

    #[test]
    fn a_peer_that_comes_and_goes_is_there_once_at_each_look() {
        let (mut strangers, mut sessions) = (Strangers::default(), HashMap::new());
        let mut looks = 0;
        for _ in 0..10_000 {
            let line = line(9);
            sessions.insert(line.key, line.clone());
            let before = strangers.0.len();
            strangers.push(line, &sessions, 10);
            assert!(strangers.0.len() <= 20);
            looks += usize::from(strangers.0.len() <= before);
        }
        assert!(looks <= 500, "{looks} looks, of which one is due for 20 that came");
        let oldest = strangers.pop(&sessions).expect("the one that is there");
        assert!(Arc::ptr_eq(&oldest, &sessions[&oldest.key]));
        assert!(strangers.pop(&sessions).is_none());
    }

    #[test]
    fn who_is_there_is_looked_at_once_for_as_many_as_come() {
        let (mut strangers, mut sessions) = (Strangers::default(), HashMap::new());
        let mut looks = 0;
        // All places but one are taken by those who stay; one peer comes again and again.
        for port in 0..9_u16 {
            let line = line(port);
            sessions.insert(line.key, line.clone());
            strangers.push(line, &sessions, 10);
        }
        for _ in 0..1_000 {
            let line = line(9);
            sessions.insert(line.key, line.clone());
            let before = strangers.0.len();
            strangers.push(line, &sessions, 10);
            looks += usize::from(strangers.0.len() <= before);
        }
        assert!(looks <= 100, "{looks} looks at all of them");
        assert!((0..9).all(|port| strangers.pop(&sessions).is_some_and(|line| line.key.peer.port() == port)));
    }
}
