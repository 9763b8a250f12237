//! Flows: entries by the names of their ends.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use zc_common::path::{Kind, Path};

use super::{
    entries::{Entries, EntryKey, Sum},
    report::{End, Via},
    samples::ObjectSample,
};

/// An end that objects of the same identity share, whatever ids they had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EndKey<'a> {
    kind: Kind,
    object: Option<Identity<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity<'a> {
    name: &'a str,
    local: Option<&'a str>,
    device: u64,
    inode: u64,
    generation: u32,
}

/// What went one way between two ends, of which one at least has a name.
pub(super) struct NamedFlow {
    pub(super) path: Path,
    pub(super) via: Via,
    pub(super) source: End,
    pub(super) destination: End,
    pub(super) sum: Sum,
}

/// The names of objects.
pub(super) struct Names<'a> {
    objects: &'a HashMap<u32, ObjectSample>,
    /// Names that some id of the object had when its directory entry was gone.
    deleted: BTreeMap<Identity<'a>, bool>,
}

impl<'a> Names<'a> {
    pub(super) fn new(objects: &'a HashMap<u32, ObjectSample>) -> Self {
        let mut deleted = BTreeMap::new();
        for object in objects.values() {
            if let Some(identity) = Identity::of(object) {
                *deleted.entry(identity).or_default() |= object.deleted;
            }
        }
        Self { objects, deleted }
    }

    /// The flows of a process, most bytes first. An entry without any named end has none.
    pub(super) fn flows(&self, entries: &Entries) -> Vec<NamedFlow> {
        let groups = entries.group(|key: &EntryKey| {
            let source = self.key(key.source_kind, key.source);
            let destination = self.key(key.destination_kind, key.destination);
            let named = source.object.is_some() || destination.object.is_some();
            named.then_some((key.shown_path(), key.via(), source, destination))
        });
        let end = |key: EndKey<'_>| self.end(&key);
        let mut flows: Vec<_> = groups
            .into_iter()
            .map(|((path, via, from, to), sum)| NamedFlow {
                path,
                via,
                source: end(from),
                destination: end(to),
                sum,
            })
            .collect();
        flows.sort_by_key(|flow| Reverse(flow.sum.bytes));
        flows
    }

    fn key(&self, kind: Kind, id: u32) -> EndKey<'a> {
        EndKey { kind, object: self.objects.get(&id).and_then(Identity::of) }
    }

    fn end(&self, key: &EndKey<'_>) -> End {
        let name = key.object.as_ref().map(|identity| {
            let suffix = if self.deleted.get(identity) == Some(&true) { " (deleted)" } else { "" };
            format!("{}{suffix}", identity.name)
        });
        let local = key.object.as_ref().and_then(|identity| identity.local).map(str::to_owned);
        End { kind: key.kind, name, local }
    }
}

impl<'a> Identity<'a> {
    fn of(object: &'a ObjectSample) -> Option<Self> {
        let ObjectSample { kind: _, device, inode, generation, deleted: _, name, local } = object;
        let name = name.as_deref().or(local.as_deref())?;
        Some(Self { name, local: local.as_deref(), device: *device, inode: *inode, generation: *generation })
    }
}
