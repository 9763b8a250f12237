//! What the kernel made of a program.

use aya::{Ebpf, programs::ProgramInfo};
use serde::Serialize;

use super::hook::Hook;

/// How large a program is to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Instructions that the verifier went through on all ways together; none before Linux 5.16, and of what was not
    /// loaded.
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code; none of what was not loaded or is interpreted.
    pub machine_code_bytes: Option<u32>,
}

impl Size {
    /// Asks the kernel.
    pub(super) fn of(ebpf: &Ebpf, hook: &Hook) -> Self {
        let info = ebpf.program(hook.program).and_then(|program| program.info().ok());
        Self {
            verified_instructions: info.as_ref().and_then(ProgramInfo::verified_instruction_count),
            machine_code_bytes: info.map(|info| info.size_jitted()).filter(|bytes| *bytes > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use zc_common::{
        row::{RowKey, RowValue},
        thread::Thread,
        transmission::{STREAMS_MAX, Stream},
    };

    /// What the kernel counts of a hash that grows (`htab_map_mem_usage`): a bucket of 16 bytes for each entry that there may
    /// be, rounded up to a power of two, and `struct htab_elem` with key and value for each that there is.
    fn hash_bytes(most: usize, entries: usize, key: usize, value: usize) -> usize {
        most.next_power_of_two() * 16 + entries * entry_bytes(key, value)
    }

    const fn entry_bytes(key: usize, value: usize) -> usize {
        56 + key.next_multiple_of(8) + value.next_multiple_of(8)
    }

    /// `Process` of `zc-ebpf/src/maps.rs`.
    const PROCESS: usize = 32;

    #[test]
    fn a_large_machine_needs_what_the_document_says() {
        const TEXT: &str = include_str!("../../../docs/overhead.md");
        let mib = |bytes: usize| (bytes as f64 / f64::from(1 << 20)).round();
        let (thread, row, stream) = (size_of::<Thread>(), size_of::<RowValue>(), size_of::<Stream>());
        let key = size_of::<RowKey>();
        let lines = [
            ("kernel memory for threads", hash_bytes(131_072, 100_000, 4, thread), entry_bytes(4, thread)),
            ("for processes", hash_bytes(131_072, 10_000, 4, PROCESS), entry_bytes(4, PROCESS)),
            ("for rows", hash_bytes(524_288, 400_000, key, row), entry_bytes(key, row)),
            (
                "for connections",
                hash_bytes(STREAMS_MAX as usize, STREAMS_MAX as usize, 8, stream),
                entry_bytes(8, stream),
            ),
        ];
        for (what, all, one) in lines {
            let line = TEXT.lines().find(|line| line.starts_with(&format!("| {what}"))).expect(what);
            assert!(
                line.ends_with(&format!("| {one} bytes | {} MiB |", mib(all))),
                "{what}: {one}, {} MiB: {line}",
                mib(all)
            );
        }
    }
}
