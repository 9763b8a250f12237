//! What became of bytes that do not go through user memory, by the functions inside the kernel that copy them or hand on
//! their pages.
//!
//! The kernel side only counts calls of which every byte was accounted for (`zc-common/src/inside.rs`). What it counted is
//! witnessed; of the rest, what can be inferred is.

use zc_common::path::{Kind, Path};

use super::{
    copies::{Copies, EndKind, infer},
    reason::Reason,
    report::Evidence,
};

/// The hooks on these functions. Without them bytes are unknown, or known by inference, and no transfer is missing.
pub const HOOKS: [&str; 9] = [
    "generic_perform_write",
    "iomap_file_buffered_write",
    "filemap_splice_read",
    "filemap_read",
    "shmem_file_splice_read",
    "shmem_file_read_iter",
    "skb_splice_from_iter",
    "skb_append_pagefrags",
    "generic_remap_file_range_prep",
];

/// Bytes of a row.
pub(super) struct Inside {
    /// `Sendfile`, `CopyFileRange`, `Splice`, `Tee` or `Vmsplice`.
    pub(super) path: Path,
    pub(super) source: EndKind,
    pub(super) destination: EndKind,
    pub(super) bytes: u64,
    /// Those that were seen to be copied, each once.
    pub(super) copied: u64,
    /// Those that were seen to be handed on by reference.
    pub(super) by_reference: u64,
    /// Of bytes that went through a pipe: all of them came into it by reference.
    pub(super) came_by_reference: bool,
}

impl Inside {
    /// Their copies. `None` when nothing was seen of them.
    pub(super) fn copies(&self) -> Option<Copies> {
        let Self { path, source, destination, bytes, .. } = *self;
        let copied = self.copied.min(bytes);
        let by_reference = self.by_reference.min(bytes - copied);
        let is_spliced = matches!(path, Path::Splice | Path::Tee | Path::Vmsplice);
        // How they came into the pipe: what is in pipes and memory is in pages already.
        let has_come = matches!(source.kind, Kind::Pipe | Kind::Memory) || self.came_by_reference;
        let (copied, by_reference, reason) = match (path, destination.kind) {
            (Path::CopyFileRange, Kind::File) => {
                (copied, by_reference, if copied > 0 { Reason::RegularFile } else { Reason::Cloned })
            }
            (Path::Sendfile, Kind::File) => (copied, 0, Reason::RegularFile),
            (_, Kind::File) if is_spliced => {
                (copied, 0, if has_come { Reason::RegularFile } else { Reason::Splice })
            }
            // Of a file that is open with O_DIRECT, this number is about the device.
            (Path::Sendfile, Kind::Unix) if !source.direct => (0, by_reference, Reason::PassedOn),
            (_, Kind::Unix) if is_spliced && has_come => (0, by_reference, Reason::PassedOn),
            (Path::Sendfile | Path::Splice, Kind::Pipe) if source.kind == Kind::File && !source.direct => {
                (0, by_reference, Reason::PassedOn)
            }
            _ => return None,
        };
        let seen = copied + by_reference;
        if seen == 0 {
            return None;
        }
        let mut copies = Copies {
            copied: Some(copied),
            by_reference: Some(by_reference),
            unknown: if is_spliced && !has_come && copied > 0 { copied } else { 0 },
            evidence: Evidence::Witnessed,
            reason,
        };
        if seen < bytes {
            copies.add(&infer(path, source, destination, bytes - seen));
        }
        Some(copies)
    }
}

#[cfg(test)]
mod tests;
