//! Objects: the files, sockets, pipes and devices that descriptors stand for.

use crate::{assert_layout, pod};

/// Key of the `OBJECTS` map: an inode in memory, told apart from a later one at the same address.
///
/// Pipes and sockets have an inode number that is never used again; files of the same number differ
/// in `i_generation`, which file systems that reuse numbers fill with a random value. What has a path is
/// another object to a process with another root, as it has another name there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectKey {
    /// Address of the `struct inode`.
    pub inode: u64,
    /// `i_ino`.
    pub number: u64,
    /// `i_generation`.
    pub generation: u32,
    /// Of what has a path: [`root_id`] of the process. Of pipes and sockets: zero.
    pub root: u32,
}

/// A short name for the root of a process's paths (`fs_struct.root`), never zero. Two roots of one machine have the
/// same one at a chance of one in four thousand million.
#[inline]
pub const fn root_id(mount: u64, entry: u64) -> u32 {
    let mixed = (mount ^ entry.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32 | 1
}

/// Value of the `OBJECTS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectValue {
    /// The object's id in rows and records.
    pub id: u32,
    /// A [`crate::path::Kind`].
    pub kind: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

/// How many bytes of a path are kept. Longer ones lose their beginning.
pub const PATH_BYTES: usize = 1024;
/// The longest name of one directory entry, with its terminating NUL (`NAME_MAX`, `DNAME_INLINE`).
pub const NAME_BYTES: usize = 256;
/// How many directories deep a path is followed.
pub const PATH_DEPTH: usize = 40;

/// The path is longer or deeper than was kept: its beginning is missing.
pub const PATH_TRUNCATED: u32 = 1;
/// The directory entry is not in the tree any more: the file was deleted.
pub const PATH_DELETED: u32 = 2;
/// The file is in no directory: a pipe, an anonymous inode, memory. `path` is what the kernel calls it.
pub const PATH_PSEUDO: u32 = 8;
/// The socket has addresses of four bytes; without it, of sixteen.
pub const ADDRESS_IPV4: u32 = 4;

/// The name of an object, sent once for each id.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ObjectRecord {
    /// [`crate::record::Header`].
    pub header: crate::record::Header,
    /// The object's id in rows.
    pub id: u32,
    /// A [`crate::path::Kind`].
    pub kind: u32,
    /// `i_ino`.
    pub number: u64,
    /// `s_dev` in the kernel's encoding: major number above 20 bits of minor.
    pub device: u32,
    /// `i_generation`.
    pub generation: u32,
    /// `PATH_*`, `ADDRESS_*`.
    pub flags: u32,
    /// Bytes used of `path`.
    pub path_len: u32,
    /// Of an internet socket: its own address, network byte order.
    pub local_address: [u8; 16],
    /// Of an internet socket: the peer's address, network byte order.
    pub remote_address: [u8; 16],
    /// Of an internet socket: its own port, host byte order.
    pub local_port: u16,
    /// Of an internet socket: the peer's port, host byte order; 0 when it has no peer.
    pub remote_port: u16,
    /// Always zero.
    pub reserved: u32,
    /// The names of the directory entries from the file up to the root, each ended by NUL.
    pub path: [u8; PATH_BYTES + NAME_BYTES],
}

assert_layout!(ObjectKey, 24, [u64, u64, u32, u32]);
assert_layout!(ObjectValue, 8, [u32, u8, [u8; 3]]);
assert_layout!(
    ObjectRecord,
    80 + PATH_BYTES + NAME_BYTES,
    [crate::record::Header, u32, u32, u64, [u32; 4], [u8; 32], [u16; 2], u32, [u8; PATH_BYTES + NAME_BYTES]]
);
pod!(ObjectKey, ObjectValue, ObjectRecord);
