//! What all sessions of one server or client share.

use std::sync::Arc;

use net_core::{Message, Observer};

use super::activity::Clock;
use crate::{Format, SessionConfig, auth::Access};

/// What all sessions of one server or client share.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: SessionConfig,
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
    /// Returns how long a payload may be: the limit of the transport counts what stands in front of it too.
    pub(super) fn max_payload_len(&self) -> usize {
        match self.config.format {
            Format::Message => self.max_message_len.saturating_sub(Message::HEAD_LEN),
            Format::Raw => self.max_message_len,
        }
    }

    /// Tells whether this side sends heartbeats and expects them.
    pub(crate) fn heartbeats(&self) -> bool {
        self.config.format == Format::Message
    }
}
