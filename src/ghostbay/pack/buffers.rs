//! Buffers for what is read, used again. What is sent is dropped on another thread than the one that
//! read it, which costs an allocator much more than keeping the memory.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Length of a buffer, in bytes: what a reader holds at once.
pub const BUFFER_BYTES: usize = 128 << 10;

/// Buffers that are kept for the next reader.
const KEPT_MAX: usize = 64;

static KEPT: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Memory for up to [`BUFFER_BYTES`].
pub struct Buffer {
    /// Empty only while it is dropped.
    memory: Box<[u8]>,
    length: usize,
}

impl Buffer {
    /// A buffer of that length, at most [`BUFFER_BYTES`]; what is in it is anything.
    pub fn take(length: usize) -> Self {
        debug_assert!(length <= BUFFER_BYTES);
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer {
            memory: kept.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()),
            length: length.min(BUFFER_BYTES),
        }
    }

    /// The memory, to be filled.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length]
    }

    /// The bytes that are in it.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_few_are_kept() {
        let mut buffer = Buffer::take(5);
        buffer.room().copy_from_slice(b"01234");
        let bytes = buffer.freeze();
        assert_eq!(bytes.slice(1..3), "12");
        drop(bytes);
        let many: Vec<_> = (0..2 * KEPT_MAX).map(|_| Buffer::take(1)).collect();
        assert!(
            many.iter()
                .all(|buffer| buffer.memory.len() == BUFFER_BYTES)
        );
        drop(many);
        assert!(KEPT.lock().unwrap().len() <= KEPT_MAX);
    }
}
