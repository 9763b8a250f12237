//! Every way in which the kernel side can lose something has a counter of its own.

/// Index into the `LOST` map. The report lists all of them, zero or not.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// A record found no room in the ring buffer.
    RingFull = 0,
    /// A call could not be counted: no room for a new row. Its bytes are missing from the report.
    RowsFull = 1,
    /// A call could not be counted: no room for the state of its thread.
    ThreadsFull = 2,
    /// A file or socket found no room for its name; its bytes are counted under the path row.
    ObjectsFull = 3,
    /// A write came from memory that had been read into, but the read had been forgotten to make room for
    /// others: if it relayed those bytes, it shows as two legs.
    PairsEvicted = 4,
    /// A call touched more memory, or more sources, than are followed: the rest stays a leg.
    PairsTruncated = 5,
    /// A call found its process at the limit of named flows; its bytes are counted under the path row.
    FlowsOverflow = 6,
    /// The vector of a readv- or writev-like call could not be read back: its bytes stay a leg.
    IovUnread = 7,
    /// A call through a compatibility entry (32-bit, x32): counted as a call, its bytes are not.
    CompatCalls = 8,
    /// The mappings of a process could not be looked at when it wrote from memory that was not known: its bytes stay
    /// a leg, also when they came from a mapped file.
    MappingsUnread = 9,
    /// What others did to a pipe could not be followed: bytes that were spliced into it and out of it stay two legs.
    PipesUnmatched = 10,
    /// A request of a ring moved bytes, or may have, of which no completion told: its bytes are in no row.
    RingUnseen = 11,
    /// A request of Linux AIO that was not seen to be reaped, or a call that reaped more than are followed, or some that
    /// could not be read back: their bytes are in no row.
    AioUnread = 12,
    /// A zero-copy send that could not be told from others, or what the kernel reported of it: its bytes stay unknown.
    ZerocopyUnmatched = 13,
    /// The mappings of a process could not be looked at when it took a page fault on memory that was not known: if a file
    /// is mapped there, its pages are in no row.
    FaultsUnread = 14,
    /// What a connection sent could not be followed: too many connections, too many rows at a time, or several who sent on it at
    /// the same time. Its bytes were not seen to leave, and what became of them is unknown.
    TransmissionsUnmatched = 15,
}

impl Loss {
    /// Every counter, in the order of the report.
    pub const ALL: [Self; 16] = [
        Self::RingFull,
        Self::RowsFull,
        Self::ThreadsFull,
        Self::ObjectsFull,
        Self::PairsEvicted,
        Self::PairsTruncated,
        Self::FlowsOverflow,
        Self::IovUnread,
        Self::CompatCalls,
        Self::MappingsUnread,
        Self::PipesUnmatched,
        Self::RingUnseen,
        Self::AioUnread,
        Self::ZerocopyUnmatched,
        Self::FaultsUnread,
        Self::TransmissionsUnmatched,
    ];

    /// The name of the counter in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::RowsFull => "rows_full",
            Self::ThreadsFull => "threads_full",
            Self::ObjectsFull => "objects_full",
            Self::PairsEvicted => "pairs_evicted",
            Self::PairsTruncated => "pairs_truncated",
            Self::FlowsOverflow => "flows_overflow",
            Self::IovUnread => "iov_unread",
            Self::CompatCalls => "compat_calls",
            Self::MappingsUnread => "mappings_unread",
            Self::PipesUnmatched => "pipes_unmatched",
            Self::RingUnseen => "ring_unseen",
            Self::AioUnread => "aio_unread",
            Self::ZerocopyUnmatched => "zerocopy_unmatched",
            Self::FaultsUnread => "faults_unread",
            Self::TransmissionsUnmatched => "transmissions_unmatched",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_numbered_in_the_order_of_the_list() {
        for (index, loss) in Loss::ALL.iter().enumerate() {
            assert_eq!(*loss as usize, index);
        }
    }
}
