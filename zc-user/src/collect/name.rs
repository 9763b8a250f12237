//! Names of objects, from what the kernel side found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zc_common::{
    object::{ADDRESS_IPV4, ObjectRecord, PATH_DELETED, PATH_PSEUDO, PATH_TRUNCATED},
    path::Kind,
};

use crate::model::samples::ObjectSample;

/// What a record says about an object.
pub(super) fn sample(record: &ObjectRecord) -> ObjectSample {
    let kind = u8::try_from(record.kind).ok().and_then(Kind::from_u8).unwrap_or(Kind::Unknown);
    let (name, local) = match kind {
        Kind::Tcp | Kind::Udp => (
            (record.remote_port != 0).then(|| address(record, &record.remote_address, record.remote_port)),
            Some(address(record, &record.local_address, record.local_port)),
        ),
        Kind::Unix => (Some(format!("unix:[{}]", record.number)), None),
        _ => (path_name(record, kind), None),
    };
    ObjectSample {
        kind,
        device: record.device.into(),
        inode: record.number,
        generation: record.generation,
        deleted: record.flags & (PATH_DELETED | PATH_PSEUDO) == PATH_DELETED,
        name,
        local,
    }
}

fn address(record: &ObjectRecord, bytes: &[u8; 16], port: u16) -> String {
    let ip = if record.flags & ADDRESS_IPV4 != 0 {
        IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
    } else {
        // A socket that serves both families has IPv4 peers as mapped addresses.
        IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical()
    };
    SocketAddr::new(ip, port).to_string()
}

fn path_name(record: &ObjectRecord, kind: Kind) -> Option<String> {
    let len = usize::try_from(record.path_len).ok()?.min(record.path.len());
    let path = join(&record.path[..len]);
    if record.flags & PATH_PSEUDO == 0 {
        let missing = if record.flags & PATH_TRUNCATED == 0 { "" } else { "…" };
        return Some(format!("{missing}{path}"));
    }
    let name = path.trim_start_matches('/');
    Some(match kind {
        Kind::Pipe => format!("pipe:[{}]", record.number),
        Kind::Other if !name.is_empty() => format!("anon_inode:{name}"),
        Kind::Other => format!("inode:[{}]", record.number),
        _ => name.to_owned(),
    })
}

/// A path from the names of its entries, last one first, each ended by NUL.
fn join(entries: &[u8]) -> String {
    let mut path = String::new();
    let entries = entries.strip_suffix(&[0]).unwrap_or(entries);
    if !entries.is_empty() {
        for entry in entries.rsplit(|&byte| byte == 0) {
            path.push('/');
            path.push_str(&String::from_utf8_lossy(entry));
        }
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use zc_common::{
        object::{NAME_BYTES, PATH_BYTES},
        record::RecordKind,
    };

    use super::*;

    fn record(kind: Kind, flags: u32, path: &[u8]) -> ObjectRecord {
        let mut bytes = [0; PATH_BYTES + NAME_BYTES];
        bytes[..path.len()].copy_from_slice(path);
        ObjectRecord {
            header: RecordKind::Object.header(),
            id: 1,
            kind: kind as u32,
            number: 77,
            device: 0,
            generation: 0,
            flags,
            path_len: u32::try_from(path.len()).expect("short"),
            local_address: [0; 16],
            remote_address: [0; 16],
            local_port: 0,
            remote_port: 0,
            reserved: 0,
            path: bytes,
        }
    }

    fn name(kind: Kind, flags: u32, path: &[u8]) -> Option<String> {
        sample(&record(kind, flags, path)).name
    }

    #[test]
    fn entries_become_a_path_from_the_root() {
        assert_eq!(name(Kind::File, 0, b"a.bin\0srv\0").as_deref(), Some("/srv/a.bin"));
        assert_eq!(name(Kind::File, PATH_TRUNCATED, b"a\0b\0").as_deref(), Some("…/b/a"));
        assert_eq!(name(Kind::Other, 0, b"").as_deref(), Some("/"));
    }

    #[test]
    fn a_deleted_file_is_marked_but_a_file_without_a_directory_is_not() {
        assert!(sample(&record(Kind::File, PATH_DELETED, b"a\0")).deleted);
        let memory = sample(&record(Kind::File, PATH_DELETED | PATH_PSEUDO, b"memfd:x\0"));
        assert_eq!((memory.deleted, memory.name.as_deref()), (false, Some("memfd:x")));
    }

    #[test]
    fn pipes_and_anonymous_inodes_are_named_as_in_proc() {
        assert_eq!(name(Kind::Pipe, PATH_PSEUDO, b"\0").as_deref(), Some("pipe:[77]"));
        assert_eq!(name(Kind::Pipe, 0, b"fifo\0tmp\0").as_deref(), Some("/tmp/fifo"));
        assert_eq!(name(Kind::Other, PATH_PSEUDO, b"[eventfd]\0").as_deref(), Some("anon_inode:[eventfd]"));
        assert_eq!(name(Kind::Unix, 0, b"").as_deref(), Some("unix:[77]"));
    }

    #[test]
    fn sockets_are_named_by_their_peer_and_have_an_address_of_their_own() {
        let mut socket = record(Kind::Tcp, ADDRESS_IPV4, b"");
        socket.local_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        socket.remote_address[..4].copy_from_slice(&[10, 0, 0, 9]);
        (socket.local_port, socket.remote_port) = (8080, 40_000);
        let named = sample(&socket);
        assert_eq!(named.name.as_deref(), Some("10.0.0.9:40000"));
        assert_eq!(named.local.as_deref(), Some("127.0.0.1:8080"));
        socket.remote_port = 0;
        assert_eq!(sample(&socket).name, None);
    }

    #[test]
    fn mapped_addresses_are_shown_as_what_they_map() {
        let mut socket = record(Kind::Tcp, 0, b"");
        socket.remote_address = Ipv4Addr::new(10, 0, 0, 9).to_ipv6_mapped().octets();
        socket.remote_port = 80;
        assert_eq!(sample(&socket).name.as_deref(), Some("10.0.0.9:80"));
        socket.remote_address = Ipv6Addr::LOCALHOST.octets();
        assert_eq!(sample(&socket).name.as_deref(), Some("[::1]:80"));
    }
}
