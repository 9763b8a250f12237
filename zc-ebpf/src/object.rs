//! From a descriptor to what it stands for.

mod name;

use aya_ebpf::bindings::BPF_NOEXIST;
use zc_common::{
    loss::Loss,
    object::{ObjectKey, ObjectValue, root_id},
    path::{Kind, Tls, tcp_with},
    row::{DIRECT_DESTINATION, DIRECT_SOURCE},
    thread::{DESCRIPTORS, Descriptor, Thread},
};

use crate::{
    kernel::{Typed, address_at, current, fetch_add, global, pointer, probe, probe_at, probe_both, typed},
    maps::{EVENTS, OBJECTS, SESSION, lose, wake_up},
    row,
};

/// One end of a call.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct End {
    /// A [`Kind`].
    pub(crate) kind: u8,
    /// It is open with `O_DIRECT`.
    pub(crate) direct: bool,
    /// Its id, 0 when it is not named.
    pub(crate) object: u32,
}

/// `include/uapi/asm-generic/fcntl.h`
const O_DIRECT: u32 = 0o40_000;

impl End {
    const UNKNOWN: Self = Self { kind: Kind::Unknown as u8, direct: false, object: 0 };
    /// The memory of another process.
    pub(crate) const MEMORY: Self = Self { kind: Kind::Memory as u8, direct: false, object: 0 };

    /// The flag that a row has when this is its source.
    #[inline(always)]
    pub(crate) fn source_flags(self) -> u8 {
        if self.direct { DIRECT_SOURCE } else { 0 }
    }

    /// The flag that a row has when this is its destination.
    #[inline(always)]
    pub(crate) fn destination_flags(self) -> u8 {
        if self.direct { DIRECT_DESTINATION } else { 0 }
    }
}

/// A file in memory, with what tells it apart from a later one at the same address.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the address of the `struct file` itself")]
pub(crate) struct File {
    pub(crate) file: u64,
    pub(crate) inode: u64,
    pub(crate) number: u64,
    pub(crate) generation: u32,
}

/// What descriptor `fd` of the running thread stands for.
#[inline(always)]
pub(crate) fn end_of(thread: *mut Thread, task: Typed, fd: u64) -> End {
    lookup(thread, task, fd).unwrap_or(End::UNKNOWN)
}

/// The result has to hold the memory of the descriptor against everything that can change under the same
/// number: a file, its inode and its contents may all come back at the same address (slab caches hand out
/// what was freed last), so number and generation of the inode are compared too.
#[inline(always)]
fn lookup(thread: *mut Thread, task: Typed, fd: u64) -> Option<End> {
    let file = file_at(task, fd)?;
    let fd = fd as u32;
    let (found, direct) = identify_open(file)?;

    // SAFETY: map memory, only this thread's.
    let slot = unsafe { &mut (*thread).descriptors[fd as usize & (DESCRIPTORS - 1)] };
    let same = slot.file == file
        && slot.fd == fd as i32
        && slot.inode == found.inode
        && slot.number == found.number
        && slot.generation == found.generation;
    if !same {
        let (kind, object) = resolve(thread, &found)?;
        *slot = Descriptor {
            file,
            inode: found.inode,
            number: found.number,
            generation: found.generation,
            fd: fd as i32,
            object,
            kind,
            reserved: [0; 3],
        };
    }
    let (kind, object) = (slot.kind, slot.object);
    Some(End { kind: with_tls(kind, file), direct, object })
}

/// The `struct file` of descriptor `fd`.
#[inline(always)]
pub(crate) fn file_at(task: Typed, fd: u64) -> Option<u64> {
    let fd = fd as u32;
    let files: Typed = pointer!(task, task_files, files_type);
    if files.is_null() {
        return None;
    }
    let table: Typed = typed!(files, files_fdt);
    if table.is_null() {
        return None;
    }
    let size: u32 = typed!(table, fdtable_max_fds);
    if fd >= size {
        return None;
    }
    let array: u64 = typed!(table, fdtable_fd);
    probe_at(array + u64::from(fd) * 8).filter(|&file| file != 0)
}

/// Which pipe a file is; inode 0 when it is none.
#[inline(always)]
pub(crate) fn pipe_of_file(file: u64) -> ObjectKey {
    try_pipe_of_file(file).unwrap_or(ObjectKey { inode: 0, number: 0, generation: 0, root: 0 })
}

#[inline(always)]
fn try_pipe_of_file(file: u64) -> Option<ObjectKey> {
    if file == 0 {
        return None;
    }
    let File { inode, number, generation, .. } = identify(file)?;
    let mode: u16 = probe!(inode, inode_i_mode)?;
    (Kind::of_inode(mode, 0, 0) == Some(Kind::Pipe)).then_some(ObjectKey {
        inode,
        number,
        generation,
        root: 0,
    })
}

/// Which pipe descriptor `fd` was when it was looked at last; inode 0 when it was none.
#[inline(always)]
pub(crate) fn pipe_key(thread: *mut Thread, fd: u64) -> ObjectKey {
    // SAFETY: map memory, only this thread's.
    let slot = unsafe { &(*thread).descriptors[fd as usize & (DESCRIPTORS - 1)] };
    let is_pipe = slot.fd == fd as i32 && slot.kind == Kind::Pipe as u8;
    ObjectKey {
        inode: if is_pipe { slot.inode } else { 0 },
        number: slot.number,
        generation: slot.generation,
        // Whatever the roots of those who use it.
        root: 0,
    }
}

/// Whether descriptor `fd`, which was looked at last, is open for writing.
#[inline(always)]
pub(crate) fn is_writable(thread: *mut Thread, fd: u64) -> bool {
    const O_ACCMODE: u32 = 3;
    // SAFETY: map memory, only this thread's.
    let file = unsafe { (*thread).descriptors[fd as usize & (DESCRIPTORS - 1)].file };
    let flags: u32 = probe!(file, file_f_flags).unwrap_or(0);
    flags & O_ACCMODE != 0
}

/// Whether descriptor `fd`, which was looked at last, is a TCP socket.
#[inline(always)]
pub(crate) fn is_tcp(thread: *mut Thread, fd: u64) -> bool {
    // SAFETY: map memory, only this thread's.
    unsafe { (*thread).descriptors[fd as usize & (DESCRIPTORS - 1)].kind == Kind::Tcp as u8 }
}

/// What a file is that is known by more than a descriptor.
#[inline(always)]
pub(crate) fn end_of_file(thread: *mut Thread, file: u64) -> End {
    try_end_of_file(thread, file).unwrap_or(End::UNKNOWN)
}

#[inline(always)]
fn try_end_of_file(thread: *mut Thread, file: u64) -> Option<End> {
    if file == 0 {
        return None;
    }
    let (found, direct) = identify_open(file)?;
    let (kind, object) = resolve(thread, &found)?;
    Some(End { kind: with_tls(kind, file), direct, object })
}

/// A connection can be given TLS at any time, so it is looked at each time.
#[inline(always)]
fn with_tls(kind: u8, file: u64) -> u8 {
    if kind == Kind::Tcp as u8 { zc_tcp_kind(file) as u8 } else { kind }
}

/// The kind of a file that is a TCP socket, with what TLS in the kernel makes of its bytes. A global function: the verifier looks
/// at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_tcp_kind(file: u64) -> u64 {
    let tls = sock_of_file(file).map_or(NO_TLS, tls_of);
    tcp_with(Tls::of_conf(tls & 7), Tls::of_conf(tls >> 3)).into()
}

/// As [`tls_of`] gives it.
const NO_TLS: u8 = 0;

/// `rx_conf` and, three bits above, `tx_conf` of a connection.
#[inline(always)]
fn tls_of(sock: u64) -> u8 {
    const TLS: u32 = u32::from_le_bytes(*b"tls\0");
    const UNKNOWN: u8 = 7 << 3 | 7;
    let operations: u64 =
        if global!(OFFSETS.icsk_ulp_ops) == 0 { 0 } else { probe!(sock, icsk_ulp_ops).unwrap_or(0) };
    if operations == 0 || probe!(operations, ulp_name) != Some(TLS) {
        return NO_TLS;
    }
    let context: u64 = probe!(sock, icsk_ulp_data).unwrap_or(0);
    if context == 0 || global!(OFFSETS.tls_conf) == 0 {
        return UNKNOWN;
    }
    // `tx_conf` is the lower one.
    let conf: u8 = probe!(context, tls_conf).unwrap_or(UNKNOWN);
    conf >> 3 & 7 | (conf & 7) << 3
}

/// Whether what leaves by a connection is not what was given to it, but encrypted.
#[inline(always)]
pub(crate) fn encrypts(sock: u64) -> bool {
    tls_of(sock) >> 3 != 0
}

/// Stands for the descriptor of an end that was found otherwise.
pub(crate) const NO_DESCRIPTOR: u64 = u64::MAX;

/// The `struct sock` of a descriptor that was just looked up, if it is a socket.
#[inline(always)]
pub(crate) fn sock_of(thread: *mut Thread, fd: u64) -> Option<u64> {
    // SAFETY: map memory, only this thread's.
    let slot = unsafe { &(*thread).descriptors[fd as usize & (DESCRIPTORS - 1)] };
    if slot.fd != fd as i32 {
        return None;
    }
    sock_of_file(slot.file)
}

/// The `struct sock` of a file that is a socket.
#[inline(always)]
pub(crate) fn sock_of_file(file: u64) -> Option<u64> {
    let socket: u64 = probe!(file, file_private_data)?;
    probe!(socket, socket_sk).filter(|&sock| sock != 0)
}

/// The inode number of a descriptor that was just looked up.
#[inline(always)]
pub(crate) fn number_of(thread: *mut Thread, fd: u64) -> u64 {
    // SAFETY: map memory, only this thread's.
    unsafe { (*thread).descriptors[fd as usize & (DESCRIPTORS - 1)].number }
}

/// A later look at the descriptor finds its flow unnamed.
#[inline(always)]
pub(crate) fn forget_name(thread: *mut Thread, fd: u64) {
    // SAFETY: map memory, only this thread's.
    let slot = unsafe { &mut (*thread).descriptors[fd as usize & (DESCRIPTORS - 1)] };
    if slot.fd == fd as i32 {
        slot.object = 0;
    }
}

/// What tells `file` apart from others in time and space.
#[inline(always)]
pub(crate) fn identify(file: u64) -> Option<File> {
    identify_inode(file, probe!(file, file_f_inode)?)
}

/// The same, and whether it is open with `O_DIRECT`.
#[inline(always)]
fn identify_open(file: u64) -> Option<(File, bool)> {
    let (inode, flags): (u64, u32) =
        probe_both(file, global!(OFFSETS.file_f_inode), global!(OFFSETS.file_f_flags))?;
    Some((identify_inode(file, inode)?, flags & O_DIRECT != 0))
}

#[inline(always)]
fn identify_inode(file: u64, inode: u64) -> Option<File> {
    let (number, generation) =
        probe_both(inode, global!(OFFSETS.inode_i_ino), global!(OFFSETS.inode_i_generation))?;
    Some(File { file, inode, number, generation })
}

/// Kind and id of a file; sends its name the first time.
#[inline(always)]
pub(crate) fn resolve(thread: *mut Thread, file: &File) -> Option<(u8, u32)> {
    let File { file, inode, number, generation, .. } = *file;
    let packed = zc_resolve(thread, file, inode, number, generation.into());
    (packed != UNRESOLVED).then_some(((packed >> 32) as u8, packed as u32))
}

const UNRESOLVED: u64 = u64::MAX;

/// Kind above id, or [`UNRESOLVED`]. A global function: the verifier looks at it once, and not again at each
/// call. It is given numbers and no reference, which would lie on the stack of each caller.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_resolve(thread: *mut Thread, file: u64, inode: u64, number: u64, generation: u64) -> u64 {
    if thread.is_null() {
        return UNRESOLVED;
    }
    match try_resolve(thread, &File { file, inode, number, generation: generation as u32 }) {
        Some((kind, id)) => u64::from(kind) << 32 | u64::from(id),
        None => UNRESOLVED,
    }
}

#[inline(always)]
fn try_resolve(thread: *mut Thread, file: &File) -> Option<(u8, u32)> {
    // Pipes and sockets have no path, which would begin at a root.
    let root = if has_no_path(probe!(file.inode, inode_i_mode)?) { 0 } else { own_root() };
    let key = ObjectKey { inode: file.inode, number: file.number, generation: file.generation, root };
    if let Some(known) = OBJECTS.get_ptr(&key) {
        // SAFETY: map memory; a value is never changed.
        return Some(unsafe { ((*known).kind, (*known).id) });
    }
    let (kind, sock) = kind_of(file)?;
    // SAFETY: map memory, only this thread's.
    if !row::has_flows_left(unsafe { (*thread).tgid }) {
        lose(Loss::FlowsOverflow);
        return Some((kind, 0));
    }
    let Some(mut entry) = EVENTS.reserve(0) else {
        lose(Loss::RingFull);
        return Some((kind, 0));
    };
    let Some(session) = SESSION.get_ptr_mut(0) else {
        entry.discard(0);
        return None;
    };
    // SAFETY: map memory.
    let id = fetch_add(unsafe { &raw mut (*session).objects }, 1) as u32 + 1;
    name::write(entry.as_mut_ptr(), id, kind, file, sock);
    let value = ObjectValue { id, kind, reserved: [0; 3] };
    if OBJECTS.insert(&key, &value, u64::from(BPF_NOEXIST)).is_ok() {
        entry.submit(wake_up());
        return Some((kind, id));
    }
    entry.discard(0);
    // Another thread has just named it, or the map is full.
    if let Some(known) = OBJECTS.get_ptr(&key) {
        // SAFETY: map memory; a value is never changed.
        return Some(unsafe { ((*known).kind, (*known).id) });
    }
    lose(Loss::ObjectsFull);
    Some((kind, 0))
}

/// Whether a file of this `i_mode` is a pipe or a socket.
#[inline(always)]
fn has_no_path(mode: u16) -> bool {
    const S_IFMT: u16 = 0o170_000;
    const S_IFIFO: u16 = 0o010_000;
    const S_IFSOCK: u16 = 0o140_000;
    matches!(mode & S_IFMT, S_IFIFO | S_IFSOCK)
}

/// Where the running process's paths begin.
#[inline(always)]
fn own_root() -> u32 {
    let fs: Typed = pointer!(current(), task_fs, fs_type);
    // A task that is ending has none.
    if fs.is_null() {
        return 1;
    }
    root_id(address_at(fs, global!(OFFSETS.fs_root_mnt)), address_at(fs, global!(OFFSETS.fs_root_dentry)))
}

/// The kind of a file, and its `struct sock` if it is a socket.
#[inline(always)]
fn kind_of(file: &File) -> Option<(u8, u64)> {
    let mode: u16 = probe!(file.inode, inode_i_mode)?;
    let device: u32 = probe!(file.inode, inode_i_rdev)?;
    let superblock: u64 = probe!(file.inode, inode_i_sb)?;
    let magic: u64 = probe!(superblock, super_s_magic)?;
    if let Some(kind) = Kind::of_inode(mode, device, magic) {
        return Some((kind as u8, 0));
    }
    // `sock_alloc_file` keeps the `struct socket` in `private_data`.
    let socket: u64 = probe!(file.file, file_private_data)?;
    let sock: u64 = probe!(socket, socket_sk)?;
    if sock == 0 {
        return Some((Kind::Other as u8, 0));
    }
    let family: u16 = probe!(sock, sock_skc_family)?;
    let socket_type: u16 = probe!(sock, sock_sk_type)?;
    let protocol: u16 = probe!(sock, sock_sk_protocol)?;
    Some((Kind::of_socket(family, socket_type, protocol) as u8, sock))
}
