//! What all sessions of one server or client share.

use std::sync::Arc;

use net_core::{Limits, Message, Observer};

use super::{activity::Clock, memory::Budget};
use crate::{Format, SessionConfig, auth::Access};

/// What all sessions of one server or client share.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: SessionConfig,
    pub(crate) limits: Limits,
    /// What all sessions hold together.
    pub(crate) budget: Budget,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) clock: Clock,
    pub(crate) max_message_len: usize,
    pub(crate) role: Role,
    pub(crate) access: Access,
}

/// Which side of a conversation a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

impl Settings {
    /// Settings of sessions over a transport that carries messages of at most `max_message_len`.
    pub(crate) fn new(
        config: SessionConfig,
        limits: &Limits,
        observer: Option<Arc<dyn Observer>>,
        max_message_len: usize,
        role: Role,
    ) -> Self {
        Self {
            config,
            limits: *limits,
            budget: Budget::new(limits.memory_budget),
            observer,
            clock: Clock::start(),
            max_message_len: max_message_len.min(limits.max_message_len.unwrap_or(usize::MAX)),
            role,
            access: Access::default(),
        }
    }

    /// Sets who is let in, and how much each may ask.
    pub(crate) fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Returns how long a payload may be: the limit of the transport counts what stands in front of it too.
    pub(super) fn max_payload_len(&self) -> usize {
        match self.config.format {
            Format::Message => self.max_message_len.saturating_sub(Message::HEAD_LEN),
            Format::Raw => self.max_message_len,
        }
    }

    /// Returns the settings of a session of a test.
    #[cfg(test)]
    pub(crate) fn of_test() -> Arc<Self> {
        Arc::new(Self::new(SessionConfig::default(), &Limits::default(), None, 1 << 20, Role::Server))
    }

    /// Tells whether this side sends heartbeats and expects them.
    pub(crate) fn heartbeats(&self) -> bool {
        self.config.format == Format::Message
    }
}
