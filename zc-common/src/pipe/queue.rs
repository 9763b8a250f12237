//! Segments in the order in which they went in.

use super::{FORMER, SHARES_SLOT, Segment, View};
use crate::assert_layout;

/// Up to `N` segments; `N` is a power of two.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue<const N: usize> {
    first: u32,
    count: u32,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Those of them that rows may take.
    pub joining: u64,
    segments: [Segment; N],
}

impl<const N: usize> Default for Queue<N> {
    fn default() -> Self {
        Self { first: 0, count: 0, bytes: 0, joining: 0, segments: [Segment::NONE; N] }
    }
}

impl<const N: usize> Queue<N> {
    /// Whether there are no bytes.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all.
    #[inline(always)]
    pub const fn clear(&mut self) {
        self.count = 0;
        self.bytes = 0;
        self.joining = 0;
    }

    /// Segment `index` from the front; some segment when there is none.
    #[inline(always)]
    const fn place(&self, index: u32) -> usize {
        self.first.wrapping_add(index) as usize & (N - 1)
    }

    /// Whether the first bytes were there before anything was known.
    #[inline(always)]
    pub const fn has_former(&self) -> bool {
        self.count != 0 && self.segments[self.place(0)].flags & FORMER != 0
    }

    /// Whether bytes of `process` are among them, which a row may take.
    #[inline(always)]
    pub fn has_of(&self, process: u64) -> bool {
        // Without a way out of the loop: Linux 6.1 refuses some loops in which there are two.
        let mut found = false;
        let mut index = 0;
        while (index as usize) < N {
            let segment = &self.segments[self.place(index)];
            found |= index < self.count && segment.joins() && segment.process == process;
            index += 1;
        }
        found
    }

    /// Adds bytes at the end; false when there is no room.
    #[inline(always)]
    pub fn append(&mut self, segment: &Segment) -> bool {
        if self.count != 0 {
            let place = self.place(self.count - 1);
            let last = &mut self.segments[place];
            if last.is_like(segment) {
                last.bytes += segment.bytes;
                last.end = segment.end;
                last.source.add_costs(&segment.source);
                self.count_in(segment);
                return true;
            }
        }
        if self.count as usize >= N {
            return false;
        }
        let place = self.place(self.count);
        self.segments[place] = *segment;
        self.count += 1;
        self.count_in(segment);
        true
    }

    #[inline(always)]
    const fn count_in(&mut self, segment: &Segment) {
        self.bytes += segment.bytes;
        self.joining += if segment.joins() { segment.bytes } else { 0 };
    }

    /// Takes bytes of the first segment, at most `bytes`, into `part`; the first ones have the costs. Says whether
    /// there were any.
    #[inline(always)]
    pub fn take(&mut self, bytes: u64, part: &mut Segment) -> bool {
        if self.count == 0 || bytes == 0 {
            return false;
        }
        let place = self.place(0);
        let first = &mut self.segments[place];
        *part = *first;
        if bytes < first.bytes {
            part.bytes = bytes;
            first.bytes -= bytes;
            first.source = first.source.without_costs();
        } else {
            self.first = self.first.wrapping_add(1);
            self.count -= 1;
        }
        self.bytes -= part.bytes;
        self.joining -= if part.joins() { part.bytes } else { 0 };
        true
    }

    /// Whether the slots that are in use, after `taken` bytes were taken out of which the first `known` are in this
    /// queue, are those that the rest should be in.
    #[inline(always)]
    pub fn slots_agree(&self, known: u64, taken: u64, view: &View) -> bool {
        let mut left = known;
        let mut gone = None;
        let mut index = 0;
        while (index as usize) < N {
            if index >= self.count {
                break;
            }
            let segment = &self.segments[self.place(index)];
            if segment.bytes > left {
                // Some of these are still there.
                let shares = segment.flags & SHARES_SLOT != 0;
                return has_left(gone, view.tail, shares)
                    && (segment.flags & FORMER != 0 || is_before(view.tail, segment.end));
            }
            left -= segment.bytes;
            gone = if segment.flags & FORMER != 0 { None } else { Some(segment.end) };
            index += 1;
        }
        // Nothing of this queue is left, and nothing else was taken unless it is `taken`.
        has_left(gone, view.tail, view.races != 0)
            && (known != taken || gone.is_none_or(|end| !is_before(end, view.tail)))
    }
}

/// Whether nothing that ends at slot `end` is in the slots from `tail` on, but what may share its last one with what
/// follows.
#[inline(always)]
const fn has_left(end: Option<u32>, tail: u32, shares: bool) -> bool {
    match end {
        Some(end) => !is_before(tail, end.wrapping_sub(shares as u32)),
        None => true,
    }
}

/// Whether slot `a` comes before slot `b`; their numbers start again from 0 after the last.
#[inline(always)]
const fn is_before(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).wrapping_sub(1) < 1 << 31
}

assert_layout!(Queue<4>, 24 + 4 * 72, [u32, u32, u64, u64, [Segment; 4]]);
