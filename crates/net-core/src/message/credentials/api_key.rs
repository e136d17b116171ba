//! A key that is not shown, compared in constant time and overwritten when it is dropped.

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};
use subtle::ConstantTimeEq;

/// A secret that a client shows to a server.
///
/// It is never shown by `Debug`, has no `Display` and no `==`, and its memory is overwritten when it is dropped.
///
/// # Examples
///
/// ```
/// use net_core::ApiKey;
///
/// let key = ApiKey::from("s3cret");
/// assert!(key.matches(&ApiKey::from("s3cret")));
/// assert!(!key.matches(&ApiKey::from("s3creT")));
/// assert_eq!(format!("{key:?}"), "ApiKey([hidden])");
/// ```
pub struct ApiKey(SecretSlice<u8>);

impl ApiKey {
    /// Returns the bytes of the key. Whoever calls it takes care that they are not written down.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// Returns the key as text, where it is UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }

    /// Tells whether both keys are the same, in a time that depends on their lengths alone: how much of a guess is
    /// right cannot be measured.
    pub fn matches(&self, expected: &Self) -> bool {
        self.expose().ct_eq(expected.expose()).into()
    }

    /// Tells whether there is no key: a client that has none to show.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

/// An empty key.
impl Default for ApiKey {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<u8>> for ApiKey {
    fn from(key: Vec<u8>) -> Self {
        if key.len() < key.capacity() {
            // To shrink it would leave a copy behind; this one is overwritten.
            return zeroize::Zeroizing::new(key).as_slice().into();
        }
        Self(key.into())
    }
}

impl From<&[u8]> for ApiKey {
    fn from(key: &[u8]) -> Self {
        let mut exact = Vec::with_capacity(key.len());
        exact.extend_from_slice(key);
        Self(exact.into())
    }
}

impl From<&str> for ApiKey {
    fn from(key: &str) -> Self {
        key.as_bytes().into()
    }
}

impl From<String> for ApiKey {
    fn from(key: String) -> Self {
        key.into_bytes().into()
    }
}

impl Clone for ApiKey {
    fn clone(&self) -> Self {
        self.expose().into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, time::Instant};

    use super::*;

    #[test]
    fn a27_only_the_whole_key_matches() {
        let key = ApiKey::from("s3cret");
        for wrong in ["", "s", "s3cre", "s3cret ", "S3cret", "s3creT"] {
            assert!(!key.matches(&ApiKey::from(wrong)), "{wrong:?}");
        }
        assert!(key.matches(&key.clone()) && ApiKey::default().matches(&ApiKey::from("")));
    }

    #[test]
    fn a27_a_wrong_first_byte_takes_as_long_as_a_wrong_last_one() {
        let key = vec![7; 4096];
        let wrong_at = |place: usize| {
            let mut wrong = key.clone();
            wrong[place] = 8;
            ApiKey::from(wrong)
        };
        let (key, first, last) = (ApiKey::from(key.clone()), wrong_at(0), wrong_at(4095));
        let quickest = |guess: &ApiKey| {
            let once = || {
                let began = Instant::now();
                for _ in 0..50 {
                    assert!(!black_box(&key).matches(black_box(guess)));
                }
                began.elapsed()
            };
            (0..100).map(|_| once()).min()
        };
        // One that stops at the first difference is quicker by a factor of hundreds.
        let (first, last) = (quickest(&first).expect("100"), quickest(&last).expect("100"));
        assert!(first * 2 > last, "{first:?} against {last:?}");
    }
}
