//! The vocabulary of the report: kernel paths and the kinds of ends they join.

/// The kernel mechanism that moved bytes. The numbers are part of the map format.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Not a path: the row that holds the totals of a thread that has ended.
    Thread = 0,
    /// A leg source → memory whose bytes found no partner: read, pread64, readv, preadv, preadv2.
    Read = 1,
    /// A leg memory → destination whose bytes found no partner: write, pwrite64, writev, pwritev, pwritev2.
    Write = 2,
    /// Bytes written from the very user memory they had been read into.
    ReadWrite = 3,
    /// What page faults made accessible of mapped files, or made writable.
    Mmap = 4,
    /// Bytes written from memory that maps a file: nothing had read them.
    MmapWrite = 5,
    /// sendfile(2), `sendfile64` in the kernel.
    Sendfile = 8,
    /// splice(2) into a pipe, out of one, or both: from what filled the pipe to where its bytes went.
    Splice = 9,
    /// tee(2), and where the bytes went that it had put into a pipe.
    Tee = 10,
    /// vmsplice(2), and where the bytes went that it had put into a pipe.
    Vmsplice = 11,
    /// `copy_file_range(2)`.
    CopyFileRange = 12,
    /// Sent from user memory with `MSG_ZEROCOPY`, on a socket that allows it. The source is what was read into that
    /// memory or is mapped there.
    SendZerocopy = 13,
    /// Pages of a TCP connection that were mapped into memory (`TCP_ZEROCOPY_RECEIVE`), and what was copied beside them.
    RecvZerocopy = 14,
    /// A read leg at a file that is open with `O_DIRECT`. Only in reports: rows have `Read` and a flag.
    DirectRead = 15,
    /// A write leg likewise.
    DirectWrite = 16,
}

impl Path {
    /// Every path that a row of the report can have.
    pub const ALL: [Self; 14] = [
        Self::Read,
        Self::Write,
        Self::ReadWrite,
        Self::Mmap,
        Self::MmapWrite,
        Self::Sendfile,
        Self::Splice,
        Self::Tee,
        Self::Vmsplice,
        Self::CopyFileRange,
        Self::SendZerocopy,
        Self::RecvZerocopy,
        Self::DirectRead,
        Self::DirectWrite,
    ];

    /// The path of a number from a map, if it is one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Thread,
            1 => Self::Read,
            2 => Self::Write,
            3 => Self::ReadWrite,
            4 => Self::Mmap,
            5 => Self::MmapWrite,
            8 => Self::Sendfile,
            9 => Self::Splice,
            10 => Self::Tee,
            11 => Self::Vmsplice,
            12 => Self::CopyFileRange,
            13 => Self::SendZerocopy,
            14 => Self::RecvZerocopy,
            15 => Self::DirectRead,
            16 => Self::DirectWrite,
            _ => return None,
        })
    }

    /// The name that the report uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read+write",
            Self::Mmap => "mmap",
            Self::MmapWrite => "mmap+write",
            Self::Sendfile => "sendfile",
            Self::Splice => "splice",
            Self::Tee => "tee",
            Self::Vmsplice => "vmsplice",
            Self::CopyFileRange => "copy_file_range",
            Self::SendZerocopy => "send-zerocopy",
            Self::RecvZerocopy => "recv-zerocopy",
            Self::DirectRead => "direct-read",
            Self::DirectWrite => "direct-write",
        }
    }
}

/// What a descriptor, or the other end of a leg, is. The numbers are part of the map format.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The descriptor was not there any more (or never was) when the call ended.
    Unknown = 0,
    /// A regular file, whatever the file system.
    File = 1,
    /// A TCP socket, IPv4 or IPv6.
    Tcp = 2,
    /// A UDP socket, IPv4 or IPv6.
    Udp = 3,
    /// A Unix domain socket of any type.
    Unix = 4,
    /// A pipe or a FIFO.
    Pipe = 5,
    /// A terminal: virtual console, serial line, pseudo-terminal (both sides).
    Tty = 6,
    /// Any other character device, and block devices.
    Device = 7,
    /// User memory.
    Memory = 8,
    /// Anything else: eventfd, timerfd, directories, other socket families.
    Other = 9,
}

impl Kind {
    /// The kind of a number from a map, if it is one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Unknown,
            1 => Self::File,
            2 => Self::Tcp,
            3 => Self::Udp,
            4 => Self::Unix,
            5 => Self::Pipe,
            6 => Self::Tty,
            7 => Self::Device,
            8 => Self::Memory,
            9 => Self::Other,
            _ => return None,
        })
    }

    /// The name that the report uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::File => "file",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Pipe => "pipe",
            Self::Tty => "tty",
            Self::Device => "device",
            Self::Memory => "memory",
            Self::Other => "other",
        }
    }

    /// The kind of an inode, from `i_mode`, `i_rdev` and the file system's magic number; `None` for a
    /// socket, whose kind is in its `struct sock` ([`Self::of_socket`]).
    ///
    /// `i_rdev` is the kernel's own encoding: major number above 20 bits of minor (`include/linux/kdev_t.h`).
    /// Inodes of anonymous files carry no type bits before Linux 6.17 and `S_IFREG` from then on, hence
    /// the look at the file system (`ANON_INODE_FS_MAGIC`).
    pub const fn of_inode(mode: u16, rdev: u32, fs_magic: u64) -> Option<Self> {
        const ANON_INODE_FS_MAGIC: u64 = 0x0904_1934;
        const S_IFMT: u16 = 0o170_000;
        if fs_magic == ANON_INODE_FS_MAGIC {
            return Some(Self::Other);
        }
        Some(match mode & S_IFMT {
            0o100_000 => Self::File,
            0o010_000 => Self::Pipe,
            0o060_000 => Self::Device,
            // TTY_MAJOR, TTYAUX_MAJOR (/dev/tty, /dev/ptmx) and the Unix98 slaves, then serial lines.
            0o020_000 => match rdev >> 20 {
                4 | 5 | 136..=143 | 204 => Self::Tty,
                _ => Self::Device,
            },
            0o140_000 => return None,
            _ => Self::Other,
        })
    }

    /// The kind of a socket, from `skc_family`, `sk_type` and `sk_protocol`.
    pub const fn of_socket(family: u16, socket_type: u16, protocol: u16) -> Self {
        const AF_UNIX: u16 = 1;
        const AF_INET: u16 = 2;
        const AF_INET6: u16 = 10;
        match (family, socket_type, protocol) {
            (AF_UNIX, _, _) => Self::Unix,
            (AF_INET | AF_INET6, 1, 6) => Self::Tcp,
            (AF_INET | AF_INET6, 2, 17) => Self::Udp,
            _ => Self::Other,
        }
    }
}

/// What TLS in the kernel (`TCP_ULP` `tls`) makes of the bytes of a connection, one way.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tls {
    /// Nothing: they are as they are.
    #[default]
    None = 0,
    /// The processor encrypts or decrypts them (`TLS_SW`).
    Software = 1,
    /// It is left to the network device, as far as that can (`TLS_HW`), or is not known.
    Device = 2,
}

/// The bits of a [`Kind`] in the number that rows and legs have of an end.
const KIND_BITS: u8 = 0x0F;
/// Above them: the [`Tls`] of what is received, and above that the one of what is sent.
const RECEIVES: u32 = 4;
const SENDS: u32 = 6;

impl Tls {
    /// From a member `tx_conf` or `rx_conf` of `struct tls_context`.
    #[inline(always)]
    pub const fn of_conf(conf: u8) -> Self {
        match conf {
            0 => Self::None,
            1 => Self::Software,
            _ => Self::Device,
        }
    }

    /// Of the source of a row, from its number.
    pub const fn of_source(number: u8) -> Self {
        Self::of_conf(number >> RECEIVES & 3)
    }

    /// Of the destination of a row, from its number.
    pub const fn of_destination(number: u8) -> Self {
        Self::of_conf(number >> SENDS)
    }
}

/// The number of a TCP socket with TLS.
#[inline(always)]
pub const fn tcp_with(receives: Tls, sends: Tls) -> u8 {
    Kind::Tcp as u8 | (receives as u8) << RECEIVES | (sends as u8) << SENDS
}

/// The number of an end without what TLS makes of it.
#[inline(always)]
pub const fn kind_bits(number: u8) -> u8 {
    number & KIND_BITS
}

/// Whether a number is that of a TCP socket that sends its bytes as they are.
#[inline(always)]
pub const fn sends_plainly(number: u8) -> bool {
    number & !(3 << RECEIVES) == Kind::Tcp as u8
}

/// Whether a number is that of a TCP socket that gives its bytes as they came.
#[inline(always)]
pub const fn receives_plainly(number: u8) -> bool {
    number & !(3 << SENDS) == Kind::Tcp as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_of_one_way_each_and_leaves_the_kind() {
        let all = [Tls::None, Tls::Software, Tls::Device];
        for (receives, sends) in all.into_iter().flat_map(|one| all.map(|other| (one, other))) {
            let number = tcp_with(receives, sends);
            assert_eq!(Kind::from_u8(kind_bits(number)), Some(Kind::Tcp));
            assert_eq!((Tls::of_source(number), Tls::of_destination(number)), (receives, sends));
            assert_eq!(sends_plainly(number), sends == Tls::None);
            assert_eq!(receives_plainly(number), receives == Tls::None);
        }
        for kind in (0..=KIND_BITS).filter_map(Kind::from_u8) {
            let number = kind as u8;
            assert_eq!((Tls::of_source(number), Tls::of_destination(number)), (Tls::None, Tls::None));
            assert_eq!(sends_plainly(number), kind == Kind::Tcp);
            assert_eq!(receives_plainly(number), kind == Kind::Tcp);
        }
    }

    #[test]
    fn numbers_and_names_of_paths_are_one_to_one() {
        for value in 0..=u8::MAX {
            if let Some(path) = Path::from_u8(value) {
                assert_eq!(path as u8, value);
            }
        }
        assert!(Path::ALL.iter().all(|&path| Path::from_u8(path as u8) == Some(path)));
        assert!((0..=u8::MAX).filter_map(Path::from_u8).count() == Path::ALL.len() + 1);
    }

    #[test]
    fn numbers_of_kinds_are_one_to_one() {
        for value in 0..=u8::MAX {
            if let Some(kind) = Kind::from_u8(value) {
                assert_eq!(kind as u8, value);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(Kind::from_u8).count(), 10);
    }

    #[test]
    fn inodes_have_the_kind_of_their_mode() {
        let dev = |major: u32, minor: u32| major << 20 | minor;
        assert_eq!(Kind::of_inode(0o100_644, 0, 0xEF53), Some(Kind::File));
        assert_eq!(Kind::of_inode(0o010_600, 0, 0), Some(Kind::Pipe));
        assert_eq!(Kind::of_inode(0o020_666, dev(1, 5), 0), Some(Kind::Device));
        assert_eq!(Kind::of_inode(0o020_620, dev(136, 3), 0), Some(Kind::Tty));
        assert_eq!(Kind::of_inode(0o020_620, dev(5, 2), 0), Some(Kind::Tty));
        assert_eq!(Kind::of_inode(0o060_660, dev(254, 0), 0), Some(Kind::Device));
        assert_eq!(Kind::of_inode(0o140_777, 0, 0), None);
        assert_eq!(Kind::of_inode(0o040_755, 0, 0), Some(Kind::Other));
    }

    #[test]
    fn anonymous_inodes_are_other_before_and_after_linux_6_17() {
        assert_eq!(Kind::of_inode(0o000_600, 0, 0x0904_1934), Some(Kind::Other));
        assert_eq!(Kind::of_inode(0o100_600, 0, 0x0904_1934), Some(Kind::Other));
    }

    #[test]
    fn only_the_internet_transports_are_tcp_and_udp() {
        assert_eq!(Kind::of_socket(2, 1, 6), Kind::Tcp);
        assert_eq!(Kind::of_socket(10, 1, 6), Kind::Tcp);
        assert_eq!(Kind::of_socket(2, 2, 17), Kind::Udp);
        assert_eq!(Kind::of_socket(1, 1, 0), Kind::Unix);
        assert_eq!(Kind::of_socket(2, 1, 262), Kind::Other, "MPTCP");
        assert_eq!(Kind::of_socket(16, 3, 0), Kind::Other, "netlink");
    }
}
