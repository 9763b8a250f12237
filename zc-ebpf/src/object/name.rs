//! Writing the record that names an object.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use zc_common::{
    object::{
        ADDRESS_IPV4, NAME_BYTES, ObjectRecord, PATH_BYTES, PATH_DELETED, PATH_DEPTH, PATH_PSEUDO,
        PATH_TRUNCATED,
    },
    path::Kind,
    record::RecordKind,
};

use super::File;
use crate::kernel::{Typed, current, global, pointer, probe, typed};

/// Fills all of `record` but the unused end of its path.
#[inline(always)]
pub(super) fn write(record: *mut ObjectRecord, id: u32, kind: u8, file: &File, sock: u64) {
    let superblock: u64 = probe!(file.inode, inode_i_sb).unwrap_or(0);
    // SAFETY: `record` is ring buffer memory of this size; its fields are written before any is read.
    unsafe {
        (*record).header = RecordKind::Object.header();
        (*record).id = id;
        (*record).kind = u32::from(kind);
        (*record).number = file.number;
        (*record).device = probe!(superblock, super_s_dev).unwrap_or(0);
        (*record).generation = file.generation;
        (*record).flags = 0;
        (*record).path_len = 0;
        (*record).local_address = [0; 16];
        (*record).remote_address = [0; 16];
        (*record).local_port = 0;
        (*record).remote_port = 0;
        (*record).reserved = 0;
    }
    if sock == 0 {
        write_path(record, file);
    } else if kind == Kind::Tcp as u8 || kind == Kind::Udp as u8 {
        write_addresses(record, sock);
    }
}

#[inline(always)]
fn write_addresses(record: *mut ObjectRecord, sock: u64) {
    const AF_INET: u16 = 2;
    // SAFETY: as above; the addresses have room for what is read.
    unsafe {
        let local = (&raw mut (*record).local_address).cast();
        let remote = (&raw mut (*record).remote_address).cast();
        let family: u16 = probe!(sock, sock_skc_family).unwrap_or(0);
        if family == AF_INET {
            (*record).flags |= ADDRESS_IPV4;
            bpf_probe_read_kernel(
                local,
                4,
                (sock + u64::from(global!(OFFSETS.sock_skc_rcv_saddr))) as *const _,
            );
            bpf_probe_read_kernel(remote, 4, (sock + u64::from(global!(OFFSETS.sock_skc_daddr))) as *const _);
        } else {
            bpf_probe_read_kernel(
                local,
                16,
                (sock + u64::from(global!(OFFSETS.sock_skc_v6_rcv_saddr))) as *const _,
            );
            bpf_probe_read_kernel(
                remote,
                16,
                (sock + u64::from(global!(OFFSETS.sock_skc_v6_daddr))) as *const _,
            );
        }
        (*record).local_port = probe!(sock, sock_skc_num).unwrap_or(0);
        let remote_port: u16 = probe!(sock, sock_skc_dport).unwrap_or(0);
        (*record).remote_port = u16::from_be(remote_port);
    }
}

/// Follows the directory entries up to the root that the process sees, across mounts: what
/// `prepend_path` in `fs/d_path.c` does.
#[inline(always)]
fn write_path(record: *mut ObjectRecord, file: &File) -> Option<()> {
    let fs: Typed = pointer!(current(), task_fs, fs_type);
    // A task that is ending has none; then the path goes up to the root of its mount namespace.
    let (root_mount, root_entry) =
        if fs.is_null() { (0, 0) } else { (typed!(fs, fs_root_mnt), typed!(fs, fs_root_dentry)) };
    let mount: u64 = probe!(file.file, file_f_path_mnt)?;
    let entry: u64 = probe!(file.file, file_f_path_dentry)?;
    let hash: u64 = probe!(entry, dentry_d_hash_pprev)?;
    let flags = if hash == 0 { PATH_DELETED | PATH_TRUNCATED } else { PATH_TRUNCATED };
    let mut walk = Walk { record, mount, entry, root_mount, root_entry, len: 0, flags, reserved: 0 };
    // SAFETY: `step` has the signature of a callback, and `walk` outlives the loop.
    unsafe { bpf_loop(PATH_DEPTH as u32, step as *mut c_void, (&raw mut walk).cast(), 0) };
    // SAFETY: ring buffer memory.
    unsafe {
        (*record).flags = walk.flags;
        (*record).path_len = walk.len as u32;
    }
    Some(())
}

/// Where a walk from a file to its root has come to.
#[repr(C)]
struct Walk {
    record: *mut ObjectRecord,
    mount: u64,
    entry: u64,
    root_mount: u64,
    root_entry: u64,
    len: u64,
    flags: u32,
    reserved: u32,
}

/// A step of it; not 0 when it is over. A function that is called in a loop is verified once, and not for each step.
#[inline(never)]
extern "C" fn step(_index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `write_path` passes its own.
    let walk = unsafe { &mut *walk };
    match try_step(walk) {
        Some(()) => 0,
        None => 1,
    }
}

#[inline(always)]
fn try_step(walk: &mut Walk) -> Option<()> {
    let Walk { record, mount, entry, root_mount, root_entry, len, .. } = *walk;
    if entry == root_entry && mount == root_mount {
        walk.flags &= !PATH_TRUNCATED;
        return None;
    }
    let mount_root: u64 = probe!(mount, vfsmount_mnt_root)?;
    let parent: u64 = probe!(entry, dentry_d_parent)?;
    if entry == mount_root || entry == parent {
        // `struct vfsmount` is a member of `struct mount`.
        let inside = u64::from(global!(OFFSETS.mount_mnt));
        let outer = mount - inside;
        let above: u64 = probe!(outer, mount_mnt_parent)?;
        if above == outer {
            walk.flags &= !PATH_TRUNCATED;
            if len == 0 {
                walk.flags = PATH_PSEUDO;
                walk.len = append(record, 0, entry);
            }
            return None;
        }
        walk.entry = probe!(outer, mount_mnt_mountpoint)?;
        walk.mount = above + inside;
        return Some(());
    }
    if len >= PATH_BYTES as u64 {
        return None;
    }
    let next = append(record, len, entry);
    if next == len {
        return None;
    }
    walk.len = next;
    walk.entry = parent;
    Some(())
}

/// Appends the name of a directory entry with its NUL; returns the new length.
#[inline(always)]
fn append(record: *mut ObjectRecord, len: u64, entry: u64) -> u64 {
    let Some(name) = probe!(entry, dentry_d_name_name) else { return len };
    let name: u64 = name;
    // SAFETY: the path has `NAME_BYTES` behind any offset below `PATH_BYTES`.
    let read = unsafe {
        let end = (&raw mut (*record).path).cast::<MaybeUninit<u8>>().add(len as usize & (PATH_BYTES - 1));
        bpf_probe_read_kernel_str(end.cast(), NAME_BYTES as u32, name as *const _)
    };
    if read > 0 && read <= NAME_BYTES as i64 { len + read as u64 } else { len }
}
