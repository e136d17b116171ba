//! What a frame takes in the buffer of small messages.

use std::str;

use bytes::BytesMut;

use crate::{
    frame::{Head, Key, apply},
    utf8::Utf8,
};

/// Appends a frame whose payload is `head` + `body`, masked where this side `masks`.
pub(super) fn append(out: &mut BytesMut, masks: bool, frame: Head, head: &[u8], body: &[u8]) {
    let key = masks.then(Key::random);
    Head { key, payload_len: (head.len() + body.len()) as u64, ..frame }.encode(out);
    let at = out.len();
    out.extend_from_slice(head);
    out.extend_from_slice(body);
    if let (Some(key), Some(payload)) = (key, out.get_mut(at..)) {
        apply(key, payload);
    }
}

/// Tells whether `head` + `body` is UTF-8.
pub(super) fn is_text(head: &[u8], body: &[u8]) -> bool {
    if head.is_empty() {
        return str::from_utf8(body).is_ok();
    }
    let mut utf8 = Utf8::default();
    utf8.feed(head).and_then(|()| utf8.feed(body)).and_then(|()| utf8.finish()).is_ok()
}
