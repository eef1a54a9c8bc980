//! One function: its size, its local variables, and how its control flow branches.
//!
//! A compiler gives every local variable a value wherever control flow meets, so its time and memory grow
//! with their product, not with the size of the function: 42 KB of `br_table` over many local variables took
//! 12 s and 240 MB. The product is bounded therefore, and each factor, so that a refusal says which.

use wasmparser::{FunctionBody, Operator};

use super::ShapeError;

/// Counts of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub bytes: u64,
    /// Without parameters, which its type bounds.
    pub locals: u64,
    pub blocks: u64,
    pub targets: u64,
}

pub(super) fn check(function: u32, body: &FunctionBody<'_>) -> Result<(), ShapeError> {
    let bytes = body.range().len() as u64;
    if bytes > FUNCTION_BYTES_MAX {
        return Err(ShapeError::FunctionBytes { function, bytes });
    }
    let Counts { bytes: _, locals, blocks, targets } = counts(body);
    if locals > LOCALS_MAX {
        return Err(ShapeError::Locals { function, locals });
    }
    if blocks > BLOCKS_MAX {
        return Err(ShapeError::Blocks { function, blocks });
    }
    if targets > TARGETS_MAX {
        return Err(ShapeError::Targets { function, targets });
    }
    let edges = blocks + targets;
    if locals * edges > FLOW_MAX {
        return Err(ShapeError::Flow { function, locals, edges });
    }
    Ok(())
}

/// Up to the first instruction that cannot be read, at which the validator will stop as well.
pub(super) fn counts(body: &FunctionBody<'_>) -> Counts {
    let mut counts = Counts { bytes: body.range().len() as u64, ..Counts::default() };
    if let Ok(locals) = body.get_locals_reader() {
        counts.locals = locals.into_iter().map_while(Result::ok).map(|(count, _)| u64::from(count)).sum();
    }
    let Ok(operators) = body.get_operators_reader() else { return counts };
    for operator in operators.into_iter().map_while(Result::ok) {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::Br { .. }
            | Operator::BrIf { .. } => counts.blocks += 1,
            Operator::BrTable { targets } => {
                counts.blocks += 1;
                counts.targets += u64::from(targets.len()) + 1;
            }
            // Wasmparser's enum grows with the proposals, which are listed elsewhere.
            _ => {}
        }
    }
    counts
}

/// The loop of an interpreter for Python or JavaScript, which is by far the largest function of all, has
/// about 100 KB.
pub(super) const FUNCTION_BYTES_MAX: u64 = 256 << 10;
/// An unoptimised function of some hundred lines; optimised ones have less than a hundred.
pub(super) const LOCALS_MAX: u64 = 4_096;
/// One in eight bytes of the largest function.
pub(super) const BLOCKS_MAX: u64 = 32_768;
/// The loop of an interpreter has a table of 256 and some smaller ones.
pub(super) const TARGETS_MAX: u64 = 8_192;
/// Two seconds of compilation, measured (`tests/worker/bombs.rs`).
pub(super) const FLOW_MAX: u64 = 2_000_000;
