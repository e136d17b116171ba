//! A buffer of a pool.

use std::{
    fmt,
    io::{self, Read, Write},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use bytes::Bytes;

use super::Shared;

/// A buffer of a [`BufferPool`](super::BufferPool), which returns to it when dropped.
///
/// It dereferences to what it has been filled with. It becomes [`Bytes`] without a copy, and is then home once the
/// last reference drops.
///
/// # Examples
///
/// ```
/// use net_core::buffer::BufferPool;
///
/// let pool = BufferPool::new(1, 1024);
/// let mut buffer = pool.try_acquire().expect("nobody else has it");
/// assert_eq!(buffer.extend_from_slice(b"abc"), 3);
/// let bytes = buffer.freeze();
/// assert_eq!((&bytes[..], pool.available()), (&b"abc"[..], 0));
/// drop(bytes);
/// assert_eq!(pool.available(), 1);
/// ```
pub struct PooledBuffer {
    memory: Box<[u8]>,
    /// How much is filled; never more than there is.
    len: usize,
    /// The pool; none where the buffer was allocated beyond it.
    home: Option<Arc<Shared>>,
}

impl PooledBuffer {
    pub(super) fn new(memory: Box<[u8]>, home: Option<Arc<Shared>>) -> Self {
        Self { memory, len: 0, home }
    }

    /// Returns the size of the buffer, in bytes.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Returns the part that is not filled.
    ///
    /// It contains what an earlier user of the buffer left in it, or zeros.
    pub fn unfilled_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.len..).unwrap_or_default()
    }

    /// Takes the next `count` bytes, which were written through [`unfilled_mut`](Self::unfilled_mut), for filled; no
    /// more than there are.
    pub fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_add(count).min(self.memory.len());
    }

    /// Leaves the first `len` bytes filled, where there are more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Empties the buffer.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends as much of `bytes` as there is room for, and returns how much that was.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> usize {
        // Writing to a slice fills what there is of it and does not fail.
        let count = self.unfilled_mut().write(bytes).unwrap_or_default();
        self.advance(count);
        count
    }

    /// Appends what one read gives; 0 at the end of the stream, and where there is no room.
    ///
    /// # Errors
    ///
    /// Those of the reader.
    pub fn read_from<R: Read + ?Sized>(&mut self, reader: &mut R) -> io::Result<usize> {
        let count = reader.read(self.unfilled_mut())?;
        self.advance(count);
        Ok(count)
    }

    /// Turns what is filled into `Bytes` without a copy.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    #[cfg(test)]
    pub(super) fn memory_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.take_back(std::mem::take(&mut self.memory));
        }
    }
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<PooledBuffer> for Bytes {
    fn from(buffer: PooledBuffer) -> Self {
        buffer.freeze()
    }
}

impl Write for PooledBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.extend_from_slice(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuffer")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .field("pooled", &self.home.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::BufferPool;

    #[test]
    fn a_full_buffer_takes_no_more() {
        let mut buffer = BufferPool::new(1, 4).try_acquire().expect("the only one");
        assert_eq!(buffer.extend_from_slice(b"abcdef"), 4);
        assert_eq!(buffer.write(b"x").expect("never fails"), 0);
        buffer.advance(usize::MAX);
        assert_eq!(&buffer[..], b"abcd");
        buffer.truncate(2);
        buffer[1] = b'B';
        assert_eq!(&buffer.freeze()[..], b"aB");
    }
}
