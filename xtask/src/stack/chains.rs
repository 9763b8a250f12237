//! The worst chains of calls in a graph of functions.

use anyhow::{Result, bail};

/// What Linux 6.1 rounds each frame up to.
const STEP: u32 = 32;

/// A function of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// How much of the stack it uses.
    pub(super) bytes: u32,
    /// It is started by the kernel.
    pub(super) is_program: bool,
    /// What it calls, or gives to the kernel to be called, by index.
    pub(super) calls: Vec<usize>,
}

/// Functions that call one another, each by its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) frames: Vec<usize>,
    /// What their frames take, each rounded up.
    pub(super) bytes: u32,
}

/// The worst chains that begin with a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Worst {
    pub(super) most_bytes: Chain,
    pub(super) most_frames: Chain,
}

/// What a frame of that many bytes takes: an empty one takes something, too.
const fn rounded(bytes: u32) -> u32 {
    let bytes = if bytes == 0 { 1 } else { bytes };
    bytes.next_multiple_of(STEP)
}

/// The worst chains from `entry` on; an error when a function can come to call itself, which no kernel takes.
pub(super) fn worst(functions: &[Function], entry: usize) -> Result<Worst> {
    let mut known = vec![State::Unknown; functions.len()];
    visit(functions, entry, &mut known)
}

#[derive(Clone)]
enum State {
    Unknown,
    /// We are within it.
    Open,
    Done(Worst),
}

fn visit(functions: &[Function], index: usize, known: &mut [State]) -> Result<Worst> {
    match &known[index] {
        State::Done(worst) => return Ok(worst.clone()),
        State::Open => bail!("{} comes to call itself, which kernels refuse", functions[index].name),
        State::Unknown => {}
    }
    known[index] = State::Open;
    let mut below = Worst::default();
    for callee in &functions[index].calls {
        let Worst { most_bytes, most_frames } = visit(functions, *callee, known)?;
        if most_bytes.bytes > below.most_bytes.bytes {
            below.most_bytes = most_bytes;
        }
        if most_frames.frames.len() > below.most_frames.frames.len() {
            below.most_frames = most_frames;
        }
    }
    for chain in [&mut below.most_bytes, &mut below.most_frames] {
        chain.frames.insert(0, index);
        chain.bytes += rounded(functions[index].bytes);
    }
    known[index] = State::Done(below.clone());
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(functions: &[(u32, &[usize])]) -> Vec<Function> {
        let function = |(bytes, calls): &(u32, &[usize])| Function {
            name: "f".to_owned(),
            bytes: *bytes,
            is_program: true,
            calls: calls.to_vec(),
        };
        functions.iter().map(function).collect()
    }

    #[test]
    fn the_most_bytes_and_the_most_frames_may_be_of_different_chains() {
        let functions = graph(&[(8, &[1, 2]), (200, &[]), (8, &[3]), (8, &[])]);
        let worst = worst(&functions, 0).expect("no recursion");
        assert_eq!(worst.most_bytes, Chain { frames: vec![0, 1], bytes: 32 + 224 });
        assert_eq!(worst.most_frames, Chain { frames: vec![0, 2, 3], bytes: 96 });
    }

    #[test]
    fn an_empty_frame_takes_a_step() {
        let worst = worst(&graph(&[(0, &[])]), 0).expect("no recursion");
        assert_eq!(worst.most_bytes.bytes, 32);
    }

    #[test]
    fn a_function_that_calls_itself_is_an_error() {
        assert!(worst(&graph(&[(8, &[1]), (8, &[0])]), 0).is_err());
        // Two ways to the same function are none.
        assert!(worst(&graph(&[(8, &[1, 2]), (8, &[2]), (8, &[])]), 0).is_ok());
    }
}
