//! Memory for rows before the first is wanted.
//!
//! Maps that do not take their memory in advance have a small store of it on each CPU (`bpf_mem_alloc`, since Linux 6.1). It
//! is filled by an interrupt when it runs low, and at first it holds a single element or a few. A page fault begins with
//! interrupts off: a program there that needs two new rows would find none, and lose one.

use std::thread;

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use zc_common::{
    maps::{ROWS, THREADS},
    row::{RowKey, RowValue},
    thread::Thread,
};

/// Has the store of each CPU filled that this process may run on; on others, what is lost is counted. Nothing may be
/// attached yet.
pub(super) fn prime(ebpf: &mut Ebpf) {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return };
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
    // Not by the thread that runs commands: they would inherit where it may run.
    thread::scope(|scope| {
        scope.spawn(|| {
            for cpu in cpus {
                let mut only = CpuSet::new();
                if only.set(cpu).is_ok() && sched_setaffinity(Pid::from_raw(0), &only).is_ok() {
                    use_once::<RowKey, RowValue>(ebpf, ROWS, RowKey::NONE, RowValue::default());
                    use_once::<u32, Thread>(ebpf, THREADS, 0, Thread::default());
                }
            }
        });
    });
}

/// Takes an element and gives it back, which is when the kernel looks whether the store runs low.
fn use_once<K: Pod, V: Pod>(ebpf: &mut Ebpf, name: &str, key: K, value: V) {
    let map = ebpf.map_mut(name).and_then(|map| HashMap::<&mut MapData, K, V>::try_from(map).ok());
    if let Some(mut map) = map {
        // Where that fails, the first row will, and is counted.
        let _ = map.insert(key, value, 0);
        let _ = map.remove(&key);
    }
}
