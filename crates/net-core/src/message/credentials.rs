//! What a client proves itself with, and the bytes it has inside a message.

use std::fmt;

use bytes::{Buf, BufMut, Bytes};
use zeroize::Zeroizing;

mod api_key;

pub use api_key::ApiKey;

/// What a client proves itself with: an API key, and metadata as names with values.
///
/// As the payload of a message of kind 5 it is
///
/// ```text
/// +-------------+-----+----------+-------------------------------------------------------+
/// | key len: 2  | key | count: 1 | count × { name len: 1 | name | value len: 2 | value } |
/// +-------------+-----+----------+-------------------------------------------------------+
/// ```
///
/// with lengths big-endian, names and values UTF-8. `Debug` shows neither the key nor a value.
///
/// # Examples
///
/// ```
/// use net_core::{ApiKey, Credentials};
///
/// let credentials = Credentials::new("s3cret").with_metadata("tenant", "acme");
/// let received = Credentials::decode(&credentials.encode()?)?;
/// assert!(received.api_key().matches(&ApiKey::from("s3cret")));
/// assert_eq!(received.get("tenant"), Some("acme"));
/// assert!(!format!("{received:?}").contains("s3cret"));
/// # Ok::<(), net_core::CredentialsError>(())
/// ```
#[derive(Clone, Default)]
pub struct Credentials {
    api_key: ApiKey,
    metadata: Vec<(Box<str>, Zeroizing<Box<str>>)>,
}

/// Why credentials cannot be sent, or why a payload is none.
///
/// # Examples
///
/// ```
/// use net_core::{Credentials, CredentialsError};
///
/// let twice = Credentials::new("s3cret").with_metadata("tenant", "acme").with_metadata("tenant", "other");
/// assert_eq!(twice.encode(), Err(CredentialsError::RepeatedName));
/// assert_eq!(Credentials::decode(b"\0\x02k").err(), Some(CredentialsError::UnexpectedEnd));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The payload ends inside a field.
    #[error("the credentials end inside a field")]
    UnexpectedEnd,
    /// There are bytes behind the last field.
    #[error("{len} bytes stand behind the credentials")]
    TrailingBytes {
        /// How many they are.
        len: usize,
    },
    /// The whole is longer than allowed.
    #[error("credentials of {len} bytes are longer than {}", Credentials::MAX_LEN)]
    TooLong {
        /// The length of the whole.
        len: usize,
    },
    /// The key is longer than allowed.
    #[error("a key of {len} bytes is longer than {}", Credentials::MAX_KEY_LEN)]
    KeyTooLong {
        /// The length of the key.
        len: usize,
    },
    /// There is more metadata than allowed.
    #[error("{count} entries of metadata are more than {}", Credentials::MAX_METADATA)]
    TooMuchMetadata {
        /// The number of entries.
        count: usize,
    },
    /// A name is empty or longer than 255 bytes, or a value is longer than 65 535 bytes.
    #[error("a name or a value of the metadata has a length that is not allowed")]
    BadLength,
    /// A name or a value is not UTF-8.
    #[error("a name or a value of the metadata is not UTF-8")]
    NotText,
    /// Two entries have the same name, so that nobody could say which one counts.
    #[error("the metadata has a name twice")]
    RepeatedName,
}

impl Credentials {
    /// The longest payload, in bytes.
    pub const MAX_LEN: usize = 16 * 1024;
    /// The longest key, in bytes.
    pub const MAX_KEY_LEN: usize = 4 * 1024;
    /// Entries of metadata at the most.
    pub const MAX_METADATA: usize = 64;

    /// Creates credentials of a key alone.
    pub fn new(api_key: impl Into<ApiKey>) -> Self {
        Self { api_key: api_key.into(), metadata: Vec::new() }
    }

    /// Adds metadata: what the server wants to know besides the key, such as the tenant or the client's version.
    ///
    /// Its bounds are checked when the credentials are encoded.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.metadata.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// Returns the key.
    pub fn api_key(&self) -> &ApiKey {
        &self.api_key
    }

    /// Returns the value under `name`, where there is one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.metadata().find_map(|(other, value)| (other == name).then_some(value))
    }

    /// Returns names and values in the order in which they were added.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(name, value)| (&**name, &***value))
    }

    /// Returns the payload of the message. Its memory is overwritten when the last view of it is dropped.
    ///
    /// # Errors
    ///
    /// Key or metadata exceed their bounds.
    pub fn encode(&self) -> Result<Bytes, CredentialsError> {
        let key = self.api_key.expose();
        let fields: usize = self.metadata().map(|(name, value)| 3 + name.len() + value.len()).sum();
        let len = 3 + key.len() + fields;
        self.check(len)?;
        // Of its full length at once: memory that grows leaves copies of the key behind.
        let mut payload = Zeroizing::new(Vec::with_capacity(len));
        payload.put_u16(u16::try_from(key.len()).map_err(|_| CredentialsError::BadLength)?);
        payload.put_slice(key);
        payload.put_u8(u8::try_from(self.metadata.len()).map_err(|_| CredentialsError::BadLength)?);
        for (name, value) in self.metadata() {
            payload.put_u8(u8::try_from(name.len()).map_err(|_| CredentialsError::BadLength)?);
            payload.put_slice(name.as_bytes());
            payload.put_u16(u16::try_from(value.len()).map_err(|_| CredentialsError::BadLength)?);
            payload.put_slice(value.as_bytes());
        }
        Ok(Bytes::from_owner(payload))
    }

    /// Reads the payload of the message.
    ///
    /// # Errors
    ///
    /// It is malformed, or exceeds the bounds; nothing is taken of it then.
    pub fn decode(mut payload: &[u8]) -> Result<Self, CredentialsError> {
        let len = payload.len();
        if len > Self::MAX_LEN {
            return Err(CredentialsError::TooLong { len });
        }
        let payload = &mut payload;
        let key_len = payload.try_get_u16().map_err(|_| CredentialsError::UnexpectedEnd)?.into();
        if key_len > Self::MAX_KEY_LEN {
            return Err(CredentialsError::KeyTooLong { len: key_len });
        }
        let mut credentials = Self::new(take(payload, key_len)?);
        let count = payload.try_get_u8().map_err(|_| CredentialsError::UnexpectedEnd)?.into();
        if count > Self::MAX_METADATA {
            return Err(CredentialsError::TooMuchMetadata { count });
        }
        for _ in 0..count {
            let name_len = payload.try_get_u8().map_err(|_| CredentialsError::UnexpectedEnd)?;
            let name = text(take(payload, name_len.into())?)?;
            let value_len = payload.try_get_u16().map_err(|_| CredentialsError::UnexpectedEnd)?;
            let value = text(take(payload, value_len.into())?)?;
            credentials = credentials.with_metadata(name, value);
        }
        if payload.has_remaining() {
            return Err(CredentialsError::TrailingBytes { len: payload.len() });
        }
        credentials.check(len)?;
        Ok(credentials)
    }

    /// Checks what holds on both sides.
    fn check(&self, len: usize) -> Result<(), CredentialsError> {
        let key_len = self.api_key.expose().len();
        if key_len > Self::MAX_KEY_LEN {
            return Err(CredentialsError::KeyTooLong { len: key_len });
        }
        if self.metadata.len() > Self::MAX_METADATA {
            return Err(CredentialsError::TooMuchMetadata { count: self.metadata.len() });
        }
        for (place, (name, value)) in self.metadata.iter().enumerate() {
            if name.is_empty() || name.len() > usize::from(u8::MAX) || value.len() > usize::from(u16::MAX) {
                return Err(CredentialsError::BadLength);
            }
            if self.metadata.iter().take(place).any(|(other, _)| other == name) {
                return Err(CredentialsError::RepeatedName);
            }
        }
        if len > Self::MAX_LEN {
            return Err(CredentialsError::TooLong { len });
        }
        Ok(())
    }
}

fn take<'a>(payload: &mut &'a [u8], len: usize) -> Result<&'a [u8], CredentialsError> {
    let (taken, rest) = payload.split_at_checked(len).ok_or(CredentialsError::UnexpectedEnd)?;
    *payload = rest;
    Ok(taken)
}

fn text(bytes: &[u8]) -> Result<&str, CredentialsError> {
    std::str::from_utf8(bytes).map_err(|_| CredentialsError::NotText)
}

/// Shows the names of the metadata alone.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.metadata().map(|(name, _)| name).collect();
        f.debug_struct("Credentials").field("api_key", &self.api_key).field("metadata", &names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_themselves_are_allowed_and_one_more_is_not() {
        let key = |len: usize| Credentials::new(vec![7; len]);
        assert!(Credentials::decode(&key(4096).encode().expect("fits")).is_ok());
        assert_eq!(key(4097).encode(), Err(CredentialsError::KeyTooLong { len: 4097 }));
        let entries = |count: usize| {
            (0..count).fold(key(1), |credentials, n| credentials.with_metadata(format!("{n}"), ""))
        };
        assert!(Credentials::decode(&entries(64).encode().expect("fits")).is_ok());
        assert_eq!(entries(65).encode(), Err(CredentialsError::TooMuchMetadata { count: 65 }));
        // Key length, count, name and value length take 7 bytes beside a name of one.
        let whole = |len: usize| Credentials::default().with_metadata("n", "v".repeat(len - 7));
        assert!(Credentials::decode(&whole(16_384).encode().expect("fits")).is_ok());
        assert_eq!(whole(16_385).encode(), Err(CredentialsError::TooLong { len: 16_385 }));
        assert_eq!(
            Credentials::decode(&vec![0; 16_385]).err(),
            Some(CredentialsError::TooLong { len: 16_385 })
        );
    }

    #[test]
    fn what_is_malformed_is_told_exactly() {
        let error = |payload: &[u8]| Credentials::decode(payload).expect_err("is malformed");
        assert_eq!(error(&[]), CredentialsError::UnexpectedEnd);
        assert_eq!(error(&[0, 2, 7]), CredentialsError::UnexpectedEnd);
        assert_eq!(error(&[0xff, 0xff]), CredentialsError::KeyTooLong { len: 65_535 });
        assert_eq!(error(&[0, 0, 65]), CredentialsError::TooMuchMetadata { count: 65 });
        assert_eq!(error(&[0, 0, 1, 1, b'a', 0, 2, b'b']), CredentialsError::UnexpectedEnd);
        assert_eq!(error(&[0, 0, 0, 1]), CredentialsError::TrailingBytes { len: 1 });
        assert_eq!(error(&[0, 0, 1, 0, 0, 0]), CredentialsError::BadLength);
        assert_eq!(error(&[0, 0, 1, 1, 0xff, 0, 0]), CredentialsError::NotText);
        let twice = [0, 0, 2, 1, b'a', 0, 0, 1, b'a', 0, 0];
        assert_eq!(error(&twice), CredentialsError::RepeatedName);
    }

    #[test]
    fn a27_neither_the_key_nor_a_value_is_shown() {
        let credentials = Credentials::new("s3cret").with_metadata("token", "unseen");
        let shown = format!("{credentials:?} {credentials:#?}");
        assert!(shown.contains("token"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("unseen"), "{shown}");
    }
}
