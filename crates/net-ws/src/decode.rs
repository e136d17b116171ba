//! From bytes to messages: what frames of a connection mean together. No I/O, no clock.

use bytes::{Buf, Bytes};
use net_core::framed::ReadBuffer;

use crate::{
    CloseFrame, Fragment, Kind, WsConfig,
    deflate::{DeflateInfo, Inflater},
    error::ProtocolError,
    frame::{Head, MAX_CONTROL_LEN, Opcode, Parsed, Plain, apply},
    utf8::Utf8,
};

/// Which side of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has sent the request.
    Client,
    /// It has answered it.
    Server,
}

/// The payload of a control frame.
#[derive(Clone, Copy)]
pub(crate) struct ControlPayload {
    bytes: [u8; MAX_CONTROL_LEN],
    len: usize,
}

impl ControlPayload {
    pub(crate) fn new(payload: &[u8]) -> Self {
        let mut bytes = [0; MAX_CONTROL_LEN];
        let len = payload.len().min(MAX_CONTROL_LEN);
        for (byte, from) in bytes.iter_mut().zip(payload) {
            *byte = *from;
        }
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for ControlPayload {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What was found in the input.
pub(crate) enum Step {
    /// So many bytes more are needed at least.
    Missing(usize),
    Message(Kind, Bytes),
    Fragment(Fragment),
    Ping(ControlPayload),
    Pong(ControlPayload),
    Close(Option<CloseFrame>),
}

/// Finds messages in what one connection receives.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Clients mask, servers do not.
    masked: bool,
    max_frame_len: usize,
    max_message_len: usize,
    /// The longest frame follows the longest message.
    frame_follows: bool,
    max_fragments: usize,
    /// The frame at the start of the input, where its head is known and more is needed.
    front: Option<Front>,
    /// The length of the frame at the start of the input that was shown, its payload unmasked; 0: none was.
    shown: usize,
    shown_head_len: usize,
    shown_kind: Kind,
    /// The message that has begun.
    begun: Option<Box<Begun>>,
    inflater: Option<Box<Inflater>>,
    /// The length of the last message's frame.
    stride: usize,
    /// What was found to be wrong where it could not be told.
    wrong: Option<ProtocolError>,
}

/// A frame of which a part has arrived.
#[derive(Debug)]
struct Front {
    head: Head,
    head_len: usize,
    /// How much of its payload is unmasked, and looked at where it is text.
    clear: usize,
    /// Text that has begun in this frame; of a message that has begun before, it stands there.
    utf8: Utf8,
}

/// A message of which some fragments have arrived.
#[derive(Debug)]
struct Begun {
    kind: Kind,
    compressed: bool,
    /// How many have arrived; of those that are given one by one, the last alone counts.
    fragments: usize,
    /// A fragment was given, so that there is no whole message to give.
    given: bool,
    utf8: Utf8,
    payload: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(role: Role, config: &WsConfig, agreed: Option<DeflateInfo>) -> Self {
        Self {
            masked: role == Role::Server,
            max_frame_len: config.frame_limit(),
            max_message_len: config.max_message_len,
            frame_follows: config.max_frame_len.is_none(),
            max_fragments: config.fragment_limit(),
            front: None,
            shown: 0,
            shown_head_len: 0,
            shown_kind: Kind::Binary,
            begun: None,
            inflater: agreed.map(|agreed| Box::new(Inflater::new(agreed))),
            stride: 0,
            wrong: None,
        }
    }

    /// Returns the length of the last message's frame.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Tells whether a message in fragments has begun.
    pub(crate) fn is_inside(&self) -> bool {
        self.begun.is_some()
    }

    /// Returns how much has arrived of a message in fragments.
    pub(crate) fn begun_len(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.payload.len())
    }

    /// Returns how much memory is held of a message in fragments, and of what was received before to decompress the next one.
    pub(crate) fn held_len(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.payload.capacity())
            + self.inflater.as_ref().map_or(0, |inflater| inflater.held_len())
    }

    /// Sets the longest message; returns what it was before.
    pub(crate) fn limit_message_len(&mut self, max: usize) -> usize {
        if self.frame_follows {
            self.max_frame_len = max;
        }
        std::mem::replace(&mut self.max_message_len, max)
    }

    /// Shows the message that `input` begins with, where it is a whole frame and nothing has to be done but to take its mask
    /// off, which is done in place.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    pub(crate) fn peek<'i>(&mut self, input: &'i mut ReadBuffer) -> Option<(Kind, &'i [u8])> {
        let rest = input.unread_mut();
        if self.shown == 0 {
            if self.front.is_some() || self.begun.is_some() || self.wrong.is_some() {
                return None;
            }
            let plain = Plain::find(rest, self.masked)?;
            if plain.payload_len > self.max_frame_len.min(self.max_message_len) {
                return None;
            }
            let frame_len = plain.head_len + plain.payload_len;
            let payload = rest.get_mut(plain.head_len..frame_len)?;
            if let Some(key) = plain.key {
                apply(key, payload);
            }
            if plain.kind == Kind::Text && std::str::from_utf8(payload).is_err() {
                self.wrong = Some(ProtocolError::NotUtf8);
                return None;
            }
            self.shown = frame_len;
            self.shown_head_len = plain.head_len;
            self.shown_kind = plain.kind;
        }
        Some((self.shown_kind, rest.get(self.shown_head_len..self.shown)?))
    }

    /// Takes the message that was shown.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    pub(crate) fn consume(&mut self, input: &mut ReadBuffer) {
        if self.shown > 0 {
            input.consume(self.shown);
            self.stride = self.shown;
            self.shown = 0;
        }
    }

    /// Takes the message that `input` begins with, where it needs nothing but its mask taken off.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    pub(crate) fn next_plain(&mut self, input: &mut ReadBuffer) -> Option<(Kind, Bytes)> {
        let (kind, _) = self.peek(input)?;
        let mut frame = input.bytes_mut().split_to(self.shown);
        frame.advance(self.shown_head_len);
        self.stride = self.shown;
        self.shown = 0;
        Some((kind, frame.freeze()))
    }

    /// Finds what `input` begins with, in `fragments` where these are to be given one by one.
    pub(crate) fn next(&mut self, input: &mut ReadBuffer, fragments: bool) -> Result<Step, ProtocolError> {
        loop {
            if let Some(wrong) = self.wrong {
                return Err(wrong);
            }
            if self.shown > 0 {
                // Shown, and then asked for as it is.
                if let Some((kind, payload)) = self.next_plain(input) {
                    return Ok(step(kind, payload, fragments));
                }
            }
            let front = match self.front.take() {
                Some(front) => front,
                None => match Head::parse(input.unread(), self.inflater.is_some())? {
                    Parsed::Missing(missing) => return Ok(Step::Missing(missing)),
                    Parsed::Whole(head, head_len) => {
                        self.admit(&head)?;
                        Front { head, head_len, clear: 0, utf8: Utf8::default() }
                    }
                },
            };
            if let Some(step) = self.advance(input, front, fragments)? {
                return Ok(step);
            }
        }
    }

    /// Refuses a frame by its head, before any of its payload takes memory.
    fn admit(&self, head: &Head) -> Result<(), ProtocolError> {
        // "The server MUST close the connection upon receiving a frame that is not masked." "A client MUST close a connection
        // if it detects a masked frame." Source: RFC 6455 §5.1.
        match (self.masked, head.key) {
            (true, None) => return Err(ProtocolError::Unmasked),
            (false, Some(_)) => return Err(ProtocolError::Masked),
            _ => {}
        }
        let compressed = match (head.opcode, &self.begun) {
            (Opcode::Data(_), Some(_)) => return Err(ProtocolError::Interleaved),
            (Opcode::Continuation, None) => return Err(ProtocolError::Continuation),
            (Opcode::Data(_), None) => head.compressed,
            (Opcode::Continuation, Some(begun)) => {
                if begun.fragments >= self.max_fragments {
                    return Err(ProtocolError::TooManyFragments { max: self.max_fragments });
                }
                begun.compressed
            }
            _ => return Ok(()),
        };
        // What cannot be compressed becomes longer, by a twenty-fifth where zlib has little memory; how much comes out is seen
        // as it does.
        let slack = if compressed { self.max_message_len / 16 + 64 } else { 0 };
        let begun = self.begun.as_ref().filter(|_| !compressed).map_or(0, |begun| begun.payload.len());
        let message = self.max_message_len.saturating_sub(begun).saturating_add(slack);
        let max = if self.frame_follows { message } else { message.min(self.max_frame_len) };
        if head.payload_len > max as u64 {
            let len = head.payload_len.saturating_add(begun as u64);
            return Err(ProtocolError::TooLong { len, max: self.max_message_len.min(self.max_frame_len) });
        }
        Ok(())
    }

    /// Does with the frame `front` what can be done with what has arrived of it. `None`: it is done with, and gave nothing.
    fn advance(
        &mut self,
        input: &mut ReadBuffer,
        mut front: Front,
        fragments: bool,
    ) -> Result<Option<Step>, ProtocolError> {
        let Front { head, head_len, clear, .. } = front;
        // Its head was admitted: it fits.
        let payload_len = usize::try_from(head.payload_len).unwrap_or(usize::MAX);
        let rest = input.unread_mut();
        let arrived = rest.len().saturating_sub(head_len).min(payload_len);
        let new = rest.get_mut(head_len + clear..head_len + arrived).unwrap_or_default();
        if let Some(key) = head.key {
            apply(key.after(clear), new);
        }
        let text = match (head.opcode, &mut self.begun) {
            (Opcode::Data(Kind::Text), _) if !head.compressed => Some(&mut front.utf8),
            (Opcode::Continuation, Some(begun)) if begun.kind == Kind::Text && !begun.compressed => {
                Some(&mut begun.utf8)
            }
            _ => None,
        };
        if let Some(utf8) = text {
            // Text is looked at as it arrives, so that what is wrong is told before the rest of the frame is there.
            utf8.feed(new).map_err(|_| ProtocolError::NotUtf8)?;
        }
        front.clear = arrived;
        if arrived < payload_len {
            self.front = Some(front);
            return Ok(Some(Step::Missing(payload_len - arrived)));
        }
        let frame_len = head_len + payload_len;
        let payload = rest.get(head_len..frame_len).unwrap_or_default();
        match head.opcode {
            Opcode::Ping => {
                let payload = ControlPayload::new(payload);
                input.consume(frame_len);
                Ok(Some(Step::Ping(payload)))
            }
            Opcode::Pong => {
                let payload = ControlPayload::new(payload);
                input.consume(frame_len);
                Ok(Some(Step::Pong(payload)))
            }
            Opcode::Close => {
                let frame = CloseFrame::decode(payload)?;
                input.consume(frame_len);
                Ok(Some(Step::Close(frame)))
            }
            Opcode::Data(kind) if head.last && !head.compressed => {
                front.utf8.finish().map_err(|_| ProtocolError::NotUtf8)?;
                self.stride = frame_len;
                Ok(Some(step(kind, take(input, head_len, frame_len), fragments)))
            }
            Opcode::Data(kind) => {
                self.begun = Some(Box::new(Begun {
                    kind,
                    compressed: head.compressed,
                    fragments: 0,
                    given: false,
                    utf8: front.utf8,
                    payload: Vec::new(),
                }));
                self.continued(input, &front, fragments)
            }
            Opcode::Continuation => self.continued(input, &front, fragments),
        }
    }

    /// Takes a whole fragment of the message that has begun.
    fn continued(
        &mut self,
        input: &mut ReadBuffer,
        front: &Front,
        fragments: bool,
    ) -> Result<Option<Step>, ProtocolError> {
        let Some(mut begun) = self.begun.take() else { return Err(ProtocolError::Continuation) };
        let Front { head, head_len, clear: payload_len, .. } = *front;
        let (first, last) = (begun.fragments == 0, head.last);
        begun.fragments += 1;
        let frame_len = head_len + payload_len;
        let payload = input.unread().get(head_len..frame_len).unwrap_or_default();
        let kind = begun.kind;
        let before = begun.payload.len();
        if begun.compressed {
            let inflater = self.inflater.as_mut().ok_or(ProtocolError::ReservedBits)?;
            inflater.inflate(payload, (first, last), &mut begun.payload, self.max_message_len)?;
            if kind == Kind::Text {
                let new = begun.payload.get(before..).unwrap_or_default();
                begun.utf8.feed(new).map_err(|_| ProtocolError::NotUtf8)?;
            }
        } else if !begun.given && (!fragments || before > 0) {
            begun.payload.extend_from_slice(payload);
        }
        if last {
            begun.utf8.finish().map_err(|_| ProtocolError::NotUtf8)?;
        }
        if fragments {
            let payload = if begun.compressed || before > 0 {
                input.consume(frame_len);
                std::mem::take(&mut begun.payload).into()
            } else {
                take(input, head_len, frame_len)
            };
            if !last {
                (begun.given, begun.fragments) = (true, 1);
                self.begun = Some(begun);
            }
            return Ok(Some(Step::Fragment(Fragment { kind, payload, last })));
        }
        input.consume(frame_len);
        if begun.given {
            begun.payload.clear();
            begun.fragments = 1;
            if !last {
                self.begun = Some(begun);
            }
            return Ok(None);
        }
        if last {
            self.stride = if first { frame_len } else { 0 };
            return Ok(Some(Step::Message(kind, begun.payload.into())));
        }
        self.begun = Some(begun);
        Ok(None)
    }
}

/// Takes the frame that `input` begins with, without its head.
fn take(input: &mut ReadBuffer, head_len: usize, frame_len: usize) -> Bytes {
    let mut frame = input.bytes_mut().split_to(frame_len);
    frame.advance(head_len);
    frame.freeze()
}

fn step(kind: Kind, payload: Bytes, fragments: bool) -> Step {
    if fragments {
        Step::Fragment(Fragment { kind, payload, last: true })
    } else {
        Step::Message(kind, payload)
    }
}
