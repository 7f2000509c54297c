//! A file's content in pages, which copies share until one of them writes.

use std::sync::Arc;

const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];

/// The content of a file. A page that was never written takes no memory and reads as zeros.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: Vec<Option<Arc<Page>>>,
    length: u64,
}

impl Content {
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `bytes` from `offset` on, up to the end of the file; how many there were.
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> usize {
        let there = self.length.saturating_sub(offset);
        let wanted = bytes
            .len()
            .min(usize::try_from(there).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < wanted {
            let at = offset as usize + done;
            let within = at % PAGE_BYTES;
            let now = (PAGE_BYTES - within).min(wanted - done);
            let target = &mut bytes[done..done + now];
            match self.pages.get(at / PAGE_BYTES).and_then(Option::as_ref) {
                Some(page) => target.copy_from_slice(&page[within..within + now]),
                None => target.fill(0),
            }
            done += now;
        }
        wanted
    }

    pub fn write(&mut self, bytes: &[u8], offset: u64) {
        self.length = self.length.max(offset + bytes.len() as u64);
        self.pages
            .resize((self.length as usize).div_ceil(PAGE_BYTES), None);
        let mut done = 0;
        while done < bytes.len() {
            let at = offset as usize + done;
            let within = at % PAGE_BYTES;
            let now = (PAGE_BYTES - within).min(bytes.len() - done);
            let page = self.pages[at / PAGE_BYTES].get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within..within + now].copy_from_slice(&bytes[done..done + now]);
            done += now;
        }
    }

    /// Makes a range zeros, as far as the content goes; whole pages take no memory any more.
    pub fn punch(&mut self, offset: u64, length: u64) {
        let end = (offset + length).min(self.length) as usize;
        let mut at = offset as usize;
        while at < end {
            let within = at % PAGE_BYTES;
            let now = (PAGE_BYTES - within).min(end - at);
            match self.pages.get_mut(at / PAGE_BYTES) {
                Some(page) if now == PAGE_BYTES => *page = None,
                Some(Some(page)) => Arc::make_mut(page)[within..within + now].fill(0),
                _ => {}
            }
            at += now;
        }
    }

    /// Bytes of the pages that take memory.
    pub fn allocated(&self) -> u64 {
        let taken = self.pages.iter().filter(|page| page.is_some()).count();
        (taken * PAGE_BYTES) as u64
    }

    /// Cuts the content, or lengthens it with zeros.
    pub fn truncate(&mut self, length: u64) {
        let within = length as usize % PAGE_BYTES;
        if length < self.length
            && within > 0
            && let Some(Some(page)) = self.pages.get_mut(length as usize / PAGE_BYTES)
        {
            // What is cut off must not come back when the file grows again.
            Arc::make_mut(page)[within..].fill(0);
        }
        self.length = length;
        self.pages
            .resize((length as usize).div_ceil(PAGE_BYTES), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_reads_as_zeros_when_the_file_grows_again() {
        let mut content = Content::default();
        content.write(&[7; 10_000], 100);
        let copy = content.clone();
        content.truncate(5000);
        content.truncate(9000);
        let mut bytes = [1; 9000];
        assert_eq!(content.read(&mut bytes, 0), 9000);
        assert_eq!(bytes[..100], [0; 100]);
        assert_eq!(bytes[100..5000], [7; 4900]);
        assert_eq!(bytes[5000..], [0; 4000]);
        assert_eq!(copy.length(), 10_100);
        assert_eq!(copy.read(&mut bytes, 9000), 1100);
        assert_eq!(bytes[..1100], [7; 1100]);
    }
}
