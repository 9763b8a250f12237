//! A pair of virtual network devices without scatter-gather, each in a network namespace of its own.
//!
//! The namespaces have no name and belong to the two processes: with them goes everything that is in them, however they
//! end. Nothing of the machine's own network is touched.

use std::{
    io::{self, Read as _, Write as _},
    mem,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    process::Stdio,
};

use super::stream::{self, Stream};

/// From the block for documentation (RFC 5737): nobody has it.
const SENDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const PORT: u16 = 5000;
const NEAR: &[u8] = b"zclab0\0";
const FAR: &[u8] = b"zclab1\0";

/// A connection over such a pair. This process is in a namespace of its own from here on.
pub(super) fn without_scatter_gather() -> io::Result<Stream> {
    own_namespace()?;
    let mut receiver = stream::command("receive-veth").stdin(Stdio::piped()).spawn()?;
    wait_for_line(&mut receiver)?;
    make_pair(receiver.id()).map_err(|error| explain("make a pair of virtual devices (veth)", &error))?;
    bring_up(NEAR, SENDER)?;
    if let Some(input) = &mut receiver.stdin {
        input.write_all(b"\n")?;
    }
    wait_for_line(&mut receiver)?;
    Stream::new(TcpStream::connect(SocketAddr::from((RECEIVER, PORT)))?, receiver)
}

/// The other end.
pub(in super::super) fn receive() -> io::Result<()> {
    own_namespace()?;
    writeln!(io::stdout(), "ready")?;
    io::stdin().read_exact(&mut [0])?;
    bring_up(FAR, RECEIVER)?;
    let listener = TcpListener::bind((RECEIVER, PORT))?;
    writeln!(io::stdout(), "listening")?;
    stream::drain(&listener)
}

fn own_namespace() -> io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(explain("make a network namespace", &io::Error::last_os_error())),
    }
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}

fn wait_for_line(receiver: &mut std::process::Child) -> io::Result<()> {
    let output = receiver.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut byte = [0];
    while byte != *b"\n" {
        output
            .read_exact(&mut byte)
            .map_err(|_| io::Error::other("the receiver ended before it was ready"))?;
    }
    Ok(())
}

/// Asks rtnetlink for a veth pair whose far end is in the namespace of a process.
fn make_pair(far: u32) -> io::Result<()> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_NET_NS_PID: u16 = 19;
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_INFO_DATA: u16 = 2;
    const VETH_INFO_PEER: u16 = 1;
    /// `struct ifinfomsg`: nothing asked for.
    const DEVICE: [u8; 16] = [0; 16];

    let peer =
        [&DEVICE[..], &attribute(IFLA_IFNAME, FAR), &attribute(IFLA_NET_NS_PID, &far.to_ne_bytes())].concat();
    let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
    let info = attribute(IFLA_LINKINFO, &[attribute(IFLA_INFO_KIND, b"veth"), data].concat());
    let body = [&DEVICE[..], &attribute(IFLA_IFNAME, NEAR), &info].concat();
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let header = libc::nlmsghdr {
        nlmsg_len: u32::try_from(mem::size_of::<libc::nlmsghdr>() + body.len()).unwrap_or(0),
        nlmsg_type: libc::RTM_NEWLINK,
        nlmsg_flags: u16::try_from(flags).unwrap_or(0),
        nlmsg_seq: 1,
        nlmsg_pid: 0,
    };
    let mut message = Vec::new();
    message.extend(header.nlmsg_len.to_ne_bytes());
    message.extend(header.nlmsg_type.to_ne_bytes());
    message.extend(header.nlmsg_flags.to_ne_bytes());
    message.extend(header.nlmsg_seq.to_ne_bytes());
    message.extend(header.nlmsg_pid.to_ne_bytes());
    message.extend(body);
    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    super::sys::send(socket.as_raw_fd(), &message, 0)?;
    let mut answer = [0; 1024];
    let got = super::sys::read(socket.as_raw_fd(), &mut answer)?;
    // The acknowledgement: a header, and an error number that is 0 when all is well.
    let number = answer[..got].get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match number {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A netlink attribute: length, type, content, padded to four bytes.
fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len() + 4).unwrap_or(0);
    let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Takes a device's scatter-gather away, gives it an address and brings it up.
fn bring_up(name: &[u8], address: Ipv4Addr) -> io::Result<()> {
    const ETHTOOL_SSG: u32 = 0x19;
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut off = EthtoolValue { command: ETHTOOL_SSG, data: 0 };
    let ask = |request: libc::c_ulong, what: &str, fill: &dyn Fn(&mut libc::ifreq)| {
        // SAFETY: a request of zeros is an empty one.
        let mut wanted: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in wanted.ifr_name.iter_mut().zip(name) {
            *to = from.cast_signed();
        }
        fill(&mut wanted);
        // SAFETY: the structure is what these requests take.
        match unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw mut wanted) } {
            0 => Ok(()),
            _ => Err(explain(what, &io::Error::last_os_error())),
        }
    };
    let value: *mut libc::c_char = (&raw mut off).cast();
    ask(SIOCETHTOOL, "take scatter-gather from a veth device", &|wanted| wanted.ifr_ifru.ifru_data = value)?;
    ask(libc::SIOCSIFADDR as _, "give a veth device an address", &|wanted| {
        wanted.ifr_ifru.ifru_addr = internet(address);
    })?;
    ask(libc::SIOCSIFNETMASK as _, "give a veth device a netmask", &|wanted| {
        wanted.ifr_ifru.ifru_netmask = internet(MASK);
    })?;
    ask(libc::SIOCSIFFLAGS as _, "bring a veth device up", &|wanted| {
        wanted.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    })
}

const SIOCETHTOOL: libc::c_ulong = 0x8946;

fn internet(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr { sa_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(2), sa_data: data }
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_say_their_own_length() {
        let bytes = attribute(3, b"zclab0\0");
        assert_eq!((bytes.len(), &bytes[..2], bytes[11]), (12, &11_u16.to_ne_bytes()[..], 0));
    }
}
