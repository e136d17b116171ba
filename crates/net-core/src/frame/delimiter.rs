//! A delimiter behind each message: lines, or any other mark.

use std::{fmt, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem::Finder};

use super::{Decoded, FrameError, Framing, check_len};

/// A delimiter behind each message: lines, or any other mark.
///
/// ```text
/// +---------+----+         +---------+-----------+
/// | message | LF |    or   | message | delimiter |
/// +---------+----+         +---------+-----------+
/// ```
///
/// A message longer than the limit is an error, never a cut message; the delimiter is not counted. A message that
/// contains its delimiter, or that would be cut short because of it, is refused on sending. Input is looked at once,
/// however many reads it takes for the delimiter to arrive.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{Decoded, Delimiter, Framing};
///
/// let mut lines = Delimiter::lines();
/// let mut wire = BytesMut::from("one\r\ntwo\nthr");
/// assert_eq!(lines.decode(&mut wire)?, Decoded::Message("one".into()));
/// assert_eq!(lines.decode(&mut wire)?, Decoded::Message("two".into()));
/// assert_eq!(lines.decode(&mut wire)?, Decoded::Incomplete { missing: 1 });
/// # Ok::<(), net_core::frame::FrameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Delimiter {
    mark: Mark,
    max: usize,
    unterminated: bool,
    /// How many bytes of the input are known not to be the start of a delimiter.
    scanned: usize,
}

/// What ends a message.
#[derive(Clone)]
enum Mark {
    /// LF, with or without a CR before it; `crlf` tells which of the two is sent.
    Line {
        crlf: bool,
    },
    Byte(u8),
    /// At least two bytes; the searcher is built once and shared by all clones.
    Bytes(Arc<Finder<'static>>),
}

impl Delimiter {
    /// The limit unless set: 4096 bytes.
    pub const DEFAULT_MAX_MESSAGE_LEN: usize = 4096;

    fn with_mark(mark: Mark) -> Self {
        Self { mark, max: Self::DEFAULT_MAX_MESSAGE_LEN, unterminated: false, scanned: 0 }
    }

    /// Creates a framing of lines: they end in LF or CRLF when received, and in LF when sent.
    pub fn lines() -> Self {
        Self::with_mark(Mark::Line { crlf: false })
    }

    /// Creates a framing of lines: they end in LF or CRLF when received, and in CRLF when sent.
    pub fn crlf_lines() -> Self {
        Self::with_mark(Mark::Line { crlf: true })
    }

    /// Creates a framing of messages that end in one `byte`.
    pub fn byte(byte: u8) -> Self {
        Self::with_mark(Mark::Byte(byte))
    }

    /// Creates a framing of messages that end in `delimiter`; `None` where that is empty.
    pub fn new(delimiter: &[u8]) -> Option<Self> {
        match delimiter {
            [] => None,
            [byte] => Some(Self::byte(*byte)),
            bytes => Some(Self::with_mark(Mark::Bytes(Arc::new(Finder::new(bytes).into_owned())))),
        }
    }

    /// Sets the length of the longest message, in bytes, the delimiter not counted.
    #[must_use]
    pub fn with_max_message_len(self, max: usize) -> Self {
        Self { max, ..self }
    }

    /// Sets whether the end of the stream ends a message too; unless set, it is an error inside a message.
    #[must_use]
    pub fn with_unterminated(self, allowed: bool) -> Self {
        Self { unterminated: allowed, ..self }
    }

    /// Returns the delimiter as it is sent.
    pub fn delimiter(&self) -> &[u8] {
        self.mark.as_bytes()
    }

    /// Tells whether messages are lines, for which CRLF and LF are the same.
    pub fn is_lines(&self) -> bool {
        matches!(self.mark, Mark::Line { .. })
    }

    fn too_long(&self, len: usize) -> FrameError {
        FrameError::TooLong { len: len as u64, max: self.max }
    }
}

impl Framing for Delimiter {
    fn max_message_len(&self) -> usize {
        self.max
    }

    fn set_max_message_len(&mut self, max: usize) {
        self.max = max;
    }

    fn encode_prefix(&self, head: &[u8], body: &[u8], _: &mut BytesMut) -> Result<usize, FrameError> {
        check_len(head, body, self.max)?;
        match self.mark.inside(head, body) {
            None => Ok(0),
            Some(at) => Err(FrameError::ContainsDelimiter { at }),
        }
    }

    fn encode_suffix(&self, out: &mut BytesMut) {
        out.extend_from_slice(self.mark.as_bytes());
    }

    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
        // Where the delimiter stands no further than the limit allows, it ends within these bytes.
        let seen = input.len().min(self.max.saturating_add(self.mark.longest()));
        let from = self.scanned.min(seen);
        let window = input.get(..seen).unwrap_or_default();
        let Some(found) = window.get(from..).and_then(|rest| self.mark.find(rest)) else {
            // What may still become a part of the delimiter is not yet a part of the message.
            let sure = seen - self.mark.undecided(window);
            if sure > self.max {
                return Err(self.too_long(sure));
            }
            self.scanned = seen - (self.mark.len() - 1).min(seen);
            return Ok(Decoded::Incomplete { missing: 1 });
        };
        let at = from + found;
        let len = at - self.mark.stripped(window.get(..at).unwrap_or_default());
        if len > self.max {
            return Err(self.too_long(len));
        }
        self.scanned = 0;
        let message = input.split_to(len).freeze();
        input.advance(at + self.mark.len() - len);
        Ok(Decoded::Message(message))
    }

    fn decode_end(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        if let Decoded::Message(message) = self.decode(input)? {
            return Ok(Some(message));
        }
        if input.is_empty() {
            return Ok(None);
        }
        if !self.unterminated {
            return Err(FrameError::UnexpectedEnd { got: input.len() });
        }
        // A CR at the very end is the first half of a CRLF that was cut.
        let len = input.len() - self.mark.stripped(input);
        if len > self.max {
            return Err(self.too_long(len));
        }
        self.scanned = 0;
        let message = input.split_to(len).freeze();
        input.clear();
        Ok(Some(message))
    }
}

impl Mark {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Line { crlf: false } => b"\n",
            Self::Line { crlf: true } => b"\r\n",
            Self::Byte(byte) => std::slice::from_ref(byte),
            Self::Bytes(finder) => finder.needle(),
        }
    }

    /// The length of what [`find`](Self::find) finds.
    fn len(&self) -> usize {
        match self {
            Self::Line { .. } | Self::Byte(_) => 1,
            Self::Bytes(finder) => finder.needle().len(),
        }
    }

    /// How many bytes at the most stand between the end of a message and the end of its delimiter.
    fn longest(&self) -> usize {
        match self {
            Self::Line { .. } => 2,
            other => other.len(),
        }
    }

    fn find(&self, input: &[u8]) -> Option<usize> {
        match self {
            Self::Line { .. } => memchr(b'\n', input),
            Self::Byte(byte) => memchr(*byte, input),
            Self::Bytes(finder) => finder.find(input),
        }
    }

    /// How many bytes at the end of `line`, which stands before the delimiter, belong to the delimiter.
    fn stripped(&self, line: &[u8]) -> usize {
        usize::from(matches!(self, Self::Line { .. }) && line.ends_with(b"\r"))
    }

    /// How many bytes at the end of `input` may be the start of a delimiter.
    fn undecided(&self, input: &[u8]) -> usize {
        match self {
            Self::Bytes(finder) => {
                let needle = finder.needle();
                (1..needle.len())
                    .rev()
                    .find(|len| needle.get(..*len).is_some_and(|start| input.ends_with(start)))
                    .unwrap_or(0)
            }
            other => other.stripped(input),
        }
    }

    /// Finds where in the message `head` + `body` a receiver would see its delimiter too early.
    fn inside(&self, head: &[u8], body: &[u8]) -> Option<usize> {
        if let Some(at) = self.find(head).or_else(|| self.find(body).map(|at| head.len() + at)) {
            return Some(at);
        }
        let last = body.last().or_else(|| head.last());
        match self {
            // The receiver would strip the CR with the delimiter.
            Self::Line { crlf: false } if last == Some(&b'\r') => Some(head.len() + body.len() - 1),
            Self::Line { .. } | Self::Byte(_) => None,
            Self::Bytes(finder) => {
                // Across the joint of the two parts, and across the end: "ab" + "aba" begins with "aba".
                let needle = finder.needle();
                let (joint, end) = (head.len(), head.len() + body.len());
                let overlap = needle.len() - 1;
                let starts = joint.saturating_sub(overlap)..joint;
                starts.chain(end.saturating_sub(overlap)..end).find(|start| {
                    let wire = head.iter().chain(body).chain(needle).skip(*start);
                    wire.take(needle.len()).eq(needle)
                })
            }
        }
    }
}

/// Two are the same where their settings are; what one has learnt of an incomplete message is none.
impl PartialEq for Delimiter {
    fn eq(&self, other: &Self) -> bool {
        (&self.mark, self.max, self.unterminated) == (&other.mark, other.max, other.unterminated)
    }
}

impl Eq for Delimiter {}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        matches!(self, Self::Line { .. }) == matches!(other, Self::Line { .. })
            && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Mark {}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(framing: &mut Delimiter, wire: &[u8]) -> Result<Vec<Bytes>, FrameError> {
        let mut input = BytesMut::new();
        let mut messages = Vec::new();
        for byte in wire {
            input.extend_from_slice(&[*byte]);
            while let Decoded::Message(message) = framing.decode(&mut input)? {
                messages.push(message);
            }
        }
        while let Some(message) = framing.decode_end(&mut input)? {
            messages.push(message);
        }
        Ok(messages)
    }

    #[test]
    fn s4_lines_end_in_lf_or_crlf() {
        let lines = split(&mut Delimiter::lines(), b"a\nb\r\n\n\r\nc\rd\r\r\n");
        assert_eq!(lines, Ok(["a", "b", "", "", "c\rd\r"].map(Bytes::from).to_vec()));
    }

    #[test]
    fn s4_the_delimiter_may_be_split_over_reads() {
        let mut framing = Delimiter::new(b"--x").expect("not empty");
        let messages = split(&mut framing, b"a--x---x-b--x--x");
        assert_eq!(messages, Ok(["a", "-", "-b", ""].map(Bytes::from).to_vec()));
    }

    #[test]
    fn s4_a_message_over_the_limit_is_an_error_before_its_delimiter_arrives() {
        for mut framing in
            [Delimiter::lines(), Delimiter::byte(0), Delimiter::new(b"abc").expect("not empty")]
        {
            framing = framing.with_max_message_len(4);
            let error = Err(FrameError::TooLong { len: 5, max: 4 });
            assert_eq!(split(&mut framing.clone(), b"12345"), error, "{framing:?}");
            // The limit itself, with each kind of end.
            let mut wire = b"1234".to_vec();
            wire.extend_from_slice(framing.delimiter());
            assert_eq!(split(&mut framing, &wire), Ok(vec!["1234".into()]));
        }
        let mut lines = Delimiter::lines().with_max_message_len(4);
        assert_eq!(split(&mut lines.clone(), b"1234\r\n"), Ok(vec!["1234".into()]));
        assert_eq!(split(&mut lines.clone(), b"1234\r5"), Err(FrameError::TooLong { len: 6, max: 4 }));
        let mut whole = BytesMut::from(&b"12345\n"[..]);
        assert_eq!(lines.decode(&mut whole), Err(FrameError::TooLong { len: 5, max: 4 }));
    }

    #[test]
    fn s4_an_unterminated_last_line_is_an_error_unless_allowed() {
        let lines = Delimiter::lines();
        assert_eq!(split(&mut lines.clone(), b"a\nbc"), Err(FrameError::UnexpectedEnd { got: 2 }));
        let mut allowed = lines.with_unterminated(true).with_max_message_len(2);
        assert_eq!(split(&mut allowed, b"a\nbc\r"), Ok(vec!["a".into(), "bc".into()]));
    }

    #[test]
    fn what_would_not_arrive_as_it_was_sent_is_refused() {
        let refused = |framing: &Delimiter, head: &[u8], body: &[u8]| {
            let mut out = BytesMut::new();
            let result = framing.encode_prefix(head, body, &mut out);
            assert!(out.is_empty());
            match result {
                Ok(_) => None,
                Err(FrameError::ContainsDelimiter { at }) => Some(at),
                Err(other) => panic!("{other}"),
            }
        };
        let lines = Delimiter::lines();
        assert_eq!(refused(&lines, b"a", b"b\nc"), Some(2));
        assert_eq!(refused(&lines, b"a", b"b\r"), Some(2));
        assert_eq!(refused(&lines, b"a\r", b""), Some(1));
        assert_eq!(refused(&lines, b"a\r", b"b"), None);
        assert_eq!(refused(&Delimiter::crlf_lines(), b"a\r", b""), None);
        let aba = Delimiter::new(b"aba").expect("not empty");
        assert_eq!(refused(&aba, b"", b"xaba"), Some(1));
        assert_eq!(refused(&aba, b"xa", b"ba"), Some(1));
        assert_eq!(refused(&aba, b"a", b"b"), Some(0), "ab + aba begins with aba");
        assert_eq!(refused(&aba, b"ba", b"bb"), None);
    }

    #[test]
    fn input_is_scanned_once() {
        let mut lines = Delimiter::lines();
        let mut input = BytesMut::from(&b"abc"[..]);
        assert_eq!(lines.decode(&mut input), Ok(Decoded::Incomplete { missing: 1 }));
        assert_eq!(lines.scanned, 3);
        assert_eq!(lines, Delimiter::lines(), "it is no setting");
        input.extend_from_slice(b"\nd");
        assert_eq!(lines.decode(&mut input), Ok(Decoded::Message("abc".into())));
        assert_eq!(lines.scanned, 0);
    }
}
