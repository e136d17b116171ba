//! Fields of type, length and value inside one message.

use std::iter::FusedIterator;

use bytes::{BufMut, Bytes, BytesMut};

use super::HEADER_LEN;

/// The fields of a message, checked as a whole before the first is given.
///
/// ```text
/// +----------+----------------------+----------------+----------+---
/// | type (1) | length (2, big-end.) | value (length) | type (1) | …
/// +----------+----------------------+----------------+----------+---
/// ```
///
/// # Examples
///
/// ```
/// use net_core::frame::tlv::{Fields, FieldsBuilder};
///
/// let mut builder = FieldsBuilder::new();
/// builder.push(1, b"name")?.push(2, b"")?;
/// let message = builder.finish();
///
/// let fields: Vec<_> = Fields::parse(&message)?.map(|field| (field.kind, field.value)).collect();
/// assert_eq!(fields, [(1, &b"name"[..]), (2, b"")]);
/// # Ok::<(), net_core::frame::tlv::FieldError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    /// Whole fields only.
    rest: &'a [u8],
}

/// One field of a message.
///
/// The value is a view; [`Bytes::slice_ref`] makes it one that can be kept.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use net_core::frame::tlv::{Field, Fields};
///
/// let message = Bytes::from_static(b"\x01\0\x02hi");
/// let first = Fields::parse(&message)?.next().expect("a field");
/// assert_eq!(first, Field { kind: 1, value: b"hi" });
/// let kept: Bytes = message.slice_ref(first.value);
/// assert_eq!(kept, "hi");
/// # Ok::<(), net_core::frame::tlv::FieldError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The type.
    pub kind: u8,
    /// The value.
    pub value: &'a [u8],
}

/// Why bytes are no fields, or a value cannot be made one.
///
/// # Examples
///
/// ```
/// use net_core::frame::tlv::{FieldError, Fields};
///
/// let error = Fields::parse(b"\x01\0\x01a\x02\0\x03bc").unwrap_err();
/// assert_eq!(error, FieldError::Truncated { at: 4, missing: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The message ends inside a field, or behind the last one there are bytes that are none.
    #[error("the field at byte {at} needs {missing} bytes more than there are")]
    Truncated {
        /// Where in the message the field begins.
        at: usize,
        /// How many bytes it misses.
        missing: usize,
    },
    /// The value is longer than the length can say.
    #[error("a value of {len} bytes exceeds the limit of 65535")]
    TooLong {
        /// The length of the value.
        len: usize,
    },
}

impl<'a> Fields<'a> {
    /// Reads the fields of `message`, which consists of nothing else.
    ///
    /// # Errors
    ///
    /// [`FieldError::Truncated`]; no field is given then, not even those before the broken one.
    pub fn parse(message: &'a [u8]) -> Result<Self, FieldError> {
        let mut rest = message;
        while !rest.is_empty() {
            let at = message.len() - rest.len();
            (_, rest) = next_field(rest).map_err(|missing| FieldError::Truncated { at, missing })?;
        }
        Ok(Self { rest: message })
    }

    /// Returns the value of the first field of type `kind` that is not yet passed.
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        self.clone().find(|field| field.kind == kind).map(|field| field.value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (field, rest) = next_field(self.rest).ok()?;
        self.rest = rest;
        Some(field)
    }
}

impl FusedIterator for Fields<'_> {}

/// Cuts the first field off `input`, or tells how many bytes it misses.
fn next_field(input: &[u8]) -> Result<(Field<'_>, &[u8]), usize> {
    let Some(([kind, high, low], rest)) = input.split_first_chunk::<HEADER_LEN>() else {
        return Err(HEADER_LEN - input.len());
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let Some((value, rest)) = rest.split_at_checked(len) else { return Err(len - rest.len()) };
    Ok((Field { kind: *kind, value }, rest))
}

/// Builds a message out of fields.
///
/// # Examples
///
/// ```
/// use net_core::frame::tlv::FieldsBuilder;
///
/// let mut builder = FieldsBuilder::new();
/// builder.push(1, b"name")?.push(2, b"")?;
/// assert_eq!(&builder.finish()[..], b"\x01\0\x04name\x02\0\0");
/// # Ok::<(), net_core::frame::tlv::FieldError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FieldsBuilder {
    message: BytesMut,
}

impl FieldsBuilder {
    /// Starts a message without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field.
    ///
    /// # Errors
    ///
    /// [`FieldError::TooLong`] for a value over 65 535 bytes; the message is as it was.
    pub fn push(&mut self, kind: u8, value: &[u8]) -> Result<&mut Self, FieldError> {
        let len = u16::try_from(value.len()).map_err(|_| FieldError::TooLong { len: value.len() })?;
        self.message.reserve(HEADER_LEN + value.len());
        self.message.put_u8(kind);
        self.message.put_u16(len);
        self.message.put_slice(value);
        Ok(self)
    }

    /// Returns the message.
    pub fn finish(self) -> Bytes {
        self.message.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_truncated_or_trailing_bytes_give_no_field_at_all() {
        for (message, at, missing) in [
            (&b"\x01\0\x01a\x02"[..], 4, 2),
            (b"\x01\0\x01a\x02\0\x03bc", 4, 1),
            (b"\x01", 0, 2),
            (b"\x01\xff\xff", 0, 65_535),
        ] {
            let error = Fields::parse(message).expect_err("malformed");
            assert_eq!(error, FieldError::Truncated { at, missing });
        }
        assert_eq!(Fields::parse(b"").expect("no fields").count(), 0);
    }

    #[test]
    fn s6_what_is_built_is_read() {
        let longest = vec![9; usize::from(u16::MAX)];
        let mut builder = FieldsBuilder::new();
        builder.push(0, b"").expect("short").push(255, &longest).expect("the limit itself");
        assert_eq!(builder.push(1, &vec![0; 65_536]).err(), Some(FieldError::TooLong { len: 65_536 }));
        let message = builder.finish();
        let fields = Fields::parse(&message).expect("well-formed");
        assert_eq!(fields.get(255), Some(&longest[..]));
        assert_eq!(fields.get(1), None);
        assert_eq!(fields.count(), 2);
    }
}
