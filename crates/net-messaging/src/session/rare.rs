//! What few sessions have: attributes, an identity, a notice to go away.

use std::sync::OnceLock;

use net_core::GoAway;

use super::attributes::Attributes;
use crate::Identity;

/// What few sessions have; one that has none of it is smaller by all of it.
#[derive(Debug, Default)]
pub(super) struct Rare(OnceLock<Box<Held>>);

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) attributes: Attributes,
    pub(super) identity: OnceLock<Identity>,
    /// What the peer is told as soon as it is known.
    pub(super) notice: OnceLock<GoAway>,
    /// What the peer said when it asked to leave.
    pub(super) go_away: OnceLock<GoAway>,
}

impl Rare {
    /// Returns what there is, if anything.
    pub(super) fn get(&self) -> Option<&Held> {
        self.0.get().map(AsRef::as_ref)
    }

    /// Returns what there is, to add to it.
    pub(super) fn make(&self) -> &Held {
        self.0.get_or_init(Box::default)
    }
}
