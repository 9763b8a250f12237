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
