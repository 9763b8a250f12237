//! As much of the BPF Type Format (`include/uapi/linux/btf.h`) as it takes to find members of structures.
//!
//! The types of a kernel are 150 000 and what is wanted of them are thirty, so this goes through the file once,
//! notes where each type begins, and looks closer only at structures whose names are asked for. A library that
//! builds all types takes 20 times as long, which is most of the start-up time of zc.

use std::collections::HashMap;

const MAGIC: u16 = 0xEB9F;
const HEADER_BYTES: usize = 24;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// How deep structures may lie in one another, and typedefs may lead on: against loops in a broken file.
const DEPTH: u32 = 16;

/// The structures of a kernel, by name.
pub(super) struct Types<'a> {
    entries: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins; ids begin at 1.
    starts: Vec<u32>,
    structures: HashMap<&'a [u8], u32>,
    typedefs: HashMap<&'a [u8], u32>,
    functions: HashMap<&'a [u8], u32>,
    enumerations: HashMap<&'a [u8], u32>,
}

/// The names of what is looked for.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted<'n> {
    pub(super) structures: &'n [&'static str],
    pub(super) typedefs: &'n [&'static str],
    pub(super) functions: &'n [&'static str],
    pub(super) enumerations: &'n [&'static str],
}

/// One entry of the type section.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    name: u32,
    info: u32,
    /// A size, or the type that this one stands for.
    other: u32,
}

impl Entry {
    fn kind(self) -> u32 {
        (self.info >> 24) & 0x1F
    }

    fn len(self) -> usize {
        (self.info & 0xFFFF) as usize
    }

    /// Members of a bit-field structure have their size in the upper byte of their offset.
    fn has_bit_fields(self) -> bool {
        self.info >> 31 != 0
    }

    /// Bytes after the entry itself that belong to it.
    fn extra_bytes(self) -> Option<usize> {
        let len = self.len();
        Some(match self.kind() {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * len,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * len,
            1..=KIND_ENUM64 => 0,
            _ => return None,
        })
    }
}

impl<'a> Types<'a> {
    /// Goes through `file` and notes what is wanted. The error says what is wrong with the file.
    pub(super) fn new(file: &'a [u8], wanted: &Wanted) -> Result<Self, &'static str> {
        let magic = file.get(..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
        if magic != Some(MAGIC) {
            return Err("it does not begin as BTF does");
        }
        let header = |field: usize| word(file, 4 + 4 * field);
        let section = |offset: usize, len: usize| {
            let start = (header(0)? as usize).max(HEADER_BYTES).checked_add(header(offset)? as usize)?;
            file.get(start..start.checked_add(header(len)? as usize)?)
        };
        let entries = section(1, 2).ok_or("its types are cut off")?;
        let strings = section(3, 4).ok_or("its names are cut off")?;
        let mut this = Self {
            entries,
            strings,
            starts: vec![0],
            structures: HashMap::new(),
            typedefs: HashMap::new(),
            functions: HashMap::new(),
            enumerations: HashMap::new(),
        };
        this.scan(wanted)?;
        Ok(this)
    }

    fn scan(&mut self, wanted: &Wanted) -> Result<(), &'static str> {
        let mut start = 0;
        while start < self.entries.len() {
            let entry = self.entry_at(start).ok_or("a type is cut off")?;
            let id = u32::try_from(self.starts.len()).map_err(|_| "it has too many types")?;
            self.starts.push(u32::try_from(start).map_err(|_| "it is too large")?);
            let found = match entry.kind() {
                KIND_STRUCT => Some((wanted.structures, &mut self.structures)),
                KIND_TYPEDEF => Some((wanted.typedefs, &mut self.typedefs)),
                KIND_FUNC => Some((wanted.functions, &mut self.functions)),
                KIND_ENUM => Some((wanted.enumerations, &mut self.enumerations)),
                _ => None,
            };
            if let Some((names, ids)) = found {
                let name = name_at(self.strings, entry.name);
                if names.iter().any(|wanted| wanted.as_bytes() == name) {
                    ids.entry(name).or_insert(id);
                }
            }
            let extra = entry.extra_bytes().ok_or("it has a kind of type that zc does not know")?;
            start += 12 + extra;
        }
        Ok(())
    }

    /// The offset in bytes of a member, given by its path of names from the structure; members of nameless
    /// structures and unions belong to what these lie in.
    pub(super) fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = *self.structures.get(structure.as_bytes())?;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, member) = self.member(id, name.as_bytes(), DEPTH)?;
            bits += offset;
            id = member;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// The id of a structure.
    pub(super) fn structure(&self, name: &str) -> Option<u32> {
        self.structures.get(name.as_bytes()).copied()
    }

    /// The id of a function.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.functions.get(name.as_bytes()).copied()
    }

    /// How many arguments a function has whose pointer has this name.
    pub(super) fn arguments_of(&self, typedef: &str) -> Option<u32> {
        let mut id = *self.typedefs.get(typedef.as_bytes())?;
        for _ in 0..DEPTH {
            let entry = self.entry_at(*self.starts.get(id as usize)? as usize)?;
            match entry.kind() {
                KIND_FUNC_PROTO => return u32::try_from(entry.len()).ok(),
                KIND_TYPEDEF | KIND_PTR | KIND_CONST => id = entry.other,
                _ => return None,
            }
        }
        None
    }

    /// The value of an enumerator.
    pub(super) fn value_of(&self, enumeration: &str, enumerator: &str) -> Option<u32> {
        let id = *self.enumerations.get(enumeration.as_bytes())?;
        let entry = self.entry_at(*self.starts.get(id as usize)? as usize)?;
        let mut values = (0..entry.len()).map(|index| entry.start + 12 + 8 * index);
        let found = values.find(|&start| {
            word(self.entries, start).is_some_and(|name| self.name(name) == enumerator.as_bytes())
        });
        word(self.entries, found? + 4)
    }

    /// Offset in bits and type of a member.
    fn member(&self, id: u32, wanted: &[u8], depth: u32) -> Option<(u32, u32)> {
        let structure = self.resolve(id)?;
        let mut nameless = Vec::new();
        for index in 0..structure.len() {
            let start = structure.start + 12 + 12 * index;
            let (name, id) = (word(self.entries, start)?, word(self.entries, start + 4)?);
            let offset = word(self.entries, start + 8)?;
            let offset = if structure.has_bit_fields() { offset & 0xFF_FFFF } else { offset };
            let name = self.name(name);
            if name == wanted {
                return Some((offset, id));
            }
            if name.is_empty() {
                nameless.push((offset, id));
            }
        }
        let depth = depth.checked_sub(1)?;
        nameless.into_iter().find_map(|(outer, id)| {
            let (inner, member) = self.member(id, wanted, depth)?;
            Some((outer + inner, member))
        })
    }

    /// The structure or union behind a type's other names.
    fn resolve(&self, mut id: u32) -> Option<Entry> {
        for _ in 0..DEPTH {
            let entry = self.entry_at(*self.starts.get(id as usize)? as usize)?;
            match entry.kind() {
                KIND_STRUCT | KIND_UNION => return Some(entry),
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => id = entry.other,
                _ => return None,
            }
        }
        None
    }

    fn entry_at(&self, start: usize) -> Option<Entry> {
        let field = |index: usize| word(self.entries, start + 4 * index);
        Some(Entry { start, name: field(0)?, info: field(1)?, other: field(2)? })
    }

    fn name(&self, offset: u32) -> &'a [u8] {
        name_at(self.strings, offset)
    }
}

fn name_at(strings: &[u8], offset: u32) -> &[u8] {
    let rest = strings.get(offset as usize..).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn word(bytes: &[u8], start: usize) -> Option<u32> {
    let bytes = bytes.get(start..start.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `struct outer { int a; struct { int b; } ; typedef_of_inner c; }`, `struct inner { int:4 d; int e; }`,
    /// `typedef void (*call)(int, int, int)`, `void inner(int, int, int)`, `enum flags { X = 3, Y = 18 }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0inner\0alias\0c\0d\0e\0call\0flags\0X\0Y\0";
        let at = |name: &str| {
            let wanted = format!("\0{name}\0");
            let position = strings.windows(wanted.len()).position(|window| window == wanted.as_bytes());
            u32::try_from(position.unwrap() + 1).unwrap()
        };
        let words: Vec<u32> = [
            vec![at("int"), KIND_INT << 24, 4, 32],
            vec![at("inner"), KIND_STRUCT << 24 | 1 << 31 | 2, 8, at("d"), 1, 4 << 24 | 4, at("e"), 1, 32],
            vec![at("alias"), KIND_TYPEDEF << 24, 2],
            vec![0, KIND_STRUCT << 24 | 1, 4, at("b"), 1, 0],
            vec![at("outer"), KIND_STRUCT << 24 | 3, 16, at("a"), 1, 0, 0, 4, 32, at("c"), 3, 64],
            vec![0, KIND_FUNC_PROTO << 24 | 3, 0, 0, 1, 0, 1, 0, 1],
            vec![0, KIND_PTR << 24, 6],
            vec![at("call"), KIND_TYPEDEF << 24, 7],
            vec![at("inner"), KIND_FUNC << 24, 6],
            vec![at("flags"), KIND_ENUM << 24 | 2, 4, at("X"), 3, at("Y"), 18],
        ]
        .concat();
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let header = [u32::from(MAGIC) | 1 << 16, 24, 0, len(&types), len(&types), len(strings)];
        let header = header.iter().flat_map(|word| word.to_le_bytes());
        header.chain(types.iter().copied()).chain(strings.iter().copied()).collect()
    }

    const ALL: Wanted = Wanted {
        structures: &["outer", "inner"],
        typedefs: &["call", "alias"],
        functions: &["inner"],
        enumerations: &["flags"],
    };

    fn offset(structure: &str, path: &str) -> Option<u32> {
        Types::new(&sample(), &ALL).unwrap().offset_of(structure, path)
    }

    #[test]
    fn ids_are_those_of_the_kind_that_was_asked_for() {
        let file = sample();
        let types = Types::new(&file, &ALL).unwrap();
        assert_eq!((types.structure("inner"), types.structure("outer")), (Some(2), Some(5)));
        assert_eq!((types.function("inner"), types.function("outer")), (Some(9), None));
        assert_eq!(types.structure("call"), None);
    }

    #[test]
    fn members_are_found_by_name_through_nameless_structures_and_typedefs() {
        assert_eq!(offset("outer", "a"), Some(0));
        assert_eq!(offset("outer", "b"), Some(4));
        assert_eq!(offset("outer", "c"), Some(8));
        assert_eq!(offset("outer", "c.e"), Some(12));
        assert_eq!(offset("inner", "e"), Some(4));
    }

    #[test]
    fn values_of_enumerations_are_found_by_name() {
        let file = sample();
        let types = Types::new(&file, &ALL).unwrap();
        assert_eq!(types.value_of("flags", "Y"), Some(18));
        assert_eq!(types.value_of("flags", "Z"), None);
        assert_eq!(types.value_of("inner", "d"), None);
    }

    #[test]
    fn what_is_not_there_or_not_a_whole_byte_is_none() {
        assert_eq!(offset("outer", "d"), None);
        assert_eq!(offset("outer", "a.b"), None);
        assert_eq!(offset("nothing", "a"), None);
        assert_eq!(offset("inner", "d"), None, "a bit field at bit 4");
    }

    #[test]
    fn arguments_are_counted_behind_the_name_of_a_pointer_to_a_function() {
        let file = sample();
        let types = Types::new(&file, &ALL).unwrap();
        assert_eq!(types.arguments_of("call"), Some(3));
        assert_eq!(types.arguments_of("alias"), None, "a structure");
        assert_eq!(types.arguments_of("nothing"), None);
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_refused_or_harmless() {
        let whole = sample();
        for len in 0..whole.len() {
            assert!(Types::new(&whole[..len], &ALL).is_err(), "{len} bytes");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn broken_files_never_hurt(position in 0..200_usize, value in any::<u8>()) {
            let mut file = sample();
            let position = position % file.len();
            file[position] = value;
            if let Ok(types) = Types::new(&file, &ALL) {
                let _ = types.offset_of("outer", "c.e");
                let _ = types.offset_of("inner", "e");
                let _ = types.arguments_of("call");
                let _ = types.value_of("flags", "Y");
            }
        }
    }
}
