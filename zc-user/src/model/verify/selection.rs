//! Which rows and flows of a report are looked at.
//!
//! Names are not always known. What may be selected and may not be is kept apart from both, so that a check never
//! holds because it did not see what it was to check.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Serialize, Serializer};
use zc_common::path::{Kind, Path};

use crate::model::{names, report::End};

/// What is looked at. Different criteria must all be met, by either end; of one criterion, one value is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Kernel paths; all when empty.
    #[serde(serialize_with = "names_of_paths")]
    pub paths: Vec<Path>,
    /// Peers of sockets.
    pub peers: Vec<Peer>,
    /// Ports of sockets, their own or the peer's.
    pub ports: Vec<u16>,
    /// Files, or directories with all below.
    pub files: Vec<String>,
    /// Rows and flows with less are not looked at.
    pub min_bytes: u64,
}

/// The other side of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Any port of an address.
    Address(IpAddr),
    /// One port of it.
    Socket(SocketAddr),
    /// A Unix socket, as reports name it.
    Unix(String),
}

/// Whether something is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// It is not.
    No,
    /// A name is missing that would tell.
    Maybe,
    /// It is.
    Yes,
}

/// An end is a file, and its directory entry is gone.
const DELETED: &str = " (deleted)";
/// The beginning of a path is not known.
const CUT: char = '…';

impl Selection {
    /// Whether names of ends decide, which only flows have.
    pub fn needs_names(&self) -> bool {
        !(self.peers.is_empty() && self.ports.is_empty() && self.files.is_empty())
    }

    /// Whether so many bytes are worth a look. Nothing is not.
    pub fn is_large_enough(&self, bytes: u64) -> bool {
        bytes >= self.min_bytes.max(1)
    }

    /// Whether what took this path between these ends is selected.
    pub fn matches(&self, path: Path, source: &End, destination: &End) -> Match {
        let Self { paths, peers, ports, files, min_bytes: _ } = self;
        if !paths.is_empty() && !paths.contains(&path) {
            return Match::No;
        }
        let criteria = [
            either(peers, source, destination, is_peer),
            either(ports, source, destination, |port, end| has_port(*port, end)),
            either(files, source, destination, |file, end| is_below(file, end)),
        ];
        criteria.into_iter().min().unwrap_or(Match::Yes)
    }
}

fn either<T>(wanted: &[T], source: &End, destination: &End, test: impl Fn(&T, &End) -> Match) -> Match {
    let found = wanted.iter().flat_map(|wanted| [test(wanted, source), test(wanted, destination)]).max();
    found.unwrap_or(Match::Yes)
}

fn yes_if(holds: bool) -> Match {
    if holds { Match::Yes } else { Match::No }
}

/// Of a socket: its own address, and its peer's when it is known. One that had no peer when it was first seen is
/// named by its own address.
fn addresses(end: &End) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let parse = |name: &Option<String>| name.as_ref().and_then(|name| name.parse().ok());
    (parse(&end.local), parse(&end.name).filter(|_| end.name != end.local))
}

fn is_peer(wanted: &Peer, end: &End) -> Match {
    match (wanted, end.kind) {
        (_, Kind::Unknown) => Match::Maybe,
        (Peer::Unix(name), Kind::Unix) => {
            end.name.as_ref().map_or(Match::Maybe, |found| yes_if(found == name))
        }
        (Peer::Address(_) | Peer::Socket(_), Kind::Tcp | Kind::Udp) => {
            addresses(end).1.map_or(Match::Maybe, |peer| {
                yes_if(match wanted {
                    Peer::Address(address) => peer.ip() == *address,
                    Peer::Socket(socket) => peer == *socket,
                    Peer::Unix(_) => false,
                })
            })
        }
        _ => Match::No,
    }
}

fn has_port(wanted: u16, end: &End) -> Match {
    match end.kind {
        Kind::Unknown => Match::Maybe,
        Kind::Tcp | Kind::Udp => {
            let is_it = |address: Option<SocketAddr>| {
                address.map_or(Match::Maybe, |address| yes_if(address.port() == wanted))
            };
            let (own, peer) = addresses(end);
            is_it(own).max(is_it(peer))
        }
        _ => Match::No,
    }
}

fn is_below(wanted: &str, end: &End) -> Match {
    match (end.kind, &end.name) {
        (Kind::Tcp | Kind::Udp | Kind::Unix | Kind::Memory, _) => Match::No,
        (_, None) | (Kind::Unknown, _) => Match::Maybe,
        (_, Some(name)) if name.starts_with(CUT) => Match::Maybe,
        (_, Some(name)) => {
            // A file may have that for a name, too.
            let names = [Some(name.as_str()), name.strip_suffix(DELETED)];
            let below = |name: &str| {
                name.strip_prefix(wanted.trim_end_matches('/'))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            yes_if(names.into_iter().flatten().any(below))
        }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Socket(SocketAddr::new(socket.ip().to_canonical(), socket.port())));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        if text.starts_with("unix:[") {
            return Ok(Self::Unix(text.to_owned()));
        }
        Err("expected an address with or without port, such as 192.0.2.7, 192.0.2.7:443 or [2001:db8::1]:443, \
             or a Unix socket as reports name it, such as unix:[4711]"
            .to_owned())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(socket) => socket.fmt(f),
            Self::Unix(name) => f.write_str(name),
        }
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, peers, ports, files, min_bytes } = self;
        let any_of = |name: &str, values: Vec<String>| {
            (!values.is_empty()).then(|| format!("{name} {}", values.join(" or ")))
        };
        let parts = [
            any_of("path", paths.iter().map(|path| path.name().to_owned()).collect()),
            any_of("peer", peers.iter().map(Peer::to_string).collect()),
            any_of("port", ports.iter().map(u16::to_string).collect()),
            any_of("file", files.clone()),
            (*min_bytes > 0).then(|| format!("at least {min_bytes} bytes")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "everything" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

fn names_of_paths<S: Serializer>(paths: &[Path], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.name()))
}

/// Reads the name of a path.
pub fn path(text: &str) -> Result<Path, String> {
    names::find_path(text).ok_or_else(|| {
        let names: Vec<_> = Path::ALL.into_iter().map(Path::name).collect();
        format!("no such path; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(kind: Kind, name: Option<&str>, local: Option<&str>) -> End {
        End { kind, name: name.map(str::to_owned), local: local.map(str::to_owned) }
    }

    fn memory() -> End {
        end(Kind::Memory, None, None)
    }

    fn peer(text: &str) -> Selection {
        Selection { peers: vec![text.parse().expect("a peer")], ..Selection::default() }
    }

    fn port(port: u16) -> Selection {
        Selection { ports: vec![port], ..Selection::default() }
    }

    fn file(name: &str) -> Selection {
        Selection { files: vec![name.to_owned()], ..Selection::default() }
    }

    fn of(selection: &Selection, end: &End) -> Match {
        let there = selection.matches(Path::Write, &memory(), end);
        assert_eq!(there, selection.matches(Path::Read, end, &memory()), "either end counts");
        there
    }

    #[test]
    fn peers_are_addresses_with_or_without_a_port() {
        let socket = end(Kind::Tcp, Some("192.0.2.7:443"), Some("192.0.2.1:50000"));
        let table = [
            ("192.0.2.7", Match::Yes),
            ("192.0.2.7:443", Match::Yes),
            ("::ffff:192.0.2.7", Match::Yes),
            ("192.0.2.7:44", Match::No),
            ("192.0.2.1", Match::No),
            ("unix:[7]", Match::No),
        ];
        for (text, expected) in table {
            assert_eq!(of(&peer(text), &socket), expected, "{text}");
        }
        assert_eq!(
            of(&peer("[2001:db8::1]:80"), &end(Kind::Udp, Some("[2001:db8::1]:80"), None)),
            Match::Yes
        );
        assert_eq!(of(&peer("unix:[7]"), &end(Kind::Unix, Some("unix:[7]"), None)), Match::Yes);
        assert_eq!(of(&peer("unix:[7]"), &end(Kind::Unix, Some("unix:[77]"), None)), Match::No);
        assert!("example.org".parse::<Peer>().is_err());
    }

    #[test]
    fn a_socket_without_a_known_peer_may_be_the_one() {
        let unconnected = end(Kind::Udp, Some("192.0.2.1:53"), Some("192.0.2.1:53"));
        assert_eq!(of(&peer("192.0.2.1"), &unconnected), Match::Maybe);
        assert_eq!(of(&port(53), &unconnected), Match::Yes);
        assert_eq!(of(&port(54), &unconnected), Match::Maybe);
        assert_eq!(of(&port(54), &end(Kind::Tcp, None, None)), Match::Maybe);
        assert_eq!(of(&port(443), &end(Kind::Tcp, Some("192.0.2.7:443"), Some("192.0.2.1:5"))), Match::Yes);
        assert_eq!(of(&port(5), &end(Kind::Tcp, Some("192.0.2.7:443"), Some("192.0.2.1:5"))), Match::Yes);
        assert_eq!(of(&port(6), &end(Kind::Tcp, Some("192.0.2.7:443"), Some("192.0.2.1:5"))), Match::No);
    }

    #[test]
    fn files_are_whole_names_or_all_below_a_directory() {
        let table = [
            ("/srv/a", "/srv/a", Match::Yes),
            ("/srv/a", "/srv/a (deleted)", Match::Yes),
            ("/srv/a (deleted)", "/srv/a (deleted)", Match::Yes),
            ("/srv/a", "/srv/ab", Match::No),
            ("/srv", "/srv/a/b", Match::Yes),
            ("/srv/", "/srv/a/b", Match::Yes),
            ("/", "/srv", Match::Yes),
            ("/srv", "…/srv/a", Match::Maybe),
        ];
        for (wanted, name, expected) in table {
            assert_eq!(of(&file(wanted), &end(Kind::File, Some(name), None)), expected, "{wanted} {name}");
        }
        assert_eq!(of(&file("/srv"), &end(Kind::File, None, None)), Match::Maybe);
        assert_eq!(of(&file("/srv"), &end(Kind::Tcp, None, None)), Match::No);
    }

    #[test]
    fn an_end_that_is_not_known_may_be_anything_but_the_path_is_always_known() {
        let unknown = end(Kind::Unknown, None, None);
        for selection in [peer("192.0.2.7"), port(1), file("/srv")] {
            assert_eq!(of(&selection, &unknown), Match::Maybe, "{selection}");
            let other = Selection { paths: vec![Path::Sendfile], ..selection };
            assert_eq!(of(&other, &unknown), Match::No);
        }
    }

    #[test]
    fn all_criteria_must_be_met_by_either_end() {
        let both = Selection { files: vec!["/srv".to_owned()], ..port(443) };
        let socket = end(Kind::Tcp, Some("192.0.2.7:443"), None);
        let file = end(Kind::File, Some("/srv/a"), None);
        assert_eq!(both.matches(Path::Sendfile, &file, &socket), Match::Yes);
        assert_eq!(both.matches(Path::Write, &memory(), &socket), Match::No);
        assert_eq!(both.matches(Path::Read, &file, &memory()), Match::No);
        assert_eq!(Selection::default().matches(Path::Read, &memory(), &memory()), Match::Yes);
        assert_eq!(both.to_string(), "port 443, file /srv");
        assert_eq!(Selection::default().to_string(), "everything");
    }

    #[test]
    fn nothing_and_too_little_are_not_looked_at() {
        let selection = Selection { min_bytes: 10, ..Selection::default() };
        assert!(selection.is_large_enough(10) && !selection.is_large_enough(9));
        assert!(!Selection::default().is_large_enough(0) && Selection::default().is_large_enough(1));
    }
}
