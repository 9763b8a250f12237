//! Why a verdict is what it is: a closed list, each with what to do about it.
//!
//! `docs/accounting.md` lists the same sentences; a test holds the two together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why bytes were copied, or why it is not known. The later one of the list wins when a row has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Reason {
    /// Only end of file, errors and empty calls.
    NoBytes,
    /// A device and user memory, with nothing between them.
    ByDevice,
    /// `FICLONE` or `FICLONERANGE`.
    Cloned,
    /// `TCP_ZEROCOPY_RECEIVE`.
    ReceivedPages,
    /// Pages that a device was given.
    HandedOn,
    /// Pages that a pipe or a Unix socket was given.
    PassedOn,
    /// Pages of files in the process's memory.
    Mapped,
    /// Pages of files that the process has copies of.
    CopyOnWrite,
    /// A read leg.
    ReadIntoMemory,
    /// A write leg.
    WrittenFromMemory,
    /// A write from memory that maps a file.
    WrittenFromMapping,
    /// Both legs.
    ThroughMemory,
    /// splice(2) to a regular file.
    RegularFile,
    /// `MSG_ZEROCOPY` on a socket without `SO_ZEROCOPY`.
    ZerocopyNotSet,
    /// TLS in the kernel.
    SoftwareTls,
    /// `MSG_ZEROCOPY`, of which the kernel says that it copied.
    ZerocopyCopied,
    /// Pages of the kernel that a call has copied to, though it does not say so.
    CopiedIntoSocket,
    /// One piece, though the device has scatter-gather.
    Flattened,
    /// One piece, for a device without scatter-gather.
    NoScatterGather,
    /// The same, though the kernel says that it did not copy.
    ZerocopyFalselyReported,
    /// A device that does not reach the memory.
    BounceBuffer,
    /// Packets of the device were captured.
    Captured,
    /// Pages of files that the process may write to.
    MadeWritable,
    /// Page faults without a look at the page table.
    PagesUnseen,
    /// A terminal, device or other file whose driver decides.
    DriverDecides,
    /// `O_DIRECT`.
    DirectIo,
    /// The descriptor did not say what it was.
    EndUnknown,
    /// `copy_file_range(2)`.
    CopyFileRange,
    /// `sendfile(2)`.
    Sendfile,
    /// splice(2), tee(2) and vmsplice(2).
    Splice,
    /// Pages of the kernel that came from elsewhere.
    KernelPages,
    /// TLS that a device may do.
    TlsLeftToDevice,
    /// A device that does more.
    OtherDevice,
    /// Bytes that no device was given.
    NotSeenLeaving,
    /// Bytes of connections that were left out, as it was asked for.
    LeftOut,
    /// `MSG_ZEROCOPY`, of which the kernel says that it did not copy.
    ZerocopyReported,
    /// `MSG_ZEROCOPY`, of which the kernel has said nothing.
    ZerocopyUnreported,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 37] = [
        Self::NoBytes,
        Self::ByDevice,
        Self::Cloned,
        Self::ReceivedPages,
        Self::HandedOn,
        Self::PassedOn,
        Self::Mapped,
        Self::CopyOnWrite,
        Self::ReadIntoMemory,
        Self::WrittenFromMemory,
        Self::WrittenFromMapping,
        Self::ThroughMemory,
        Self::RegularFile,
        Self::ZerocopyNotSet,
        Self::SoftwareTls,
        Self::ZerocopyCopied,
        Self::CopiedIntoSocket,
        Self::Flattened,
        Self::NoScatterGather,
        Self::ZerocopyFalselyReported,
        Self::BounceBuffer,
        Self::Captured,
        Self::MadeWritable,
        Self::PagesUnseen,
        Self::DriverDecides,
        Self::DirectIo,
        Self::EndUnknown,
        Self::CopyFileRange,
        Self::Sendfile,
        Self::Splice,
        Self::KernelPages,
        Self::TlsLeftToDevice,
        Self::OtherDevice,
        Self::NotSeenLeaving,
        Self::LeftOut,
        Self::ZerocopyReported,
        Self::ZerocopyUnreported,
    ];

    /// The sentence in the report.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoBytes => "no bytes moved",
            Self::ByDevice => "the device itself read or wrote user memory",
            Self::Cloned => "cloned: the file system shares the extents",
            Self::ReceivedPages => "mapped: received pages are in the memory of the program",
            Self::Mapped => "pages of the file were mapped",
            Self::CopyOnWrite => "pages of a private mapping were written to, and copied first",
            Self::ReadIntoMemory => "read into user memory",
            Self::WrittenFromMemory => "written from user memory",
            Self::WrittenFromMapping => "written from a mapped file",
            Self::ThroughMemory => "passed through user memory",
            Self::RegularFile => "destination is a regular file",
            Self::ZerocopyNotSet => "SO_ZEROCOPY not set",
            Self::SoftwareTls => "software TLS: the processor encrypts or decrypts into other memory",
            Self::ZerocopyCopied => "the kernel reports MSG_ZEROCOPY data as copied",
            Self::HandedOn => "pages were handed to the device by reference",
            Self::PassedOn => "pages were handed to the pipe or socket by reference",
            Self::CopiedIntoSocket => "the socket took a copy of the pages",
            Self::Flattened => "flattened: something on the way wanted the bytes in one piece",
            Self::NoScatterGather => "device without scatter-gather",
            Self::ZerocopyFalselyReported => {
                "device without scatter-gather, though the kernel reports MSG_ZEROCOPY data as sent by reference"
            }
            Self::BounceBuffer => "bounce buffers (swiotlb): the driver copied to where its device reaches",
            Self::Captured => "packet capture on the device",
            Self::MadeWritable => "not witnessed: pages of a shared mapping were made writable",
            Self::PagesUnseen => "not witnessed: the page table cannot be read on this machine",
            Self::DriverDecides => "not witnessed: the driver of a terminal or device decides",
            Self::DirectIo => "not witnessed: the file was opened with O_DIRECT",
            Self::EndUnknown => "not witnessed: the descriptor was closed or reused during the call",
            Self::CopyFileRange => "not witnessed: copy_file_range shares extents or copies pages",
            Self::Sendfile => "not witnessed: sendfile hands on pages or copies them",
            Self::Splice => "not witnessed: splice hands on pages or copies them",
            Self::KernelPages => "not witnessed: how the bytes came into the pages that were handed on",
            Self::TlsLeftToDevice => {
                "not witnessed: TLS is left to the network device, or to whom is not known"
            }
            Self::OtherDevice => "not witnessed: a tunnel or another device does more with what it is given",
            Self::NotSeenLeaving => "not witnessed: no device was given these bytes while zc watched",
            Self::LeftOut => "not witnessed: zc was told to look at some connections only",
            Self::ZerocopyReported => {
                "not witnessed: the kernel reports MSG_ZEROCOPY data as sent by reference"
            }
            Self::ZerocopyUnreported => "not witnessed: no report on MSG_ZEROCOPY data was seen",
        }
    }

    /// Whether functions inside the kernel would say it, where they can be seen.
    pub const fn is_inside(self) -> bool {
        matches!(self, Self::CopyFileRange | Self::Sendfile | Self::Splice)
    }

    /// What a user can do about it, in a few words.
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::CopyOnWrite => Some("a shared mapping, or one that is only read, copies nothing"),
            Self::ReadIntoMemory => Some("a mapping (mmap) of a file reads without this copy"),
            Self::WrittenFromMemory => Some("data that is in a file can be sent with sendfile or splice"),
            Self::WrittenFromMapping => Some("sendfile, splice or copy_file_range can do without this copy"),
            Self::ThroughMemory => Some("sendfile, splice or copy_file_range can move it in the kernel"),
            Self::ZerocopyNotSet => {
                Some("the socket needs setsockopt SO_ZEROCOPY before MSG_ZEROCOPY does anything")
            }
            Self::SoftwareTls => Some(
                "a network card that does TLS itself (ethtool -k: tls-hw-tx-offload); TLS in the program copies more",
            ),
            Self::ZerocopyCopied => {
                Some("loopback delivers by copying; else the device lacks scatter-gather")
            }
            Self::CopiedIntoSocket => {
                Some("such sockets do not take pages (no scatter-gather on the route, old kernels)")
            }
            Self::Flattened => {
                Some("filters, IPsec and some protocols need packets in one piece (ethtool -k, iptables)")
            }
            Self::NoScatterGather | Self::ZerocopyFalselyReported => {
                Some("ethtool -K DEVICE sg on, or a device or virtual machine set-up that has it")
            }
            Self::BounceBuffer => Some(
                "an IOMMU or a device with 64-bit addresses; in a confidential virtual machine it cannot be helped",
            ),
            Self::Captured => Some("packets are copied while somebody captures them (tcpdump)"),
            Self::KernelPages => {
                Some("files without page cache and sockets fill pages that zc does not see being filled")
            }
            Self::TlsLeftToDevice => Some("/proc/net/tls_stat and the device's own counters (ethtool -S)"),
            Self::OtherDevice => Some("what the device below it does was not seen (ip -d link)"),
            Self::NotSeenLeaving => Some("they may still wait in the socket, or the connection has ended"),
            Self::LeftOut => Some("zc without --sample-connections looks at all of them"),
            Self::ZerocopyReported => {
                Some("the report does not tell whether the device had to copy (ethtool -k)")
            }
            Self::ZerocopyUnreported => Some("reports come when the peer has acknowledged the data"),
            Self::EndUnknown => Some("close descriptors only after their calls have returned"),
            Self::CopyFileRange => Some("one file system with reflinks on both ends shares extents"),
            Self::RegularFile => {
                Some("copy_file_range between files of one file system with reflinks shares extents")
            }
            Self::Sendfile | Self::Splice => {
                Some("pages go to sockets of devices with scatter-gather (ethtool -k)")
            }
            Self::NoBytes
            | Self::HandedOn
            | Self::PassedOn
            | Self::ByDevice
            | Self::Cloned
            | Self::ReceivedPages
            | Self::Mapped
            | Self::MadeWritable
            | Self::PagesUnseen
            | Self::DriverDecides
            | Self::DirectIo => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl From<Reason> for &'static str {
    fn from(reason: Reason) -> Self {
        reason.text()
    }
}

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|reason| reason.text() == text);
        known.ok_or_else(|| format!("no such reason: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_reasons_are_one_to_one() {
        for reason in Reason::ALL {
            assert_eq!(Reason::try_from(reason.text().to_owned()), Ok(reason));
        }
    }

    #[test]
    fn every_reason_is_documented_word_for_word() {
        let document = include_str!("../../../docs/accounting.md");
        for reason in Reason::ALL {
            assert!(document.contains(&format!("`{reason}`")), "{reason}");
        }
    }
}
