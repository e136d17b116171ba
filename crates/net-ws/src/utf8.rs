//! Text that arrives in pieces, which may be cut inside a character.

use std::str;

/// Looks at text piece by piece; what cannot become UTF-8 any more is refused as soon as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character.
    begun: [u8; 4],
    len: usize,
}

/// The text is not UTF-8, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8 {
    /// Looks at the next piece.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.len > 0 {
            let Some((&next, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            // A character has 4 bytes at the most, so that one which has begun has room for one more.
            *self.begun.get_mut(self.len).ok_or(NotUtf8)? = next;
            self.len += 1;
            match str::from_utf8(self.begun.get(..self.len).unwrap_or_default()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(NotUtf8),
            }
        }
        let Err(error) = str::from_utf8(piece) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(NotUtf8);
        }
        let begun = piece.get(error.valid_up_to()..).unwrap_or_default();
        self.len = begun.len();
        self.begun.get_mut(..begun.len()).ok_or(NotUtf8)?.copy_from_slice(begun);
        Ok(())
    }

    /// Ends the text, which must not end inside a character, and begins anew.
    pub(crate) fn finish(&mut self) -> Result<(), NotUtf8> {
        let whole = self.len == 0;
        self.len = 0;
        if whole { Ok(()) } else { Err(NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            text in prop_oneof![".*".prop_map(String::into_bytes), any::<Vec<u8>>()],
            cuts: Vec<proptest::sample::Index>,
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let (mut utf8, mut from) = (Utf8::default(), 0);
            let judged = cuts.into_iter().try_for_each(|to| {
                let piece = &text[from..to];
                from = to;
                utf8.feed(piece)
            });
            prop_assert_eq!(judged.and_then(|()| utf8.finish()).is_ok(), str::from_utf8(&text).is_ok());
        }
    }

    #[test]
    fn a16_what_cannot_become_a_character_is_refused_at_its_first_wrong_byte() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.feed(&[0xF4]), Ok(()));
        assert_eq!(utf8.feed(&[0x90]), Err(NotUtf8), "above U+10FFFF");
        // D10: a surrogate.
        assert_eq!(Utf8::default().feed(&[0xED, 0xA0]), Err(NotUtf8));
    }
}
