//! The functions in an object, and which of them call which.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result, anyhow, bail};
use object::{
    Endianness, SectionIndex, SectionKind,
    elf::FileHeader64,
    read::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SymbolKind, elf::ElfFile},
};

use super::{
    chains::Function,
    frames::{self, Instruction},
};

type File<'data> = ElfFile<'data, FileHeader64<Endianness>>;

/// Where functions are that are linked to the programs that use them; each other section holds programs.
const SHARED: &str = ".text";

/// An instruction, in bytes.
const WORD: u64 = 8;

/// A function's section, and where it begins there in bytes.
type Place = (SectionIndex, u64);

/// Every function, with what it calls.
pub(super) fn functions(object: &[u8]) -> Result<Vec<Function>> {
    let file = File::parse(object)?;
    let mut functions = Vec::new();
    let mut bodies: Vec<(Place, Vec<Instruction>)> = Vec::new();
    let mut index_of: HashMap<Place, usize> = HashMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let section = file.section_by_index(symbol.section_index().context("a function in no section")?)?;
        let name = symbol.name()?;
        let code = section.data_range(symbol.address(), symbol.size())?;
        let code = code.with_context(|| format!("{name} is not within its section"))?;
        let place = (section.index(), symbol.address());
        if index_of.insert(place, functions.len()).is_some() {
            continue;
        }
        let body: Vec<Instruction> = code.as_chunks().0.iter().map(|word| Instruction::read(*word)).collect();
        functions.push(Function {
            name: format!("{:#}", rustc_demangle::demangle(name)),
            bytes: frames::deepest(&body),
            is_program: section.name()? != SHARED,
            calls: Vec::new(),
        });
        bodies.push((place, body));
    }
    let symbols = code_symbols(&file)?;
    for (function, (place, body)) in functions.iter_mut().zip(&bodies) {
        let calls = calls(*place, body, &symbols, &index_of);
        function.calls = calls.with_context(|| format!("in {}", function.name))?.into_iter().collect();
    }
    if !functions.iter().any(|function| function.is_program) {
        bail!("there is no program in it");
    }
    Ok(functions)
}

/// What the relocated instructions of each section refer to, when that is code: the section and the value of the symbol.
fn code_symbols(file: &File) -> Result<HashMap<Place, Place>> {
    let mut symbols = HashMap::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        for (at, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(index)?;
            let Some(target) = symbol.section_index() else { continue };
            if file.section_by_index(target)?.kind() == SectionKind::Text {
                symbols.insert((section.index(), at), (target, symbol.address()));
            }
        }
    }
    Ok(symbols)
}

/// What a function calls, and what it takes the address of for the kernel to call.
fn calls(
    (section, start): Place,
    body: &[Instruction],
    symbols: &HashMap<Place, Place>,
    index_of: &HashMap<Place, usize>,
) -> Result<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    let mut at = start;
    for instruction in body {
        let symbol = symbols.get(&(section, at));
        let immediate = i64::from(instruction.immediate);
        // A call counts instructions from the next one on, and an address bytes.
        let distance = (immediate + 1) * WORD.cast_signed();
        let target = match (symbol, instruction.is_call(), instruction.is_wide()) {
            (Some((target, value)), true, _) => Some((*target, value.checked_add_signed(distance))),
            (None, true, _) => Some((section, at.checked_add_signed(distance))),
            (Some((target, value)), _, true) => Some((*target, value.checked_add_signed(immediate))),
            _ => None,
        };
        if let Some((target, place)) = target {
            let place = place.map(|place| (target, place));
            let callee = place.and_then(|place| index_of.get(&place));
            found.insert(*callee.ok_or_else(|| {
                anyhow!("instruction {} refers to no function's beginning", (at - start) / WORD)
            })?);
        }
        at += WORD;
    }
    Ok(found)
}
