//! A byte stream whose every call does what a test has written down.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

/// A byte stream whose calls move as many bytes as the script says, or fail as it says.
///
/// What is read counts up from 0 unless it is given.
pub(super) struct Script {
    steps: VecDeque<Result<usize, io::ErrorKind>>,
    input: VecDeque<u8>,
    pub(super) written: Vec<u8>,
    pub(super) calls: usize,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Result<usize, io::ErrorKind>>) -> Self {
        Self::with_input(steps, &(0..=255).collect::<Vec<u8>>())
    }

    pub(super) fn with_input(
        steps: impl IntoIterator<Item = Result<usize, io::ErrorKind>>,
        input: &[u8],
    ) -> Self {
        let (steps, input) = (steps.into_iter().collect(), input.iter().copied().collect());
        Self { steps, input, written: Vec::new(), calls: 0 }
    }

    fn step(&mut self) -> io::Result<usize> {
        self.calls += 1;
        // A call that is not written down is one too many.
        Ok(self.steps.pop_front().expect("a call that the script does not have")?)
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.step()?.min(buffer.len()).min(self.input.len());
        self.input.read_exact(&mut buffer[..count])?;
        Ok(count)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.step()?.min(bytes.len());
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
