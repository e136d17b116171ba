//! The mask over what clients send.

/// How many bytes are masked at a time: vectors of whatever width the compiler has.
const BLOCK: usize = 32;

/// The key of a frame, and where in it the next byte stands.
///
/// "Octet i of the transformed data is the XOR of octet i of the original data with octet at index i modulo 4 of the
/// masking key." Source: RFC 6455 §5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl Key {
    pub(crate) fn new(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// Returns a key that no peer foresees.
    ///
    /// "The masking key needs to be unpredictable; thus, the masking key MUST be derived from a strong source of entropy."
    /// Source: RFC 6455 §5.3.
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    pub(crate) fn bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// Returns the key for what follows the first `count` bytes.
    pub(crate) fn after(self, count: usize) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "less than 4")]
        let places = (count % 4) as u32;
        Self(self.0.rotate_left(8 * places))
    }
}

/// Puts the mask on `payload`, or takes it off.
#[inline]
pub(crate) fn apply(key: Key, payload: &mut [u8]) {
    let wide = [key.bytes(); BLOCK / 4];
    let wide = wide.as_flattened();
    let (blocks, rest) = payload.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for (byte, key) in block.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_masked_as_the_whole(mut payload: Vec<u8>, key: [u8; 4], cut: usize) {
            let key = Key::new(key);
            let expected: Vec<u8> =
                payload.iter().zip(key.bytes().iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            let cut = cut % (payload.len() + 1);
            let (first, second) = payload.split_at_mut(cut);
            apply(key, first);
            apply(key.after(cut), second);
            prop_assert_eq!(payload, expected);
        }
    }
}
