//! Reasons as values of a label: short, and as stable as the names of the metrics.

use zc_common::path::{Kind, Path};

use crate::model::{interval::RowChange, reason::Reason};

/// The reason of copies of which the report says none: some bytes of the row are unknown, and its reason says why of those.
pub const UNSTATED: &str = "unstated";

/// Every reason that copies can have, with its value of the label `reason`.
pub const REASONS: [(Reason, &str); 22] = [
    (Reason::NoBytes, "no_bytes"),
    (Reason::ByDevice, "by_device"),
    (Reason::Cloned, "cloned"),
    (Reason::ReceivedPages, "received_pages"),
    (Reason::HandedOn, "handed_on"),
    (Reason::PassedOn, "passed_on"),
    (Reason::Mapped, "mapped"),
    (Reason::CopyOnWrite, "copy_on_write"),
    (Reason::ReadIntoMemory, "read_into_memory"),
    (Reason::WrittenFromMemory, "written_from_memory"),
    (Reason::WrittenFromMapping, "written_from_mapping"),
    (Reason::ThroughMemory, "through_memory"),
    (Reason::RegularFile, "regular_file"),
    (Reason::ZerocopyNotSet, "zerocopy_not_set"),
    (Reason::SoftwareTls, "software_tls"),
    (Reason::ZerocopyCopied, "zerocopy_copied"),
    (Reason::CopiedIntoSocket, "copied_into_socket"),
    (Reason::Flattened, "flattened"),
    (Reason::NoScatterGather, "no_scatter_gather"),
    (Reason::ZerocopyFalselyReported, "zerocopy_falsely_reported"),
    (Reason::BounceBuffer, "bounce_buffer"),
    (Reason::Captured, "captured"),
];

/// Why the copies of a row were made.
pub(super) fn of_copies(reason: Option<Reason>) -> &'static str {
    let known = REASONS.iter().find(|(known, _)| Some(*known) == reason);
    known.map_or(UNSTATED, |(_, slug)| slug)
}

/// The same when the program had asked for a path that can do without copies.
pub(super) fn of_fallback(row: &RowChange) -> Option<&'static str> {
    let is_asked = match row.name.path {
        Path::Sendfile
        | Path::Splice
        | Path::Tee
        | Path::Vmsplice
        | Path::CopyFileRange
        | Path::RecvZerocopy
        | Path::DirectRead
        | Path::DirectWrite => true,
        // What was read into memory and sent from there without a copy was copied by the read: nothing fell back.
        Path::SendZerocopy => row.name.source == Kind::Memory || row.reason.is_some_and(is_fallback),
        // MSG_ZEROCOPY on a socket that was not told so is a write.
        Path::Read | Path::Write | Path::ReadWrite | Path::Mmap | Path::MmapWrite | Path::Thread => {
            row.reason == Some(Reason::ZerocopyNotSet)
        }
    };
    is_asked.then(|| of_copies(row.reason))
}

/// Whether it is the sending that has copied.
const fn is_fallback(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ZerocopyCopied
            | Reason::CopiedIntoSocket
            | Reason::Flattened
            | Reason::NoScatterGather
            | Reason::ZerocopyFalselyReported
            | Reason::BounceBuffer
            | Reason::Captured
    )
}
