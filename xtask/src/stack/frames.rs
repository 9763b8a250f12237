//! Instructions of BPF, and how deep into its frame a function reaches.

/// The frame pointer, below which the frame is.
const FRAME: u8 = 10;

/// One of the eight-byte words of a program, as `struct bpf_insn` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    pub(super) immediate: i32,
}

impl Instruction {
    /// Reads one; the object is little-endian.
    pub(super) fn read(word: [u8; 8]) -> Self {
        let [code, registers, offset_low, offset_high, a, b, c, d] = word;
        Self {
            code,
            destination: registers & 15,
            source: registers >> 4,
            offset: i16::from_le_bytes([offset_low, offset_high]),
            immediate: i32::from_le_bytes([a, b, c, d]),
        }
    }

    /// A call of another function of the object (`BPF_PSEUDO_CALL`), not of the kernel's.
    pub(super) const fn is_call(self) -> bool {
        self.code == 0x85 && self.source == 1
    }

    /// The first half of `lddw`, which is how the address of a callback is loaded.
    pub(super) const fn is_wide(self) -> bool {
        self.code == 0x18
    }

    const fn class(self) -> u8 {
        self.code & 7
    }
}

const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const JMP: u8 = 5;
const JMP32: u8 = 6;
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;

/// How many bytes below the frame pointer the furthest is that a function names: by a load or a store, or in an address that
/// it takes. The verifier counts the same, but for what it finds to be unreachable.
///
/// An address of the frame is a copy of the frame pointer and an addition after it, in the same block.
pub(super) fn deepest(instructions: &[Instruction]) -> u32 {
    let mut deepest = 0;
    // What a register is, relative to the frame pointer, when that is known.
    let mut known: [Option<i64>; 16] = [None; 16];
    let mut is_second_half = false;
    for instruction in instructions {
        if std::mem::take(&mut is_second_half) {
            continue;
        }
        known[usize::from(FRAME)] = Some(0);
        let Instruction { code, destination, source, offset, immediate } = *instruction;
        let (to, from) = (usize::from(destination), usize::from(source));
        let mut reach = |place: Option<i64>| {
            deepest = deepest.max(place.map_or(0, |place| -place));
        };
        match instruction.class() {
            LDX => {
                reach(known[from].map(|place| place + i64::from(offset)));
                known[to] = None;
            }
            ST | STX => {
                reach(known[to].map(|place| place + i64::from(offset)));
                // An atomic operation may leave the former value in its source, or in r0.
                known[from] = None;
                known[0] = None;
            }
            JMP | JMP32 => known = [None; 16],
            _ if code == MOVE && offset == 0 => known[to] = known[from],
            _ if code == ADD => {
                known[to] = known[to].map(|place| place + i64::from(immediate));
                reach(known[to]);
            }
            _ => known[to] = None,
        }
        is_second_half = instruction.is_wide();
    }
    u32::try_from(deepest).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[u64]) -> Vec<Instruction> {
        words.iter().map(|word| Instruction::read(word.to_be_bytes())).collect()
    }

    #[test]
    fn stores_and_loads_by_the_frame_pointer_reach_into_the_frame() {
        // *(u64 *)(r10 - 24) = r1; r2 = *(u64 *)(r10 - 32); r2 = *(u64 *)(r1 - 64)
        let words = [0x7b1a_e8ff_0000_0000, 0x79a2_e0ff_0000_0000, 0x7912_c0ff_0000_0000];
        assert_eq!(deepest(&read(&words)), 32);
    }

    #[test]
    fn so_does_an_address_that_is_taken() {
        // r2 = r10; r2 += -104; r2 += 8; call 2
        let words =
            [0xbfa2_0000_0000_0000, 0x0702_0000_98ff_ffff, 0x0702_0000_0800_0000, 0x8500_0000_0200_0000];
        assert_eq!(deepest(&read(&words)), 104);
    }

    #[test]
    fn a_register_that_holds_something_else_does_not() {
        // r2 = r10; r2 = *(u64 *)(r1 + 0); r2 += -104
        let words = [0xbfa2_0000_0000_0000, 0x7912_0000_0000_0000, 0x0702_0000_98ff_ffff];
        assert_eq!(deepest(&read(&words)), 0);
    }

    #[test]
    fn calls_of_the_kernel_are_none_of_the_object() {
        let is_call = |word: u64| Instruction::read(word.to_be_bytes()).is_call();
        assert!(is_call(0x8510_0000_ffff_ffff));
        assert!(!is_call(0x8500_0000_0200_0000) && !is_call(0x8520_0000_0100_0000));
    }
}
