//! What functions inside the kernel were seen to do with the bytes of a call that moves them without user memory.
//!
//! Each number is a sum over the function's results while the call is in progress. They are compared with the result of the
//! call: only what accounts for every byte of it says anything, so that bytes that another function moved, or that were
//! moved twice on the way, leave the call unknown.

use crate::{
    assert_layout,
    path::{Kind, Path},
    pod,
    row::{DIRECT_DESTINATION, DIRECT_SOURCE},
};

/// Bytes that the call in progress was seen to move, by what was done with them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// Pages of a file that were put into a pipe, by reference: the call's own, or the one that its thread has for this.
    pub came: u64,
    /// Copied to the page cache of a file.
    pub written: u64,
    /// Pages that a socket took by reference.
    pub handed: u64,
    /// How often a file system was asked to share extents, and found that it could.
    pub shared: u64,
}

/// What became of all bytes of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Became {
    /// Copied once.
    pub copied: u64,
    /// Handed on by reference.
    pub by_reference: u64,
}

impl Inside {
    /// Nothing.
    pub const NONE: Self = Self { came: 0, written: 0, handed: 0, shared: 0 };

    /// Whether nothing was seen.
    pub const fn is_none(&self) -> bool {
        self.came | self.written | self.handed | self.shared == 0
    }

    /// What became of the `bytes` of a call of this path that ended at this kind: of all of them, or of none.
    ///
    /// `flags` are those of the row. `by_device` when a device has put the bytes into pages of the call's own (`O_DIRECT`).
    /// Of splice, tee and vmsplice only the way out of the pipe is looked at, if it is a pipe that they come from.
    #[inline(always)]
    pub const fn became(&self, path: Path, to: Kind, flags: u8, bytes: u64, by_device: bool) -> Became {
        const NOTHING: Became = Became { copied: 0, by_reference: 0 };
        let copied = Became { copied: bytes, by_reference: 0 };
        let by_reference = Became { copied: 0, by_reference: bytes };
        let Self { came, written, handed, shared } = *self;
        // More may come than the end takes: the rest is given up (`splice_direct_to_actor`).
        let has_come = came >= bytes || by_device;
        if bytes == 0 {
            return NOTHING;
        }
        match (path, to) {
            (Path::Sendfile | Path::CopyFileRange, Kind::File) if written == bytes && has_come => copied,
            // Nothing was read and nothing written: what the result speaks of was shared. Direct I/O would not be seen here.
            (Path::CopyFileRange, Kind::File)
                if shared != 0
                    && came | written | handed == 0
                    && flags & (DIRECT_SOURCE | DIRECT_DESTINATION) == 0 =>
            {
                by_reference
            }
            (Path::Splice, Kind::File) if written == bytes => copied,
            (Path::Sendfile, Kind::Unix) if handed == bytes && came >= bytes => by_reference,
            (Path::Splice, Kind::Unix) if handed == bytes => by_reference,
            (Path::Sendfile | Path::Splice, Kind::Pipe) if came == bytes => by_reference,
            _ => NOTHING,
        }
    }
}

assert_layout!(Inside, 32, [[u64; 4]]);
pod!(Inside);

#[cfg(test)]
mod tests {
    use super::*;
    use Path::{CopyFileRange, Sendfile, Splice, Tee, Vmsplice};
    use proptest::prelude::*;

    const NONE: Inside = Inside::NONE;

    #[test]
    fn what_became_of_ten_bytes() {
        let (file, unix, pipe, tcp) = (Kind::File, Kind::Unix, Kind::Pipe, Kind::Tcp);
        let copied = Inside { came: 10, written: 10, ..NONE };
        let handed = Inside { came: 10, handed: 10, ..NONE };
        let shared = Inside { shared: 1, ..NONE };
        let table = [
            (copied, Sendfile, file, (10, 0)),
            (copied, CopyFileRange, file, (10, 0)),
            (copied, Splice, file, (10, 0)),
            // More came than was taken.
            (Inside { came: 16, ..copied }, Sendfile, file, (10, 0)),
            // Part came, or was written, in another way, or it was written twice.
            (Inside { came: 9, ..copied }, Sendfile, file, (0, 0)),
            (Inside { written: 9, ..copied }, Sendfile, file, (0, 0)),
            (Inside { written: 20, ..copied }, CopyFileRange, file, (0, 0)),
            (Inside { came: 0, ..copied }, Splice, file, (10, 0)),
            (shared, CopyFileRange, file, (0, 10)),
            (shared, Sendfile, file, (0, 0)),
            // It could have been, and then was not.
            (Inside { came: 10, ..shared }, CopyFileRange, file, (0, 0)),
            (Inside { written: 10, ..shared }, CopyFileRange, file, (0, 0)),
            (Inside { shared: 1, ..copied }, CopyFileRange, file, (10, 0)),
            (handed, Sendfile, unix, (0, 10)),
            (handed, Splice, unix, (0, 10)),
            (Inside { handed: 9, ..handed }, Sendfile, unix, (0, 0)),
            (Inside { came: 9, ..handed }, Sendfile, unix, (0, 0)),
            (Inside { came: 9, ..handed }, Splice, unix, (0, 10)),
            (Inside { came: 10, ..NONE }, Splice, pipe, (0, 10)),
            (Inside { came: 10, ..NONE }, Sendfile, pipe, (0, 10)),
            (Inside { came: 11, ..NONE }, Splice, pipe, (0, 0)),
            // What leaves is looked at where it leaves.
            (handed, Sendfile, tcp, (0, 0)),
            (copied, Tee, pipe, (0, 0)),
            (copied, Vmsplice, pipe, (0, 0)),
            (NONE, Sendfile, file, (0, 0)),
        ];
        for (inside, path, to, (copied, by_reference)) in table {
            let became = inside.became(path, to, 0, 10, false);
            assert_eq!(became, Became { copied, by_reference }, "{inside:?} {path:?} {to:?}");
        }
    }

    #[test]
    fn what_a_device_has_read_came_without_a_copy() {
        let written = Inside { written: 10, ..NONE };
        let became = |by_device| written.became(Sendfile, Kind::File, DIRECT_SOURCE, 10, by_device);
        assert_eq!(became(true), Became { copied: 10, by_reference: 0 });
        assert_eq!(became(false), Became::default());
    }

    #[test]
    fn what_may_have_gone_past_the_page_cache_is_not_said_to_be_shared() {
        let shared = Inside { shared: 1, ..NONE };
        for flags in [DIRECT_SOURCE, DIRECT_DESTINATION] {
            assert_eq!(shared.became(CopyFileRange, Kind::File, flags, 10, false), Became::default());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_said_of_more_than_the_bytes_or_in_two_ways(
            numbers in prop::array::uniform4(prop_oneof![Just(0_u64), Just(7), Just(8), 0_u64..20]),
            path in prop::sample::select(Path::ALL.to_vec()),
            to in 0_u8..12,
            flags: u8,
            bytes in 0_u64..20,
            by_device: bool,
        ) {
            let [came, written, handed, shared] = numbers;
            let inside = Inside { came, written, handed, shared };
            let to = Kind::from_u8(to).unwrap_or(Kind::Unknown);
            let Became { copied, by_reference } = inside.became(path, to, flags, bytes, by_device);
            prop_assert!(copied == 0 || by_reference == 0);
            prop_assert!([0, bytes].contains(&(copied + by_reference)));
            // A copy was seen being made, and of each byte.
            prop_assert!(copied == 0 || written == bytes);
            prop_assert!(by_reference == 0 || written == 0 || to != Kind::File);
            if inside.is_none() {
                prop_assert_eq!(copied + by_reference, 0);
            }
        }
    }
}
