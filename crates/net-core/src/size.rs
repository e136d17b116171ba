//! Byte sizes in configuration files, written as `64MiB`.
//!
//! For fields of type `usize` and `Option<usize>`: `#[serde(with = "net_core::size")]`. A plain number is taken too.
//!
//! # Examples
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Config {
//!     #[serde(with = "net_core::size")]
//!     max_bytes: usize,
//! }
//!
//! # fn main() -> Result<(), serde_json::Error> {
//! let config: Config = serde_json::from_str(r#"{"max_bytes": "1.5MiB"}"#)?;
//! assert_eq!(config.max_bytes, 1_572_864);
//! assert_eq!(serde_json::to_string(&config)?, r#"{"max_bytes":"1536KiB"}"#);
//! # Ok(())
//! # }
//! ```

use std::fmt;

use bytesize::ByteSize;
use serde::{
    Deserializer, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// Largest first.
const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

/// What is written as a byte size.
///
/// # Examples
///
/// ```
/// use net_core::size::Size;
///
/// /// How much a cache may hold, in bytes.
/// struct CacheLen(usize);
///
/// impl Size for CacheLen {
///     fn bytes(&self) -> Option<usize> {
///         Some(self.0)
///     }
///
///     fn from_bytes(bytes: Option<usize>) -> Option<Self> {
///         bytes.map(Self)
///     }
/// }
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     #[serde(with = "net_core::size")]
///     cache: CacheLen,
/// }
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let config: Config = serde_json::from_str(r#"{"cache": "4MiB"}"#)?;
/// assert_eq!(config.cache.0, 4 << 20);
/// # Ok(())
/// # }
/// ```
pub trait Size: Sized {
    /// Returns the bytes; `None` where there is no size.
    fn bytes(&self) -> Option<usize>;

    /// Makes it of `bytes`; `None` where it cannot be absent and is.
    fn from_bytes(bytes: Option<usize>) -> Option<Self>;
}

impl Size for usize {
    fn bytes(&self) -> Option<usize> {
        Some(*self)
    }

    fn from_bytes(bytes: Option<usize>) -> Option<Self> {
        bytes
    }
}

impl Size for Option<usize> {
    fn bytes(&self) -> Option<usize> {
        *self
    }

    fn from_bytes(bytes: Option<usize>) -> Option<Self> {
        Some(bytes)
    }
}

/// Writes a size in the largest unit that gives a whole number.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<T: Size, S: Serializer>(size: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(bytes) = size.bytes() else { return serializer.serialize_none() };
    let bytes = bytes as u64;
    match UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => serializer.collect_str(&format_args!("{}{name}", bytes / unit)),
        None => serializer.collect_str(&format_args!("{bytes}B")),
    }
}

/// Reads a size, with or without a unit.
///
/// # Errors
///
/// What is there is no size, or larger than this machine can address.
pub fn deserialize<'de, T: Size, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let bytes = deserializer.deserialize_any(Bytes)?;
    T::from_bytes(bytes).ok_or_else(|| D::Error::invalid_type(Unexpected::Option, &Bytes))
}

struct Bytes;

impl Bytes {
    fn of<E: Error>(bytes: u64) -> Result<Option<usize>, E> {
        usize::try_from(bytes).map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(bytes), &Self))
    }
}

impl<'de> Visitor<'de> for Bytes {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in bytes, such as 65536, \"64KiB\" or \"1.5MB\"")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Self::Value, E> {
        Self::of(bytes)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Self::Value, E> {
        u64::try_from(bytes)
            .map_or_else(|_| Err(E::invalid_value(Unexpected::Signed(bytes), &self)), Self::of)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.parse::<ByteSize>() {
            Ok(size) => Self::of(size.as_u64()),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Sizes {
        #[serde(with = "super")]
        one: usize,
        #[serde(with = "super")]
        other: Option<usize>,
    }

    fn read(text: &str) -> Result<Sizes, serde_json::Error> {
        serde_json::from_str(text)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_exactly(one: usize, other: Option<usize>) {
            // Beyond this a size in text goes through a floating-point number.
            let (one, other) = (one >> 12, other.map(|size| size >> 12));
            let sizes = Sizes { one, other };
            let text = serde_json::to_string(&sizes).expect("it can be written");
            prop_assert_eq!(read(&text).expect(&text), sizes);
        }
    }

    #[test]
    fn numbers_and_strings_are_sizes_and_nothing_else_is() {
        let expected = Sizes { one: 65536, other: None };
        for text in [r#"{"one": 65536, "other": null}"#, r#"{"one": "64KiB", "other": null}"#] {
            assert_eq!(read(text).expect(text), expected);
        }
        for text in [
            r#"{"one": "64 sheep", "other": null}"#,
            r#"{"one": -1, "other": null}"#,
            r#"{"one": null, "other": null}"#,
            r#"{"one": 1.5, "other": null}"#,
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains("a size in bytes, such as"), "{error}");
        }
    }
}
