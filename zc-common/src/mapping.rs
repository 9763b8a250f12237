//! Ranges of a process's memory, and whether a file is mapped there.

use crate::{assert_layout, pair::Source, path::Kind, pod, row::MAPPED_SOURCE};

/// A range of memory as a thread saw it last. Empty when it has seen none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// The range holds for as long as the generation of the process's mappings is this one.
    pub generation: u64,
    /// Object id of the file that is mapped here, 0 when there is none or it is not named.
    pub object: u32,
    /// `MAPPING_*`.
    pub flags: u32,
}

/// What is in the range is what is in the file: a shared mapping, or a private one that nothing can have been
/// written to. A private mapping that can be written may hold pages that the program has changed.
pub const MAPPING_FILE: u32 = 1;
/// The program may write to the range, and so may the kernel in its name.
pub const MAPPING_WRITABLE: u32 = 2;

/// A file is mapped in the range, of which `object` is the id.
pub const MAPPING_BACKED: u32 = 4;
/// What is written to the range is written to the file (`MAP_SHARED`).
pub const MAPPING_SHARED: u32 = 8;

/// How many ranges a thread remembers.
pub const MAPPINGS: usize = 4;

impl Mapping {
    /// No range.
    pub const NONE: Self = Self { start: 0, end: 0, generation: 0, object: 0, flags: 0 };
    /// All of memory, and no file in it: what is assumed where nothing could be learnt.
    pub const ANY_MEMORY: Self = Self { start: 0, end: u64::MAX, ..Self::NONE };

    /// Whether the byte at `address` is in the range.
    #[inline(always)]
    pub const fn has(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Whether all of the `bytes` bytes at `address` are in the range.
    #[inline(always)]
    pub const fn has_all(&self, address: u64, bytes: u64) -> bool {
        self.has(address) && bytes <= self.end - address
    }

    /// Whether a file is mapped in the range, changed since or not.
    #[inline(always)]
    pub const fn is_backed(&self) -> bool {
        self.flags & MAPPING_BACKED != 0
    }

    /// Whether what is in the range is what is in a file.
    #[inline(always)]
    pub const fn is_file(&self) -> bool {
        self.flags & MAPPING_FILE != 0
    }

    /// Whether no call can have read into the range.
    #[inline(always)]
    pub const fn is_untouched_file(&self) -> bool {
        self.flags & (MAPPING_FILE | MAPPING_WRITABLE) == MAPPING_FILE
    }

    /// The file, as the source of what is written from here.
    #[inline(always)]
    pub const fn source(&self) -> Source {
        Source { object: self.object, kind: Kind::File as u8, flags: MAPPED_SOURCE, ..Source::NONE }
    }
}

/// How many changes of a process's mappings are remembered; a power of two.
pub const CHANGES: usize = 8;

/// A change of what is mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// How many changes there were with this one; 0 while it is written down.
    pub number: u64,
    /// First byte of what changed.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Not zero when something else is there now; 0 when only the protection is another.
    pub unmaps: u64,
}

impl Change {
    /// Whether the range is still what it was.
    #[inline(always)]
    pub const fn spares(&self, mapping: &Mapping) -> bool {
        let is_elsewhere = self.end <= mapping.start || mapping.end <= self.start;
        // Of anonymous memory the protection does not matter.
        is_elsewhere || self.unmaps == 0 && !mapping.is_backed()
    }
}

assert_layout!(Change, 32, [[u64; 4]]);
assert_layout!(Mapping, 32, [[u64; 3], [u32; 2]]);
pod!(Mapping);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_bytes_and_no_others() {
        let range = Mapping { start: 4096, end: 12_288, ..Mapping::NONE };
        assert!(range.has(4096) && range.has(12_287) && !range.has(4095) && !range.has(12_288));
        assert!(range.has_all(4096, 8192) && range.has_all(12_287, 1));
        assert!(!range.has_all(4096, 8193) && !range.has_all(4095, 2) && !range.has_all(12_288, 0));
        assert!(!range.has_all(8192, u64::MAX));
        assert!(Mapping::ANY_MEMORY.has_all(1 << 47, 1 << 40));
        assert!(!Mapping::NONE.has(0));
    }

    #[test]
    fn a_change_spares_what_it_does_not_touch() {
        let memory = Mapping { start: 4096, end: 12_288, ..Mapping::NONE };
        let file = Mapping { flags: MAPPING_BACKED, ..memory };
        let change = |start, end, unmaps| Change { number: 1, start, end, unmaps };
        assert!(change(0, 4096, 1).spares(&memory) && change(12_288, 16_384, 1).spares(&memory));
        assert!(!change(8192, 12_288, 1).spares(&memory) && !change(0, 4097, 1).spares(&file));
        // A guard page of a stack, and a file that may be written from here on.
        assert!(change(4096, 8192, 0).spares(&memory) && !change(4096, 8192, 0).spares(&file));
    }

    #[test]
    fn only_what_cannot_be_written_is_untouched() {
        let file = Mapping { flags: MAPPING_FILE, ..Mapping::NONE };
        let shared = Mapping { flags: MAPPING_FILE | MAPPING_WRITABLE, ..Mapping::NONE };
        let memory = Mapping { flags: MAPPING_WRITABLE, ..Mapping::NONE };
        assert!(file.is_file() && file.is_untouched_file());
        assert!(shared.is_file() && !shared.is_untouched_file());
        assert!(!memory.is_file() && !memory.is_untouched_file());
    }
}
