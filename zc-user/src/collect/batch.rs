//! Whole maps, many entries in one call: `BPF_MAP_LOOKUP_BATCH` (Linux 5.6, `generic_map_lookup_batch` and
//! `__htab_map_lookup_and_delete_batch` in kernel/bpf).
//!
//! A hash is gone through bucket by bucket, each under its lock, so that every entry comes once whatever happens to others in the
//! meantime. Going from key to key does not do that: it begins anew after a key that is gone.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, MapError},
    sys::SyscallError,
};

/// Entries of the first call; doubled when a bucket has more, which is rare.
const ENTRIES: u32 = 1024;
/// More than one bucket can have.
const ENTRIES_MAX: u32 = 1 << 24;
/// `enum bpf_cmd` in include/uapi/linux/bpf.h.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// The part of `union bpf_attr` that batches use.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// All entries of the hash of this name.
pub(super) fn entries<K: Pod, V: Pod>(ebpf: &Ebpf, name: &str) -> Result<Vec<(K, V)>, MapError> {
    match ebpf.map(name) {
        Some(Map::HashMap(map)) => read(map),
        _ => Err(MapError::InvalidName { name: name.to_owned() }),
    }
}

fn read<K: Pod, V: Pod>(map: &MapData) -> Result<Vec<(K, V)>, MapError> {
    let mut entries = Vec::new();
    let mut keys = Vec::<K>::new();
    let mut values = Vec::<V>::new();
    let mut count = ENTRIES;
    // The number of the bucket that comes next, as the kernel has it.
    let mut position = 0_u32;
    let mut is_first = true;
    loop {
        keys.reserve_exact(count as usize);
        values.reserve_exact(count as usize);
        let mut next = 0_u32;
        let mut attributes = Attributes {
            in_batch: if is_first { 0 } else { (&raw const position) as u64 },
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count,
            map_fd: map.fd().as_fd().as_raw_fd().unsigned_abs(),
            ..Attributes::default()
        };
        // SAFETY: the buffers have room for `count` keys and values of the map's sizes, and live until the call has returned.
        let status = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, &raw mut attributes, size_of::<Attributes>())
        };
        let error = (status < 0).then(io::Error::last_os_error);
        let is_last = match error.as_ref().and_then(io::Error::raw_os_error) {
            None => false,
            Some(libc::ENOENT) => true,
            Some(libc::ENOSPC) if count < ENTRIES_MAX => {
                count *= 2;
                continue;
            }
            Some(_) => {
                let io_error = error.unwrap_or_else(io::Error::last_os_error);
                return Err(SyscallError { call: "bpf_map_lookup_batch", io_error }.into());
            }
        };
        let read = attributes.count.min(count) as usize;
        // SAFETY: the kernel has filled in so many, and both types are plain old data.
        unsafe {
            keys.set_len(read);
            values.set_len(read);
        }
        entries.extend(keys.drain(..).zip(values.drain(..)));
        if is_last {
            return Ok(entries);
        }
        position = next;
        is_first = false;
    }
}
