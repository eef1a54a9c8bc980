//! One function: its size, its local variables, and how its control flow branches.
//!
//! A compiler gives every local variable a value wherever control flow meets, so its time and memory grow
//! with their product, not with the size of the function: 42 KB of `br_table` over many local variables took
//! 12 s and 240 MB. The product is bounded therefore, and each factor, so that a refusal says which. What the
//! bounds admit can still be made to take more than a good policy does; the limits of the worker end that.

use wasmparser::{FunctionBody, Operator};

use super::ShapeError;

/// Counts of one function.
#[derive(Default)]
struct Counts {
    /// Without parameters, which its type bounds.
    locals: u64,
    blocks: u64,
    targets: u64,
}

pub(super) fn check(function: u32, body: &FunctionBody<'_>) -> Result<(), ShapeError> {
    let bytes = body.range().len() as u64;
    if bytes > FUNCTION_BYTES_MAX {
        return Err(ShapeError::FunctionBytes { function, bytes });
    }
    let Counts { locals, blocks, targets } = counts(body);
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
fn counts(body: &FunctionBody<'_>) -> Counts {
    let mut counts = Counts::default();
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

// Measured on what Rust compiles to: policies, and two tools of 2 MB of code (wasm-tools, jco's transpiler),
// whose largest function is the largest that we know, and has the largest product.

/// Policies 20,571; tools 181,477. The loops of interpreters have about 100,000.
pub(super) const FUNCTION_BYTES_MAX: u64 = 256 << 10;
/// Policies 123; tools 128. Unoptimised functions have some hundreds.
pub(super) const LOCALS_MAX: u64 = 1_024;
/// Policies 625; tools 4,316.
pub(super) const BLOCKS_MAX: u64 = 16_384;
/// Policies 85; tools 1,151.
pub(super) const TARGETS_MAX: u64 = 4_096;
/// Policies 86,715; tools 643,968.
pub(super) const FLOW_MAX: u64 = 1_000_000;
