//! Empty programs: what being attached costs by itself. `cargo xtask bench` measures against them; zc itself
//! never loads them.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

/// Nothing, at the end of one kind of call.
#[tracepoint]
pub(crate) fn zc_floor_exit(_ctx: TracePointContext) -> u32 {
    0
}

/// Nothing, at the end of every call.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn zc_floor_all(_ctx: BtfTracePointContext) -> i32 {
    0
}
